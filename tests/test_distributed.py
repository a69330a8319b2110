"""Several processes train as one does, and end together.

Processes are started by torchrun, which runs this file: `JOBS` are what they do. They connect by gloo on the CPU.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch
from test_devices import narrow
from test_training import MADE_UP, fresh
from torch import nn

from defusion_lib import training
from defusion_lib.baselines import DEEP
from defusion_lib.baselines.deep import OURS
from defusion_lib.distributed import NEEDED, Processes, join
from defusion_lib.network import Maps
from defusion_lib.training import MASKS, Recipe, batches, train, train_or_load
from defusion_lib.weights import read_card, weights_hash

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(stages=((24, 16, 4), (8, 32, 4)), learning_rate=0.05, score_factor=1.0, step_at=20, averaging=0.9)
OTHER = replace(RECIPE, optimiser="adamw", learning_rate=0.005, schedule="cosine", step_at=Recipe.step_at)
FULL = Recipe(stages=((3, 32, 4),), frozen_blocks=2)
HALF, EVERY = 17, 5  # a run is stopped in iteration 17, its checkpoint holds 15
# Between 1, 2 and 4 processes, whole or resumed, the largest difference seen was 4.8e-7 of a loss and 2.4e-7 of a
# weight; each weight of a run moves by up to 0.02.
SPREAD = {"rtol": 0, "atol": 1e-5}


class Tiny(nn.Module):
    """A network that trains in milliseconds."""

    config: dict = {}

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.side, self.final = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 3, padding=1)

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
    if rank:
        training.save_checkpoint = training.save_network = None  # the first process alone writes
    found = {"sgd": trained(tiny(), RECIPE), "adamw": trained(tiny(), OTHER), "full": trained(fresh(), FULL)}
    found["resumed"] = trained(tiny(), RECIPE, checkpoint=folder / "one.pt")
    half(folder / "several.pt")
    shown = []
    train(tiny(), MADE_UP, RECIPE, every=EVERY, show=lambda history: shown.append(len(history.loss)))
    loaded = train_or_load(folder / "whole.safetensors", Tiny, MADE_UP, RECIPE)
    again = train_or_load(folder / "whole.safetensors", Tiny, MADE_UP, RECIPE)
    found |= {"shown": shown, "loaded": {weights_hash(loaded), weights_hash(again)}}

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


def lost(folder):
    """A training in which the system kills the process VICTIM while another waits for it or, if BUSY, computes."""

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def compute(*_):
        while True:
            torch.ones(10).sum()

    is_victim = os.environ["RANK"] == os.environ["VICTIM"]
    task = stopping(kill) if is_victim else stopping(compute) if "BUSY" in os.environ else MASKS
    try:
        train(tiny(), MADE_UP, RECIPE, checkpoint=folder / "run.pt", every=EVERY, task=task)
    except OSError as error:
        sys.exit(str(error))


JOBS = {job.__name__: job for job in (together, lost)}


def torchrun(job, folder, count=2, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    # Whoever waits for ever fails the test.
    return subprocess.run(
        [*command, __file__, job, str(folder)], env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """What each of two processes found in `together`, and the folder."""
    folder = tmp_path_factory.mktemp("several")
    half(folder / "one.pt")
    done = torchrun("together", folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)], folder


def assert_close(found, expected):
    assert len(found["loss"]) == len(expected["loss"])
    torch.testing.assert_close(torch.tensor(found["loss"]), torch.tensor(expected["loss"]), **SPREAD)
    torch.testing.assert_close(found["weights"], expected["weights"], **SPREAD)


@pytest.mark.slow
@pytest.mark.parametrize("name, build, recipe", [("sgd", tiny, RECIPE), ("adamw", tiny, OTHER), ("full", fresh, FULL)])
def test_several_processes_have_the_losses_and_weights_of_one(several, name, build, recipe):
    (first, second), _ = several
    torch.testing.assert_close(second[name]["weights"], first[name]["weights"], rtol=0, atol=0)
    assert second[name]["loss"] == first[name]["loss"]
    assert_close(first[name], trained(build(), recipe))
    assert [stretch["processes"] for stretch in first[name]["stretches"]] == [2]


@pytest.mark.slow
def test_a_run_resumes_with_another_number_of_processes(several):
    (first, _), folder = several
    whole = trained(tiny(), RECIPE)
    fewer = trained(tiny(), RECIPE, checkpoint=folder / "several.pt")
    for resumed, numbers in ((first["resumed"], [None, 2]), (fewer, [2, None])):
        assert_close(resumed, whole)
        assert [(each["from"], each.get("processes")) for each in resumed["stretches"]] == [*zip((0, 15), numbers)]


@pytest.mark.slow
def test_the_first_process_alone_writes_and_all_load_what_it_wrote(several):
    (first, second), folder = several
    assert first["shown"] == [5, 10, 15, 20, 25, 30, 32] and second["shown"] == []
    assert first["loaded"] == second["loaded"] and len(first["loaded"]) == 1
    assert read_card(folder / "whole.safetensors")["stretches"][0]["processes"] == 2
    assert not (folder / "whole.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, sentence",
    [
        (
            "seed",
            "Process 1 would train something else than process 0 (seed=1 instead of 0): give all of them the same",
        ),
        ("weights", "Process 1 would train something else than process 0 (begun_with_sha256="),
        ("batch", "2 processes cannot share batches of 4 and 3 in equal parts: start 1 or choose another batch size."),
        ("nan", "The loss is nan at iteration 16: lower the learning rate"),  # in one of them
    ],
)
def test_all_processes_end_with_the_same_sentence(several, name, sentence):
    (first, second), _ = several
    assert first[name] == second[name] and first[name].startswith(sentence)


@pytest.mark.slow
@pytest.mark.parametrize("victim, survivor, how", [(0, 1, {}), (1, 0, {}), (1, 0, {"BUSY": "1"})], ids=str)
def test_a_killed_process_ends_the_run_with_one_sentence_and_a_checkpoint(victim, survivor, how, tmp_path):
    done = torchrun("lost", tmp_path, VICTIM=str(victim), **how)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("Process ")] == [
        f"Process {survivor} of 2 stops, because another one ended or torchrun was stopped: run the same command again, "
        "which resumes from run.pt."
    ]
    resumed = trained(tiny(), RECIPE, checkpoint=tmp_path / "run.pt")
    assert [stretch["from"] for stretch in resumed["stretches"]] == [0, 15]
    assert_close(resumed, trained(tiny(), RECIPE))


def test_the_parts_of_a_batch_make_up_the_batch():
    recipe = Recipe(stages=((3, 8, 4), (2, 16, 8)))
    whole = list(batches(MADE_UP, recipe))
    for world in (1, 2, 4):
        parts = [list(batches(MADE_UP, recipe, share=Processes(rank, world, "cpu").share)) for rank in range(world)]
        for batch, *shared in zip(whole, *parts):
            assert {len(images) for images, _ in shared} == {len(batch[0]) // world}
            for tensor, pieces in zip(batch, zip(*shared)):
                assert torch.equal(torch.cat(pieces), tensor)


def test_one_process_computes_what_it_always_did(monkeypatch):
    for variable in ({}, {"WORLD_SIZE": "1"}):
        for name, value in variable.items():
            monkeypatch.setenv(name, value)
        alone = join("cuda:3")
        assert alone == Processes(0, 1, "cuda:3") and alone.is_writer
        loss, network = torch.ones(()), Tiny()
        assert alone.mean(loss) is loss and alone.gather("a") == ["a"]
        assert alone.wrap(network, lambda *given: given)(1, 2) == (network, 1, 2)


@pytest.fixture
def environment(monkeypatch):
    """The environment of one of three processes that torchrun starts on one machine."""
    monkeypatch.setattr(torch.distributed, "init_process_group", stop)  # it would wait for the others
    for name in NEEDED:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    return monkeypatch


def test_processes_that_torchrun_did_not_start_are_refused(environment):
    environment.delenv("LOCAL_RANK")
    with pytest.raises(ValueError, match="^WORLD_SIZE is 3, but LOCAL_RANK is not set: start it with torchrun"):
        join()


def test_more_processes_than_gpus_are_refused(environment):
    environment.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="^3 processes share 2 GPUs on this machine: use --nproc-per-node 2.$"):
        join("cuda")


@pytest.mark.parametrize("name", DEEP | {"defusionnet": OURS})
def test_no_network_computes_with_other_samples_of_its_batch_or_at_random(name):
    # Batch normalisation would differ between parts of a batch, and dropout between processes.
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    with torch.device("meta"):
        network = narrow(name)
    assert not [module for module in network.modules() if isinstance(module, kinds)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    JOBS[sys.argv[1]](Path(sys.argv[2]))
    sys.exit()
