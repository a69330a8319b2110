"""Closed-form matting: what is known of some pixels spreads along the photograph's colours to the others.

Levin, Lischinski and Weiss (TPAMI 2008) assume that in every 3x3 window alpha is a linear function of
colour. What the best linear functions leave is a quadratic form of alpha, the matting Laplacian; with known
pixels held by a weight it has one minimum. For speed it is solved on a small copy of the photograph only, and
the linear functions found there are then applied to the larger one.
"""

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

EPSILON = 1e-7
HELD = 100.0  # the weight of a known pixel
FREE = 1e-7  # what pulls every pixel to the middle: decides only where nothing known reaches
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def laplacian(
    image: np.ndarray, epsilon: float = EPSILON, windows: np.ndarray | None = None
) -> sparse.csr_array:
    """The matting Laplacian of an image, sparse (H W, H W), rows sum to 0 (Levin et al., Eq. 12).

    `image` (H, W, C) float in [0, 1]; `windows`, bool (H - 2, W - 2), leaves windows out, by their centres.
    An image with a side below 3 holds no window: all is 0.
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
    # Two pixels of a window are at most two rows and columns apart: 25 diagonals hold everything.
    bands = np.zeros((5, 5, height, width))
    spread = np.zeros(chosen.shape)
    for one, other in np.ndindex(9, 9):
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
    """Alpha of every pixel from the known ones, (H, W) in [0, 1], on the image's own grid.

    `image` (H, W, C) float in [0, 1], `known` (H, W) bool, `values` (H, W) in [0, 1], read where known.
    Windows of known pixels only count nothing. Pixels that nothing known reaches get 0.5.
    """
    windows = ~ndimage.minimum_filter(known, 3)[1:-1, 1:-1]
    matrix = laplacian(image, epsilon, windows)
    held = HELD * known.ravel()
    matrix = (matrix + sparse.diags_array(held + FREE)).tocsc()
    right = held * values.ravel() + 0.5 * FREE
    # Pixels outside all windows stand alone and would only slow the factors down.
    linked = np.diff(matrix.indptr) > 1
    alpha = right / matrix.diagonal()
    if linked.any():
        inner = matrix[linked][:, linked]
        # Positive definite: no pivot is needed, and rows and columns may be ordered alike.
        symmetric = {"SymmetricMode": True}
        factors = splu(inner, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
        alpha[linked] = factors.solve(right[linked])
    return np.clip(alpha.reshape(known.shape), 0, 1)


def coarse_to_fine(
    image: np.ndarray, known: np.ndarray, values: np.ndarray, levels: int = 3, epsilon: float = EPSILON
) -> np.ndarray:
    """Alpha (H, W) in [0, 1] of a photograph, solved at 1/2^(levels - 1) of its side and enlarged in steps.

    Arguments as of `solve`, but known values are cut at 0.5 (in a trimap they are 0 or 1). On the way up
    alpha is the linear function of colour that fits it best in each 3x3 window of the smaller image, and
    these functions are interpolated to the larger one.
    """
    if levels == 1:
        return solve(image, known, values, epsilon)
    small = halve(image)
    still_known = halve(known.astype(float)) >= 0.5
    still_one = halve(known * values.astype(float)) >= 0.5
    alpha = coarse_to_fine(small, still_known, still_one, levels - 1, epsilon)
    return np.clip(enlarge(alpha, small, image, epsilon), 0, 1)


def halve(image: np.ndarray) -> np.ndarray:
    """Every second row and column of the smoothed image, (H, W) or (H, W, C): ceil of half its size."""
    for axis in (0, 1):
        image = ndimage.correlate1d(image, BINOMIAL, axis, mode="nearest")
        image = image[::2] if axis == 0 else image[:, ::2]
    return image


def enlarge(
    alpha: np.ndarray, small: np.ndarray, image: np.ndarray, epsilon: float = EPSILON
) -> np.ndarray:
    """Alpha (h, w) of a small image (h, w, C) taken to the image (H, W, C) that was halved, (H, W)."""
    channels = image.shape[2]
    mean, mean_alpha = _box(small), _box(alpha)
    covariance = _box(small[..., :, None] * small[..., None, :]) - mean[..., :, None] * mean[..., None, :]
    covariance += epsilon / 9 * np.eye(channels)
    against = _box(small * alpha[..., None]) - mean * mean_alpha[..., None]
    slope = np.linalg.solve(covariance, against[..., None])[..., 0]
    offset = mean_alpha - (slope * mean).sum(-1)
    height, width = image.shape[:2]
    slope, offset = _double(slope, height, width), _double(offset, height, width)
    return (slope * image).sum(-1) + offset


def _box(values):
    for axis in (0, 1):
        values = ndimage.uniform_filter1d(values, 3, axis, mode="nearest")
    return values


def _double(values, height, width):
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
