"""Load and save the fitted arrays of compared methods: one file per method, beside the method's source.

`tools.fit_baseline` writes these files. Beside the arrays, a file has a stamp, JSON text under "stamp", with the
training data, seed, code and versions.
"""

import functools
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from defusion_lib.paths import display_path, write_atomically

FOLDER = Path(__file__).parent / "classical"
MAX_BYTES = 1_000_000  # of a file: these files are part of the package
STAMP = "stamp"


def fitted_path(name: str) -> Path:
    """Return the path of a method's fitted arrays; the file need not exist."""
    return FOLDER / f"{name}.npz"


@functools.cache
def load_fitted(name: str) -> dict[str, np.ndarray]:
    """Load the fitted arrays of a method, read-only, by name; later calls return the same arrays.

    Raises FileNotFoundError if the method has no such file, ValueError if the file cannot be read.
    """
    arrays = _read(fitted_path(name))
    del arrays[STAMP]
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def save_fitted(name: str, arrays: Mapping[str, np.ndarray], stamp: Mapping) -> Path:
    """Write a method's fitted arrays and their stamp atomically; return the path.

    Raises ValueError if there is no array, if one is of objects or named "stamp", or if the file would be larger than
    `MAX_BYTES`, and OSError if it cannot be written.
    """
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    if wrong := [key for key, array in arrays.items() if array.dtype == object or key == STAMP]:
        raise ValueError(f"Array {wrong[0]!r} of {name} must contain numbers or text and must not be named {STAMP!r}.")
    if not arrays:
        raise ValueError(f"The method {name} has no fitted array: return at least one from its learn().")
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **{STAMP: json.dumps(stamp)})
    if content.tell() > MAX_BYTES:
        raise ValueError(
            f"The fitted arrays of {name} take {content.tell():,} bytes, more than {MAX_BYTES:,}: store fewer numbers "
            "or a smaller type, such as float16."
        )
    write_atomically(fitted_path(name), content.getvalue())
    return fitted_path(name)


def _read(path: Path) -> dict[str, np.ndarray]:
    advice = f"create it with python -m tools.fit_baseline {path.stem}, or reinstall the library."
    if not path.is_file():
        raise FileNotFoundError(
            f"The method {path.stem} needs {path.name}, which is not in defusion_lib/baselines/classical/: {advice}"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        json.loads(str(arrays[STAMP]))
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{display_path(path)} is not a complete file of fitted arrays: {advice}") from error
    return arrays
