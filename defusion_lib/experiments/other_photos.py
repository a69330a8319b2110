"""The methods of Table 1 on other photos: the other split of Shi's set, or another data set (notebook 07b).

Nothing is trained here: networks are those of another run of notebook 07. Scores have bootstrap intervals over the
photos. Methods on the same photos are compared on the same resamples; two sets of photos are independent samples.
"""

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

from defusion_lib import plots
from defusion_lib.data import PhotoSet
from defusion_lib.data.datasets import check_unseen
from defusion_lib.evaluation.bootstrap import FEW, LEVEL, holm, interval
from defusion_lib.evaluation.map_scores import MapScores, Mask, Measured, of_histogram
from defusion_lib.evaluation.published_maps import Published
from defusion_lib.evaluation.statistics import normal_contrast
from defusion_lib.evaluation.tables import MEASURES
from defusion_lib.experiments import table_1
from defusion_lib.experiments.table_1 import Rival, Tested
from defusion_lib.metrics import quantise
from defusion_lib.paths import display_path, outputs_root

TABLE = ("auc", "mae", "max-f-focus", "max-f-blur")  # metrics of the table of scores
COMPARED = ("auc", "mae")  # metrics of comparisons with published maps
RESULTS = (*TABLE, "f-half-blur", "auc-paper-blur", "auc-paper-focus")  # of result files, as in notebooks 04 and 07
PUBLISHED = "+published"  # behind the name of a method: maps that its authors, or others, published
ALL_BLURRED = "all-blurred"
Measurements = Mapping[str, Mapping[str, Measured]]  # {row: {photo: what is kept of its map}}


def read_rivals(
    profile: str, photos: PhotoSet, device: torch.device | str = "cpu", without: Container[str] = ()
) -> dict[str, Rival]:
    """Read the networks that notebook 07 trained in a profile, {name in `table_1.TRAINED`: rival}; "" for none.

    Those in `without` are left out. Raises FileNotFoundError where the profile has none, and ValueError where one was
    trained on some of `photos`.
    """
    if not profile:
        return {}
    folder, rivals = outputs_root() / profile, {}
    for name in table_1.TRAINED:
        file = folder / f"results/07_table_1/{name}.npz"
        if name not in without and file.is_file():
            weights = folder / f"weights/07_table_1/{name}.safetensors"
            rivals[name] = table_1.read_rival(name, file, weights, device)
            check_unseen(photos, rivals[name].card)
    if not rivals:
        raise FileNotFoundError(
            f"{display_path(folder)} holds no network of notebook 07: run it in that profile first "
            f"(make run PROFILE={profile}), or leave trained_in empty."
        )
    return rivals


def measure(
    tested: Mapping[str, Tested], published: Mapping[str, Published], photos: PhotoSet
) -> dict[str, dict[str, Measured]]:
    """Score the maps of methods, published maps and the map that marks everything: {row: {photo: measured}}.

    A row of published maps has those of the photos that have one.
    """
    found: dict[str, dict[str, Measured]] = {
        name: dict(zip(photos.stems, map(of_histogram, each.counts), strict=True)) for name, each in tested.items()
    }
    for row in (*(name + PUBLISHED for name in published), ALL_BLURRED):
        found[row] = {}
    for photo in photos:
        mask = Mask(photo.mask, weighted=False)
        found[ALL_BLURRED][photo.name] = mask.measure(np.full(photo.mask.shape, 255, np.uint8))
        for name, maps in published.items():
            if photo.name in maps.stems:
                found[name + PUBLISHED][photo.name] = mask.measure(quantise(maps.read(photo)))
    if empty := [row for row, of_photos in found.items() if not of_photos]:
        raise ValueError(f"{empty[0]} has no map of a photo of {photos.name}: check the folder of published maps.")
    return found


def scores_of(measured: Mapping[str, Measured], stems: Sequence[str] = ()) -> MapScores:
    """Return the scores of a row on some photos, all of its own by default."""
    return MapScores([measured[stem] for stem in stems or measured])


def score_rows(measured: Measurements, draws: int, seed: int) -> dict[str, dict[str, object]]:
    """Return the rows of a table: each score with its 95 % interval, best AUC first, {row: {column: text}}."""
    scores = {row: scores_of(of_photos) for row, of_photos in measured.items()}
    rows: dict[str, dict[str, object]] = {}
    for row in sorted(scores, key=lambda row: -scores[row].value("auc")):
        resampled = scores[row].resampled(TABLE, draws, seed)
        rows[row] = {"photos": len(measured[row])}
        for metric in TABLE:
            low, high = interval(resampled[metric])
            rows[row][MEASURES[metric]] = f"{scores[row].value(metric):.3f} [{low:.3f}, {high:.3f}]"
    return rows


def published_rows(measured: Measurements, ours: str, draws: int, seed: int) -> dict[str, dict[str, object]]:
    """Compare published maps with ours of the same method, and with those of the network `ours` ("" for none).

    Each pair is compared on the photos of which maps were published, on the same resamples; p is that of a normal
    distribution with their standard error, corrected for the number of rows (Holm). Returns
    {"first - second, metric": {column: value}}.
    """
    rows: dict[str, dict[str, object]] = {}
    p_values, photos = [], []
    for theirs in [row for row in measured if row.endswith(PUBLISHED)]:
        stems = list(measured[theirs])
        pair = [row for row in (theirs.removesuffix(PUBLISHED), ours) if row in measured]
        resampled = {row: scores_of(measured[row], stems).resampled(COMPARED, draws, seed) for row in [*pair, theirs]}
        for row in pair:
            for metric in COMPARED:
                apart = resampled[row][metric] - resampled[theirs][metric]
                low, high = interval(apart)
                first, second = (scores_of(measured[each], stems).value(metric) for each in (row, theirs))
                rows[f"{row} - {theirs}, {MEASURES[metric]}"] = {
                    "photos": len(stems), "first": first, "second": second, "difference": f"{first - second:+.4f}",
                    "low": f"{low:+.4f}", "high": f"{high:+.4f}",
                }  # fmt: skip
                p_values.append(normal_contrast(first - second, np.std(apart)).p)
                photos.append(len(stems))
    return _with_verdicts(rows, p_values, photos, ("larger than chance", "not shown"))


class Elsewhere(NamedTuple):
    """Stored results of notebook 07 on another set of photos: its name, and {row: (AUC, standard error)}."""

    dataset: str
    auc: dict[str, tuple[float, float]]


def read_elsewhere(path: str | Path) -> Elsewhere:
    """Read the AUC of each method from a result file of notebook 07; raises ValueError where there is none."""
    values = json.loads(Path(path).read_text(encoding="utf-8"))["values"]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for key, error in values.items():
        dataset, row, metric = key.split("/")
        if metric == "auc-std":
            found.setdefault(dataset, {})[row] = values[f"{dataset}/{row}/auc"], error
    if len(found) != 1:
        raise ValueError(
            f"{display_path(path)} has an AUC with a standard error on {len(found)} sets of photos, expected one: "
            "give a result file of notebook 07."
        )
    return Elsewhere(*found.popitem())


def carried_rows(
    measured: Measurements, elsewhere: Elsewhere, dataset: str, draws: int, seed: int
) -> dict[str, dict[str, object]]:
    """Compare the AUC of each method with its AUC on other photos, {row: {column: value}}, best there first.

    The two sets of photos are independent samples: the variance of the difference is the sum of both. The interval and
    p are those of a normal distribution, p is corrected for the number of rows (Holm).
    """
    rows: dict[str, dict[str, object]] = {}
    p_values, photos = [], []
    for row, (there, error) in sorted(elsewhere.auc.items(), key=lambda item: -item[1][0]):
        if row in measured:
            scores = scores_of(measured[row])
            here, own = scores.value("auc"), np.std(scores.resampled(["auc"], draws, seed)["auc"])
            both = np.hypot(error, own)
            if not both:
                continue  # the AUC of a constant map is one half on all photos
            *ends, p = normal_contrast(here - there, both)
            rows[row] = {elsewhere.dataset: there, dataset: here} | dict(zip(("difference", "low", "high"), ends))
            p_values.append(p)
            photos.append(scores.photos("auc"))
    return _with_verdicts(rows, p_values, photos, ("changes", "no change shown"))


def _with_verdicts(
    rows: Mapping[str, dict[str, object]], p_values: Sequence[float], photos: Sequence[int], words: tuple[str, str]
) -> dict[str, dict[str, object]]:
    """Add the corrected p-value of each row, and which of two words it stands for, if there are `FEW` photos."""
    found = {}
    for (name, row), p, count in zip(rows.items(), holm(p_values), photos):
        verdict = "too few photos" if count < FEW else words[0] if p < 1 - LEVEL else words[1]
        found[name] = row | {"p, corrected": float(p), "verdict": verdict}
    return found


def describe_order(measured: Measurements, elsewhere: Elsewhere, draws: int, seed: int) -> str:
    """Return in words how far the order of the methods by AUC is the one on the other photos.

    The interval of Kendall's tau is that of resampled photos here, and of normal errors there, independent of one
    another: the resamples there are not stored.
    """
    shared = [row for row in elsewhere.auc if row in measured]
    if len(shared) < 2:
        return "Fewer than two methods are in both tables: there is no order to compare."
    scores = {row: scores_of(measured[row]) for row in shared}
    here = np.stack([each.resampled(["auc"], draws, seed)["auc"] for each in scores.values()])
    auc, errors = np.array([elsewhere.auc[row] for row in shared]).T
    there = np.random.default_rng(seed).normal(auc[:, None], errors[:, None], here.shape)
    tau = stats.kendalltau([each.value("auc") for each in scores.values()], auc).statistic
    low, high = interval(np.array([stats.kendalltau(*pair).statistic for pair in zip(here.T, there.T)]))
    return (
        f"the order of {len(shared)} methods here and on {elsewhere.dataset}: tau {tau:.2f}, 95 % interval of "
        f"resamples {low:.2f} to {high:.2f}"
    )


def results(photos: PhotoSet, measured: Measurements, draws: int, seed: int) -> dict[str, float]:
    """Return all scores, and the spread of the mean AUC, under keys of result files.

    Rows of published maps of some photos, and ours of the same photos, are under "<data set>-maps<number>".
    """
    found: dict[str, float] = {}
    for row, of_photos in measured.items():
        sets = {photos.name: list(of_photos)} if len(of_photos) == len(photos) else {}
        for other in [each for each in measured if len(measured[each]) < len(photos)]:
            if other == row or other.removesuffix(PUBLISHED) == row:
                sets[f"{photos.name}-maps{len(measured[other])}"] = list(measured[other])
        for dataset, stems in sets.items():
            scores = scores_of(of_photos, stems)
            found |= {f"{dataset}/{row}/{metric}": scores.value(metric) for metric in RESULTS}
            found[f"{dataset}/{row}/auc-std"] = float(np.std(scores.resampled(["auc"], draws, seed)["auc"]))
    return found


def carried(measured: Measurements, elsewhere: Elsewhere, dataset: str, draws: int, seed: int) -> plots.Drawing:
    """Draw the AUC of each method here and on the other photos with 95 % intervals, the best there on top."""
    rows = [row for row in sorted(elsewhere.auc, key=lambda row: elsewhere.auc[row][0]) if row in measured]
    scores = {row: scores_of(measured[row]) for row in rows}
    sets = {
        elsewhere.dataset: [normal_contrast(*elsewhere.auc[row])[:3] for row in rows],
        dataset: [
            (scores[row].value("auc"), *interval(scores[row].resampled(["auc"], draws, seed)["auc"])) for row in rows
        ],
    }
    figure, axis = plt.subplots(figsize=(7, 1 + 0.4 * len(rows)), layout="constrained")
    for (name, of_rows), marker, colour, shift in zip(sets.items(), "os", plots.COLOURS, (0.15, -0.15)):
        places = np.arange(len(rows)) + shift
        for place, (_, low, high) in zip(places, of_rows):
            axis.plot([low, high], [place, place], "|-", color=colour)
        axis.plot([each[0] for each in of_rows], places, marker, color=colour, label=name)
    axis.set(yticks=range(len(rows)), yticklabels=rows, xlabel="ordinary AUC: mean and 95 % interval")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    caption = (
        "The ordinary AUC of each method on two sets of photos, with its 95 % interval; the best on the first set is "
        "on top. A method carries over where its two marks are close."
    )
    return plots.Drawing("carried_over", figure, caption, {"methods": rows} | sets)
