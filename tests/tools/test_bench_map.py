"""The benchmark of `defusion map` measures what it says: photos mapped, ratios, and bytes that grow linearly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def measure(which, count):
    command = [sys.executable, "-m", "tools.bench_map", "--one", which, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def of_run(values):
    """The values of the run alone, {metric: value}."""
    return {key.rpartition("/")[2]: value for key, value in values.items() if "/defusion-map/" in key}


@pytest.mark.slow
def test_the_bytes_of_the_table_grow_linearly():
    few, many = of_run(measure("growth", 20)), of_run(measure("growth", 80))
    assert 3.8 < many["table-bytes-written"] / few["table-bytes-written"] < 4.2
    assert 0 < many["gallery-bytes"] - few["gallery-bytes"] < 60 * 400
    assert many["seconds-again"] > 0


@pytest.mark.slow
def test_the_run_is_compared_with_the_network():
    found = measure("network", 1)
    run, alone = of_run(found), found["photos-12mp/network/seconds"]
    assert run["photos"] == 1 and min(found.values()) > 0
    assert run["ratio"] == pytest.approx(run["seconds"] / alone)
    # Both clocks measure the same calls, so only one of several threads can set their ratios far apart.
    assert run["processor-ratio"] != run["ratio"]
