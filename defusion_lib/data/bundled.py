"""Photos in the wheels of scikit-image and scikit-learn."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

ALL_SHARP = "all of it"
# {photo: (its file, what a person sees in focus in it)}; its name begins with its package.
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
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}  # {package: where its photos lie in it}


def wheel_file(package: str, name: str) -> Path:
    """Return the path of a file beside a package's photos.

    `package` is a key of `FOLDERS`. Raises FileNotFoundError where the package or the file is missing.
    """
    # find_spec imports nothing, whereas importlib.resources would import the packages, which takes seconds.
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0] if places else package, FOLDERS[package], name)
    if not path.is_file():
        raise FileNotFoundError(
            f"The file {name} of the package {package} is not at {path}: install the versions of scikit-image and "
            "scikit-learn that constraints.txt names."
        )
    return path


def read_embedded(name: str) -> np.ndarray:
    """Read a photo of `EMBEDDED` as uint8 RGB (H, W, 3), grey repeated; raise ValueError for another name."""
    if name not in EMBEDDED:
        raise ValueError(f"There is no embedded photo {name!r}: choose from {', '.join(EMBEDDED)}.")
    with Image.open(wheel_file(name.partition("-")[0], EMBEDDED[name][0])) as image:
        return np.asarray(image.convert("RGB"))


def embedded(name: str) -> np.ndarray:
    """Return the middle square of a photo of `EMBEDDED` at its own size; raise ValueError for another name."""
    image = read_embedded(name)
    side = min(image.shape[:2])
    top, left = ((whole - side) // 2 for whole in image.shape[:2])
    return image[top : top + side, left : left + side]


def sharp_throughout(names: Sequence[str], size: int) -> list[str]:
    """Select the photos of `EMBEDDED` that are in focus all over when seen at `size` pixels a side.

    Those that would be enlarged by more than a tenth are left out, because enlarging makes them soft.
    """
    return [name for name in names if EMBEDDED[name][1] == ALL_SHARP and size <= 1.1 * len(embedded(name))]
