"""Resample photos to measure which differences between methods are larger than chance.

Methods are compared on the same resamples: what makes a photo hard for all of them cancels in a difference.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

LEVEL = 0.95  # of all intervals here
FEW = 20  # photos: with fewer there is no verdict, since resamples of so few hold too few different photos


def resampled_means(scores: Mapping[str, np.ndarray], draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Compute the mean score of each method over resamples of the photos, {method: float (draws,)}.

    `scores` holds one number per photo (N,) for each method, in the same order. Each resample has N photos, drawn
    with replacement, and is the same for all methods.
    """
    (count,) = {len(values) for values in scores.values()}
    drawn = np.random.default_rng(seed).integers(0, count, (draws, count))
    return {method: np.asarray(values)[drawn].mean(1) for method, values in scores.items()}


def interval(means: np.ndarray) -> np.ndarray:
    """Compute the percentile interval that holds 95 % of some resampled means: its low and high end, float (2,)."""
    return np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def p_value(differences: np.ndarray) -> float:
    """Compute the two-sided p-value of a mean difference from its resamples: twice the share beyond zero, in (0, 1].

    The observed sample counts as one resample more, so p is never 0.
    """
    beyond = min(np.sum(differences <= 0), np.sum(differences >= 0))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number (Holm 1979), float of their length; at most 1.

    Rejecting where the corrected value is below 0.05 makes one or more false rejections with a probability of at most
    0.05, whatever the dependence of the tests.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def paired_differences(
    scores: Mapping[str, np.ndarray],
    means: Mapping[str, np.ndarray],
    pairs: Iterable[tuple[str, str]],
    photos: int | None = None,
) -> dict[str, dict[str, float | str]]:
    """Compare pairs of methods on the same resamples, {"first - second": {column: value}} for a table.

    `means` are the `resampled_means` of `scores`. The p-values are corrected for the number of pairs (`holm`); a
    difference is "larger than chance" where the corrected p is below 0.05, which fewer than `FEW` photos do not decide.
    `photos` is their number where `scores` holds one number of all photos instead of one of each.
    """
    pairs = list(pairs)
    apart = [means[first] - means[second] for first, second in pairs]
    rows = {}
    for (first, second), differences, p in zip(pairs, apart, holm([p_value(each) for each in apart])):
        low, high = interval(differences) + 0.0  # no -0.000
        count = len(scores[first]) if photos is None else photos
        rows[f"{first} - {second}"] = {
            "difference": float(np.mean(scores[first]) - np.mean(scores[second])),
            "low": float(low),
            "high": float(high),
            "p, corrected": float(p),
            "larger than chance": "too few photos" if count < FEW else "yes" if p < 1 - LEVEL else "not shown",
        }
    return rows
