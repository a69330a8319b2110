"""Tables 2 and 3: train, evaluate and compare a separate network for each row.

A row is a set of switches of DeFusionNet. Rows are compared over seeds: a seed sets the initial weights and the order
of the samples, and with one seed all rows are trained on the same samples in the same order. So a seed shifts all rows
together, and differences of rows are compared with the spread that is left without these shifts
(`evaluation.statistics.residual_spread`).
"""

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import MaxNLocator

from defusion_lib.backbone import TAPS
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.datasets import open_dataset
from defusion_lib.evaluation.bootstrap import LEVEL, holm, interval
from defusion_lib.evaluation.map_scores import DRAWS, resampled, with_errors
from defusion_lib.evaluation.statistics import (
    contrast,
    contrast_within,
    detectable_difference,
    paired_contrast,
    residual_spread,
)
from defusion_lib.evaluation.tables import MEASURES, table
from defusion_lib.experiments.kept import code_sha256, read_alike, write
from defusion_lib.experiments.training_run import Training, backbone_file, check_unlearnt, has_seen
from defusion_lib.inference import detect, predict_maps, resize_map
from defusion_lib.metrics import Evaluation
from defusion_lib.network import FUSION_STRIDES, MOST_STEPS, OUTPUTS, DeFusionNet
from defusion_lib.paper.claims import RESULT_NAMES
from defusion_lib.paper.tables import METHODS, TABLE_2, TABLE_3, VARIANTS
from defusion_lib.plots import COLOURS, Drawing, as_levels, lettered, lettered_sheet
from defusion_lib.progress import tqdm
from defusion_lib.runs.pictures import shrink
from defusion_lib.runs.run import Run
from defusion_lib.training import identity, initialise, make_recipe, train_or_load
from defusion_lib.weights import SHIPPED, read_card, result_name

# The rows of Tables 2 and 3 and of Figure 14 with their switches, under the names in result files
# (`weights.result_name`).
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
# Rows that the paper does not have: each CAM replaced by weights that are the same for every photo, in as many
# parameters; and features fused on another grid.
GATE_ROWS: dict[str, dict[str, Any]] = {"constant-gate": {"cam": "constant"}}
STRIDE_ROWS: dict[str, dict[str, Any]] = {f"stride{stride}": {"fusion_stride": stride} for stride in FUSION_STRIDES}
ROWS = PAPER_ROWS | GATE_ROWS | STRIDE_ROWS
# The rows that Figures 13 and 14 put beside the full network, and what these lack.
PART_FIGURES = {13: ("nocam+nofam",), 14: ("nogap", "nogmp")}
MEANINGS = {
    13: "CVPR19 has neither CAM nor FAM",
    14: "The CAM of noGAP has only the maximum of a channel, that of noGMP only its mean",
}
BORDER = "mae-border"
TITLES = MEASURES | {BORDER: "MAE near borders ↓"}  # of columns
_VIEWS = {*OUTPUTS, *(f"after{step}" for step in range(1, MOST_STEPS + 1))}
_OF_SEED = re.compile(r"[^/]+/([^/]+)/([^/]+)@seed(\d+)")  # a value of one seed in a result file
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


def check_rows(rows: Sequence[str], fusion_stride: int = 1) -> None:
    """Raise ValueError where a row is listed twice, or is the same network as another one."""
    seen: dict[str, str] = {}
    for row in rows:
        switches = str({"fusion_stride": fusion_stride} | ROWS[row])
        if switches in seen:
            raise ValueError(
                f"The rows {seen[switches]} and {row} are the same network at fusion_stride={fusion_stride}: "
                "leave one of them out."
            )
        seen[switches] = row


def seeds_of_rows(parameters: Any) -> dict[str, tuple[int, ...]]:
    """Return the seeds that each row is trained with, {row: seeds}, from the parameters of notebook 08 (attributes).

    Raises ValueError where a seed is given twice.
    """
    given = parameters
    if len(set(given.seeds)) < len(given.seeds):
        raise ValueError(
            f"seeds={list(given.seeds)} holds a seed twice, which would count one network as two: leave it out."
        )
    return dict.fromkeys(given.rows, given.seeds) | dict.fromkeys(given.rows_once, given.seeds[:1])


def trainings(parameters: Any) -> dict[str, Training]:
    """Return the trainings of notebook 08, {"row@seedN": training}, from its parameters (attributes)."""
    given, found = parameters, {}
    photos = {"name": given.dataset, "part": "train", "root": given.data_root, "split": given.split}
    for row, seeds in seeds_of_rows(given).items():
        for seed in seeds:
            path = Path(f"weights/08_ablations/{row}@seed{seed}.safetensors")
            found[path.stem] = Training(
                path.as_posix(),
                make_recipe(given.recipe, stages=given.stages, seed=seed),
                {"heads": given.heads, "fusion_stride": given.fusion_stride} | ROWS[row],
                photos | {"count": given.count, "seed": given.seed},
                given.backbone,
            )
    return found


def open_test(parameters: Any) -> PhotoSet:
    """Open the photos that notebook 08 tests on, from its parameters (attributes)."""
    given = parameters
    return open_dataset(given.dataset, "test", given.data_root, given.split, given.count, given.seed)


def pictured(photos: PhotoSet, count: int) -> list[Photo]:
    """Return `count` photos at equal distances in the list, for Figures 13 to 15."""
    return [photos[i] for i in np.linspace(0, len(photos) - 1, count + 2).astype(int)[1:-1]]


class Tested(NamedTuple):
    """What is kept of a trained network: its name in result files, its scores, its losses and some of its maps.

    scores:    {view: {metric: value}}, of `view_names`
    loss:      of each iteration, Eq. 10 divided by its number of maps
    maps:      of the `pictured` photos, uint8 levels (H, W) at the size of a panel; none for all seeds but the first
    stretches: of its training, with their stamps (`training.History`)
    """

    method: str
    scores: Mapping[str, Mapping[str, float]]
    loss: np.ndarray
    maps: Sequence[np.ndarray]
    stretches: Sequence[Mapping[str, Any]]


def train_one(run: Run, name: str, photos: PhotoSet) -> Tested:
    """Train a network of `trainings` on its photos and test it, or read what an earlier run kept of it.

    What is kept of a network is `results/08_ablations/<name>.npz` with a stamp: a few kB, so that trainings of several
    machines can be put together in one folder. A network whose file is there is tested again only where its recipe,
    switches, first weights, photos or test differ, or the code of the network or the metrics. Raises ValueError where
    that file is damaged, where the first weights learnt from photos of the test, and what `training.train_or_load`
    raises.
    """
    training, given = trainings(run.parameters)[name], run.parameters
    every_view, is_pictured = name.partition("@")[0] == given.rows[0], training.recipe.seed == given.seeds[0]
    test, file = open_test(given).in_memory(), run.path(f"results/08_ablations/{name}.npz")
    build, backbone = partial(DeFusionNet, **training.switches), backbone_file(training.backbone)
    check_unlearnt(test, photos, backbone)
    photos = photos.in_memory()
    made = identity(initialise(build, training.recipe, backbone), photos, training.recipe)
    made |= {
        "test": test.identity(),
        "size": given.size,
        "every_view": every_view,
        "pictured": given.examples if is_pictured else 0,
        "code_sha256": code_sha256(),
    }
    found = read_alike(file, made)
    if found is not None:
        maps = [found[f"map_{i}"] for i in range(made["pictured"])]
        return Tested(found["method"], found["scores"], found["loss"], maps, found["stamp"]["training_stretches"])
    path = run.path(training.file)
    network = train_or_load(path, build, photos, training.recipe, backbone, run.device, run.stamp)
    assert isinstance(network, DeFusionNet)
    views = view_names(network) if every_view else ("fused",)
    shown = pictured(test, given.examples) if is_pictured else []
    card = read_card(path)
    tested = Tested(
        result_name(network),
        score_network(network, test, given.size, views),
        np.array(card["loss"]) / (len(TAPS) * len(network.steps) + 1),
        [shrink(as_levels(detect(photo.image, network, given.size))) for photo in shown],
        card["stretches"],
    )
    stamp = run.stamp | {"training_stretches": card["stretches"]}
    words = {"stamp": stamp, "made": made, "method": tested.method, "scores": tested.scores}
    write(file, words, {"loss": tested.loss} | {f"map_{i}": each for i, each in enumerate(tested.maps)})
    return tested


def view_names(network: DeFusionNet) -> tuple[str, ...]:
    """Return the names of a network's intermediate maps, in the order of `Maps.intermediate`."""
    return (*OUTPUTS, *(f"after{step}" for step in range(1, len(network.steps) + 1)))


def describe_package(photos: PhotoSet, size: int) -> str:
    """Return a line about the test of the network in the package; it names test photos that the network learnt from."""
    seen = ". It was trained on most of these test photos, so its scores do not show how it does on others."
    return f"the network in the package, tested at {size} pixels{seen * has_seen(photos, SHIPPED)}"


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


def score_network(
    network: DeFusionNet, photos: PhotoSet, size: int, views: Iterable[str] = ("fused",)
) -> dict[str, dict[str, float]]:
    """Score a network's views, {view: {metric: value}}; "fused" also has the MAE near masks' borders, "mae-border"."""
    found = evaluate(network, photos, size, views)
    scores = {view: evaluation.values() for view, evaluation in found.items()}
    scores["fused"][BORDER] = found["fused"].border_mae()
    return scores


def over_seeds(scores: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Join the scores of one row's networks, one per seed, to {view: {metric: one value per seed}}."""
    joined: dict[str, dict[str, list[float]]] = {}
    for of_seed in scores:
        for view, values in of_seed.items():
            for metric, value in values.items():
                joined.setdefault(view, {}).setdefault(metric, []).append(value)
    return joined


# ------------------------------------------------------------------------------------------------------ tables


def training_table(tested: Mapping[str, Sequence[Tested]], seeds_of: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Make a table of how the networks of each seed were trained: how many, in which precision, where, how long.

    `tested` is {row: one network per seed}, `seeds_of` {row: seeds}. Rows are compared seed by seed: a precision that
    all networks of a seed share moves them together, as the seed does.
    """
    of_seeds: dict[int, list[Tested]] = {}
    for row, networks in tested.items():
        for seed, network in zip(seeds_of[row], networks):
            of_seeds.setdefault(seed, []).append(network)
    rows: dict[str, dict[str, object]] = {}
    for seed, networks in of_seeds.items():
        stretches = [stretch for network in networks for stretch in network.stretches]
        rows[f"seed {seed}"] = {
            "networks": len(networks),
            "precision": ", ".join(sorted({stretch["precision"] for stretch in stretches})),
            "trained on": "; ".join(sorted({f"{each['device']}, threads: {each['threads']}" for each in stretches})),
            "minutes each": sum(stretch["seconds"] for stretch in stretches) / 60 / len(networks),
        }
    return table(rows, 1)


def seed_table(
    scores: Mapping[str, Scores],
    reference: str,
    metrics: Iterable[str] = tuple(METRICS),
    compare: Callable[[Sequence[float], Sequence[float]], tuple[float, float, float]] = contrast,
) -> pd.DataFrame:
    """Make a table of each row's mean ± standard deviation over seeds and its difference from the reference row.

    `scores` is {row: {metric: one value per seed}}. The difference is over the seeds that both rows have, since a seed
    moves the scores of all rows alike; the brackets hold its 95 % interval by `compare` (Welch's t). A row with one
    seed has neither standard deviation nor interval.
    """
    rows: dict[str, dict[str, object]] = {}
    for name, row in scores.items():
        rows[name] = {"seeds": len(next(iter(row.values())))}
        for metric in metrics:
            values, title = row[metric], TITLES[metric]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            rows[name][title] = f"{np.mean(values):.3f}{spread}"
            difference, low, high = compare(values, scores[reference][metric][: len(values)])
            bounds = f" [{low:+.3f}, {high:+.3f}]" if np.isfinite(low) else ""
            rows[name][f"{title}: difference"] = "" if name == reference else f"{difference:+.3f}{bounds}"
    return table(rows)


def view_table(scores: Mapping[str, Scores]) -> pd.DataFrame:
    """Make the `seed_table` of views of the same networks, {view: {metric: one value per seed}}, against "fused".

    All views of a seed are of one network, so the interval is that of the differences within networks (paired t).
    """
    return seed_table(scores, "fused", compare=contrast_within)


def photo_table(evaluations: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Make a table of the views of one network and their differences from "fused", {view: evaluation}.

    The brackets hold the 95 % interval of a difference over the photos (bootstrap, the same resamples for all views).
    """
    draws = {view: resampled(evaluation, DRAWS) for view, evaluation in evaluations.items()}
    values = {view: evaluation.values() for view, evaluation in evaluations.items()}
    rows: dict[str, dict[str, object]] = {view: {} for view in evaluations}
    for metric in METRICS:
        title = MEASURES[metric]
        for view, row in rows.items():
            low, high = interval(draws[view][metric] - draws["fused"][metric])
            difference = values[view][metric] - values["fused"][metric]
            row[title] = f"{values[view][metric]:.3f}"
            row[f"{title}: difference"] = "" if view == "fused" else f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    return table(rows)


class Contrast(NamedTuple):
    """How a row differs from the reference row in one metric, and what the design could find.

    difference:  the mean over the seeds that both rows have
    low, high:   its 95 % interval
    p:           corrected for the number of contrasts of the metric (Holm)
    detectable:  the true difference that the design finds with a probability of 0.8
    decided:     whether p is below 0.05
    """

    difference: float
    low: float
    high: float
    p: float
    detectable: float
    decided: bool


def contrasts(scores: Mapping[str, Scores], reference: str, metric: str) -> dict[str, Contrast]:
    """Compare each row with the reference row in a metric, {row: contrast}; `scores` is {row: {metric: values}}.

    Values are one per seed. The spread is that of the rows that have as many seeds as the reference
    (`residual_spread`); rows with fewer seeds are compared on the seeds that they have. Everything is NaN but the
    differences, and nothing is decided, where only one row has several seeds.
    """
    seeds = len(scores[reference][metric])
    spread, freedom = residual_spread([row[metric] for row in scores.values() if len(row[metric]) == seeds])
    others = [name for name in scores if name != reference]
    found = [paired_contrast(scores[name][metric], scores[reference][metric], spread, freedom) for name in others]
    rows = {}
    for name, each, p in zip(others, found, holm([each.p for each in found])):
        detectable = _detectable(spread, len(scores[name][metric]), freedom, len(others))
        rows[name] = Contrast(each.difference, each.low, each.high, float(p), detectable, bool(p < 1 - LEVEL))
    return rows


def _detectable(spread: float, seeds: int, freedom: int, count: int) -> float:
    """Compute the detectable difference at the level of the strictest of `count` tests that are corrected by Holm."""
    return detectable_difference(spread, seeds, freedom, (1 - LEVEL) / max(count, 1))


def decision_table(scores: Mapping[str, Scores], reference: str, metric: str) -> pd.DataFrame:
    """Make the table of `contrasts` in a metric, whose name is that of the columns."""
    rows = {}
    for name, found in contrasts(scores, reference, metric).items():
        rows[f"{name} - {reference}"] = {
            "seeds": min(len(scores[name][metric]), len(scores[reference][metric])),
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p, corrected": found.p,
            "detectable": found.detectable,
            "verdict": "decided" if found.decided else "undecided",
        }
    return table(rows, 4).rename_axis(columns=TITLES[metric])


def power_table(pilot: Path, rows: Sequence[str], rows_once: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Make a table of the differences that a design could detect, if its scores spread like those of a pilot.

    `pilot` is a result file of notebook 08, `rows` are trained with every seed, the first of them is the reference,
    `rows_once` are trained with one seed. For each metric the table has the spread in the pilot (`residual_spread`),
    the true difference that the design finds with a probability of 0.8, for rows with all seeds and with one, and how
    many of these rows differ as much in the paper. Raises what `read_seeds` raises.
    """
    numbers = {row: len(seeds) for row in rows[1:]} | dict.fromkeys(rows_once, 1)
    freedom, found = (len(rows) - 1) * (len(seeds) - 1), dict[str, dict[str, object]]()
    for metric, scores in read_seeds(pilot).items():
        spread, _ = residual_spread(scores)
        least = {n: _detectable(spread, n, freedom, len(numbers)) for n in dict.fromkeys((len(seeds), 1))}
        paper = {row: _paper_difference(row, metric) for row in numbers}
        known = {row: abs(difference) for row, difference in paper.items() if difference is not None}
        as_large = sum(difference >= least[numbers[row]] for row, difference in known.items())
        found[metric] = {"spread in the pilot": spread, "contrasts": len(numbers)}
        found[metric] |= {f"detectable, {n} seed{'s' * (n > 1)}": value for n, value in least.items()}
        found[metric] |= {"as large in the paper": f"{as_large} of {len(known)}"}
    return table({MEASURES[metric]: row for metric, row in found.items()}, 4)


def read_seeds(path: Path) -> dict[str, np.ndarray]:
    """Read the scores of a result file of notebook 08 that has several seeds: {metric: float (rows, seeds)}.

    The rows are the networks with most seeds; `METRICS` are read. Raises ValueError where fewer than two rows have two
    or more seeds.
    """
    found: dict[str, dict[str, dict[int, float]]] = {metric: {} for metric in METRICS}
    for key, value in json.loads(path.read_text(encoding="utf-8"))["values"].items():
        named = _OF_SEED.fullmatch(key)
        if named and named[2] in METRICS and not _VIEWS & set(named[1].split("+")):
            found[named[2]].setdefault(named[1], {})[int(named[3])] = value
    most = max((len(row) for rows in found.values() for row in rows.values()), default=0)
    scores = {
        metric: np.array([[row[seed] for seed in sorted(row)] for row in rows.values() if len(row) == most])
        for metric, rows in found.items()
    }
    if most < 2 or any(len(rows) < 2 for rows in scores.values()):
        raise ValueError(
            f"{path.name} holds no two rows with two or more seeds, whose spread could be computed: "
            "give a result file of notebook 08 that has them."
        )
    return scores


def _paper_difference(row: str, metric: str) -> float | None:
    """Return how the paper's row differs from its full network on Shi's set; None where it has no such row."""
    method, column = f"defusionnet+{row}", METRICS[metric].paper
    method = next((paper for paper, ours in RESULT_NAMES.items() if ours == method), method)
    published = (TABLE_2 | TABLE_3).get(("shi", column, method))
    return None if published is None else round(published - TABLE_2["shi", column, "defusionnet"], 4)


def direction_table(scores: Mapping[str, Scores], reference: str) -> pd.DataFrame:
    """Make a table of whether each row is better or worse than the reference row, in the paper and here.

    `scores` is {row: {metric: one value per seed}}. Here a direction is given where a difference is decided
    (`contrasts`); elsewhere it is "undecided".
    """
    decided = {metric: contrasts(scores, reference, metric) for metric in METRICS}
    rows: dict[str, dict[str, object]] = {}
    for name in scores:
        if name == reference:
            continue
        rows[name] = {}
        for metric, of_rows in decided.items():
            rows[name][f"{MEASURES[metric]}: paper"] = _direction_in_the_paper(name, metric)
            here = _direction(of_rows[name].difference, metric) if of_rows[name].decided else "undecided"
            rows[name][f"{MEASURES[metric]}: here"] = here
    return table(rows)


def _direction_in_the_paper(row: str, metric: str) -> str:
    """Return whether the paper's row on Shi's set is better or worse than its full network."""
    difference = _paper_difference(row, metric)
    return "not in the tables" if difference is None else _direction(difference, metric)


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
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="x", color="0.9")
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return Drawing(
        "ablations",
        figure,
        "MAE and max F of every row of the ablations. A dot is one seed, a stroke the mean of a row's seeds. The grey "
        f"band spans the seeds of {reference!r}. A seed moves all rows together, so two rows may differ in every seed "
        "and still overlap here: the tables of contrasts compare them seed by seed.",
        {"rows": names, "seeds": list(seeds)}
        | {f"{name}_{metric}": scores[name][metric] for name in names for metric in METRICS},
    )


def plot_parts(tested: Mapping[str, Tested], photos: Sequence[Photo], size: int, reference: str) -> Iterator[Drawing]:
    """Draw the maps of networks that lack a part, beside those of the reference (Figures 13 and 14).

    `tested` is {row: network of the first seed}, `photos` are the `pictured` ones. A row of the paper's figures that is
    not in `tested` is named as missing, and a figure without any of its rows is left out (`describe_missing`). Rows
    that lack a part and are in neither figure are added to Figure 13; rows that lack no part are left out.
    """
    shown = {row for rows in PART_FIGURES.values() for row in rows}
    others = [row for row in ROWS if row in tested and row in VARIANTS and row not in {*shown, reference}]
    for number, rows in PART_FIGURES.items():
        if not set(rows) & set(tested):
            continue
        added = others if number == 13 else []
        names = {row: VARIANTS[row] for row in rows} | {reference: METHODS["defusionnet"]}
        names |= {row: VARIANTS[row] for row in added}
        maps = {row: [levels / np.float32(255) for levels in tested[row].maps] for row in names if row in tested}
        differs = f"all networks were trained in this run and see photos at {size} pixels a side"
        if added:
            differs += f"; the paper does not show {' and '.join(names[row] for row in added)}"
        if missing := [names[row] for row in names if row not in tested]:
            differs += f"; this run did not train {' and '.join(missing)}"
        yield _drawing(number, photos, names, maps, MEANINGS[number], differs)


def describe_missing(tested: Container[str]) -> str:
    """Say which of Figures 13 and 14 `plot_parts` leaves out, one line each."""
    lines = [
        f"Figure {number} needs {' or '.join(VARIANTS[row] for row in rows)}, which this run did not train."
        for number, rows in PART_FIGURES.items()
        if not any(row in tested for row in rows)
    ]
    return "\n".join(lines) or "Figures 13 and 14 are drawn above."


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


def method_values(tested: Mapping[str, Sequence[Tested]], seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return the values of the trained rows for the result file, {method: {metric: value}}.

    `tested` is {row: one network per seed}. Besides the scores each row has the mean loss of its last ten iterations
    under the first seed.
    """
    values = {}
    for first, *more in tested.values():
        for view, of_view in over_seeds(each.scores for each in (first, *more)).items():
            values[_view_method(first.method, view)] = summarise_seeds(of_view, seeds)
        values[first.method]["loss-last"] = float(first.loss[-10:].mean())
    return values


def shipped_values(evaluations: Mapping[str, Evaluation], method: str) -> dict[str, dict[str, float]]:
    """Return the values of one network's views for the result file, {method: {"shipped-metric": value}}.

    Each has its standard error over the photos under "...-se"; `method` is the network's name in result files.
    """
    return {
        _view_method(method, view): {f"shipped-{metric}": value for metric, value in with_errors(evaluation).items()}
        for view, evaluation in evaluations.items()
    }


def _view_method(method: str, view: str) -> str:
    return method if view == "fused" else f"{method}+{view}"
