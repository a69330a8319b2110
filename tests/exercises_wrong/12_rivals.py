"""Wrong answers to notebook 12's exercises, and words of what they must be told."""

import numpy as np

WRONG = [
    (1, 16, "works on every pixel"),
    (1, 1024, "the fifth comes after"),
    (1, 4, "think of both sides"),
    (2, lambda m: m / m.max(), "not from 0 to 1"),
    (2, lambda m: ((m - m.min()) / (m.max() - m.min())) ** 2, "straight line"),
    (2, lambda m: (m - m.min()) / (m.max() - m.min()), "constant map becomes NaN"),
    (2, lambda m: m.ravel(), "became one of shape (48,)"),
    (3, lambda c, s: (c * np.abs(s[:, None] - s)).sum(), "divide by their number"),
    (3, lambda c, s: (c * np.abs(s[:, None] - s)).sum() / c.sum() / 0.15, "counts classes"),
    (3, lambda c, s: 0.0, "not 0."),
]
