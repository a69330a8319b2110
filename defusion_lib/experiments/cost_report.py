"""Show what a network costs (`efficiency`) as tables, figures and result values.

A row of a table is one `Case`; its label is the name of the network, as in result keys, and the size of the photo.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from defusion_lib.evaluation.tables import table
from defusion_lib.experiments.efficiency import (
    PARTS,
    Case,
    Cost,
    Measurement,
    Timing,
    TrainingCost,
    has_allocator_settings,
    head_name,
    sum_costs,
)
from defusion_lib.experiments.result_keys import result_keys
from defusion_lib.network import HEADS
from defusion_lib.paper.tables import SETTINGS, TIMINGS
from defusion_lib.plots import COLOURS, Drawing

# Forward, and backward once for the weights and once for the input of each layer.
PASSES = 3
SAMPLES = int(SETTINGS["iterations"].value * SETTINGS["batch"].value)  # photos that the paper trains on


# ------------------------------------------------------------------------------------------------ arithmetic


def part_table(costs: Mapping[str, Mapping[str, Cost]]) -> pd.DataFrame:
    """Compare the parts of networks, {network: {part: cost}}: GMAC, share of all GMAC, millions of parameters."""
    rows = {part: {} for part in (*PARTS, "all")}
    for network, of_part in costs.items():
        total = sum_costs(of_part.values())
        for part, cost in (of_part | {"all": total}).items():
            rows[part] |= {
                f"{network}: GMAC": cost.gmac,
                f"{network}: share": f"{cost.macs / total.macs:.1%}",
                f"{network}: million parameters": cost.parameters / 1e6,
            }
    return table(rows)


def draw_parts(costs: Mapping[str, Mapping[str, Cost]], size: int) -> Drawing:
    """Draw multiply-accumulates and parameters of the parts of networks, counted at `size` x `size` pixels."""
    gmac = [[cost.gmac for cost in of_part.values()] for of_part in costs.values()]
    millions = [[cost.parameters / 1e6 for cost in of_part.values()] for of_part in costs.values()]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    places = np.arange(len(PARTS))
    for axis, values, label in ((axes[0], gmac, "GMAC"), (axes[1], millions, "parameters (millions)")):
        for i, network in enumerate(costs):
            bars = axis.barh(places + 0.4 * i - 0.2, values[i], 0.38, color=COLOURS[i], label=network)
            axis.bar_label(bars, [f"{value:.2f}" for value in values[i]], padding=3, fontsize=9)
        axis.set(xlabel=label, yticks=places, yticklabels=PARTS)
        axis.margins(x=0.12)
    axes[0].invert_yaxis()
    axes[0].set_title(f"Arithmetic for {size} x {size} pixels")
    axes[1].set_title("Weights")
    axes[1].legend(loc="lower right")
    caption = (
        "Multiply-accumulates (left) and parameters (right) of each part, for the reference heads and for the compact "
        "ones: backbone, heads and refinement do nearly all of the work."
    )
    return Drawing("costs", figure, caption, {"parts": PARTS, "gmac": gmac, "parameters": millions})


def case_table(cases: Iterable[Case]) -> pd.DataFrame:
    """Show the arithmetic and the parameters of cases."""
    counted = {_label(case): case.cost for case in cases}
    return table({label: {"GMAC": cost.gmac, "parameters": f"{cost.parameters:,}"} for label, cost in counted.items()})


def training_table(costs: Mapping[str, Mapping[str, Cost]]) -> pd.DataFrame:
    """Count the arithmetic of the paper's training, and the speed that its hours ask of a device."""
    hours = TIMINGS["training"].value
    rows = {}
    for network, of_part in costs.items():
        per_sample = PASSES * sum_costs(of_part.values()).gmac
        rows[network] = {
            "samples": f"{SAMPLES:,}",
            "GMAC per sample": f"{per_sample:.2f}",
            "million GMAC": f"{SAMPLES * per_sample / 1e6:.1f}",
            f"GMAC/s for {hours} hours": f"{SAMPLES * per_sample / hours / 3600:,.0f}",
        }
    return table(rows)


# ---------------------------------------------------------------------------------------------- measurements


def time_table(times: Mapping[Case, Timing], reference: Case | None = None) -> pd.DataFrame:
    """Show the times of cases beside their arithmetic; with a reference, also as a share of its median."""
    rows = {}
    for case, timing in times.items():
        low, median, high = timing.quartiles
        gmac = case.cost.gmac
        row = {"GMAC": gmac, "seconds": median, "lower quartile": low, "upper quartile": high}
        rows[_label(case)] = row | {"GMAC/s": f"{gmac / median:.1f}"}
        if reference is not None:
            rows[_label(case)]["share of seconds"] = f"{median / times[reference].median:.2f}"
    return table(rows)


def seconds_per_step(times: Mapping[Case, Timing]) -> tuple[float, float]:
    """Fit a straight line to the medians of cases that differ in steps: seconds per step, and seconds of the rest."""
    slope, rest = np.polyfit([case.steps for case in times], [timing.median for timing in times.values()], 1)
    return float(slope), float(rest)


def draw_times(cases: Sequence[Case], times: Mapping[Case, Timing], step_times: Mapping[Case, Timing]) -> Drawing:
    """Draw the times of photos of several sizes over their arithmetic, and the times of one to six steps.

    `times` holds the cases that were timed, `cases` also those of which only the arithmetic was counted. Only the
    arithmetic is in the arrays: it is the same in every run.
    """
    gmac = {case: case.cost.gmac for case in cases}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    # The quartiles are above and below a point: beside it a label covers neither, nor one of the other network.
    beside = ({"xytext": (6, -9), "ha": "left"}, {"xytext": (-6, 3), "ha": "right"})
    for colour, heads, where in zip(COLOURS, HEADS, beside):
        timed = sorted((case for case in times if case.heads == heads), key=gmac.__getitem__)
        if not timed:
            continue
        x = [gmac[case] for case in timed]
        of_case = [times[case] for case in timed]
        _draw_quartiles(left, x, of_case, color=colour, linestyle=":", label=head_name(heads))
        for case, place in zip(timed, x):
            point, text = (place, times[case].median), f"{case.width}x{case.height}"
            left.annotate(text, point, textcoords="offset points", fontsize=8, **where)
    left.set(xscale="log", yscale="log", xlabel="GMAC", ylabel="seconds", title="Sizes: time over arithmetic")
    left.margins(0.25)
    for axis in (left.xaxis, left.yaxis):
        low, high = axis.get_view_interval()
        subs = (1, 2, 3, 5) if high > 10 * low else range(1, 10)
        axis.set(major_locator=LogLocator(subs=subs), major_formatter=StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    left.legend(loc="lower right")
    slope, rest = seconds_per_step(step_times)
    steps, first = [case.steps for case in step_times], next(iter(step_times))
    _draw_quartiles(right, steps, step_times.values(), color=COLOURS[1], linestyle="none", label=head_name(first.heads))
    right.axline((0, rest), slope=slope, color="0.5", linewidth=1, label=f"straight line: {slope:.3f} s per step")
    right.set(xlabel="recurrent steps", ylabel="seconds", xlim=(0, max(steps) + 0.5), ylim=(0, None))
    right.set_title(f"Steps, at {first.width}x{first.height}")
    right.legend(loc="lower right")
    caption = (
        "Left: seconds over multiply-accumulates for photos of several sizes, on logarithmic axes. Right: seconds for "
        "one to six recurrent steps, with a straight line through their medians. Points are medians, bars quartiles."
    )
    of_heads = {heads: [case for case in cases if case.heads == heads] for heads in HEADS}
    arrays = {f"gmac_{head_name(heads)}": [gmac[case] for case in group] for heads, group in of_heads.items()}
    arrays["sizes"] = [(case.width, case.height) for case in next(iter(of_heads.values()))]
    arrays["gmac_steps"] = [case.cost.gmac for case in step_times]
    return Drawing("times", figure, caption, arrays)


def training_cost_table(found: Iterable[TrainingCost]) -> pd.DataFrame:
    """Show what detection and training take per photo, and how long the paper's number of samples would take."""
    rows = {}
    for cost in found:
        hours = SAMPLES * cost.training_seconds / 3600
        rows[f"{_label(cost.case)}, detection"] = {
            "batch": 1,
            "seconds per photo": cost.detection.seconds,
            "peak MiB": _memory(cost.detection),
        }
        rows[f"{_label(cost.case)}, training"] = {
            "batch": cost.batch,
            "seconds per photo": cost.training_seconds,
            "peak MiB": _memory(cost.training),
            "seconds, detection = 1": f"{cost.training_seconds / cost.detection.seconds:.1f}",
            f"hours for {SAMPLES:,} samples": f"{hours:,.1f}",
        }
    return table(rows)


def influence_table(
    times: Mapping[Case, Timing],
    threads: Mapping[int, Timing],
    allocators: Mapping[str, Measurement],
    batch: int,
) -> pd.DataFrame:
    """Show what changes a time although the network stays the same: the first call, threads, the allocator.

    `allocators` are trainings on batches of `batch` photos, under a name for each setting.
    """
    rows = {}
    for case, timing in times.items():
        rows[f"{_label(case)}: first call"] = {"seconds": timing.first}
        rows[f"{_label(case)}: later calls"] = {"seconds": timing.median}
    for count, timing in threads.items():
        rows["one thread" if count == 1 else f"{count} threads"] = {"seconds": timing.median}
    for setting, found in allocators.items():
        rows[f"training, {setting}"] = {"seconds": found.seconds / batch, "peak MiB": _memory(found)}
    return table(rows)


def allocator_names() -> tuple[str, str]:
    """Name the Makefile's allocator settings and the defaults, and tell which of them this process has."""
    here = " (as here)"
    makefile, default = "Makefile's allocator", "default allocator"
    return (makefile + here, default) if has_allocator_settings() else (makefile, default + here)


def _draw_quartiles(axis: Axes, x: Sequence[float], times: Iterable[Timing], **style) -> None:
    low, median, high = np.transpose([timing.quartiles for timing in times])
    axis.errorbar(x, median, [median - low, high - median], marker="o", capsize=3, **style)


def _label(case: Case) -> str:
    return f"{case.name}, {case.width}x{case.height}"


def _memory(found: Measurement) -> str:
    return "not measured" if found.peak_mib is None else f"{found.peak_mib:,.0f}"


# ----------------------------------------------------------------------------------------------- result values


def cost_results(cases: Iterable[Case]) -> dict[str, float]:
    """Return the arithmetic of cases under result keys, with the parameters of those that differ in steps."""
    values = {}
    for case in cases:
        cost = case.cost
        values[f"{case.dataset}/{case.name}/gmac"] = cost.gmac
        if case.steps is not None:
            values[f"{case.dataset}/{case.name}/parameters"] = cost.parameters
    return values


def time_results(times: Mapping[Case, Timing], reference: Case | None = None) -> dict[str, float]:
    """Return the times of cases under result keys; with a reference, also as a share of its median."""
    values = {}
    for case, timing in times.items():
        low, median, high = timing.quartiles
        found = {
            "seconds": median,
            "lower-quartile-seconds": low,
            "upper-quartile-seconds": high,
            "first-seconds": timing.first,
        }
        if reference is not None:
            found["share-of-seconds"] = median / times[reference].median
        values |= result_keys(case.dataset, {case.name: found})
    return values


def training_results(found: Iterable[TrainingCost]) -> dict[str, float]:
    """Return seconds and memory of training under result keys; memory that was not measured is left out."""
    values = {}
    for cost in found:
        key = f"{cost.case.dataset}/{cost.case.name}"
        values[f"{key}/training-seconds"] = cost.training_seconds
        for metric, measurement in (("peak-mib", cost.detection), ("training-peak-mib", cost.training)):
            if measurement.peak_mib is not None:
                values[f"{key}/{metric}"] = measurement.peak_mib
    return values


def influence_results(
    case: Case, threads: Mapping[int, Timing], training: Case, default: Measurement, batch: int
) -> dict[str, float]:
    """Return the time of `case` with one thread, and the cost of a training with the default allocator, as results.

    `default` was measured on batches of `batch` photos of the size of `training`.
    """
    key = f"{training.dataset}/{training.name}/default-allocator-training"
    values = {
        f"{case.dataset}/{case.name}/one-thread-seconds": threads[1].median,
        f"{key}-seconds": default.seconds / batch,
    }
    return values if default.peak_mib is None else values | {f"{key}-peak-mib": default.peak_mib}
