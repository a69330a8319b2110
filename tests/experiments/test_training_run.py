"""A training run in one call: checked photos, an estimate, exact continuation, scores on photos held out, a card."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.datasets import check_unseen
from defusion_lib.data.shi import split_stems
from defusion_lib.experiments import training_run
from defusion_lib.experiments.training_run import (
    at_most,
    describe,
    duration,
    estimate_seconds,
    plan,
    train_network,
)
from defusion_lib.network import DeFusionNet
from defusion_lib.runs.parameters import check_parameters, read_parameters
from defusion_lib.runs.run import Run
from defusion_lib.training import initialise, make_recipe, train
from defusion_lib.weights import SHIPPED, import_torchvision, load_network, read_card, weights_hash
from tools.graph import parameters_cell

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = replace(plan("cpu", 3), stages=((2, 32, 2), (2, 48, 1)))


def read_made_up(stem):
    """A photo whose left part is noise (sharp) and whose right part is plain (blurred)."""
    rng = np.random.default_rng(int(stem))
    mask = np.zeros((48, 64), np.float32)
    mask[:, int(rng.integers(20, 44)) :] = 1
    return Photo(stem, np.where(mask[..., None] > 0, 128, rng.integers(0, 256, (48, 64, 3))).astype(np.uint8), mask)


PHOTOS = PhotoSet("folder-made-up", ["0", "1", "2"], read_made_up)
HELD_OUT = PhotoSet("folder-made-up", ["3", "4"], read_made_up)


def test_iterations_are_divided_among_the_stages():
    assert plan("cpu").stages == ((800, 128, 4), (500, 224, 4), (300, 320, 2))
    assert plan("cpu", 160).stages == ((80, 128, 4), (50, 224, 4), (30, 320, 2))
    for iterations in (3, 7, 50, 1601):
        stages = plan("cpu", iterations, seed=5).stages
        assert sum(stage[0] for stage in stages) == iterations and min(stage[0] for stage in stages) > 0
    assert plan("cpu", 7, seed=5).seed == 5
    assert plan("paper", 100).step_at == 50 and plan("paper").step_at == 5000
    with pytest.raises(ValueError, match="iterations=2 are fewer than the 3 stages of recipe cpu"):
        plan("cpu", 2)
    with pytest.raises(ValueError, match="recipe='gpu' does not exist: choose one of cpu, frozen, paper"):
        plan("gpu")


def test_large_photos_are_reduced_and_others_stay():
    photos = PhotoSet("made-up", ["0", "1"], read_made_up)
    small = at_most(photos, 32)[0]
    assert small.image.shape == (24, 32, 3) and small.mask.shape == (24, 32) and set(np.unique(small.mask)) == {0, 1}
    assert small.mask.mean() == pytest.approx(photos[0].mask.mean(), abs=0.03)
    assert at_most(photos, 64)[0].image is not None and np.array_equal(at_most(photos, 64)[0].image, photos[0].image)
    bare = PhotoSet("bare", ["0"], lambda stem: read_made_up(stem)._replace(mask=None))
    assert at_most(bare, 32)[0].mask is None


def half_plain(stem, inverted):
    """A photo whose left half is noise and whose right half, the blurred one, is plain."""
    image = np.random.default_rng(ord(stem)).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    image[:, 32:] = 90
    mask = np.zeros((48, 64), np.float32)
    mask[:, 32:] = 1
    return Photo(stem, image, 1 - mask if inverted else mask)


def uniform(stem):
    return read_made_up(stem)._replace(mask=np.ones((48, 64), np.float32))


def test_what_is_doubtful_is_said_before_the_training():
    assert describe(PHOTOS, HELD_OUT) == ["folder-made-up: 3 photos to train on, 2 held out (3, 4)."]
    mixed = PhotoSet("folder-made-up", ["0", "1"], lambda stem: (uniform if stem == "1" else read_made_up)(stem))
    words = describe(mixed, HELD_OUT)
    assert words[1].startswith("1 of 2 training masks mark nothing or everything as blurred (1)")
    with pytest.raises(ValueError, match="None of the 2 held-out masks has both blurred and in-focus pixels"):
        describe(PHOTOS, PhotoSet("folder-made-up", ["3", "4"], uniform))
    for inverted in (False, True):
        many = PhotoSet("folder-made-up", list("abcdefgh"), lambda stem, inverted=inverted: half_plain(stem, inverted))
        words = " ".join(describe(many, HELD_OUT))
        assert (
            "The masks look inverted: the part that is marked as blurred has less detail in only 0 of 8" in words
        ) == inverted
    bare = PhotoSet("folder-made-up", ["3"], lambda stem: read_made_up(stem)._replace(mask=None))
    with pytest.raises(ValueError, match="3 of folder-made-up has no mask"):
        describe(PHOTOS, bare)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 seconds"), (89, "89 seconds"), (100, "2 minutes"), (5399, "90 minutes"), (5400, "1.5 hours")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.slow
def test_the_estimate_counts_what_is_left_of_each_stage(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=1)
    before = weights_hash(network)
    # Each timed iteration takes one tick of this clock.
    for begun, left in ((0, 50), (10, 40), (30, 20), (45, 5), (50, 0)):
        recipe = replace(SHORT, stages=((30, 32, 1), (20, 32, 2)))
        assert estimate_seconds(network, PHOTOS.in_memory(), recipe, begun=begun) == left
    assert weights_hash(network) == before


@pytest.mark.parametrize("made", ["damaged", "of another recipe"])
@pytest.mark.slow
def test_a_checkpoint_that_is_refused_is_refused_before_the_estimate(made, tmp_path, monkeypatch):
    checkpoint = tmp_path / "network.pt"
    if made == "damaged":
        checkpoint.write_bytes(b"bad")
    else:
        train(initialise(lambda: DeFusionNet("compact"), SHORT), PHOTOS, SHORT, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    monkeypatch.setattr(training_run, "estimate_seconds", None)
    with pytest.raises(ValueError, match=r"(is not a readable checkpoint|belongs to another run \(seed=0).*delete it"):
        train_network(PHOTOS, HELD_OUT, replace(SHORT, seed=1), tmp_path, say=lambda words: None)
    assert checkpoint.read_bytes() == before


def losses_in(checkpoint):
    """Count the iterations in a checkpoint that another process writes."""
    return len(torch.load(checkpoint, weights_only=True)["history"]["loss"]) if checkpoint.exists() else 0


RUN = """
import sys
import time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from defusion_lib import training
training.EVERY = 1
from test_training_run import HELD_OUT, PHOTOS, SHORT, train_network
train_network(PHOTOS, HELD_OUT, SHORT, Path({into!r}), say=lambda words: print(words, flush=True))
"""


def start(into):
    code = RUN.format(tests=str(Path(__file__).parent), into=str(into))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path):
    said = []
    whole = train_network(PHOTOS, HELD_OUT, SHORT, tmp_path / "whole", say=said.append)
    assert said[0].startswith("folder-made-up: 3 photos to train on") and "The training takes about" in said[-1]
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == [
        "card.md",
        "curve.png",
        "network.safetensors",
    ]

    killed, checkpoint = start(tmp_path / "killed"), tmp_path / "killed/network.pt"
    while killed.poll() is None and losses_in(checkpoint) < 1:
        pass
    assert killed.poll() is None, killed.stderr.read()
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    begun = losses_in(checkpoint)
    assert 1 <= begun < SHORT.iterations
    resumed = start(tmp_path / "killed")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert f"{begun} of 4 iterations are done. The training takes about" in out
    again = tmp_path / "killed/network.safetensors"
    assert weights_hash(load_network(again)) == weights_hash(load_network(whole.network))
    assert read_card(again)["scores"] == read_card(whole.network)["scores"]
    assert len(read_card(again)["stretches"]) == 2


@pytest.mark.slow
def test_a_finished_run_is_scored_again_and_its_card_names_the_photos(tmp_path):
    first = train_network(PHOTOS, HELD_OUT, SHORT, tmp_path, say=lambda words: None)
    said, before = [], first.words.read_text()
    second = train_network(PHOTOS, HELD_OUT, SHORT, tmp_path, say=said.append)
    assert "is there: it is scored again" in said[-1] and second.scores == first.scores
    assert second.words.read_text() == before
    card = read_card(second.network)
    assert card["data"]["stems"] == ["0", "1", "2"] and card["held_out"]["stems"] == ["3", "4"]
    check_unseen(HELD_OUT, card)
    with pytest.raises(ValueError, match="trained on 1 of folder-made-up"):
        check_unseen(PHOTOS[1:2], card)
    assert set(card["scores"]) == {"mae", "max-f-blur", "max-f-focus", "auc"}
    assert list(second.scores) == ["this network", "the shipped network"]
    assert second.scores["this network"]["mae"][1] > 0
    for words in (
        "3 photos to train on",
        "Held out: 3, 4",
        "Seed: 0",
        "torch 2.",
        "VGG-16 of the shipped network",
        "±",
    ):
        assert words in before, words
    with Image.open(second.curve) as image:
        assert image.width > 300
    with pytest.raises(ValueError, match=r"network.safetensors was made in another way \(seed=0 instead of 1"):
        train_network(PHOTOS, HELD_OUT, replace(SHORT, seed=1), tmp_path, say=lambda words: None)


@pytest.mark.slow
def test_parts_with_photos_of_the_same_names_can_be_told_apart_by_nobody(tmp_path):
    names = ["0", os.fsdecode(b"\xe9")]  # the second is no UTF-8
    photos, held_out = (
        PhotoSet("folder-two", names, lambda stem, more=more: read_made_up(str(names.index(stem) + more)))
        for more in (0, 2)
    )
    made = train_network(photos, held_out, SHORT, tmp_path, say=lambda words: None)
    card = read_card(made.network)
    assert "stems" not in card["data"] and card["held_out"]["stems"] == names
    check_unseen(held_out, card)
    assert b"Held out: 0, \xe9" in made.words.read_bytes()


@pytest.mark.slow
def test_first_weights_that_saw_held_out_photos_are_refused(tmp_path):
    other = PhotoSet("shi-last100", HELD_OUT.stems, read_made_up)
    with pytest.raises(
        ValueError, match=r"\(the shipped network\) come from a training that saw some of the 2 held-out"
    ):
        train_network(PHOTOS, other, SHORT, tmp_path / "a", say=lambda words: None)
    mine = train_network(PHOTOS, HELD_OUT, SHORT, tmp_path / "b", say=lambda words: None).network
    with pytest.raises(ValueError, match="first weights .network.safetensors. come from"):
        train_network(HELD_OUT, PHOTOS, SHORT, tmp_path / "c", begin_with=mine, say=lambda words: None)
    going_on = train_network(PHOTOS, HELD_OUT, SHORT, tmp_path / "d", begin_with=SHIPPED, say=lambda words: None)
    assert load_network(going_on.network).config == load_network().config
    assert "First weights: the shipped network." in going_on.words.read_text()
    assert not (tmp_path / "a").exists() and not (tmp_path / "c").exists()


# ------------------------------------------------------------------------------------- the training of notebook 03


def begun(**given):
    """A run of notebook 03 with a small network, two iterations and two rendered photos."""
    root = Path(__file__).resolve().parents[2]
    defaults = read_parameters(parameters_cell(root / "notebooks/03_training.ipynb"))
    small = {"profile": "tiny", "stages": [[2, 32, 1]], "count": 2, "steps": 1, "backbone": "random", "every": 1}
    run = Run("03_training", defaults, check_parameters(defaults, small | given))
    return run, training_run.trainings(run.parameters)["network"]


@pytest.mark.slow
def test_the_training_is_what_the_parameters_of_the_notebook_say():
    _, training = begun(augmentation=["noise"], learning_rate=0.1, averaging=0.5, seed=3, recipe="frozen", cam="off")
    changes = {"stages": [[2, 32, 1]], "augmentation": ["noise"], "learning_rate": 0.1, "averaging": 0.5, "seed": 3}
    assert training.recipe == make_recipe("frozen", **changes)
    assert DeFusionNet(**training.switches).config == DeFusionNet("compact", steps=1, cam="off").config
    assert training.open_photos().name == "synthetic" and len(training.open_photos()) == 2


@pytest.mark.slow
def test_a_trained_network_is_read_and_leaves_the_stamp_of_its_training(outputs, monkeypatch):
    first, training = begun()
    photos, path = training.open_photos(), outputs / "tiny/weights/03_training.safetensors"
    training_run.train_one(first, "network", photos)
    card = read_card(path)
    assert (
        card["notebook"] == "03_training" and card["parameters"]["steps"] == 1 and card["backbone"] == "random weights"
    )
    assert card["data"][0]["name"] == "synthetic" and len(card["loss"]) == 2
    assert list((outputs / "tiny/checkpoints").iterdir()) == []

    again, _ = begun()
    network, words = training_run.first_network(again)
    assert words == "random weights"
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "train", None)
        history = training_run.train_or_read(again, network, photos, 1)
    assert history.loss == card["loss"] and again.stamp["training_stretches"] == card["training_stretches"]
    assert again.stamp["weights_sha256"] == card["weights_sha256"] and not network.training
    assert (
        weights_hash(network) == weights_hash(load_network(path)) != weights_hash(training_run.first_network(again)[0])
    )

    shown = []
    other, _ = begun(learning_rate=0.1)
    training_run.train_or_read(
        other, training_run.first_network(other)[0], photos, 2, lambda h: shown.append(len(h.loss))
    )
    assert shown == [2] and read_card(path)["weights_sha256"] == other.stamp["weights_sha256"] != card["weights_sha256"]


@pytest.mark.slow
def test_a_network_to_go_on_from_comes_before_a_backbone(outputs):
    run, training = begun(begin_with="shipped", steps=3, fusion_stride=2)
    network, _ = training_run.first_network(run)
    assert training.begin_with == "shipped"
    assert weights_hash(network) == weights_hash(load_network()) == run.stamp["begun_with"]["weights_sha256"]
    training_run.train_or_read(run, network, training.open_photos(), 1)
    card = read_card(outputs / "tiny/weights/03_training.safetensors")
    assert card["begun_with"] == run.stamp["begun_with"]
    assert ["begun_with" in stretch for stretch in card["training_stretches"]] == [False]
    assert "data_before" not in card


@pytest.mark.slow
def test_a_card_has_the_sets_that_the_backbone_learnt_from(outputs):
    last100 = PhotoSet("shi-last100", split_stems("last100", "test"), lambda stem: None)
    for backbone, sets in (("random", []), ("shipped", ["shi-dutlab100"])):
        run, training = begun(backbone=backbone)
        training_run.train_one(run, "network", training.open_photos())
        card = read_card(outputs / "tiny/weights/03_training.safetensors")
        assert [each["name"] for each in card["data_before"]] == sets
    with pytest.raises(ValueError, match="trained on shi-dutlab100, which holds most of the test photos"):
        check_unseen(last100, card)


def test_imagenets_weights_are_downloaded_once_or_an_error_names_the_way_out(tmp_path, monkeypatch):
    entry, asked = import_torchvision().models.VGG16_Weights.IMAGENET1K_FEATURES, []

    def offline(url, *arguments, **more):
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ConnectionError, match="could not be downloaded.*no route to host.*give as backbone a file"):
        training_run.backbone_file("imagenet")
    assert asked == [entry.url]
    (tmp_path / f"checkpoints/{Path(entry.url).name}").touch()
    assert training_run.backbone_file("imagenet") == "imagenet" and len(asked) == 1
    assert training_run.backbone_file("random") is None
