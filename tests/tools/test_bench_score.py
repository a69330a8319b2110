"""The benchmark compares like with like: both programs find the same numbers for the same maps."""

import pytest

from tools import bench_score


@pytest.fixture(scope="module")
def pairs():
    pytest.importorskip("py_sod_metrics", reason="PySODMetrics is not installed")
    return [(levels[::3, ::4], mask[::3, ::4]) for levels, mask in map(bench_score.example, (1, 2, 5))]


@pytest.mark.parametrize("row", bench_score.rows())
def test_a_row_is_right_to_the_last_digit_against_pysodmetrics(pairs, row):
    ours, theirs = (function(pairs) for function in bench_score.rows()[row])
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_the_benchmark_times_every_row_and_the_whole(pairs, monkeypatch):
    monkeypatch.setattr(bench_score, "seconds", lambda function, pairs, clock=None: (2.0, {"mae": 0.5}))
    values = bench_score.bench(pairs, 1)
    assert {key.split("/")[1] for key in values} >= set(bench_score.rows())
    assert {value for key, value in values.items() if key.endswith("/ratio")} == {1.0}
    assert "all-protocols-and-intervals-6-methods/seconds" in bench_score.table(values)


def test_seconds_of_both_and_their_distance():
    here, there, apart = bench_score.in_turns(lambda _: {"mae": 0.5}, lambda _: {"mae": 0.25}, [], 2)
    assert here >= 0 and there >= 0 and apart == 0.25
