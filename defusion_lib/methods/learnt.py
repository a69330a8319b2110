"""What compared methods learnt from photographs, stored as arrays in a file a method: read here, and made here.

    python -m defusion_lib.methods.learnt jnb --data data/shi --seed 0

lets the method `jnb` learn from Shi's training photographs and writes `jnb.npz` beside its source. The arrays
are followed by a stamp, JSON text under "stamp", that says what they were learnt from.
"""

import argparse
import functools
import importlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from defusion_lib.data import PhotoSet
from defusion_lib.data.shi import open_shi
from defusion_lib.runs import PACKAGES, data_stamp, origin, shown, write_whole

FOLDER = Path(__file__).parent
LARGEST = 1_000_000  # bytes of a file: these files are part of the package
STAMP = "stamp"


def path_of(name: str) -> Path:
    """Where a method's learnt part is stored, whether it has one or not."""
    return FOLDER / f"{name}.npz"


@functools.cache
def learnt(name: str) -> dict[str, np.ndarray]:
    """The arrays that a method learnt, by their names; read once, not to be written to.

    Raises FileNotFoundError where the method has no such file, ValueError where the file cannot be read.
    """
    arrays = _read(path_of(name))
    del arrays[STAMP]
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def read_stamp(name: str) -> dict:
    """What a method's arrays were learnt from: photographs, seed, code, versions; raises as `learnt`."""
    return json.loads(str(_read(path_of(name))[STAMP]))


def save(name: str, arrays: Mapping[str, np.ndarray], stamp: Mapping) -> Path:
    """Write a method's learnt arrays and their stamp, whole or not at all; returns the file.

    Raises ValueError where there is no array, one is of objects or named "stamp", or the file would be larger
    than `LARGEST` bytes, and OSError where it cannot be written.
    """
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    if wrong := [key for key, array in arrays.items() if array.dtype == object or key == STAMP]:
        raise ValueError(f"Array {wrong[0]!r} of {name} must be of numbers or text, under another name.")
    if not arrays:
        raise ValueError(f"The method {name} learnt no array: return at least one from its learn().")
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **{STAMP: json.dumps(stamp)})
    if content.tell() > LARGEST:
        raise ValueError(
            f"What {name} learnt takes {content.tell():,} bytes, more than {LARGEST:,}: store fewer numbers "
            "or shorter ones, such as float16."
        )
    write_whole(path_of(name), content.getvalue())
    return path_of(name)


def train(name: str, photos: PhotoSet, seed: int = 0, progress: bool = True) -> Path:
    """Let a method learn from photographs with masks, and write its file; returns the file.

    Raises ValueError where the method learns nothing from photographs, and as `save`.
    """
    try:
        method = importlib.import_module(f"defusion_lib.methods.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"defusion_lib.methods.{name}":
            raise
        raise ValueError(f"There is no method {name!r}: expected a file of defusion_lib/methods/.") from error
    if not hasattr(method, "learn"):
        raise ValueError(f"The method {name!r} learns nothing from photographs: its file has no learn().")
    begun = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    arrays = method.learn(photos, seed, progress)
    made = {
        "method": name,
        "seed": seed,
        "data": [data_stamp(photos)],
        **origin(packages=(*PACKAGES, "scipy", "scikit-image", "scikit-learn")),
        "started": started,
        "seconds": round(time.monotonic() - begun, 1),
    }
    written = save(name, arrays, made)
    learnt.cache_clear()
    return written


def _read(path: Path) -> dict[str, np.ndarray]:
    again = f"make it again with python -m defusion_lib.methods.learnt {path.stem}, or reinstall the library."
    if not path.is_file():
        raise FileNotFoundError(
            f"The method {path.stem} needs {path.name}, which is not in defusion_lib/methods/: {again}"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        json.loads(str(arrays[STAMP]))
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{shown(path)} is no complete file of learnt arrays: {again}") from error
    return arrays


def main(arguments: list[str] | None = None) -> None:
    """The command: one method's name, the folder of Shi's photographs, and a seed."""
    parser = argparse.ArgumentParser(prog="python -m defusion_lib.methods.learnt", description=main.__doc__)
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
