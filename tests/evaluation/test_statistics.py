"""Differences over seeds: the spread of a table, its t tests, and what they can detect, against other computations."""

import numpy as np
import pytest
from scipy import integrate, stats

from defusion_lib.evaluation.statistics import (
    contrast,
    contrast_within,
    detectable_difference,
    normal_contrast,
    paired_contrast,
    residual_spread,
)


def table(rows, seeds, spread, rng, shift=5.0):
    """Scores of rows over seeds that move all rows alike, far more than `spread`."""
    return rng.normal(0, shift, (1, seeds)) + rng.normal(0, spread, (rows, seeds))


def test_scores_of_the_same_networks_are_compared_within_them():
    """Against SciPy's paired test, on differences that the spread over networks hides."""
    first, second = [0.1, 0.5, 0.9], [0.12, 0.53, 0.92]
    difference, low, high = contrast_within(second, first)
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert difference == pytest.approx(0.07 / 3) and (low, high) == pytest.approx((expected.low, expected.high))
    assert low > 0 > contrast(second, first)[1]
    assert np.isnan(contrast_within([0.2], [0.1])[1:]).all() and contrast_within([0.2], [0.1])[0] == pytest.approx(0.1)


def test_the_spread_is_that_of_an_analysis_of_variance():
    """Least squares with a column for each row and seed leaves the same residual sum of squares."""
    scores = table(4, 3, 0.1, np.random.default_rng(0))
    row, seed = np.indices(scores.shape).reshape(2, -1)
    design = np.column_stack([row[:, None] == np.arange(4), seed[:, None] == np.arange(1, 3)]).astype(float)
    _, (squares,), rank, _ = np.linalg.lstsq(design, scores.ravel())
    spread, freedom = residual_spread(scores)
    assert freedom == scores.size - rank == 6
    assert spread == pytest.approx(np.sqrt(squares / freedom))


def test_a_shift_of_a_seed_or_a_row_is_no_spread():
    scores = table(3, 3, 0.1, np.random.default_rng(1))
    shifted = scores + np.array([7, 0, -2]) + np.array([[1], [0], [30]])
    assert residual_spread(shifted)[0] == pytest.approx(residual_spread(scores)[0])


def test_two_rows_are_the_paired_t_test():
    """With two rows the spread is that of the differences: the test is scipy's for pairs."""
    first, second = table(2, 5, 0.1, np.random.default_rng(2))
    found = paired_contrast(first, second, *residual_spread([first, second]))
    theirs = stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert found == pytest.approx((np.mean(first - second), interval.low, interval.high, theirs.pvalue))


def test_one_seed_is_compared_on_the_seed_that_it_has():
    found = paired_contrast([0.5], [0.2, 0.9, 0.8], 0.1, 4)
    half = stats.t.ppf(0.975, 4) * 0.1 * np.sqrt(2)
    assert found[:3] == pytest.approx((0.3, 0.3 - half, 0.3 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.3 / (0.1 * np.sqrt(2)), 4))


def test_a_difference_with_a_known_error():
    found = normal_contrast(0.02, 0.01)
    assert (found.low, found.high) == pytest.approx((0.02 - 0.0196, 0.02 + 0.0196), abs=1e-5)
    assert found.p == pytest.approx(0.0455, abs=1e-4) and normal_contrast(-0.02, 0.01).p == found.p
    assert normal_contrast(0.0, 0.0) == (0, 0, 0, 1)


def test_without_a_spread_there_is_no_test():
    assert residual_spread([[0.1, 0.2]])[1] == residual_spread([[0.1], [0.2]])[1] == 0
    found = paired_contrast([0.5], [0.2], np.nan, 0)
    assert found.difference == pytest.approx(0.3) and np.isnan(found[1:]).all()
    assert np.isnan(detectable_difference(np.nan, 3, 0))


def power(difference, spread, seeds, freedom, level):
    """The probability to find a difference, integrated over the estimated spread instead of with a noncentral t."""
    centre = difference / (spread * np.sqrt(2 / seeds))
    critical = stats.t.ppf(1 - level / 2, freedom)

    def beyond(chi):
        limit = critical * chi / np.sqrt(freedom)
        return (stats.norm.sf(limit - centre) + stats.norm.cdf(-limit - centre)) * stats.chi.pdf(chi, freedom)

    return integrate.quad(beyond, 0, 40, limit=400, points=[0.5, 1, 2, 4, 8])[0]


@pytest.mark.parametrize("freedom", [1, 2, 6, 8, 22, 60])
@pytest.mark.parametrize("level, wanted", [(0.05, 0.8), (0.05 / 13, 0.8), (0.05, 0.5)])
def test_the_detectable_difference_has_its_power(freedom, level, wanted):
    found = detectable_difference(0.002, 3, freedom, level, wanted)
    # At a level of 5 % and one degree of freedom a thousandth of the findings has the wrong sign.
    assert power(found, 0.002, 3, freedom, level) == pytest.approx(wanted, abs=2e-3)


def test_the_detectable_difference_of_a_textbook():
    """Two groups of 17 find an effect of one standard deviation with a power of 0.80 (Cohen 1988, table 2.4.1)."""
    assert detectable_difference(1, 17, 32) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_a_design_finds_the_detectable_difference_as_often_as_it_says():
    """The whole chain by simulation: tables with seeds that move all rows, five rows and three seeds."""
    rng, rows, seeds, tables = np.random.default_rng(3), 5, 3, 2000
    difference = detectable_difference(0.1, seeds, (rows - 1) * (seeds - 1))
    found = 0
    for _ in range(tables):
        scores = table(rows, seeds, 0.1, rng)
        scores[1] += difference
        found += paired_contrast(scores[1], scores[0], *residual_spread(scores)).p < 0.05
    assert found / tables == pytest.approx(0.8, abs=0.03)  # three standard errors
