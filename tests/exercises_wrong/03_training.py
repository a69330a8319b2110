"""Wrong answers to the exercises of notebook 03, and words that the message on each must contain."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive(logits, mask, log=np.log):
    """The formula as it stands in the paper, which overflows."""
    p = sigmoid(logits)
    return -(mask * log(p) + (1 - mask) * log(1 - p)).mean()


def stable(logits, mask):
    return (np.logaddexp(0, logits) - logits * mask).mean()


WRONG = [
    (1, 1.02e-3, "320 x 320"),
    (1, 4.1e-3, "ratio is inverted"),
    (1, 5.12e-4, "a quarter of the pixels"),
    (1, 1.6e-6, "over all 160 x 160 pixels"),
    (1, 1e-8 / 160**2, "multiply"),
    (1, 1e-8, "the paper's rate for the sum"),
    (1, 3e-4, "0.0003 is too large"),
    (2, 13, "each has the loss ln 2"),
    (2, 8.32, "final map"),
    (2, 13.17, "three steps"),
    (2, 0.693, "one map"),
    (2, 4.85, "six maps of one step"),
    (2, 6.5, "not 0.5"),
    (2, 3.913, "natural logarithm"),
    (2, 10.0, "10 is too large"),
    (3, lambda logits, mask: None, "write its body"),
    (3, naive, "without probabilities"),
    (3, lambda logits, mask: naive(np.clip(logits, -30, 30), mask), "without probabilities"),
    (3, lambda logits, mask: stable(logits, mask) * logits.size, "sum over the pixels"),
    (3, lambda logits, mask: -naive(logits, mask), "sign"),
    (3, lambda logits, mask: -(mask * np.log(sigmoid(logits))).mean(), "pixels in focus are missing"),
    (3, lambda logits, mask: -((1 - mask) * np.log(sigmoid(-logits))).mean(), "blurred pixels are missing"),
    (3, lambda logits, mask: stable(-logits, mask), "inverted"),
    (3, lambda logits, mask: naive(logits, mask, log=np.log2), "natural logarithm"),
    (3, lambda logits, mask: np.abs(sigmoid(logits) - mask).mean(), "absolute error"),
    (3, lambda logits, mask: -(mask * np.log(logits)).mean(), "NaN or infinite"),
    (3, lambda logits, mask: stable(logits, mask > 0.5), "has grey values"),
    (3, lambda logits, mask: logits, "shape (6, 9)"),
    (3, lambda logits, mask: 7.0, "7 is too large"),
]
