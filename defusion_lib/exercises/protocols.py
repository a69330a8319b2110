"""Check the exercises of notebook 05a: an adaptive threshold that marks nothing, and two averages of F."""

import numpy as np

from defusion_lib.exercises import diagnose, near
from defusion_lib.metrics import f_measure

BLURRED, FOCUS, FACTOR = 0.9, 0.1, 1.5  # values of a map in either class, and the threshold over its mean
PRECISION, RECALL = (1.0, 0.4), (0.1, 0.8)  # of two images at one threshold


def adaptive(answer) -> str:
    """Check the blurred share above which 1.5 times the map's mean marks nothing."""

    def beyond(factor, blurred=BLURRED, focus=FOCUS):
        return (blurred / factor - focus) / (blurred - focus)

    right = beyond(FACTOR)
    likely = {
        "That is the share for 0.95 and 0.05: the values of this map are 0.9 and 0.1.": beyond(FACTOR, 0.95, 0.05),
        "That is for a threshold at twice the mean.": beyond(2),
        "The pixels in focus are 0.1, not 0: they raise the mean as well.": beyond(FACTOR, focus=0),
        "There the mean is 0.9 and everything is blurred: the threshold is 1.5 times the mean.": beyond(1),
        "That is the share in focus.": 1 - right,
        "That is the mean of such a map: which blurred share has it?": BLURRED / FACTOR,
    }
    return diagnose(answer, right, 0.001, likely)


def averages(answer) -> str:
    """Check F of the mean precision and recall, and the mean of the images' F."""
    answer = [float(each) for each in answer]
    if len(answer) != 2:
        return f"Two numbers are expected, not {len(answer)}: F of the means, then the mean of F."
    each = f_measure(PRECISION, RECALL)
    of_means, mean = float(f_measure(np.mean(PRECISION), np.mean(RECALL))), float(each.mean())
    unweighted = [2 * p * r / (p + r) for p, r in zip(PRECISION, RECALL)]
    likely = {
        "Those are the two in the other order: F of the means comes first.": (mean, of_means),
        "Those are F of each image: the first number is F of the means, the second the mean of F.": tuple(each),
        "The second number is a mean of F with equal weights: Eq. 11 has 1.3 and 0.3.": (of_means, np.mean(unweighted)),
    }
    for sentence, wrong in likely.items():
        if np.allclose(answer, wrong, rtol=0, atol=0.002):
            return sentence
    wrong = near(answer[0], of_means, 0.002)
    if wrong:
        return f"F of the means: {wrong}"
    wrong = near(answer[1], mean, 0.002)
    return wrong and f"The mean of F: {wrong}"


CHECKS = [adaptive, averages]
