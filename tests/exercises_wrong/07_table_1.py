"""Wrong answers to the exercises of notebook 07, and words that the verdict on each must contain."""

from itertools import combinations, permutations

import numpy as np
from scipy import ndimage, stats


def bootstrap(first, second, draws=4000, ends=(0.025, 0.975), apart=False, swapped=False):
    """The right one, or spoilt."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(first), (draws, len(first)))
    others = rng.permutation(drawn) if apart else drawn
    difference = first[drawn].mean(1) - second[others].mean(1)
    return np.quantile(-difference if swapped else difference, ends)


def agreeing(first, second):
    """In how many pairs two orders agree, and how many there are."""
    pairs = list(combinations(range(len(first)), 2))
    return sum((first[i] < first[j]) == (second[i] < second[j]) for i, j in pairs), len(pairs)


def tau(first, second):
    return stats.kendalltau(first, second).statistic


def share(first, second):
    agree, pairs = agreeing(first, second)
    return agree / pairs


def number(first, second):
    agree, pairs = agreeing(first, second)
    return 2 * agree - pairs


def ordered_pairs(first, second):
    pairs = list(permutations(range(len(first)), 2))
    return sum(np.sign((first[i] - first[j]) * (second[i] - second[j])) for i, j in pairs) / (len(pairs) / 2)


def little_detail(image):
    energy = ndimage.gaussian_filter(ndimage.laplace(ndimage.gaussian_filter(image.mean(-1), 1)) ** 2, 8)
    return 1 / (1 + energy / 10)


def single_pixels(image):
    detail = np.abs(ndimage.laplace(image.mean(-1)))
    return 1 - detail / detail.max()


def by_place(image):
    return np.broadcast_to(np.linspace(0, 1, image.shape[1]), image.shape[:2])


WRONG = [
    (1, lambda first, second: None, "returns None"),
    (1, lambda first, second: (first - second).mean(), "expected two numbers"),
    (1, lambda first, second: bootstrap(first, second, apart=True), "need the same draws"),
    (1, lambda first, second: bootstrap(first, second, swapped=True), "second minus the first"),
    (1, lambda first, second: bootstrap(first, second, ends=(0.05, 0.95)), "Only 90 %"),
    (1, lambda first, second: bootstrap(first, second, ends=(0.005, 0.995)), "is wrong: the interval"),
    (1, lambda first, second: np.quantile(first - second, [0.025, 0.975]), "the mean of each draw first"),
    (2, lambda first, second: None, "returns None"),
    (2, share, "share of pairs that agree"),
    (2, lambda first, second: -tau(first, second), "sign is wrong"),
    (2, number, "divide by the number of pairs"),
    (2, ordered_pairs, "every pair twice"),
    (2, lambda first, second: np.corrcoef(first, second)[0, 1], "Pearson"),
    (2, lambda first, second: stats.spearmanr(first, second).statistic, "Spearman"),
    (2, lambda first, second: 1, "not 1"),
    (3, lambda image: None, "returns None"),
    (3, lambda image: 0.5, "one number per pixel"),
    (3, lambda image: image / 255, "one number per pixel"),
    (3, lambda image: 1000 * little_detail(image), "scale it to [0, 1]"),
    (3, lambda image: np.full(image.shape[:2], np.nan), "scale it to [0, 1]"),
    (3, lambda image: 1 - little_detail(image), "is inverted"),
    (3, single_pixels, "average over its neighbourhood"),
    (3, by_place, "Its AUC is 0.50"),
    (3, lambda image: image.mean(-1) / 255, "average over its neighbourhood"),
    (4, lambda m: m / m.max(), "not from 0 to 1"),
    (4, lambda m: ((m - m.min()) / (m.max() - m.min())) ** 2, "straight line"),
    (4, lambda m: (m - m.min()) / (m.max() - m.min()), "constant map becomes NaN"),
    (4, lambda m: (m - m.min()) / max(m.max() - m.min(), 1e-9), "0.5 becomes 0: return it"),
    (4, lambda m: (m - m.min()) / np.ptp(m) if np.ptp(m) else np.ones_like(m), "0.5 becomes 1: return it"),
    (4, lambda m: m.ravel(), "became one of shape (48,)"),
]
