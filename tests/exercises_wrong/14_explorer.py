"""Wrong answers to notebook 14's exercises, and words of what they must be told."""

import numpy as np


def best(score):
    """The threshold from 0.1 to 0.9 at which a score of (hits, marked, wanted) is highest."""

    def answer(defocus, mask):
        thresholds = np.arange(1, 10) / 10
        marked = [defocus > np.float32(threshold) for threshold in thresholds]
        scores = [score((each & (mask > 0)).sum(), each.sum(), mask.sum()) for each in marked]
        return thresholds[int(np.argmax(scores))]

    return answer


def in_focus(hits, marked, wanted, pixels=40 * 50):
    kept = pixels - wanted - (marked - hits)
    return 1.3 * kept / (0.3 * (pixels - wanted) + pixels - marked)


WRONG = [
    (1, 2.0, "In the middle, the near layer is blurred"),
    (1, 3**0.5, "middle of the logarithms"),
    (1, 1.2, "too small"),
    (1, 2.5, "too large"),
    (2, best(lambda hits, marked, wanted: 2 * hits / (marked + wanted)), "That is the highest F1"),
    (2, best(lambda hits, marked, wanted: 1.09 * hits / (0.09 * wanted + marked)), "do not square it"),
    (2, best(lambda hits, marked, wanted: 2 * hits - marked), "of pixels that are right"),
    (2, best(in_focus), "of pixels in focus"),
    (2, best(lambda hits, marked, wanted: hits / max(marked, 1)), "highest precision"),
    (2, best(lambda hits, marked, wanted: hits / wanted), "highest recall"),
    (2, lambda defocus, mask: 0.55, "On a random map you find 0.55"),
]
