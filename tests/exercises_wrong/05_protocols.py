"""Wrong answers to the exercises of notebook 05, and what they must be told."""

import numpy as np


def curve(defocus, mask, thresholds=None):
    """FPR, TPR and the share of all pixels at or above each threshold, from none to all of them."""
    thresholds = np.append(np.inf, np.unique(defocus)[::-1]) if thresholds is None else thresholds
    above = [defocus >= t for t in thresholds]
    return tuple(np.array([m[of].mean() for m in above]) for of in (mask == 0, mask == 1, mask >= 0))


def over_all(defocus, mask, thresholds=None):
    _, tpr, x = curve(defocus, mask, thresholds)
    return np.trapezoid(tpr, x)


def without_the_lowest(defocus, mask):
    return over_all(defocus, mask, np.append(np.inf, np.unique(defocus)[:0:-1]))


def ordinary(defocus, mask):
    fpr, tpr, _ = curve(defocus, mask)
    return np.trapezoid(tpr, fpr)


def steps(defocus, mask, upper):
    _, tpr, x = curve(defocus, mask)
    return (np.diff(x) * (tpr[1:] if upper else tpr[:-1])).sum()


def swapped(defocus, mask):
    _, tpr, x = curve(defocus, mask)
    return np.trapezoid(x, tpr)


WRONG = [
    (1, 0.648, "0.95 and 0.05"),
    (1, 0.4375, "twice the mean"),
    (1, 2 / 3, "0.1, not 0"),
    (1, 1, "everything is blurred"),
    (1, 0.375, "share in focus"),
    (1, 0.6, "the mean of such a map"),
    (1, 0.7, "0.7 is too large"),
    (2, 1.58, "the positive class"),
    (2, 0.88, "over its ceiling"),
    (2, 0.693, "half of pi"),
    (2, 0.7025, "goes the other way"),
    (2, 0.77, "as it was printed"),
    (2, 0.875, "the ceiling"),
    (2, 0.645, "Divide by 1 - pi"),
    (2, 0.9, "0.9 is too large"),
    (3, lambda defocus, mask: None, "write its body"),
    (3, lambda defocus, mask: -over_all(defocus, mask), "negative"),
    (3, ordinary, "the ordinary AUC"),
    (3, lambda defocus, mask: ordinary(defocus, mask) * (mask == 0).mean(), "wrong pixels over all"),
    (3, lambda defocus, mask: over_all(1 - defocus, 1 - mask), "in focus as the positive class"),
    (3, swapped, "swapped"),
    (3, without_the_lowest, "(1, 1)"),
    (3, lambda defocus, mask: steps(defocus, mask, False), "steps, too low"),
    (3, lambda defocus, mask: steps(defocus, mask, True), "steps, too high"),
    (3, lambda defocus, mask: 0.3, "0.3 is too small"),
]
