"""Check the exercises of notebook 04: the error of a uniform map, the F-measure, and the AUC."""

import numpy as np

from defusion_lib import metrics
from defusion_lib.exercises import diagnose

SHARE, GREY = 0.7, 0.8  # the blurred share of a photo, and the value of its uniform map
PAIRS = ((0.9, 0.4), (0.3, 1.0), (1.0, 1.0), (0.0, 0.0))  # precision, recall


def grey(answer) -> str:
    """Check the mean absolute error of a uniform map."""
    right = SHARE * (1 - GREY) + (1 - SHARE) * GREY
    likely = {
        "You compared the means: the error is computed pixel by pixel, and no pixel has the error 0.1.": GREY - SHARE,
        "That is 1 minus the error: in blurred pixels 0.8 has the error 0.2.": 1 - right,
        "That is the error of a blurred pixel: pixels in focus have another.": 1 - GREY,
        "That is the error of a pixel in focus: blurred pixels have another.": GREY,
        "That is the error of 0.5 everywhere, or of a photo that is half blurred.": 0.5,
        "That is the error of 1 everywhere.": 1 - SHARE,
    }
    return diagnose(answer, right, 0.002, likely)


def f_measure(answer) -> str:
    """Check a function that computes Eq. 11 from precision and recall."""
    for precision, recall in PAIRS:
        with np.errstate(all="ignore"):
            found = answer(precision, recall)
        right = float(metrics.f_measure(precision, recall))
        if abs(found - right) <= 1e-6:  # a tiny number in the denominator is usual
            continue
        if not precision + recall:
            return f"If precision and recall are both 0, F is 0: yours is {found}."
        total = precision + recall
        likely = {
            "Your F is F1: the paper weights precision by beta^2 = 0.3.": 2 * precision * recall / total,
            "0.3 is beta^2 already: do not square it.": _f(precision, recall, 0.3**2),
            "Precision and recall are swapped in the denominator: beta^2 multiplies the precision.": (
                _f(recall, precision, metrics.BETA2)
            ),
            "The factor 1 + beta^2 is missing: a perfect map must have F = 1.": right / (1 + metrics.BETA2),
            "That is the mean of precision and recall.": total / 2,
        }
        named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-9]
        pair = f"Precision {precision:g} and recall {recall:g}"
        return [*named, f"{pair} have F {right:.3f}, not {found:.3f}."][0]
    return ""


def _f(precision: float, recall: float, beta2: float) -> float:
    """Compute the F-measure with another beta^2."""
    return (1 + beta2) * precision * recall / (beta2 * precision + recall)


def auc(answer) -> str:
    """Check a function that computes the share of pairs in the right order; ties count half."""
    rng = np.random.default_rng(4)
    blurred, focus = rng.integers(2, 10, 30) / 10, rng.integers(0, 8, 20) / 10
    found = answer(blurred.copy(), focus.copy())
    if np.ndim(found):
        return f"Return one number: yours has the shape {np.shape(found)}."
    scores, mask = np.r_[blurred, focus][None], np.r_[np.ones(30), np.zeros(20)][None]
    right = metrics.auc(metrics.histogram(scores, mask)[None])
    ahead, tied = (blurred[:, None] > focus).mean(), (blurred[:, None] == focus).mean()
    likely = {
        "": right,
        "A pair of equal scores counts half: yours counts it as wrong.": ahead,
        "A pair of equal scores counts half: yours counts it as right.": ahead + tied,
        "A pair of equal scores counts half: do not skip it.": ahead / (1 - tied),
        "The order is reversed: the blurred pixel should have the higher score.": 1 - right,
        "That is the number of pairs: divide by the number of all pairs.": right * 30 * 20,
        "Every blurred pixel forms a pair with every pixel in focus: yours form one pair each.": (
            (blurred[:20] > focus).mean() + (blurred[:20] == focus).mean() / 2
        ),
        "That is the difference of the means: the AUC depends only on the order.": (blurred.mean() - focus.mean()),
    }
    return diagnose(found, right, 1e-9, likely)


CHECKS = [grey, f_measure, auc]
