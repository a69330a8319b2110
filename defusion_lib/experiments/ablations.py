"""Tables 2 and 3: each row a network of its own, trained and tested like the others.

A row is a set of switches of the one network. Rows are compared over seeds: a seed draws the first weights and the
order of samples, and every row sees the same samples in the same order under the same seed.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from defusion_lib.backbone import TAPS
from defusion_lib.data import PhotoSet
from defusion_lib.inference import all_maps, to_shape
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS
from defusion_lib.training import Recipe, train_or_load
from defusion_lib.weights import read_card

# The rows of Tables 2 and 3, under the names of result files (`weights.result_name`), and their switches.
ROWS = {
    "full": {},
    "noffrm": {"ffrm": False},
    "nocam+nofam": {"cam": "off", "fam": False},  # the network of CVPR 2019
    "nocam": {"cam": "off"},
    "nofam": {"fam": False},
    "nogap": {"cam": "gmp"},
    "nogmp": {"cam": "gap"},
    "step1": {"steps": 1},
    "step2": {"steps": 2},
    "step4": {"steps": 4},
    "step5": {"steps": 5},
    "step6": {"steps": 6},
}
# Rows that the paper does not have: the fusion on a coarser grid.
STRIDES = {"stride2": {"fusion_stride": 2}, "stride4": {"fusion_stride": 4}}


def train_row(
    row: str,
    recipe: Recipe,
    photos: PhotoSet,
    folder: Path,
    heads: str = "compact",
    backbone: str | Path | None = None,
    device: torch.device | str = "cpu",
    stamp: Mapping | None = None,
) -> DeFusionNet:
    """Train the network of a row by a recipe and its seed, or load it from `folder`; see `training.train_or_load`.

    Raises KeyError for a row that is neither in `ROWS` nor in `STRIDES`.
    """
    build = partial(DeFusionNet, heads, **(ROWS | STRIDES)[row])
    path = folder / f"{row}@seed{recipe.seed}.safetensors"
    return train_or_load(path, build, photos, recipe, backbone, device, stamp)


def losses(row: str, seed: int, folder: Path) -> np.ndarray:
    """The loss of each iteration of a finished row, per supervised map."""
    path = folder / f"{row}@seed{seed}.safetensors"
    card = read_card(path)
    return np.array(card["loss"]) / (len(TAPS) * card["switches"]["steps"] + 1)


def score(
    network: DeFusionNet, photos: PhotoSet, size: int, wanted: Sequence[str] = ("fused",)
) -> dict[str, Evaluation]:
    """Evaluate the wanted intermediate maps of a network on photographs with masks, at the photographs' own size."""
    found = {name: Evaluation() for name in wanted}
    for photo in tqdm(photos, desc="testing", leave=False):
        seen = all_maps(photo.image, network, size).intermediate()
        for name, evaluation in found.items():
            probability = torch.sigmoid(seen[name])[0, 0].cpu().numpy()
            evaluation.add(to_shape(probability, photo.mask.shape), photo.mask)
    return found


def dots(scores: Mapping[str, Mapping[str, Sequence[float]]], words: Mapping[str, str]) -> Figure:
    """Every row's score under every seed, a panel a metric: {row: {metric: one number a seed}}.

    `words` says what each metric is; the band spans the seeds of the first row.
    """
    figure, axes = plt.subplots(
        1, len(words), figsize=(4.2 * len(words), 0.3 * len(scores) + 1.2), sharey=True, layout="constrained"
    )
    names = list(scores)
    for axis, (metric, label) in zip(np.atleast_1d(axes), words.items()):
        first = scores[names[0]][metric]
        axis.axvspan(min(first), max(first), color="0.88", zorder=0)
        axis.axvline(np.mean(first), color="0.5", linestyle=":", zorder=1)
        for place, name in enumerate(names):
            values = scores[name][metric]
            axis.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.6, markersize=5)
            axis.plot(np.mean(values), place, "|", color=COLOURS[1], markersize=14, markeredgewidth=2)
        axis.set(xlabel=label, yticks=range(len(names)), yticklabels=names)
        axis.grid(axis="x", color="0.9")
    axis.invert_yaxis()
    figure.suptitle(f"A dot is a seed, a stroke the mean; the band spans the seeds of {names[0]!r}", fontsize=10)
    return figure
