"""Figures of channel attention: the paper's Figure 4, and the weights and branches of all CAMs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn import functional as F

from defusion_lib.cam_hooks import GROUP_TAPS, CamKey
from defusion_lib.data import Photo
from defusion_lib.evaluation.tables import table
from defusion_lib.experiments.attention import (
    Attention,
    CollectedAttention,
    inactive_cams,
    saturated_shares,
    summarise_branches,
)
from defusion_lib.inference import resize_map
from defusion_lib.network import CHANNELS
from defusion_lib.plots import COLOURS, PANEL, Drawing, Place, as_levels, show_picture

SHOWN = 36  # channels of Figure 4
GRID_COLUMNS, GRID_SIDE = 6, 48  # of `image_grid`: maps per row, pixels per side of a map
MAP_SHAPE = 160, 160  # of the stored defocus map


def image_grid(maps: np.ndarray) -> np.ndarray:
    """Arrange maps (n, H, W) in [0, 1] as one image, row by row, each resized to a square and framed in white."""
    small = F.adaptive_avg_pool2d(torch.as_tensor(maps), GRID_SIDE).numpy()
    framed = np.pad(small, ((0, -len(maps) % GRID_COLUMNS), (1, 1), (1, 1)), constant_values=1)
    rows = framed.reshape(-1, GRID_COLUMNS, GRID_SIDE + 2, GRID_SIDE + 2)
    return np.block([list(row) for row in rows])


def first_step(records: Sequence[Attention]) -> dict[str, Attention]:
    """Return the records of the first step by group."""
    return {each.key[1]: each for each in records if each.key[0] == 1}


def shown_maps(record: Attention) -> np.ndarray:
    """Return the maps of Figure 4, (36, h, w), each divided by its own maximum; a map of zeros stays zero."""
    maps = record.features[:SHOWN]
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-9)


def figure_4_table(records: Sequence[Attention]) -> pd.DataFrame:
    """Make a table of the weights in Figure 4, and of its maps that are zero everywhere, by group."""
    return table(
        {
            group: {
                "channels": len(each.weights[:SHOWN]),
                "lowest weight": each.weights[:SHOWN].min(),
                "highest weight": each.weights[:SHOWN].max(),
                "maps of zeros": (shown_maps(each).max((1, 2)) == 0).sum(),
            }
            for group, each in first_step(records).items()
        },
        digits=2,
    )


# The panels of Figure 4, in rows; (i) is not in the paper.
FIGURE_4 = ("acdg", "acdg", "bcdg", "befh", "iefh", "iefh")
FIGURE_4_SIZE = 12.4, 6.4  # inches


def plot_figure_4(photo: Photo, defocus: np.ndarray, records: Sequence[Attention]) -> Drawing:
    """Draw the first 36 channels of each group in the first step, their weights, and their product (Figure 4).

    `defocus` is the photo's defocus map (H, W), `records` come from `attention.record`. A text stands in the place of
    a mask that the photo lacks.
    """
    groups = first_step(records)
    maps = {group: shown_maps(each) for group, each in groups.items()}
    figure, axes = plt.subplot_mosaic(
        "\n".join(FIGURE_4), figsize=FIGURE_4_SIZE, width_ratios=[0.9, 1, 1, 1], layout="constrained"
    )
    panels: dict[str, tuple[str, Place]] = {
        "a": ("Input", photo.image),
        "b": ("GT", "no mask" if photo.mask is None else photo.mask),
        "i": ("our map", defocus),
    }
    for letters, (group, each) in zip(("cdg", "efh"), groups.items()):
        weights = each.weights[:SHOWN]
        panels[letters[0]] = f"{group} maps", image_grid(maps[group])
        panels[letters[1]] = f"weights of ({letters[0]})", None
        panels[letters[2]] = f"weighted ({letters[0]})", image_grid(maps[group] * weights[:, None, None])
        _draw_bars(axes[letters[1]], group, weights)
    for letter, (name, picture) in panels.items():
        if picture is not None:
            show_picture(axes[letter], picture, PANEL, photo.image.shape[0] / photo.image.shape[1])
        axes[letter].set_xlabel(f"({letter}) {name}")
    mask = "GT is the mask" if photo.mask is not None else "This photo has no mask, the GT of the paper"
    return Drawing(
        "figure_4",
        figure,
        f"Laid out like Figure 4 of the paper: (a) Input, (b) GT, (c) the first {SHOWN} channels of the shallow "
        "features in the first step, (d) their CAM weights, (e) the first channels of the deep features, (f) their CAM "
        f"weights, (g) and (h) the weighted maps of (c) and (e). Bright is strong. {mask}. What differs: the photo is "
        f"{photo.name}, the network is ours, and (i) our map, the defocus map, is added; white is blurred.",
        {"defocus": as_levels(resize_map(defocus, MAP_SHAPE))}
        | {f"{group}_maps": as_levels(image_grid(of_group)) for group, of_group in maps.items()}
        | {f"{group}_weights": each.weights[:SHOWN] for group, each in groups.items()},
    )


def _draw_bars(axis: Axes, group: str, weights: np.ndarray) -> None:
    """Draw one bar per weight (n,) of the channels, row by row, coloured by tap."""
    for tap, name in enumerate(GROUP_TAPS[group]):
        channels = np.arange(CHANNELS * tap, min(CHANNELS * (tap + 1), len(weights)))
        if len(channels):
            axis.bar(channels + 1, weights[channels], color=COLOURS[tap], label=name)
    axis.axhline(0.5, color="0.3", linestyle=":", linewidth=1)
    axis.set(ylim=(0, 1.25), yticks=np.linspace(0, 1, 6), ylabel="weight", box_aspect=1)
    axis.legend(ncols=2, loc="upper right")


def _panels(keys: Sequence[CamKey], width: float, height: float, sharey: bool) -> tuple[Figure, dict[CamKey, Axes]]:
    """Make one panel per CAM, steps in columns and groups in rows; sizes are in inches per panel."""
    steps, groups = (list(dict.fromkeys(part)) for part in zip(*keys))
    figure, axes = plt.subplots(
        len(groups),
        len(steps),
        figsize=(width * len(steps), height * len(groups)),
        sharey=sharey,
        squeeze=False,
        layout="constrained",
    )
    return figure, {(step, group): axes[groups.index(group), steps.index(step)] for step, group in keys}


def plot_weights(collected: CollectedAttention) -> Drawing:
    """Plot the mean and standard deviation over the images of each channel's weight, one panel per CAM."""
    mean, std = collected.weights.mean(axis=0), collected.weights.std(axis=0)
    figure, axes = _panels(collected.keys, 3.7, 2.7, sharey=True)
    for i, ((step, group), axis) in enumerate(axes.items()):
        for tap, name in enumerate(GROUP_TAPS[group]):
            of_tap = slice(CHANNELS * tap, CHANNELS * (tap + 1))
            channels = np.arange(mean.shape[1])[of_tap] + 1
            style = {"fmt": "os^"[tap % 3], "ms": 3, "lw": 1, "color": COLOURS[tap], "label": name}
            axis.errorbar(channels, mean[i, of_tap], std[i, of_tap], **style)
        dead = np.flatnonzero(~collected.alive[i])
        axis.plot(dead + 1, mean[i, dead], "x", color="black", ms=4, label="map always zero")
        axis.axhline(0.5, color="0.3", linestyle=":", linewidth=1)
        axis.set(ylim=(0, 1.5), yticks=(0, 0.5, 1), title=f"step {step}, {group}", xlabel="channel")
        if step == 1:
            axis.set_ylabel("weight, mean ± std\nover photos")
            axis.legend(fontsize=10, ncols=2, loc="upper left")
    return Drawing(
        "attention_weights",
        figure,
        "The weight of each channel by step (columns) and group (rows): mean over the photos, with the standard "
        "deviation as a line. A cross marks a channel whose map is always zero.",
        {"mean": mean, "std": std, "alive": collected.alive},
    )


def plot_branches(collected: CollectedAttention) -> Drawing:
    """Plot the two terms of Eq. 6 for each unit of the bottleneck, mean over the images, one panel per CAM."""
    units = next(iter(collected.branches.values())).shape[2]
    width, inactive = 0.8 / len(collected.branches), inactive_cams(collected)
    figure, axes = _panels(collected.keys, 2.6, 2.2, sharey=False)
    for i, ((step, group), axis) in enumerate(axes.items()):
        for k, (name, terms) in enumerate(collected.branches.items()):
            middle = np.arange(1, units + 1) + (k - (len(collected.branches) - 1) / 2) * width
            axis.bar(middle, terms[:, i].mean(axis=0), width, color=COLOURS[k], label=name.upper())
        axis.set(title=f"step {step}, {group}", xlabel="unit of the bottleneck", xticks=range(1, units + 1))
        axis.set_ylim(0, max(1, axis.get_ylim()[1]))
        if (step, group) in inactive:
            axis.text(0.5, 0.5, "no unit is active", ha="center", transform=axis.transAxes)
        if step == 1:
            axis.set_ylabel("term of Eq. 6, mean\nover photos")
    axes[collected.keys[0]].legend()
    return Drawing(
        "attention_branches",
        figure,
        "The contribution of the mean (GAP) and of the maximum (GMP) to each unit of the CAM's bottleneck, by step "
        "(columns) and group (rows). The scales differ.",
        {"saturated": saturated_shares(collected)}
        | {name: terms.mean(axis=0) for name, terms in collected.branches.items()}
        | {f"{name}_alone": branch.correlation for name, branch in summarise_branches(collected).items()},
    )
