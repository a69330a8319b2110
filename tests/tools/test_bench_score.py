"""The benchmark compares like with like: both programs find the same numbers for the same maps."""

import pytest

from tools import bench_score


@pytest.fixture(scope="module")
def pairs():
    pytest.importorskip("py_sod_metrics", reason="PySODMetrics is not installed")
    return [(levels[::3, ::4], mask[::3, ::4]) for levels, mask in map(bench_score.example, (1, 2, 5))]


def test_a_row_is_right_to_the_last_digit_against_pysodmetrics(pairs):
    assert bench_score.ours(pairs) == pytest.approx(bench_score.theirs(pairs), abs=1e-12)
    assert bench_score.our_weighted(pairs) == pytest.approx(bench_score.their_weighted(pairs), abs=1e-12)


def test_seconds_of_both_and_their_distance():
    here, there, apart = bench_score.in_turns(lambda _: {"mae": 0.5}, lambda _: {"mae": 0.25}, [], 2)
    assert here >= 0 and there >= 0 and apart == 0.25
