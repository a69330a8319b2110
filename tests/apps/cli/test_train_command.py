"""`defusion train`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from defusion_lib.apps.cli import main
from defusion_lib.data.datasets import names_with
from defusion_lib.lock import locked


@pytest.fixture
def folder(tmp_path, one_thread):
    """Ten photos of 40x30 whose left half is noise, and masks white on the right."""
    (tmp_path / "mine/masks").mkdir(parents=True)
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 255
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3))
        photo = np.where(mask[..., None] > 0, 100 + number, noise).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / f"mine/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"mine/masks/{number}.png")
    return tmp_path / "mine"


def invoke(*arguments):
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


@pytest.mark.slow
def test_it_trains_and_writes_network_curve_and_card(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("defusion_lib.experiments.training_run.STAGES", {"cpu": ((8, 32, 2), (5, 32, 1), (3, 48, 1))})
    into = tmp_path / "made"
    arguments = ["--root", folder, "--into", into, "--held-out", "3", "--iterations", "4", "--seed", "7"]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in into.iterdir()) == ["card.md", "curve.png", "network.safetensors"]
    assert "folder-mine: 7 photos to train on, 3 held out" in result.stderr and "takes about" in result.stderr
    assert "this network: mae 0." in result.stdout and str(into / "card.md") in result.stdout
    found = json.loads(invoke(*arguments, "--json").stdout)
    assert found["recipe"]["seed"] == 7 and sum(stage[0] for stage in found["recipe"]["stages"]) == 4
    assert len(found["held_out"]["stems"]) == 3 and found["scores"]["this network"]["mae"]["se"] > 0


@pytest.mark.slow
def test_one_photo_held_out_has_no_standard_error(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("defusion_lib.experiments.training_run.STAGES", {"cpu": ((2, 32, 1), (1, 32, 1), (1, 48, 1))})
    arguments = ["--root", folder, "--into", tmp_path / "made", "--held-out", "1", "--iterations", "3"]
    assert "±" not in invoke(*arguments).stdout.splitlines()[1]
    found = json.loads(invoke(*arguments, "--json").stdout, parse_constant=pytest.fail)
    assert found["scores"]["this network"]["mae"]["se"] is None


def test_first_weights_are_read_before_anything_is_computed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("defusion_lib.experiments.training_run.estimate_seconds", lambda *given: pytest.fail())
    np.savez(tmp_path / "wrong.npz", a=1)
    result = invoke("--root", folder, "--into", tmp_path / "made", "--backbone", tmp_path / "wrong.npz")
    assert result.exit_code == 2 and "wrong.npz is not a readable safetensors file" in result.stderr


def test_two_runs_do_not_train_in_one_folder(folder, tmp_path):
    (tmp_path / "made").mkdir()
    with locked(tmp_path / "made", "train"):
        result = invoke("--root", folder, "--into", tmp_path / "made", "--iterations", "3")
    assert result.exit_code == 2 and "made is in use by process" in result.stderr.replace("\n", " ")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "masks/4.png").unlink(), "masks has no mask for 4 (1 of 10 photos)"),
        (
            lambda folder: Image.new("L", (9, 9), 255).save(folder / "masks/4.png"),
            "mask is 9x9 pixels but its photo is 40x30",
        ),
        (lambda folder: (folder / "4.png").write_bytes(b"bad"), "4.png cannot be read as a picture"),
        (
            lambda folder: [Image.new("L", (40, 30), 255).save(path) for path in (folder / "masks").iterdir()],
            "masks of folder-mine mark nothing or everything as blurred",
        ),
    ],
)
def test_wrong_photos_are_one_sentence_before_the_training(folder, tmp_path, spoil, sentence):
    spoil(folder)
    result = invoke("--root", folder, "--into", tmp_path / "made")
    assert result.exit_code == 2 and sentence in result.stderr.replace("\n", " "), result.output
    assert not (tmp_path / "made").exists() and "takes about" not in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "szu"], f"--data szu cannot be trained on: choose one of {', '.join(names_with('train'))}"),
        (["--data", "synthetic", "--held-out", "3"], "comes divided into parts: leave out held_out=3"),
        (["--data", "synthetic", "--recipe", "gpu"], "recipe='gpu' does not exist"),
        (
            ["--backbone", "imagenet", "--begin-with", "shipped"],
            "--backbone imagenet has no effect beside --begin-with",
        ),
        (["--held-out", "many"], "neither a number of photos such as 20 nor a share"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, sentence):
    result = invoke(*arguments)
    assert result.exit_code == 2 and sentence in result.stderr
