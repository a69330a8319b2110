"""The adaptive threshold, 1.5 times a map's mean: where it marks nothing, and a plot of it."""

import matplotlib.pyplot as plt
import numpy as np

from defusion_lib import metrics, plots
from defusion_lib.evaluation.protocols import CLASSES, marked_by_mean
from defusion_lib.metrics import LEVELS

FACTOR = 1.5
SURE = 0.95  # value of a nearly certain map where blurred; 1 - SURE where in focus


def thresholds(counts: np.ndarray) -> np.ndarray:
    """Compute `FACTOR` times each map's mean, at most 1, from oriented histograms (N, 2, 256): float64 (N,)."""
    pixels = counts.sum(1)
    return np.minimum(FACTOR * (pixels * np.arange(LEVELS)).sum(-1) / pixels.sum(-1) / (LEVELS - 1), 1)


def share_unmarked(counts: np.ndarray) -> float:
    """Compute the share of images in which no pixel reaches the threshold, from oriented histograms (N, 2, 256)."""
    return float((marked_by_mean(counts, FACTOR).sum((1, 2)) == 0).mean())


def f_of_correct_map(shares: np.ndarray) -> float:
    """Compute the mean F of maps that are correct everywhere: `SURE` in the positive class, 1 - `SURE` elsewhere.

    `shares` (N,) are the positive class's shares of the images. F is 1, or 0 where nothing is marked.
    """
    mean = 1 - SURE + (2 * SURE - 1) * shares
    return float((FACTOR * mean <= SURE).mean())


def plot_thresholds(counts: np.ndarray, method: str, dataset: str) -> plots.Drawing:
    """Plot F of the mean curve over the threshold with every image's adaptive threshold, for both positive classes.

    `counts` are the histograms (N, 2, 256) of a method's maps.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
    arrays: dict[str, np.ndarray] = {}
    for axis, positive, colour in zip(axes, CLASSES, plots.COLOURS):
        curve, oriented = metrics.curves(counts, positive), metrics.for_class(counts, positive)
        adaptive = thresholds(oriented)
        floor = metrics.all_positive_f((oriented[:, 1].sum(-1) / counts.sum((1, 2))).mean())
        axis.plot(curve.threshold, curve.f, color=colour, label="F of the mean curve")
        axis.plot(
            adaptive, np.full_like(adaptive, 0.05), "|", color="black", markersize=14, label="1.5 x mean, each image"
        )
        if highest := int((adaptive >= 1).sum()):
            axis.text(0.97, 0.1, f"{highest} of {len(adaptive)} at 1", ha="right")
        axis.axhline(floor, color="0.5", linestyle=":", label="floor: everything marked")
        axis.set(xlabel="threshold", xlim=(0, 1.02), ylim=(0, 1), title=f"positive: {positive}")
        arrays |= {f"{positive}_threshold": curve.threshold, f"{positive}_f": curve.f, f"{positive}_adaptive": adaptive}
    axes[0].set_ylabel("F-measure")
    axes[0].legend(loc="center left")
    figure.suptitle(f"{method}, {dataset}")
    return plots.Drawing(
        f"adaptive_{dataset}",
        figure,
        "F-measure over the threshold for both classes, with the dotted floor of marking everything. Each stroke at "
        "the bottom is one image's adaptive threshold, which is at most 1.",
        arrays,
    )
