"""Measure the cost of threads that spin while they wait: a training step and `make run`, with and without busy loops.

    make bench-spin                       # half an hour: outputs/cpu/results/bench_spin.json, and a table
    python -m tools.bench_spin step       # one part, step (minutes) or run, without storing results

Nothing else may run on the machine, which should have two cores, one for each of torch's threads (on a larger one:
`taskset -c 0,1 make bench-spin`). Each measurement runs in a new process, because libgomp reads GOMP_SPINCOUNT once.
The settings alternate, so a machine that slows down affects all of them. The ratios of the step are relative to
libgomp's default on free cores, those of `make run` to the same command on free cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tqdm import tqdm

from defusion_lib import SPINCOUNT
from defusion_lib.runs.run import THREADS, Run

ROOT = Path(__file__).resolve().parents[1]
LIBGOMP = "300000"  # the default of libgomp
SETTINGS = (LIBGOMP, SPINCOUNT, "0")
SURROUNDINGS = {"free": 0, "busy": 2}  # busy loops
SIZE = 96  # pixels per side of the step's photo
ROUNDS = 5
REPEATS = 20  # steps per process
# A loop also ends where the process that started it is killed.
LOOP = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
AIM = 2  # `make run` with the busy loops should take at most this many times as long


def step() -> float:
    """Measure the seconds of one training step on one photo in this process, the median of `REPEATS`."""
    import torch

    from defusion_lib.experiments.efficiency import benchmark, training_iteration
    from defusion_lib.network import DeFusionNet

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    works = {"step": training_iteration(DeFusionNet("compact"), SIZE, 1)}
    return median(benchmark(works, REPEATS, torch.device("cpu"))["step"].seconds)


@contextmanager
def busy_loops(count: int):
    """Run `count` processes that never wait, until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(os.getpid())]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def output_of(command: list[str], **environment: str) -> str:
    """Return the output of a command. Of OpenMP's and make's variables it gets only those of `environment`."""
    set_by_others = ("OMP_", "GOMP_", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(set_by_others)}
    done = subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def bench_step(rounds: int) -> dict[str, float]:
    """Measure the step: seconds and ratios, {"step/spin-1000/busy-seconds": 0.2, ...}."""
    seconds = {(spin, where): [] for spin in SETTINGS for where in SURROUNDINGS}
    with tqdm(total=rounds * len(seconds), desc="step", leave=False) as bar:
        for _ in range(rounds):
            for spin, where in seconds:
                with busy_loops(SURROUNDINGS[where]):
                    output = output_of([sys.executable, "-m", __spec__.name, "--one"], GOMP_SPINCOUNT=spin)
                seconds[spin, where].append(json.loads(output.splitlines()[-1]))
                bar.update()
    base = median(seconds[LIBGOMP, "free"])
    values = {}
    for (spin, where), found in seconds.items():
        values[f"step/spin-{spin}/{where}-seconds"] = median(found)
        values[f"step/spin-{spin}/{where}-ratio"] = median(found) / base
    return values


def bench_run() -> dict[str, float]:
    """Measure a complete `make run`: seconds, {"quick/make-run/busy-seconds": 400, ...}, and their ratio."""
    values = {}
    for where, count in tqdm(SURROUNDINGS.items(), desc="make run", leave=False):
        with tempfile.TemporaryDirectory() as folder, busy_loops(count):
            begun = time.monotonic()
            output_of(["make", "run"], DEFUSION_OUTPUTS=folder)
            values[f"quick/make-run/{where}-seconds"] = time.monotonic() - begun
    values["quick/make-run/busy-ratio"] = values["quick/make-run/busy-seconds"] / values["quick/make-run/free-seconds"]
    return values


def table(values: dict[str, float]) -> str:
    lines = []
    if f"step/spin-{LIBGOMP}/free-seconds" in values:
        heads = ("GOMP_SPINCOUNT", "free, s", "busy, s", "free, ratio", "busy, ratio")
        lines.append("".join(f"{head:>16}" for head in heads))
        for spin in SETTINGS:
            columns = [f"{where}-{what}" for what in ("seconds", "ratio") for where in SURROUNDINGS]
            cells = [values[f"step/spin-{spin}/{column}"] for column in columns]
            lines.append(f"{spin:>16}" + "".join(f"{cell:>16.3f}" for cell in cells))
    if "quick/make-run/busy-ratio" in values:
        free, busy, ratio = (
            values[f"quick/make-run/{what}"] for what in ("free-seconds", "busy-seconds", "busy-ratio")
        )
        judged = "within" if ratio <= AIM else "above"
        lines.append(
            f"make run: {free:.0f} s on free cores, {busy:.0f} s with busy loops, "
            f"{ratio:.2f} times as long: {judged} the aim of {AIM}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", choices=["step", "run", []], help="measure only these, and store no results"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements per setting of the step")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(step()))
        return
    parts = given.parts or ["step", "run"]
    parameters = {"profile": "cpu", "seed": 0, "rounds": ROUNDS}
    run = Run("bench_spin", parameters, parameters | {"rounds": given.rounds})
    run.note(cores=len(os.sched_getaffinity(0)), load_before=os.getloadavg()[0])
    values = bench_step(given.rounds) if "step" in parts else {}
    values |= bench_run() if "run" in parts else {}
    if not given.parts:
        run.results(values)
    print(table(values))


if __name__ == "__main__":
    main()
