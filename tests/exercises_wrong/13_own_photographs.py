"""Wrong answers to the exercises of notebook 13, and words that the message on each must contain."""

import numpy as np


def windows(defocus, high, wide):
    return np.lib.stride_tricks.sliding_window_view(1 - defocus, (high, wide)).mean(axis=(2, 3))


def tiles(defocus):
    high, wide = defocus.shape[0] // 10, defocus.shape[1] // 10
    return (1 - defocus).reshape(10, high, 10, wide).mean(axis=(1, 3))


WRONG = [
    (1, 3.072, "six layers"),
    (1, 4.608, "four bytes, and the layers have the photo's full size"),
    (1, 0.576, "32 channels"),
    (1, 147.456, "Those are bits"),
    (1, 38.4, "too large"),
    (2, lambda defocus: 1 - defocus.mean(), "mean over all pixels"),
    (2, lambda defocus: 1 - defocus.min(), "sharpest pixel"),
    (2, lambda defocus: 1 - windows(defocus, defocus.shape[0] // 10, defocus.shape[1] // 10).min(), "1 is blurred"),
    (2, lambda defocus: windows(defocus, defocus.shape[0] // 10, defocus.shape[1] // 10).min(), "least sharp window"),
    (2, lambda defocus: tiles(defocus).max(), "do not overlap"),
    (2, lambda defocus: windows(defocus, 10, 10).max(), "For a map of 200 x 100 pixels"),
    (2, lambda defocus: windows(defocus, defocus.shape[1] // 10, defocus.shape[0] // 10).max(), "pixels: "),
    (2, lambda defocus: windows(defocus, defocus.shape[0] // 5, defocus.shape[1] // 5).max(), "too small"),
]
