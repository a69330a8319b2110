"""Photographs in the wheels of scikit-image and scikit-learn."""

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from PIL import Image

ALL_SHARP = "all of it"
# Photographs in the wheels of scikit-image and scikit-learn: file, and what a person sees in focus in them.
EMBEDDED = {
    "skimage-brick": ("brick.png", ALL_SHARP),
    "skimage-grass": ("grass.png", ALL_SHARP),
    "skimage-gravel": ("gravel.png", ALL_SHARP),
    "skimage-page": ("page.png", ALL_SHARP),
    "skimage-coins": ("coins.png", ALL_SHARP),
    "skimage-camera": ("camera.png", ALL_SHARP),
    "skimage-rocket": ("rocket.jpg", ALL_SHARP),
    "skimage-motorcycle": ("motorcycle_left.png", ALL_SHARP),
    "sklearn-china": ("china.jpg", ALL_SHARP),
    "skimage-astronaut": ("astronaut.png", "the woman; her background is hard to tell"),
    "skimage-coffee": ("coffee.png", "cup and saucer, not the far corner of the table"),
    "skimage-chelsea": ("chelsea.png", "eyes and nose, less so the edges of the fur"),
    "sklearn-flower": ("flower.jpg", "the flower, not the leaves behind it"),
}
_FOLDERS = {"skimage": "skimage.data", "sklearn": "sklearn.datasets.images"}


def embedded(name: str) -> np.ndarray:
    """The middle square of a photograph of `EMBEDDED` at its own size, grey repeated.

    Raises ValueError for another name.
    """
    if name not in EMBEDDED:
        raise ValueError(f"There is no embedded photograph {name!r}: choose from {', '.join(EMBEDDED)}.")
    path = files(_FOLDERS[name.partition("-")[0]]) / EMBEDDED[name][0]
    with path.open("rb") as file, Image.open(file) as image:
        side = min(image.size)
        left, top = ((whole - side) // 2 for whole in image.size)
        return np.asarray(image.convert("RGB").crop((left, top, left + side, top + side)))


def sharp_throughout(names: Sequence[str], size: int) -> list[str]:
    """Select the photographs of `EMBEDDED` that are in focus all over when seen at `size` pixels a side.

    Those that would be enlarged by more than a tenth are left out: that alone makes them soft.
    """
    return [name for name in names if EMBEDDED[name][1] == ALL_SHARP and size <= 1.1 * len(embedded(name))]
