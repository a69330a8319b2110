"""Compare the results of a fresh quick run with the stored ones: every number, and the arrays behind every figure.

    python -m tools.verify build/verify/quick            # `make verify` does this after it has run the notebooks
    python -m tools.verify build/store/quick --store     # store these results

nbval compares the printed output of notebooks, which is rounded, and skips pictures. A tolerance is `FACTOR` times the
measured change between machines (`tools/determinism.py`).
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests/stored/quick"
MEASURED = ROOT / "outputs/cpu/results/determinism.json"
FACTOR = 5
# Rounding errors of a stored array: 256 levels of a map, half precision, single precision and better.
ROUNDING = {np.dtype(np.uint8): 1 / 255, np.dtype(np.float16): 1e-3}
SINGLE = 1e-6
# A share of pixels changes by a step where a pixel crosses one half. This tolerance is two steps of the smallest group
# that notebook 11 counts, about a thousand pixels; notebook 13 counts in complete photos, where several may cross.
COUNTED = dict.fromkeys(
    (
        "11_where_it_fails", "figures/blur_response", "figures/disturbances", "figures/texture_and_radius",
        "figures/stress", "13_own_photographs", "figures/contact_sheet",
    ),
    2e-3,
)  # fmt: skip
MACHINE = ("new-process", "one-thread", "generic-aten", "generic-onednn")


def read(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read all numbers and arrays of a profile's folder: {"03_training" or "figures/curves": {key: array}}.

    Maps, which are stored as levels, are a separate item: "figures/curves/levels"; they have the size of a panel
    (`runs.pictures.shrink`), so a level is a mean of pixels. Seconds and memory are left out.
    Raises FileNotFoundError where there are no results.
    """
    found = {}
    for path in sorted(folder.glob("results/*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))["values"]
        found[path.stem] = {
            key: np.asarray(value, float) for key, value in values.items() if not key.endswith(("seconds", "-mib"))
        }
    for path in sorted(folder.glob("figures/*.npz")):
        with np.load(path) as arrays:
            for key in set(arrays.files) - {"stamp"}:
                item = f"figures/{path.stem}" + "/levels" * (arrays[key].dtype == np.uint8)
                found.setdefault(item, {})[key] = arrays[key]
    if not found:
        raise FileNotFoundError(f"{folder} holds no results: run the notebooks into it first (make verify).")
    return found


def difference(stored: np.ndarray, fresh: np.ndarray) -> float:
    """Compute the largest difference of two arrays, relative to their largest value if that is above 1.

    Levels count as level/255. It is infinite for arrays of other shapes or kinds, and for text that differs.
    """
    if stored.shape != fresh.shape or stored.dtype.kind != fresh.dtype.kind:
        return np.inf
    if stored.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(stored, fresh) else np.inf
    if stored.size == 0:
        return 0.0
    scale = 255 if stored.dtype == np.uint8 else 1
    stored, fresh = stored.astype(float) / scale, fresh.astype(float) / scale
    if not np.array_equal(np.isnan(stored), np.isnan(fresh)):
        return np.inf
    apart = np.abs(stored - fresh)[~np.isnan(stored)]
    return float(apart.max(initial=0) / max(1, np.nanmax(np.abs(stored), initial=0)))


def differences(stored: dict, fresh: dict) -> dict[str, dict[str, float]]:
    """Compute `difference` for each key of each item; infinite for a key on one side only."""
    return {
        item: {
            key: difference(stored[item][key], fresh[item][key])
            if key in stored.get(item, {}) and key in fresh.get(item, {})
            else np.inf
            for key in stored.get(item, {}) | fresh.get(item, {})
        }
        for item in stored | fresh
    }


def metric(item: str) -> str:
    """Return an item's name in the keys of determinism.json."""
    return item.replace("/", "-").replace("_", "-")


def tolerances(stored: dict) -> dict[str, float]:
    """Compute each item's tolerance: `FACTOR` times the largest measured difference, but at least rounding."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["values"]
    allowed = {}
    for item, arrays in stored.items():
        spread = max(measured.get(f"quick/{variant}/{metric(item)}", 0.0) for variant in MACHINE)
        rounding = max(COUNTED.get(item, 0), *(ROUNDING.get(array.dtype, SINGLE) for array in arrays.values()))
        allowed[item] = max(FACTOR * spread, rounding) * (1 + 1e-9)
    return allowed


def problems(stored: dict, fresh: dict, allowed: dict[str, float]) -> list[str]:
    """Return one line for each item that differs by more than its tolerance; it names the worst key."""
    lines = []
    for item, apart in differences(stored, fresh).items():
        worst = max(apart, key=apart.get, default=None)
        if worst is None or apart[worst] <= allowed.get(item, 0):
            continue
        many = sum(value > allowed.get(item, 0) for value in apart.values())
        if not np.isinf(apart[worst]):
            how = f"differs by {apart[worst]:.1e}, allowed are {allowed[item]:.1e}"
        elif worst not in stored.get(item, {}):
            how = "is not stored: store it (make store)"
        elif worst not in fresh.get(item, {}):
            how = "is not a result of this run"
        else:
            how = "has another shape, kind or text"
        lines.append(f"{item}: {worst} {how}" + (f"; so do {many - 1} more" if many > 1 else ""))
    return lines


def store(fresh: Path) -> None:
    """Replace the stored results by those of a run."""
    read(fresh)
    shutil.rmtree(STORED, ignore_errors=True)
    for pattern in ("results/*.json", "figures/*.npz"):
        for path in sorted(fresh.glob(pattern)):
            target = STORED / path.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fresh", type=Path, help="the folder of a quick run")
    parser.add_argument("--store", action="store_true", help="store these results instead of comparing them")
    options = parser.parse_args()
    if options.store:
        store(options.fresh)
        return 0
    stored, fresh = read(STORED), read(options.fresh)
    found = problems(stored, fresh, tolerances(stored))
    count = sum(map(len, stored.values()))
    print("\n".join(found) or f"{count} numbers and arrays equal the stored ones, within {len(stored)} tolerances.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
