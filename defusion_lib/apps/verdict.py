"""Whether a photograph has a sharp subject, by its defocus map: a score to sort by, and a verdict.

The share of a photograph that is sharp says little: a sharp flower before a soft background is a small part of its
photograph. So the score asks for one place that is sharp and large enough to be something. Size, contrast to what
surrounds it and distance from the middle were tried beside it on training photographs, and told sharp ones from
blurred ones no better.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

GRID = 100  # cells that each side of a map is reduced to
WINDOW = 10  # cells a side: a tenth of the width and of the height
LEAST = 0.65  # what `tests/verdict_error.py --calibrate` prints for the network in the package and its size
# Shares of photographs that may be called wrongly: those with a sharp subject, and wholly blurred ones.
AIMS = 0.05, 0.1


def score(defocus: np.ndarray) -> float:
    """Measure how sharp the sharpest window of a map is, in [0, 1]: the mean there of 1 - defocus.

    `defocus` is float (H, W) in [0, 1] or uint8 levels, 1 or 255 = blurred. The window is a tenth of the map's width
    wide and a tenth of its height high, and lies where it is sharpest.
    """
    cells = Image.fromarray(defocus).resize((GRID, GRID), Image.Resampling.BOX)
    sharp = 1 - np.asarray(cells, np.float32) / (255 if defocus.dtype == np.uint8 else 1)
    return float(sliding_window_view(sharp, (WINDOW, WINDOW)).mean(axis=(2, 3)).max().clip(0, 1))


def verdict(score: float, least: float = LEAST) -> str:
    """Call a photograph "in focus" where its score is at least `least`, else "out of focus".

    "in focus" says that there is a sharp subject, or that all is sharp; "out of focus" that nothing is.
    """
    return "in focus" if score >= least else "out of focus"


def threshold(sharp: Sequence[float], blurred: Sequence[float]) -> float:
    """Find the score that parts photographs with a sharp subject from wholly blurred ones, from some of each.

    It is the middle between the highest score that keeps the first of `AIMS` for the sharp ones and the lowest that
    keeps the second for the blurred ones. Raises ValueError where no score keeps both.
    """
    highest, lowest = np.quantile(sharp, AIMS[0]), np.quantile(blurred, 1 - AIMS[1])
    if lowest > highest:
        raise ValueError(
            f"No score parts these photographs: {AIMS[0]:.0%} of the sharp ones are below {highest:.2f}, but "
            f"{AIMS[1]:.0%} of the blurred ones above {lowest:.2f}. The network cannot tell them apart."
        )
    return float((highest + lowest) / 2)


def share(called: np.ndarray) -> tuple[float, float]:
    """The share of photographs that were called something, and its standard error.

    `called` is bool (photographs,) or (photographs, versions of each), whose versions count as one photograph. Two
    more of either kind are added for the error, as Agresti and Coull advise, so that none of a few is not free of it.
    """
    each = np.asarray(called, float).reshape(len(called), -1).mean(axis=1)
    padded = (each.sum() + 2) / (len(each) + 4)
    return float(each.mean()), float(np.sqrt(padded * (1 - padded) / (len(each) + 4)))
