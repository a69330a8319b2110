"""What compared methods learnt from photographs: arrays in a file a method, beside the method's source.

`tools.fit_baseline` makes these files. The arrays are followed by a stamp, JSON text under "stamp", that
says what they were learnt from.
"""

import functools
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from defusion_lib.paths import shown, write_whole

FOLDER = Path(__file__).parent / "classical"
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


def _read(path: Path) -> dict[str, np.ndarray]:
    again = f"make it again with python -m tools.fit_baseline {path.stem}, or reinstall the library."
    if not path.is_file():
        raise FileNotFoundError(
            f"The method {path.stem} needs {path.name}, which is not in defusion_lib/baselines/classical/: {again}"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        json.loads(str(arrays[STAMP]))
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{shown(path)} is no complete file of learnt arrays: {again}") from error
    return arrays
