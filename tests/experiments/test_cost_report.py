"""Tables, figures and result values of costs, from costs and times that are made up."""

import numpy as np
import pytest

from defusion_lib.experiments import cost_report
from defusion_lib.experiments.efficiency import PARTS, Case, Cost, Measurement, Timing, TrainingCost

SMALL, LARGE = Case("compact", 64, 64), Case("compact", 96, 96)
STEPS = [Case("compact", 64, 64, steps=steps) for steps in (1, 2, 3)]


def timing(median, first=9.0):
    return Timing(first, np.array([median / 2, median, 2 * median]))


@pytest.fixture
def costs():
    """Make the parts of two networks, of which one has no arithmetic but in its backbone."""
    rising = {part: Cost((i + 1) * 10**9, 10**6) for i, part in enumerate(PARTS)}
    only = dict.fromkeys(PARTS, Cost(0, 0)) | {"backbone": Cost(2 * 10**9, 5 * 10**5)}
    return {"rising": rising, "only": only}


def test_parts_add_up(costs):
    table = cost_report.part_table(costs)
    assert list(table.index) == [*PARTS, "all"]
    assert list(table.loc["all"]) == ["21.000", "100.0%", "6.000", "2.000", "100.0%", "0.500"]
    assert list(table["rising: share"])[:2] == ["4.8%", "9.5%"]
    drawing = cost_report.draw_parts(costs, 320)
    assert drawing.arrays["gmac"] == [[1, 2, 3, 4, 5, 6], [2, 0, 0, 0, 0, 0]]
    assert drawing.arrays["parameters"][1][0] == 0.5
    assert [bar.get_width() for bar in drawing.figure.axes[0].patches] == [1, 2, 3, 4, 5, 6, 2, 0, 0, 0, 0, 0]


def test_training_takes_three_passes_of_forty_thousand_samples(costs):
    table = cost_report.training_table(costs)
    # 40,000 samples x 3 x 21 GMAC in 11.7 hours of 3,600 seconds.
    assert list(table.loc["rising"]) == ["40,000", "63.00", "2.5", f"{2.52e6 / 11.7 / 3600:,.0f}"]


@pytest.mark.slow
def test_time_table_and_results_share_their_numbers():
    times = {SMALL: timing(0.5), LARGE: timing(0.25)}
    table = cost_report.time_table(times, reference=SMALL)
    gmac = SMALL.cost.gmac
    row = table.loc["defusionnet-compact, 64x64"]
    assert list(row) == [f"{gmac:.3f}", "0.500", "0.375", "0.750", f"{gmac / 0.5:.1f}", "1.00"]
    assert table.iloc[1, -1] == "0.50"
    assert "share of seconds" not in cost_report.time_table(times)
    values = cost_report.time_results(times, reference=SMALL)
    assert {key.rpartition("/")[2]: value for key, value in values.items() if "96x96" in key} == {
        "seconds": 0.25,
        "lower-quartile-seconds": 0.1875,
        "upper-quartile-seconds": 0.375,
        "first-seconds": 9,
        "share-of-seconds": 0.5,
    }
    assert not [key for key in cost_report.time_results(times) if "share" in key]


@pytest.mark.slow
def test_cases_are_counted_and_only_steps_store_their_parameters():
    cost = STEPS[0].cost
    assert cost_report.cost_results([SMALL, STEPS[0]]) == {
        "random-64x64/defusionnet-compact/gmac": SMALL.cost.gmac,
        "random-64x64/defusionnet-compact+step1/gmac": cost.gmac,
        "random-64x64/defusionnet-compact+step1/parameters": cost.parameters,
    }
    table = cost_report.case_table([STEPS[0]])
    assert list(table.iloc[0]) == [f"{cost.gmac:.3f}", f"{cost.parameters:,}"]


def test_a_straight_line_through_steps():
    times = {case: timing(0.2 + 0.1 * case.steps) for case in STEPS}
    assert cost_report.seconds_per_step(times) == pytest.approx((0.1, 0.2))


@pytest.mark.slow
def test_figure_of_times_shows_what_was_timed_and_stores_what_was_counted():
    cases = [*(case._replace(heads="radf") for case in (SMALL, LARGE)), LARGE, SMALL]
    times = {LARGE: timing(0.4), SMALL: timing(0.3)}
    drawing = cost_report.draw_times(cases, times, {case: timing(0.1 * case.steps) for case in STEPS})
    left, right = drawing.figure.axes
    assert list(left.lines[0].get_xdata()) == [SMALL.cost.gmac, LARGE.cost.gmac]
    assert list(left.lines[0].get_ydata()) == [0.3, 0.4]
    assert list(right.lines[0].get_ydata()) == pytest.approx([0.1, 0.2, 0.3])
    assert {text.get_text() for text in left.texts} == {"64x64", "96x96"}
    assert drawing.arrays["gmac_defusionnet"] == [case.cost.gmac for case in cases[:2]]
    assert drawing.arrays["gmac_defusionnet-compact"] == [LARGE.cost.gmac, SMALL.cost.gmac]
    assert drawing.arrays["gmac_steps"] == [case.cost.gmac for case in STEPS]
    assert drawing.arrays["sizes"] == [(64, 64), (96, 96)]


def test_training_cost_is_per_photo_and_memory_may_be_absent():
    cost = TrainingCost(LARGE, 4, Measurement(9, 0.5, 100.0), Measurement(9, 8.0, None))
    table = cost_report.training_cost_table([cost])
    label = "defusionnet-compact, 96x96"
    assert list(table.loc[f"{label}, detection"])[:3] == [1, "0.500", "100"]
    # 40,000 samples of two seconds each.
    row = list(table.loc[f"{label}, training"])
    assert row == [4, "2.000", "not measured", "4.0", f"{80_000 / 3600:.1f}"]
    key = "random-96x96/defusionnet-compact"
    assert cost_report.training_results([cost]) == {f"{key}/training-seconds": 2, f"{key}/peak-mib": 100}
    both = cost._replace(training=Measurement(9, 8.0, 300.0))
    assert cost_report.training_results([both])[f"{key}/training-peak-mib"] == 300


@pytest.mark.slow
def test_influences_are_one_table_and_three_results():
    threads = {1: timing(0.4), 2: timing(0.3)}
    default = Measurement(9, 6.0, 50.0)
    table = cost_report.influence_table({SMALL: timing(0.2)}, threads, {"default": default}, 4)
    label = "defusionnet-compact, 64x64"
    expected = [f"{label}: first call", f"{label}: later calls", "one thread", "2 threads", "training, default"]
    assert list(table.index) == expected
    assert list(table["seconds"]) == ["9.000", "0.200", "0.400", "0.300", "1.500"]
    assert list(table["peak MiB"]) == ["", "", "", "", "50"]
    key = "random-96x96/defusionnet-compact/default-allocator-training"
    found = cost_report.influence_results(SMALL, threads, LARGE, default, 4)
    expected = {"random-64x64/defusionnet-compact/one-thread-seconds": 0.4, f"{key}-seconds": 1.5}
    assert found == expected | {f"{key}-peak-mib": 50}
    without = default._replace(peak_mib=None)
    assert cost_report.influence_results(SMALL, threads, LARGE, without, 4) == expected


@pytest.mark.parametrize("here", [True, False])
def test_allocator_names_tell_which_one_this_process_has(monkeypatch, here):
    monkeypatch.setattr(cost_report, "has_allocator_settings", lambda: here)
    assert ["(as here)" in name for name in cost_report.allocator_names()] == [here, not here]
