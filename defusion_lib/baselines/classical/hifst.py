"""HiFST: high-frequency coefficients of gradients, fused over scales and sorted.

Golestaneh and Karam, "Spatially-Varying Blur Detection Based on Multiscale Fused and Sorted Transform
Coefficients of Gradient Magnitudes", CVPR 2017. Around every pixel the gradient magnitudes are transformed by the
DCT in blocks of four sizes. The magnitudes of the coefficients beyond the antidiagonal are merged and sorted; the
smallest of them measure sharpness: in blurred areas they are all near zero. Every rank is a layer that is stretched
to [0, 1] over the image. The highest layer of each pixel is kept, weighted by its local entropy and smoothed by an
edge-aware filter with the image as its guide.

The details were chosen to match the authors' published maps: smoothed colours and grey levels rounded to 8 bits as
MATLAB does, Sobel gradients, zeros around them, the final map stretched to [0, 1]. Our reading: the 3x3 means of the
filter's guide include zeros outside the image.

The cost is 2,544 coefficients per pixel. They are computed in double precision: the smallest ones are some 1e-5 of
the largest, and stretching amplifies them. Columns are transformed once per strip of rows, then only the required
coefficients are computed along the rows, as matrix products. They are rounded to single precision, which keeps their
order, before the smallest are selected and sorted.
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

from defusion_lib.baselines.domain_transform import domain_transform
from defusion_lib.baselines.images import luma, stretch
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.progress import tqdm
from defusion_lib.stopping import stoppable_in_threads, tick

BLOCKS = (7, 15, 31, 63)
MARGIN = max(BLOCKS) // 2
LAYERS = sum(BLOCKS) + 1
COEFFICIENTS = sum(size * (size - 1) // 2 for size in BLOCKS)
# Rows of a strip and columns of a tile: they fit into the cache, and their products are too small for BLAS to start
# threads.
STRIP = 64
TILE = 4
MAX_THREADS = 8  # each takes 80 MB for the largest photos
MATLAB_LUMA = (0.2989, 0.5870, 0.1140)  # the weights of rgb2gray


@classical_method
def detect(image: np.ndarray, progress: bool) -> np.ndarray:
    """Compute HiFST's defocus map: 1 = blurred, 0 = as sharp as the sharpest pixel of the image.

    The map is relative to the image; it is 1 everywhere if the image has no gradient.
    """
    sharp = sharpness(gradient_magnitude(image), progress)
    weighted = stretch(sharp * local_entropy(sharp))
    guide = scipy.ndimage.uniform_filter(to_grey(image) / 255, 3, mode="constant")
    return 1 - stretch(domain_transform(weighted, guide, sigma_s=15, sigma_r=0.25, iterations=3))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Convert RGB values (H, W, 3) to grey levels as MATLAB does: integers 0..255 as float64 (H, W)."""
    return np.round(luma(image, MATLAB_LUMA))


def gradient_magnitude(image: np.ndarray) -> np.ndarray:
    """Compute the magnitudes of Sobel gradients of a uint8 RGB image (H, W, 3): float64 (H, W), in grey levels."""
    colours = image.astype(np.float64)
    smooth = scipy.ndimage.gaussian_filter(colours, (0.5, 0.5, 0), mode="nearest", radius=(1, 1, 0))
    grey = to_grey(np.round(smooth))
    return np.hypot(*(scipy.ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1)))


def sharpness(magnitude: np.ndarray, progress: bool = False) -> np.ndarray:
    """Compute the highest of the stretched layers of sorted coefficients.

    `magnitude` has gradient magnitudes (H, W) in any unit. Returns float64 (H, W) in [0, 1], 1 = sharp. The layers
    need 470 bytes per pixel (float32).
    """
    if magnitude.shape[0] < magnitude.shape[1]:
        # Strips consist of rows: many rows use all cores, and the loop along a row is short.
        return sharpness(magnitude.T, progress).T
    height, width = magnitude.shape
    padded = np.pad(magnitude.astype(np.float64), MARGIN)
    layers = np.empty((height, width, LAYERS), np.float32)
    result = np.empty((height, width))

    def sort(top, bottom):
        sorted_coefficients(padded[top : bottom + 2 * MARGIN], out=layers[top:bottom])
        return layers[top:bottom].min((0, 1)), layers[top:bottom].max((0, 1))

    low, high = zip(*map_strips(sort, height, progress), strict=True)
    low, high = np.min(low, 0).astype(np.float64), np.max(high, 0).astype(np.float64)
    scale = np.divide(1, high - low, out=np.zeros(LAYERS), where=high > low)

    def fuse(top, bottom):
        for y in range(top, bottom):
            tick()
            result[y] = ((layers[y] - low) * scale).max(-1)

    map_strips(fuse, height)
    return result


def map_strips(work: Callable[[int, int], Any], height: int, progress: bool = False) -> list:
    """Return the results of `work(top, bottom)` for strips of up to `STRIP` rows, on as many threads as torch uses."""
    work = stoppable_in_threads(work)
    bounds = np.linspace(0, height, -(-height // STRIP) + 1).astype(int)
    # The strips do not depend on the number of threads, so neither do the numbers.
    with ThreadPoolExecutor(min(MAX_THREADS, torch.get_num_threads())) as pool:
        done = pool.map(work, bounds[:-1], bounds[1:])
        return list(tqdm(done, desc="hifst", total=len(bounds) - 1, disable=not progress, leave=False))


def sorted_coefficients(padded: np.ndarray, out: np.ndarray) -> None:
    """Compute the smallest magnitudes of high-frequency coefficients around every pixel, ascending.

    `padded` has gradient magnitudes, float64 (H + 62, W + 62); the result is written to `out` (H, W, LAYERS).
    """
    height, width, _ = out.shape
    coefficients = np.empty((TILE, height, COEFFICIENTS))
    magnitudes = np.empty(coefficients.shape, np.float32)
    products, done = [], 0
    for size in BLOCKS:
        base = scipy.fft.dct(np.eye(size), axis=0, norm="ortho")
        inset = MARGIN - size // 2
        near = padded[inset : inset + height + size - 1, inset : inset + width + size - 1]
        columns = np.empty((size, height, width + size - 1))
        np.matmul(base, sliding_window_view(near, size, axis=0).swapaxes(1, 2), out=columns.swapaxes(0, 1))
        windows = sliding_window_view(columns, size, axis=2).swapaxes(1, 2)
        for i in range(1, size):
            # For the vertical frequency i, the last i horizontal frequencies lie beyond the antidiagonal.
            wanted = np.ascontiguousarray(base[size - i :].T)
            products.append((windows[i], wanted, coefficients[..., done : done + i]))
            done += i
    for left in range(0, width, TILE):
        tick()
        count = min(TILE, width - left)
        for windows, wanted, place in products:
            np.matmul(windows[left : left + count], wanted, out=place[:count])
        tile = magnitudes[:count]
        tile[...] = coefficients[:count]
        np.abs(tile, out=tile)
        tile.partition(LAYERS - 1, axis=-1)
        smallest = tile[..., :LAYERS]
        smallest.sort(axis=-1)
        out[:, left : left + count] = smallest.swapaxes(0, 1)


def local_entropy(values: np.ndarray) -> np.ndarray:
    """Compute the entropy in bits of `values` (H, W) in 0..1 as 256 levels, in 7x7 pixels, mirrored at borders."""
    levels = np.pad(np.round(255 * values).astype(np.uint8), 3, mode="symmetric")
    return skimage.filters.rank.entropy(levels, np.ones((7, 7)))[3:-3, 3:-3]
