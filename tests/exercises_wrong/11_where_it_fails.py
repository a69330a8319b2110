"""Wrong answers to the exercises of notebook 11, and words that the verdict on each must contain."""

import numpy as np


def halves(sharp, soft, sharp_left):
    """Return the right answer, for the wrong ones to change."""
    mask = np.broadcast_to((np.arange(sharp.shape[1]) < sharp.shape[1] // 2) != sharp_left, sharp.shape[:2])
    return np.where(mask[..., None], soft, sharp), mask.astype(np.float32)


def into_the_sharp_one(sharp, soft, sharp_left):
    half = sharp.shape[1] // 2
    where = slice(half, None) if sharp_left else slice(0, half)
    sharp[:, where] = soft[:, where]
    mask = np.zeros(sharp.shape[:2])
    mask[:, where] = 1
    return sharp, mask


def inverted(sharp, soft, sharp_left):
    image, mask = halves(sharp, soft, sharp_left)
    return image, 1 - mask


def swapped(sharp, soft, sharp_left):
    return halves(soft, sharp, sharp_left)[0], halves(sharp, soft, sharp_left)[1]


def middle_to_the_left(sharp, soft, sharp_left):
    image, mask = halves(sharp[:, ::-1], soft[:, ::-1], not sharp_left)
    return image[:, ::-1], mask[:, ::-1]


def detection_radius(radii, shares):
    """Return the right answer, for the wrong ones to change."""
    if shares[0] >= 0.5:
        return radii[0]
    for i in range(1, len(radii)):
        if shares[i] >= 0.5:
            return float(np.interp(0.5, shares[i - 1 : i + 1], radii[i - 1 : i + 1]))
    return float("inf")


def on_no_line(radii, shares):
    return next((radius for radius, share in zip(radii, shares) if share >= 0.5), float("inf"))


def the_last_time(radii, shares):
    for i in range(len(radii) - 1, 0, -1):
        if shares[i - 1] < 0.5 <= shares[i]:
            return detection_radius(radii[i - 1 : i + 1], shares[i - 1 : i + 1])
    return detection_radius(radii, shares)


def above_half(radii, shares):
    if shares[0] > 0.5:
        return radii[0]
    for i in range(1, len(radii)):
        if shares[i] > 0.5:
            return float(np.interp(0.5, shares[i - 1 : i + 1], radii[i - 1 : i + 1]))
    return float("inf")


WRONG = [
    (1, lambda *given: None, "returns None"),
    (1, into_the_sharp_one, "work on a copy"),
    (1, inverted, "1 in the sharp half"),
    (1, lambda sharp, soft, left: halves(sharp, soft, not left), "1 in the sharp half"),
    (1, lambda sharp, soft, left: halves(sharp, soft, True), "sharp_left=False the mask is 1 in the sharp"),
    (1, lambda sharp, soft, left: (sharp, halves(sharp, soft, left)[1]), "blurred exactly where the mask is 1"),
    (1, swapped, "blurred exactly where the mask is 1"),
    (1, middle_to_the_left, "of 9 columns the left half has 4"),
    (1, lambda sharp, soft, left: (halves(sharp, soft, left)[0], np.zeros(3)), "the mask (3,), not"),
    (2, lambda radii, shares: None, "returns None"),
    (2, on_no_line, "changes linearly"),
    (2, lambda radii, shares: min(detection_radius(radii, shares), radii[-1]), "the radius is infinite"),
    (2, lambda radii, shares: detection_radius(radii, shares) or radii[-1], "return the first radius"),
    (2, the_last_time, "find the first time"),
    (2, above_half, "exactly one half"),
    (3, 5, "count both directions"),
    (3, 7, "too large"),
    (3, 4, "too small"),
]
