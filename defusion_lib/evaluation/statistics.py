"""Statistics of pixels, images and seeds: intervals, tests, correlations."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def contrast(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Compute the difference of two means and the ends of its 95 % interval over seeds (Welch's t).

    `values` and `reference` hold one number per seed. The ends are NaN where one of them has a single seed.
    """
    difference = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2:
        return difference, np.nan, np.nan
    interval = stats.ttest_ind(values, reference, equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


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
