"""Maps of whole data sets, stored as pictures, so that a rerun computes only what is missing.

A map is stored as a grey PNG, white = blurred, in the 256 levels that `defusion_lib.metrics` counts. A text in
the picture holds a hash of what the map was computed from, and the seconds. A picture that is damaged, or computed
from another photo or by another method, is computed again.
"""

import functools
import hashlib
import inspect
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from defusion_lib.baselines.fitted import SPLIT, fitted_path, load_fitted
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.metrics import quantise
from defusion_lib.paths import write_atomically
from defusion_lib.progress import tqdm
from defusion_lib.sources import PACKAGE, STOPPING, bare_code, running_code

TEXT = "defusion"  # the name of the picture's text
# Modules that do not change a map: the public names, the list of methods, the reader of fitted arrays, whose values
# are hashed, and what stops a method.
LEFT_OUT = (PACKAGE, f"{PACKAGE}.baselines", f"{PACKAGE}.baselines.fitted", STOPPING)


class Map(NamedTuple):
    """A defocus map float32 (H, W) of levels n/255, 1 = blurred, and the seconds its method took for it."""

    defocus: np.ndarray
    seconds: float


def fingerprint(detect: Callable, *settings, module: str = "") -> str:
    """Compute a hash of a method: equal as long as its code, its fitted arrays and `settings` are.

    The code is that of the method's file and of all files of this library that it imports, without comments,
    docstrings, layout and calls of `stopping`. For a function that is not in this library, it is the function alone.
    `settings` are numbers and texts that its maps also depend on: for a network, its input size and the hash of its
    weights; `module` is one of this library that they depend on too, such as that of the network's class. A method may
    come with its split (`fitted_to`). Raises ValueError where the code was edited after this process began.
    """
    split = SPLIT
    if isinstance(detect, functools.partial):
        detect, split = detect.func, detect.keywords["split"]
    function = inspect.unwrap(detect)
    if function.__module__.partition(".")[0] == PACKAGE:
        modules = [function.__module__, *filter(None, [module])]
        sources = dict(sorted(running_code(modules, LEFT_OUT).items()))
    else:
        sources = {function.__name__: inspect.getsource(function)}
    digest = hashlib.sha256(repr(settings).encode())
    for name, source in sources.items():
        digest.update(f"\n{name}: {bare_code(source)}".encode())
        method = name.removeprefix(f"{PACKAGE}.baselines.classical.")
        # Not the file's bytes: its stamp holds the time of the fit, which changes no map.
        for key, array in load_fitted(method, split).items() if fitted_path(method, split).is_file() else ():
            digest.update(f"{key} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def cached_maps(photos: PhotoSet, detect: Callable, folder: Path, state: str) -> Iterator[tuple[Photo, Map]]:
    """Yield each photo with its map: read from `folder` if it is there, else computed by `detect(image)` and stored.

    `state` is the method's `fingerprint`. All maps are rounded to 256 levels, computed and stored ones alike. Shows a
    progress bar named like the folder. Raises OSError where a map cannot be written, and what `detect` raises.
    """
    for photo in tqdm(photos, desc=folder.name, leave=False):
        yield photo, cached_map(photo, detect, folder, state)


def cached_map(photo: Photo, detect: Callable, folder: Path, state: str) -> Map:
    """Return the map of one photo as `cached_maps` does."""
    path = folder / f"{photo.name}.png"
    key = _key(photo.image, state)
    found = _read(path, key, photo.image.shape[:2])
    if found is None:
        begun = time.perf_counter()
        levels = quantise(detect(photo.image))
        seconds = time.perf_counter() - begun
        write_atomically(path, _picture(levels, key, seconds))
        found = Map(_as_map(levels), seconds)
    return found


def _key(image: np.ndarray, state: str) -> str:
    return hashlib.sha256(f"{state} {image.shape} ".encode() + image.tobytes()).hexdigest()


def _as_map(levels: np.ndarray) -> np.ndarray:
    return levels.astype(np.float32) / 255


def _picture(levels: np.ndarray, key: str, seconds: float) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text(TEXT, json.dumps({"key": key, "seconds": seconds}))
    content = io.BytesIO()
    Image.fromarray(levels).save(content, "png", pnginfo=text)
    return content.getvalue()


def _read(path: Path, key: str, shape: tuple[int, int]) -> Map | None:
    """Read the map in a picture; None where the picture is absent, damaged or has another key."""
    try:
        with Image.open(path) as picture:
            made = json.loads(picture.text[TEXT])
            levels = np.asarray(picture)
        if made["key"] == key and levels.shape == shape and levels.dtype == np.uint8:
            return Map(_as_map(levels), made["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError):
        pass  # absent, cut off, or another program's picture: the map must be computed
    return None
