"""Statistics of pixels, images and seeds: intervals, tests, correlations."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq


def contrast(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Compute the difference of two means and the ends of its 95 % interval over seeds (Welch's t).

    `values` and `reference` hold one number per seed. The ends are NaN where one of them has a single seed.
    """
    difference = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2:
        return difference, np.nan, np.nan
    interval = stats.ttest_ind(values, reference, equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


def contrast_within(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Compute the mean difference of two scores of the same networks and its 95 % interval (paired t over seeds).

    `values` and `reference` hold one number per network, in one order. The ends are NaN for a single network.
    """
    apart = np.subtract(values, reference)
    if len(apart) < 2:
        return float(apart.mean()), np.nan, np.nan
    interval = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    return float(apart.mean()), float(interval.low), float(interval.high)


def residual_spread(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Compute the standard deviation of scores (rows, seeds) that neither the row nor the seed explains.

    A seed moves all rows alike where it draws the same first weights and the same samples for them: such a shift
    changes no difference of rows. So the mean of each row and of each seed is subtracted first (a randomised block
    design). Returns the deviation and its degrees of freedom, (rows - 1)(seeds - 1); NaN and 0 for one row or seed.
    """
    values = np.asarray(scores, float)
    freedom = (values.shape[0] - 1) * (values.shape[1] - 1)
    if not freedom:
        return np.nan, 0
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(np.sqrt((residual**2).sum() / freedom)), freedom


class PairedContrast(NamedTuple):
    """A difference of two means, the ends of its 95 % interval, and its two-sided p-value for this comparison alone."""

    difference: float
    low: float
    high: float
    p: float


def paired_contrast(values: Sequence[float], reference: Sequence[float], spread: float, freedom: int) -> PairedContrast:
    """Compare two rows on the seeds that both have, the first ones, with the `residual_spread` of all rows (t test).

    One seed is enough, because the spread is that of the whole table. Without a spread the interval and p are NaN.
    """
    shared = min(len(values), len(reference))
    difference = float(np.mean(values[:shared]) - np.mean(reference[:shared]))
    if not freedom:
        return PairedContrast(difference, np.nan, np.nan, np.nan)
    around = stats.t(freedom, difference, spread * math.sqrt(2 / shared))
    low, high = around.ppf([0.025, 0.975])
    return PairedContrast(difference, float(low), float(high), float(2 * min(around.cdf(0), around.sf(0))))


def normal_contrast(difference: float, error: float) -> PairedContrast:
    """Compute the interval and p of a difference with a known standard error, by the normal distribution.

    Without an error, as of one photo or of equal maps, the interval is a point and p is 1.
    """
    half = stats.norm.ppf(0.975) * error
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error else 1.0
    return PairedContrast(float(difference), float(difference - half), float(difference + half), p)


def detectable_difference(spread: float, seeds: int, freedom: int, level: float = 0.05, power: float = 0.8) -> float:
    """Compute the true difference of two rows that a two-sided t test at `level` finds with a probability of `power`.

    `spread` is the `residual_spread`, `seeds` the number of seeds that both rows have. If the difference is in truth
    d, the test statistic has a noncentral t distribution, whose noncentrality is d over the standard error of the
    difference, spread * sqrt(2 / seeds). NaN without a spread.
    """
    if not freedom:
        return np.nan
    critical = stats.t.isf(level / 2, freedom)
    # A difference found with the wrong sign would count too, but at such a noncentrality that does not happen.
    noncentrality = brentq(lambda centre: stats.nct.sf(critical, freedom, centre) - power, 0, 3 * critical)
    return noncentrality * spread * math.sqrt(2 / seeds)


def correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compute Pearson's correlation of two maps (H, W), in [-1, 1]; 0 where one of them is constant."""
    ours, theirs = (np.asarray(each, float) - np.mean(each, dtype=float) for each in (ours, theirs))
    scale = np.sqrt((ours**2).sum() * (theirs**2).sum())
    return float((ours * theirs).sum() / scale) if scale > 0 else 0.0


def detection_radius(radii: Sequence[float], shares: Sequence[float]) -> float:
    """Compute the blur radius at which the share of pixels predicted as blurred first reaches one half.

    `radii` ascend; the share is interpolated linearly between them. Returns the first radius where the share starts at
    one half or above, infinity where it never reaches one half.
    """
    for i, share in enumerate(shares):
        if share >= 0.5:
            last_two = slice(max(i - 1, 0), i + 1)
            return float(np.interp(0.5, shares[last_two], radii[last_two]))
    return math.inf


def quarters(wrong: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Compute the share of wrong pixels in each quarter of the pixels, from smooth to textured, float64 (4,).

    `wrong` (bool) and `texture` have one shape and at least four pixels; they may be a selection of an image's pixels.
    """
    order = np.argsort(texture, axis=None, kind="stable")
    return np.array([part.mean() for part in np.array_split(wrong.ravel()[order], 4)])


def probability_of_superiority(values: np.ndarray, chosen: np.ndarray) -> float:
    """Compute the share of pairs of a chosen and another pixel in which the chosen one has the higher value, in [0, 1].

    Ties count half: 0.5 means that the value does not separate the two groups. `chosen` is bool and has the shape of
    `values`; NaN where all or no pixels are chosen.
    """
    ours, others = values[chosen], values[~chosen]
    if not ours.size or not others.size:
        return math.nan
    ranks = stats.rankdata(np.concatenate([ours, others]))[: ours.size]
    return float((ranks.sum() - ours.size * (ours.size + 1) / 2) / (ours.size * others.size))


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """Count the pairs in which the first is higher and those that differ, and compute the two-sided p of the sign test.

    p is the probability of a split at least as uneven where neither tends to be higher; 1 where no pair differs.
    """
    apart = np.subtract(first, second)
    higher, differ = int((apart > 0).sum()), int((apart != 0).sum())
    return higher, differ, float(stats.binomtest(higher, differ).pvalue) if differ else 1.0
