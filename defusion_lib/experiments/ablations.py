"""Tables 2 and 3: train, evaluate and compare a separate network for each row.

A row is a set of switches of DeFusionNet. Rows are compared over seeds: a seed sets the initial weights and the order
of the samples, and with one seed all rows are trained on the same samples in the same order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from defusion_lib.backbone import TAPS
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation.statistics import contrast
from defusion_lib.evaluation.tables import MEASURES, table
from defusion_lib.experiments.training_run import Training, backbone_file
from defusion_lib.inference import predict_maps, resize_map
from defusion_lib.metrics import Evaluation
from defusion_lib.network import OUTPUTS, DeFusionNet
from defusion_lib.paper.claims import RESULT_NAMES
from defusion_lib.paper.tables import METHODS, TABLE_2, TABLE_3, VARIANTS
from defusion_lib.plots import COLOURS, Drawing, as_levels, lettered, lettered_sheet
from defusion_lib.progress import tqdm
from defusion_lib.runs.run import Run
from defusion_lib.training import Recipe, make_recipe, train_or_load
from defusion_lib.weights import read_card

# The rows of Tables 2 and 3 with their switches, under the names in result files (`weights.result_name`).
PAPER_ROWS: dict[str, dict[str, Any]] = {
    "full": {},
    "nocam+nofam": {"cam": "off", "fam": False},  # the network of CVPR 2019
    "nocam": {"cam": "off"},
    "nofam": {"fam": False},
    "noffrm": {"ffrm": False},
    "nogap": {"cam": "gmp"},
    "nogmp": {"cam": "gap"},
    "step1": {"steps": 1},
    "step2": {"steps": 2},
    "step4": {"steps": 4},
    "step5": {"steps": 5},
    "step6": {"steps": 6},
}
# Rows that the paper does not have: features fused on a coarser grid.
STRIDE_ROWS: dict[str, dict[str, Any]] = {"stride2": {"fusion_stride": 2}, "stride4": {"fusion_stride": 4}}
ROWS = PAPER_ROWS | STRIDE_ROWS
# The rows that Figures 13 and 14 put beside the full network, and what these lack.
PART_FIGURES = {13: ("nocam+nofam",), 14: ("nogap", "nogmp")}
MEANINGS = {
    13: "CVPR19 has neither CAM nor FAM",
    14: "The CAM of noGAP has only the maximum of a channel, that of noGMP only its mean",
}
BORDER = "mae-border"

Scores = Mapping[str, Sequence[float]]  # {metric: one value per seed}


class Metric(NamedTuple):
    """A metric of the tables: its axis label, its name in the paper's tables, and +1 if higher is better, else -1."""

    label: str
    paper: str
    sign: int


METRICS = {
    "mae": Metric("MAE (lower is better)", "mae", -1),
    "max-f-focus": Metric("max F, in focus (higher is better)", "f", 1),
    "auc-paper-focus": Metric("AUC on the paper's axis (higher is better)", "auc", 1),
}


def train_row(
    row: str,
    recipe: Recipe,
    photos: PhotoSet,
    folder: Path,
    heads: str = "compact",
    backbone: str | Path | None = None,
    device: torch.device | str = "cpu",
    stamp: Mapping | None = None,
) -> Any:
    """Train the network of a row with a recipe and its seed, or load it from `folder`; see `training.train_or_load`.

    Raises KeyError for a row that is not in `ROWS`.
    """
    path = network_path(folder, row, recipe.seed)
    return train_or_load(path, partial(DeFusionNet, heads, **ROWS[row]), photos, recipe, backbone, device, stamp)


def seeds_of_rows(parameters: Any) -> dict[str, tuple[int, ...]]:
    """Return the seeds that each row is trained with, {row: seeds}, from the parameters of notebook 08 (attributes)."""
    given = parameters
    return dict.fromkeys(given.rows, given.seeds) | dict.fromkeys(given.rows_once, given.seeds[:1])


def trainings(parameters: Any) -> dict[str, Training]:
    """Return the trainings of notebook 08, {"row@seedN": training}, from its parameters (attributes)."""
    given, found = parameters, {}
    photos = {"name": given.dataset, "part": "train", "root": given.data_root, "split": given.split}
    for row, seeds in seeds_of_rows(given).items():
        for seed in seeds:
            path = network_path(Path("weights/08_ablations"), row, seed)
            found[path.stem] = Training(
                path.as_posix(),
                make_recipe(given.recipe, stages=given.stages, seed=seed),
                {"heads": given.heads, **ROWS[row]},
                photos | {"count": given.count, "seed": given.seed},
                given.backbone,
            )
    return found


def train_one(run: Run, name: str, photos: PhotoSet) -> Any:
    """Train a network of `trainings` on its photos, or load it where this profile has it; see `train_row`."""
    training, (row, _, _) = trainings(run.parameters)[name], name.partition("@")
    folder, backbone = run.path(training.file).parent, backbone_file(training.backbone)
    heads = training.switches["heads"]
    return train_row(row, training.recipe, photos, folder, heads, backbone, run.device, run.stamp)


def network_path(folder: Path, row: str, seed: int) -> Path:
    """Return the file of the network of a row and a seed."""
    return folder / f"{row}@seed{seed}.safetensors"


def losses(row: str, seed: int, folder: Path) -> np.ndarray:
    """Return the loss of each iteration of a trained row: Eq. 10 divided by its number of maps."""
    card = read_card(network_path(folder, row, seed))
    return np.array(card["loss"]) / (len(TAPS) * card["switches"]["steps"] + 1)


def view_names(network: DeFusionNet) -> tuple[str, ...]:
    """Return the names of a network's intermediate maps, in the order of `Maps.intermediate`."""
    return (*OUTPUTS, *(f"after{step}" for step in range(1, len(network.steps) + 1)))


def predict_views(image: np.ndarray, network: DeFusionNet, size: int, views: Iterable[str]) -> dict[str, np.ndarray]:
    """Predict intermediate maps of one image, {view: float32 (H, W) in [0, 1]}, resized to the image's shape.

    `image` is resized to `size` x `size` pixels for the network; `views` are of `view_names`.
    """
    logits = predict_maps(image, network, size).intermediate()
    return {view: resize_map(torch.sigmoid(logits[view])[0, 0].cpu().numpy(), image.shape[:2]) for view in views}


def evaluate(
    network: DeFusionNet, photos: PhotoSet, size: int, views: Iterable[str] = ("fused",)
) -> dict[str, Evaluation]:
    """Evaluate intermediate maps of a network on photos with masks, at the photos' own size."""
    evaluations = {view: Evaluation() for view in views}
    for photo in tqdm(photos, desc="testing", leave=False):
        for view, defocus in predict_views(photo.image, network, size, evaluations).items():
            evaluations[view].add(defocus, photo.mask)
    return evaluations


def evaluate_seeds(
    networks: Iterable[DeFusionNet], photos: PhotoSet, size: int, every_view: bool = False
) -> dict[str, dict[str, list[float]]]:
    """Evaluate one row's networks, one per seed: {view: {metric: one value per seed}}.

    The only view is "fused", or all of `view_names` with `every_view`. "fused" also has the MAE near the borders of
    masks, as "mae-border".
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for network in networks:
        views = view_names(network) if every_view else ("fused",)
        for view, evaluation in evaluate(network, photos, size, views).items():
            values = evaluation.values() | ({BORDER: evaluation.border_mae()} if view == "fused" else {})
            for metric, value in values.items():
                scores.setdefault(view, {}).setdefault(metric, []).append(value)
    return scores


# ------------------------------------------------------------------------------------------------------ tables


def seed_table(scores: Mapping[str, Scores], reference: str, metrics: Iterable[str] = tuple(METRICS)) -> pd.DataFrame:
    """Make a table of each row's mean ± standard deviation over seeds and its difference from the reference row.

    `scores` is {row: {metric: one value per seed}}. The brackets hold the 95 % interval of the difference (Welch's t).
    A row with one seed has neither standard deviation nor interval.
    """
    rows: dict[str, dict[str, object]] = {}
    for name, row in scores.items():
        rows[name] = {"seeds": len(next(iter(row.values())))}
        for metric in metrics:
            values, title = row[metric], MEASURES.get(metric, metric)
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            rows[name][title] = f"{np.mean(values):.3f}{spread}"
            difference, low, high = contrast(values, scores[reference][metric])
            interval = f" [{low:+.3f}, {high:+.3f}]" if np.isfinite(low) else ""
            rows[name][f"{title}: difference"] = "" if name == reference else f"{difference:+.3f}{interval}"
    return table(rows)


def direction_table(scores: Mapping[str, Scores], reference: str) -> pd.DataFrame:
    """Make a table of whether each row is better or worse than the reference row, in the paper and here.

    `scores` is {row: {metric: one value per seed}}. Here a direction is given where the 95 % interval of the difference
    excludes zero; elsewhere it is "undecided", or "one seed".
    """
    rows: dict[str, dict[str, object]] = {}
    for name in scores:
        if name == reference:
            continue
        rows[name] = {}
        for metric in METRICS:
            rows[name][f"{MEASURES[metric]}: paper"] = _direction_in_the_paper(name, metric)
            difference, low, high = contrast(scores[name][metric], scores[reference][metric])
            decided = _direction(difference, metric) if low * high > 0 else "undecided"
            rows[name][f"{MEASURES[metric]}: here"] = "one seed" if np.isnan(low) else decided
    return table(rows)


def _direction_in_the_paper(row: str, metric: str) -> str:
    """Return whether the paper's row on Shi's set is better or worse than its full network."""
    method = f"defusionnet+{row}"
    method = next((paper for paper, ours in RESULT_NAMES.items() if ours == method), method)
    published = (TABLE_2 | TABLE_3).get(("shi", METRICS[metric].paper, method))
    if published is None:
        return "not in the tables"
    return _direction(round(published - TABLE_2["shi", METRICS[metric].paper, "defusionnet"], 4), metric)


def _direction(difference: float, metric: str) -> str:
    return "the same" if difference == 0 else "better" if difference * METRICS[metric].sign > 0 else "worse"


# ----------------------------------------------------------------------------------------------------- figures


def plot_seed_scores(scores: Mapping[str, Scores], seeds: Sequence[int], reference: str) -> Drawing:
    """Plot MAE and max F of every row under every seed; `scores` is {row: {metric: one value per seed}}."""
    names, drawn = list(scores), ("mae", "max-f-focus")
    figure, axes = plt.subplots(
        1, len(drawn), figsize=(4.2 * len(drawn), 0.3 * len(names) + 1.2), sharey=True, layout="constrained"
    )
    for axis, metric in zip(axes, drawn):
        of_reference = scores[reference][metric]
        axis.axvspan(min(of_reference), max(of_reference), color="0.88", zorder=0)
        axis.axvline(np.mean(of_reference), color="0.5", linestyle=":", zorder=1)
        for y, name in enumerate(names):
            values = scores[name][metric]
            axis.plot(values, [y] * len(values), "o", color=COLOURS[0], alpha=0.6, markersize=5)
            axis.plot(np.mean(values), y, "|", color=COLOURS[1], markersize=14, markeredgewidth=2)
        axis.set(xlabel=METRICS[metric].label, yticks=range(len(names)), yticklabels=names)
        axis.grid(axis="x", color="0.9")
    axes[0].invert_yaxis()
    return Drawing(
        "ablations",
        figure,
        "MAE and max F of every row of the ablations. A dot is one seed, a stroke the mean of a row's seeds. The grey "
        f"band spans the seeds of {reference!r}: a row inside it differs from {reference!r} no more than these seeds "
        "do.",
        {"rows": names, "seeds": list(seeds)}
        | {f"{name}_{metric}": scores[name][metric] for name in names for metric in METRICS},
    )


def plot_parts(
    networks: Mapping[str, DeFusionNet], photos: Sequence[Photo], size: int, reference: str
) -> Iterator[Drawing]:
    """Draw the maps of networks that lack a part, beside those of the reference (Figures 13 and 14).

    `networks` is {row: network}. A row of the paper's figures that is not in it is named as missing. Rows that lack a
    part and are in neither figure are added to Figure 13; rows that lack no part are left out.
    """
    shown = {row for rows in PART_FIGURES.values() for row in rows}
    others = [row for row in ROWS if row in networks and row in VARIANTS and row not in {*shown, reference}]
    for number, rows in PART_FIGURES.items():
        added = others if number == 13 else []
        names = {row: VARIANTS[row] for row in rows} | {reference: METHODS["defusionnet"]}
        names |= {row: VARIANTS[row] for row in added}
        maps = {
            row: [predict_views(photo.image, networks[row], size, ["fused"])["fused"] for photo in photos]
            for row in names
            if row in networks
        }
        differs = f"all networks were trained in this run and see photos at {size} pixels a side"
        if added:
            differs += f"; the paper does not show {' and '.join(names[row] for row in added)}"
        if missing := [names[row] for row in names if row not in networks]:
            differs += f"; this run did not train {' and '.join(missing)}"
        yield _drawing(number, photos, names, maps, MEANINGS[number], differs)


def plot_steps(network: DeFusionNet, photos: Sequence[Photo], size: int) -> Drawing:
    """Draw the map of a network after each recurrent step, and its final map (Figure 15)."""
    columns = {view: view.replace("after", "after step ") for view in view_names(network) if view.startswith("after")}
    columns["fused"] = "fused"
    views = [predict_views(photo.image, network, size, columns) for photo in photos]
    maps = {title: [of_photo[view] for of_photo in views] for view, title in columns.items()}
    names = {title: title.removeprefix("after ") for title in columns.values()}
    meaning = "A step's map is the mean of its six side outputs, and the last one is the final map (Eq. 8)"
    differs = f"all maps are those of the network in the package, which sees photos at {size} pixels a side"
    return _drawing(15, photos, names, maps, meaning, differs)


def _drawing(
    number: int,
    photos: Sequence[Photo],
    names: Mapping[str, str],
    maps: Mapping[str, Sequence[np.ndarray]],
    meaning: str,
    differs: str,
) -> Drawing:
    """Draw photos, masks and maps like a figure of the paper.

    `names` are those of the columns, {key of `maps`: name}; a column without maps is named as missing.
    """
    missing = ["not trained in this run"] * len(photos)
    columns: dict[str, Sequence] = {
        "Input": [photo.image for photo in photos],
        "GT": [photo.mask for photo in photos],
        **{words: maps.get(name, missing) for name, words in names.items()},
    }
    arrays = {
        f"map_{column}_{i}": as_levels(defocus)
        for column, of_photos in enumerate(maps.values())
        for i, defocus in enumerate(of_photos)
    }
    caption = (
        f"Laid out like Figure {number} of the paper: {', '.join(lettered(columns))}. GT is the mask, and white is "
        f"blurred. {meaning}. What differs: the photos are {', '.join(photo.name for photo in photos)}; {differs}."
    )
    return Drawing(f"figure_{number}", lettered_sheet(columns), caption, {"columns": list(maps)} | arrays)


# ----------------------------------------------------------------------------------------------------- results


def summarise_seeds(scores: Scores, seeds: Sequence[int]) -> dict[str, float]:
    """Return {"metric@seedN": value, "metric": mean, "metric-std": standard deviation} of {metric: one value per seed}.

    The standard deviation divides by n - 1. It is left out for one seed, and for "mae-border".
    """
    values: dict[str, float] = {}
    for metric, of_seeds in scores.items():
        values |= {f"{metric}@seed{seed}": value for seed, value in zip(seeds, of_seeds)}
        values[metric] = float(np.mean(of_seeds))
        if len(of_seeds) > 1 and metric != BORDER:
            values[f"{metric}-std"] = float(np.std(of_seeds, ddof=1))
    return values


def method_values(
    scores: Mapping[str, Mapping[str, Scores]], methods: Mapping[str, str], seeds: Sequence[int], folder: Path
) -> dict[str, dict[str, float]]:
    """Return the values of the trained rows for the result file, {method: {metric: value}}.

    `scores` is {row: {view: {metric: one value per seed}}}, `methods` {row: name in result files}, `folder` holds the
    networks. Besides the scores each row has the mean loss of its last ten iterations under the first seed.
    """
    values = {}
    for row, views in scores.items():
        for view, of_view in views.items():
            values[_view_method(methods[row], view)] = summarise_seeds(of_view, seeds)
        values[methods[row]]["loss-last"] = float(losses(row, seeds[0], folder)[-10:].mean())
    return values


def shipped_values(scores: Mapping[str, Scores], method: str) -> dict[str, dict[str, float]]:
    """Return the values of one network's views for the result file, {method: {"shipped-metric": value}}.

    `scores` is {view: {metric: [value]}}, `method` the network's name in result files. "mae-border" is left out.
    """
    return {
        _view_method(method, view): {f"shipped-{m}": value for m, (value,) in of_view.items() if m != BORDER}
        for view, of_view in scores.items()
    }


def _view_method(method: str, view: str) -> str:
    return method if view == "fused" else f"{method}+{view}"
