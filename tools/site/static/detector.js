// The page of the detector: choose a photo, see its map; detector_worker.js computes it.
(() => {
  const at = (name) => document.getElementById(`detector-${name}`);
  const [file, status, progress, result] = ["file", "status", "progress", "result"].map(at);
  const [overlay, map, threshold, share] = ["overlay", "map", "threshold", "share"].map(at);
  const ORANGE = [222, 143, 5]; // as `plots.overlay` tints
  const STRENGTH = 0.75;
  const ENGINES = { webgpu: "WebGPU, on the graphics processor", wasm: "WebAssembly, on one thread of the processor" };
  const COMPUTING = "Computing the map …";
  const NO_WORKER =
    "The detector could not be loaded: check the connection, and use a current Firefox, Chrome, Edge or Safari.";
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  let worker;
  let number = 0; // of the photo that is shown
  let name = "";
  let photo; // its pixels
  let levels; // of its map, 255 = out of focus
  let drawing = 0;

  // --------------------------------------------------------------------------------------------- work

  // The same words again would be read aloud again.
  function say(words) {
    if (status.textContent !== words) status.textContent = words;
  }

  function start() {
    if (worker) return;
    worker = new Worker(`${folder}detector_worker.js`, { type: "module" });
    worker.onmessage = ({ data }) => receive(data);
    worker.onerror = () => {
      worker = undefined; // the next photo tries again
      fail(NO_WORKER);
    };
    worker.postMessage({});
  }

  function choose(chosen) {
    start();
    number += 1;
    name = chosen.name;
    if (file.files[0] !== chosen) file.value = ""; // it would name another photo
    photo = levels = undefined;
    for (const control of [threshold, at("save")]) control.disabled = true; // the old map is still shown
    say(`Reading ${name} …`);
    worker.postMessage({ number, file: chosen });
  }

  // A photo that is chosen while the sample is on its way counts instead of it.
  async function chooseSample(sample) {
    start();
    const mine = (number += 1);
    say(`Reading ${sample} …`);
    const address = `${folder}detector/${sample}`;
    try {
      const response = await fetch(address);
      if (!response.ok) throw new Error(response.status);
      const content = await response.blob();
      if (number === mine) choose(new File([content], sample));
    } catch {
      if (number === mine) fail(`${sample} could not be loaded: check the connection.`);
    }
  }

  function receive(data) {
    if (data.idle) {
      progress.hidden = true;
    } else if (data.total) {
      progress.hidden = data.loaded === data.total;
      progress.value = data.loaded / data.total;
      const megabytes = Math.round(data.total / 1e6);
      if (photo && !levels) say(progress.hidden ? COMPUTING : `Loading the detector (${megabytes} MB) …`);
    } else if (data.number === number) {
      if (data.problem) fail(data.problem);
      else if (data.photo) showPhoto(data.photo);
      else showMap(data);
    } else {
      data.photo?.close();
    }
  }

  function fail(problem) {
    progress.hidden = true;
    result.hidden = true;
    photo = levels = undefined;
    say(problem);
  }

  // ----------------------------------------------------------------------------------------- pictures

  function showPhoto(bitmap) {
    for (const canvas of [overlay, map]) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    const context = overlay.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, bitmap.width, bitmap.height);
    context.drawImage(bitmap, 0, 0);
    photo = context.getImageData(0, 0, bitmap.width, bitmap.height);
    bitmap.close();
    overlay.ariaLabel = `${name}, without its map yet`;
    map.ariaLabel = "No map yet";
    result.hidden = false;
    share.textContent = "";
    if (progress.hidden) say(COMPUTING);
    at("work").scrollIntoView({ block: "nearest" });
  }

  function showMap(data) {
    levels = data.levels;
    const picture = new ImageData(map.width, map.height);
    levels.forEach((level, i) => {
      for (let colour = 0; colour < 3; colour++) picture.data[4 * i + colour] = level;
      picture.data[4 * i + 3] = 255;
    });
    map.getContext("2d").putImageData(picture, 0, 0);
    map.ariaLabel = `Map of ${name}: white is out of focus`;
    for (const control of [threshold, at("save")]) control.disabled = false;
    drawOverlay();
    say(
      data.last
        ? `The map of ${name}, computed in ${data.seconds.toFixed(1)} seconds with ${ENGINES[data.engine]}.`
        : "This is a first, coarse map. Computing the full one …",
    );
  }

  function drawOverlay() {
    drawing = 0;
    if (!levels) return;
    const cut = Math.floor(255 * threshold.value + 1e-9);
    const picture = new ImageData(new Uint8ClampedArray(photo.data), photo.width);
    let blurred = 0;
    levels.forEach((level, i) => {
      if (level <= cut) return;
      blurred += 1;
      for (let colour = 0; colour < 3; colour++) {
        picture.data[4 * i + colour] = (1 - STRENGTH) * photo.data[4 * i + colour] + STRENGTH * ORANGE[colour];
      }
    });
    overlay.getContext("2d").putImageData(picture, 0, 0);
    const words = `${Math.round((100 * blurred) / levels.length)} % of the photo is out of focus`;
    share.textContent = `${Number(threshold.value).toFixed(2)}: ${words}.`;
    threshold.ariaValueText = share.textContent;
    overlay.ariaLabel = `${name}, orange where it is out of focus: ${words}`;
  }

  function save() {
    const link = document.createElement("a");
    link.download = `${name.replace(/\.[^.]*$/, "")}_defocus.png`; // later, another photo may be chosen
    map.toBlob((content) => {
      link.href = URL.createObjectURL(content);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    });
  }

  // ----------------------------------------------------------------------------------------- controls

  if (location.protocol === "file:") {
    at("choose").hidden = true;
    say(
      "A browser runs the detector only from a web server: run python -m http.server in the folder of this page, " +
        "and open the address that it prints.",
    );
    return;
  }
  at("choose").hidden = false;
  file.addEventListener("click", () => {
    file.value = ""; // the same photo can be chosen again
    start(); // loads while a photo is looked for
  });
  file.addEventListener("change", () => file.files.length && choose(file.files[0]));
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => chooseSample(button.dataset.sample));
  }
  threshold.addEventListener("input", () => (drawing ||= requestAnimationFrame(drawOverlay)));
  at("save").addEventListener("click", save);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    at("choose").classList.add("over");
    start();
  });
  addEventListener("dragleave", () => at("choose").classList.remove("over"));
  addEventListener("drop", (event) => {
    at("choose").classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    choose(event.dataTransfer.files[0]);
  });
})();
