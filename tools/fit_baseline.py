"""Let a compared method learn from photographs, and store what it learnt: a command.

    python -m tools.fit_baseline jnb --data data/shi --seed 0

lets `jnb` learn from Shi's training photographs (of the split dutlab100) and writes `jnb.npz` beside its source.
"""

import argparse
import importlib
import time
from datetime import UTC, datetime
from pathlib import Path

from defusion_lib.baselines.fitted import load_fitted, save_fitted
from defusion_lib.data import PhotoSet
from defusion_lib.data.shi import open_shi
from defusion_lib.paths import shown
from defusion_lib.runs.provenance import PACKAGES, origin


def train(name: str, photos: PhotoSet, seed: int = 0, progress: bool = True) -> Path:
    """Let a method learn from photographs with masks, and write its file; returns the file.

    Raises ValueError where the method learns nothing from photographs, and as `save`.
    """
    try:
        method = importlib.import_module(f"defusion_lib.baselines.classical.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"defusion_lib.baselines.classical.{name}":
            raise
        raise ValueError(
            f"There is no method {name!r}: expected one of jnb, dbdf, ksfv, as defusion_lib/baselines/classical/ has files."
        ) from error
    if not hasattr(method, "learn"):
        raise ValueError(f"The method {name!r} learns nothing from photographs: its file has no learn().")
    begun = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    arrays = method.learn(photos, seed, progress)
    made = {
        "method": name,
        "seed": seed,
        "data": [photos.provenance()],
        **origin(packages=(*PACKAGES, "scipy", "scikit-image", "scikit-learn")),
        "started": started,
        "seconds": round(time.monotonic() - begun, 1),
    }
    written = save_fitted(name, arrays, made)
    load_fitted.cache_clear()
    return written


def main(arguments: list[str] | None = None) -> None:
    """The command: one method's name, the folder of Shi's photographs, and a seed."""
    parser = argparse.ArgumentParser(prog="python -m tools.fit_baseline", description=main.__doc__)
    parser.add_argument("name", help="a method with a learnt part, such as jnb")
    parser.add_argument("--data", default="data/shi", help="Shi's photographs: the folder with images/ and masks/")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    given = parser.parse_args(arguments)
    try:
        photos = open_shi(given.data, split="dutlab100", part="train")
        written = train(given.name, photos, given.seed)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{given.name} learnt from {len(photos)} photographs: {shown(written)}")


if __name__ == "__main__":
    main()
