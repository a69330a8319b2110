"""Statistics of pixels, photographs and seeds: intervals, tests, correlations."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def contrast(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """How far one row's mean lies above another's, and the ends of its 95 % interval over seeds (Welch's t).

    Each holds one number a seed. With a single seed on either side nothing is known of the spread: the ends are NaN.
    """
    difference = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2:
        return difference, np.nan, np.nan
    interval = stats.ttest_ind(values, reference, equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


def correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Pearson's correlation of two maps (H, W), in [-1, 1]; 0 where one of them is the same everywhere."""
    ours, theirs = (np.asarray(each, float) - np.mean(each, dtype=float) for each in (ours, theirs))
    scale = np.sqrt((ours**2).sum() * (theirs**2).sum())
    return float((ours * theirs).sum() / scale) if scale > 0 else 0.0


def firing_radius(radii: Sequence[float], shares: Sequence[float]) -> float:
    """The radius at which the share of pixels called blurred first reaches one half.

    `radii` ascend; between two of them the share is on a line. The first radius where the share is there at
    once, infinity where it never gets there.
    """
    for i, share in enumerate(shares):
        if share >= 0.5:
            last_two = slice(max(i - 1, 0), i + 1)
            return float(np.interp(0.5, shares[last_two], radii[last_two]))
    return math.inf


def quarters(wrong: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """The share of wrong pixels in each quarter of the pixels, from smooth to textured, float64 (4,).

    Takes two arrays of one shape, at least four pixels, of which any selection may be made before.
    """
    order = np.argsort(texture, axis=None, kind="stable")
    return np.array([part.mean() for part in np.array_split(wrong.ravel()[order], 4)])


def pairs(values: np.ndarray, chosen: np.ndarray) -> float:
    """In what share of all pairs of a chosen and another pixel the chosen one has the higher value.

    Ties count half, so 0.5 says that the value does not tell them apart. `chosen` is bool of the values'
    shape; NaN where all or none are.
    """
    ours, others = values[chosen], values[~chosen]
    if not ours.size or not others.size:
        return math.nan
    ranks = stats.rankdata(np.concatenate([ours, others]))[: ours.size]
    return float((ranks.sum() - ours.size * (ours.size + 1) / 2) / (ours.size * others.size))


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """In how many pairs the first is higher, in how many they differ, and the two-sided p of the sign test.

    p is how likely a split at least as uneven is where neither tends to be higher; 1 where no pair differs.
    """
    apart = np.subtract(first, second)
    higher, differ = int((apart > 0).sum()), int((apart != 0).sum())
    return higher, differ, float(stats.binomtest(higher, differ).pvalue) if differ else 1.0
