"""`defusion score`: what it prints and writes, what it names on standard error, its exit codes."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from defusion_lib.apps.cli import main
from defusion_lib.data.datasets import DATASETS, open_dataset
from defusion_lib.evaluation.own_maps import PROTOCOLS
from defusion_lib.experiments.own_row import AGAINST

COUNT = 2
SYNTHETIC = ["--data", "synthetic", "--count", str(COUNT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps") / "my_net"
    folder.mkdir()
    for photo in open_dataset("synthetic", "test", count=COUNT):
        levels = 60 + 120 * photo.mask + 50 * np.random.default_rng(0).random(photo.mask.shape)
        Image.fromarray(levels.astype(np.uint8)).save(folder / f"{photo.name}.png")
    return folder


def score(*arguments):
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def test_its_choices_are_those_of_the_library():
    options = {option.name: option for option in main.commands["score"].params}
    assert tuple(options["protocol"].type.choices) == tuple(PROTOCOLS)
    assert options["against"].default == ",".join(AGAINST)


@pytest.mark.slow
def test_a_row_beside_another_method(folder, tmp_path):
    result = score(folder, *SYNTHETIC, "--against", "jnb", "--into", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "synthetic, 2 photos; ± is the bootstrap standard error"
    assert [line.split()[0] for line in lines[2:4]] == ["my_net", "jnb"]
    assert any(line.startswith("auc, jnb") for line in lines) and "wrote scores.json" in lines[-1]
    assert (tmp_path / "out/own_extremes.png").is_file()


@pytest.mark.slow
def test_json_and_the_default_folder(folder):
    result = score(folder, *SYNTHETIC, "--against", "none", "--protocol", "d-dffnet", "--method", "Mine", "--json")
    assert result.exit_code == 0, result.output
    kept = json.loads(result.stdout)
    assert set(kept["values"]) >= {"synthetic/mine/mae", "synthetic/mine/f-half-blur-std"}
    assert json.loads((folder.parent / "my_net_scores/scores.json").read_text())["values"] == kept["values"]


@pytest.mark.slow
def test_notes_are_on_standard_error(folder, tmp_path):
    result = score(folder, *SYNTHETIC, "--against", "none", "--invert", "--into", tmp_path / "out")
    assert result.exit_code == 0 and "Note: The maps of my_net look inverted" in result.stderr
    assert "score them again without --invert" in (tmp_path / "out/rows.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "synthetic", "--count", "5"], "no map for 3 of the 5 photos of synthetic"),
        ([*SYNTHETIC, "--split", "last100"], "has no split 'last100'"),
        (["--data", "shi", "--root", "nowhere"], "There is no nowhere"),
        (["--data", "cuhk"], f"--data cuhk does not exist: choose one of {', '.join(DATASETS)}."),
        (["--data", "shi", "--split", "xu100"], "--split xu100 does not exist: choose one of last100, dutlab100."),
        ([*SYNTHETIC, "--against", "dbm"], "There is no method 'dbm'"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(folder, arguments, words):
    given = arguments if "--against" in arguments else [*arguments, "--against", "none"]
    result = score(folder, *given)
    assert result.exit_code == 2 and words in result.stderr and result.stdout == ""
