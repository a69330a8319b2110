"""Scoring protocols of defocus detection papers, each by name.

The F-measures of two papers are comparable only where threshold, averaging and positive class agree. Most functions
take `counts`, the histograms (N, 2, 256) of `Evaluation.counts`: published programs score 8-bit maps, so 256 levels
are enough. `positive` is "blur" or "focus". Images of one class are left out, as in `defusion_lib.metrics`; ValueError
when no image is left. Maps and masks are (H, W) in [0, 1], 1 = blurred.

The main protocol's `max_f`, `f_at_half`, `auc` and `auc_paper` are in `defusion_lib.metrics`. To add a protocol, add a
function and a line in `F_PROTOCOLS` or `IMAGE_PROTOCOLS`: notebook 05a then shows and stores its scores.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from defusion_lib import metrics
from defusion_lib.metrics import HALF, LEVELS, count_above, drop_single_class, f_measure, for_class, precision_recall

# F-measure -----------------------------------------------------------------------------------------


def count_at_least(counts: np.ndarray) -> np.ndarray:
    """Count the pixels of histograms (..., 256) at or above each threshold (`>=`), int64 (..., 256)."""
    return count_above(counts) + counts


def stretch(counts: np.ndarray, from_zero: bool = False) -> np.ndarray:
    """Compute the histograms (N, 2, 256) of the maps stretched to [0, 1] (`from_zero`: divided by their maximum).

    A value between two levels is rounded down, so that its comparison with any level by `>=` does not change. A map of
    one value is not stretched.
    """
    out = np.zeros_like(counts)
    for old, new in zip(counts, out):
        used = np.flatnonzero(old.sum(0))
        low, high = (0 if from_zero else used[0]), used[-1]
        moved = used if high == low else (used - low) * (LEVELS - 1) // (high - low)
        np.add.at(new, (slice(None), moved), old[:, used])
    return out


def max_f_inclusive(counts: np.ndarray, positive: str) -> float:
    """Compute the highest F of the mean precision and recall, 256 thresholds, `>=`, maps stretched to [0, 1].

    An image without a true positive has precision 0. One threshold marks everything, so no map scores below the floor.
    Source: HiFST's `PRDataComputation.m`; PySODMetrics' precision and recall.
    """
    counts = stretch(for_class(drop_single_class(counts), positive))
    precision, recall = precision_recall(counts, count_at_least(counts), empty=0.0)
    return float(f_measure(precision.mean(0), recall.mean(0)).max())


def max_f_per_image(counts: np.ndarray, positive: str) -> float:
    """Compute the mean over images of the highest F over 1/255 .. 255/255 (`>=`), maps divided by their maximum.

    The mask of each image decides its threshold. Level >= k is level > k - 1: these 255 thresholds are the 256 of `>`
    without the last, which marks nothing.
    Source: MLDBD's and APL's MATLAB code.
    """
    counts = stretch(for_class(drop_single_class(counts), positive), from_zero=True)
    precision, recall = precision_recall(counts, count_at_least(counts)[..., 1:], empty=0.0)
    return float(f_measure(precision, recall).max(-1).mean())


def max_f_pooled(counts: np.ndarray, positive: str) -> float:
    """Compute the highest F over 256 thresholds (`>`) of the pooled pixels: large images weigh more."""
    return metrics.max_f(drop_single_class(counts).sum(0, keepdims=True), positive)


def mean_f(counts: np.ndarray, positive: str) -> float:
    """Compute the mean over images and 256 thresholds (`>=`) of F, maps stretched to [0, 1].

    Maps of low contrast score lower. Source: PySODMetrics, "mean F-measure".
    """
    counts = stretch(for_class(drop_single_class(counts), positive))
    return float(f_measure(*precision_recall(counts, count_at_least(counts), empty=0.0)).mean())


def marked_by_mean(counts: np.ndarray, factor: float) -> np.ndarray:
    """Count the pixels at or above min(factor x the map's mean, 1) by class: int64 (N, 2, 1)."""
    levels = np.arange(LEVELS)
    pixels = counts.sum(1)
    size = pixels.sum(-1, keepdims=True)
    # Sums instead of means: no rounding decides whether a level reaches the threshold.
    threshold = np.minimum(factor * (pixels * levels).sum(-1, keepdims=True), (LEVELS - 1) * size)
    reached = levels * size >= threshold
    return (counts * reached[:, None]).sum(-1, keepdims=True)


def f_at_mean(counts: np.ndarray, positive: str, factor: float) -> float:
    """Compute F of each image at `factor` times its map's mean, at most 1 (`>=`), then the mean over images.

    It fails with blur positive: the mean is about 0.7, so the threshold is 1. Source: factor 1.5 in SG's
    `eval.py` (in-focus positive), 2 in Achanta et al. 2009 and PySODMetrics ("adaptive").
    """
    counts = for_class(drop_single_class(counts), positive)
    precision, recall = precision_recall(counts, marked_by_mean(counts, factor), empty=0.0)
    return float(f_measure(precision, recall).mean())


def f_at_mean_pooled(counts: np.ndarray, positive: str, factor: float) -> float:
    """Compute F of the pooled pixels, each image thresholded at `factor` times its map's mean, at most 1 (`>=`).

    Source: factor 1.5 in DD's `eval.ipynb`, in-focus positive.
    """
    counts = for_class(drop_single_class(counts), positive)
    marked = marked_by_mean(counts, factor).sum(0, keepdims=True)
    return float(f_measure(*precision_recall(counts.sum(0, keepdims=True), marked, empty=0.0)).item())


def iou_at_half(counts: np.ndarray, positive: str) -> float:
    """Compute the intersection over union of each image at the threshold 0.5 (`>`), then the mean over images."""
    counts = for_class(drop_single_class(counts), positive)
    hit, false = count_above(counts)[:, 1, HALF], count_above(counts)[:, 0, HALF]
    return float((hit / (counts[:, 1].sum(-1) + false)).mean())


def iou_at_half_pooled(counts: np.ndarray, positive: str) -> float:
    """Compute the intersection over union of the pooled pixels at the threshold 0.5 (`>`).

    Source: D-DFFNet's `test_iou.py`.
    """
    return iou_at_half(drop_single_class(counts).sum(0, keepdims=True), positive)


class WeightedF:
    """The weighted F-measure of maps of one image, beta = 1: errors far from the positive region weigh more.

    What depends on the mask alone is computed once, for the maps of several methods. The mask must be 0 or 1 with a
    positive pixel: ValueError otherwise.
    Source: Margolin, Zelnik-Manor, Tal, "How to evaluate foreground maps?", CVPR 2014.
    """

    def __init__(self, mask: np.ndarray, positive: str):
        region = metrics.check_binary(np.asarray(mask))
        if positive not in ("blur", "focus"):
            raise ValueError(f"The positive class is {positive!r}, but must be 'blur' or 'focus'.")
        region = region if positive == "blur" else ~region
        if not region.any():
            raise ValueError(f"The mask has no pixel of the class {positive!r}: its weighted F is undefined.")
        self._blurred = positive == "blur"
        self._size = int(region.sum())
        self._region = np.pad(region.astype(float), _REACH)
        rows, columns = _box(region)
        self._inside = region[rows, columns].astype(float)
        self._box = slice(rows.start, rows.stop + 2 * _REACH), slice(columns.start, columns.stop + 2 * _REACH)
        self._outside = np.zeros_like(self._region)
        self._near = self._nearest = np.zeros(0, int)
        if not region.all():
            self._weigh_outside(region)

    def _weigh_outside(self, region: np.ndarray) -> None:
        # Imported here, because a bundle (tools/bundle.py) evaluates without SciPy.
        from scipy import ndimage

        # No nearest positive pixel is more than one pixel outside the box of the other pixels.
        box = _box(~region, 1)
        nearest = ndimage.distance_transform_edt(~region[box], return_distances=False, return_indices=True)
        rows, columns = np.indices(nearest.shape[1:], float, sparse=True)
        # In place: new memory of this size costs more than the arithmetic.
        distance, across = nearest[0] - rows, nearest[1] - columns
        distance *= distance
        distance += np.multiply(across, across, out=across)
        np.sqrt(distance, out=distance)
        # A pixel outside takes the error of the nearest positive pixel. Only the surroundings of the region count.
        near = np.flatnonzero((distance > 0) & (distance <= _REACH * np.sqrt(2)))
        corner = [each.start + _REACH for each in box]
        self._near, self._nearest = (
            np.ravel_multi_index((rows + corner[0], columns + corner[1]), self._region.shape)
            for rows, columns in (np.unravel_index(near, distance.shape), nearest.reshape(2, -1)[:, near])
        )
        weights = self._outside[_REACH:-_REACH, _REACH:-_REACH][box]
        np.subtract(2, np.exp2(np.divide(distance, -5, out=distance), out=distance), out=weights)
        weights[region[box]] = 0

    def score(self, defocus_map: np.ndarray) -> float:
        """Compute the score of a map (H, W) in [0, 1], 1 = blurred, of the mask's size."""
        error = np.zeros_like(self._region)
        inner = error[_REACH:-_REACH, _REACH:-_REACH]
        inner[:] = defocus_map
        if not self._blurred:
            np.subtract(1, inner, out=inner)
        np.abs(np.subtract(error, self._region, out=error), out=error)
        false = np.vdot(error, self._outside)
        error.ravel()[self._near] = error.ravel()[self._nearest]
        error, wrong = error[self._box], 0.0
        for top in range(0, len(self._inside), _ROWS):
            rows = error[top : top + _ROWS + 2 * _REACH]
            # Inside the region an error weighs less where the surrounding pixels are right.
            lower = np.minimum(rows[_REACH:-_REACH, _REACH:-_REACH], _mean_around(rows))
            wrong += np.vdot(lower, self._inside[top : top + _ROWS])
        hits = self._size - wrong
        if hits <= 0:
            return 0.0
        recall, precision = hits / self._size, hits / (hits + false)
        return float(2 * precision * recall / (precision + recall))


_REACH = 3  # pixels to each side that are a pixel's surroundings
_ROWS = 32  # of an image of usual size, with which the arithmetic stays in the processor's cache
_NEAR = np.exp(-(np.arange(-_REACH, _REACH + 1) ** 2) / (2 * 5**2))
_NEAR /= _NEAR.sum()


def _box(chosen: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of an image (H, W) that hold all chosen pixels, and up to `margin` more each way."""
    used = [np.flatnonzero(chosen.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(max(each[0] - margin, 0), each[-1] + margin + 1) for each in used)
    return rows, columns


def _mean_around(values: np.ndarray) -> np.ndarray:
    """Average the surroundings of each of (H, W) pixels, weighted by `_NEAR`; `values` have `_REACH` more each way."""
    # All rows in one call: where the end of a row meets the next, the result is cut off.
    along = np.correlate(values.ravel(), _NEAR, "same").reshape(values.shape)[:, _REACH:-_REACH]
    height = len(values) - 2 * _REACH
    mean = _NEAR[_REACH] * along[_REACH:-_REACH]
    for place in range(_REACH):
        other = 2 * _REACH - place
        mean += _NEAR[place] * (along[place : place + height] + along[other : other + height])
    return mean


def weighted_f(defocus_map: np.ndarray, mask: np.ndarray, positive: str) -> float:
    """Compute the weighted F-measure of one image (`WeightedF`)."""
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    return WeightedF(mask, positive).score(defocus_map)


# Mean absolute error -------------------------------------------------------------------------------


def mae(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Compute the mean absolute error of one image against the unchanged mask, grey values included (Eq. 12)."""
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    return float(np.abs(defocus_map - mask).mean())


def mae_binary(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Compute the mean absolute error of one image against the mask binarised at 0.5 (`>`): the main protocol."""
    return mae(defocus_map, np.asarray(mask) > 0.5)


def mae_stretched(defocus_map: np.ndarray, mask: np.ndarray) -> float:
    """Compute the mean absolute error of one image's map, stretched to [0, 1], against the binarised mask.

    A map of one value is not stretched. Source: PySODMetrics, which stretches every map.
    """
    defocus_map, mask = metrics.check_pair(defocus_map, mask)
    low, high = defocus_map.min(), defocus_map.max()
    return mae_binary((defocus_map - low) / (high - low) if high > low else defocus_map, mask)


# Area under the ROC curve --------------------------------------------------------------------------


def auc_pooled(counts: np.ndarray) -> float:
    """Compute the area under the ROC curve of the pooled pixels: maps must be comparable across images."""
    return metrics.auc(drop_single_class(counts).sum(0, keepdims=True))


def auc_on_paper_axis(auc: float, share: float) -> float:
    """Convert an ordinary AUC to the area over the share of all pixels: pi/2 + (1 - pi) AUC.

    `share` (pi) is the positive class's share of the pixels. Marked pixels are pi TPR + (1 - pi) FPR of all; the first
    term adds pi/2 for every method. Exact for an image, approximate for means over images.
    """
    return share / 2 + (1 - share) * auc


def auc_from_paper_axis(auc_paper: float, share: float) -> float:
    """Convert an area over the share of all pixels to an ordinary AUC: the inverse of `auc_on_paper_axis`."""
    return (auc_paper - share / 2) / (1 - share)


def auc_paper_ceiling(share: float) -> float:
    """Compute the highest possible area over the share of all pixels: 1 - pi/2, that of a perfect map."""
    return auc_on_paper_axis(1.0, share)


# All of them --------------------------------------------------------------------------------------

CLASSES = ("blur", "focus")
# {name in the result files without its class: function(counts, positive)}
F_PROTOCOLS: dict[str, Callable[[np.ndarray, str], float]] = {
    "max-f": metrics.max_f,
    "max-f-inclusive": max_f_inclusive,
    "max-f-image": max_f_per_image,
    "max-f-pooled": max_f_pooled,
    "mean-f": mean_f,
    "f-half": metrics.f_at_half,
    "f-mean15": partial(f_at_mean, factor=1.5),
    "f-mean20": partial(f_at_mean, factor=2),
    "f-mean15-pooled": partial(f_at_mean_pooled, factor=1.5),
    "iou-half": iou_at_half,
    "iou-half-pooled": iou_at_half_pooled,
}
# {name in the result files: function(defocus_map, mask)}; the score is the mean over images
IMAGE_PROTOCOLS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mae": mae_binary,
    "mae-stretched": mae_stretched,
    "weighted-f-blur": partial(weighted_f, positive="blur"),
    "weighted-f-focus": partial(weighted_f, positive="focus"),
}


class ProtocolScores:
    """The scores of one method on one data set under every protocol: add every image, then read `values`."""

    def __init__(self) -> None:
        self._counts: list[np.ndarray] = []
        self._of_images: dict[str, list[float]] = {name: [] for name in IMAGE_PROTOCOLS}

    def add(self, defocus_map: np.ndarray, mask: np.ndarray) -> None:
        """Add one image: map (H, W) in [0, 1], mask of its size, 0 or 1 with both classes; else ValueError."""
        self._counts.append(metrics.histogram(defocus_map, mask))
        for name, score in IMAGE_PROTOCOLS.items():
            self._of_images[name].append(score(defocus_map, mask))

    @property
    def counts(self) -> np.ndarray:
        """Histograms of all images, int64 (N, 2, 256)."""
        return np.stack(self._counts)

    @property
    def of_images(self) -> dict[str, np.ndarray]:
        """Scores under `IMAGE_PROTOCOLS` of all images, {metric: float (N,)}."""
        return {name: np.array(scores) for name, scores in self._of_images.items()}

    def values(self) -> dict[str, float]:
        """Compute every score, {metric in the result files: number}."""
        counts = self.counts
        values = {f"{name}-{each}": score(counts, each) for each in CLASSES for name, score in F_PROTOCOLS.items()}
        values |= {name: float(scores.mean()) for name, scores in self.of_images.items()}
        return values | {"auc": metrics.auc(counts), "auc-pooled": auc_pooled(counts)}
