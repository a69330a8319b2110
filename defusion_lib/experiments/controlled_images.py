"""Make images whose blur is known in every pixel, to find out where a detector fails.

Section 4.3 of the paper shows hand-picked photos (Figure 11); here the renderer computes the exact mask. Images are
uint8 RGB (H, W, 3), maps and masks float (H, W) with 1 = blurred, radii are in pixels.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from defusion_lib.data import Photo, bundled
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.effects import blurred
from defusion_lib.data.synthetic import CHALLENGES, make_scene

WINDOW = 9  # pixels a side of the window that texture is measured in


class ControlledImage(NamedTuple):
    """A photo with its exact mask, and for each pixel the blur radius and the texture before the blur, all (H, W)."""

    photo: Photo
    radius: np.ndarray
    texture: np.ndarray


def origin(name: str) -> str:
    """Return the name of the photo or scene that an image was made of, from the image's name.

    Both half-and-half images of a photo have one origin, and so have both images of a focus-swapped pair.
    """
    if name.startswith("focus-swapped-pair"):
        return f"pair {int(name[-3:]) // 2}"
    return name.removesuffix("-left-sharp").removesuffix("-right-sharp")


def by_origin(of_image: Mapping[str, float]) -> list[list[float]]:
    """Divide values of images, {image: value}, by `origin`: one list for each photo or scene."""
    found = defaultdict(list)
    for name, value in of_image.items():
        found[origin(name)].append(value)
    return list(found.values())


def standard_error(of_image: Mapping[str, float]) -> tuple[float, int]:
    """Compute the standard error of a mean over images, {image: value}, and the number of independent ones.

    Images of one `origin` err alike. So their deviations from the mean are summed first, as for a sample of clusters;
    else the error would be too small. NaN for one origin.
    """
    mean = np.mean(list(of_image.values()))
    deviations = [sum(value - mean for value in values) for values in by_origin(of_image)]
    count = len(deviations)
    if count < 2:
        return np.nan, count
    squares = np.square(deviations).sum()
    return float(np.sqrt(squares * count / (count - 1)) / len(of_image)), count


def largest_sharp_square(mask: np.ndarray, least: int = 96) -> tuple[slice, slice] | None:
    """Find the largest square of pixels that are all in focus (mask 0), as (rows, columns).

    `mask` is (H, W). Of several squares, it is the first in reading order. Returns None if no square has `least`
    pixels a side.
    """
    before = np.pad(np.cumsum(np.cumsum(mask != 0, 0), 1), ((1, 0), (1, 0)))

    def corners(side: int) -> np.ndarray:
        blurred = before[side:, side:] - before[:-side, side:] - before[side:, :-side] + before[:-side, :-side]
        return np.argwhere(blurred == 0)

    # If a square of one size fits, all smaller ones fit.
    side = bisect_left(range(1, min(mask.shape) + 1), True, key=lambda side: not len(corners(side)))
    if side < least:
        return None
    top, left = corners(side)[0]
    return slice(top, top + side), slice(left, left + side)


def embedded_squares(names: Iterable[str], size: int) -> dict[str, np.ndarray]:
    """Read the middle squares of photos of `bundled.EMBEDDED`, resized to `size` x `size` pixels."""
    return {name: resize_to_square(Image.fromarray(bundled.embedded(name)), size) for name in names}


def half_and_half(name: str, image: np.ndarray, radius: float, sharp_left: bool) -> ControlledImage:
    """Blur one half of a sharp photo, as if a sharp object hid half of a blurred one.

    No light crosses the border, so the mask is exact: 1 in one half, 0 in the other.
    """
    width = image.shape[1]
    in_blurred_half = (np.arange(width) < width // 2) != sharp_left
    mask = np.broadcast_to(in_blurred_half, image.shape[:2]).astype(np.float32)
    halved = np.where(mask[..., None] == 1, blurred(image, radius), image)
    side = "left" if sharp_left else "right"
    return ControlledImage(Photo(f"{name}-{side}-sharp", halved, mask), mask * np.float32(radius), texture(image))


def both_halves(images: Mapping[str, np.ndarray], radius: float) -> list[ControlledImage]:
    """Make two half-and-half images of each photo {name: image}: sharp on the left, then sharp on the right."""
    return [half_and_half(name, image, radius, left) for name, image in images.items() for left in (True, False)]


def rendered(index: int, size: int, seed: int) -> ControlledImage:
    """Render photo `index` of the synthetic set, `size` x `size` pixels, in the order of `open_synthetic`.

    Its texture is measured in the same scene seen through a pinhole, without noise.
    """
    challenge, number = CHALLENGES[index % len(CHALLENGES)], index // len(CHALLENGES)
    scene, camera = make_scene(challenge, number, (size, size), seed)
    found = render(scene, camera, [seed, CHALLENGES.index(challenge), number])
    sharp = render(scene, Camera(camera.focus_distance, aperture=0, shot_noise=0, read_noise=0)).image
    return ControlledImage(Photo(f"{challenge}-{number:03d}", found.image, found.mask), found.radius, texture(sharp))


def texture(image: np.ndarray) -> np.ndarray:
    """Compute the standard deviation of the grey value (mean of R, G, B) in the `WINDOW` around each pixel.

    The result is float64 (H, W) in [0, 0.5]. At the border the image is mirrored.
    """
    grey = image.mean(2) / 255
    mean, square = (ndimage.uniform_filter(plane, WINDOW, mode="reflect") for plane in (grey, grey**2))
    return np.sqrt(np.clip(square - mean**2, 0, None))


def blurred_share(defocus: np.ndarray) -> float:
    """Compute the share of pixels that a map marks as blurred: above 0.5."""
    return float((defocus > 0.5).mean())
