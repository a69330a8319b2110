"""Fit a compared method to photos, and store the fitted arrays.

    python -m tools.fit_baseline jnb --data data/shi --seed 0

fits `jnb` to Shi's training photos (of the split dutlab100) and writes `jnb.npz` beside its source. With
`--split last100` it learns from that split's training photos and writes `jnb_last100.npz`.
"""

import argparse
import importlib
import time
from datetime import UTC, datetime
from pathlib import Path

from defusion_lib.baselines.fitted import SPLIT, load_fitted, save_fitted
from defusion_lib.data import PhotoSet
from defusion_lib.data.shi import SPLITS, open_shi
from defusion_lib.paths import display_path
from defusion_lib.runs.provenance import PACKAGES, environment_info


def train(name: str, photos: PhotoSet, seed: int = 0, progress: bool = True, split: str = SPLIT) -> Path:
    """Fit a method to photos with masks, write its file, and return the path.

    Raises ValueError where the method does not exist or has no `learn`, and what `save_fitted` raises.
    """
    try:
        method = importlib.import_module(f"defusion_lib.baselines.classical.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"defusion_lib.baselines.classical.{name}":
            raise
        raise ValueError(
            f"There is no method {name!r} in defusion_lib/baselines/classical/: choose jnb, dbdf or ksfv."
        ) from error
    if not hasattr(method, "learn"):
        raise ValueError(f"The method {name!r} has nothing to fit: its file has no learn(). Choose jnb, dbdf or ksfv.")
    begun = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    arrays = method.learn(photos, seed, progress)
    made = {
        "method": name,
        "seed": seed,
        "data": [photos.provenance()],
        **environment_info(packages=(*PACKAGES, "scipy", "scikit-image", "scikit-learn")),
        "started": started,
        "seconds": round(time.monotonic() - begun, 1),
    }
    written = save_fitted(name, arrays, made, split)
    load_fitted.cache_clear()
    return written


def main(arguments: list[str] | None = None) -> None:
    """Fit one compared method to Shi's training photos."""
    parser = argparse.ArgumentParser(prog="python -m tools.fit_baseline", description=main.__doc__)
    parser.add_argument("name", help="a method with fitted arrays, such as jnb")
    parser.add_argument("--data", default="data/shi", help="Shi's photos: the folder with images/ and masks/")
    parser.add_argument("--split", choices=SPLITS, default=SPLIT, help="whose training photos: %(choices)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    given = parser.parse_args(arguments)
    try:
        photos = open_shi(given.data, split=given.split, part="train")
        written = train(given.name, photos, given.seed, split=given.split)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{given.name} fitted to {len(photos)} photos: {display_path(written)}")


if __name__ == "__main__":
    main()
