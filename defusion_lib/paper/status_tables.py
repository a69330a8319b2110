"""Draw the paper's Tables 1 to 3, coloured by the status of each claim."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from defusion_lib.paper.claims import GROUPS, STATUSES, Record, assigned, claims
from defusion_lib.paper.tables import DATASETS, METRICS, TABLE_1, TABLE_2, TABLE_3
from defusion_lib.plots import Drawing

COLOURS = dict(zip(STATUSES, ["#56b4e9", "#e69f00", "#f1e8b8", "#b0b0b0", "white"]))
COLUMNS = [(dataset, metric) for dataset in DATASETS for metric in METRICS]


def status_tables(records: list[Record]) -> Drawing:
    """Draw Tables 1 to 3 with the published numbers, coloured by the status of each claim.

    The arrays are {group}_status (methods, columns), indices into `STATUSES`, and {group}_published, NaN where the
    number is illegible.
    """
    tables = {"table-1": TABLE_1, "table-2": TABLE_2, "table-3": TABLE_3}
    heights = [len(table) // len(COLUMNS) for table in tables.values()]
    figure, axes = plt.subplots(3, 1, figsize=(7.5, 9), layout="constrained", height_ratios=heights)
    statuses, published = assigned(records), claims()
    arrays: dict[str, np.ndarray | tuple] = {"statuses": STATUSES}
    for axis, (group, table) in zip(axes, tables.items()):
        methods = list(dict.fromkeys(method for _, _, method in table))
        ids = [[f"{group}/{dataset}/{metric}/{method}" for dataset, metric in COLUMNS] for method in methods]
        status = np.array([[STATUSES.index(statuses[claim].status) for claim in row] for row in ids])
        value = np.array([[published[claim] for claim in row] for row in ids], float)
        _draw(axis, status, value, [method.replace("defusionnet+", "+") for method in methods])
        axis.set_title(GROUPS[group])
        arrays |= {f"{group}_status": status, f"{group}_published": value}
    patches = [Patch(facecolor=colour, edgecolor="0.5", label=status) for status, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)
    caption = (
        "The paper's Tables 1 to 3 with the published number in each cell, coloured by its status here; the table "
        "before this figure counts them."
    )
    return Drawing("claims", figure, caption, arrays)


def _draw(axis: Axes, status: np.ndarray, value: np.ndarray, methods: list[str]) -> None:
    """Draw one table: one row per method, one column per data set and metric."""
    sns.heatmap(
        status,
        ax=axis,
        cmap=ListedColormap(list(COLOURS.values())),
        vmin=-0.5,
        vmax=len(COLOURS) - 0.5,
        annot=np.where(np.isnan(value), "", np.char.mod("%.3f", value)),
        fmt="",
        annot_kws={"size": 9, "color": "black"},
        linewidths=1,
        cbar=False,
        xticklabels=[f"{dataset}\n{metric}" for dataset, metric in COLUMNS],
        yticklabels=methods,
    )
    axis.tick_params(labelsize=9, rotation=0)
