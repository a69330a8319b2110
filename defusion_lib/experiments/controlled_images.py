"""Pictures whose blur is known in every pixel, and what their maps say: where a detector fails, and on what.

Paper: Section 4.3 shows what the eye picked (Figure 11); here the truth comes from the renderer's own blur.
Photographs are uint8 RGB (H, W, 3), maps and masks float (H, W) with 1 = blurred, radii are in pixels.
"""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from defusion_lib.data import Photo
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.effects import blurred
from defusion_lib.data.synthetic import CHALLENGES, make_scene

WINDOW = 9  # pixels a side of the window that texture is measured in


class Known(NamedTuple):
    """A photograph with its exact mask, each pixel's blur radius and texture before the blur, all (H, W)."""

    photo: Photo
    radius: np.ndarray
    texture: np.ndarray


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


