"""Render the page "What the collection found" from result files and from the paper's tables.

`tools.render_readme` writes it. A finding is a sentence and a check that the results still show it: where they do not,
nothing is written, and the error names the sentence to rewrite.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from defusion_lib import metrics
from defusion_lib.baselines.deep import MINUTES
from defusion_lib.data import bundled
from defusion_lib.evaluation.auc_axes import lowest_auc
from defusion_lib.evaluation.bootstrap import holm
from defusion_lib.evaluation.map_scores import of_histogram
from defusion_lib.evaluation.protocols import auc_from_paper_axis, auc_paper_ceiling
from defusion_lib.evaluation.statistics import (
    PairedContrast,
    detectable_difference,
    normal_contrast,
    paired_contrast,
    residual_spread,
)
from defusion_lib.evaluation.tables import MEASURES
from defusion_lib.experiments import controlled_images, kept, stress
from defusion_lib.experiments.ablations import BORDER, METRICS
from defusion_lib.experiments.table_1 import planned_iterations
from defusion_lib.paper import beside, claims, conversion
from defusion_lib.paper.tables import IN_FOCUS, SETTINGS, TABLE_1, TABLE_2, TABLE_3
from defusion_lib.training import RECIPES
from tools.render_card import HELD_OUT
from tools.render_results import classical_methods, find, not_attempted, photos, result, rows_of, signed, stated

SHI, OURS = "shi-dutlab100", "defusionnet-compact"
LAST = "shi-last100"
UNFITTED = ("ss", "lbp", "hifst")  # classical methods that are not fitted to any photo
LEVEL = 0.05  # of a p-value, corrected for the number of comparisons of its table
# Rows of notebook 08 that were trained with several seeds: (name in result files, name in the paper's tables, words).
ROWS = (
    ("nocam+nofam", "cvpr19", "without CAM and FAM"),
    ("noffrm", "defusionnet+noffrm", "without FFRM"),
    ("step1", "defusionnet+step1", "one step instead of three"),
    ("step2", "defusionnet+step2", "two steps instead of three"),
)
# The sign of a difference for the better.
BETTER = {"mae": -1, "max-f-blur": 1, "max-f-focus": 1, "auc": 1}
NEAR_BORDERS = "MAE near borders"
SHORT = {"mae": "MAE", "max-f-focus": "max F", "auc-paper-focus": "AUC, paper's axis"}
DISTURBANCES = {
    **{f"noise-{level}": f"noise of {level} levels" for level in stress.NOISE},
    **{f"jpeg-{quality}": f"JPEG of quality {quality}" for quality in stress.QUALITIES},
    "half-size": "photo of half the size",
    "double-size": "photo of twice the size",
}
# Changes of notebook 09 and what each is compared with: the network as trained, or as many random channels.
CHANGES = {
    "average weight of each channel": "as trained",
    "same weight for all channels": "as trained",
    **{
        f"{count} off: {choice}": f"{count} off: random"
        for count in (8, 24)
        for choice in ("highest weights", "lowest weights", "largest contributions")
    },
}
CAMS = [f"the {group} module of step {step}" for step in (1, 2, 3) for group in ("shallow", "deep")]
SOURCES = {
    "05a": "cpu/05a_protocols",
    "05b": "cpu/05b_what_auc_means",
    "05c": "cpu/05c_table_1_converted",
    "01": "cpu/01_data",
    "07": "cpu/07_table_1",
    "08": "cpu/08_ablations",
    "09": "cpu/09_channel_attention",
    "szu": "cpu-szu/07b_other_photos",
    "last100": "cpu-last100/07b_other_photos",
}

PAGE = """# What the collection found

Each finding is one sentence, its numbers, where they come from, and what would change it.
`python -m tools.render_readme` writes this page from result files, and fails where they no longer show a sentence.

± is the standard error over the photos, brackets hold a 95 % interval, in findings 6 and 7 over the seeds. The ± of a
share of verdicts is that of Agresti and Coull, which is not 0 where the share is 0 or 1. Where several differences are
compared, p is corrected for their number (Holm), and a difference is larger than chance where p is below 0.05; *not
shown* does not mean that there is none. Shi's test photos are the 100 of the list dutlab100. F is the highest
F-measure over all thresholds.

{chapters}
"""


class Finding(NamedTuple):
    """A sentence, whether the results show it, its numbers, links to their sources, and what would change it."""

    sentence: str
    holds: bool
    numbers: str
    sources: Sequence[str]
    change: str


def interval_of_mean(of_image: Mapping[str, float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over images, by Student's t, which allows for few photos or scenes."""
    error, count = controlled_images.standard_error(of_image)
    return stats.t.interval(0.95, count - 1, np.mean(list(of_image.values())), error)


def seeds(content: dict, row: str, metric: str) -> list[float]:
    """Return a metric of a row of notebook 08, one value per seed; the row "" is the full network."""
    stride = content["stamp"]["parameters"]["fusion_stride"]
    parts = "+".join([OURS, *filter(None, [row, f"stride{stride}" * (stride > 1)])])
    return [value for key, value in content["values"].items() if key.startswith(f"{SHI}/{parts}/{metric}@seed")]


def ablation(content: dict, row: str, metric: str) -> PairedContrast:
    """Return a row of notebook 08 minus the full network, seed by seed, as notebook 08 compares them."""
    return paired_contrast(seeds(content, row, metric), seeds(content, "", metric), *seed_spread(content, metric))


def seed_spread(content: dict, metric: str) -> tuple[float, int]:
    """Return the spread over seeds that neither row nor seed explains, and its degrees of freedom."""
    _, *others = content["stamp"]["parameters"]["rows"]
    return residual_spread([seeds(content, row, metric) for row in ("", *others)])


def first_weights(given: Mapping) -> str:
    """Return in words which weights the rows of notebook 08 began with, and which of them were not trained."""
    source = "ImageNet's weights" if "imagenet" in given["backbone"] else f"the weights of {given['backbone']}"
    return f"VGG-16 with {source} at first, {RECIPES[given['recipe']].frozen_blocks} of its 5 blocks fixed"


def attention_change(figures: Path, change: str, reference: str) -> PairedContrast:
    """Return how a change of the CAMs' weights changes the MAE, from the arrays of notebook 09, photo by photo."""
    with np.load(figures / "attention_effects.npz") as arrays:
        errors = dict(zip(arrays["names"].tolist(), arrays["errors"].astype(float)))
    apart = errors[change] - errors[reference]
    return normal_contrast(apart.mean(), apart.std(ddof=1) / np.sqrt(len(apart)))


def inactive_cams(figures: Path) -> list[str]:
    """Return the CAMs without an active unit, from the arrays of notebook 09."""
    with np.load(figures / "attention_branches.npz") as arrays:
        active = (arrays["gap"] > 0).any(axis=1) | (arrays["gmp"] > 0).any(axis=1)
    return [name for name, each in zip(CAMS, active, strict=True) if not each]


def compared(rows: Mapping[str, PairedContrast], what: str, digits: int = 3) -> str:
    """Format a table of differences with their intervals and their p-values, corrected for the number of rows."""
    corrected = holm([row.p for row in rows.values()])
    lines = [
        [
            name,
            signed(row.difference, digits),
            f"[{signed(row.low, digits)}, {signed(row.high, digits)}]",
            "< 0.001" if p < 0.001 else f"{p:.3f}",
            "yes" if p < LEVEL else "not shown",
        ]
        for (name, row), p in zip(rows.items(), corrected)
    ]
    return rows_of([what, "difference", "95 % interval", f"p, corrected for {len(rows)}", "larger than chance"], lines)


def all_shown(rows: Mapping[str, PairedContrast]) -> np.ndarray:
    """Return for each difference whether it is shown after the correction, bool of their length."""
    return holm([row.p for row in rows.values()]) < LEVEL


def shown_lower(rows: Mapping[str, PairedContrast]) -> list[bool]:
    """Return for each difference whether it is below zero and shown after the correction."""
    return [bool(each) and row.difference < 0 for each, row in zip(all_shown(rows), rows.values())]


def paired_rows(dataset: str, found: Mapping[str, stress.Found], other: str) -> dict[str, PairedContrast]:
    """Compare two methods on the same photos, first minus second, {what each has: difference}, as in `BETTER`.

    `found` are the scores of each photo of both, by their names; `other` is the second one in words.
    """
    frame = stress.differences(*found.values())
    values = {method: {"values": stress.results(scores, method)} for method, scores in found.items()}
    rows = {}
    for metric in BETTER:
        first, second = (stated(content, dataset, metric, method) for method, content in values.items())
        words = f"{MEASURES[metric].rstrip(' ↑↓')}: {first}, {other} {second}"
        rows[words] = normal_contrast(*frame.loc[f"{dataset}/{metric}"].tolist())
    return rows


def shown_as(rows: Mapping[str, PairedContrast]) -> list[str]:
    """Return what is shown of the `paired_rows` of some data sets, corrected: better, worse, or nothing."""
    return [
        "" if not each else "better" if row.difference * sign > 0 else "worse"
        for each, row, sign in zip(all_shown(rows), rows.values(), cycle(BETTER.values()))
    ]


def is_shipped(content: dict, outputs: Path) -> bool:
    """Return whether the network in the package made a result file."""
    shipped = result(outputs, "box/stress_shi")["stamp"]["weights_sha256"]
    noted = content["stamp"].get("weights_sha256")
    return shipped in (noted.values() if isinstance(noted, dict) else [noted])


def network_words(content: dict, outputs: Path) -> str:
    """Return which network made a result file, in words."""
    return (
        "the network in the package" if is_shipped(content, outputs) else "the network that was in the package before"
    )


def executed_copy(content: dict, outputs: Path) -> Path | None:
    """Return the executed notebook that a result file is from; None where it is not stored."""
    path = outputs / content["stamp"]["profile"] / f"{content['stamp']['notebook']}.ipynb"
    return path if path.is_file() else None


# ---------------------------------------------------------------------------------------- the paper's numbers


def auc_axis(outputs: Path) -> Finding:
    share = conversion.blurred_shares()["DUT"]
    f, printed = TABLE_1["dut", "f", "defusionnet"], TABLE_1["dut", "auc", "defusionnet"]
    at_least, ceiling = lowest_auc(f, share), auc_paper_ceiling(share)
    read_as = conversion.convert()["dut", "defusionnet"]
    protocols, axis = (result(outputs, f"cpu/{name}") for name in ("05a_protocols", "05b_what_auc_means"))
    ordinary, on_axis = (
        stated(protocols, "shi-maps61", "auc", "hifst"),
        stated(axis, "shi-maps61", "auc-paper-blur", "hifst"),
    )
    return Finding(
        "The paper's AUC is probably the area under a curve on which even a perfect map stays far below 1",
        printed < at_least and printed <= ceiling,
        f"DeFusionNet on DUT is printed with F {f} and AUC {printed}, but a ROC curve with that F has an ordinary AUC "
        f"of at least {at_least:.3f}. With the share of *all* pixels on the x axis, instead of the in-focus ones, a "
        f"perfect map of DUT has {ceiling:.3f}, and {printed} means an ordinary AUC of {read_as.auc:.3f} "
        f"({read_as.low:.2f} to "
        f"{read_as.high:.2f} if the blurred share of {share:.3f}, which is inferred, is wrong by 0.02). HiFST's "
        f"published maps of {photos(protocols, 'shi-maps61')} of Shi's photos, few of them test photos, have an "
        f"ordinary AUC of {ordinary}, and {on_axis} on that axis; Table 1 prints {TABLE_1['shi', 'auc', 'hifst']} for "
        "the test photos.",
        ("05b", "05a"),
        "The authors' evaluation program. It was not published, so this is inferred: of the formulas that were "
        "tried, only this one fits the order, the chance level and the highest values of all columns.",
    )


def classes(outputs: Path) -> Finding:
    shares = conversion.blurred_shares()
    highest = max(auc_paper_ceiling(shares[f"CUHK {split}"]) for split in conversion.SPLITS)
    last = [TABLE_1["shi", "auc", method] for method in IN_FOCUS]
    printed = TABLE_1["shi", "auc", "hifst"]
    other = auc_from_paper_axis(printed, 1 - shares["CUHK last100"])
    protocols = result(outputs, "cpu/05a_protocols")
    measured, in_words = protocols["values"]["shi-maps61/hifst/auc"], stated(protocols, "shi-maps61", "auc", "hifst")
    return Finding(
        "On Shi's photos, Table 1 probably counts blurred pixels as positive for nine methods and in-focus ones for "
        "the last three",
        min(last) > highest and other < measured - 0.1,
        f"With blur as positive a perfect map has at most {highest:.3f}, but BTBNet, CVPR19 and DeFusionNet are "
        f"printed with {min(last)} to {max(last)}. With in-focus as positive, HiFST's {printed} would be an ordinary "
        f"AUC of {other:.2f}, but its published maps of photos of the set have {in_words}. If that is so, "
        f"DeFusionNet's F of {TABLE_1['shi', 'f', 'defusionnet']} and DMENet's {TABLE_1['shi', 'f', 'dmenet']} beside "
        "it cannot be compared.",
        ("05c", "05a"),
        "Another meaning of the AUC column: this follows from the first finding.",
    )


def splits(outputs: Path) -> Finding:
    shares = conversion.blurred_shares()
    paper, field = (auc_paper_ceiling(1 - shares[f"CUHK {split}"]) for split in conversion.SPLITS)
    best = max(value for (dataset, metric, _), value in TABLE_3.items() if (dataset, metric) == ("shi", "auc"))
    common = result(outputs, "cpu/01_data")["values"][f"{SHI}/last100/shared-test-photographs"]
    both = beside.both_splits(claims.load(), claims.load_results()).values()
    fits = {
        column: sum(abs(row[column]) <= row["tolerance"] for row in both) for column in ("difference", "its difference")
    }
    nearer = sum(abs(row["its difference"]) < abs(row["difference"]) for row in both)
    return Finding(
        "The last three rows of Table 1 on Shi's photos probably do not come from the list of test photos that the "
        "paper's text states",
        paper < best <= field,
        f"With in-focus as positive, a perfect map has {paper:.3f} on the list of the paper's text (last100) and "
        f"{field:.3f} on dutlab100; Table 3 prints up to {best}, which fits the second list only, by "
        f"{best - paper:.3f}. For the nine other methods both lists stay possible: of {len(both)} numbers of the "
        f"classical ones, {fits['difference']} are reproduced on the first list and {fits['its difference']} on the "
        f"second; {nearer} are nearer to ours on the second. The two lists share {common:.0f} photos.",
        ("05c", "07", "last100", "01"),
        "The authors' list of test photos. The margin is small, so this is the weakest of the three inferences.",
    )


def tested(outputs: Path) -> Finding:
    rows = claims.tally_rows(claims.load())
    every, table = rows["all"], [row for name, row in rows.items() if name.startswith("Table")]
    reproduced, cells = (sum(row[name] for row in table) for name in ("reproduced", "number"))
    return Finding(
        "Most numbers of the paper could not be tested, and of its tables almost nothing is reproduced",
        every["needs data"] + every["needs a GPU"] > every["number"] / 2 and reproduced < cells / 20,
        f"Of {every['number']} numbers and figures, {every['reproduced']} are reproduced, {every['differs']} differ, "
        f"{every['needs data']} need photos that could not be obtained, and {every['needs a GPU']} a GPU, mostly for a "
        f"training{not_attempted(every)}. "
        f"Reproduced cells of the tables: {reproduced} of {cells}. What else is reproduced are counts and settings.",
        ("[claims.yaml](../defusion_lib/paper/claims.yaml), [notebook 06](../notebooks/06_claims.ipynb)",),
        "The photos of DUT and CTCUG, and a training with `params/paper` on a GPU.",
    )


# ------------------------------------------------------------------------------------------------ CAM and FAM


def same_budget(outputs: Path) -> Finding:
    shi, szu = (result(outputs, SOURCES[name]) for name in ("07", "szu"))
    ours, before = f"{OURS}+budget", "cvpr19-compact"
    rows = {}
    for content, dataset, words in ((shi, SHI, "Shi"), (szu, "szu", "SZU-BD")):
        stem, profile = (content["stamp"][key] for key in ("notebook", "profile"))
        folder = outputs / f"{profile}/results/{stem}"
        found = {method: kept_scores(folder / f"{method}@{dataset}.npz", dataset) for method in (ours, before)}
        rows |= {f"{words}, {name}": row for name, row in paired_rows(dataset, found, "CVPR 2019").items()}
    shown = shown_as(rows)
    cards = [kept.read(outputs / f"cpu/results/07_table_1/{name}.npz")["card"] for name in ("defusionnet", "cvpr19")]
    done, done_before = (len(card["loss"]) for card in cards)
    lowest, lowest_before = (card["held_out"][card["kept"]][0] for card in cards)
    (small, pixels, _), (_, larger, _) = cards[1]["recipe"]["stages"]
    return Finding(
        "In one training each at the same budget, DeFusionNet has a lower error than its predecessor without CAM and "
        "FAM on Shi's test photos; on photos of another data set no difference is shown",
        "better" in shown[: len(BETTER)]
        and set(shown[len(BETTER) :]) == {""}
        and [done, done_before] == [planned_iterations(card) for card in cards]
        and lowest_before <= small < done == lowest,
        f"Both were trained for {MINUTES} minutes of a core of the processor on which the budget was measured: "
        f"DeFusionNet for {done} iterations, the faster network of CVPR 2019 for {done_before:,}. The latter's loss on "
        f"held-out photos was lowest after iteration {lowest_before}, whose weights it keeps; larger images ({larger} "
        f"pixels after iteration {small}, {pixels} until then) did not lower it. DeFusionNet's was lowest at its end. "
        f"DeFusionNet minus CVPR 2019, photo by photo, on {photos(shi, SHI)} test photos of Shi's set and "
        f"{photos(szu, 'szu')} of SZU-BD:\n\n"
        + compared(rows, "measure", 4)
        + "\n\nThese intervals are over the photos. How far two trainings of one network differ is not in them.",
        ("07", "szu"),
        "More seeds and equal numbers of samples: in finding 6, which has both, no such difference is shown.",
    )


def kept_scores(path: Path, dataset: str) -> stress.Found:
    """Return the scores of a trained network photo by photo, from the file with what is kept of its maps."""
    counts = kept.read(path)["counts"].astype(np.int64)
    scores = {
        "mae": [of_histogram(each).of_image["mae"] for each in counts],
        "auc": [metrics.auc(each[None]) for each in counts],
        "counts": counts,
    }
    names = [f"{i}" for i in range(len(counts))]
    return {f"{dataset}/{metric}": dict(zip(names, of_photos)) for metric, of_photos in scores.items()}


def auc_of(content: dict, method: str, dataset: str = SHI) -> str:
    """Format the AUC of a method, with its bootstrap standard error where that was stored."""
    auc, error = auc_and_error(content, dataset, method)
    return f"{auc:.3f}" + ("" if error is None else f" ± {error:.3f}")


def auc_and_error(content: dict, dataset: str, method: str) -> tuple[float, float | None]:
    """Return the AUC of a method in a result file, and its standard error, None where that was not stored."""
    values, key = content["values"], find(content, dataset, "auc", method)
    return values[key], values.get(f"{key}-std", values.get(f"{key}-se"))


def ablations(outputs: Path) -> Finding:
    content = result(outputs, "cpu/08_ablations")
    given, of_paper = content["stamp"]["parameters"], TABLE_2 | TABLE_3
    rows, outside, harms = {}, 0, []
    for row, in_paper, words in trained_rows(content):
        for name, metric in METRICS.items():
            paper = of_paper["shi", metric.paper, in_paper] - of_paper["shi", metric.paper, "defusionnet"]
            found = ablation(content, row, name)
            rows[f"{words}: {SHORT[name]} (paper {signed(paper)})"] = found
            outside += not found.low <= paper <= found.high
            harms.append(found.difference * metric.sign < 0)
    compared_with_paper = len(rows)
    for row, _, words in trained_rows(content):
        rows[f"{words}: {NEAR_BORDERS}"] = found = ablation(content, row, BORDER)
        harms.append(found.difference > 0)
    shown = {
        name.partition(" (")[0].replace(": ", " in "): worse
        for name, each, worse in zip(rows, all_shown(rows), harms)
        if each
    }
    opposite = [name for name, worse in shown.items() if not worse]
    return Finding(
        "Small networks with a short training do not show that CAM and FAM or FFRM help; three steps are shown to help "
        "near the borders of masks only",
        [name for name, worse in shown.items() if worse] == [f"one step instead of three in {NEAR_BORDERS}"],
        f"Budget: {samples(content):,} samples at {given['size']} pixels, {first_weights(given)}, "
        f"{len(given['seeds'])} seeds per row. The full network has an MAE of "
        f"{np.mean(seeds(content, '', 'mae')):.3f} at that budget, the network in the package "
        f"{stated(result(outputs, 'box/stress_shi'), SHI, 'mae')}: these scores say nothing about a fully "
        "trained network. "
        + (f"A better score than that of the full network is shown for {'; '.join(opposite)}. " if opposite else "")
        + f"Of the paper's {compared_with_paper} differences {outside} lie outside our intervals: there, at this "
        "budget and on the list dutlab100, no effect is as large as the paper's. "
        "The intervals are over seeds; other photos are not in them. (The paper's text states another list.) Near "
        "borders are the pixels within 5 pixels of a mask's border, for which the paper has no numbers.\n\n"
        + compared(rows, "minus the full network", 4),
        ("08",),
        "A longer training, larger photos, more seeds.",
    )


def undecided(outputs: Path) -> Finding:
    content = result(outputs, "cpu/08_ablations")
    size, count = content["stamp"]["parameters"]["size"], len(trained_rows(content)) * len(METRICS)
    given = len(content["stamp"]["parameters"]["seeds"])
    spread, _ = seed_spread(content, "mae")
    others = len(content["stamp"]["parameters"]["rows"]) - 1
    fam = abs(TABLE_2["shi", "mae", "defusionnet+nofam"] - TABLE_2["shi", "mae", "defusionnet"])
    needed = next(n for n in range(2, 1000) if detectable_difference(spread, n, others * (n - 1), LEVEL / count) <= fam)
    paper = SETTINGS["iterations"].value * SETTINGS["batch"].value
    return Finding(
        "Whether CAM and FAM help in a full training cannot be decided from these results",
        samples(content) < paper / 2,
        f"The paper trains on {paper:,.0f} samples (at {SETTINGS['test-size'].value} pixels in our reading), the rows "
        f"above on {samples(content):,} at {size}. FAM's difference of {fam:.3f} in MAE would be found with a "
        f"probability of 0.8 with {needed} seeds per row, if the rows of one seed differ as here (standard "
        f"deviation {spread:.4f}) and {count} differences are compared; the paper prints one number per row, "
        "without a spread.",
        ("08",),
        "`make run PROFILE=paper` on a GPU, which trains three seeds of each row"
        + (f"; add seeds up to {needed}." if needed > given else "."),
    )


def trained_rows(content: dict) -> list[tuple[str, str, str]]:
    """Return the `ROWS` that a result file of notebook 08 has."""
    return [row for row in ROWS if row[0] in content["stamp"]["parameters"]["rows"]]


def samples(content: dict) -> int:
    """Return how many samples a row of notebook 08 was trained on."""
    return sum(iterations * batch for iterations, _, batch in content["stamp"]["parameters"]["stages"])


# ------------------------------------------------------------------------------------------ channel attention


def dead_cams(outputs: Path) -> Finding:
    content, dead = result(outputs, "cpu/09_channel_attention"), inactive_cams(outputs / "cpu/figures")
    count, size = photos(content, SHI), content["stamp"]["parameters"]["size"]
    other = "" if is_shipped(content, outputs) else " The network in the package was not measured on these photos."
    return Finding(
        f"In a trained network, {len(dead) or 'none'} of {len(CAMS)} attention modules "
        f"{'is' if len(dead) < 2 else 'are'} dead: a dead one gives every channel the weight 0.5 for every photo",
        True,
        (
            f"No unit of the bottleneck is above zero for any of {count} test photos in: {', '.join(dead)}. "
            if dead
            else ""
        )
        + f"Of the channels before the modules a share of {stated(content, SHI, 'channels-always-zero-share')} is zero "
        f"everywhere in all {count} photos, at {size} pixels. Measured on {network_words(content, outputs)}: one "
        "training, so there is no interval.",
        ("09",),
        f"Another training: which units are dead depends on the initial weights.{other}",
    )


def constant_weights(outputs: Path) -> Finding:
    content, figures = result(outputs, "cpu/09_channel_attention"), outputs / "cpu/figures"
    rows = {change: attention_change(figures, change, reference) for change, reference in CHANGES.items()}
    shown = dict(zip(rows, all_shown(rows)))
    average, same = (rows[change] for change, reference in CHANGES.items() if reference == "as trained")
    signs = {
        change: row.difference * (1 if "highest" in change else -1)
        for change, row in rows.items()
        if change.endswith(("highest weights", "lowest weights"))
    }
    agree, contradict = (
        sum(bool(shown[change]) and sign * value > 0 for change, value in signs.items()) for sign in (1, -1)
    )
    scores = {
        metric: [stated(content, SHI, metric, f"{OURS}{suffix}") for suffix in ("", "+same-weight-for-all-channels")]
        for metric in ("mae", "max-f-focus")
    }
    draws = content["stamp"]["parameters"]["draws"]
    named = {f"{change}, minus {CHANGES[change].rpartition(': ')[2]}": row for change, row in rows.items()}
    return Finding(
        "Channel weights that do not adapt to the photo are not shown to raise the mean absolute error; equal weights "
        "for all channels raise it",
        not (shown["average weight of each channel"] and average.difference > 0)
        and bool(shown["same weight for all channels"])
        and same.difference > 0,
        "The average weight of each channel over all photos replaces its weights, or one weight replaces those of all "
        f"channels. With equal weights the MAE of {photos(content, SHI)} test photos goes from {scores['mae'][0]} to "
        f"{scores['mae'][1]}, and F from {scores['max-f-focus'][0]} to {scores['max-f-focus'][1]}, at "
        f"{content['stamp']['parameters']['size']} pixels. The averages are over the same photos. By the "
        "paper's claim it costs more to set the channels with the highest weights to zero than random ones, and less "
        f"for the lowest: {agree} of {len(signs)} comparisons show this, {contradict or 'none'} the opposite. The "
        f"random ones were drawn {'once' if draws == 1 else f'{draws} times'}: how far two draws differ is not in "
        "these intervals. Differences of the MAE, photo by photo, of "
        f"{network_words(content, outputs)}:\n\n{compared(named, 'change', 4)}",
        ("09",),
        "A network that is trained without attention (its other layers would adapt), another training, more draws.",
    )


# ---------------------------------------------------------------------------------------- where it fails


def sharp_photos(outputs: Path) -> Finding:
    shi, found = result(outputs, "box/stress_shi"), stress.read(outputs / "box/results/stress_shi.npz")
    squares, each = found[f"{SHI}/blurred-share-sharp-square"], found["sharp/blurred-share"]
    in_focus = {name: share for name, (share, _) in called_blurred(found).items() if np.isfinite(share)}
    low, high = interval_of_mean(in_focus)
    of_squares = interval_of_mean(squares)
    worst = max(each, key=each.get)
    return Finding(
        "The detector calls some sharp parts of photos blurred",
        low > 0 and of_squares[0] > 0,
        f"Of the pixels in focus of Shi's test photos it calls {np.mean(list(in_focus.values())):.3f} blurred, "
        f"interval [{low:.2f}, {high:.2f}]. Of {len(squares)} squares of these photos that are sharp throughout, cut "
        f"out and seen alone, it calls {stated(shi, SHI, 'blurred-share-sharp-square')} blurred, interval "
        f"[{of_squares[0]:.2f}, {of_squares[1]:.2f}]; most were enlarged for the network, which softens them. Of "
        f"{len(each)} other photos that are sharp throughout it calls {stated(shi, 'sharp', 'blurred-share')} blurred; "
        f"the worst is {worst} with {each[worst]:.2f}. Smooth areas, such as a clear sky, look the same sharp and "
        f"blurred: where these photos have texture it is {stated(shi, 'sharp', 'blurred-share-textured')}.",
        ("[stress_shi.json](box/results/stress_shi.json), [notebook 11](../notebooks/11_where_it_fails.ipynb)",),
        f"More sharp photos, of more kinds: {len(each)} are few, and they come with scikit-image and scikit-learn.",
    )


def called_blurred(found: stress.Found) -> dict[str, tuple[float, float]]:
    """Return the shares of Shi's photos that are called blurred: of the pixels in focus, and of all pixels."""
    shares = {}
    for name, counts in found[f"{SHI}/counts"].items():
        called = counts[:, 128:].sum(-1)
        with np.errstate(invalid="ignore"):
            shares[name] = (called[0] / counts[0].sum(), called.sum() / counts.sum())
    return shares


def slight_blur(outputs: Path) -> Finding:
    shi, verdict = (result(outputs, f"box/{name}") for name in ("stress_shi", "verdict"))
    found = stress.read(outputs / "box/results/stress_shi.npz")
    plain = {name: share for name, (_, share) in called_blurred(found).items()}
    shares = {radius: stated(shi, SHI, f"blurred-share-disc-{radius}") for radius in stress.DISCS}
    first, fourth = (found[f"{SHI}/blurred-share-disc-{radius}"] for radius in (1, 4))
    low, high = interval_of_mean({name: share - plain[name] for name, share in first.items()})
    of_radius = {radius: stated(verdict, "embedded-blurred", f"out-of-focus-radius-{radius}") for radius in (2, 3)}
    embedded = sum(focus == bundled.ALL_SHARP for _, focus in bundled.EMBEDDED.values())
    return Finding(
        "A blur with a radius of one pixel, at the size that the network sees, hardly changes the maps of Shi's "
        "photos; one of four pixels is found in nearly all of them",
        max(abs(low), abs(high)) < 0.05 and np.mean(list(fourth.values())) > 0.95,
        f"Shi's {photos(shi, SHI)} photos, blurred everywhere by a disc of more than one pixel, should be called "
        "blurred everywhere. Of the "
        f"plain photos a share of {np.mean(list(plain.values())):.3f} is called blurred; a radius of 1 changes it by "
        f"[{signed(low)}, {signed(high)}]. The share called blurred is "
        + ", ".join(f"{share} at a radius of {radius}" for radius, share in shares.items())
        + f'. The verdict "out of focus" of `defusion map` is given to {of_radius[2]} of {embedded} other sharp photos '
        f"that were blurred by a radius of 2, and to {of_radius[3]} at 3. It is given to "
        f"{stated(verdict, f'{SHI}-blurred', 'out-of-focus')} of Shi's photos at a radius of 4, and wrongly to "
        f"{stated(verdict, SHI, 'out-of-focus')} of the plain ones.",
        (
            "[stress_shi.json](box/results/stress_shi.json), [verdict.json](box/results/verdict.json), "
            "[notebook 11](../notebooks/11_where_it_fails.ipynb), [notebook 13](../notebooks/13_own_photographs.ipynb)",
        ),
        f"A larger input than {shi['stamp']['size']} pixels: one pixel there is more than ten of a photo with 12 "
        "megapixels. And photos of other kinds: of the sharp photos in notebook 11 some are called blurred at a radius "
        "of one, and two textures are called sharp at a radius of four.",
    )


def disturbances(outputs: Path) -> Finding:
    shi, found = result(outputs, "box/stress_shi"), stress.read(outputs / "box/results/stress_shi.npz")
    plain = np.array(list(found[f"{SHI}/mae"].values()))
    rows = {}
    for kind, words in DISTURBANCES.items():
        apart = np.array(list(found[f"{SHI}/mae-{kind}"].values())) - plain
        rows[f"{words}: {stated(shi, SHI, f'mae-{kind}')}"] = normal_contrast(apart.mean(), stats.sem(apart))
    unshown = [kind for kind, each in zip(DISTURBANCES, all_shown(rows)) if not each]
    return Finding(
        "On Shi's photos noise, JPEG of quality 50 or less, and other sizes of the photo raise the error, each by less "
        "than a third",
        unshown == ["jpeg-90", "jpeg-70"] and all(0 <= row.difference < stress_mae(shi) / 3 for row in rows.values()),
        f"The MAE of Shi's {photos(shi, SHI)} test photos is {stated(shi, SHI, 'mae')}. With the same photos disturbed:"
        f"\n\n{compared(rows, 'MAE', 4)}",
        ("[stress_shi.json](box/results/stress_shi.json), [notebook 11](../notebooks/11_where_it_fails.ipynb)",),
        "Other disturbances than those of the training: noise, JPEG and other sizes were among its random steps. And "
        "other photos: on the half-and-half images of notebook 11 strong compression costs more.",
    )


def stress_mae(content: dict) -> float:
    """Return the MAE of Shi's plain test photos in a result file of the stress suite."""
    return content["values"][find(content, SHI, "mae", OURS)]


def known_blur(outputs: Path) -> Finding:
    shi, found = result(outputs, "box/stress_shi"), stress.read(outputs / "box/results/stress_shi.npz")
    keys = {
        "one half of the photo blurred, then the other": ("half-and-half", "mae"),
        "the same with noise of 20 levels": ("half-and-half", "mae-noise-20"),
        **{
            f"rendered: {key.removeprefix('rendered/mae-').replace('-', ' ')}": (
                "rendered",
                key.removeprefix("rendered/"),
            )
            for key in found
            if key.startswith("rendered/mae-")
        },
    }
    lines = []
    for words, (dataset, metric) in keys.items():
        of_image = found[f"{dataset}/{metric}"]
        low, high = interval_of_mean(of_image)
        _, independent = controlled_images.standard_error(of_image)
        number = f"{len(of_image)} of {independent}" if len(of_image) > independent else f"{independent}"
        lines.append([words, number, stated(shi, dataset, metric), f"[{low:.2f}, {high:.2f}]"])
    kinds = {
        key: [np.mean(errors) for errors in controlled_images.by_origin(of_image)]
        for key, of_image in found.items()
        if key.startswith("rendered/mae-")
    }
    p = float(stats.kruskal(*kinds.values()).pvalue)
    easy, hard = kinds["rendered/mae-same-class"], kinds["rendered/mae-background-in-focus"]
    return Finding(
        "The error depends on the kind of image: it is small in rendered scenes of one kind of object, and several "
        "times as large with a sharp background",
        p < LEVEL and np.mean(hard) > 3 * np.mean(easy) and np.mean(easy) < stress_mae(shi) < np.mean(hard),
        f"The MAE on Shi's photos is {stated(shi, SHI, 'mae')}. In these images the blur of every pixel is known. The "
        f"{len(kinds)} kinds of rendered scenes differ (Kruskal-Wallis test, p = {p:.1g}).\n\n"
        + rows_of(["images", "number", "MAE", "95 % interval"], lines)
        + "\n\n*10 of 5*: ten images of five scenes, which count as five.",
        ("[stress_shi.json](box/results/stress_shi.json), [notebook 11](../notebooks/11_where_it_fails.ipynb)",),
        "More images: the intervals of five to ten scenes are wide, and which kind is worst is not certain.",
    )


def other_set(outputs: Path) -> Finding:
    folder = outputs / "box/results"
    szu = result(outputs, "box/stress_szu")
    files = {OURS: "stress_szu", "efpn": "stress_szu-efpn"}
    found = {method: stress.read(folder / f"{name}.npz") for method, name in files.items()}
    rows = paired_rows("szu", found, "EFPN")
    return Finding(
        "On photos of another data set the detector finds blur as well as the published maps of EFPN (2019), or better",
        "worse" not in shown_as(rows),
        f"{photos(szu, 'szu')} photos of SZU-BD (those of its available half that are not Shi's), which no "
        "training used. Part 3 of this network's training was added when the test scores after part 2 were known (see "
        "its card). This network minus EFPN, photo by photo:\n\n" + compared(rows, "measure"),
        (
            "[stress_szu.json](box/results/stress_szu.json), "
            "[the card of the network](../defusion_lib/shipped/README.md)",
        ),
        "Newer methods than EFPN, and photos of other kinds. An MAE that differs by less than the interval stays open.",
    )


def carried_over(outputs: Path) -> Finding:
    szu, shi, last = (result(outputs, SOURCES[name]) for name in ("szu", "07", "last100"))
    methods = [method for method in classical_methods(szu, "szu") if method in classical_methods(shi, SHI)]
    rows = {
        dataset: {
            f"{method}: {auc_of(szu, method, 'szu')}, on {words} {auc_of(content, method, dataset)}": auc_change(
                (szu, "szu"), (content, dataset), method
            )
            for method in methods
        }
        for content, dataset, words in ((shi, SHI, "dutlab100"), (last, LAST, "last100"))
    }
    orders = [[auc_and_error(*of, method)[0] for method in methods] for of in ((szu, "szu"), (shi, SHI))]
    tau = stats.kendalltau(*orders).statistic
    return Finding(
        "On photos of another data set every classical method separates blurred from sharp pixels less well than on "
        "dutlab100, Shi's usual test photos; compared with the last 100 of Shi's photos this is shown for none",
        all(shown_lower(rows[SHI])) and not any(shown_lower(rows[LAST])),
        f"AUC on the {photos(szu, 'szu')} photos of SZU-BD minus AUC on two lists of Shi's photos, independent "
        f"samples. The order of the methods is nearly that on dutlab100 (Kendall's tau {tau:.2f}). The network in the "
        f"package has {auc_of(szu, OURS, 'szu')} there, on the same photos as the others.\n\n"
        + "\n\n".join(compared(of, "AUC") for of in rows.values()),
        ("szu", "07", "last100"),
        "Another data set: Shi's photos are larger, and three of the methods were fitted to photos of Shi's set, so "
        "size and fit change together with the set.",
    )


def auc_change(here: tuple[dict, str], there: tuple[dict, str], method: str) -> PairedContrast:
    """Compare the AUC of a method on two independent sets of photos, each (result file, data set)."""
    (auc, error), (other, of_other) = (auc_and_error(*each, method) for each in (here, there))
    return normal_contrast(auc - other, np.hypot(error, of_other))


def easy_list(outputs: Path) -> Finding:
    here, there = result(outputs, "cpu/07_table_1"), result(outputs, "cpu-last100/07b_other_photos")
    held_out, shi = result(outputs, "box/held_out"), result(outputs, "box/stress_shi")
    rows = {
        f"{method}: {auc_of(there, method, LAST)} on last100, {auc_of(here, method)} on dutlab100": auc_change(
            (there, LAST), (here, SHI), method
        )
        for method in UNFITTED
    }
    words = (
        f"network in the package: {auc_of(held_out, OURS, HELD_OUT)} on {photos(held_out, HELD_OUT)} held-out photos, "
        f"{auc_of(shi, OURS)} on dutlab100"
    )
    rows[words] = auc_change((held_out, HELD_OUT), (shi, SHI), OURS)
    return Finding(
        "The list of test photos that most papers use, dutlab100, is easier than other photos of Shi's set",
        all(shown_lower(rows)),
        f"These {len(UNFITTED)} classical methods have nothing to learn, so no photo can be known to them. The network "
        f"learnt from neither list; the held-out photos are every tenth of the training list. Its MAE there is "
        f"{stated(held_out, HELD_OUT, 'mae')}, on dutlab100 {stated(shi, SHI, 'mae')}. AUC minus that on dutlab100:"
        f"\n\n{compared(rows, 'AUC')}\n\ndutlab100 and last100 share 20 photos, which makes these intervals slightly "
        "too wide. A score on dutlab100 overstates how well a detector does on other photos of the same set.",
        ("07", "last100", "[held_out.json](box/results/held_out.json)"),
        "A reason for the choice of these 100 photos: their list has none.",
    )


# ----------------------------------------------------------------------------------------------------- page

CHAPTERS = {
    "What the paper's numbers are": (auc_axis, classes, splits, tested),
    "What CAM and FAM bring": (same_budget, ablations, undecided),
    "Channel attention": (dead_cams, constant_weights),
    "Where the detector fails, and where not": (
        sharp_photos,
        slight_blur,
        disturbances,
        known_blur,
        other_set,
        carried_over,
        easy_list,
    ),
}


def page(outputs: Path) -> str:
    """Render the page from the result files below `outputs`.

    Raises ValueError with the sentence of a finding that the results no longer show.
    """
    chapters, number = [], 0
    for title, makers in CHAPTERS.items():
        chapters.append(f"## {title}")
        for make in makers:
            number += 1
            chapters.append(text(number, make(outputs), outputs))
    return PAGE.format(chapters="\n\n".join(chapters))


def text(number: int, finding: Finding, outputs: Path) -> str:
    """Return a finding as Markdown; raise ValueError where the results do not show it."""
    if not finding.holds:
        raise ValueError(f"The results no longer show finding {number}, rewrite it: {finding.sentence}.")
    sources = ", ".join(_links(outputs, SOURCES[each]) if each in SOURCES else each for each in finding.sources)
    return (
        f"### {number}. {finding.sentence}\n\n{finding.numbers}\n\n"
        f"*From:* {sources}. *What would change it:* {finding.change}"
    )


def _links(outputs: Path, name: str) -> str:
    """Return links to a result file and to the executed notebook that it is from."""
    profile, _, stem = name.partition("/")
    files = [outputs / profile / f"results/{stem}.json", executed_copy(result(outputs, name), outputs)]
    return ", ".join(f"[{path.name}]({path.relative_to(outputs).as_posix()})" for path in files if path is not None)
