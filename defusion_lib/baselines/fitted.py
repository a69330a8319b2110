"""Load and save the fitted arrays of compared methods: one file per method and split, beside the method's source.

A split of Shi's set names the 604 training photos that a method was fitted to: `jnb.npz` is of dutlab100,
`jnb_last100.npz` of last100. `tools.fit_baseline` writes these files. Beside the arrays, a file has a stamp, JSON text
under "stamp", with the training data, seed, code and versions.
"""

import functools
import inspect
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from defusion_lib.paths import display_path, write_atomically

FOLDER = Path(__file__).parent / "classical"
MAX_BYTES = 1_000_000  # of a file: these files are part of the package
STAMP = "stamp"
SPLIT = "dutlab100"  # of the photos that methods were fitted to, where no other is named


def fitted_path(name: str, split: str = SPLIT) -> Path:
    """Return the path of a method's arrays that were fitted to a split's training photos; the file need not exist."""
    return FOLDER / (f"{name}.npz" if split == SPLIT else f"{name}_{split}.npz")


def fitted_to(detect: Callable, split: str) -> Callable:
    """Return a method's call with what it learnt from a split's training photos; others are returned as they are."""
    return functools.partial(detect, split=split) if "split" in inspect.signature(detect).parameters else detect


@functools.cache
def load_fitted(name: str, split: str = SPLIT) -> dict[str, np.ndarray]:
    """Load the fitted arrays of a method, read-only, by name; later calls return the same arrays.

    Raises FileNotFoundError if the method has no such file, ValueError if the file cannot be read.
    """
    arrays = _read(fitted_path(name, split), name, split)
    del arrays[STAMP]
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def save_fitted(name: str, arrays: Mapping[str, np.ndarray], stamp: Mapping, split: str = SPLIT) -> Path:
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
    write_atomically(fitted_path(name, split), content.getvalue())
    return fitted_path(name, split)


def _read(path: Path, name: str, split: str) -> dict[str, np.ndarray]:
    options = "" if split == SPLIT else f" --split {split}"
    advice = f"create it with python -m tools.fit_baseline {name}{options}, or reinstall the library."
    if not path.is_file():
        raise FileNotFoundError(
            f"The method {name} needs {path.name}, which is not in defusion_lib/baselines/classical/: {advice}"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        json.loads(str(arrays[STAMP]))
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{display_path(path)} is not a complete file of fitted arrays: {advice}") from error
    return arrays
