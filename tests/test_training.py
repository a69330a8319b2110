"""One loop: it learns, it can be killed, and it says what is wrong."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np
import pytest
import torch

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.network import DeFusionNet
from defusion_lib.training import Recipe, batches, make_optimiser, train
from defusion_lib.weights import weights_hash

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = Recipe(
    stages=((4, 32, 2), (2, 64, 1)),
    optimiser="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=0.01,
)


def read_made_up(stem):
    """A photograph whose left part is noise (sharp) and whose right part is plain (blurred)."""
    rng = np.random.default_rng(int(stem))
    mask = np.zeros((48, 64), np.float32)
    mask[:, int(rng.integers(20, 44)) :] = 1
    image = np.where(mask[..., None] > 0, 128, rng.integers(0, 256, (48, 64, 3))).astype(np.uint8)
    return Photo(stem, image, mask)


MADE_UP = PhotoSet("made-up", [str(i) for i in range(3)], read_made_up)


def fresh(seed=0, **switches):
    torch.manual_seed(seed)
    return DeFusionNet("compact", **{"steps": 1} | switches)


def test_it_learns_two_photographs():
    network = fresh()
    history = train(
        network, MADE_UP[:2], replace(SHORT, stages=((40, 32, 2),), rotations=(0,), scales=(1.0,))
    )
    # Seven maps that say nothing cost 7 ln 2 = 4.85; over seeds 0 to 4 the loss ended between 0.3 and 1.2.
    assert np.mean(history.loss[-5:]) < 2.4


def test_resumed_run_ends_with_the_same_weights(tmp_path):
    whole, half = fresh(), fresh()
    history = train(whole, MADE_UP, SHORT)

    class Stop(Exception):
        pass

    def stop(history):
        if len(history.loss) == 4:
            raise Stop

    checkpoint = tmp_path / "run.pt"
    with pytest.raises(Stop):
        train(half, MADE_UP, SHORT, checkpoint=checkpoint, every=2, show=stop)
    resumed = fresh()
    continued = train(resumed, MADE_UP, SHORT, checkpoint=checkpoint, every=2)
    assert weights_hash(resumed) == weights_hash(whole)
    assert continued.loss == history.loss
    assert [(s["from"], s["to"]) for s in continued.stretches] == [(0, 4), (4, 6)]


KILLED_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_training import MADE_UP, SHORT, fresh, torch, train, weights_hash
torch.set_num_threads(1)
network = fresh()
train(network, MADE_UP, SHORT, checkpoint=Path({checkpoint!r}), every=1, show=lambda h: print(len(h.loss), flush=True))
print(weights_hash(network), flush=True)
"""


def test_run_killed_by_the_system_goes_on_in_a_new_process(tmp_path):
    tests = str(Path(__file__).parent)
    script = KILLED_RUN.format(tests=tests, checkpoint=str(tmp_path / "killed.pt"))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            if line.strip() == "3":
                os.kill(process.pid, signal.SIGKILL)
                break
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] in ("4", "5")  # it went on instead of starting anew
    whole = fresh()
    train(whole, MADE_UP, SHORT)
    assert said[-1] == weights_hash(whole)


def test_finished_run_is_not_trained_again(tmp_path):
    first, again = fresh(), fresh()
    train(first, MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")
    history = train(again, MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")
    assert weights_hash(again) == weights_hash(first) and len(history.stretches) == 1


def test_checkpoint_of_another_recipe_or_network_is_refused(tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(fresh(), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="run.pt belongs to another run .*stages="):
        train(fresh(), MADE_UP, SHORT, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="belongs to another run .*fam=True instead of False"):
        train(fresh(fam=False), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)


def test_damaged_checkpoint_is_named(tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(fresh(), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match="run.pt is not a readable checkpoint .* delete it to start anew"):
        train(fresh(), MADE_UP, SHORT, checkpoint=checkpoint)


def test_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    checkpoint = tmp_path / "run.pt"
    recipe = replace(SHORT, optimiser="sgd", learning_rate=1e30, schedule="step")
    with pytest.raises(FloatingPointError, match="at iteration 1: lower the learning rate"):
        train(fresh(), MADE_UP, recipe, checkpoint=checkpoint, every=1)
    assert checkpoint.is_file() and [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    checkpoint = tmp_path / "run.pt"
    train(fresh(), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)
    before = checkpoint.read_bytes()

    def full(state, path):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    from defusion_lib import training

    with pytest.raises(OSError):
        training.save_checkpoint(
            checkpoint, fresh(), make_optimiser(fresh(), SHORT), None, {}, training.History()
        )
    assert checkpoint.read_bytes() == before


def test_every_sample_comes_once_a_pass_in_an_order_of_the_seed():
    recipe = Recipe(stages=((12, 8, 4), (12, 16, 4)), seed=3)
    order = [image.shape[-1] for image, _ in batches(MADE_UP, recipe)]
    assert order == [8] * 12 + [16] * 12

    def passes(seed):
        recipe = Recipe(stages=((48, 8, 1),), scales=(1.0,), seed=seed)
        drawn = [image.sum().item() for image, _ in batches(MADE_UP, recipe)]
        return drawn[:24], drawn[24:]

    (first, second), (other, _) = passes(3), passes(4)
    assert sorted(first) == sorted(second) == sorted(other)
    assert first != second and first != other


def test_batches_can_begin_anywhere():
    recipe = Recipe(stages=((3, 8, 2), (3, 16, 1)))
    whole, rest = list(batches(MADE_UP, recipe)), list(batches(MADE_UP, recipe, begin=4))
    assert len(rest) == 2
    for (image, mask), (other_image, other_mask) in zip(whole[4:], rest):
        assert torch.equal(image, other_image) and torch.equal(mask, other_mask)


def test_paper_recipe_is_the_default():
    recipe = Recipe()
    assert recipe.iterations == 10_000 and recipe.stages == ((10_000, 320, 4),)
    assert isclose(recipe.learning_rate, 1e-8 * 320 * 320, rel_tol=5e-3)
    assert isclose(recipe.weight_decay, 5e-4 / (320 * 320), rel_tol=5e-3)
    assert (recipe.rate(4_999), recipe.rate(5_000), recipe.rate(9_999)) == (1, 0.1, 0.1)
    optimiser = make_optimiser(fresh(), recipe)
    assert all(group["momentum"] == 0.9 for group in optimiser.param_groups)


def test_cosine_schedule_warms_up_and_ends_near_zero():
    recipe = replace(SHORT, stages=((100, 32, 1),))
    rates = [recipe.rate(i) for i in range(100)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1], abs=1e-3)
    assert all(a >= b for a, b in zip(rates[3:], rates[4:])) and rates[-1] < 1e-3


def test_learning_rates_by_part():
    network = fresh()
    recipe = replace(SHORT, backbone_factor=0.1, score_factor=0.5, frozen_blocks=2)
    rate = {
        id(p): (group["lr"] / recipe.learning_rate, group["weight_decay"])
        for group in make_optimiser(network, recipe).param_groups
        for p in group["params"]
    }
    assert id(network.backbone.features[0].weight) not in rate  # frozen
    assert id(network.backbone.features[7].bias) not in rate
    assert rate[id(network.backbone.features[10].weight)] == pytest.approx((0.1, 0.01))
    assert rate[id(network.backbone.features[10].bias)] == pytest.approx((0.2, 0))
    assert rate[id(network.steps[0].score[0].weight)] == pytest.approx((0.5, 0.01))
    assert rate[id(network.final.weight)] == pytest.approx((0.5, 0.01))
    assert rate[id(network.heads[0][0].weight)] == pytest.approx((1, 0.01))


def test_frozen_blocks_keep_their_weights():
    network = fresh()
    before = [p.clone() for p in network.backbone.parameters()]
    train(network, MADE_UP, replace(SHORT, stages=((2, 32, 1),), frozen_blocks=2))
    moved = [not torch.equal(p, old) for p, old in zip(network.backbone.parameters(), before)]
    assert moved == [False] * 8 + [True] * 18


@pytest.mark.parametrize("wrong", [{"optimiser": "adam"}, {"schedule": "linear"}])
def test_unknown_optimiser_or_schedule_names_the_valid_ones(wrong):
    with pytest.raises(ValueError, match="does not exist: choose .* or "):
        Recipe(**wrong)
