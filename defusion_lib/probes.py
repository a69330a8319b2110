"""Pictures whose blur is known in every pixel, and what their maps say: where a detector fails, and on what.

Paper: Section 4.3 shows what the eye picked (Figure 11); here the truth comes from the renderer's own blur.
Photographs are uint8 RGB (H, W, 3), maps and masks float (H, W) with 1 = blurred, radii are in pixels.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage, stats

from defusion_lib.data import Photo
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.effects import blurred
from defusion_lib.data.synthetic import CHALLENGES, make_scene

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
WINDOW = 9  # pixels a side of the window that texture is measured in


class Known(NamedTuple):
    """A photograph with its exact mask, each pixel's blur radius and texture before the blur, all (H, W)."""

    photo: Photo
    radius: np.ndarray
    texture: np.ndarray


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


def origin(name: str) -> str:
    """Return the name of what a picture was made of, from the picture's name.

    Both ways round of a half-and-half picture come from one photograph, both of a focus-swapped pair from one scene.
    """
    if name.startswith("focus-swapped-pair"):
        return f"pair {int(name[-3:]) // 2}"
    return name.removesuffix("-left-sharp").removesuffix("-right-sharp")


def largest_sharp_square(mask: np.ndarray, least: int = 96) -> tuple[slice, slice] | None:
    """Find the largest square of pixels that are all in focus (mask 0), as (rows, columns).

    `mask` is (H, W). The first in reading order of several; None where no square has `least` pixels a side.
    """
    before = np.pad(np.cumsum(np.cumsum(mask != 0, 0), 1), ((1, 0), (1, 0)))

    def corners(side: int) -> np.ndarray:
        blurred = before[side:, side:] - before[:-side, side:] - before[side:, :-side] + before[:-side, :-side]
        return np.argwhere(blurred == 0)

    # Where a square of one size fits, all smaller ones do.
    side = bisect_left(range(1, min(mask.shape) + 1), True, key=lambda side: not len(corners(side)))
    if side < least:
        return None
    top, left = corners(side)[0]
    return slice(top, top + side), slice(left, left + side)


def half_and_half(name: str, image: np.ndarray, radius: float, sharp_left: bool) -> Known:
    """A sharp photograph with one half blurred, as where a sharp thing hides half of a blurred one.

    Neither half spills over the other, so the mask is exact: 1 in one half, 0 in the other.
    """
    width = image.shape[1]
    in_blurred_half = (np.arange(width) < width // 2) != sharp_left
    mask = np.broadcast_to(in_blurred_half, image.shape[:2]).astype(np.float32)
    picture = np.where(mask[..., None] == 1, blurred(image, radius), image)
    side = "left" if sharp_left else "right"
    return Known(Photo(f"{name}-{side}-sharp", picture, mask), mask * np.float32(radius), texture(image))


def rendered(index: int, size: int, seed: int) -> Known:
    """Photograph `index` of the synthetic set, `size` x `size`, in the order of `open_synthetic`.

    Its texture is that of the same scene through a pinhole without noise.
    """
    challenge, number = CHALLENGES[index % len(CHALLENGES)], index // len(CHALLENGES)
    scene, camera = make_scene(challenge, number, (size, size), seed)
    found = render(scene, camera, [seed, CHALLENGES.index(challenge), number])
    sharp = render(scene, Camera(camera.focus_distance, aperture=0, shot_noise=0, read_noise=0)).image
    return Known(Photo(f"{challenge}-{number:03d}", found.image, found.mask), found.radius, texture(sharp))


def texture(image: np.ndarray) -> np.ndarray:
    """Standard deviation of the grey value (mean of R, G, B) in the `WINDOW` around each pixel.

    Float64 (H, W) in [0, 0.5]. What lies outside the frame is its mirror image.
    """
    grey = image.mean(2) / 255
    mean, square = (ndimage.uniform_filter(plane, WINDOW, mode="reflect") for plane in (grey, grey**2))
    return np.sqrt(np.clip(square - mean**2, 0, None))


def firing_radius(radii: Sequence[float], shares: Sequence[float]) -> float:
    """The radius at which the share of pixels called blurred first reaches one half.

    `radii` ascend; between two of them the share is on a line. The first radius where the share is there at
    once, infinity where it never gets there.
    """
    for i, share in enumerate(shares):
        if share >= 0.5:
            last_two = slice(max(i - 1, 0), i + 1)
            return float(np.interp(0.5, shares[last_two], radii[last_two]))
    return math.inf


def quarters(wrong: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """The share of wrong pixels in each quarter of the pixels, from smooth to textured, float64 (4,).

    Takes two arrays of one shape, at least four pixels, of which any selection may be made before.
    """
    order = np.argsort(texture, axis=None, kind="stable")
    return np.array([part.mean() for part in np.array_split(wrong.ravel()[order], 4)])


def pairs(values: np.ndarray, chosen: np.ndarray) -> float:
    """In what share of all pairs of a chosen and another pixel the chosen one has the higher value.

    Ties count half, so 0.5 says that the value does not tell them apart. `chosen` is bool of the values'
    shape; NaN where all or none are.
    """
    ours, others = values[chosen], values[~chosen]
    if not ours.size or not others.size:
        return math.nan
    ranks = stats.rankdata(np.concatenate([ours, others]))[: ours.size]
    return float((ranks.sum() - ours.size * (ours.size + 1) / 2) / (ours.size * others.size))


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """In how many pairs the first is higher, in how many they differ, and the two-sided p of the sign test.

    p is how likely a split at least as uneven is where neither tends to be higher; 1 where no pair differs.
    """
    apart = np.subtract(first, second)
    higher, differ = int((apart > 0).sum()), int((apart != 0).sum())
    return higher, differ, float(stats.binomtest(higher, differ).pvalue) if differ else 1.0
