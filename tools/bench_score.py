"""Time the scoring of own maps, and PySODMetrics on the measures that both have, side by side in one run.

    python -m tools.bench_score        # a minute or two: outputs/cpu/results/bench_score.json, and a table

The measures of both: the precision-recall curve of maps stretched to [0, 1], max F and mean F of it, F at twice the
mean, MAE, IoU, and weighted F. Both score the same 100 maps of 640 x 427 and 8 bits with one thread, in turns; what
counts is processor seconds, which other programs do not change. A row of one measure times that measure alone, so ours
counts the histograms again in each row; other rows time several in one go. Weighted F needs distances in the image, the
others only histograms. What it needs of a mask alone is computed once for all methods here, and once per map there: the
rows of several methods score as many maps per mask.

Only the measures of histograms together are 20 times faster. Weighted F cannot be with one map per mask: SciPy's exact
distance transform alone, of the part of the image that needs it, takes a tenth of PySODMetrics' time for all of
weighted F.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation import map_scores, own_maps
from defusion_lib.evaluation.protocols import WeightedF
from defusion_lib.experiments.own_row import score_photos

HEIGHT, WIDTH = 427, 640
METHODS = 6  # as in the default table of `defusion score`
HISTOGRAM_PART = ("max-f-inclusive-blur", "mean-f-blur", "f-mean20-blur", "mae", "mae-stretched", "iou-half-blur",
                  "iou-half-pooled-blur")  # fmt: skip
WEIGHTED_PART = "weighted-f-blur"


def example(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a map of 8 bits and a mask (bool) like those of a photo: two regions in focus, and a map that is noisy."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = np.ones((HEIGHT, WIDTH), bool)
    for _ in range(2):
        top, left, radius = rng.uniform((50, 50, 40), (HEIGHT - 50, WIDTH - 50, 140))
        mask &= (y - top) ** 2 + (x - left) ** 2 > radius**2
    noise = gaussian_filter(rng.normal(size=mask.shape), 3)
    defocus = np.clip(gaussian_filter(mask.astype(float), 8) * 0.8 + 0.1 + 0.6 * noise, 0, 1)
    return np.round(255 * defocus).astype(np.uint8), mask


def ours(pairs: list, wanted: Sequence[str] = HISTOGRAM_PART) -> dict[str, float]:
    """Compute measures of both from histograms."""
    measured = [map_scores.Mask(mask, weighted=False).measure(levels) for levels, mask in pairs]
    scores = map_scores.MapScores(measured)
    return {metric: scores.value(metric) for metric in wanted}


def our_weighted(pairs: list, methods: int = 1) -> dict[str, float]:
    """Compute weighted F, each mask prepared once for the maps of several methods (here the same map)."""
    found = []
    for levels, mask in pairs:
        prepared = WeightedF(mask, "blur")
        found.append([prepared.score(levels / 255) for _ in range(methods)][0])
    return {WEIGHTED_PART: float(np.mean(found))}


def all_ours(pairs: list) -> dict[str, float]:
    return ours(pairs) | our_weighted(pairs)


def _best_f(results: dict) -> float:
    precision, recall = results["pr"]["p"], results["pr"]["r"]
    return float(np.nanmax(1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-300)))


# {metric: (PySODMetrics' scorer, how to read its results)}; "of stretched" scorers stretch each map to [0, 1].
READ: dict[str, tuple[str, Callable]] = {
    "max-f-inclusive-blur": ("F of stretched", _best_f),
    "mean-f-blur": ("F of stretched", lambda results: results["fm"]["curve"].mean()),
    "f-mean20-blur": ("F", lambda results: results["fm"]["adp"]),
    "mae": ("MAE", lambda results: results["mae"]),
    "mae-stretched": ("MAE of stretched", lambda results: results["mae"]),
    "iou-half-blur": ("IoU", lambda results: results["mean"]["binary"]),
    "iou-half-pooled-blur": ("IoU", lambda results: results["pooled"]["binary"]),
    WEIGHTED_PART: ("weighted F", lambda results: results["wfm"]),
}


def _their_scorer(name: str):
    import py_sod_metrics as sod

    if name == "IoU":
        at_half = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
        return sod.FmeasureV2(
            {"mean": sod.IOUHandler(**at_half), "pooled": sod.IOUHandler(**at_half, sample_based=False)}
        )
    kinds = {"F": sod.Fmeasure, "MAE": sod.MAE, "weighted F": sod.WeightedFmeasure}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Fmeasure announces its successor
        return kinds[name.removesuffix(" of stretched")]()


def theirs(pairs: list, wanted: Sequence[str] = HISTOGRAM_PART, methods: int = 1) -> dict[str, float]:
    """Compute the same numbers with PySODMetrics, each step for the maps of several methods (here the same map)."""
    scorers = {name: _their_scorer(name) for name in dict.fromkeys(READ[metric][0] for metric in wanted)}
    for levels, mask in pairs:
        for name, scorer in scorers.items():
            for _ in range(methods):
                if "stretched" in name:
                    scorer.step(levels, mask.astype(np.uint8) * 255)
                else:
                    scorer.step(levels / 255, mask, normalize=False)
    results = {name: scorer.get_results() for name, scorer in scorers.items()}
    return {metric: float(READ[metric][1](results[READ[metric][0]])) for metric in wanted}


def rows() -> dict[str, tuple[Callable, Callable]]:
    """Return the rows of the table, {name: (our function, theirs)}: single measures, then several in one go."""
    singles = {metric: (partial(ours, wanted=[metric]), partial(theirs, wanted=[metric])) for metric in HISTOGRAM_PART}
    weighted = partial(theirs, wanted=[WEIGHTED_PART])
    return singles | {
        WEIGHTED_PART: (our_weighted, weighted),
        f"{WEIGHTED_PART}-{METHODS}-methods": (
            partial(our_weighted, methods=METHODS),
            partial(weighted, methods=METHODS),
        ),
        "all-of-histograms": (ours, theirs),
        "all": (all_ours, partial(theirs, wanted=list(READ))),
    }


def seconds(function: Callable, pairs: list, clock: Callable[[], float] = time.process_time) -> tuple[float, dict]:
    begun = clock()
    found = function(pairs)
    return clock() - begun, found


def in_turns(first: Callable, second: Callable, pairs: list, repeats: int) -> tuple[float, float, float]:
    """Return the fewest seconds of either, and the largest difference of their numbers."""
    rounds = [(seconds(first, pairs), seconds(second, pairs)) for _ in range(repeats)]
    one, other = rounds[0][0][1], rounds[0][1][1]
    apart = max(abs(one[metric] - other[metric]) for metric in one)
    return min(a for (a, _), _ in rounds), min(b for _, (b, _) in rounds), apart


def everything(pairs: list, methods: int = 1) -> None:
    """Score under every protocol with intervals, as `defusion score --protocol all` does after it read the maps."""
    photos = PhotoSet("bench", [str(i) for i in range(len(pairs))], lambda stem: _photo(stem, pairs))
    names = [f"method {number}" for number in range(methods)]
    scores = score_photos(photos, names, lambda photo, method: pairs[int(photo.name)][0], True)
    own_maps.compare(scores, photos, own_maps.PROTOCOLS["all"], map_scores.DRAWS)


def _photo(stem: str, pairs: list) -> Photo:
    mask = pairs[int(stem)][1]
    return Photo(stem, np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.float32))


def bench(pairs: list, repeats: int) -> dict[str, float]:
    """Measure all rows and the whole, and return the results, {"maps-640x427/mae/seconds": 0.06, ...}."""
    values: dict[str, float] = {}
    dataset = f"maps-{WIDTH}x{HEIGHT}"
    for name, functions in rows().items():
        here, there, apart = in_turns(*functions, pairs, repeats)
        row = {"seconds": here, "pysodmetrics-seconds": there, "ratio": there / here, "apart": apart}
        values |= {f"{dataset}/{name}/{column}": value for column, value in row.items()}
    for methods in (1, METHODS):
        name = f"{dataset}/all-protocols-and-intervals-{methods}-methods"
        whole = partial(everything, methods=methods)
        values[f"{name}/processor-seconds"] = seconds(whole, pairs)[0]
        values[f"{name}/seconds"] = seconds(whole, pairs, time.perf_counter)[0]
    return values


def table(values: dict[str, float]) -> str:
    lines = [f"{'processor seconds':36}{'ours':>8}{'PySODMetrics':>14}{'ratio':>8}{'apart':>9}"]
    for name in rows():
        here, there, ratio, apart = (
            values[f"maps-{WIDTH}x{HEIGHT}/{name}/{column}"]
            for column in ("seconds", "pysodmetrics-seconds", "ratio", "apart")
        )
        lines.append(f"{name:36}{here:8.2f}{there:14.2f}{ratio:8.1f}{apart:9.0e}")
    for name, value in values.items():
        if "all-protocols" in name:
            lines.append(f"{name.partition('/')[2]:62}{value:6.1f} s")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", type=int, default=100, help="number of maps")
    parser.add_argument("--repeats", type=int, default=2, help="rounds, of which the fastest counts")
    given = parser.parse_args()
    from defusion_lib.runs.run import Run

    parameters = {"profile": "cpu", "seed": 0, "maps": given.maps, "repeats": given.repeats}
    run = Run("bench_score", parameters, parameters)
    run.note(cores=len(os.sched_getaffinity(0)))
    values = bench([example(number) for number in range(given.maps)], given.repeats)
    run.results(values)
    print(table(values))


if __name__ == "__main__":
    main()
