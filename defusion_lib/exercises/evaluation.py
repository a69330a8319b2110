"""Exercises of notebook 04: the error of a map that knows nothing, the F-measure, and the AUC."""

import numpy as np

from defusion_lib import metrics
from defusion_lib.exercises import near

SHARE, GREY = 0.7, 0.8  # the blurred share of a photograph, and what its map says everywhere
PAIRS = ((0.9, 0.4), (0.3, 1.0), (1.0, 1.0), (0.0, 0.0))  # precision, recall


def grey(answer) -> str:
    """The mean absolute error of a map that has one grey everywhere."""
    right = SHARE * (1 - GREY) + (1 - SHARE) * GREY
    likely = {
        "You compared the means: the error is taken pixel by pixel, and none of them is 0.1.": GREY - SHARE,
        "That is how much is right: in blurred pixels 0.8 is wrong by 0.2.": 1 - right,
        "That is the error of a blurred pixel: those in focus have another.": 1 - GREY,
        "That is the error of a pixel in focus: the blurred ones have another.": GREY,
        "So it would be for 0.5 everywhere, or if half of the photograph were blurred.": 0.5,
        "So it would be for 1 everywhere.": 1 - SHARE,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.002):
            return sentence
    return near(answer, right, 0.002)


def f_measure(answer) -> str:
    """Eq. 11, from precision and recall."""
    for precision, recall in PAIRS:
        with np.errstate(all="ignore"):
            found = answer(precision, recall)
        right = float(metrics.f_measure(precision, recall))
        if abs(found - right) <= 1e-9:
            continue
        if not precision + recall:
            return f"Where precision and recall are both 0, F is 0: yours is {found}."
        total = precision + recall
        likely = {
            "Your F is the F1: the paper weighs precision by beta^2 = 0.3.": 2 * precision * recall / total,
            "0.3 is beta^2 already: do not square it.": _f(precision, recall, 0.3**2),
            "Precision and recall are swapped below the line: beta^2 stands at the precision.": (
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
    """The F-measure with another beta^2."""
    return (1 + beta2) * precision * recall / (beta2 * precision + recall)


def auc(answer) -> str:
    """The share of pairs in the right order, ties half."""
    rng = np.random.default_rng(4)
    blurred, focus = rng.integers(2, 10, 30) / 10, rng.integers(0, 8, 20) / 10
    found = answer(blurred.copy(), focus.copy())
    if np.ndim(found):
        return f"One number is wanted: yours has the shape {np.shape(found)}."
    scores, mask = np.r_[blurred, focus][None], np.r_[np.ones(30), np.zeros(20)][None]
    right = metrics.auc(metrics.histogram(scores, mask)[None])
    ahead, tied = (blurred[:, None] > focus).mean(), (blurred[:, None] == focus).mean()
    likely = {
        "": right,
        "A pair of equal scores counts half: yours counts it as wrong.": ahead,
        "A pair of equal scores counts half: yours counts it as right.": ahead + tied,
        "A pair of equal scores counts half: leaving it out is something else.": ahead / (1 - tied),
        "The other way round: the blurred pixel should have the higher score.": 1 - right,
        "That is the number of pairs: divide by how many there are.": right * 30 * 20,
        "Every blurred pixel makes a pair with every one in focus: yours meet one each.": (
            (blurred[:20] > focus).mean() + (blurred[:20] == focus).mean() / 2
        ),
        "That is the difference of the means: the AUC asks for the order only.": (
            blurred.mean() - focus.mean()
        ),
    }
    for sentence, wrong in likely.items():
        if abs(found - wrong) <= 1e-9:
            return sentence
    return near(found, right, 1e-9)


CHECKS = [grey, f_measure, auc]
