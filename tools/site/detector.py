"""A page that computes the defocus map of a visitor's photo in the browser, and the files that it loads.

The network with 8-bit weights runs in ONNX Runtime Web, which npm fetches in the version that npm/package-lock.json
names. What is made here lies in `_static/detector` of the site; `static/detector.js` and `static/detector_worker.js`
are the programs of the page.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from defusion_lib.data.bundled import EMBEDDED, wheel_file
from defusion_lib.export import export_network, open_onnx
from defusion_lib.inference import SIZE
from defusion_lib.weights import SHIPPED, load_network, read_card
from tools.render_card import cell, read
from tools.site.pages import GENERATED

PAGE = GENERATED[2]
NPM = Path(__file__).with_name("npm")
RUNTIME = "onnxruntime-web"
# {name in the site: file of the npm package}; a browser loads those of one engine.
ENGINES = {
    "wasm.js": "ort.wasm.bundle.min.mjs",
    "wasm.wasm": "ort-wasm-simd-threaded.wasm",
    "webgpu.js": "ort.webgpu.bundle.min.mjs",
    "webgpu.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
NETWORK, FACTS = "network.onnx", "facts.json"
QUICK = SIZE // 2  # pixels a side of what the first map is computed from
SHOWN = 1280  # pixels of a map's longer side, as in detector_worker.js
PATTERN, STEP = 64, 256  # the test pattern's pixels a side; every such value of its map is compared
SAMPLES = {
    "flower": ("A flower in front of leaves", "vultilion", "https://www.flickr.com/photos/vultilion/6056698931/"),
    "china": (
        "A pavilion, sharp everywhere: a hard one",
        "danielbuechele",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
    ),
}
TEXT = """---
hide-toc: true
---

# Try it on a photo

Which parts of a photo are out of focus? Choose one, and this page draws a map of them in seconds. **The photo stays on
your device**: the network comes to your browser and computes the map there. Nothing is installed, and nothing is sent.

{detector}

## What computes the map

[The network of this collection](defusion_lib/shipped/README.md), a DeFusionNet: the file that
`defusion export --precision int8` writes ({megabytes:.0f} MB) runs in ONNX Runtime Web {version} (MIT licence), on the
graphics processor where the browser offers WebGPU, otherwise on one thread of the processor. The network sees the whole
photo, resized to {size} × {size} pixels; a coarse map, from {quick} × {quick} pixels, comes first. `detect` gives the
same map in Python. Use the network for research and teaching.

## Where it fails

- **Photos that are sharp everywhere or blurred everywhere are hard.** Of sharp photos it calls {sharp} of the pixels
  out of focus, and of photos that are slightly blurred everywhere (by one pixel of the {size}) only {soft}.
- Smooth surfaces show no detail to judge: a plain sky is often called out of focus. Try the pavilion.
- It finds *where* a photo is out of focus, not by how much, and it does not detect motion blur.
- It cannot see details that are lost at {size} × {size} pixels.

[The card of the network](defusion_lib/shipped/README.md#numbers) has all measured errors,
[notebook 11](notebooks/11_where_it_fails.ipynb) shows failures.
"""
DETECTOR = """```{{raw}} html
<div class="detector">
<noscript><p>This page needs JavaScript.</p></noscript>
<div id="detector-choose" hidden>
<p><label for="detector-file">Choose or take a photo, or drop one on this page:</label>
<input type="file" id="detector-file" accept="image/*"></p>
<p id="detector-samples">Or try one of these:</p>
<div class="detector-samples" role="group" aria-labelledby="detector-samples">
{samples}
</div>
<p class="detector-note">As soon as you look for a photo or drag one here, the page loads {load:.0f} MB (with WebGPU
{load_gpu:.0f} MB).
Sample photos: {credits}, CC BY 2.0.</p>
</div>
<div id="detector-work">
<p id="detector-status" role="status"></p>
<progress id="detector-progress" aria-label="Loading the detector" max="1" value="0" hidden></progress>
<div id="detector-result" hidden>
<div class="detector-pictures">
<figure><canvas id="detector-overlay" role="img"></canvas><figcaption>Orange: out of focus</figcaption></figure>
<figure><canvas id="detector-map" role="img"></canvas>
<figcaption>The map: white is out of focus, black in focus</figcaption></figure>
</div>
<p><label for="detector-threshold">Threshold: call out of focus what is brighter in the map than</label>
<input type="range" id="detector-threshold" min="0" max="1" step="0.01" value="0.5">
<span id="detector-share"></span></p>
<p><button type="button" id="detector-save">Save the map</button>
The longer side of the saved map has at most {shown} pixels.</p>
</div>
</div>
</div>
<script src="_static/detector.js"></script>
```"""
MISSING = "*The detector is missing in this copy of the site: {why} Then run `make site` again.*"


def fetch_runtime(folder: Path) -> Path:
    """Fetch ONNX Runtime Web into a folder with npm, unless it is there, and return the folder of its files.

    Raises OSError with one sentence that says what to do.
    """
    lock = folder / "package-lock.json"
    files = folder / "node_modules" / RUNTIME / "dist"
    if lock.is_file() and lock.read_bytes() == (NPM / lock.name).read_bytes() and files.is_dir():
        return files
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm was not found when it was built. Install Node.js, which has it.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", lock.name):
        shutil.copy(NPM / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lock.unlink()
        said = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no reason given")
        raise OSError(f"npm could not fetch {RUNTIME} when it was built ({said}). Check the connection.")
    return files


def pattern() -> np.ndarray:
    """Return the test pattern, float32 (1, 3, PATTERN, PATTERN); detector_worker.js computes the same."""
    rows = np.arange(3 * PATTERN)[:, None]
    return np.float32(np.arange(PATTERN) * rows**2 % 256 / 255).reshape(1, 3, PATTERN, PATTERN)


def make_files(root: Path, folder: Path) -> dict[str, int]:
    """Write the network, its runtime and the sample photos into a new folder, and return their bytes.

    Raises OSError or ModuleNotFoundError, with one sentence, where the program that fetches or writes them is missing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    runtime = fetch_runtime(root / "build/npm")
    folder.mkdir(parents=True)
    for name, file in ENGINES.items():
        shutil.copy(runtime / file, folder / name)
    for name in SAMPLES:
        file = EMBEDDED[f"sklearn-{name}"][0]
        shutil.copy(wheel_file("sklearn", file), folder / file)
    export_network(load_network(), folder / NETWORK, read_card(SHIPPED), "int8")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    expected = open_onnx(folder / NETWORK)(pattern()).ravel()[::STEP].tolist()
    facts = {"sizes": [QUICK, SIZE], "bytes": sizes, "expected": [round(value, 4) for value in expected]}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return sizes


def write(root: Path, folder: Path, files: Path) -> str | None:
    """Write the page into one folder and what it loads into another; return what is missing, or None.

    Where something is missing, the page says so in the place of the detector.
    """
    missing, detector, megabytes = None, "", SHIPPED.stat().st_size / 1e6
    try:
        sizes = make_files(root, files)
        detector = _detector({name: size / 1e6 for name, size in sizes.items()})
        megabytes = sizes[NETWORK] / 1e6
    except (OSError, ModuleNotFoundError) as error:
        missing = str(error)
        detector = MISSING.format(why=missing)
    results = read(root / "outputs/box/results/stress_shi.json")
    text = TEXT.format(
        detector=detector,
        megabytes=megabytes,
        version=json.loads((NPM / "package.json").read_text(encoding="utf-8"))["dependencies"][RUNTIME],
        size=SIZE,
        quick=QUICK,
        sharp=_percent(cell(results, "sharp", "blurred-share")),
        soft=_percent(cell(results, "shi-dutlab100", "blurred-share-disc-1")),
    )
    (folder / PAGE).write_text(text, encoding="utf-8")
    return missing


def _detector(megabytes: dict[str, float]) -> str:
    samples = "\n".join(
        f'<button type="button" data-sample="{name}.jpg"><img src="_static/detector/{name}.jpg" alt="">{words}</button>'
        for name, (words, _, _) in SAMPLES.items()
    )
    credits = " and ".join(f'<a href="{address}">{author}</a>' for _, author, address in SAMPLES.values())
    load, load_gpu = (megabytes[NETWORK] + megabytes[f"{engine}.wasm"] for engine in ("wasm", "webgpu"))
    return DETECTOR.format(samples=samples, credits=credits, load=load, load_gpu=load_gpu, shown=SHOWN)


def _percent(shown: str) -> str:
    """Return a share with its error, such as "0.222 ± 0.084", in percent."""
    value, error = map(float, shown.split(" ± "))
    return f"{100 * value:.0f} ± {100 * error:.0f} %"
