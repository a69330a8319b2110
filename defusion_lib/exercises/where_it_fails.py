"""Check the exercises of notebook 11: an exact mask, the detection radius, and what a few photos can prove."""

import numpy as np

from defusion_lib.evaluation.statistics import detection_radius, sign_test
from defusion_lib.exercises import near

# Radii, shares marked as blurred, and what an answer must do with them.
RESPONSES = (
    ((0, 1, 2, 4), (0.0, 0.2, 0.8, 1.0), "between two radii the share changes linearly"),
    ((0, 1, 2, 4), (0.0, 0.1, 0.2, 0.4), "if the share never reaches one half, the radius is infinite"),
    ((0, 1, 2, 4), (0.6, 0.9, 1.0, 1.0), "if the first share is at least one half, return the first radius"),
    ((0, 1, 2, 4), (0.0, 0.8, 0.3, 0.9), "the share may fall again: find the first time"),
    ((0, 1, 2), (0.1, 0.3, 0.5), "a share of exactly one half counts"),
)


def halves(answer) -> str:
    """Check an image of a sharp and a blurred half, and its mask."""
    rng = np.random.default_rng(11)
    sharp, soft = rng.integers(0, 256, (2, 6, 9, 3), np.uint8)
    for sharp_left in (True, False):
        ours, theirs = sharp.copy(), soft.copy()
        found = answer(ours, theirs, sharp_left)
        image, mask = (np.asarray(each) for each in found)
        if not np.array_equal(ours, sharp) or not np.array_equal(theirs, soft):
            return "Your function changes the given photos: work on a copy."
        if image.shape != (6, 9, 3) or mask.shape != (6, 9):
            return f"The image is {image.shape} and the mask {mask.shape}, not (6, 9, 3) and (6, 9)."
        blurred = np.broadcast_to((np.arange(9) < 4) != sharp_left, (6, 9))
        if np.array_equal(mask, ~blurred):
            return f"With sharp_left={sharp_left} the mask is 1 in the sharp half: 1 = blurred."
        if not np.array_equal(mask, blurred):
            return f"With sharp_left={sharp_left} the mask is not 1 in one half: of 9 columns the left half has 4."
        if not np.array_equal(image, np.where(blurred[..., None], soft, sharp)):
            return f"With sharp_left={sharp_left} the image is not blurred exactly where the mask is 1."
    return ""


def response_radius(answer) -> str:
    """Check the radius at which half of the pixels are marked as blurred."""
    for radii, shares, why in RESPONSES:
        found, right = answer(list(radii), list(shares)), detection_radius(radii, shares)
        if found is None or not (found == right or abs(found - right) <= 1e-9):
            return f"Radii {radii} with shares {shares} give {right:g}, not {found}: {why}."
    return ""


def fewest(answer) -> str:
    """Check how many photos a sign test needs to reach the 5 % level."""
    right = next(n for n in range(1, 100) if sign_test(np.ones(n), np.zeros(n))[2] < 0.05)
    if answer == right - 1:
        p = sign_test(np.ones(right - 1), np.zeros(right - 1))[2]
        return f"If all {right - 1} photos agree, p = {p:.4f}: the test is two-sided, so count both directions."
    return near(answer, right, 0, " photos")


CHECKS = [halves, response_radius, fewest]
