"""The page of all claims: a table with a search box and columns to sort by, and without JavaScript a plain table."""

from html import escape
from pathlib import Path

from defusion_lib.paper import claims
from defusion_lib.paper.claims import DATA, GROUPS, STATUSES, Record
from defusion_lib.paper.tables import COUNTS, FIGURES, METHODS, SETTINGS, TIMINGS, VARIANTS
from tools.site.pages import GENERATED, relative

PAGE = GENERATED[1]
STATED = {"count": COUNTS, "setting": SETTINGS, "timing": TIMINGS}
DATASETS = {"shi": "Shi", "dut": "DUT", "ctcug": "CTCUG"}
METRICS = {"f": "F-measure", "mae": "MAE", "auc": "AUC"}
MEANING = {
    "reproduced": "measured here, and within the tolerance",
    "differs": "measured here, and outside of the tolerance",
    "needs data": "not measured: the photos could not be obtained",
    "needs a GPU": "not measured: the reference network needs a training of half a day on a GPU",
    "not attempted": "not measured, although nothing is missing",
}
COLUMNS = {
    "part": "part",
    "claim": "claim",
    "paper": "paper",
    "here": "here",
    "tolerance": "±",
    "notebook": "see",
    "status": "status",
}
TEXT = """---
hide-toc: true
---

# All claims of the paper

Every number and figure of the paper is a claim, and each has one of five statuses:

{meanings}

A test compares the statuses with the results; [notebook 06]({notebook}) shows how.

{summary}
## Each claim

*here* is our number, *±* the tolerance, *see* the notebook. Click a heading of the table to sort by it.

```{{raw}} html
<div class="ledger">
<form onsubmit="return false">
<label>Search <input type="search" id="ledger-words" placeholder="such as: HiFST MAE"></label>
<label>Status <select id="ledger-status"><option value="">all</option>{options}</select></label>
<output id="ledger-count">{count} of {count} claims</output>
</form>
<div class="ledger-table" tabindex="0" role="region" aria-label="All claims">
<table id="ledger">
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</div>
<script src="../_static/ledger.js"></script>
```
"""


def method_name(method: str) -> str:
    """Return the paper's name of a method: "defusionnet+step2" is Step_2."""
    base, _, variant = method.partition("+")
    if variant.startswith("step"):
        return f"Step_{variant[4:]}"
    if variant:
        return VARIANTS.get(variant) or f"DeFusionNet_{variant.upper()}"
    return METHODS[base]


def words(claim: str) -> str:
    """Return what a claim states, in words."""
    group, *rest = claim.split("/")
    if group.startswith("table-"):
        dataset, metric, method = rest
        return f"{METRICS[metric]} of {method_name(method)} on {DATASETS[dataset]}"
    if group.startswith("figure-"):
        number = int(group.removeprefix("figure-"))
        return f"Figure {number}: {FIGURES[number]}"
    stated = STATED[group].get("/".join(rest))
    if stated is None:
        return "supervised maps: six side outputs at each of three steps, and the final map"
    return f"“{stated.words}” (Section {stated.section})"


def number(value: float | None) -> str:
    """Return a number for display, nothing for none."""
    return "" if value is None else f"{value:g}" if abs(value) >= 10 or value == int(value) else f"{value:.4g}"


def row(claim: str, value: float | None, record: Record, results: dict) -> list[tuple[str, str]]:
    """Return the cells of a claim in the order of `COLUMNS`: (HTML, what to sort by)."""
    here = results.get(record.key(claim)) if record.result else None
    missing = [DATA[name] for name in record.missing_data(claim)]
    why = record.why + (f" Missing: {'; '.join(missing)}." if missing else "")
    notebook = record.notebook
    link = relative(PAGE, f"notebooks/{notebook}.html") if notebook else ""
    group = claims.group_of(claim)
    return [
        (escape(GROUPS[group]), f"{list(GROUPS).index(group)}"),
        (escape(words(claim)), ""),
        (number(value), number(value)),
        (number(here), number(here)),
        (number(record.tolerance), number(record.tolerance)),
        (f'<a href="{link}">{notebook.partition("_")[0]}</a>' if notebook else "", notebook),
        (f"<strong>{record.status}.</strong> {escape(why)}", f"{STATUSES.index(record.status)}"),
    ]


def write(root: Path, folder: Path) -> None:
    """Write the page."""
    records = claims.load()
    covering, results, published = claims.assigned(records), claims.load_results(), claims.claims()
    rows = []
    for claim, value in published.items():
        record = covering[claim]
        cells = "".join(
            f'<td class="{name}" data-key="{escape(key)}">{shown}</td>' if key else f'<td class="{name}">{shown}</td>'
            for name, (shown, key) in zip(COLUMNS, row(claim, value, record, results))
        )
        rows.append(f'<tr data-status="{record.status}">{cells}</tr>')
    (folder / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(
        TEXT.format(
            meanings="\n".join(f"- **{name}**: {meaning}." for name, meaning in MEANING.items()),
            notebook=relative(PAGE, "notebooks/06_claims.ipynb"),
            summary=claims.summary_table(records),
            options="".join(f"<option>{name}</option>" for name in STATUSES),
            count=len(rows),
            head="".join(f'<th scope="col"><button type="button">{title}</button></th>' for title in COLUMNS.values()),
            rows="\n".join(rows),
        ),
        encoding="utf-8",
    )
