"""What the paper's AUC column can be: a bound from F, two axes of the ROC curve, and the other candidates."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from defusion_lib import metrics, plots
from defusion_lib.evaluation.protocols import auc_from_paper_axis, auc_paper_ceiling
from defusion_lib.metrics import BETA2, LEVELS


def lowest_auc(f: float, share: float) -> float:
    """Compute the lowest ordinary AUC of one ROC curve with a point of F-measure `f`.

    `share` is the positive class's share of the pixels. A point (FPR, TPR) guarantees the area TPR (1 - FPR); the bound
    is the smallest such area over all pairs of precision and recall with this F (Eq. 11).
    """
    precision = np.linspace(share_of_floor(f), 1, 10_001)  # a lower precision needs a recall above 1
    recall = BETA2 * f * precision / ((1 + BETA2) * precision - f)
    fpr = np.minimum(recall * share / (1 - share) * (1 - precision) / precision, 1)
    return float((recall * (1 - fpr)).min())


def share_of_floor(f: float) -> float:
    """Compute the positive class's share from the F of marking everything: the inverse of `metrics.all_positive_f`."""
    return f / (1 + BETA2 - BETA2 * f)


def rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute TPR, FPR and the share of all pixels above each of the thresholds -1/255, 0, 1/255, ..., 1: (257,) each.

    `counts` are the oriented histograms (2, 256) of one image.
    """

    def above(pixels):
        return 1 - np.append(0, pixels.cumsum()) / pixels.sum()

    return above(counts[1]), above(counts[0]), above(counts.sum(0))


def identity_error(counts: np.ndarray) -> float:
    """Compute the difference of A and pi/2 + (1 - pi) AUC for the oriented histograms (2, 256) of one image.

    A is the area under TPR over the share of all pixels by trapezoids; AUC is scikit-learn's.
    """
    tpr, _, share_above = rates(counts)
    auc = roc_auc_score(np.repeat([0, 1], LEVELS), np.tile(np.arange(LEVELS), 2), sample_weight=counts.ravel())
    share = counts[1].sum() / counts.sum()
    return float(abs(-np.trapezoid(tpr, share_above) - (share / 2 + (1 - share) * auc)))


def conversion(counts: np.ndarray) -> dict[str, float]:
    """Compute a row of a table: ordinary AUC, A for both classes, and A converted back with the mean share.

    `counts` are the histograms (N, 2, 256) of a method's maps. For means over images the conversion is off by the
    covariance of share and AUC over the images. Images of one class are left out, which have no AUC.
    """
    counts, blurred = _with_both_classes(counts)
    row = {"AUC": metrics.auc(counts)}
    for positive, share in (("blur", blurred), ("focus", 1 - blurred)):
        area = metrics.auc_paper(counts, positive)
        row |= {f"A, {positive}": area, f"AUC from A, {positive}": auc_from_paper_axis(area, share)}
    return row


def ceilings(counts: np.ndarray) -> dict[str, float]:
    """Compute the row of the highest possible values in a table of `conversion`."""
    _, blurred = _with_both_classes(counts)
    return {"A, blur": auc_paper_ceiling(blurred), "A, focus": auc_paper_ceiling(1 - blurred)}


def _with_both_classes(counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the histograms of the images that have an AUC, and their mean share of blurred pixels."""
    counts = metrics.drop_single_class(counts)
    return counts, (counts[:, 1].sum(-1) / counts.sum((1, 2))).mean()


def candidates(counts: np.ndarray) -> dict[str, float]:
    """Compute areas that a paper may call AUC, {description: area}, from histograms (N, 2, 256) with blur positive."""
    counts, share = _with_both_classes(counts)
    curve = metrics.curves(counts, "blur")
    inner = np.arange(1, 20) * (LEVELS - 1) // 20  # thresholds 0.05, 0.10, ..., 0.95
    return {
        "ordinary ROC": metrics.auc(counts),
        "ROC, 19 thresholds, no end points": abs(np.trapezoid(curve.tpr[inner], curve.fpr[inner])),
        "ROC, wrong pixels / all pixels": metrics.auc_paper(counts, "blur") - share / 2,
        "precision-recall": abs(np.trapezoid(np.append(curve.precision, 1), np.append(curve.recall, 0))),
        "F over the threshold": curve.f.mean(),
        "ROC, marked pixels / all pixels": metrics.auc_paper(counts, "blur"),
    }


def plot_two_axes(counts: np.ndarray, name: str) -> plots.Drawing:
    """Plot one image's ROC curve on both axes with that of a perfect map. `counts` is (2, 256), blur positive."""
    tpr, fpr, _ = rates(counts)
    share = counts[1].sum() / counts.sum()
    share_above = share * tpr + (1 - share) * fpr
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    labels = ("share of the in-focus pixels above t (FPR)", "share of all pixels above t")
    for axis, x, label, corner in zip(axes, (fpr, share_above), labels, (0, share)):
        axis.fill_between(x, tpr, color=plots.COLOURS[0], alpha=0.25)
        axis.plot(x, tpr, color=plots.COLOURS[0], label=f"{name}: area {-np.trapezoid(tpr, x):.2f}")
        axis.plot(
            [0, corner, 1], [0, 1, 1], color="black", linestyle="--", label=f"perfect map: area {1 - corner / 2:.2f}"
        )
        axis.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="chance: area 0.50")
        axis.fill([0, 0, corner], [0, 1, 1], color="0.85")
        axis.set(xlabel=label, xlim=(0, 1), ylim=(0, 1.02))
        axis.legend(loc="lower right")
    axes[0].set(ylabel="share of the blurred pixels above t (TPR)", title="the ordinary ROC curve")
    axes[1].set(title=f"the same map on the other axis, blurred share {share:.2f}")
    return plots.Drawing(
        "two_axes",
        figure,
        "One image's ROC curve on the ordinary axis (left) and over the share of all pixels (right), with a perfect "
        "map's as a dashed line. No curve can enter the grey corner, so on the right even a perfect map has a smaller "
        "area.",
        {"tpr": tpr, "fpr": fpr, "share_above": share_above},
    )
