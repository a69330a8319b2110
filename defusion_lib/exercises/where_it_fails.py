"""Exercises of notebook 11: a known answer, the radius that fires, and what few photographs can tell."""

import numpy as np

from defusion_lib.evaluation.statistics import firing_radius, sign_test
from defusion_lib.exercises import near

# Radii, shares called blurred; what they ask of an answer.
RESPONSES = (
    ((0, 1, 2, 4), (0.0, 0.2, 0.8, 1.0), "the share is on a line between two radii"),
    ((0, 1, 2, 4), (0.0, 0.1, 0.2, 0.4), "where the share never gets there, it is infinite"),
    ((0, 1, 2, 4), (0.6, 0.9, 1.0, 1.0), "where the share is there at once, it is the first radius"),
    ((0, 1, 2, 4), (0.0, 0.8, 0.3, 0.9), "the share may fall again: what counts is the first time"),
    ((0, 1, 3), (0.1, 0.5, 0.9), "a share of just one half is there"),
)


def halves(answer) -> str:
    """A picture of a sharp and a blurred half, and its mask."""
    rng = np.random.default_rng(11)
    sharp, soft = rng.integers(0, 256, (2, 6, 9, 3), np.uint8)
    for sharp_left in (True, False):
        ours, theirs = sharp.copy(), soft.copy()
        found = answer(ours, theirs, sharp_left)
        picture, mask = (np.asarray(each) for each in found)
        if not np.array_equal(ours, sharp) or not np.array_equal(theirs, soft):
            return "Your function changes the photographs that it is given: work on a copy."
        if picture.shape != (6, 9, 3) or mask.shape != (6, 9):
            return f"The picture is {picture.shape} and the mask {mask.shape}, not (6, 9, 3) and (6, 9)."
        blurred = np.broadcast_to((np.arange(9) < 4) != sharp_left, (6, 9))
        if np.array_equal(mask, ~blurred):
            return f"With sharp_left={sharp_left} the mask is 1 in the sharp half: 1 = blurred."
        if not np.array_equal(mask, blurred):
            return f"With sharp_left={sharp_left} the mask is not 1 in one half: of 9 columns the left has 4."
        if not np.array_equal(picture, np.where(blurred[..., None], soft, sharp)):
            return f"With sharp_left={sharp_left} the picture is not blurred where the mask says so."
    return ""


def firing(answer) -> str:
    """The radius at which half of the pixels is called blurred."""
    for radii, shares, why in RESPONSES:
        found, right = answer(list(radii), list(shares)), firing_radius(radii, shares)
        if found is None or not (found == right or abs(found - right) <= 1e-9):
            return f"Radii {radii} with shares {shares} give {right:g}, not {found}: {why}."
    return ""


def fewest(answer) -> str:
    """How many photographs a sign test needs to say anything at the 5 % level."""
    right = next(n for n in range(1, 100) if sign_test(np.ones(n), np.zeros(n))[2] < 0.05)
    if answer == right - 1:
        p = sign_test(np.ones(right - 1), np.zeros(right - 1))[2]
        return f"All {right - 1} alike has p = {p:.4f}: it can go either way, so both count."
    return near(answer, right, 0, " photographs")


CHECKS = [halves, firing, fewest]
