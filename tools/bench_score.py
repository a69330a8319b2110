"""Time the scoring of own maps, and PySODMetrics on the measures that both have, side by side in one run.

    python -m tools.bench_score        # a minute or two, and a table; 100 maps of 640 x 427

The measures of both: the precision-recall curve of maps stretched to [0, 1], max F and mean F of it, F at twice the
mean, MAE, IoU, and weighted F. Both score the same maps of 8 bits with one thread, in turns; what counts is processor
seconds, which other programs do not change. Weighted F is a part of its own: it needs distances in the image, the
others only histograms. What it needs of a mask alone is computed once for all methods here, and once per map there.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation import map_scores, own_maps
from defusion_lib.evaluation.protocols import WeightedF
from defusion_lib.experiments.own_row import DRAWS, score_photos

HEIGHT, WIDTH = 427, 640
METHODS = 6  # as in the default table of `defusion score`
HISTOGRAM_PART = ("max-f-inclusive-blur", "mean-f-blur", "f-mean20-blur", "mae", "mae-stretched", "iou-half-blur",
                  "iou-half-pooled-blur")  # fmt: skip


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


def ours(pairs: list) -> dict[str, float]:
    """Compute the measures of both from histograms, all but weighted F."""
    measured = [map_scores.Mask(mask, weighted=False).measure(levels) for levels, mask in pairs]
    scores = map_scores.MapScores(measured)
    return {metric: scores.value(metric) for metric in HISTOGRAM_PART}


def theirs(pairs: list) -> dict[str, float]:
    """Compute the same numbers with PySODMetrics."""
    import py_sod_metrics as sod

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class announces its successor
        curve, plain = sod.Fmeasure(), sod.Fmeasure()
    at_half = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    iou = {"mean": sod.IOUHandler(**at_half), "pooled": sod.IOUHandler(**at_half, sample_based=False)}
    handlers, wide, mae = sod.FmeasureV2(iou), sod.MAE(), sod.MAE()
    for levels, mask in pairs:
        for scorer in (curve, wide):
            scorer.step(levels, mask.astype(np.uint8) * 255)
        for scorer in (plain, handlers, mae):
            scorer.step(levels / 255, mask, normalize=False)
    found = curve.get_results()
    precision, recall = found["pr"]["p"], found["pr"]["r"]
    pooled = handlers.get_results()
    best = np.nanmax(1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-300))
    numbers = [best, found["fm"]["curve"].mean(), plain.get_results()["fm"]["adp"], mae.get_results()["mae"]]
    numbers += [wide.get_results()["mae"], pooled["mean"]["binary"], pooled["pooled"]["binary"]]
    return dict(zip(HISTOGRAM_PART, map(float, numbers)))


def our_weighted(pairs: list, methods: int = 1) -> dict[str, float]:
    """Compute weighted F, each mask prepared once for the maps of several methods (here the same map)."""
    found = []
    for levels, mask in pairs:
        prepared = WeightedF(mask, "blur")
        found.append([prepared.score(levels / 255) for _ in range(methods)][0])
    return {"weighted-f-blur": float(np.mean(found))}


def their_weighted(pairs: list, methods: int = 1) -> dict[str, float]:
    """Compute weighted F with PySODMetrics."""
    import py_sod_metrics as sod

    scorer = sod.WeightedFmeasure()
    for levels, mask in pairs:
        for _ in range(methods):
            scorer.step(levels / 255, mask, normalize=False)
    return {"weighted-f-blur": float(scorer.get_results()["wfm"])}


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


def everything(pairs: list) -> None:
    """Score under every protocol with intervals, as `defusion score --protocol all` does after it read the maps."""
    photos = PhotoSet("bench", [str(i) for i in range(len(pairs))], lambda stem: _photo(stem, pairs))
    scores = score_photos(photos, ["own"], lambda photo, method: pairs[int(photo.name)][0], True)
    own_maps.compare(scores, photos, own_maps.PROTOCOLS["all"], DRAWS)


def _photo(stem: str, pairs: list) -> Photo:
    mask = pairs[int(stem)][1]
    return Photo(stem, np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", type=int, default=100, help="number of maps")
    parser.add_argument("--repeats", type=int, default=2, help="rounds, of which the fastest counts")
    given = parser.parse_args()
    pairs = [example(number) for number in range(given.maps)]
    print(f"{given.maps} maps of {WIDTH} x {HEIGHT}; the fastest of {given.repeats} rounds, in turns")
    together = np.zeros(2)
    several = {"methods": METHODS}
    parts = {
        "histograms": (ours, theirs),
        "weighted F": (our_weighted, their_weighted),
        f"weighted F, {METHODS} methods": (partial(our_weighted, **several), partial(their_weighted, **several)),
    }
    for words, functions in parts.items():
        here, there, apart = in_turns(*functions, pairs, given.repeats)
        together += (here, there) if "methods" not in words else (0, 0)
        print(
            f"{words:22} ours {here:6.2f} s   PySODMetrics {there:6.2f} s   x {there / here:5.1f}   apart {apart:.0e}"
        )
    here, there = together
    print(f"{'the first two':22} ours {here:6.2f} s   PySODMetrics {there:6.2f} s   x {there / here:5.1f}")
    for words, clock in (("processor", time.process_time), ("wall clock", time.perf_counter)):
        taken = seconds(everything, pairs, clock)[0]
        print(f"all protocols of both classes, {DRAWS} resamples, intervals: {taken:.1f} s, {words}")


if __name__ == "__main__":
    main()
