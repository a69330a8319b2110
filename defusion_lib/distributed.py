"""Share one training among the processes that torchrun starts: GPUs of one or more machines, or CPU cores.

Each process computes an equal part of every batch, and DistributedDataParallel averages the gradients.
"""

import atexit
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

NEEDED = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # beside WORLD_SIZE


class _Loss(nn.Module):
    """Compute a loss in one forward pass of one module, which is what DistributedDataParallel takes."""

    def __init__(self, network: nn.Module, loss: Callable[..., torch.Tensor]):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, *batch: torch.Tensor) -> torch.Tensor:
        return self.loss(self.network, *batch)


@dataclass(frozen=True)
class Processes:
    """The processes of a training, seen from one of them: process `rank` of `world`, with a device for itself."""

    rank: int
    world: int
    device: torch.device | str

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, batch: list[int]) -> list[int]:
        """Return this process's part of a batch; the parts are of one length, and all of them make up the batch."""
        each = len(batch) // self.world
        return batch[self.rank * each : (self.rank + 1) * each]

    def wrap(self, network: nn.Module, loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        """Return `loss(network, *batch)` as a function of the batch, with gradients averaged over the processes."""
        if self.world == 1:
            return partial(loss, network)
        return DistributedDataParallel(_Loss(network, loss), gradient_as_bucket_view=True)

    def mean(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the mean of the processes' losses; with several processes it has no gradient."""
        if self.world > 1:
            loss = loss.detach() / self.world
            distributed.all_reduce(loss)
        return loss

    def gather(self, value: Any) -> list:
        """Wait for all processes, and return the value of each, by rank."""
        found = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(found, value)
        return found

    @contextmanager
    def together(self, checkpoint: Path | None) -> Iterator[None]:
        """Raise ConnectionAbortedError where another process ends, or torchrun ends this one (by SIGTERM)."""
        if self.world == 1:
            yield
            return

        def stop(*_):
            kept = f", which resumes from {checkpoint.name}" if checkpoint is not None and checkpoint.exists() else ""
            raise ConnectionAbortedError(
                f"Process {self.rank} of {self.world} stops, because another one ended or torchrun was stopped: run "
                f"the same command again{kept}."
            )

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
                raise
            before = signal.SIG_IGN  # torchrun sends it now; the program has to print the sentence first
            stop()
        finally:
            signal.signal(signal.SIGTERM, before)


def join(device: torch.device | str = "cpu") -> Processes:
    """Connect the processes of a training and return them; it may be called again.

    A program without WORLD_SIZE in its environment, or with 1, is the only process. Raises ValueError where the rest of
    torchrun's environment is missing, and where a machine has fewer GPUs than processes.
    """
    world = int(os.environ.get("WORLD_SIZE") or 1)
    if world == 1:
        return Processes(0, 1, device)
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise ValueError(
            f"WORLD_SIZE is {world}, but {missing[0]} is not set: start it with torchrun, or unset WORLD_SIZE."
        )
    cuda = torch.device(device).type == "cuda"
    if cuda:
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            raise ValueError(f"{here} processes share {gpus} GPUs on this machine: use --nproc-per-node {gpus}.")
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if cuda else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Processes(int(os.environ["RANK"]), world, device)
