"""The ways in which defocus detection papers score one and the same map, each by name.

The F-measures of two papers can only be compared when threshold, averaging and positive class agree; here
they stand side by side. Most take `counts`, the histograms (N, 2, 256) of `Evaluation.counts`: published
scorers read 8-bit maps, so that 256 levels are all they see. `positive` is "blur" or "focus". Images of one
class are left out of them, as in `defusion_lib.metrics`; ValueError when no image is left. Maps and masks are
(H, W) in [0, 1], 1 = blurred.

The main protocol's own four, `max_f`, `f_at_half`, `auc` and `auc_paper`, stand in `defusion_lib.metrics`.
"""

import numpy as np
from scipy import ndimage

from defusion_lib import metrics
from defusion_lib.metrics import HALF, LEVELS, above, f_measure, oriented, precision_recall, two_class

# F-measure -----------------------------------------------------------------------------------------


def at_least(counts: np.ndarray) -> np.ndarray:
    """How many pixels of histograms (..., 256) lie at or above each threshold (`>=`), int64 (..., 256)."""
    return above(counts) + counts


def stretched(counts: np.ndarray, from_zero: bool = False) -> np.ndarray:
    """Histograms (N, 2, 256) of the maps stretched to [0, 1] (`from_zero`: divided by their maximum).

    What falls between two levels goes to the lower one, so that comparing it with any level by `>=` answers
    as before rounding. A map of one value is left as it is.
    """
    out = np.zeros_like(counts)
    for old, new in zip(counts, out):
        used = np.flatnonzero(old.sum(0))
        low, high = (0 if from_zero else used[0]), used[-1]
        moved = used if high == low else (used - low) * (LEVELS - 1) // (high - low)
        np.add.at(new, (slice(None), moved), old[:, used])
    return out


def max_f_inclusive(counts: np.ndarray, positive: str) -> float:
    """Highest F of the mean precision and recall, 256 thresholds, `>=`, maps stretched to [0, 1].

    An image without a hit has precision 0. One threshold marks everything, so no map gets below the floor.
    Source: HiFST's `PRDataComputation.m`; PySODMetrics' precision and recall.
    """
    counts = stretched(oriented(two_class(counts), positive))
    precision, recall = precision_recall(counts, at_least(counts), empty=0.0)
    return float(f_measure(precision.mean(0), recall.mean(0)).max())


def max_f_per_image(counts: np.ndarray, positive: str) -> float:
    """Each image's highest F over 1/255 .. 255/255 (`>=`), maps divided by their maximum; then the mean.

    It picks the best threshold of each image by looking at its mask. Level >= k is level > k - 1: these 255
    thresholds are the 256 of `>` without the last, which marks nothing.
    Source: MLDBD's and APL's MATLAB code.
    """
    counts = stretched(oriented(two_class(counts), positive), from_zero=True)
    precision, recall = precision_recall(counts, at_least(counts)[..., 1:], empty=0.0)
    return float(f_measure(precision, recall).max(-1).mean())


def max_f_pooled(counts: np.ndarray, positive: str) -> float:
    """Highest F over 256 thresholds (`>`), all pixels in one pot: large images weigh more."""
    return metrics.max_f(two_class(counts).sum(0, keepdims=True), positive)


def mean_f(counts: np.ndarray, positive: str) -> float:
    """F of each image at each of 256 thresholds (`>=`), maps stretched to [0, 1], mean over both.

    Low contrast costs points. Source: PySODMetrics, "mean F-measure".
    """
    counts = stretched(oriented(two_class(counts), positive))
    return float(f_measure(*precision_recall(counts, at_least(counts), empty=0.0)).mean())


def _marked_by_mean(counts: np.ndarray, factor: float) -> np.ndarray:
    """The pixels at or above min(factor x the map's mean, 1), by class: int64 (N, 2, 1)."""
    levels = np.arange(LEVELS)
    pixels = counts.sum(1)
    size = pixels.sum(-1, keepdims=True)
    # Sums instead of means: no rounding decides whether a level reaches the threshold.
    threshold = np.minimum(factor * (pixels * levels).sum(-1, keepdims=True), (LEVELS - 1) * size)
    reached = levels * size >= threshold
    return (counts * reached[:, None]).sum(-1, keepdims=True)


def f_at_mean(counts: np.ndarray, positive: str, factor: float) -> float:
    """F of each image at `factor` times its map's mean, at most 1 (`>=`), then the mean over images.

    With blur positive it collapses: the mean is about 0.7, the threshold 1. Source: factor 1.5 in SG's
    `eval.py` (in-focus positive), 2 in Achanta et al. 2009 and PySODMetrics ("adaptive").
    """
    counts = oriented(two_class(counts), positive)
    precision, recall = precision_recall(counts, _marked_by_mean(counts, factor), empty=0.0)
    return float(f_measure(precision, recall).mean())


def f_at_mean_pooled(counts: np.ndarray, positive: str, factor: float) -> float:
    """F at `factor` times each map's own mean, at most 1 (`>=`), with the pixels of all images in one pot.

    Source: factor 1.5 in DD's `eval.ipynb`, in-focus positive.
    """
    counts = oriented(two_class(counts), positive)
    marked = _marked_by_mean(counts, factor).sum(0, keepdims=True)
    return float(f_measure(*precision_recall(counts.sum(0, keepdims=True), marked, empty=0.0)).item())


def iou_at_half(counts: np.ndarray, positive: str) -> float:
    """Intersection over union of each image at the threshold 0.5 (`>`), then the mean over images."""
    counts = oriented(two_class(counts), positive)
    hit, false = above(counts)[:, 1, HALF], above(counts)[:, 0, HALF]
    return float((hit / (counts[:, 1].sum(-1) + false)).mean())


def iou_at_half_pooled(counts: np.ndarray, positive: str) -> float:
    """Intersection over union at the threshold 0.5 (`>`), all pixels in one pot.

    Source: D-DFFNet's `test_iou.py`.
    """
    return iou_at_half(two_class(counts).sum(0, keepdims=True), positive)


def weighted_f(defocus_map: np.ndarray, mask: np.ndarray, positive: str, beta2: float = 1.0) -> float:
    """The weighted F-measure of one image: errors count less near hits and more far from the positive region.

    The mask must be 0 or 1 with a positive pixel: ValueError otherwise.
    Source: Margolin, Zelnik-Manor, Tal, "How to evaluate foreground maps?", CVPR 2014.
    """
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    region = metrics.check_binary(mask)
    if positive == "focus":
        defocus_map, region = 1 - defocus_map, ~region
    elif positive != "blur":
        raise ValueError(f"The positive class is {positive!r}, but must be 'blur' or 'focus'.")
    if not region.any():
        raise ValueError(f"The mask has no pixel of the class {positive!r}: its weighted F is undefined.")
    error = np.abs(defocus_map - region)
    distance, nearest = ndimage.distance_transform_edt(~region, return_indices=True)

    # A pixel's error is forgiven where its surroundings are right; outside, the nearest hit stands in.
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 5**2))
    around = ndimage.convolve(error[tuple(nearest)], kernel / kernel.sum(), mode="constant")
    weighted = np.where(region, np.minimum(error, around), error * (2 - 0.5 ** (distance / 5)))

    hits = region.sum() - weighted[region].sum()
    if hits <= 0:
        return 0.0
    recall, precision = hits / region.sum(), hits / (hits + weighted[~region].sum())
    return float((1 + beta2) * precision * recall / (beta2 * precision + recall))


# Mean absolute error -------------------------------------------------------------------------------


def mae(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error of one image against the mask as it is, greys and all (Eq. 12 to the letter)."""
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    return float(np.abs(defocus_map - mask).mean())


def mae_binary(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error of one image against the mask binarised at 0.5 (`>`): the main protocol."""
    return mae(defocus_map, np.asarray(mask) > 0.5)


def mae_stretched(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error of one image, the map stretched to reach from 0 to 1, against the binarised mask.

    A map of one value is left as it is. Source: PySODMetrics, which does so with every map.
    """
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    low, high = defocus_map.min(), defocus_map.max()
    return mae_binary((defocus_map - low) / (high - low) if high > low else defocus_map, mask)


# Area under the ROC curve --------------------------------------------------------------------------


def auc_pooled(counts: np.ndarray) -> float:
    """Area under the ROC curve of the pixels of all images in one pot: maps must agree across images."""
    return metrics.auc(two_class(counts).sum(0, keepdims=True))


def auc_on_paper_axis(auc, share):
    """The area over the share of all pixels, from the area over the share of negatives: pi/2 + (1 - pi) AUC.

    `share` (pi) is the positive class's share of the pixels. Marked pixels are pi TPR + (1 - pi) FPR of all;
    the first part adds pi/2 whatever the method. Exact for an image, near for means over images.
    """
    return share / 2 + (1 - share) * auc


def auc_from_paper_axis(auc_paper, share):
    """The ordinary area, from the area over the share of all pixels: the inverse of `auc_on_paper_axis`."""
    return (auc_paper - share / 2) / (1 - share)


def auc_paper_ceiling(share):
    """The highest possible area over the share of all pixels: 1 - pi/2, reached by a perfect map."""
    return auc_on_paper_axis(1.0, share)
