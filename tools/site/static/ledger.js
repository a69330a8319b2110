// Search and sort the table of claims.
(() => {
  const table = document.getElementById("ledger");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const words = document.getElementById("ledger-words");
  const status = document.getElementById("ledger-status");
  const count = document.getElementById("ledger-count");
  // Not in the reasons: they name other methods.
  const texts = rows.map((row) => [...row.cells].slice(0, -1).map((cell) => cell.textContent).join(" ").toLowerCase());
  const heads = [...table.tHead.rows[0].cells];

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      const fits = (!status.value || row.dataset.status === status.value) && wanted.every((word) => texts[i].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${rows.length} claims`;
  }

  function key(row, column) {
    const cell = row.cells[column];
    return cell.dataset.key ?? cell.textContent;
  }

  // Empty cells last, numbers by their value.
  function compare(a, b, sign) {
    if (!a || !b) return !a - !b;
    const numbers = [Number(a), Number(b)];
    const words = numbers.some(Number.isNaN);
    return sign * (words ? a.localeCompare(b, "en", { numeric: true }) : numbers[0] - numbers[1]);
  }

  function sort(column) {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    body.append(...[...rows].sort((a, b) => compare(key(a, column), key(b, column), sign)));
  }

  words.addEventListener("input", filter);
  status.addEventListener("change", filter);
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));
  filter(); // a browser may keep the words of an earlier visit
})();
