"""Check the exercises of notebook 13: the memory of a large photo, and the score of a map."""

import numpy as np

from defusion_lib.apps.verdict import score
from defusion_lib.exercises import near

PIXELS, LAYERS, CHANNELS, BYTES = 24e6, 6, 32, 4
QUARTER = "That is a quarter: a single-precision number has four bytes, and the layers have the photo's full size."


def memory(answer) -> str:
    """Check the gigabytes of the six layers of a photo of 24 million pixels, in the paper's network."""
    right = LAYERS * CHANNELS * BYTES * PIXELS / 1e9
    likely = {
        "That is one layer: there are six layers.": right / LAYERS,
        QUARTER: right / BYTES,
        "Each layer has 32 channels.": right / CHANNELS,
        "Those are bits: a byte has eight.": right * 8,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.01 * wrong):
            return sentence
    return near(answer, right, 0.05 * right, " GB")


def sharpest(answer) -> str:
    """Check a function that returns the largest mean of 1 - map in a window of a tenth of each side."""
    for height, width in ((100, 100), (200, 100), (100, 300)):
        defocus = np.full((height, width), 0.9, np.float32)
        # Half a window high, and across the border of two of ten by ten tiles.
        defocus[height // 4 : height // 4 + height // 20, width // 20 : width // 20 + width // 10] = 0.05
        defocus[-1, -1] = 0  # a single sharp pixel
        found, right = answer(defocus.copy()), score(defocus)
        tiles = (1 - defocus).reshape(10, height // 10, 10, width // 10).mean(axis=(1, 3))
        windows = np.lib.stride_tricks.sliding_window_view(defocus, (height // 10, width // 10)).mean(axis=(2, 3))
        likely = {
            "That is the mean over all pixels: find the window with the largest mean.": 1 - defocus.mean(),
            "That is the sharpest pixel: take the mean over a window.": 1 - defocus.min(),
            "That is the largest mean of the map: 1 is blurred, so sharp is 1 - defocus.": windows.max(),
            "That is the mean of the least sharp window.": 1 - windows.max(),
            "Your windows do not overlap: the sharpest one may begin at any pixel.": tiles.max(),
        }
        for sentence, wrong in likely.items():
            if not near(found, wrong, 1e-4):
                return sentence
        if side := near(found, right, 1e-3):
            return f"For a map of {height} x {width} pixels: {side}"
    return ""


CHECKS = [memory, sharpest]
