"""Bring a defocus map up to a photo's own resolution along the photo's edges, instead of bilinearly.

The guided filter (He, Sun and Tang, TPAMI 2013) takes the map in every small window for a linear function of the
photo's colour, and averages the functions of all windows around a pixel. They are computed on a small copy of the photo
(the fast guided filter, He and Sun 2015) and applied to the complete one, some rows at a time, so that an edge of the
photo becomes an edge of the map at the photo's resolution. The filter also smooths, as its windows do without a photo:
that part of its change is left out, and only what the photo's colours contribute is added to the map.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy import ndimage

from defusion_lib.inference import resize_map, to_rgb

# Chosen on training photos of Shi's set for the least error near the borders of masks, with an earlier network. For the
# network in the package the best setting is better by .0007 of .21 (outputs/box/results/refinement_choice.json).
SIDE = 160  # pixels: the longer side of the small copy
RADIUS = 6  # pixels of it: a window has 2 * RADIUS + 1 a side
EPSILON = 1e-5  # variance of colours (of 1) that counts as flat: no edge of the map follows weaker ones
ROWS = 256  # of the photo that are computed at once


def refine(
    defocus: np.ndarray, image: np.ndarray, side: int = SIDE, radius: int = RADIUS, epsilon: float = EPSILON
) -> np.ndarray:
    """Compute a map whose borders follow a photo's edges, float32 (H, W) in [0, 1], from one that is smooth there.

    `defocus` is a map of the photo, (h, w) in [0, 1] of any size, such as that of `inference.detect`; `image` is
    uint8, RGB (H, W, 3) or grey (H, W). `side`, `radius` and `epsilon` as the constants of this module. Beside copies
    of photo and map the memory is that of `ROWS` rows of the photo. Raises ValueError for any other array.
    """
    image, defocus = to_rgb(image), np.asarray(defocus, np.float32)
    if defocus.ndim != 2 or not defocus.size or not np.isfinite(defocus).all():
        raise ValueError(
            f"Found a map of shape {defocus.shape}, expected one of (height, width) with finite values: "
            "give the map that detect computed of the photo."
        )
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(small_shape(image, side)[::-1], Image.Resampling.BOX)
    # In double precision: the colours of grey photos lie on a line, and their covariance is nearly singular.
    guide = np.asarray(small, np.float64) / 255
    seen = resize_map(defocus, guide.shape[:2]).astype(np.float64)
    slopes, offset = linear_functions(seen, guide, radius, epsilon)
    # Without a photo the slopes are 0, and the offset is the map smoothed twice.
    offset -= box(box(seen, radius), radius)
    refined = resize_map(defocus, (height, width))
    for rows, planes in _enlarged([*np.moveaxis(slopes, 2, 0), offset], height, width):
        change = planes.pop()
        for channel, plane in enumerate(planes):
            change += plane * (image[rows, :, channel] / np.float32(255))
        np.clip(refined[rows] + change, 0, 1, out=refined[rows])
    return refined


def small_shape(image: np.ndarray, side: int) -> tuple[int, int]:
    """Return height and width of an image (H, W, ...) whose longer side is reduced to `side`; none is enlarged."""
    scale = min(1, side / max(image.shape[:2]))
    height, width = (max(1, round(scale * length)) for length in image.shape[:2])
    return height, width


def linear_functions(
    defocus: np.ndarray, guide: np.ndarray, radius: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the linear function of colour that stands for a map around each pixel: slopes (H, W, C), offset (H, W).

    `defocus` is float (H, W), `guide` float (H, W, C) in [0, 1]. Eq. 19-20 of He et al., averaged over the windows of
    2 `radius` + 1 pixels a side that hold the pixel (Eq. 21).
    """
    mean, mean_defocus = box(guide, radius), box(defocus, radius)
    covariance = box(guide[..., :, None] * guide[..., None, :], radius) - mean[..., :, None] * mean[..., None, :]
    covariance += epsilon * np.eye(guide.shape[2])
    against = box(guide * defocus[..., None], radius) - mean * mean_defocus[..., None]
    slopes = np.linalg.solve(covariance, against[..., None])[..., 0]
    offset = mean_defocus - (slopes * mean).sum(-1)
    return box(slopes, radius), box(offset, radius)


def box(values: np.ndarray, radius: int) -> np.ndarray:
    """Average the windows of 2 `radius` + 1 pixels a side around each pixel of an array (H, W, ...)."""
    for axis in (0, 1):
        values = ndimage.uniform_filter1d(values, 2 * radius + 1, axis, mode="nearest")
    return values


def _enlarged(planes: list[np.ndarray], height: int, width: int) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Enlarge planes (h, w) bilinearly to (height, width), some rows at a time: yield the rows and the planes there."""
    pictures = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in planes]
    small_width, small_height = pictures[0].size
    for top in range(0, height, ROWS):
        below = min(height, top + ROWS)
        # Pixels outside the box count too, so that no seam shows.
        box = (0, top * small_height / height, small_width, below * small_height / height)
        yield (
            slice(top, below),
            [np.array(each.resize((width, below - top), Image.Resampling.BILINEAR, box)) for each in pictures],
        )
