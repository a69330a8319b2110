"""Wrong answers to the exercises of notebook 04, and words that the message on each must contain."""

import numpy as np


def f(precision, recall, beta2=0.3):
    return (1 + beta2) * precision * recall / (beta2 * precision + recall) if precision + recall else 0.0


def pairs(blurred, focus, tie=0.5):
    return (blurred[:, None] > focus).mean() + tie * (blurred[:, None] == focus).mean()


def without_ties(blurred, focus):
    ahead, behind = (blurred[:, None] > focus).sum(), (blurred[:, None] < focus).sum()
    return ahead / (ahead + behind)


def one_each(blurred, focus):
    blurred = blurred[: len(focus)]
    return (blurred > focus).mean() + (blurred == focus).mean() / 2


WRONG = [
    (1, 0.1, "pixel by pixel"),
    (1, 0.62, "1 minus the error"),
    (1, 0.2, "pixels in focus have another"),
    (1, 0.8, "blurred pixels have another"),
    (1, 0.5, "of 0.5 everywhere"),
    (1, 0.3, "of 1 everywhere"),
    (1, 0.4, "0.4 is too large"),
    (2, lambda precision, recall: None, "write its body"),
    (2, lambda precision, recall: f(precision, recall, 1.0), "Your F is F1"),
    (2, lambda precision, recall: f(precision, recall, 0.09), "do not square"),
    (2, lambda precision, recall: f(recall, precision), "swapped"),
    (2, lambda precision, recall: f(precision, recall) / 1.3, "1 + beta^2 is missing"),
    (2, lambda precision, recall: (precision + recall) / 2, "the mean of precision and recall"),
    (2, lambda p, r: np.float64(1.3 * p * r) / (0.3 * p + r), "both 0, F is 0"),
    (2, lambda precision, recall: 1.3 * precision * recall / (0.3 * precision + recall), "ZeroDivisionError"),
    (2, lambda precision, recall: 0.5, "have F 0.699, not 0.500"),
    (3, lambda blurred, focus: None, "write its body"),
    (3, lambda blurred, focus: pairs(blurred, focus, 0), "counts it as wrong"),
    (3, lambda blurred, focus: pairs(blurred, focus, 1), "counts it as right"),
    (3, without_ties, "do not skip it"),
    (3, lambda blurred, focus: pairs(focus, blurred), "order is reversed"),
    (3, lambda blurred, focus: pairs(blurred, focus) * len(blurred) * len(focus), "number of pairs"),
    (3, one_each, "forms a pair with every"),
    (3, lambda blurred, focus: blurred.mean() - focus.mean(), "difference of the means"),
    (3, lambda blurred, focus: blurred[:, None] > focus, "shape (30, 20)"),
    (3, lambda blurred, focus: 0.0, "0 is too small"),
]
