"""Sharp photos that give rendered scenes their colours and textures.

They lie inside the installed wheels of scikit-image and scikit-learn; nothing is downloaded. Crops are taken only where
those photos are in focus and are never enlarged, so that a layer at the focus distance is as sharp as the pixel grid
allows.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage

from defusion_lib.data import bundled
from defusion_lib.data.camera import to_linear

# {source: (photo in `bundled.EMBEDDED`, the part of it that is in focus as (left, top, right, bottom))}
SOURCES = {
    "pagoda": ("sklearn-china", (0, 0, 640, 427)),
    "trees": ("sklearn-china", (0, 170, 640, 427)),
    "garage": ("skimage-motorcycle", (0, 0, 741, 500)),
    "night": ("skimage-rocket", (0, 0, 640, 427)),
    "cafe": ("skimage-coffee", (0, 0, 600, 400)),
    "wood": ("skimage-coffee", (492, 200, 600, 400)),
    "meadow": ("skimage-camera", (0, 0, 512, 512)),
    "cat": ("skimage-chelsea", (60, 0, 340, 280)),
    "suit": ("skimage-astronaut", (30, 190, 320, 500)),
    "brick": ("skimage-brick", (0, 0, 512, 512)),
    "grass": ("skimage-grass", (0, 0, 512, 512)),
    "gravel": ("skimage-gravel", (0, 0, 512, 512)),
    "dahlia": ("sklearn-flower", (180, 70, 460, 370)),
    "saucer": ("skimage-coffee", (70, 0, 490, 380)),
    "coins": ("skimage-coins", (0, 0, 384, 303)),
}
BACKDROPS = ("pagoda", "trees", "garage", "night", "cafe", "meadow", "brick", "grass", "gravel")
CARDS = ("pagoda", "trees", "garage", "cafe", "cat", "suit", "meadow")

# Factors that give the grey textures a colour, in linear light.
TINTS = {
    "brick": ((1.6, 0.75, 0.5), (1.3, 1.05, 0.85), (1.0, 1.0, 1.05)),
    "grass": ((0.62, 1.0, 0.28), (0.85, 1.0, 0.35), (1.25, 0.9, 0.4)),
    "gravel": ((1.0, 1.0, 1.0), (1.25, 1.05, 0.8), (0.8, 0.95, 1.1)),
    "coins": ((1.6, 1.25, 0.75), (1.2, 1.2, 1.25), (1.6, 0.95, 0.65)),
}


@cache
def read_source(name: str) -> np.ndarray:
    """Return the part of a photo of `SOURCES` that is in focus, in linear light, float32 (h, w, 3)."""
    photo, (left, top, right, bottom) = SOURCES[name]
    return to_linear(bundled.read_embedded(photo)[top:bottom, left:right])


def resize(planes: np.ndarray, size: tuple[int, int], box: tuple | None = None) -> np.ndarray:
    """Resample float32 (h, w, C), or its box (left, top, right, bottom), to `size` with weights by area."""
    channels = [
        Image.fromarray(np.ascontiguousarray(planes[..., c])).resize(size[::-1], Image.Resampling.HAMMING, box)
        for c in range(planes.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def random_crop(rng: Generator, style: Generator, name: str, size: tuple[int, int]) -> np.ndarray:
    """Cut a random part out of a source, at `size`, mirrored half of the time and never enlarged."""
    photo = read_source(name)
    # A texture smaller than the frame continues in its mirror image; photos of objects come from `fitting`.
    short = [max(0, math.ceil(want - have)) for want, have in zip(size, photo.shape)]
    photo = np.pad(photo, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    height, width = photo.shape[:2]
    largest = min(height / size[0], width / size[1])
    factor = max(1.0, largest * rng.uniform(0.6, 1.0))
    tall, wide = min(size[0] * factor, height), min(size[1] * factor, width)
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - tall)
    result = resize(photo, size, (left, top, min(left + wide, width), min(top + tall, height)))
    if rng.random() < 0.5:
        result = result[:, ::-1]
    return np.ascontiguousarray(result * random_tint(style, name))


def fitting(names: Sequence[str], size: tuple[int, int]) -> list[str]:
    """Select the sources that fill a frame of `size` without being enlarged."""
    return [name for name in names if all(have >= want for have, want in zip(read_source(name).shape, size))]


def random_tint(style: Generator, name: str) -> np.ndarray:
    """Draw one of a source's tints, a factor for each channel, float32 (3,)."""
    tints = TINTS.get(name, ((1.0, 1.0, 1.0),))
    return np.array(tints[style.integers(len(tints))], np.float32)


@cache
def cut_outs(name: str) -> list[np.ndarray]:
    """Cut the objects out of a source: each is float32 (h, w, 4), colour and matte."""
    colour = read_source(name)
    if name == "saucer":
        # The saucer's rim is an ellipse; cup and spoon lie inside it but for the cup's upper rim.
        drawing = Image.new("L", (4 * colour.shape[1], 4 * colour.shape[0]))
        draw = ImageDraw.Draw(drawing)
        for box in ((8, 82, 412, 370), (104, 18, 336, 240)):
            draw.ellipse([4 * side for side in box], fill=255)
        inside = np.asarray(drawing.resize(colour.shape[1::-1], Image.Resampling.BOX)) > 127
    elif name == "dahlia":
        # Orange petals on blue-green leaves.
        inside = _largest(colour[..., 0] > 1.6 * colour[..., 2] + 0.04)
    else:
        bright = ndimage.gaussian_filter(colour[..., 0], 1.5)
        bright = bright > ndimage.gaussian_filter(colour[..., 0], 40) + 0.02
        parts, _ = ndimage.label(ndimage.binary_opening(ndimage.binary_fill_holes(bright), iterations=4))
        whole = []
        for index, box in enumerate(ndimage.find_objects(parts), 1):
            sides = [span.stop - span.start for span in box]
            if min(sides) >= 28 and max(sides) <= 75:
                wider = tuple(slice(max(0, span.start - 2), span.stop + 2) for span in box)
                whole.append((colour[wider], parts[wider] == index))
        return [_with_matte(*coin) for coin in whole]
    return [_with_matte(colour, inside)]


def _with_matte(colour: np.ndarray, inside: np.ndarray) -> np.ndarray:
    # The matte is one pixel smaller all around, without the rim that shows the old background.
    matte = ndimage.gaussian_filter(ndimage.binary_erosion(inside).astype(np.float32), 0.7)
    return np.dstack([colour, matte])


def _largest(region: np.ndarray) -> np.ndarray:
    region = ndimage.binary_opening(ndimage.binary_fill_holes(region), iterations=2)
    parts, count = ndimage.label(region)
    return parts == 1 + np.argmax(ndimage.sum_labels(region, parts, np.arange(1, count + 1)))


@cache
def garage_depth() -> np.ndarray:
    """Return the distance in metres of every pixel of the garage, float64 (h, w), from scikit-image's disparity map.

    Its calibration is scikit-image's: focal length 994.978 px, baseline 0.193001 m, principal points 31.086 px apart.
    Pixels without disparity lie beside nearer objects that hide them from the other camera, so they take the distance
    of the further of their two neighbours in the row.
    """
    with np.load(bundled.wheel_file("skimage", "motorcycle_disp.npz")) as data:
        disparity = data["arr_0"].astype(np.float64)
    known = np.isfinite(disparity)
    column = np.arange(disparity.shape[1])
    for row, good in zip(disparity, known):
        before = np.maximum.accumulate(np.where(good, column, -1))
        after = np.minimum.accumulate(np.where(good, column, len(column))[::-1])[::-1]
        left = np.where(before >= 0, row[np.maximum(before, 0)], np.inf)
        right = np.where(after < len(column), row[np.minimum(after, len(column) - 1)], np.inf)
        row[:] = np.minimum(left, right)
    return 994.978 * 0.193001 / (disparity + 31.086)
