"""Score maps under every protocol at once, each score with its resamples: the numbers of `ProtocolScores`, faster.

Most scores are functions of the histograms (N, 2, 256) of the photos. For a map of 8 bits that includes the mean
absolute errors, so such a map is counted once. What weighted F needs of a mask is computed once for all methods.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from defusion_lib import metrics
from defusion_lib.evaluation import protocols
from defusion_lib.evaluation.protocols import (
    CLASSES,
    F_PROTOCOLS,
    IMAGE_PROTOCOLS,
    ProtocolScores,
    WeightedF,
    count_at_least,
    stretch,
)
from defusion_lib.metrics import (
    HALF,
    LEVELS,
    Curves,
    Evaluation,
    count_above,
    drop_single_class,
    f_measure,
    for_class,
    precision_recall,
)

DRAWS = 2000  # resamples of the photos, for standard errors and intervals
WEIGHTED = {f"weighted-f-{positive}": positive for positive in CLASSES}
# {metric in the result files: function(counts)}
OF_COUNTS: dict[str, Callable[[np.ndarray], float]] = {
    f"{name}-{positive}": partial(score, positive=positive)
    for positive in CLASSES
    for name, score in F_PROTOCOLS.items()
}
OF_COUNTS |= {"auc": metrics.auc, "auc-pooled": protocols.auc_pooled}
OF_COUNTS |= {f"auc-paper-{positive}": partial(metrics.auc_paper, positive=positive) for positive in CLASSES}
# Per image and then the mean; for the other errors of `IMAGE_PROTOCOLS` that is all there is.
ERRORS = tuple(name for name in IMAGE_PROTOCOLS if name not in WEIGHTED)
METRICS = (*OF_COUNTS, *IMAGE_PROTOCOLS)


class Measured(NamedTuple):
    """What is kept of one map: its histogram, int64 (2, 256), and its scores under `IMAGE_PROTOCOLS`."""

    counts: np.ndarray
    of_image: dict[str, float]


class Mask:
    """The mask of one photo, (H, W) of 0 and 1, with what the scores of all its maps share; ValueError for others.

    `weighted` is False where weighted F is not asked for, which takes most of the time.
    """

    def __init__(self, mask: np.ndarray, weighted: bool = True):
        self._mask = np.asarray(mask, float)
        blurred = metrics.check_binary(self._mask)
        self._rows = blurred.astype(np.uint16) * np.uint16(LEVELS)
        both = blurred.any() and not blurred.all()
        self._weighted = {name: WeightedF(blurred, each) for name, each in WEIGHTED.items() if both and weighted}

    def measure(self, defocus: np.ndarray) -> Measured:
        """Score a map of the mask's size: uint8, 255 = blurred, or floats in [0, 1], 1 = blurred.

        A weighted F is NaN where it was not asked for and where the mask has one class. Raises what
        `metrics.check_pair` raises.
        """
        if defocus.dtype == np.uint8 and defocus.shape == self._mask.shape:
            found = of_histogram(self._count(defocus))
            defocus = defocus / 255 if self._weighted else defocus
        else:
            defocus, _ = metrics.check_pair(defocus, self._mask)
            errors = {name: IMAGE_PROTOCOLS[name](defocus, self._mask) for name in ERRORS}
            found = Measured(self._count(metrics.quantise(defocus)), errors | dict.fromkeys(WEIGHTED, np.nan))
        weighted = {name: each.score(defocus) for name, each in self._weighted.items()}
        return found._replace(of_image=found.of_image | weighted)

    def _count(self, levels: np.ndarray) -> np.ndarray:
        return np.bincount((self._rows + levels).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def of_histogram(counts: np.ndarray) -> Measured:
    """Score a map of 8 bits from its histogram, int (2, 256); weighted F, which needs the map, is NaN."""
    return Measured(counts, dict(zip(ERRORS, _errors(counts))) | dict.fromkeys(WEIGHTED, np.nan))


def _errors(counts: np.ndarray) -> tuple[float, float]:
    """Compute the mean absolute error of a map of 8 bits, as it is and stretched to [0, 1], from its histogram."""
    levels, used = np.arange(LEVELS), np.flatnonzero(counts.sum(0))
    low, high = used[0], used[-1]
    ways = [levels / 255, (levels - low) / (high - low) if high > low else levels / 255]
    plain, stretched = ((counts[0] @ values + counts[1] @ (1 - values)) / counts.sum() for values in ways)
    return float(plain), float(stretched)


class HistogramScores(Evaluation):
    """The scores of maps of 8 bits from their histograms, int (N, 2, 256), alone: all but `border_mae`.

    `stretched`: of the maps stretched to [0, 1], as `protocols.stretch` does it.
    """

    def __init__(self, counts: np.ndarray, stretched: bool = False):
        super().__init__()
        self._errors = [_errors(each)[int(stretched)] for each in counts]
        self._counts = list(stretch(counts) if stretched else counts)

    def border_mae(self) -> float:
        """Raise ValueError: which pixels are near a border is not in the histograms."""
        raise ValueError("Histograms do not tell which pixels are near a border: score the maps themselves.")


class MapScores:
    """The scores of one method on one data set: add what `Mask.measure` returns of every photo."""

    def __init__(self, measured: Sequence[Measured]):
        self.counts = np.stack([each.counts for each in measured])
        self.of_images = {name: np.array([each.of_image[name] for each in measured]) for name in IMAGE_PROTOCOLS}
        both = (self.counts.sum(-1) > 0).all(-1)
        # Of a mask of one class there is a mean absolute error, but nothing else.
        self.of_images |= {name: self.of_images[name][both] for name in WEIGHTED}

    def curves(self, positive: str) -> Curves:
        """Return the curves of Figures 8-10 with "blur" or "focus" as the positive class."""
        return metrics.curves(self.counts, positive)

    def value(self, metric: str) -> float:
        """Compute the score under one of `METRICS`."""
        return OF_COUNTS[metric](self.counts) if metric in OF_COUNTS else float(self.of_images[metric].mean())

    def photos(self, metric: str) -> int:
        """Return the number of photos that a score is computed from: all for an error, else those with both classes."""
        return len(self.of_images[metric] if metric in self.of_images else drop_single_class(self.counts))

    def resampled(self, wanted: Sequence[str], draws: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Compute the scores over resamples of the photos, {metric: float (draws,)}.

        The resamples are those of `bootstrap.resampled_means`: the same for all methods with the same photos.
        """
        return resample(wanted, self.counts, self.of_images, draws, seed)


def resampled(scores: Evaluation | ProtocolScores, draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Compute the `values` of scores over resamples of the photos, {metric: float (draws,)}: `MapScores.resampled`."""
    of_images = scores.of_images if isinstance(scores, ProtocolScores) else {"mae": scores.errors}
    return resample([*scores.values()], scores.counts, of_images, draws, seed)


def with_errors(scores: Evaluation | ProtocolScores, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """Return the `values` of scores, each with its bootstrap standard error over the photos under "...-se"."""
    errors = resampled(scores, draws, seed)
    return scores.values() | {f"{metric}-se": float(each.std()) for metric, each in errors.items()}


def resample(
    wanted: Sequence[str], counts: np.ndarray, of_images: Mapping[str, np.ndarray], draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Compute the scores over resamples of the photos, {metric: float (draws,)}.

    `counts` (N, 2, 256) are the histograms of all photos, `of_images` {metric: (N,)} the scores that do not follow from
    them.
    """
    counts, shares, found = drop_single_class(counts), {}, {}
    for metric in wanted:
        parts, finish = _parts(metric, counts) if metric in OF_COUNTS else (of_images[metric], _mean)
        if len(parts) not in shares:
            shares[len(parts)] = times_drawn(len(parts), draws, seed)
        sums = (shares[len(parts)] @ parts.reshape(len(parts), -1)).reshape(draws, *parts.shape[1:])
        found[metric] = finish(sums, len(parts))
    return found


def times_drawn(count: int, draws: int, seed: int) -> np.ndarray:
    """Count how often each of `count` photos is in each resample: float (draws, count) of whole numbers."""
    drawn = np.random.default_rng(seed).integers(0, count, (draws, count))
    places = drawn + count * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count).astype(float)


# A score of a data set is a function of a sum over its photos. `_parts` returns what is summed, (N, ...), and that
# function of the sums (draws, ...) and the number of photos.


def _parts(metric: str, counts: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray, int], np.ndarray]]:
    name, _, positive = metric.rpartition("-")
    if metric == "auc-pooled":
        return counts, lambda sums, _: metrics.area(sums, sums[:, 0])
    if name == "max-f":
        counts = for_class(counts, positive)
        return np.stack(precision_recall(counts, count_above(counts)), 1), _best_of_means
    if name == "max-f-inclusive":
        counts = stretch(for_class(counts, positive))
        return np.stack(precision_recall(counts, count_at_least(counts), empty=0.0), 1), _best_of_means
    if name == "max-f-pooled":
        return for_class(counts, positive), _best_of_pooled
    if name == "iou-half-pooled":
        return for_class(counts, positive), _iou_of_pooled
    if name == "f-mean15-pooled":
        counts = for_class(counts, positive)
        marked = protocols.marked_by_mean(counts, 1.5)[..., 0]
        return np.stack([marked[:, 1], marked.sum(-1), counts[:, 1].sum(-1)], 1), _f_of_sums
    score = OF_COUNTS[metric]
    return np.array([score(one[None]) for one in counts]), _mean


def _mean(sums: np.ndarray, count: int) -> np.ndarray:
    return sums / count


def _best_of_means(sums: np.ndarray, count: int) -> np.ndarray:
    return f_measure(sums[:, 0] / count, sums[:, 1] / count).max(-1)


def _best_of_pooled(sums: np.ndarray, count: int) -> np.ndarray:
    return f_measure(*precision_recall(sums, count_above(sums))).max(-1)


def _iou_of_pooled(sums: np.ndarray, count: int) -> np.ndarray:
    marked = count_above(sums)[..., HALF]
    return marked[:, 1] / (sums[:, 1].sum(-1) + marked[:, 0])


def _f_of_sums(sums: np.ndarray, count: int) -> np.ndarray:
    hit, marked, positive = sums.T
    return f_measure(np.divide(hit, marked, out=np.zeros_like(hit), where=marked > 0), hit / positive)
