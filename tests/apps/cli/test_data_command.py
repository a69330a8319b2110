"""`defusion data check`."""

import json
from importlib import import_module

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from defusion_lib.apps.cli import main


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "masks").mkdir()
    for level in range(6):
        Image.fromarray(np.full((8, 9, 3), level, np.uint8)).save(tmp_path / f"{level}.png")
        Image.fromarray(np.repeat(np.uint8([[0, 255]]), [4, 5], axis=1).repeat(8, axis=0)).save(
            tmp_path / f"masks/{level}.png"
        )
    return tmp_path


def test_a_whole_folder_is_exit_code_0(folder):
    result = CliRunner().invoke(main, ["data", "check", str(folder)])
    assert result.exit_code == 0, result.output
    assert "folder: A folder of your own\n  photos  6\n" in result.stdout and "whole   yes" in result.stdout


def test_wrong_files_are_named_with_exit_code_1(folder, monkeypatch):
    monkeypatch.setattr(import_module("defusion_lib.apps.cli.data"), "SHOWN", 2)
    (folder / "0.png").write_bytes(b"not a picture")
    for level in range(1, 4):
        (folder / f"masks/{level}.png").unlink()
    result = CliRunner().invoke(main, ["data", "check", str(folder)])
    assert result.exit_code == 1 and "whole   no: 4 problems" in result.stdout
    lines = [line for line in result.stderr.splitlines() if ": " in line and "checking" not in line]
    assert lines[0] == "masks/1: is missing" and lines[1] == "masks/2: is missing"
    assert lines[2].startswith("0.png: cannot be read as a picture")
    assert lines[3] == "and 1 more (is missing): see --json"
    found = json.loads(CliRunner().invoke(main, ["data", "check", str(folder), "--json"]).stdout)
    assert len(found["datasets"][0]["problems"]) == 4 and found["datasets"][0]["whole"] is False


def test_no_data_set_is_exit_code_2(tmp_path):
    result = CliRunner().invoke(main, ["data", "check", str(tmp_path)])
    assert result.exit_code == 2 and "holds no picture" in result.stderr
