"""Render outputs/COSTS.md: what large runs would cost, from measured seconds.

`tools.render_readme` writes it. Every number is a measured one times a count; the counts are those of params/paper.
"""

from pathlib import Path

import yaml

from tools.render_results import read, rows_of, samples

PASSES = 3  # of a training sample, in forward passes: forward, and backward for weights and inputs
FLOPS = 2  # of a multiply-accumulate
SPEEDS = (1, 10, 50)  # of a GPU, in TFLOP/s that a training sustains
SHARDS = (1, 16, 256)
PHOTOS = 1_000_000

PAGE = """# What it would cost

Large runs, calculated from small measurements: `make run PROFILE=paper` as jobs of a cluster, and `defusion map` over
a million photos. `python -m tools.render_readme` writes this page from result files and from `params/paper/`.
Only processor cores were measured, one or two. No GPU was measured: its rows are arithmetic.

## Measured

{device}; one core, unless the row says another number:

{measured}

## The paper's ablations: {runs} trainings

`params/paper/08_ablations.yaml` trains {rows} rows with {seeds} seeds. Each training sees {samples:,} samples
({iterations:,} iterations of {batch}) at {size} x {size} pixels. One sample takes {gflop:,.0f} GFLOP: {passes} forward
passes of {gmac:.0f} GMAC. Every row is counted as the full network, so rows with fewer steps are counted too high.

{grid}

One core sustains {core:.2f} TFLOP/s. A GPU reaches a part of the speed on its data sheet, and the part depends on the
GPU, the number format and the batch: time 100 iterations before you plan. The trainings are separate jobs, so {runs}
GPUs finish the grid in the time of one training. A training needs {memory:.1f} GB of memory for one sample on a
processor, and about {batch} times as much for a batch.

## A million photos

`defusion map --shard 1/16` maps one of 16 parts of a folder; each part can be a job of its own with one core
([clusters](../tools/slurm/README.md)). {seconds:.1f} seconds per photo of 12 megapixels, {ratio:.2f} times the
time of the network alone, which maps one photo after the other with all cores; `defusion map` maps one on each core:

{photos}

The results need {disk:.1f} TB ({kilobytes:,.0f} kB per photo: the map at the photo's size, a preview, a table row).

## Assumptions

- The time grows linearly with samples and photos. For photos this was measured with tiny pictures, up to
  {largest:,} files ([results](cpu/results/bench_map.json)); for samples it holds because each iteration does the same
  work.
- The cluster's cores are as fast as the measured one, and a job has a core alone. Waiting in the queue, failed jobs and
  the evaluation after a training are not included.
- Photos are JPEG files of 12 megapixels, 92 % quality, on a local disk.
- The seconds per sample were measured with a batch of one in single precision. bfloat16 and a larger batch are faster:
  the network in the package, with compact heads, half of the resolution in the fusion and bfloat16, was trained at
  {ours:.2f} seconds per sample at 224 and 320 pixels.
"""


def costs_page(results: Path, box: Path, grid: Path) -> str:
    """Render the page as Markdown.

    `results` and `box` are the folders of result files of profile cpu and of the network in the package, `grid` the
    parameters of notebook 08 that are counted.
    """
    efficiency, bench, trained = read(results / "10_efficiency.json"), read(results / "bench_map.json"), _trained(box)
    if (threads := efficiency["stamp"]["threads"]) != 1:
        raise ValueError(
            f"Notebook 10 of profile cpu was run with {threads} threads, and its times are those of one core here: "
            "run it with DEFUSION_THREADS=1."
        )
    given = yaml.safe_load(grid.read_text(encoding="utf-8"))
    ((iterations, size, batch),) = given["stages"]
    runs = len(given["rows"]) * len(given["seeds"]) + len(given["rows_once"])
    key = f"random-{size}x{size}/defusionnet"
    values, mapped = efficiency["values"], bench["values"]
    sample, gmac = values[f"{key}/training-seconds"], values[f"{key}/gmac"]
    samples, gflop = iterations * batch, PASSES * FLOPS * gmac
    photos = mapped["photos-12mp/defusion-map/photos"]
    cores = mapped["photos-12mp/defusion-map/cores"]
    seconds = cores * mapped["photos-12mp/defusion-map/seconds"] / photos
    kilobytes = mapped["photos-12mp/defusion-map/bytes"] / photos / 1000
    core = gflop / sample / 1000
    speeds = [(f"one core of {efficiency['stamp']['device']}, measured", core)]
    speeds += [(f"a GPU that sustains {speed} TFLOP/s, calculated", speed) for speed in SPEEDS]
    return PAGE.format(
        device=efficiency["stamp"]["device"],
        measured=rows_of(
            ["work", "seconds"],
            [
                [f"the reference network, one photo of {size} x {size} pixels", f"{values[f'{key}/seconds']:.2f}"],
                ["the same, one training sample", f"{sample:.2f}"],
                ["compact heads, one training sample", f"{values[f'{key}-compact/training-seconds']:.2f}"],
                [
                    f"`defusion map`, one photo of 12 megapixels ({photos:.0f} photos on {cores:.0f} cores: "
                    f"seconds × {cores:.0f})",
                    f"{seconds:.2f}",
                ],
            ],
        ),
        runs=runs,
        rows=len(given["rows"]) + len(given["rows_once"]),
        seeds=len(given["seeds"]),
        samples=samples,
        iterations=iterations,
        batch=batch,
        size=size,
        gflop=gflop,
        passes=PASSES,
        gmac=gmac,
        grid=rows_of(
            ["hours on", "one training", f"{runs} trainings, one after the other"],
            [[words, *(_hours(n * samples * gflop / speed / 3.6e6) for n in (1, runs))] for words, speed in speeds],
        ),
        core=core,
        memory=values[f"{key}/training-peak-mib"] * 2**20 / 1e9,
        seconds=seconds,
        ratio=mapped["photos-12mp/defusion-map/ratio"],
        photos=rows_of(
            ["jobs with one core each", "hours", "core-hours"],
            [[f"{n}", _hours(PHOTOS * seconds / 3600 / n), _hours(PHOTOS * seconds / 3600)] for n in SHARDS],
        ),
        disk=PHOTOS * kilobytes / 1e9,
        kilobytes=kilobytes,
        largest=max(bench["stamp"]["parameters"]["growth"]),
        ours=trained,
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}"


def _trained(box: Path) -> float:
    """Return the seconds per sample that the training of the network in the package took."""
    content = read(box / "03_training.json")
    (seconds,) = (value for key, value in content["values"].items() if key.endswith("/training-seconds"))
    return seconds / samples(content)
