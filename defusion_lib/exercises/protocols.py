"""Exercises of notebook 05: an adaptive threshold that gives up, a printed AUC, and the paper's axis."""

import numpy as np

from defusion_lib import metrics
from defusion_lib.evaluation import protocols
from defusion_lib.exercises import near

BLURRED, FOCUS, FACTOR = 0.9, 0.1, 1.5  # what a map says of either class, and the threshold over its mean
PRINTED, BLURRED_SHARE = 0.77, 0.75  # an AUC on the paper's axis, in focus positive, and how much is blurred


def adaptive(answer) -> str:
    """The blurred share above which 1.5 times the map's mean marks nothing."""

    def beyond(factor, blurred=BLURRED, focus=FOCUS):
        return (blurred / factor - focus) / (blurred - focus)

    right = beyond(FACTOR)
    likely = {
        "That is the share for 0.95 and 0.05: this map says 0.9 and 0.1.": beyond(FACTOR, 0.95, 0.05),
        "That is for a threshold at twice the mean.": beyond(2),
        "The pixels in focus are 0.1, not 0: they raise the mean as well.": beyond(FACTOR, focus=0),
        "There the mean is 0.9 and everything is blurred: the threshold is 1.5 times the mean.": beyond(1),
        "That is the share in focus.": 1 - right,
        "That is the mean of such a map: which blurred share has it?": BLURRED / FACTOR,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.001):
            return sentence
    return near(answer, right, 0.001)


def converted(answer) -> str:
    """The ordinary AUC behind a printed one, in focus positive."""
    share = 1 - BLURRED_SHARE
    likely = {
        "pi is the share of the positive class, and that is in focus here.": (
            protocols.auc_from_paper_axis(PRINTED, BLURRED_SHARE)
        ),
        "That is the printed number over its ceiling: chance, 0.5, must stay 0.5.": (
            PRINTED / protocols.auc_paper_ceiling(share)
        ),
        "Only half of pi is to be taken away: TPR over itself has the area 1/2.": (
            (PRINTED - share) / (1 - share)
        ),
        "That goes the other way: from an ordinary AUC to the paper's axis.": (
            protocols.auc_on_paper_axis(PRINTED, share)
        ),
        "That is the number as it was printed.": PRINTED,
        "That is the ceiling.": protocols.auc_paper_ceiling(share),
        "Divide by 1 - pi: the negatives have only that much of the axis.": PRINTED - share / 2,
    }
    right = protocols.auc_from_paper_axis(PRINTED, share)
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.004):
            return sentence
    return near(answer, right, 0.004)


def area(answer) -> str:
    """The area under TPR over the share of all pixels above the threshold."""
    rng = np.random.default_rng(5)
    mask = (rng.random((12, 20)) < 0.6).astype(float)
    defocus = (rng.integers(0, 12, mask.shape) + 3 * mask) / 15  # few levels, so that many pixels are alike
    found = answer(defocus.copy(), mask.copy())
    counts = metrics.histogram(defocus, mask)[None]
    right, share = metrics.auc_paper(counts, "blur"), mask.mean()
    thresholds = np.unique(defocus)
    x = np.array([(defocus > t).mean() for t in thresholds])
    tpr = np.array([(defocus > t)[mask == 1].mean() for t in thresholds])
    widths = -np.diff([1, *x])
    likely = {
        "": right,
        "Your x falls while the threshold rises, so that the area comes out negative.": -right,
        "That is the ordinary AUC: x is the share of all pixels, not of those in focus.": metrics.auc(counts),
        "That is wrong pixels over all pixels: x counts every marked pixel.": right - share / 2,
        "That has in focus as the positive class: here blur is.": metrics.auc_paper(counts, "focus"),
        "x and y are swapped: TPR is the height.": 1 - right,
        "The curve begins at (1, 1), where everything is marked: your thresholds miss it.": (
            -np.trapezoid(tpr, x)
        ),
        "Those are steps, too low: pixels that are alike make a straight line, so use trapezoids.": (
            (widths * tpr).sum()
        ),
        "Those are steps, too high: pixels that are alike make a straight line, so use trapezoids.": (
            (widths * [1, *tpr[:-1]]).sum()
        ),
    }
    for sentence, wrong in likely.items():
        if abs(found - wrong) <= 1e-9:
            return sentence
    return near(found, right, 1e-9)


CHECKS = [adaptive, converted, area]
