"""Resampling agrees with scipy's bootstrap; corrections agree with their definition."""

import numpy as np
import pytest
from scipy import stats

from defusion_lib.evaluation.bootstrap import FEW, holm, interval, p_value, paired_differences, resampled_means

DRAWS = 20_000


@pytest.fixture(scope="module")
def scores():
    """Two methods that share what makes a photo hard, and one that is no better than the second."""
    rng = np.random.default_rng(3)
    hardness = rng.normal(0.8, 0.1, 60)
    return {
        "good": hardness + rng.normal(0.02, 0.02, 60),
        "plain": hardness + rng.normal(0, 0.02, 60),
        "equal": hardness + rng.normal(0, 0.02, 60),
    }


def scipys(sample, statistic=np.mean, **options):
    found = stats.bootstrap(
        sample,
        statistic,
        n_resamples=DRAWS,
        method="percentile",
        rng=np.random.default_rng(8),
        vectorized=True,
        **options,
    )
    return found.confidence_interval


def test_an_interval_is_scipys(scores):
    for name, means in resampled_means(scores, DRAWS, seed=0).items():
        low, high = scipys((scores[name],))
        np.testing.assert_allclose(interval(means), [low, high], atol=0.02 * (high - low))


def test_the_interval_of_a_difference_is_scipys_paired_one(scores):
    means = resampled_means(scores, DRAWS, seed=0)
    low, high = scipys((scores["good"], scores["plain"]), lambda a, b, axis: (a - b).mean(axis), paired=True)
    row = paired_differences(scores, means, [("good", "plain")])["good - plain"]
    np.testing.assert_allclose([row["low"], row["high"]], [low, high], atol=0.02 * (high - low))
    assert row["difference"] == pytest.approx(np.mean(scores["good"] - scores["plain"]))


def test_all_methods_see_the_same_resamples(scores):
    means = resampled_means({"a": scores["good"], "b": scores["good"] + 1}, 100)
    np.testing.assert_allclose(means["b"] - means["a"], 1)


def test_another_seed_draws_other_photos(scores):
    first, again, other = (resampled_means(scores, 50, seed)["good"] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_methods_of_other_photos_are_refused(scores):
    with pytest.raises(ValueError):
        resampled_means({"a": scores["good"], "b": scores["good"][:-1]}, 10)


@pytest.mark.parametrize("shift", [0.0, 0.005, 0.02])
def test_p_is_near_that_of_a_t_test(shift):
    """60 normal differences: the bootstrap and Student's t nearly agree."""
    sample = np.random.default_rng(1).normal(shift, 0.02, 60)
    means = resampled_means({"a": sample}, DRAWS)["a"]
    assert p_value(means) == pytest.approx(stats.ttest_1samp(sample, 0).pvalue, abs=0.03)


def test_p_is_never_zero_and_at_most_one():
    assert p_value(np.ones(99)) == 0.02
    assert p_value(np.zeros(99)) == 1


def test_holm_is_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    p_values = np.random.default_rng(0).random(7) ** 3
    for i, p in enumerate(p_values):
        smaller = [min(1, np.sum(p_values >= q) * q) for q in p_values if q <= p]
        assert holm(p_values)[i] == pytest.approx(max(smaller))


def test_holm_lies_between_one_test_and_bonferroni():
    p_values = np.random.default_rng(2).random(9)
    corrected = holm(p_values)
    assert (corrected >= p_values).all() and (corrected <= np.minimum(1, 9 * p_values) + 1e-12).all()
    assert corrected[p_values.argmin()] == pytest.approx(min(1, 9 * p_values.min()))


def test_a_difference_is_named_where_it_is_larger_than_chance(scores):
    means = resampled_means(scores, 2000)
    rows = paired_differences(scores, means, [("good", "plain"), ("plain", "equal")])
    assert [row["larger than chance"] for row in rows.values()] == ["yes", "not shown"]
    alone = paired_differences(scores, means, [("good", "plain")])["good - plain"]
    assert rows["good - plain"]["p, corrected"] == pytest.approx(2 * alone["p, corrected"])


def test_few_photos_decide_nothing():
    for count, verdict in ((FEW - 1, "too few photos"), (FEW, "yes")):
        some = {"good": np.linspace(0.8, 0.9, count), "plain": np.linspace(0.1, 0.2, count)}
        (row,) = paired_differences(some, resampled_means(some, 200), [("good", "plain")]).values()
        assert row["larger than chance"] == verdict
