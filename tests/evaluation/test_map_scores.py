"""Scores of all protocols at once: those of `ProtocolScores`, and their resamples those of the protocols themselves."""

import numpy as np
import pytest

from defusion_lib import metrics
from defusion_lib.evaluation import map_scores
from defusion_lib.evaluation.bootstrap import resampled_means
from defusion_lib.evaluation.map_scores import METRICS, OF_COUNTS, HistogramScores, MapScores, Mask, with_errors
from defusion_lib.evaluation.protocols import ProtocolScores
from defusion_lib.metrics import Evaluation

EXACT = 1e-12


def pairs(count=5, high=255):
    """Maps of 8 bits, right more often than not, none of which uses all levels, with their masks."""
    rng = np.random.default_rng(7)
    found = []
    for k in range(count):
        mask = (rng.random((20 + k, 31)) < 0.3 + 0.1 * k).astype(np.float32)
        levels = np.clip(rng.normal(90 + 80 * mask, 60), 4 + k, high - 9 * k)
        found.append((np.round(levels).astype(np.uint8), mask))
    return found


def scores_of(given):
    return MapScores([Mask(mask).measure(defocus) for defocus, mask in given])


@pytest.mark.parametrize("as_floats", [False, True], ids=["8 bits", "floats"])
def test_values_are_those_of_the_protocols(as_floats):
    given = [(levels / 255 - 0.001 if as_floats else levels, mask) for levels, mask in pairs()]
    expected = ProtocolScores()
    for defocus, mask in given:
        expected.add(defocus if as_floats else defocus / 255, mask)
    found = scores_of(given)
    assert {metric: found.value(metric) for metric in expected.values()} == pytest.approx(expected.values(), abs=EXACT)
    assert set(METRICS) - set(expected.values()) == {"auc-paper-blur", "auc-paper-focus"}
    assert found.value("auc-paper-focus") == metrics.auc_paper(found.counts, "focus")
    assert found.curves("focus").f.max() == pytest.approx(found.value("max-f-focus"), abs=EXACT)


@pytest.mark.parametrize("metric", OF_COUNTS)
def test_each_resample_is_the_protocol_on_the_drawn_photos(metric):
    # Dark maps: at the upper thresholds nothing is marked.
    found = scores_of(pairs(high=200))
    draws = 40
    drawn = np.random.default_rng(3).integers(0, 5, (draws, 5))
    expected = [OF_COUNTS[metric](found.counts[each]) for each in drawn]
    np.testing.assert_allclose(found.resampled([metric], draws, seed=3)[metric], expected, rtol=0, atol=EXACT)
    assert np.ptp(expected) > 1e-3 or metric.startswith("f-mean20")  # twice the mean is above these maps


def test_mean_scores_are_resampled_as_by_the_bootstrap():
    found = scores_of(pairs())
    for metric in ("mae", "weighted-f-focus"):
        expected = resampled_means({"own": found.of_images[metric]}, 50, seed=2)["own"]
        np.testing.assert_allclose(found.resampled([metric], 50, 2)[metric], expected, rtol=0, atol=EXACT)


def test_standard_errors_are_the_spread_of_the_resamples():
    given, evaluation = [*pairs(), (np.full((4, 4), 51, np.uint8), np.ones((4, 4)))], metrics.Evaluation()
    for levels, mask in given:
        evaluation.add(levels / 255, mask)
    found = map_scores.with_errors(evaluation, 50, 2)
    resampled = scores_of(given).resampled([*evaluation.values()], 50, 2)
    errors = {f"{metric}-se": of.std() for metric, of in resampled.items()}
    assert found == pytest.approx(evaluation.values() | errors, abs=EXACT)


def test_a_mask_of_one_class_counts_for_the_mean_absolute_error_alone():
    given = pairs()
    more = scores_of([*given, (np.full((4, 4), 51, np.uint8), np.ones((4, 4)))])
    both = scores_of(given)
    assert more.value("mae") == pytest.approx((5 * both.value("mae") + 0.8) / 6, abs=EXACT)
    for metric in ("auc", "max-f-blur", "weighted-f-blur", "f-mean15-pooled-focus"):
        assert more.value(metric) == both.value(metric)
        assert (more.resampled([metric], 20)[metric] == both.resampled([metric], 20)[metric]).all()


def test_weighted_f_is_left_out_where_it_is_not_asked_for():
    levels, mask = pairs()[0]
    found = Mask(mask, weighted=False).measure(levels).of_image
    assert np.isnan([found.pop(name) for name in map_scores.WEIGHTED]).all()
    assert found == {name: Mask(mask).measure(levels).of_image[name] for name in map_scores.ERRORS}


def test_what_is_no_map_of_the_mask_is_refused():
    levels, mask = pairs()[0]
    with pytest.raises(ValueError, match="resize the map"):
        Mask(mask).measure(levels[1:])
    with pytest.raises(ValueError, match="NaN"):
        Mask(mask).measure(np.full(mask.shape, np.nan))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        Mask(np.full((3, 3), 0.4))


def test_standard_errors_of_all_protocols_are_those_of_the_resamples():
    given, slow = pairs(), ProtocolScores()
    for levels, mask in given:
        slow.add(levels / 255, mask)
    found, values = map_scores.with_errors(slow, draws=50, seed=2), slow.values()
    expected = scores_of(given).resampled([*values], 50, 2)
    assert found == pytest.approx(values | {f"{name}-se": each.std() for name, each in expected.items()}, abs=EXACT)


def test_histograms_are_enough_for_the_scores_of_8_bits():
    given, expected, stretched = pairs(), Evaluation(), Evaluation()
    for levels, mask in given:
        expected.add(levels / 255, mask)
        stretched.add((levels - levels.min()) / np.ptp(levels), mask)
    found = HistogramScores(expected.counts)
    assert found.values() == pytest.approx(expected.values(), abs=EXACT)
    assert with_errors(found, 50) == pytest.approx(with_errors(expected, 50), abs=EXACT)
    found = HistogramScores(expected.counts, stretched=True).values()
    assert found.pop("mae") == pytest.approx(stretched.mae(), abs=EXACT)
    # The others count levels, and a level is rounded down there.
    assert found == pytest.approx({name: stretched.values()[name] for name in found}, abs=5e-3)
    with pytest.raises(ValueError, match="border"):
        HistogramScores(expected.counts).border_mae()
