"""The benchmark compares like with like: both programs find the same numbers for the same maps."""

import itertools

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
    times = itertools.cycle([2.0, 6.0])  # ours and theirs, in turns
    monkeypatch.setattr(bench_score, "seconds", lambda function, pairs, clock=None: (next(times), {"mae": 0.5}))
    values = bench_score.bench(pairs, 1)
    assert {key.split("/")[1] for key in values} >= set(bench_score.rows())
    of_columns = {"seconds": 2, "pysodmetrics-seconds": 6, "ratio": 3, "apart": 0}
    for name in bench_score.rows():
        assert {key.rpartition("/")[2]: each for key, each in values.items() if f"/{name}/" in key} == of_columns
    assert "all-protocols-and-intervals-6-methods/seconds" in bench_score.table(values)


def test_the_fewest_seconds_of_both_and_their_distance(monkeypatch):
    times = iter([5, 9, 3, 8])
    monkeypatch.setattr(bench_score, "seconds", lambda function, pairs: (next(times), function(pairs)))
    assert bench_score.in_turns(lambda _: {"mae": 0.5}, lambda _: {"mae": 0.25}, [], 2) == (3, 8, 0.25)
