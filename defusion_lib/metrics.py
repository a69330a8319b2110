"""Compare defocus maps with masks: Eq. 11-12 and the curves of Figures 8-10.

Everything but the mean absolute error is computed from two 256-bin histograms per image, one of the in-focus
and one of the blurred pixels. A map is rounded to the 256 levels 0..255 first, as the
field does by storing maps as 8-bit images; a value halfway between two levels becomes the lower one, so
that `level > 127` is exactly `map > 0.5`.

A pixel counts as marked where the map is *above* the threshold (`>`), as in the code that most saliency and
defocus papers share. Two classes can be the positive one: "blur" (map > t) and "focus" (1 - map > t),
which is map and mask inverted together.

An image whose mask holds one class only has neither an AUC nor a recall of the class that it lacks: only
the mean absolute error counts it.
"""

from typing import NamedTuple

import numpy as np

ROUNDING = 1e-6  # by which resizing in single precision can leave [0, 1]
BORDER = 5  # pixels on each side of a mask's border that count as near it
LEVELS = 256
BETA2 = 0.3  # Eq. 11: precision weighs more than recall
HALF = 127  # `level > HALF` is `map > 0.5`


def f_measure(precision, recall):
    """Compute the F-measure with beta^2 = 0.3 (Eq. 11), in [0, 1]; 0 where precision and recall both are.

    Takes numbers or arrays of one shape.
    """
    precision, recall = np.asarray(precision, float), np.asarray(recall, float)
    below = BETA2 * precision + recall
    return (1 + BETA2) * precision * recall / np.where(below > 0, below, 1)


def all_positive_f(share):
    """Compute the F-measure of marking every pixel, 1.3 share / (0.3 share + 1), for the positive class's share.

    It is Eq. 11 with precision = share and recall = 1. A method whose max F has this value tells the classes apart no
    better than a constant map.
    """
    return f_measure(share, np.ones_like(share, dtype=float))


def quantise(defocus_map: np.ndarray) -> np.ndarray:
    """Round a map in [0, 1] to the levels 0..255 (uint8): to the nearest, halves down."""
    return np.ceil(np.asarray(defocus_map, np.float64) * (LEVELS - 1) - 0.5).astype(np.uint8)


def check_pair(defocus_map: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return map and mask as float64 (H, W).

    Raises ValueError unless both are (H, W) of one size, free of NaN and within [0, 1]. A map may exceed [0, 1] by the
    `ROUNDING` of single precision, which is clipped.
    """
    defocus_map, mask = np.asarray(defocus_map, np.float64), np.asarray(mask, np.float64)
    for name, values in (("map", defocus_map), ("mask", mask)):
        if values.ndim != 2 or values.size == 0:
            raise ValueError(f"The {name} has shape {values.shape}, not (height, width): pass one image.")
    if defocus_map.shape != mask.shape:
        raise ValueError(
            f"The map is {defocus_map.shape}, the mask {mask.shape}: resize the map to the mask's size first."
        )
    for name, values in (("map", defocus_map), ("mask", mask)):
        if np.isnan(values).any():
            raise ValueError(f"The {name} has {np.isnan(values).sum()} NaN pixels: all must be in [0, 1].")
        allowed = ROUNDING if name == "map" else 0
        if values.min() < -allowed or values.max() > 1 + allowed:
            raise ValueError(f"The {name} reaches from {values.min():.9g} to {values.max():.9g}: scale it to [0, 1].")
    return np.clip(defocus_map, 0, 1), mask


def check_binary(mask: np.ndarray) -> np.ndarray:
    """Return a mask as bool, True = blurred; raises ValueError where it holds anything but 0 and 1."""
    grey = (mask != 0) & (mask != 1)
    if grey.any():
        raise ValueError(f"The mask has {grey.sum()} pixels other than 0 and 1: binarise it with mask > 0.5.")
    return mask == 1


def histogram(defocus_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count the pixels of each level: int64 (2, 256), row 0 the in-focus and row 1 the blurred pixels.

    Takes a map (H, W) in [0, 1] and a mask (H, W) of 0 and 1, 1 = blurred. Raises what `check_pair` and `check_binary`
    raise.
    """
    defocus_map, mask = check_pair(defocus_map, mask)
    bins = quantise(defocus_map) + LEVELS * check_binary(mask).astype(np.int64)
    return np.bincount(bins.ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def for_class(counts: np.ndarray, positive: str) -> np.ndarray:
    """Return histograms (..., 2, 256) with the positive class in row 1 and its evidence in the higher levels.

    For "focus" rows and levels are reversed: map and mask inverted together.
    """
    if positive not in ("blur", "focus"):
        raise ValueError(f"The positive class is {positive!r}, but must be 'blur' or 'focus'.")
    return counts if positive == "blur" else counts[..., ::-1, ::-1]


def drop_single_class(counts: np.ndarray) -> np.ndarray:
    """Return the histograms (N, 2, 256) of the images with pixels of both classes; raises ValueError without any."""
    kept = counts[(counts.sum(-1) > 0).all(-1)]
    if not len(kept):
        raise ValueError(
            f"None of the {len(counts)} masks has both blurred and in-focus pixels, so F-measure and AUC are"
            " undefined: add an image that has both."
        )
    return kept


def count_above(counts: np.ndarray) -> np.ndarray:
    """Count the pixels of histograms (..., 256) above each threshold (`>`), int64 (..., 256)."""
    return counts[..., ::-1].cumsum(-1)[..., ::-1] - counts


def precision_recall(counts: np.ndarray, marked: np.ndarray, empty: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision and recall of each image at each threshold.

    `counts` (N, 2, 256) oriented histograms, `marked` (N, 2, T) the pixels that each threshold marks, by
    class. `empty` is the precision where nothing is marked: 1 in the field's shared code (which adds the same
    small number to numerator and denominator), 0 elsewhere.
    """
    total = marked.sum(-2)
    precision = np.divide(marked[:, 1], total, out=np.full(total.shape, empty), where=total > 0)
    return precision, marked[:, 1] / counts[:, 1].sum(-1, keepdims=True)


class Curves(NamedTuple):
    """The mean curves of a data set over the thresholds 0/255 .. 255/255, as arrays (256,).

    `recall` against `precision` is the PR curve, `threshold` against `f` the F-measure curve, `fpr` against
    `tpr` the ROC curve (Figures 8-10). `tpr` is `recall` under its other name. At the last threshold nothing
    is marked; a complete ROC curve starts with the point (1, 1).
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    fpr: np.ndarray

    @property
    def tpr(self) -> np.ndarray:
        """The true positive rate."""
        return self.recall


def curves(counts: np.ndarray, positive: str) -> Curves:
    """Average precision, recall and false positive rate over the images, and compute F of those means (Eq. 11).

    `counts` (N, 2, 256) as of `histogram`. An image without a marked pixel has precision 1.
    """
    counts = for_class(drop_single_class(counts), positive)
    marked = count_above(counts)
    precision, recall = (each.mean(0) for each in precision_recall(counts, marked))
    fpr = (marked[:, 0] / counts[:, 0].sum(-1, keepdims=True)).mean(0)
    return Curves(np.arange(LEVELS) / (LEVELS - 1), precision, recall, f_measure(precision, recall), fpr)


def area(counts: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Compute the area (N,) under each image's true positive rate over the share of `axis` pixels above the threshold.

    `counts` (N, 2, 256) oriented histograms. With the negatives' histograms (N, 256) as `axis` this is the
    ROC curve's area with both end points: the share of pairs of a positive and a negative pixel in the right
    order, ties half.
    """
    ahead = count_above(counts[:, 1]) + counts[:, 1] / 2
    return (axis * ahead).sum(-1) / (axis.sum(-1) * counts[:, 1].sum(-1))


def max_f(counts: np.ndarray, positive: str) -> float:
    """Return the highest F on the mean curve of `curves`: the paper's F-measure, as far as its numbers show.

    Source: the code that saliency papers share; also BR2Net's, by DeFusionNet's first author.
    """
    return float(curves(counts, positive).f.max())


def f_at_half(counts: np.ndarray, positive: str) -> float:
    """Average the F-measure (Eq. 11) of each image (N, 2, 256) at the threshold 0.5 (`>`).

    Source: D-DFFNet's `test1.py`, blur positive.
    """
    counts = for_class(drop_single_class(counts), positive)
    precision, recall = precision_recall(counts, count_above(counts)[..., HALF : HALF + 1])
    return float(f_measure(precision, recall).mean())


def auc(counts: np.ndarray) -> float:
    """Average the area under each image's ROC curve; it is the same for either positive class."""
    counts = drop_single_class(counts)
    return float(area(counts, counts[:, 0]).mean())


def auc_paper(counts: np.ndarray, positive: str) -> float:
    """Average the area over the share of *all* pixels above the threshold, as the paper's tables seem to have it.

    Per image it is pi/2 + (1 - pi) AUC with pi the positive class's share, so no method gets above 1 - pi/2.
    The paper does not say so: it is inferred from its numbers.
    """
    counts = for_class(drop_single_class(counts), positive)
    return float(area(counts, counts.sum(1)).mean())


def near_border(mask: np.ndarray, width: int = BORDER) -> np.ndarray:
    """Return bool (H, W): True where both classes of a mask (H, W) lie within `width` pixels of a pixel."""
    padded = np.pad(check_binary(mask), width, mode="edge")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = 2 * width + 1
    blurred = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (blurred > 0) & (blurred < side**2)


def _stacked(values: list) -> np.ndarray:
    """Stack one value per image, (N, ...); raise ValueError where there is no image."""
    if not values:
        raise ValueError("No image has been added yet: call add(map, mask) first.")
    return np.stack(values)


class Evaluation:
    """Scores of one method on one data set: add every image, then read the scores.

    Every score raises ValueError before an image was added, and all but `mae` without one that has both classes.
    """

    def __init__(self):
        self._errors: list[float] = []
        self._border_errors: list[float] = []
        self._counts: list[np.ndarray] = []

    def add(self, defocus_map: np.ndarray, mask: np.ndarray) -> None:
        """Add one image: map (H, W) in [0, 1], mask of its size, 0 or 1, 1 = blurred; raises ValueError for others."""
        self._counts.append(histogram(defocus_map, mask))
        difference = np.asarray(defocus_map, np.float64) - np.asarray(mask, np.float64)
        self._errors.append(float(np.abs(difference).mean()))
        border = near_border(np.asarray(mask))
        if border.any():
            self._border_errors.append(float(np.abs(difference[border]).mean()))

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def counts(self) -> np.ndarray:
        """The histograms of all images, int64 (N, 2, 256), for `defusion_lib.evaluation.protocols`."""
        return _stacked(self._counts)

    @property
    def errors(self) -> np.ndarray:
        """The mean absolute error of each image's unrounded map, float (N,)."""
        return _stacked(self._errors)

    def mae(self) -> float:
        """Return the mean absolute error (Eq. 12) of the unrounded maps, per image, then over the images."""
        return float(self.errors.mean())

    def border_mae(self) -> float:
        """Return the mean absolute error of the pixels near a border of the mask (`near_border`), mean over images."""
        if not self._border_errors:
            raise ValueError("No mask has both blurred and in-focus pixels: add an image that has both.")
        return float(np.mean(self._border_errors))

    def prevalence(self, positive: str) -> float:
        """Return the positive class's share of the pixels, mean over the images with both classes."""
        counts = for_class(drop_single_class(self.counts), positive).sum(-1)
        return float((counts[:, 1] / counts.sum(-1)).mean())

    def all_positive_f(self, positive: str) -> float:
        """Return the max F of marking every pixel of these images."""
        return float(all_positive_f(self.prevalence(positive)))

    def curves(self, positive: str) -> Curves:
        """Return the curves of Figures 8-10 with "blur" or "focus" as the positive class."""
        return curves(self.counts, positive)

    def max_f(self, positive: str) -> float:
        """Return the highest F on the data set's mean curve, "blur" or "focus" as the positive class."""
        return max_f(self.counts, positive)

    def f_half_blur(self) -> float:
        """Return the F-measure (Eq. 11) of the blurred pixels at the threshold 0.5, mean over the images."""
        return f_at_half(self.counts, "blur")

    def auc(self) -> float:
        """Return the area under each image's ROC curve, mean over the images."""
        return auc(self.counts)

    def auc_paper(self, positive: str) -> float:
        """Return the area over the share of all pixels, which compares with the paper's tables."""
        return auc_paper(self.counts, positive)

    def values(self) -> dict[str, float]:
        """Return the main protocol's numbers under the metric names of the result files."""
        return {
            "mae": self.mae(),
            "max-f-blur": self.max_f("blur"),
            "max-f-focus": self.max_f("focus"),
            "f-half-blur": self.f_half_blur(),
            "auc": self.auc(),
            "auc-paper-blur": self.auc_paper("blur"),
            "auc-paper-focus": self.auc_paper("focus"),
        }
