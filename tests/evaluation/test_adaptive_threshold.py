"""The adaptive threshold: its value, where it marks nothing, and what it does to a map that is correct everywhere."""

import numpy as np
import pytest

from defusion_lib import metrics
from defusion_lib.evaluation.adaptive_threshold import f_of_correct_map, plot_thresholds, share_unmarked, thresholds
from defusion_lib.evaluation.protocols import f_at_mean

RNG = np.random.default_rng(4)
MAPS = [RNG.integers(0, top, (9, 11)) / 255 for top in (256, 120, 256)]
MASKS = [RNG.random((9, 11)) < 0.5 for _ in MAPS]
MAPS[2][:] = 0.9 * MASKS[2] + 0.1  # at 0.5 + 0.05: nothing reaches 1.5 times the mean but what is 1
COUNTS = np.stack([metrics.histogram(found, mask) for found, mask in zip(MAPS, MASKS)])


def test_thresholds_are_one_and_a_half_means():
    levels = [metrics.quantise(found) / 255 for found in MAPS]
    np.testing.assert_allclose(thresholds(COUNTS), [min(1.5 * each.mean(), 1) for each in levels])
    assert thresholds(metrics.histogram(np.ones((2, 2)), np.eye(2))[None]) == [1]


@pytest.mark.parametrize("value, share", [(0.95, 1), (1.0, 0)])
def test_nothing_is_marked_where_no_pixel_reaches_the_threshold(value, share):
    mask = np.ones((10, 10))
    mask[:3] = 0
    counts = metrics.histogram(np.where(mask == 1, value, 0.05), mask)[None]
    assert share_unmarked(counts) == share
    assert share_unmarked(np.concatenate([counts, COUNTS[:1]])) == share / 2
    assert (f_at_mean(counts, "blur", 1.5) == 0) == (share == 1)


def test_one_pixel_is_enough():
    found, mask = np.full((10, 10), 0.1), np.eye(10)
    found[0, 0] = 1
    assert share_unmarked(metrics.histogram(found, mask)[None]) == 0


def test_a_correct_map_scores_0_above_the_share_of_0_648():
    shares = np.array([0.5, 0.64, 0.65, 0.9])
    assert f_of_correct_map(shares) == 0.5
    literal = []
    for share in shares:
        mask = (np.arange(1000) < 1000 * share).astype(float).reshape(1, -1)
        counts = metrics.histogram(np.where(mask == 1, 0.95, 0.05), mask)[None]
        literal.append(f_at_mean(counts, "blur", 1.5))
    assert np.mean(literal) == f_of_correct_map(shares)


def test_the_plot_shows_both_classes():
    drawing = plot_thresholds(COUNTS, "method", "made-up")
    assert drawing.name == "adaptive_made-up"
    for positive in ("blur", "focus"):
        curve = metrics.curves(COUNTS, positive)
        np.testing.assert_array_equal(drawing.arrays[f"{positive}_f"], curve.f)
        np.testing.assert_array_equal(drawing.arrays[f"{positive}_threshold"], curve.threshold)
        adaptive = thresholds(metrics.for_class(COUNTS, positive))
        np.testing.assert_array_equal(drawing.arrays[f"{positive}_adaptive"], adaptive)
    floors = [axis.lines[2].get_ydata()[0] for axis in drawing.figure.axes]
    share = np.mean([mask.mean() for mask in MASKS])
    assert floors == pytest.approx([metrics.all_positive_f(share), metrics.all_positive_f(1 - share)])
