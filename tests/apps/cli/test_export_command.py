"""`defusion export`."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from defusion_lib import export
from defusion_lib.apps.cli import main
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.experiments.training_run import train_network
from defusion_lib.network import DeFusionNet
from defusion_lib.training import make_recipe
from defusion_lib.weights import save_network


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    torch.manual_seed(0)
    save_network(DeFusionNet("compact", steps=1), path, {})
    return str(path)


def run(*arguments):
    return CliRunner().invoke(main, ["export", *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine.onnx", "mine.ts"])
def test_it_writes_the_file_and_says_what_it_holds(mine, name, tmp_path):
    told = run(str(tmp_path / name), "--network", mine, "--size", "64", "--json")
    assert told.exit_code == 0, told.output
    written = json.loads(told.stdout)
    assert written["bytes"] == (tmp_path / name).stat().st_size
    assert written["metadata"]["size"] == "64" and written["largest-difference"] < 1e-4


@pytest.mark.slow
def test_the_text_says_what_an_int8_file_was_compared_with(mine, tmp_path):
    for precision, words in (("fp32", "torch's"), ("int8", "torch's with the same rounded weights")):
        told = run(str(tmp_path / "a.onnx"), "--network", mine, "--size", "64", "--precision", precision)
        assert told.exit_code == 0 and f"largest difference of its maps from {words}: " in told.stdout


def test_without_the_extra_it_is_named_with_exit_code_2(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(export.util, "find_spec", lambda name: None)
    told = run(str(tmp_path / "a.onnx"), "--network", mine)
    assert told.exit_code == 2 and told.stderr.count("\n") == 1
    assert 'pip install "defusion-lib[export]"' in told.stderr


def test_a_network_that_is_missing(tmp_path):
    told = run(str(tmp_path / "a.ts"), "--network", "missing.safetensors")
    assert told.exit_code == 2 and "missing.safetensors" in told.stderr


@pytest.mark.slow
def test_a_network_of_defusion_train_keeps_its_terms_and_its_size(tmp_path, one_thread):
    def read(stem):
        image = np.random.default_rng(int(stem)).integers(0, 256, (40, 40, 3), np.uint8)
        return Photo(stem, image, np.repeat([[0, 1]], 40, axis=0).repeat(20, axis=1).astype(np.float32))

    photos, held_out = (PhotoSet("folder-mine", list(stems), read) for stems in ("01", "2"))
    recipe = make_recipe("cpu", stages=[[1, 64, 1]])
    trained = train_network(photos, held_out, recipe, tmp_path / "mine", say=lambda words: None)
    told = run(str(tmp_path / "mine.ts"), "--network", str(trained.network), "--json")
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)["metadata"]
    assert facts["size"] == "64"
    for term in ("CC BY 4.0", "Shi, Xu and Jia offer for research", "trained on folder-mine, whose own terms apply"):
        assert term in facts["licence"]
