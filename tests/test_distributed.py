"""Several processes train as one does, and end together.

Processes are started by torchrun, which runs this file: `JOBS` are what they do. They connect by gloo on the CPU.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch
from test_training import MADE_UP, fresh
from torch import nn

from defusion_lib import distributed
from defusion_lib.baselines import DEEP
from defusion_lib.baselines.deep import OURS
from defusion_lib.distributed import NEEDED, Processes, join
from defusion_lib.network import Maps
from defusion_lib.training import MASKS, Recipe, batches, train, train_or_load
from defusion_lib.weights import read_card, weights_hash

ROOT = Path(__file__).resolve().parents[1]
RECIPE = Recipe(stages=((24, 16, 4), (8, 32, 4)), learning_rate=0.05, score_factor=1.0, step_at=20, averaging=0.9)
OTHER = replace(RECIPE, optimiser="adamw", learning_rate=0.005, schedule="cosine", step_at=Recipe.step_at)
FULL = Recipe(stages=((3, 32, 4),), frozen_blocks=2)
HALF, EVERY = 17, 5  # a run is stopped in iteration 17, its checkpoint holds 15
# Largest differences seen between 1, 2 and 4 processes, whole or resumed: see the report of each test.
CURVE, WEIGHTS = 1e-5, 1e-5


class Tiny(nn.Module):
    """A network that trains in milliseconds."""

    switches: dict = {}

    def __init__(self):
        super().__init__()
        self.first, self.side, self.final = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, photo):
        found = torch.relu(self.first(photo))
        return Maps(self.final(found), [self.side(found)])


def tiny(seed=0):
    torch.manual_seed(seed)
    return Tiny()


class Stop(Exception):
    pass


def stopping(action, at=HALF):
    """The task, with an action in the place of the loss of one iteration."""
    calls = []

    def loss(network, *batch):
        calls.append(1)
        return action(network, *batch) if len(calls) == at else MASKS.loss(network, *batch)

    return MASKS._replace(loss=loss)


def stop(*_):
    raise Stop


def half(checkpoint):
    with pytest.raises(Stop):
        train(tiny(), MADE_UP, RECIPE, checkpoint=checkpoint, every=EVERY, task=stopping(stop))


def ended(network, history):
    return {"loss": history.loss, "stretches": history.stretches, "weights": network.state_dict()}


def trained(network, recipe, **how):
    return ended(network, train(network, MADE_UP, recipe, **how))


def together(folder):
    """All that needs several processes and ends well; leaves one file for each process."""
    rank = int(os.environ["RANK"])
    found = {"sgd": trained(tiny(), RECIPE), "adamw": trained(tiny(), OTHER), "full": trained(fresh(), FULL)}
    found["resumed"] = trained(tiny(), RECIPE, checkpoint=folder / "one.pt")
    half(folder / "several.pt")
    shown = []
    train(tiny(), MADE_UP, RECIPE, every=EVERY, show=lambda history: shown.append(len(history.loss)))
    loaded = train_or_load(folder / "whole.safetensors", Tiny, MADE_UP, RECIPE)
    again = train_or_load(folder / "whole.safetensors", Tiny, MADE_UP, RECIPE)
    found |= {"shown": shown, "loaded": [weights_hash(loaded), weights_hash(again)]}

    def spoilt(network, *batch):
        return MASKS.loss(network, *batch) * (nan if rank == 1 else 1)

    for name, error, change in (
        ("seed", ValueError, {"recipe": replace(RECIPE, seed=rank)}),
        ("weights", ValueError, {"network": tiny(rank)}),
        ("batch", ValueError, {"recipe": replace(RECIPE, stages=((2, 16, 4), (2, 16, 3)))}),
        ("nan", FloatingPointError, {"task": stopping(spoilt)}),
    ):
        with pytest.raises(error) as raised:
            train(**{"network": tiny(), "photos": MADE_UP, "recipe": RECIPE} | change)
        found[name] = str(raised.value)
    torch.save(found, folder / f"{rank}.pt")


def killed(folder):
    """A training in which the process of the rank in VICTIM is killed by the system."""

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    task = stopping(kill) if os.environ["RANK"] == os.environ["VICTIM"] else MASKS
    try:
        train(tiny(), MADE_UP, RECIPE, checkpoint=folder / "run.pt", every=EVERY, task=task)
    except OSError as error:
        sys.exit(str(error))


def busy(folder):
    """The same, where the other process computes and does not wait for it."""

    def endless(*_):
        while True:
            torch.ones(10).sum()

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        task = stopping(kill if os.environ["RANK"] == os.environ["VICTIM"] else endless)
        train(tiny(), MADE_UP, RECIPE, checkpoint=folder / "run.pt", every=EVERY, task=task)
    except OSError as error:
        sys.exit(str(error))


def networks(folder):
    """Every compared network for two iterations."""
    from test_devices import narrow

    from defusion_lib.training import applicable

    for name, rival in (DEEP | {"defusionnet": OURS}).items():
        torch.manual_seed(0)
        train(narrow(name), MADE_UP, applicable(replace(FULL, stages=((2, 48, 2),), score_factor=1.0, frozen_blocks=0), rival.task), task=rival.task)
        print(name, flush=True)


JOBS = {job.__name__: job for job in (together, killed, busy, networks)}


def torchrun(job, folder, count=2, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    # Whoever waits for ever fails the test.
    return subprocess.run(
        [*command, __file__, job, str(folder)], env=environment, capture_output=True, text=True, timeout=600
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    JOBS[sys.argv[1]](Path(sys.argv[2]))
    sys.exit()
