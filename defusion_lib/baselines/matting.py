"""Closed-form matting: propagate the values of known pixels to all others, guided by the colours of the image.

Levin, Lischinski and Weiss (TPAMI 2008) assume that in every 3x3 window alpha is a linear function of colour. The
squared residual of the best linear functions is a quadratic form of alpha, the matting Laplacian; a weighted penalty
on known pixels makes its minimum unique. For speed it is solved on a small copy of the image only; the linear
functions found there are then applied to the larger image.
"""

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from defusion_lib.stopping import tick

EPSILON = 1e-7
KNOWN_WEIGHT = 100.0  # of a known pixel's value
PRIOR_WEIGHT = 1e-7  # of 0.5 at every pixel: decides only where no known value reaches
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def laplacian(image: np.ndarray, epsilon: float = EPSILON, windows: np.ndarray | None = None) -> sparse.csr_array:
    """Compute the matting Laplacian of an image, sparse (H W, H W); rows sum to 0 (Levin et al., Eq. 12).

    `image` is float (H, W, C) in [0, 1]. `windows`, bool (H - 2, W - 2), selects windows by their centres; None selects
    all. An image with a side below 3 pixels has no window: the result is 0.
    """
    height, width, channels = image.shape
    count = height * width
    if min(height, width) < 3:
        return sparse.csr_array((count, count))
    pixels = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))
    pixels = pixels.reshape(height - 2, width - 2, channels, 9)
    chosen = np.ones(pixels.shape[:2], bool) if windows is None else windows
    pixels = np.swapaxes(pixels[chosen], 1, 2)
    pixels = pixels - pixels.mean(1, keepdims=True)
    across = np.swapaxes(pixels, 1, 2)
    inverse = np.linalg.inv(across @ pixels / 9 + epsilon / 9 * np.eye(channels))
    affinity = (1 + pixels @ inverse @ across) / 9
    # Two pixels of a window are at most two rows and columns apart, so 25 diagonals suffice.
    bands = np.zeros((5, 5, height, width))
    spread = np.zeros(chosen.shape)
    for one, other in np.ndindex(9, 9):
        tick()
        (y, x), (v, u) = divmod(one, 3), divmod(other, 3)
        spread[chosen] = (one == other) - affinity[:, one, other]
        bands[v - y + 2, u - x + 2, y : y + height - 2, x : x + width - 2] += spread
    rows, columns, values = [], [], []
    index = np.arange(count).reshape(height, width)
    for v, u in np.ndindex(5, 5):
        here, there = _overlap(height, width, v - 2, u - 2)
        rows.append(index[here].ravel())
        columns.append(index[there].ravel())
        values.append(bands[v, u][here].ravel())
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix = sparse.csr_array(entries, shape=(count, count))
    matrix.eliminate_zeros()
    return matrix


def solve(image: np.ndarray, known: np.ndarray, values: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Compute alpha of every pixel from the known ones, (H, W) in [0, 1], at the image's resolution.

    `image` is float (H, W, C) in [0, 1], `known` bool (H, W), `values` (H, W) in [0, 1], read where `known`. Windows
    of known pixels only are ignored. Pixels that no known value reaches get 0.5.
    """
    windows = ~ndimage.minimum_filter(known, 3)[1:-1, 1:-1]
    matrix = laplacian(image, epsilon, windows)
    weight = KNOWN_WEIGHT * known.ravel()
    matrix = (matrix + sparse.diags_array(weight + PRIOR_WEIGHT)).tocsc()
    right = weight * values.ravel() + 0.5 * PRIOR_WEIGHT
    # Pixels outside all windows are linked to no other and would only slow the factorisation down.
    linked = np.diff(matrix.indptr) > 1
    alpha = right / matrix.diagonal()
    if linked.any():
        alpha[linked] = solve_positive(matrix[linked][:, linked], right[linked])
    return np.clip(alpha.reshape(known.shape), 0, 1)


def solve_positive(matrix: sparse.csc_array, right: np.ndarray) -> np.ndarray:
    """Solve `matrix` x = `right` for a sparse, symmetric, positive definite matrix (n, n) and a vector (n,)."""
    tick()
    # Positive definite: no pivoting is needed, and rows and columns may have the same order.
    symmetric = {"SymmetricMode": True}
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
    return factors.solve(right)


def coarse_to_fine(
    image: np.ndarray, known: np.ndarray, values: np.ndarray, levels: int = 3, epsilon: float = EPSILON
) -> np.ndarray:
    """Compute alpha (H, W) in [0, 1] at 1/2^(levels - 1) of the image's sides, and enlarge it step by step.

    The arguments are those of `solve`, but known values are thresholded at 0.5 (in a trimap they are 0 or 1). In each
    step the linear function of colour that fits alpha best is computed for each 3x3 window of the smaller image, and
    these functions are interpolated to the larger image.
    """
    if levels == 1:
        return solve(image, known, values, epsilon)
    small = halve(image)
    still_known = halve(known.astype(float)) >= 0.5
    still_one = halve(known * values.astype(float)) >= 0.5
    alpha = coarse_to_fine(small, still_known, still_one, levels - 1, epsilon)
    return np.clip(enlarge(alpha, small, image, epsilon), 0, 1)


def halve(image: np.ndarray) -> np.ndarray:
    """Smooth an image (H, W) or (H, W, C) and return every second row and column: half the size, rounded up."""
    for axis in (0, 1):
        image = ndimage.correlate1d(image, BINOMIAL, axis, mode="nearest")
        image = image[::2] if axis == 0 else image[:, ::2]
    return image


def enlarge(alpha: np.ndarray, small: np.ndarray, image: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Transfer alpha (h, w) of the halved image `small` (h, w, C) to `image` (H, W, C): alpha (H, W)."""
    channels = image.shape[2]
    mean, mean_alpha = _box(small), _box(alpha)
    covariance = _box(small[..., :, None] * small[..., None, :]) - mean[..., :, None] * mean[..., None, :]
    covariance += epsilon / 9 * np.eye(channels)
    against = _box(small * alpha[..., None]) - mean * mean_alpha[..., None]
    slope = np.linalg.solve(covariance, against[..., None])[..., 0]
    offset = mean_alpha - (slope * mean).sum(-1)
    height, width = image.shape[:2]
    slope, offset = _upsample(slope, height, width), _upsample(offset, height, width)
    return (slope * image).sum(-1) + offset


def _box(values):
    for axis in (0, 1):
        values = ndimage.uniform_filter1d(values, 3, axis, mode="nearest")
    return values


def _upsample(values, height, width):
    for axis, size in ((0, height), (1, width)):
        at = np.arange(size) // 2
        after = np.minimum(at + np.arange(size) % 2, values.shape[axis] - 1)
        values = (np.take(values, at, axis) + np.take(values, after, axis)) / 2
    return values


def _overlap(height, width, down, right):
    def span(size, step):
        return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size - max(0, -step))

    (top, below), (left, beside) = span(height, down), span(width, right)
    return (top, left), (below, beside)
