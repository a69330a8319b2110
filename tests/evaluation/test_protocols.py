"""The published scoring protocols against loops, PySODMetrics, and against what must hold for any map."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score, precision_recall_curve, roc_auc_score

from defusion_lib import metrics
from defusion_lib.evaluation import protocols

CLASSES = ("blur", "focus")
EXACT = 1e-12


def picture(k, height=24, width=31):
    """A map of levels (uint8) and a mask (bool), the same on every machine: integer arithmetic only.

    The map is right more often than not, reaches from 3 + 2k to 251 - 9k, and every picture has its own size.
    """
    y, x = np.mgrid[: height + k, : width + 2 * k]
    mask = (x - 14) ** 2 + (y - 11) ** 2 < 90 + 40 * k
    noise = ((x * 1103 + y * 7919 + k * 104729) * (x + 3 * y + 17)) % 211
    levels = np.where(mask, 60 + noise * 19 // 20, noise * 16 // 20)
    low, high = 3 + 2 * k, 251 - 9 * k
    levels = low + (levels - levels.min()) * (high - low) // (levels.max() - levels.min())
    return levels.astype(np.uint8), mask


PICTURES = [picture(k) for k in range(4)]


@pytest.fixture(scope="module")
def counts():
    return np.stack([metrics.histogram(levels / 255, mask) for levels, mask in PICTURES])


def turned(positive):
    """The pictures with high levels and True for the positive class."""
    return [(levels, mask) if positive == "blur" else (255 - levels, ~mask) for levels, mask in PICTURES]


def precision_recall(marked, truth, empty):
    hit = (marked & truth).sum()
    return (hit / marked.sum() if marked.any() else empty), hit / truth.sum()


def f_of(precision, recall):
    return 1.3 * precision * recall / (0.3 * precision + recall) if precision + recall else 0.0


def stretch(levels, from_zero=False):
    """Exact fractions from 0 to 1, as an object array."""
    low, high = (0 if from_zero else int(levels.min())), int(levels.max())
    return np.vectorize(lambda level: Fraction(int(level) - low, high - low), otypes=[object])(levels)


@pytest.mark.slow
@pytest.mark.parametrize("positive", CLASSES)
def test_stretched_f_measures_are_those_of_a_loop_in_exact_fractions(counts, positive):
    per_threshold = [Fraction(t, 255) for t in range(256)]
    curves, maxima, means = [], [], []
    for levels, truth in turned(positive):
        full, ratio = stretch(levels), stretch(levels, from_zero=True)
        curves.append([precision_recall(full >= t, truth, 0.0) for t in per_threshold])
        maxima.append(max(f_of(*precision_recall(ratio >= t, truth, 0.0)) for t in per_threshold[1:]))
        means.append(np.mean([f_of(*point) for point in curves[-1]]))
    best = max(f_of(*point) for point in np.mean(curves, 0))
    assert protocols.max_f_inclusive(counts, positive) == pytest.approx(best, abs=EXACT)
    assert protocols.max_f_per_image(counts, positive) == pytest.approx(np.mean(maxima), abs=EXACT)
    assert protocols.mean_f(counts, positive) == pytest.approx(np.mean(means), abs=EXACT)


@pytest.mark.parametrize("positive", CLASSES)
def test_pooled_max_f_is_on_scikit_learns_curve_of_all_pixels(counts, positive):
    levels = np.concatenate([levels.ravel() for levels, _ in turned(positive)])
    truth = np.concatenate([truth.ravel() for _, truth in turned(positive)])
    # Its curve also marks every pixel, which `>` never does on a map without level 0: not the best here.
    precision, recall, _ = precision_recall_curve(truth, levels)
    best = max(f_of(p, r) for p, r in zip(precision, recall))
    assert protocols.max_f_pooled(counts, positive) == pytest.approx(best, abs=EXACT)


@pytest.mark.parametrize("positive", CLASSES)
@pytest.mark.parametrize("factor", [1.5, 2])
def test_f_at_a_multiple_of_the_mean_is_that_of_a_loop(counts, positive, factor):
    each, pot = [], [[], []]
    for levels, truth in turned(positive):
        threshold = min(Fraction(factor) * Fraction(int(levels.sum()), levels.size), 255)
        marked = np.vectorize(lambda level: int(level) >= threshold)(levels)
        each.append(f_of(*precision_recall(marked, truth, 0.0)))
        pot[0].append(marked.ravel())
        pot[1].append(truth.ravel())
    assert protocols.f_at_mean(counts, positive, factor) == pytest.approx(np.mean(each), abs=EXACT)
    pooled = f_of(*precision_recall(*map(np.concatenate, pot), 0.0))
    assert protocols.f_at_mean_pooled(counts, positive, factor) == pytest.approx(pooled, abs=EXACT)


def test_the_threshold_of_the_mean_stops_at_one():
    # Mean 254.5 levels: twice that is above every level, so the threshold 1 marks what is at level 255.
    map_, mask = np.array([[255, 254]]) / 255, np.array([[1, 0]])
    assert protocols.f_at_mean(metrics.histogram(map_, mask)[None], "blur", 2) == 1


@pytest.mark.parametrize("positive", CLASSES)
def test_f_and_iou_at_half_are_scikit_learns(counts, positive):
    marked = [levels > 127 for levels, _ in turned(positive)]
    truth = [truth for _, truth in turned(positive)]
    f = [f_of(*precision_recall(m, t, 1.0)) for m, t in zip(marked, truth)]
    assert metrics.f_at_half(counts, positive) == pytest.approx(np.mean(f), abs=EXACT)
    iou = [jaccard_score(t.ravel(), m.ravel()) for m, t in zip(marked, truth)]
    assert protocols.iou_at_half(counts, positive) == pytest.approx(np.mean(iou), abs=EXACT)
    pot = [np.concatenate([each.ravel() for each in side]) for side in (truth, marked)]
    assert protocols.iou_at_half_pooled(counts, positive) == pytest.approx(jaccard_score(*pot), abs=EXACT)
    f1 = f1_score(*pot)
    assert protocols.iou_at_half_pooled(counts, positive) == pytest.approx(f1 / (2 - f1), abs=EXACT)


def test_pooled_auc_is_scikit_learns_of_all_pixels(counts):
    levels = np.concatenate([levels.ravel() for levels, _ in PICTURES])
    mask = np.concatenate([mask.ravel() for _, mask in PICTURES])
    assert protocols.auc_pooled(counts) == pytest.approx(roc_auc_score(mask, levels), abs=EXACT)
    assert abs(protocols.auc_pooled(counts) - metrics.auc(counts)) > 1e-3


def test_the_papers_auc_goes_back_and_forth(counts):
    for one in counts[:, None]:
        for positive in CLASSES:
            share = metrics.for_class(one, positive)[0, 1].sum() / one.sum()
            on_axis = metrics.auc_paper(one, positive)
            assert protocols.auc_from_paper_axis(on_axis, share) == pytest.approx(metrics.auc(one), abs=EXACT)
            assert protocols.auc_on_paper_axis(metrics.auc(one), share) == pytest.approx(on_axis, abs=EXACT)
            assert on_axis < protocols.auc_paper_ceiling(share) == 1 - share / 2
    assert protocols.auc_on_paper_axis(0.5, 0.3) == 0.5


def test_the_papers_best_auc_becomes_an_ordinary_one():
    # DeFusionNet on DUT: 0.643 beside F 0.952, with about 0.689 of the pixels blurred.
    assert protocols.auc_from_paper_axis(0.643, 0.689) == pytest.approx(0.960, abs=5e-4)
    assert protocols.auc_paper_ceiling(0.689) == pytest.approx(0.6555)


def test_inverting_map_and_mask_together_swaps_the_classes_and_nothing_else(counts):
    back = np.stack([metrics.histogram(1 - levels / 255, ~mask) for levels, mask in PICTURES])
    for one, other in (CLASSES, CLASSES[::-1]):
        for protocol in (
            protocols.max_f_inclusive,
            protocols.max_f_per_image,
            protocols.max_f_pooled,
            protocols.mean_f,
            protocols.iou_at_half,
            protocols.iou_at_half_pooled,
        ):
            assert protocol(counts, one) == protocol(back, other) != protocol(back, one), protocol.__name__
        for protocol in (protocols.f_at_mean, protocols.f_at_mean_pooled):
            assert protocol(counts, one, 1.5) == protocol(back, other, 1.5)
        for levels, mask in PICTURES:
            found = protocols.weighted_f(levels / 255, mask, one)
            assert protocols.weighted_f(1 - levels / 255, ~mask, other) == pytest.approx(found, abs=EXACT)


def test_mae_against_grey_binary_and_stretched():
    map_, mask = np.array([[0.2, 0.4], [0.4, 0.6]]), np.array([[0.1, 0.5], [0.75, 1.0]])
    assert protocols.mae(map_, mask) == pytest.approx((0.1 + 0.1 + 0.35 + 0.4) / 4, abs=EXACT)
    assert protocols.mae_binary(map_, mask) == pytest.approx((0.2 + 0.4 + 0.6 + 0.4) / 4, abs=EXACT)
    assert protocols.mae_stretched(map_, mask) == pytest.approx((0 + 0.5 + 0.5 + 0) / 4, abs=EXACT)
    flat = np.full((2, 2), 0.3)
    assert protocols.mae_stretched(flat, mask) == pytest.approx(0.5, abs=EXACT)


def test_a_map_of_one_value_is_not_stretched():
    one = metrics.histogram(np.full((2, 2), 0.6), np.eye(2))[None]
    assert (protocols.stretch(one) == one).all()
    assert protocols.stretch(one, from_zero=True)[0, :, 255].tolist() == [2, 2]


def test_a_black_map_scores_nothing_where_maps_are_divided_by_their_maximum():
    black = metrics.histogram(np.zeros((2, 2)), np.eye(2))[None]
    assert (protocols.stretch(black, from_zero=True) == black).all()
    assert protocols.max_f_per_image(black, "blur") == 0


def test_the_first_of_the_255_thresholds_is_one_level():
    # Only a threshold between the levels 0 and 1 tells the classes apart.
    one = metrics.histogram(np.array([[1, 255], [0, 0]]) / 255, np.array([[1, 1], [0, 0]]))[None]
    assert protocols.max_f_per_image(one, "blur") == 1


def test_weighted_f_is_the_definition_in_loops():
    levels, mask = PICTURES[0]
    map_, height, width = levels / 255, *mask.shape
    hits = [(i, j) for i in range(height) for j in range(width) if mask[i, j]]
    error = np.abs(map_ - mask)
    spread, distance = error.copy(), np.zeros(mask.shape)
    unique = np.ones(mask.shape, bool)
    for i, j in np.ndindex(mask.shape):
        if not mask[i, j]:
            squares = [(i - a) ** 2 + (j - b) ** 2 for a, b in hits]
            distance[i, j] = min(squares) ** 0.5
            spread[i, j] = error[hits[squares.index(min(squares))]]
            unique[i, j] = squares.count(min(squares)) == 1
    weights = np.array([[np.exp(-(a * a + b * b) / 50) for a in range(-3, 4)] for b in range(-3, 4)])
    weights /= weights.sum()
    true, false, size = 0.0, 0.0, mask.sum()
    for i, j in np.ndindex(mask.shape):
        if not mask[i, j]:
            false += error[i, j] * (2 - np.exp(np.log(0.5) / 5 * distance[i, j]))
            continue
        window = [(a, b) for a in range(-3, 4) for b in range(-3, 4)]
        near = [(a, b) for a, b in window if 0 <= i + a < height and 0 <= j + b < width]
        blurred = sum(weights[a + 3, b + 3] * spread[i + a, j + b] for a, b in near)
        true += 1 - min(error[i, j], blurred)
    expected = 2 * (true / (true + false)) * (true / size) / (true / (true + false) + true / size)
    # Where two hits are equally near either one may stand in: less than 1e-3 here, checked exactly below.
    assert not unique.all()
    assert protocols.weighted_f(map_, mask, "blur") == pytest.approx(expected, abs=1e-3)


def weighted_f_of_arrays(map_, mask):
    """The weighted F of Margolin et al., every step for all pixels."""
    distance, nearest = ndimage.distance_transform_edt(~mask, return_indices=True)
    error = np.abs(map_ - mask)
    near = np.exp(-(np.arange(-3, 4) ** 2) / 50)
    around = ndimage.correlate(error[tuple(nearest)], np.outer(near, near) / near.sum() ** 2, mode="constant")
    wrong = np.minimum(error, around)[mask].sum()
    false = (error * (2 - 0.5 ** (distance / 5)))[~mask].sum()
    true, size = mask.sum() - wrong, mask.sum()
    return 2 * (true / (true + false)) * (true / size) / (true / (true + false) + true / size)


REGIONS = {
    "hole": np.s_[5:9, 7:9],
    "corner": np.s_[:7, :9],
    "band from side to side": np.s_[11:14, :],
    "last column": np.s_[:, -1:],
    "one pixel": np.s_[12:13, 20:21],
    "no pixel": np.s_[:0, :],
}


@pytest.mark.parametrize("words", REGIONS)
def test_weighted_f_wherever_the_region_lies(words):
    map_ = PICTURES[0][0] / 255
    negative = np.zeros(map_.shape, bool)
    negative[REGIONS[words]] = True
    for mask in (negative, ~negative):
        if mask.any():
            expected = weighted_f_of_arrays(map_, mask)
            assert protocols.weighted_f(map_, mask, "blur") == pytest.approx(expected, abs=EXACT)
            assert protocols.weighted_f(1 - map_, ~mask, "focus") == pytest.approx(expected, abs=EXACT)


def test_weighted_f_takes_one_of_several_nearest_pixels_as_scipy_does():
    # A checkerboard of blocks: most pixels outside have several nearest ones.
    y, x = np.mgrid[:24, :31]
    map_, mask = PICTURES[0][0] / 255, (y // 3 + x // 4) % 3 == 0
    assert protocols.weighted_f(map_, mask, "blur") == pytest.approx(weighted_f_of_arrays(map_, mask), abs=EXACT)


def test_weighted_f_at_its_ends():
    # Away from the border: beyond it there are no errors, which forgives some of those inside.
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    assert protocols.weighted_f(mask, mask, "blur") == 1
    assert protocols.weighted_f(~mask, mask, "blur") == pytest.approx(0, abs=EXACT)
    assert protocols.weighted_f(np.zeros((20, 20)), mask, "blur") < 0.2
    with pytest.raises(ValueError, match="no pixel of the class 'focus'"):
        protocols.weighted_f(np.ones((3, 3)), np.ones((3, 3)), "focus")
    with pytest.raises(ValueError, match="'sharp', but must be 'blur' or 'focus'"):
        protocols.weighted_f(np.ones((3, 3)), np.ones((3, 3)), "sharp")


# What PySODMetrics 1.6.2 says of PICTURES, blur positive. The first three stretch every map to [0, 1].
PYSOD = {
    "max F of the mean curve": 0.7842801319312415,
    "mean F": 0.620211212510834,
    "MAE, stretched": 0.35513659163694217,
    "MAE": 0.37162365639848244,
    "adaptive F": 0.16148274409894742,
    "IoU": 0.5168588091820093,
    "IoU, pooled": 0.5173708920187794,
    "weighted F": 0.6389388989069398,
}


def test_scores_are_those_of_pysodmetrics(counts):
    maps = [(levels / 255, mask) for levels, mask in PICTURES]
    found = {
        "max F of the mean curve": protocols.max_f_inclusive(counts, "blur"),
        "mean F": protocols.mean_f(counts, "blur"),
        "MAE, stretched": np.mean([protocols.mae_stretched(map_, mask) for map_, mask in maps]),
        "MAE": np.mean([protocols.mae_binary(map_, mask) for map_, mask in maps]),
        "adaptive F": protocols.f_at_mean(counts, "blur", 2),
        "IoU": protocols.iou_at_half(counts, "blur"),
        "IoU, pooled": protocols.iou_at_half_pooled(counts, "blur"),
        "weighted F": np.mean([protocols.weighted_f(map_, mask, "blur") for map_, mask in maps]),
    }
    assert found == pytest.approx(PYSOD, abs=EXACT)


def test_the_stored_scores_of_pysodmetrics_are_its_own():
    sod = pytest.importorskip("py_sod_metrics", reason="PySODMetrics is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class announces its successor
        curve, plain = sod.Fmeasure(), sod.Fmeasure()
    at_half = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    iou = {"mean": sod.IOUHandler(**at_half), "pooled": sod.IOUHandler(**at_half, sample_based=False)}
    handlers, wide, mae, weighted = sod.FmeasureV2(iou), sod.MAE(), sod.MAE(), sod.WeightedFmeasure()
    for levels, mask in PICTURES:
        for scorer in (curve, wide):
            scorer.step(levels, mask.astype(np.uint8) * 255)
        for scorer in (plain, handlers, mae, weighted):
            scorer.step(levels / 255, mask, normalize=False)
    results = curve.get_results()
    points = zip(results["pr"]["p"], results["pr"]["r"])
    assert PYSOD == pytest.approx(
        {
            "max F of the mean curve": max(f_of(*point) for point in points),
            "mean F": results["fm"]["curve"].mean(),
            "MAE, stretched": wide.get_results()["mae"],
            "MAE": mae.get_results()["mae"],
            "adaptive F": plain.get_results()["fm"]["adp"],
            "IoU": handlers.get_results()["mean"]["binary"],
            "IoU, pooled": handlers.get_results()["pooled"]["binary"],
            "weighted F": weighted.get_results()["wfm"],
        },
        abs=EXACT,
    )
