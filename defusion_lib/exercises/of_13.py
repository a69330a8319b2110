"""Exercises of notebook 13: what a large photograph costs, and what a photograph is called."""

import numpy as np

from defusion_lib.album import verdict
from defusion_lib.exercises import near

PIXELS, LAYERS, CHANNELS, BYTES = 24e6, 6, 32, 4


def memory(answer) -> str:
    """Gigabytes of the six layers of a photograph of 24 million pixels."""
    right = LAYERS * CHANNELS * BYTES * PIXELS / 1e9
    likely = {
        "There are six layers: that is one.": right / LAYERS,
        "A single-precision number takes four bytes.": right / BYTES,
        "Each layer has 32 channels.": right / CHANNELS,
        "Those are bits: a byte has eight.": right * 8,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.01 * wrong):
            return sentence
    return near(answer, right, 0.05 * right, " GB")


def called(answer) -> str:
    """A function that calls a map "in focus", "out of focus" or "partly"."""
    for few in (0.1, 0.25):
        for blurred in (0.0, 0.05, few, few + 0.01, 0.5, 1 - few - 0.01, 1 - few, 0.99, 1.0):
            defocus = np.zeros(100, np.float32)
            defocus[: round(100 * blurred)] = 0.9
            found, right = answer(defocus.reshape(10, 10), few), verdict(1 - round(100 * blurred) / 100, few)
            if found not in ("in focus", "out of focus", "partly"):
                return f'The answer is "in focus", "out of focus" or "partly", not {found!r}.'
            if found != right:
                return f"With {blurred:.0%} of the pixels blurred and few = {few:g}, it is {right!r}, not {found!r}."
    grey = np.full((4, 4), 0.5, np.float32)
    return "" if answer(grey, 0.1) == "in focus" else "A pixel of exactly one half still counts as sharp."


CHECKS = [memory, called]
