"""Wrong answers to the exercises of notebook 05b, and what they must be told."""

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
    (1, lambda defocus, mask: None, "write its body"),
    (1, lambda defocus, mask: -over_all(defocus, mask), "negative"),
    (1, ordinary, "the ordinary AUC"),
    (1, lambda defocus, mask: ordinary(defocus, mask) * (mask == 0).mean(), "false positives among all"),
    (1, lambda defocus, mask: over_all(1 - defocus, 1 - mask), "Your positive class is in focus"),
    (1, swapped, "swapped"),
    (1, without_the_lowest, "(1, 1)"),
    (1, lambda defocus, mask: steps(defocus, mask, False), "steps, too low"),
    (1, lambda defocus, mask: steps(defocus, mask, True), "steps, too high"),
    (1, lambda defocus, mask: 0.3, "0.3 is too small"),
    (2, 0.1333, "That is FPR"),
    (2, 0.72, "not 1 - precision"),
    (2, 0.7526, "odds are inverted"),
    (2, 0.8667, "height of the rectangle"),
    (2, 0.8333, "only the rectangle"),
    (2, 0.6, "0.6 is too small"),
]
