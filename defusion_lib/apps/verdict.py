"""Decide from a defocus map whether a photo has a sharp subject: a score to sort by, and a verdict.

The share of sharp pixels is a poor measure: a sharp flower in front of a soft background covers a small part of its
photo. So the score measures the sharpest window that is large enough for a subject. Its size, its contrast to the
surroundings and its distance from the centre were tested on training photos as additional features; they did not
separate sharp photos from blurred ones better.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

GRID = 100  # cells that each side of a map is reduced to
WINDOW = 10  # cells per side: a tenth of the width and of the height
MIN_SCORE = 0.84  # `python -m tools.verdict_error --calibrate` prints it for the network in the package and its size
# Accepted shares of wrong verdicts: for photos with a sharp subject, and for completely blurred ones.
ERROR_AIMS = 0.05, 0.1


def score(defocus: np.ndarray) -> float:
    """Compute the sharpness of the sharpest window of a map, in [0, 1]: its mean of 1 - defocus.

    `defocus` is float (H, W) in [0, 1] or uint8 levels, 1 or 255 = blurred. The window has a tenth of the map's width
    and a tenth of its height.
    """
    cells = Image.fromarray(defocus).resize((GRID, GRID), Image.Resampling.BOX)
    sharp = 1 - np.asarray(cells, np.float32) / (255 if defocus.dtype == np.uint8 else 1)
    return float(sliding_window_view(sharp, (WINDOW, WINDOW)).mean(axis=(2, 3)).max().clip(0, 1))


def verdict(score: float, min_score: float = MIN_SCORE) -> str:
    """Return "in focus" if the score is at least `min_score`, else "out of focus".

    "in focus" means that the photo has a sharp subject or is sharp everywhere, "out of focus" that no part is sharp.
    """
    return "in focus" if score >= min_score else "out of focus"


def threshold(sharp: Sequence[float], blurred: Sequence[float]) -> float:
    """Compute the score that separates photos with a sharp subject from completely blurred ones, from their scores.

    It is the midpoint of the highest score that keeps the first of `ERROR_AIMS` for the sharp photos and the lowest
    that keeps the second for the blurred ones. Raises ValueError if no score keeps both.
    """
    highest, lowest = np.quantile(sharp, ERROR_AIMS[0]), np.quantile(blurred, 1 - ERROR_AIMS[1])
    if lowest > highest:
        raise ValueError(
            f"No score separates these photos: {ERROR_AIMS[0]:.0%} of the sharp ones are below {highest:.2f}, but "
            f"{ERROR_AIMS[1]:.0%} of the blurred ones above {lowest:.2f}; use a better network."
        )
    return float((highest + lowest) / 2)


def share_with_error(called: np.ndarray) -> tuple[float, float]:
    """Compute the share of photos with a given verdict, and its standard error.

    `called` is bool (photos,) or (photos, versions), in which case the versions of a photo are averaged. For the error
    two photos of either kind are added (Agresti and Coull), so that it is positive also for a share of 0 or 1.
    """
    each = np.asarray(called, float).reshape(len(called), -1).mean(axis=1)
    padded = (each.sum() + 2) / (len(each) + 4)
    return float(each.mean()), float(np.sqrt(padded * (1 - padded) / (len(each) + 4)))
