"""Table 1's AUC column converted to ordinary AUC: blurred shares, ceilings, positive classes, and a plot.

The conversion is an inference from the paper's numbers, explained in notebooks 05b and 05c.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from defusion_lib import metrics, plots
from defusion_lib.data.shi import SPLITS, Split, read_manifest, split_stems
from defusion_lib.evaluation.auc_axes import share_of_floor
from defusion_lib.evaluation.protocols import CLASSES, auc_from_paper_axis, auc_paper_ceiling
from defusion_lib.evaluation.scoring import ScoredSet
from defusion_lib.metrics import Evaluation
from defusion_lib.paper import tables

DUT_FLOOR = 0.37  # F of marking everything on DUT, in focus positive, read off a published curve
UNCERTAINTY = 0.02  # possible error of a blurred share


def split_shares(split: Split) -> np.ndarray:
    """Return the blurred shares of the 100 test photos of a split of Shi's set, in [0, 1]."""
    photographs = read_manifest()["photographs"]
    return np.array([photographs[stem]["blurred_share"] for stem in split_stems(split, "test")])


def blurred_shares() -> dict[str, float]:
    """Return {data set: mean blurred share}: measured for CUHK (Shi's set), inferred for DUT and CTCUG.

    Method KSFV is assumed to be at the floor of F on CTCUG.
    """
    return {f"CUHK {split}": split_shares(split).mean() for split in SPLITS} | {
        "DUT": 1 - share_of_floor(DUT_FLOOR),
        "CTCUG": share_of_floor(tables.TABLE_1["ctcug", "f", "ksfv"]),
    }


def floors() -> dict[str, dict[str, object]]:
    """Return the rows of a table of blurred shares, floors of F for both classes, and the sources of the shares.

    A blurred share is the mean over images; that of the pooled pixels is known for CUHK only.
    """
    photographs = read_manifest()["photographs"]
    tests = {split: split_stems(split, "test") for split in SPLITS}
    sizes = {
        split: [photographs[stem]["width"] * photographs[stem]["height"] for stem in stems]
        for split, stems in tests.items()
    }
    pooled = {f"CUHK {split}": round(np.average(split_shares(split), weights=sizes[split]), 3) for split in SPLITS}
    common = len(set.intersection(*map(set, tests.values())))
    sources = {
        "CUHK last100": "measured: masks 605-704, the paper's text",
        "CUHK dutlab100": f"measured: the field's list, {common} are in both",
        "DUT": f"inferred: published curve, F {DUT_FLOOR} for all marked",
        "CTCUG": f"inferred: KSFV with F {tables.TABLE_1['ctcug', 'f', 'ksfv']} at the floor",
    }
    return {
        name: {
            "blurred": share,
            "of pooled pixels": pooled.get(name, ""),
            "F floor, blur": float(metrics.all_positive_f(share)),
            "F floor, focus": float(metrics.all_positive_f(1 - share)),
            "source": sources[name],
        }
        for name, share in blurred_shares().items()
    }


def possible() -> dict[str, dict[str, object]]:
    """Return the rows of a table: which positive class and split allow the best AUC of a part of Tables 1-3 on CUHK.

    A column's title has the ceiling of that class and split.
    """
    shares = blurred_shares()
    ceilings = {
        f"{positive}, {split}": auc_paper_ceiling(abs((positive == "focus") - shares[f"CUHK {split}"]))
        for positive in CLASSES
        for split in SPLITS
    }
    auc_1, auc_2, auc_3 = (
        {method: value for (dataset, metric, method), value in table.items() if (dataset, metric) == ("shi", "auc")}
        for table in (tables.TABLE_1, tables.TABLE_2, tables.TABLE_3)
    )
    best = {
        "Table 1, JNB ... DMENet": max(value for method, value in auc_1.items() if method not in tables.IN_FOCUS),
        "Table 1, the last three": max(auc_1[method] for method in tables.IN_FOCUS),
        "Table 2, all ablations": max(auc_2.values()),
        "Table 3, one to six steps": max(auc_3.values()),
    }
    return {
        name: {"best AUC": top}
        | {
            f"{label}: at most {ceiling:.3f}": "possible" if top <= ceiling else "impossible"
            for label, ceiling in ceilings.items()
        }
        for name, top in best.items()
    }


class Converted(NamedTuple):
    """An AUC of Table 1 as an ordinary AUC; `low` and `high` are its values where the share is `UNCERTAINTY` off."""

    positive: str
    share: float
    low: float
    auc: float
    high: float


def convert() -> dict[tuple[str, str], Converted]:
    """Convert the AUC column of Table 1, {(data set, method): converted}, data sets as in `tables.TABLE_1`.

    Positive is blur, except for the methods `tables.IN_FOCUS` on Shi's set.
    """
    shares, found = blurred_shares(), {}
    for dataset, metric, method in tables.TABLE_1:
        if metric != "auc":
            continue
        positive, share = "blur", shares["CUHK last100" if dataset == "shi" else dataset.upper()]
        if tables.matching_metrics(dataset, method)["auc"].endswith("focus"):
            positive, share = "focus", 1 - shares["CUHK dutlab100"]
        printed = tables.TABLE_1[dataset, "auc", method]
        errors = (-UNCERTAINTY, 0, UNCERTAINTY)
        found[dataset, method] = Converted(
            positive, share, *(auc_from_paper_axis(printed, share + error) for error in errors)
        )
    return found


def conversion_rows(dataset: str) -> dict[str, dict[str, object]]:
    """Return the rows of a table of the converted AUC column of a data set, with F and its floor, by method."""
    return {
        method: {
            "positive": each.positive,
            "F": tables.TABLE_1[dataset, "f", method],
            "its floor": float(metrics.all_positive_f(each.share)),
            "AUC, printed": tables.TABLE_1[dataset, "auc", method],
            "its ceiling": auc_paper_ceiling(each.share),
            "ordinary AUC": each.auc,
            "if the share is 0.02 off": f"{each.low:.2f} to {each.high:.2f}",
        }
        for (of, method), each in convert().items()
        if of == dataset
    }


def comparison_rows(scored: Sequence[ScoredSet[Evaluation]]) -> dict[str, dict[str, object]]:
    """Return the rows of a table: measured scores of published maps of Shi's photos and the numbers of Table 1.

    Each method's row is from the largest set that it is in; `scored` is in ascending size, with `Evaluation` scores.
    """
    latest = {method: (each.photos.name, scores) for each in scored for method, scores in each.methods.items()}
    return {
        method: {
            "photos": latest[method][0],
            "max F, blur": latest[method][1].max_f("blur"),
            "F, printed": tables.TABLE_1["shi", "f", method],
            "A, blur": latest[method][1].auc_paper("blur"),
            "AUC, printed": tables.TABLE_1["shi", "auc", method],
            "AUC": latest[method][1].auc(),
            "AUC, converted": each.auc,
        }
        for (dataset, method), each in convert().items()
        if dataset == "shi" and method in latest
    }


def plot_converted() -> plots.Drawing:
    """Plot Table 1's AUC as printed and as an ordinary AUC, with the effect of an error of 0.02 in the share."""
    converted = convert()
    methods = list(dict.fromkeys(method for _, method in converted))
    figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, dataset in zip(axes, tables.DATASETS):
        for place, method in zip(range(len(methods))[::-1], methods):
            each, printed = converted[dataset, method], tables.TABLE_1[dataset, "auc", method]
            colour, ceiling = plots.COLOURS[CLASSES.index(each.positive)], auc_paper_ceiling(each.share)
            axis.plot([ceiling, ceiling], [place - 0.5, place + 0.5], color=colour, linestyle=":")
            axis.plot([printed, each.auc], [place, place], color="0.85", zorder=0)
            axis.plot(printed, place, "o", color=colour, markerfacecolor="white")
            spread = [[each.auc - each.low], [min(each.high, 1) - each.auc]]
            axis.errorbar(each.auc, place, xerr=spread, fmt="o", color=colour, capsize=2)
        axis.axvline(1, color="0.5", linewidth=0.8)
        axis.set(title={"shi": "CUHK", "dut": "DUT", "ctcug": "CTCUG"}[dataset], xlabel="AUC", xlim=(0.48, 1.04))
    axes[0].set_yticks(range(len(methods))[::-1], methods)
    legend = {
        "as printed": {"color": "black", "marker": "o", "linestyle": "", "markerfacecolor": "white"},
        "ordinary AUC": {"color": "black", "marker": "o", "linestyle": ""},
        "ceiling of the printed one": {"color": "black", "linestyle": ":"},
        "positive: blur": {"color": plots.COLOURS[0], "linewidth": 4},
        "positive: focus": {"color": plots.COLOURS[1], "linewidth": 4},
    }
    handles = [plt.Line2D([], [], label=label, **style) for label, style in legend.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    bounds = {dataset: [converted[dataset, method][2:] for method in methods] for dataset in tables.DATASETS}
    return plots.Drawing(
        "table_1_converted",
        figure,
        "Table 1's AUC for each method and data set: an open dot as printed, a full one read as an ordinary AUC, with "
        "a bar for a share of blurred pixels that is 0.02 smaller or larger. The printed ones stay below the dotted "
        "ceiling. On CUHK the last three methods fit only with the class in focus as positive.",
        {"methods": methods, **bounds},
    )
