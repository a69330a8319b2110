"""Check the exercises of notebook 05b: the area on the paper's axis, and the AUC that one threshold guarantees."""

import numpy as np

from defusion_lib import metrics
from defusion_lib.exercises import diagnose

PRECISION, RECALL, SHARE = 0.9, 0.8, 0.6  # of one threshold, and the positive class's share


def area(answer) -> str:
    """Check the area under TPR over the share of all pixels above the threshold."""
    rng = np.random.default_rng(5)
    mask = (rng.random((12, 20)) < 0.6).astype(float)
    defocus = (rng.integers(0, 12, mask.shape) + 3 * mask) / 15  # few levels, so that many pixels are equal
    found = answer(defocus.copy(), mask.copy())
    counts = metrics.histogram(defocus, mask)[None]
    right, share = metrics.auc_paper(counts, "blur"), mask.mean()
    thresholds = np.unique(defocus)
    x = np.array([(defocus > t).mean() for t in thresholds])
    tpr = np.array([(defocus > t)[mask == 1].mean() for t in thresholds])
    widths = -np.diff([1, *x])
    likely = {
        "": right,
        "Your x falls while the threshold rises, so the area is negative.": -right,
        "That is the ordinary AUC: x is the share of all pixels, not of those in focus.": metrics.auc(counts),
        "Your x is the share of false positives among all pixels: x counts every marked pixel.": right - share / 2,
        "Your positive class is in focus: here it is blur.": metrics.auc_paper(counts, "focus"),
        "x and y are swapped: TPR is the height.": 1 - right,
        "The curve begins at (1, 1), with every pixel marked: your thresholds omit it.": -np.trapezoid(tpr, x),
        "Those are steps, too low: equal pixels make a straight line, so use trapezoids.": (widths * tpr).sum(),
        "Those are steps, too high: equal pixels make a straight line, so use trapezoids.": (
            (widths * [1, *tpr[:-1]]).sum()
        ),
    }
    return diagnose(found, right, 1e-9, likely)


def guaranteed(answer) -> str:
    """Check the lowest AUC of a ROC curve through one point."""
    odds = SHARE / (1 - SHARE)
    fpr = RECALL * odds * (1 - PRECISION) / PRECISION
    right = RECALL * (1 - fpr)
    likely = {
        "That is FPR: the area to its right, below TPR, is TPR (1 - FPR).": fpr,
        "FPR is not 1 - precision: its denominator is the pixels that are not positive.": RECALL * PRECISION,
        "The odds are inverted: with more positive pixels the same precision means a larger FPR.": (
            RECALL * (1 - RECALL / odds * (1 - PRECISION) / PRECISION)
        ),
        "That is 1 - FPR: the height of the rectangle is TPR.": 1 - fpr,
        "That is the area below straight lines through the point: only the rectangle is guaranteed.": (
            RECALL * fpr / 2 + (1 - fpr) * (1 + RECALL) / 2
        ),
    }
    return diagnose(answer, right, 0.001, likely)


CHECKS = [area, guaranteed]
