"""Count and measure what a network costs: multiply-accumulates, seconds, memory (Sec. 3.5; 4.3, "Running Efficiency").

Multiply-accumulates follow from the layers' shapes and are exact. Seconds and memory are measured: they depend on the
device and its load.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from defusion_lib.inference import detect
from defusion_lib.losses import deep_supervision
from defusion_lib.network import DeFusionNet
from defusion_lib.progress import tqdm
from defusion_lib.training import Recipe, make_optimiser
from defusion_lib.weights import result_name

# Part of a layer's name -> part of the network that the layer belongs to.
_PART_OF = {
    "backbone": "backbone",
    "heads": "heads",
    "cam": "CAM and fuse",
    "fuse": "CAM and fuse",
    "fam": "FAM",
    "refine": "refine",
    "score": "score and final",
    "final": "score and final",
}
PARTS = tuple(dict.fromkeys(_PART_OF.values()))
# The Makefile exports the same (a test compares them); glibc reads them only when a process starts.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
Key = TypeVar("Key")
Returned = TypeVar("Returned")


class Cost(NamedTuple):
    """Multiply-accumulates and parameters of a part of a network, or of all of it."""

    macs: int
    parameters: int

    @property
    def gmac(self) -> float:
        """Multiply-accumulates in units of 10^9."""
        return self.macs / 1e9


class Timing(NamedTuple):
    """Seconds of the first call, and of each later one."""

    first: float
    seconds: np.ndarray

    @property
    def quartiles(self) -> np.ndarray:
        """Lower quartile, median and upper quartile of the later calls."""
        return np.quantile(self.seconds, [0.25, 0.5, 0.75])

    @property
    def median(self) -> float:
        """Median of the later calls."""
        return float(self.quartiles[1])


class Measurement(NamedTuple):
    """Seconds of the first and the second call in a separate process, and the memory that the process took.

    `peak_mib` is the highest level in MiB, libraries loaded, above the level before the network was built; None if
    the system does not report it.
    """

    first: float
    seconds: float
    peak_mib: float | None


class Case(NamedTuple):
    """One network that maps one random photo of `width` x `height` pixels.

    What is None has its usual value; what is given becomes a part of the name in result keys.
    """

    heads: str
    width: int
    height: int
    steps: int | None = None
    precision: str | None = None
    fusion_stride: int | None = None

    @property
    def config(self) -> dict[str, object]:
        """Keywords of the `DeFusionNet` of this case."""
        given = {"heads": self.heads, "steps": self.steps, "fusion_stride": self.fusion_stride}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def dataset(self) -> str:
        """Name of the random photo in result keys."""
        return f"random-{self.width}x{self.height}"

    @property
    def name(self) -> str:
        """Name of the network in result keys."""
        name = head_name(self.heads)
        name += "" if self.steps is None else f"+step{self.steps}"
        name += "" if self.precision is None else f"+{self.precision}"
        return name + ("" if self.fusion_stride is None else f"+stride{self.fusion_stride}")

    @property
    def cost(self) -> Cost:
        """Cost of the map of one photo."""
        return _case_cost(self)


class TrainingCost(NamedTuple):
    """What the photo of a case costs as a map (`detection`), and in training in batches of `batch` photos."""

    case: Case
    batch: int
    detection: Measurement
    training: Measurement

    @property
    def training_seconds(self) -> float:
        """Seconds of training per photo."""
        return self.training.seconds / self.batch


def meta_network(**switches) -> DeFusionNet:
    """Build a network on torch's "meta" device: its tensors have shapes and no values, so nothing is computed."""
    with torch.device("meta"):
        return DeFusionNet(**switches)


def head_name(heads: str) -> str:
    """Return the name that a complete network with these heads has in result keys."""
    return result_name(meta_network(heads=heads))


@cache
def _case_cost(case: Case) -> Cost:
    return total_cost(meta_network(**case.config), case.width, case.height)


def part_costs(network: DeFusionNet, width: int, height: int) -> dict[str, Cost]:
    """Count the cost of one photo in each of `PARTS` of DeFusionNet; see `layer_costs`."""
    found = dict.fromkeys(PARTS, Cost(0, 0))
    for name, cost in layer_costs(network, width, height).items():
        (part,) = {_PART_OF[word] for word in name.split(".") if word in _PART_OF}
        found[part] = sum_costs([found[part], cost])
    return found


def total_cost(network: nn.Module, width: int, height: int) -> Cost:
    """Count the cost of one photo in any network, without the layers that serve training only."""
    return sum_costs(layer_costs(network, width, height).values())


def layer_costs(network: nn.Module, width: int, height: int) -> dict[str, Cost]:
    """Count the cost of one photo in each convolution and linear layer that it passes, {name: cost}.

    One multiply-accumulate is half of what torch counts as floating point operations: one per output value and per
    weight that contributes to it. Biases, activations, normalisation, pooling and up-sampling are left out, as usual.
    Padding counts, and a layer that is called twice counts twice.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.empty(1, 3, height, width, device=next(network.parameters()).device))
    # Names begin with the network's class.
    flops = {name.partition(".")[2]: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    return {
        name: Cost(flops[name] // 2, sum(parameter.numel() for parameter in layer.parameters()))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and name in flops
    }


def sum_costs(costs: Iterable[Cost]) -> Cost:
    """Add multiply-accumulates and parameters."""
    return Cost(*map(sum, zip(*costs)))


def benchmark(calls: Mapping[Key, Callable[[], object]], repeats: int, device: torch.device) -> dict[Key, Timing]:
    """Time each call: once to warm up, then `repeats` times.

    The calls take turns, so that a machine that slows down or warms up affects all of them alike.
    """
    seconds = {key: [] for key in calls}
    for _ in tqdm(range(1 + repeats), desc="timing", unit="round", leave=False):
        for key, call in calls.items():
            _wait(device)
            begun = time.perf_counter()
            call()
            _wait(device)
            seconds[key].append(time.perf_counter() - begun)
    return {key: Timing(first, np.array(later)) for key, (first, *later) in seconds.items()}


def benchmark_cases(cases: Sequence[Case], repeats: int, device: torch.device, seed: int = 0) -> dict[Case, Timing]:
    """Time the map of each case, from the photo as an array to its map as an array; see `benchmark`.

    Weights are random, and so are photos: neither changes the arithmetic.
    """
    networks, calls = {}, {}
    for case in cases:
        precision = case.precision or "fp32"
        # Each precision has its own memory layout: with one network for both, every call would convert the weights.
        key = precision, *case.config.items()
        if key not in networks:
            networks[key] = DeFusionNet(**case.config).to(device)
        image = random_image(case.width, case.height, seed)
        calls[case] = partial(detect, image, networks[key], None, precision)
    return benchmark(calls, repeats, device)


def benchmark_threads(case: Case, repeats: int, device: torch.device, seed: int = 0) -> dict[int, Timing]:
    """Time the map of a case with one thread and with as many as torch has now, which it keeps afterwards."""
    threads = torch.get_num_threads()
    network, image = DeFusionNet(**case.config).to(device), random_image(case.width, case.height, seed)

    def detect_with(count):
        torch.set_num_threads(count)
        detect(image, network, None)

    try:
        return benchmark({count: partial(detect_with, count) for count in sorted({1, threads})}, repeats, device)
    finally:
        torch.set_num_threads(threads)


def _wait(device):
    """Wait for a GPU: it computes while Python goes on, and a clock that does not wait reads too little."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_image(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Make noise, uint8 (height, width, 3): the content of a photo does not change the arithmetic."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def training_iteration(network: DeFusionNet, size: int, batch: int) -> Callable[[], None]:
    """Return a call that does one iteration of the paper's recipe (Eq. 9-10, Sec. 3.5) on `batch` random photos.

    An iteration is forward, loss of all maps, backward, and step of the optimiser; no photo is read or augmented.
    """
    device = next(network.parameters()).device
    photo = torch.rand(batch, 3, size, size, device=device)
    mask = torch.randint(2, (batch, 1, size, size), device=device).float()
    optimiser = make_optimiser(network.train(), Recipe())

    def iterate():
        loss = deep_supervision(network(photo), mask)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return iterate


def peak_memory(call: Callable[[], Returned], device: torch.device) -> tuple[Returned, float | None]:
    """Call a function; return what it returns, and how far memory rises meanwhile, in MiB above the level before.

    The memory is None if the system does not report it. On a GPU it is what torch allocates. Otherwise it is that of
    the whole process, of which Linux reports only the highest level so far: the value is right in a process that never
    held more before.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        found = call()
        return found, (torch.cuda.max_memory_allocated(device) - before) / 2**20
    before = _process_memory("VmRSS")
    found = call()
    # Not getrusage's ru_maxrss: a new process inherits that of its parent.
    peak = _process_memory("VmHWM")
    return found, None if before is None or peak is None else peak - before


def _process_memory(name: str) -> float | None:
    """Read one line of Linux's /proc/self/status, in MiB."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else None


def measure_in_subprocess(
    heads: str, size: int, device: torch.device, batch: int, allocator: bool = True
) -> Measurement:
    """Build a network and use it twice on `size` x `size` pixels, in a separate process.

    The process runs two training iterations on `batch` photos, or with `batch` 0 maps one photo twice. It has as many
    threads as this one, and the Makefile's allocator settings or, with `allocator` off, the defaults of glibc. Raises
    RuntimeError with the last line of the process's error output where it fails, mostly for lack of memory.
    """
    given = dict(heads=heads, size=size, batch=batch, device=str(device), threads=torch.get_num_threads())
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    done = subprocess.run(
        [sys.executable, "-m", "defusion_lib.experiments.efficiency", json.dumps(given)],
        env=environment | (ALLOCATOR if allocator else {}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        error = (done.stderr.strip().splitlines() or ["no error output"])[-1]
        raise RuntimeError(
            f"The process for {given} ended with exit code {done.returncode} ({error}); "
            "if memory was short, choose a smaller size or batch."
        )
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def measure_training(heads: str, size: int, batch: int, device: torch.device) -> TrainingCost:
    """Measure detection and training in separate processes; see `measure_in_subprocess`."""
    detection, training = (measure_in_subprocess(heads, size, device, count) for count in (0, batch))
    return TrainingCost(Case(heads, size, size), batch, detection, training)


def has_allocator_settings() -> bool:
    """Tell whether this process was started with the Makefile's allocator settings."""
    return all(os.environ.get(name) == value for name, value in ALLOCATOR.items())


def _measure(heads: str, size: int, batch: int, device: str, threads: int) -> Measurement:
    """Do the work of the process of `measure_in_subprocess`."""
    torch.set_num_threads(threads)
    device = torch.device(device)
    found = {}
    if batch:
        # torch loads 70 MiB of its code with the first optimiser, which training does not hold.
        torch.optim.SGD([torch.zeros(1)])

    def work():
        network = DeFusionNet(heads).to(device)
        if batch:
            call = training_iteration(network, size, batch)
        else:
            call = partial(detect, random_image(size, size), network, None)
        # Momentum exists from the first step on: only the second iteration holds all that training holds.
        found.update(benchmark({"call": call}, 1, device))

    _, peak_mib = peak_memory(work, device)
    return Measurement(found["call"].first, found["call"].seconds.item(), peak_mib)


if __name__ == "__main__":
    print(json.dumps(_measure(**json.loads(sys.argv[1]))._asdict()))
