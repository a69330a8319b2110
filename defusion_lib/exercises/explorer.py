"""Check the exercises of notebook 14: the focus distance, and the threshold of a map."""

import numpy as np

from defusion_lib.data.camera import Camera
from defusion_lib.exercises import near
from defusion_lib.metrics import f_measure

NEAR, FAR = 1.0, 3.0  # metres


def focus(answer) -> str:
    """Check the focus distance at which layers at 1 m and 3 m are blurred equally."""
    if not near(answer, (NEAR + FAR) / 2, 0.005):
        radii = [Camera(answer).blur_radius(distance, 160) for distance in (NEAR, FAR)]
        return "In the middle, the near layer is blurred by {:.1f} pixels and the far one by {:.1f}.".format(*radii)
    if not near(answer, (NEAR * FAR) ** 0.5, 0.005):
        return "That is the middle of the logarithms: the blur is linear in 1 / distance."
    return near(answer, 2 / (1 / NEAR + 1 / FAR), 0.01, " m")


def cut(answer) -> str:
    """Check a function that finds the threshold with the highest F."""
    rng = np.random.default_rng(0)
    thresholds = np.arange(1, 10) / 10
    for share in (0.5, 0.7):
        mask = (rng.random((40, 50)) < share).astype(np.float32)
        defocus = np.clip(0.3 * mask + rng.normal(0.3, 0.25, mask.shape), 0, 1).astype(np.float32)
        marked = defocus[None] > thresholds[:, None, None].astype(np.float32)
        hits = (marked & (mask > 0)).sum((1, 2))
        precision, recall = hits / np.maximum(marked.sum((1, 2)), 1), hits / mask.sum()
        right = (marked == (mask > 0)).mean((1, 2))
        likely = {
            "": f_measure(precision, recall).argmax(),
            "That is the highest F1: Eq. 11 weights precision by beta^2 = 0.3.": (
                2 * hits / (marked.sum((1, 2)) + mask.sum())
            ).argmax(),
            "0.3 is beta^2 already: do not square it.": (
                1.09 * precision * recall / (0.09 * precision + recall)
            ).argmax(),
            "That is the largest share of pixels that are right, or the highest F of pixels in focus: Eq. 11 is about "
            "blurred pixels.": right.argmax(),
            "That is the highest precision: F also depends on the recall.": precision.argmax(),
            "That is the highest recall: the lowest threshold always has it.": recall.argmax(),
        }
        found = float(answer(defocus.copy(), mask.copy()))
        sentence = next((sentence for sentence, at in likely.items() if not near(found, thresholds[at], 1e-6)), None)
        if sentence is None:
            return f"On a random map you find {found:g}, but {thresholds[likely['']]:g} has the highest F."
        if sentence:
            return sentence
    return ""


CHECKS = [focus, cut]
