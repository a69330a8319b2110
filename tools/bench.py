"""Time the compared methods, each against its plain loop version, and measure their memory.

    make bench        # minutes: outputs/cpu/results/bench.json, and a table

The photo is scikit-learn's flower.jpg, 640 x 427. A smaller size is its centre, a larger one is the photo mirrored at
its edges, so the content is similar at all sizes. Each measurement runs in a new process.

In the plain version, functions of `tests/reference/` replace the functions of the library that their docstrings name.
The plain version takes minutes for a complete photo, so both versions are also timed on a crop. "plain, scaled"
multiplies the plain seconds on the crop by the ratio of pixels, which is correct where the cost is linear in them.
"""

import argparse
import importlib
import inspect
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("320x214", "640x427", "1500x1000")  # width x height; the last is the largest size that methods compute at
USUAL, LARGEST = SIZES[1:]
CROP = "96x64"
ENOUGH = 6  # seconds after which a measurement is not repeated
REPEATS = 5


def photograph(size: str) -> np.ndarray:
    """Return the flower at "width x height" pixels: its centre, or mirrored at its edges."""
    from sklearn.datasets import load_sample_image

    width, height = map(int, size.split("x"))
    image = load_sample_image("flower.jpg")
    more = [(0, max(0, wanted - had)) for wanted, had in zip((height, width), image.shape)]
    image = np.pad(image, (*more, (0, 0)), mode="symmetric")
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def replacements(name: str) -> dict:
    """Return the plain functions of a method: {dotted name of the replaced function: plain function}."""
    plain = importlib.import_module(f"tests.reference.{name}")
    found = {}
    for function in vars(plain).values():
        stands = re.match(r"Stands for `?([\w.]+\w)", inspect.getdoc(function) or "")
        if inspect.isfunction(function) and stands:
            found[stands[1]] = function
    if not found:
        raise ValueError(
            f"tests/reference/{name}.py replaces no function: begin a docstring with 'Stands for `dotted.name`'."
        )
    return found


def make_plain(name: str) -> None:
    """Replace functions of the library by a method's plain ones, in every module that has imported them."""
    importlib.import_module(f"defusion_lib.baselines.classical.{name}")
    for dotted, function in replacements(name).items():
        module, _, attribute = dotted.rpartition(".")
        fast = getattr(importlib.import_module(module), attribute)
        count = len(inspect.signature(function).parameters)

        def plain(*given, _function=function, _count=count, **_):
            return _function(*given[:_count])

        for loaded in [each for key, each in sys.modules.items() if key.startswith("defusion_lib")]:
            for key, value in list(vars(loaded).items()):
                if value is fast:
                    setattr(loaded, key, plain)


def peak() -> float:
    """Return the peak memory of this process in MiB, as Linux reports it."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def measure(name: str, size: str, plain: bool) -> dict:
    """Measure one method in this process: median seconds, peak MiB, and its map of the crop as levels 0..255."""
    import torch

    from defusion_lib.plots import as_levels
    from defusion_lib.runs.run import THREADS

    torch.set_num_threads(THREADS)
    if plain:
        make_plain(name)
    detect = importlib.import_module(f"defusion_lib.baselines.classical.{name}").detect
    # Work that happens once per process, such as reading fitted arrays, is not part of a photo's time.
    detect(photograph("24x16"))
    image, seconds, begun = photograph(size), [], time.perf_counter()
    while not seconds or time.perf_counter() - begun < ENOUGH and len(seconds) < REPEATS:
        started = time.perf_counter()
        found = detect(image)
        seconds.append(time.perf_counter() - started)
    small = as_levels(found).tolist() if size == CROP else None
    return {"seconds": float(np.median(seconds)), "peak": peak(), "map": small}


def in_a_process(module: str, *arguments: str) -> dict:
    """Run `python -m module --one arguments` in a new process, and return the JSON object that it prints last."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--one", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{module} {' '.join(arguments)} failed.")
    return json.loads(done.stdout.splitlines()[-1])


def pixels(size: str) -> int:
    width, height = map(int, size.split("x"))
    return width * height


def bench(names: list[str]) -> dict[str, float]:
    """Measure all methods, and return the results, {"flower-640x427/hifst/seconds": 2.3, ...}."""
    values = {}
    with tqdm(total=len(names) * (len(SIZES) + 2), desc="bench", leave=False) as bar:

        def one(*given):
            bar.set_postfix_str(" ".join(map(str, given)))
            found = in_a_process(__spec__.name, *given)
            bar.update()
            return found

        for name in names:
            for size in SIZES:
                found = one(name, size)
                values[f"flower-{size}/{name}/seconds"] = found["seconds"]
                values[f"flower-{size}/{name}/peak-mib"] = found["peak"]
            fast, plain = one(name, CROP), one(name, CROP, "--plain")
            values[f"flower-{CROP}/{name}/seconds"] = fast["seconds"]
            values[f"flower-{CROP}/{name}/plain-seconds"] = plain["seconds"]
            apart = np.abs(np.subtract(fast["map"], plain["map"], dtype=float)).max()
            values[f"flower-{CROP}/{name}/plain-levels-apart"] = apart
            scaled = plain["seconds"] * pixels(USUAL) / pixels(CROP)
            values[f"flower-{USUAL}/{name}/plain-scaled-seconds"] = scaled
            times = [values[f"flower-{size}/{name}/seconds"] for size in (SIZES[0], LARGEST)]
            # 1 where twice the pixels take twice the time.
            values[f"flower/{name}/growth"] = np.log(times[1] / times[0]) / np.log(pixels(LARGEST) / pixels(SIZES[0]))
    return values


def table(names: list[str], values: dict[str, float]) -> str:
    heads = [
        *(f"s, {size}" for size in SIZES),
        "growth",
        f"MiB, {LARGEST}",
        f"s, {CROP}",
        "plain, s",
        "x",
        "apart",
        "plain, scaled",
    ]
    lines = [f"{'':8}" + "".join(f"{head:>{max(len(head), 6) + 2}}" for head in heads)]
    for name in names:
        crop = [values[f"flower-{CROP}/{name}/{which}"] for which in ("seconds", "plain-seconds")]
        cells = [*(f"{values[f'flower-{size}/{name}/seconds']:.2f}" for size in SIZES)]
        cells += [f"{values[f'flower/{name}/growth']:.2f}", f"{values[f'flower-{LARGEST}/{name}/peak-mib']:.0f}"]
        cells += [f"{crop[0]:.3f}", f"{crop[1]:.2f}", f"{crop[1] / crop[0]:.0f}"]
        cells += [f"{values[f'flower-{CROP}/{name}/plain-levels-apart']:.0f}"]
        cells += [f"{values[f'flower-{USUAL}/{name}/plain-scaled-seconds']:.0f} s"]
        lines.append(f"{name:8}" + "".join(f"{c:>{max(len(h), 6) + 2}}" for c, h in zip(cells, heads)))
    lines.append(
        f"growth: 1 where cost is linear in pixels, from {SIZES[0]} to {LARGEST}; plain: loops, on a crop of {CROP};"
        f"\napart: the largest difference of the two maps, in levels of 255; plain, scaled: the plain seconds times "
        f"the ratio of pixels, an estimate for {USUAL}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="measure only these methods, and store no results")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SIZE"), help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one, given.plain)))
        return
    from defusion_lib.baselines import CLASSICAL
    from defusion_lib.runs.run import Run

    parameters = {"profile": "cpu", "seed": 0}
    run = Run("bench", parameters, parameters)
    # An added method may have no plain version.
    names = given.methods or [name for name in CLASSICAL if (ROOT / f"tests/reference/{name}.py").is_file()]
    values = bench(names)
    if not given.methods:
        run.results(values)
    print(table(names, values))


if __name__ == "__main__":
    main()
