"""The page of costs: each number is a measured one times a count, computed here in another order."""

import json

import pytest

from tools import render_costs

GRID = """rows: [full, step1, step2]
rows_once: [nofam]
seeds: [0, 1]
stages: [[500, 32, 2]]
"""
EFFICIENCY = {
    "random-32x32/defusionnet/training-seconds": 3.6,
    "random-32x32/defusionnet/gmac": 60.0,
    "random-32x32/defusionnet/seconds": 1.25,
    "random-32x32/defusionnet/training-peak-mib": 2000.0,
    "random-32x32/defusionnet-compact/training-seconds": 2.5,
}
MAPPED = {
    "photos-12mp/defusion-map/photos": 10,
    "photos-12mp/defusion-map/cores": 2,
    "photos-12mp/defusion-map/seconds": 9.0,
    "photos-12mp/defusion-map/ratio": 1.125,
    "photos-12mp/defusion-map/bytes": 5_000_000,
}


def page_of(tmp_path, threads):
    def write(name, values, **stamp):
        (tmp_path / f"{name}.json").write_text(json.dumps({"stamp": stamp, "values": values}))

    write("10_efficiency", EFFICIENCY, device="a processor", threads=threads)
    write("bench_map", MAPPED, parameters={"growth": [1000, 7000]})
    write("03_training", {"shi/ours/training-seconds": 60.0}, parameters={"stages": [[10, 8, 4], [20, 8, 2]]})
    (tmp_path / "grid.yaml").write_text(GRID)
    return render_costs.costs_page(tmp_path, tmp_path, tmp_path / "grid.yaml")


@pytest.fixture
def page(tmp_path):
    return page_of(tmp_path, 1)


def row(page, words):
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {words}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_trainings_on_the_measured_core_take_their_seconds(page):
    # 7 trainings of 1,000 samples of 3.6 seconds: an hour each.
    assert "7 trainings" in page and "1,000 samples" in page
    assert row(page, "one core of a processor") == ["1.0", "7.0"]


def test_trainings_at_another_speed_are_arithmetic(page):
    # 3 passes of 60 GMAC of 2 operations are 360 GFLOP: 3.6 s at 0.1 TFLOP/s, 0.36 s at 1.
    assert "360 GFLOP" in page and "sustains 0.10 TFLOP/s" in page
    assert row(page, "a GPU that sustains 1 TFLOP/s") == ["0.1", "0.7"]


def test_photos_count_all_cores(page):
    # 10 photos in 9 seconds of 2 cores: 1.8 s of one core, 500 hours for a million.
    assert "1.8 seconds per photo" in page and "1.12 times the" in page
    assert row(page, "1 ") == ["500", "500"] and row(page, "16 ") == ["31.2", "500"]
    assert "0.5 TB (500 kB per photo" in page and "with tiny pictures, up to\n  7,000 files" in page
    assert row(page, "`defusion map`, one photo of 12 megapixels (10 photos on 2 cores: seconds × 2)") == ["1.80"]


def test_our_own_training_is_per_sample(page):
    assert "0.75 seconds per sample" in page  # 60 seconds for 40 + 40 samples


def test_memory_is_in_gigabytes(page):
    assert "2.1 GB of memory for one sample" in page


def test_times_of_several_threads_are_not_those_of_a_core(tmp_path):
    with pytest.raises(ValueError, match="with 2 threads"):
        page_of(tmp_path, 2)
