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

from defusion_lib.baselines.deep import dhde
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.lock import locked
from defusion_lib.network import DeFusionNet
from defusion_lib.training import (
    RECIPES,
    History,
    Recipe,
    applicable,
    augmented,
    average_of,
    batches,
    check_masks,
    identity,
    make_optimiser,
    make_recipe,
    save_checkpoint,
    train,
    train_or_load,
)
from defusion_lib.weights import weights_hash

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = Recipe(
    stages=((4, 32, 2), (2, 64, 1)),
    optimiser="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=0.01,
)


BARE = replace(SHORT, score_factor=1.0)


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


@pytest.mark.slow
def test_it_learns_two_photographs():
    network = fresh()
    history = train(network, MADE_UP[:2], replace(SHORT, stages=((40, 32, 2),), rotations=(0,), scales=(1.0,)))
    # Seven maps that say nothing cost 7 ln 2 = 4.85; over seeds 0 to 4 the loss ended between 0.3 and 1.2.
    assert np.mean(history.loss[-5:]) < 2.4


@pytest.mark.slow
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


# Every part of a recipe that keeps a state of its own, or draws at random.
ENGINE = replace(
    SHORT,
    precision="auto",
    averaging=0.9,
    augmentation=("sharp-square", "crop", "half-blur", "rescale", "tone", "noise", "jpeg"),
)
KILLED_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_training import ENGINE, MADE_UP, SHORT, fresh, torch, train, weights_hash
torch.set_num_threads(1)
network = fresh()
train(network, MADE_UP, {recipe}, checkpoint=Path({checkpoint!r}), every=1, show=lambda h: print(len(h.loss), flush=True))
print(weights_hash(network), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["SHORT", "ENGINE"])
def test_run_killed_by_the_system_goes_on_in_a_new_process(recipe, tmp_path):
    tests = str(Path(__file__).parent)
    script = KILLED_RUN.format(recipe=recipe, tests=tests, checkpoint=str(tmp_path / "killed.pt"))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            if line.strip() == "3":
                os.kill(process.pid, signal.SIGKILL)
                break
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] in ("4", "5")  # it went on instead of starting anew
    whole = fresh()
    train(whole, MADE_UP, {"SHORT": SHORT, "ENGINE": ENGINE}[recipe])
    assert said[-1] == weights_hash(whole)


@pytest.mark.slow
def test_finished_run_is_not_trained_again(tmp_path):
    first, again = fresh(), fresh()
    train(first, MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")
    history = train(again, MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")
    assert weights_hash(again) == weights_hash(first) and len(history.stretches) == 1


@pytest.mark.slow
def test_checkpoint_of_another_recipe_or_network_is_refused(tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(fresh(), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="run.pt belongs to another run .*stages="):
        train(fresh(), MADE_UP, SHORT, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="belongs to another run .*fam=True instead of False"):
        train(fresh(fam=False), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)


@pytest.mark.slow
def test_damaged_checkpoint_is_named(tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(fresh(), MADE_UP, replace(SHORT, stages=((1, 32, 1),)), checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match="run.pt is not a readable checkpoint .* delete it to start again"):
        train(fresh(), MADE_UP, SHORT, checkpoint=checkpoint)


def test_a_changed_number_of_a_checkpoint_is_refused(tmp_path):
    checkpoint, network = tmp_path / "run.pt", Bare()
    save_checkpoint(
        checkpoint, network, make_optimiser(network, BARE), None, identity(network, MADE_UP, BARE), History(), {}
    )
    whole = checkpoint.read_bytes()
    place = whole.index(network.layer.weight.detach().numpy().tobytes())
    checkpoint.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ValueError, match=r"^run.pt is not a readable checkpoint \(BadZipFile\): delete it"):
        train(network, MADE_UP, BARE, checkpoint=checkpoint)


def test_a_folder_in_place_of_a_file_is_refused_before_the_first_iteration(tmp_path):
    (tmp_path / "run.pt").mkdir()
    with pytest.raises(ValueError, match=r"^run.pt is not a readable checkpoint \(IsADirectoryError\)"):
        train(Bare(), MADE_UP, BARE, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="^run.pt is not a readable safetensors file"):
        train_or_load(tmp_path / "run.pt", Bare, MADE_UP, BARE)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.slow
def test_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    checkpoint = tmp_path / "run.pt"
    recipe = replace(SHORT, optimiser="sgd", learning_rate=1e30, schedule="step")
    with pytest.raises(FloatingPointError, match="at iteration 1: lower the learning rate"):
        train(fresh(), MADE_UP, recipe, checkpoint=checkpoint, every=1)
    assert checkpoint.is_file() and [p.name for p in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a limit of the size of files is one of POSIX")
def test_a_full_disk_leaves_the_last_files(tmp_path):
    """In a process that may write 100 kB to a file, as where a disk has no more space."""
    (tmp_path / "run.pt").write_bytes(b"before")
    (tmp_path / "net.safetensors").write_bytes(b"before")
    code = """
import resource, signal, sys
from pathlib import Path
from defusion_lib import training, weights
from defusion_lib.lock import locked
from defusion_lib.network import DeFusionNet
network, folder = DeFusionNet("compact", steps=1), Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
optimiser = training.make_optimiser(network, training.Recipe())
for write in (
    lambda: training.save_checkpoint(folder / "run.pt", network, optimiser, None, {}, training.History(), {}),
    lambda: weights.save_network(network, folder / "net.safetensors", {}),
):
    try:
        write()
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    for line, name in zip(done.stdout.splitlines(), ("run.pt", "net.safetensors"), strict=True):
        assert f"{name} (File too large); what was there before is unchanged" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("run.pt", "net.safetensors"), b"before"
    )


def test_two_processes_do_not_write_one_checkpoint(tmp_path):
    recipe = replace(SHORT, stages=((1, 32, 1),))
    with locked(tmp_path, "run"), pytest.raises(BlockingIOError, match="is in use by process"):
        train(fresh(), MADE_UP, recipe, checkpoint=tmp_path / "run.pt")
    train(fresh(), MADE_UP, recipe, checkpoint=tmp_path / "run.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_every_sample_comes_once_a_pass_in_an_order_of_the_seed():
    recipe = Recipe(stages=((12, 8, 4), (12, 16, 4)), seed=3)
    order = [image.shape[-1] for image, _ in batches(MADE_UP, recipe)]
    assert order == [8] * 12 + [16] * 12

    def passes(seed):
        recipe = Recipe(stages=((48, 8, 1),), scales=(1.0,), seed=seed)
        drawn = [image.numpy().tobytes() for image, _ in batches(MADE_UP, recipe)]
        return drawn[:24], drawn[24:]

    (first, second), (other, _) = passes(3), passes(4)
    every = [image.numpy().tobytes() for image, _ in augmented(MADE_UP, 8, Recipe(scales=(1.0,)))]
    assert sorted(first) == sorted(second) == sorted(other) == sorted(every)
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


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [dict(schedule="cosine"), dict(schedule="step", step_at=0.5)])
def test_each_iteration_has_the_rates_of_the_schedule(monkeypatch, schedule):
    recipe, used, found = replace(SHORT, stages=((6, 32, 1),), **schedule), [], []

    def keep(network, recipe):
        used.append(make_optimiser(network, recipe))
        return used[-1]

    monkeypatch.setattr("defusion_lib.training.make_optimiser", keep)
    rates = [group["lr"] for group in make_optimiser(fresh(), recipe).param_groups]
    show = lambda _: found.append([group["lr"] for group in used[0].param_groups])  # noqa: E731
    train(fresh(), MADE_UP, recipe, every=1, show=show)
    np.testing.assert_allclose(found, [[rate * recipe.rate(i) for rate in rates] for i in range(6)])
    assert len({rate for rate, *_ in found}) > 1


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


@pytest.mark.slow
def test_frozen_blocks_keep_their_weights():
    network = fresh()
    before = [p.clone() for p in network.backbone.parameters()]
    train(network, MADE_UP, replace(SHORT, stages=((2, 32, 1),), frozen_blocks=2))
    moved = [not torch.equal(p, old) for p, old in zip(network.backbone.parameters(), before)]
    assert moved == [False] * 8 + [True] * 18


@pytest.mark.parametrize("wrong", [{"optimiser": "adam"}, {"schedule": "linear"}, {"precision": "fp16"}])
def test_unknown_optimiser_schedule_or_precision_names_the_valid_ones(wrong):
    with pytest.raises(ValueError, match="does not exist: choose .* or "):
        Recipe(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": ()},
        {"stages": ((10, 32),)},
        {"stages": ((0, 32, 4),)},
        {"stages": ((10, 32, 0),)},
        {"stages": ((10, 32.5, 4),)},
        {"learning_rate": 0.0},
        {"backbone_factor": -1.0},
        {"score_factor": -0.1},
        {"frozen_blocks": 6},
        {"weight_decay": -1e-4},
        {"averaging": 1.0},
        {"rotations": ()},
        {"rotations": (45,)},
        {"rotations": (90, 90)},
        {"scales": ()},
        {"scales": (0.5,)},
        {"augmentation": ("sharpen",)},
        {"augmentation": ("noise", "noise")},
        {"schedule": "cosine", "step_at": 100},
    ],
    ids=str,
)
def test_a_setting_that_cannot_act_is_refused(wrong):
    name = list(wrong)[-1]
    with pytest.raises(ValueError, match=f"^{name}=.*(expected|has no effect)"):
        Recipe(**wrong)


def test_rendered_scenes_are_refused_at_sizes_that_they_do_not_have():
    Recipe(stages=((1, 64, 1), (1, 384, 1)), augmentation=("noise", "rendered"))
    Recipe(stages=((1, 385, 1),), augmentation=("noise",))
    with pytest.raises(
        ValueError, match=r"^augmentation=\('noise', 'rendered'\) .* at 385 pixels: expected at most 384"
    ):
        Recipe(stages=((1, 64, 1), (1, 385, 1), (1, 128, 1)), augmentation=("noise", "rendered"))


class Bare(torch.nn.Module):
    """A network without VGG-16 and without layers that are known to lie under a loss."""

    config: dict = {}

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 1, 1)


@pytest.mark.parametrize("name, value", [("score_factor", 0.1), ("backbone_factor", 0.5), ("frozen_blocks", 1)])
def test_a_setting_without_effect_on_this_network_is_refused(name, value):
    neutral = replace(SHORT, score_factor=1.0, backbone_factor=1.0, frozen_blocks=0)
    make_optimiser(Bare(), neutral)
    with pytest.raises(ValueError, match=f"{name}={value} has no effect on Bare"):
        make_optimiser(Bare(), replace(neutral, **{name: value}))


@pytest.mark.parametrize("name, value", [("rotations", (0,)), ("augmentation", ("noise",)), ("frozen_blocks", 2)])
def test_a_setting_without_effect_on_this_task_is_refused(name, value):
    recipe = replace(SHORT, **{name: value})
    assert getattr(applicable(recipe, dhde.TASK), name) == getattr(Recipe(), name)
    assert applicable(recipe, dhde.TASK).stages == recipe.stages
    with pytest.raises(ValueError, match=f"{name}=.* has no effect on this method"):
        train(dhde.DHDE(), MADE_UP, recipe, task=dhde.TASK)


# What a checkpoint belongs to


def changed(photos, **change):
    """The same set with something else in its first photograph, or under another name."""

    def read(stem):
        photo = photos.read(stem)
        return photo._replace(**{name: make(photo) for name, make in change.items()}) if stem == "0" else photo

    return PhotoSet(photos.name, photos.stems, read)


@pytest.mark.slow
@pytest.mark.parametrize(
    "other, named",
    [
        (dict(photos=MADE_UP[:2]), "data.photographs=3 instead of 2"),
        (
            dict(photos=PhotoSet("shi-last100", MADE_UP.stems, MADE_UP.read)),
            "data.name='made-up' instead of 'shi-last100'",
        ),
        (dict(photos=changed(MADE_UP, mask=lambda photo: 1 - photo.mask)), "data.pixels_sha256="),
        (dict(photos=changed(MADE_UP, image=lambda photo: photo.image[::-1])), "data.pixels_sha256="),
        (dict(network=fresh(seed=1)), "begun_with_sha256="),
        (dict(recipe=replace(SHORT, seed=1)), "seed=0 instead of 1"),
        (dict(recipe=replace(SHORT, averaging=0.9)), "averaging=0.0 instead of 0.9"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_run_does_not_go_on_with_anything_else(other, named, tmp_path):
    given = dict(network=fresh(), photos=MADE_UP, recipe=SHORT, checkpoint=tmp_path / "run.pt")
    train(**given)
    before = given["checkpoint"].read_bytes()
    with pytest.raises(ValueError, match=f"run.pt belongs to another run .*{named}"):
        train(**given | dict(network=fresh()) | other)
    assert given["checkpoint"].read_bytes() == before


@pytest.mark.slow
def test_a_run_does_not_go_on_with_another_version_of_the_recipe(tmp_path, monkeypatch):
    train(fresh(), MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")
    monkeypatch.setattr("defusion_lib.training.RECIPE_VERSION", -1)
    with pytest.raises(ValueError, match="recipe_version=.* instead of -1"):
        train(fresh(), MADE_UP, SHORT, checkpoint=tmp_path / "run.pt")


# Data that cannot be learnt from


def spoilt(stem):
    if stem == "1":
        raise ValueError("1.jpg cannot be read as a picture (it is cut short): copy it again")
    return read_made_up(stem)


@pytest.mark.parametrize(
    "read, sentence",
    [
        (spoilt, "1.jpg cannot be read as a picture"),
        (lambda stem: read_made_up(stem)._replace(mask=None), "0 of made-up has no mask"),
        (lambda stem: read_made_up(stem)._replace(mask=np.ones((48, 64), np.float32)), "All 3 masks of made-up mark"),
        (lambda stem: read_made_up(stem)._replace(mask=np.zeros((48, 64), np.float32)), "All 3 masks of made-up mark"),
    ],
)
def test_photographs_are_checked_before_the_first_iteration(read, sentence, tmp_path):
    network = fresh()
    before = weights_hash(network)
    with pytest.raises(ValueError, match=sentence):
        train(network, PhotoSet("made-up", MADE_UP.stems, read), SHORT, checkpoint=tmp_path / "run.pt")
    assert weights_hash(network) == before and not list(tmp_path.iterdir())


def test_no_photographs_are_refused_as_such():
    with pytest.raises(ValueError, match="^made-up holds no photo to train on: choose"):
        check_masks(MADE_UP[:0])


# Precision and averaged weights


@pytest.mark.slow
def test_precision_is_kept_and_moves_the_loss_a_little(monkeypatch):
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: True)  # others compute it too, slowly
    found = {}
    for precision in ("fp32", "auto"):
        found[precision] = train(fresh(), MADE_UP, replace(SHORT, stages=((3, 32, 1),), precision=precision))
    assert [found[name].stretches[0]["precision"] for name in ("fp32", "auto")] == ["fp32", "bf16"]
    assert found["auto"].stretches[0]["channels_last"] is True
    # bfloat16 keeps 8 bits.
    np.testing.assert_allclose(found["auto"].loss, found["fp32"].loss, rtol=5e-3)
    assert found["auto"].loss[0] != found["fp32"].loss[0]


def test_bf16_where_it_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: False)
    with pytest.raises(ValueError, match="precision='bf16' was asked for, but this cpu has no bfloat16"):
        train(fresh(), MADE_UP, replace(SHORT, precision="bf16"))


@pytest.mark.slow
def test_averaged_weights_are_the_moving_average_of_every_iteration(monkeypatch):
    seen = []
    network, recipe = fresh(), replace(SHORT, averaging=0.75)
    average = average_of(network, recipe)
    monkeypatch.setattr("defusion_lib.training.average_of", lambda *_: average)
    train(network, MADE_UP, recipe, every=1, show=lambda _: seen.append(network.final.weight.clone()))
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(network.final.weight, expected)
    assert not torch.equal(network.final.weight, seen[-1])


def test_a_recipe_by_name_takes_changes_as_parameters_give_them():
    assert make_recipe("paper") == Recipe()
    recipe = make_recipe("cpu", stages=[[3, 32, 2]], augmentation=["crop"], learning_rate=None, seed=5)
    assert recipe == replace(RECIPES["cpu"], stages=((3, 32, 2),), augmentation=("crop",), seed=5)
