"""HiFST: high-frequency coefficients of gradients, fused over scales and sorted.

Golestaneh and Karam, "Spatially-Varying Blur Detection Based on Multiscale Fused and Sorted Transform
Coefficients of Gradient Magnitudes", CVPR 2017. Around every pixel the gradient magnitudes are transformed
by the DCT in blocks of four sizes. The magnitudes of the coefficients beyond the antidiagonal are put
together and sorted, and the smallest of them tell how sharp the place is: where it is blurred they are all
near zero. Every rank is a layer that is stretched to [0, 1] over the photograph; the highest layer of each
pixel is kept, weighed by its local entropy and evened out by an edge-aware filter that the photograph guides.

The authors' published maps decide which details are theirs: smoothed colours and grey values rounded to 8
bits as MATLAB does, Sobel gradients, zeros around them, the final map stretched to [0, 1]. A reading of our
own: the 3x3 means of the filter's guide count zeros outside the photograph.

The cost is that of 2,544 coefficients a pixel. They are formed in double precision: the smallest ones are
some 1e-5 of the largest, and get stretched. Columns are transformed once for a strip of rows, then only the
coefficients that are wanted are formed along the rows, as matrix products, and only the smallest are sorted.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import skimage.filters
import torch
from numpy.lib.stride_tricks import sliding_window_view
from tqdm.auto import tqdm

from defusion_lib.baselines.domain_transform import domain_transform
from defusion_lib.baselines.wrapper import detector

BLOCKS = (7, 15, 31, 63)
MARGIN = max(BLOCKS) // 2
LAYERS = sum(BLOCKS) + 1
COEFFICIENTS = sum(size * (size - 1) // 2 for size in BLOCKS)
# Rows of a strip and columns done together: what fits the cache, in products too small for BLAS to put
# threads of its own on them.
STRIP = 64
TILE = 4
MOST_THREADS = 8  # each takes 80 MB for the largest photographs
GREY = (0.2989, 0.5870, 0.1140)


@detector
def detect(image: np.ndarray, progress: bool) -> np.ndarray:
    """HiFST's defocus map: 1 = blurred, 0 = as sharp as the photograph's sharpest place.

    The map is relative to its photograph; one without any gradient is blurred all over.
    """
    sharp = sharpness(gradient_magnitude(image), progress)
    weighed = stretch(sharp * local_entropy(sharp))
    guide = scipy.ndimage.uniform_filter(to_grey(image) / 255, 3, mode="constant")
    return 1 - stretch(domain_transform(weighed, guide, sigma_s=15, sigma_r=0.25, iterations=3))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Grey levels, whole numbers 0..255 as float64 (H, W), of RGB values (H, W, 3)."""
    return np.round(image @ np.array(GREY))


def gradient_magnitude(image: np.ndarray) -> np.ndarray:
    """Sobel gradients' magnitudes, float64 (H, W), in the grey levels of a uint8 RGB photograph (H, W, 3)."""
    colours = image.astype(np.float64)
    smooth = scipy.ndimage.gaussian_filter(colours, (0.5, 0.5, 0), mode="nearest", radius=(1, 1, 0))
    grey = to_grey(np.round(smooth))
    return np.hypot(*(scipy.ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1)))


def sharpness(magnitude: np.ndarray, progress: bool = False) -> np.ndarray:
    """The highest of the stretched layers of sorted coefficients.

    magnitude: gradient magnitudes (H, W) in any unit. Returns float64 (H, W) in [0, 1], 1 = sharp; the layers
    are kept in float32 meanwhile, 470 bytes a pixel.
    """
    if magnitude.shape[0] < magnitude.shape[1]:
        # Strips are of rows: many rows keep all cores busy and the loop along a row short.
        return sharpness(magnitude.T, progress).T
    height, width = magnitude.shape
    padded = np.pad(magnitude.astype(np.float64), MARGIN)
    layers = np.empty((height, width, LAYERS), np.float32)
    result = np.empty((height, width))

    def sort(top, bottom):
        sorted_coefficients(padded[top : bottom + 2 * MARGIN], out=layers[top:bottom])
        return layers[top:bottom].min((0, 1)), layers[top:bottom].max((0, 1))

    low, high = zip(*in_strips(sort, height, progress), strict=True)
    low, high = np.min(low, 0).astype(np.float64), np.max(high, 0).astype(np.float64)
    scale = np.divide(1, high - low, out=np.zeros(LAYERS), where=high > low)

    def fuse(top, bottom):
        for y in range(top, bottom):
            result[y] = ((layers[y] - low) * scale).max(-1)

    in_strips(fuse, height)
    return result


def in_strips(work: Callable[[int, int], Any], height: int, progress: bool = False) -> list:
    """Results of `work(top, bottom)` for strips of up to `STRIP` rows, on the threads that torch may use."""
    bounds = np.linspace(0, height, -(-height // STRIP) + 1).astype(int)
    # What is computed together depends on the strips and not on the threads, so the numbers do not either.
    with ThreadPoolExecutor(min(MOST_THREADS, torch.get_num_threads())) as pool:
        done = pool.map(work, bounds[:-1], bounds[1:])
        return list(tqdm(done, desc="hifst", total=len(bounds) - 1, disable=not progress, leave=False))


def sorted_coefficients(padded: np.ndarray, out: np.ndarray) -> None:
    """The smallest magnitudes of high-frequency coefficients around every pixel, ascending.

    padded: gradient magnitudes float64 (H + 62, W + 62); out: takes them, (H, W, LAYERS).
    """
    height, width, _ = out.shape
    coefficients = np.empty((TILE, height, COEFFICIENTS))
    products, done = [], 0
    for size in BLOCKS:
        base = scipy.fft.dct(np.eye(size), axis=0, norm="ortho")
        inset = MARGIN - size // 2
        near = padded[inset : inset + height + size - 1, inset : inset + width + size - 1]
        columns = np.empty((size, height, width + size - 1))
        np.matmul(base, sliding_window_view(near, size, axis=0).swapaxes(1, 2), out=columns.swapaxes(0, 1))
        windows = sliding_window_view(columns, size, axis=2).swapaxes(1, 2)
        for i in range(1, size):
            # With the vertical frequency i, the horizontal ones that are high enough are the last i.
            wanted = np.ascontiguousarray(base[size - i :].T)
            products.append((windows[i], wanted, coefficients[..., done : done + i]))
            done += i
    for left in range(0, width, TILE):
        count = min(TILE, width - left)
        for windows, wanted, place in products:
            np.matmul(windows[left : left + count], wanted, out=place[:count])
        tile = coefficients[:count]
        np.abs(tile, out=tile)
        tile.partition(LAYERS - 1, axis=-1)
        smallest = tile[..., :LAYERS].astype(np.float32)
        smallest.sort(axis=-1)
        out[:, left : left + count] = smallest.swapaxes(0, 1)


def local_entropy(values: np.ndarray) -> np.ndarray:
    """The entropy in bits of the 256 levels of `values` (H, W), 0..1, in 7x7 pixels, mirrored at borders."""
    levels = np.pad(np.round(255 * values).astype(np.uint8), 3, mode="symmetric")
    return skimage.filters.rank.entropy(levels, np.ones((7, 7)))[3:-3, 3:-3]


def stretch(values: np.ndarray) -> np.ndarray:
    """The values moved and scaled to reach from 0 to 1; zeros where they are all the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
