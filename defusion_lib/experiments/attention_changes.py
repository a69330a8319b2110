"""Change the weights of the CAMs and measure the effect on the maps: channels set to zero, weights made constant."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from defusion_lib.cam_hooks import Change, constant_weights, intervene, zero_channels
from defusion_lib.data import PhotoSet
from defusion_lib.evaluation.bootstrap import LEVEL, holm
from defusion_lib.evaluation.map_scores import DRAWS, resample
from defusion_lib.evaluation.tables import table
from defusion_lib.experiments.attention import CollectedAttention, channel_contributions, top_channels
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS, Drawing
from defusion_lib.progress import tqdm

# Names of changes are part of result keys (`effects_by_method`).
UNCHANGED = "as trained"
RANDOM = "random"
AVERAGE = "average weight of each channel"
SAME = "same weight for all channels"
# How channels are chosen, and what the paper's claim predicts for their removal, compared with random channels.
PREDICTED = {"highest weights": "larger error", "lowest weights": "smaller error", "largest contributions": ""}
UNCLEAR = "no clear difference"
MAX_F = "max-f-focus"  # under this name in the result file


class Effect(NamedTuple):
    """The mean absolute error of each image (N,), and the max F over all of them, in-focus pixels positive.

    `max_f_draws` is the max F of resamples of the images (draws,), the same resamples for every effect.
    """

    errors: np.ndarray
    max_f: float
    max_f_draws: np.ndarray


class Comparison(NamedTuple):
    """A change compared with a reference: mean difference of their errors over the images, and its standard error.

    `result` is the difference in words; `predicted` is what the paper's claim predicts, "" where it predicts nothing.
    """

    reference: str
    difference: float
    error: float
    result: str
    predicted: str


def make_changes(
    collected: CollectedAttention, network: DeFusionNet, counts: Sequence[int], draws: int, seed: int
) -> dict[str, list[Change]]:
    """Make the changes that notebook 09 measures, {name: versions}.

    "K off: ..." sets K channels of each group in the first step to zero, among those alive, chosen as in `PREDICTED`
    or drawn `draws` times at random. `AVERAGE` makes the weights of all CAMs constant over the images, `SAME` also over
    the channels of a CAM.
    """
    mean = collected.weights.mean(axis=0)
    scores = dict(zip(PREDICTED, (mean, -mean, channel_contributions(collected, network))))
    random = np.random.default_rng(seed)
    drawn = [random.random(mean.shape) for _ in range(draws)]
    changes: dict[str, list[Change]] = {UNCHANGED: [lambda key, weights: weights]}
    for count in counts:
        for choice, score in scores.items():
            changes[removal(count, choice)] = [zero_channels(top_channels(collected, score, count))]
        changes[removal(count, RANDOM)] = [zero_channels(top_channels(collected, score, count)) for score in drawn]
    changes[AVERAGE] = [constant_weights(dict(zip(collected.keys, mean)))]
    changes[SAME] = [constant_weights(dict(zip(collected.keys, mean.mean(axis=1))))]
    return changes


def removal(count: int, choice: str) -> str:
    """Return the name of the change that sets `count` channels of each group to zero."""
    return f"{count} off: {choice}"


def measure(
    changes: Mapping[str, Iterable[Change]], network: DeFusionNet, photos: PhotoSet, size: int | None
) -> dict[str, Effect]:
    """Evaluate the network under each change, mean over its versions; `size` as in `detect`."""
    effects = {}
    for name, versions in tqdm(changes.items(), desc="changes"):
        parts = zip(*(_measure(change, network, photos, size) for change in versions))
        errors, max_f, max_f_draws = (np.mean(part, axis=0) for part in parts)
        effects[name] = Effect(errors, float(max_f), max_f_draws)
    return effects


def _measure(change: Change, network: DeFusionNet, photos: PhotoSet, size: int | None) -> Effect:
    evaluation = Evaluation()
    with intervene(network, change):
        for photo in photos:
            evaluation.add(detect(photo.image, network, size), photo.mask)
    draws = resample([MAX_F], evaluation.counts, {}, DRAWS, 0)[MAX_F]
    return Effect(evaluation.errors, evaluation.max_f("focus"), draws)


def paired_difference(first: Effect, second: Effect) -> tuple[float, float]:
    """Compute the mean difference of the errors of two changes over the images, and its standard error."""
    differences = first.errors - second.errors
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def max_f_difference(first: Effect, second: Effect) -> tuple[float, float]:
    """Compute the difference of the max F of two changes, and its standard error by paired resamples of the images."""
    return first.max_f - second.max_f, float((first.max_f_draws - second.max_f_draws).std(ddof=1))


def compare(effects: Mapping[str, Effect], counts: Iterable[int]) -> dict[str, Comparison]:
    """Compare each choice of channels with random channels, and the constant weights with the network as trained.

    A difference is clear if p is below 0.05, by Student's t over the photos and corrected for the number of comparisons
    (Holm).
    """
    references = {removal(count, choice): removal(count, RANDOM) for count in counts for choice in PREDICTED}
    references |= {AVERAGE: UNCHANGED, SAME: UNCHANGED}
    differences = [paired_difference(effects[name], effects[reference]) for name, reference in references.items()]
    freedom = len(effects[UNCHANGED].errors) - 1
    p_values = [
        2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0) for mean, error in differences
    ]
    comparisons = {}
    for (name, reference), (difference, error), p in zip(references.items(), differences, holm(p_values)):
        clear = "larger error" if difference > 0 else "smaller error"
        result = clear if p < 1 - LEVEL else UNCLEAR
        predicted = PREDICTED.get(name.partition(": ")[2], "")
        comparisons[name] = Comparison(reference, difference, error, result, predicted)
    return comparisons


def effect_table(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """Make a table of MAE and max F under each change, and of their differences from the network as trained."""
    rows: dict[str, dict[str, object]] = {}
    for name, effect in effects.items():
        rows[name] = {"MAE": float(effect.errors.mean()), "max F, in focus": effect.max_f}
        if name != UNCHANGED:
            difference, error = paired_difference(effect, effects[UNCHANGED])
            rows[name]["MAE: change ± standard error"] = f"{difference:+.4f} ± {error:.4f}"
            difference, error = max_f_difference(effect, effects[UNCHANGED])
            rows[name]["max F: change ± standard error"] = f"{difference:+.4f} ± {error:.4f}"
    return table(rows)


def comparison_table(comparisons: Mapping[str, Comparison]) -> pd.DataFrame:
    """Make a table of comparisons, one per row."""
    return table(
        {
            name: {
                "compared with": each.reference,
                "MAE: difference ± standard error": f"{each.difference:+.4f} ± {each.error:.4f}",
                "result": each.result,
                "the claim predicts": each.predicted,
            }
            for name, each in comparisons.items()
        }
    )


def plot_effects(effects: Mapping[str, Effect], counts: Iterable[int]) -> Drawing:
    """Plot the change of MAE and of max F under each change of the weights."""
    names = [name for name in effects if name != UNCHANGED][::-1]
    choices = [*PREDICTED, RANDOM]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.33 * len(names) + 1), sharey=True, layout="constrained")
    for y, name in enumerate(names):
        choice = name.partition(": ")[2]
        colour = COLOURS[choices.index(choice)] if choice in choices else "black"
        for axis, compute in zip(axes, (paired_difference, max_f_difference)):
            change, error = compute(effects[name], effects[UNCHANGED])
            axis.errorbar(change, y, xerr=error, fmt="o", color=colour, capsize=3)
    axes[0].set(yticks=range(len(names)), yticklabels=names)
    axes[0].set(xlabel="change of MAE ± standard error (right = worse)")
    axes[1].set(xlabel="change of max F ± standard error (left = worse)")
    for axis in axes:
        axis.axvline(0, color="0.3", linestyle=":", linewidth=1)
        axis.grid(axis="y", color="0.9")
    return Drawing(
        "attention_effects",
        figure,
        f"Change of MAE (left) and of max F (right) when {' or '.join(map(str, counts))} channels of each CAM in the "
        "first step are set to zero, chosen in four ways, or when weights are made constant. The dotted line is the "
        "network as trained.",
        {
            "names": list(effects),
            "errors": np.array([effect.errors for effect in effects.values()]),
            "max_f": np.array([effect.max_f for effect in effects.values()]),
        },
    )


def effects_by_method(method: str, effects: Mapping[str, Effect]) -> dict[str, dict[str, float]]:
    """Return the values of the effects for the result file, {method+change: {metric: value}}."""
    return {
        method + ("" if name == UNCHANGED else "+" + name.replace(":", "").replace(" ", "-")): {
            "mae": float(effect.errors.mean()),
            MAX_F: effect.max_f,
        }
        for name, effect in effects.items()
    }
