"""Check the exercises of notebook 12: a map from a network's output, and how many differences survive Holm."""

from functools import partial

import numpy as np
from PIL import Image

from defusion_lib.evaluation.bootstrap import holm
from defusion_lib.inference import resize_map

SHAPE = 45, 60  # of the photo
BILINEAR = Image.Resampling.BILINEAR
P_VALUES = (0.004, 0.011, 0.02, 0.04, 0.3)


def as_map(answer) -> str:
    """Check a function that makes the map of a photo from a network's logits."""
    rows, columns = np.arange(24)[:, None], np.arange(24)
    flat = 2 * np.sin(rows / 5) * np.cos(columns / 7) + 0.5
    # Where logits change fast, it matters what is resized, and how.
    steep = 8 * np.sin(rows / 2) * np.cos(columns / 3) + 0.5
    return _as_map(answer, flat) or _as_map(answer, steep)


def _as_map(answer, logits: np.ndarray) -> str:
    found = np.asarray(answer(logits.copy(), *SHAPE))
    if found.shape == SHAPE[::-1]:
        return "The map is (width, height): Pillow's sizes are (width, height), arrays are (height, width)."
    if found.shape != SHAPE:
        return f"The map has the shape {found.shape}, but the photo is {SHAPE}: resize it."
    if found.dtype != np.uint8:
        return f"The map is an array of {found.dtype}, but a picture of 8 bits holds uint8, 0 to 255."

    def expected(values):
        return 255 * resize_map(values, SHAPE).astype(float)

    probability = 1 / (1 + np.exp(-logits))
    likely = {
        "Those are 0 and 1: multiply by 255 before you convert to uint8.": expected(probability) / 255,
        "The logits were clipped: apply the sigmoid, 1 / (1 + exp(-x)), first.": expected(np.clip(logits, 0, 1)),
        "The map is inverted: white must be blurred.": 255 - expected(probability),
        "The map was cut at one half: keep its values, the protocols choose the thresholds.": 255
        * (expected(probability) > 127.5),
        "The map was stretched to [0, 1]: MAE and F at 0.5 need the values as they are.": expected(
            (probability - probability.min()) / np.ptp(probability)
        ),
        "The logits were resized: apply the sigmoid first, means of logits are not logits of means.": 255
        / (1 + np.exp(-np.asarray(Image.fromarray(logits.astype(np.float32)).resize(SHAPE[::-1], BILINEAR), float))),
        "The corners' centres were aligned (align_corners, scipy's zoom): align the borders, as Pillow does.": (
            255 * _with_corners_aligned(probability)
        ),
    }
    apart = np.abs(found - expected(probability)).mean()
    if apart < 1:
        return ""
    nearest = min(likely, key=lambda sentence: np.abs(found - likely[sentence]).mean())
    if np.abs(found - likely[nearest]).mean() < 1:
        return nearest
    return f"The levels are {apart:.0f} of 255 away from sigmoid and bilinear resizing, on average."


def _with_corners_aligned(values: np.ndarray) -> np.ndarray:
    """Resize linearly so that the first and the last pixel keep their values."""
    for axis, length in enumerate(SHAPE):
        old = np.arange(values.shape[axis])
        values = np.apply_along_axis(partial(np.interp, np.linspace(0, old[-1], length), old), axis, values)
    return values


def survivors(answer) -> str:
    """Check the number of differences that remain larger than chance after Holm's correction."""
    right = int((holm(P_VALUES) < 0.05).sum())
    likely = {
        4: "That is the number without a correction: every p below 0.05 counts there.",
        1: "That is Bonferroni's correction, each p times 5: Holm multiplies the second smallest by 4, and so on.",
        3: "The third is 0.02 x 3 = 0.06: above 0.05.",
        5: "0.3 is above 0.05 even without a correction.",
    }
    return "" if answer == right else likely.get(answer, f"{answer} is not the number.")


CHECKS = [as_map, survivors]
