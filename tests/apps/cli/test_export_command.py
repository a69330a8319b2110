"""`defusion export`."""

import json

import pytest
import torch
from click.testing import CliRunner

from defusion_lib import export
from defusion_lib.apps.cli import main
from defusion_lib.network import DeFusionNet
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


def test_without_the_extra_it_is_named_with_exit_code_2(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(export.util, "find_spec", lambda name: None)
    told = run(str(tmp_path / "a.onnx"), "--network", mine)
    assert told.exit_code == 2 and told.stderr.count("\n") == 1
    assert 'pip install "defusion-lib[export]"' in told.stderr


def test_a_network_that_is_missing(tmp_path):
    told = run(str(tmp_path / "a.ts"), "--network", "missing.safetensors")
    assert told.exit_code == 2 and "missing.safetensors" in told.stderr
