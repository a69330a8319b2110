"""The order of methods under several protocols: how often it differs, and a chart of the ranks."""

from collections.abc import Mapping, Sequence
from itertools import combinations, cycle

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import rankdata

from defusion_lib import plots
from defusion_lib.evaluation.protocols import CLASSES, F_PROTOCOLS

Values = Mapping[str, Mapping[str, float]]  # {method: {metric: score}}

F_METRICS = {positive: [f"{name}-{positive}" for name in [*F_PROTOCOLS, "weighted-f"]] for positive in CLASSES}
RANKED = [
    "auc",
    "mae",
    *("max-f-blur", "max-f-image-blur", "mean-f-blur", "f-half-blur", "f-mean15-blur"),
    *("max-f-focus", "f-half-focus", "f-mean15-focus"),
]
MARGIN = 0.01  # scores that differ by no more count as equal


def disputed(methods: Values, metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Find the pairs of methods of which one is better by more than `MARGIN` in one metric and worse in another.

    In all `metrics` higher is better.
    """
    found = []
    for first, second in combinations(methods, 2):
        ahead = np.array([methods[first][metric] - methods[second][metric] for metric in metrics])
        if ahead.max() > MARGIN and ahead.min() < -MARGIN:
            found.append((first, second))
    return found


def count_disputed(methods: Values) -> dict[str, int]:
    """Count the pairs of methods, and those whose order depends on the kind of F or IoU, by positive class."""
    every = {**F_METRICS, "either": sum(F_METRICS.values(), [])}
    total = len(list(combinations(methods, 2)))
    return {"pairs": total} | {f"disputed, {name}": len(disputed(methods, used)) for name, used in every.items()}


def ranks(methods: Values) -> np.ndarray:
    """Rank methods under the metrics `RANKED`, 1 = best: (metrics, methods). Equal scores (two digits) share a rank."""
    lower_is_better = {"mae"}
    rows = [
        [round(values[metric], 2) * (1 if metric in lower_is_better else -1) for values in methods.values()]
        for metric in RANKED
    ]
    return np.array([rankdata(row) for row in rows])


def plot_ranks(values: Mapping[str, Values], dataset: str) -> plots.Drawing:
    """Plot the rank of every method on one of the data sets under the metrics `RANKED`.

    A method has the same style in the plots of all data sets.
    """
    methods = values[dataset]
    found = ranks(methods)
    names = dict.fromkeys(name for of_dataset in values.values() for name in of_dataset)
    looks = zip(names, cycle(plots.STYLES), cycle(plots.MARKERS))
    styles = {name: style | {"marker": marker} for name, style, marker in looks}
    figure, axis = plt.subplots(figsize=(10, 0.8 + 0.45 * len(methods)), layout="constrained")
    for i, name in enumerate(methods):
        # Shifted a little, so that lines of equal rank stay visible.
        axis.plot(found[:, i] + 0.06 * (i - len(methods) / 2), label=name, **styles[name])
    axis.set(ylabel="rank", yticks=range(1, len(methods) + 1))
    axis.set_xticks(range(len(RANKED)), RANKED, rotation=30, ha="right")
    axis.invert_yaxis()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(dataset)
    return plots.Drawing(
        f"ranks_{dataset}",
        figure,
        "The rank of each method, 1 = best, under the protocols from left to right. Where two lines cross, the "
        "protocol decides which method is better. Equal scores share a rank, and lines are shifted a little, so that "
        "none is hidden.",
        {"ranks": found, "methods": list(methods), "metrics": RANKED},
    )
