"""What a network costs: multiply-accumulates, seconds, memory ("Running Efficiency", Sec. 3.5 and 4.3).

Arithmetic is counted from the layers' shapes and is exact. Seconds and memory are measured: they belong to one
device, one day, and whatever else ran beside.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from defusion_lib.inference import detect
from defusion_lib.losses import deep_supervision
from defusion_lib.network import DeFusionNet
from defusion_lib.training import Recipe, make_optimiser

# A word of a layer's name, and the part of the network that it belongs to.
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
# The Makefile exports these; glibc reads them only when a process starts.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


class Cost(NamedTuple):
    """Multiply-accumulates and learnt numbers of a part of the network."""

    macs: int
    parameters: int


class Timed(NamedTuple):
    """Seconds of the first call, and of each later one."""

    first: float
    seconds: np.ndarray

    @property
    def quartiles(self) -> np.ndarray:
        """Lower quartile, median and upper quartile of the later calls."""
        return np.quantile(self.seconds, [0.25, 0.5, 0.75])


class Trial(NamedTuple):
    """Seconds of the first and the second call in a process of its own, and the memory that it took.

    `mib` is the highest level in MiB above that before the network was built, libraries loaded; None where it
    cannot be read.
    """

    first: float
    seconds: float
    mib: float | None


def costs(network: DeFusionNet, width: int, height: int) -> dict[str, Cost]:
    """The cost of one photograph in each of `PARTS` of DeFusionNet; what is counted says `layer_costs`."""
    found = dict.fromkeys(PARTS, Cost(0, 0))
    for name, cost in layer_costs(network, width, height).items():
        (part,) = {_PART_OF[word] for word in name.split(".") if word in _PART_OF}
        found[part] = _sum([found[part], cost])
    return found


def total_cost(network: nn.Module, width: int, height: int) -> Cost:
    """The cost of one photograph in any network, without the layers that serve training only."""
    return _sum(layer_costs(network, width, height).values())


def layer_costs(network: nn.Module, width: int, height: int) -> dict[str, Cost]:
    """The cost of one photograph in each convolution and linear layer that it passes, {name: cost}.

    Each number that such a layer makes takes one multiply-accumulate for each weight that it is made with. Biases,
    activations, normalisation, pooling and up-sampling are left out, as usual. Padding counts, and a layer that is
    called twice counts twice. On torch's "meta" device nothing is computed.
    """
    found = {}

    def add(name, layer, given, made):
        macs, _ = found.get(name, Cost(0, 0))
        parameters = sum(parameter.numel() for parameter in layer.parameters())
        found[name] = Cost(macs + made.numel() * layer.weight[0].numel(), parameters)

    handles = [
        layer.register_forward_hook(partial(add, name))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            network(torch.empty(1, 3, height, width, device=next(network.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs)))


def timed(works: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, Timed]:
    """How long each work takes: once to warm up, then `repeats` times.

    The works take turns, so that a machine that slows down or warms up does so for all alike.
    """
    seconds = {name: [] for name in works}
    for _ in tqdm(range(1 + repeats), desc="timing", unit="round", leave=False):
        for name, work in works.items():
            _wait(device)
            begun = time.perf_counter()
            work()
            _wait(device)
            seconds[name].append(time.perf_counter() - begun)
    return {name: Timed(first, np.array(later)) for name, (first, *later) in seconds.items()}


def _wait(device):
    """A GPU works on while Python goes ahead: a clock that does not wait reads too little."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_photograph(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 (height, width, 3): what is in a photograph does not change the arithmetic."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def training_iteration(network: DeFusionNet, size: int, batch: int) -> Callable[[], None]:
    """One iteration of the paper's recipe (Eq. 9-10, Sec. 3.5) as a call, on `batch` random photographs.

    Forward, loss of all maps, backward, step of the optimiser; reading and augmenting photographs is left out.
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


def rise(work: Callable[[], object], device: torch.device) -> float | None:
    """How far memory rises while a call runs, in MiB above the level before; None where that cannot be read.

    On a GPU the memory that torch hands out. Otherwise that of the whole process, which Linux keeps the highest
    level of: so this says what it should in a process that never held more before.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    before = _level("VmRSS")
    work()
    # Not getrusage's ru_maxrss: a new process inherits that of the one that started it.
    peak = _level("VmHWM")
    return None if before is None or peak is None else peak - before


def _level(name: str) -> float | None:
    """A line of Linux's /proc/self/status in MiB."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else None


def trial(
    heads: str,
    size: int,
    device: torch.device,
    batch: int = 0,
    allocator: bool = True,
) -> Trial:
    """Build a network and use it twice on `size` x `size` pixels, in a process of its own.

    Two training iterations on `batch` photographs, or where that is 0 the map of one photograph. The process has
    as many threads as this one, and the Makefile's allocator setting or, with `allocator` off, none. Raises
    RuntimeError, with what the process said last, where it fails (mostly: too little memory).
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
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(
            f"The process for {given} ended with {done.returncode} and said: {said} "
            "Where memory was short, choose a smaller size or batch."
        )
    return Trial(**json.loads(done.stdout.splitlines()[-1]))


def _try(heads: str, size: int, batch: int, device: str, threads: int) -> Trial:
    """What the process of a trial does."""
    torch.set_num_threads(threads)
    device = torch.device(device)
    found = {}
    if batch:
        # torch loads 70 MiB of itself with the first optimiser: its code, not what training holds.
        torch.optim.SGD([torch.zeros(1)])

    def work():
        network = DeFusionNet(heads).to(device)
        if batch:
            call = training_iteration(network, size, batch)
        else:
            call = partial(detect, random_photograph(size, size), network, None)
        # Momentum exists from the first step on: only the second iteration holds all that training holds.
        found.update(timed({"call": call}, 1, device))

    mib = rise(work, device)
    return Trial(found["call"].first, found["call"].seconds.item(), mib)


if __name__ == "__main__":
    print(json.dumps(_try(**json.loads(sys.argv[1]))._asdict()))
