"""The README keeps its promises: its commands run, its numbers are those of the result files, its links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import render_readme
from tools.render_readme import BEGIN, END, rendered

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def photograph(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my.jpg")
    return tmp_path / "my.jpg"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_commands_are_targets(command):
    """What they would do is asked, not done: this test is part of one of them."""
    asked = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert asked.returncode == 0 and asked.stdout, asked.stderr


def test_every_shell_command_is_tested():
    others = [command for command in COMMANDS if not command.startswith("make ")]
    assert [command.split()[:2] for command in others] == [
        [".venv/bin/papermill", f"notebooks/{name}.ipynb"] for name in ("00_first_map", "13_own_photographs")
    ]


def papermill(folder, name, *given):
    """Run the README's command for a notebook in a folder, with a smaller size."""
    (command,) = [command for command in COMMANDS if f"papermill notebooks/{name}" in command]
    arguments = command.split()[1:]
    assert arguments[2:] == ["-p", *given]
    arguments[0] = str(ROOT / arguments[0])
    small = ["-p", "size", "32", "--no-progress-bar", "--execution-timeout", "300"]
    ran = subprocess.run(
        [sys.executable, "-m", "papermill", *arguments, *small], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (folder / arguments[1]).is_file()


@pytest.mark.slow
def test_papermill_maps_a_photograph_of_ones_own(photograph):
    papermill(photograph.parent, "00_first_map", "image", "my.jpg")
    defocus = Image.open(photograph.with_name("my_defocus.png"))
    assert (defocus.size, defocus.mode) == ((64, 48), "L")


@pytest.mark.slow
def test_papermill_maps_a_folder(photograph):
    folder = photograph.parent / "my_photographs"
    folder.mkdir()
    shutil.copy(photograph, folder)
    (folder / "broken.png").write_bytes(b"no picture")
    papermill(photograph.parent, "13_own_photographs", "folder", "my_photographs")
    made = photograph.parent / "my_photographs_defocus"
    assert Image.open(made / "my.jpg_defocus.png").size == (64, 48)
    table = (made / "album.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in table] == ["file", "broken.png", "my.jpg"]
    assert (made / "contact_sheet_001.png").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["broken.png", "my.jpg"]


@pytest.mark.slow
def test_python_block_runs(photograph):
    (block,) = blocks("python")
    check = (
        "\nassert defocus.shape == (48, 64) and defocus.dtype == 'float32' and 0 <= defocus.min() <= defocus.max() <= 1"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", block + check],
        cwd=photograph.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_numbers_are_those_of_the_result_files():
    """If this fails, `python -m tools.render_readme` writes README and card anew."""
    for path, text in render_readme.written().items():
        assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "result",
    [
        *(f"{profile}/results/04_evaluation" for profile in render_readme.PROFILES),
        "cpu/results/08_ablations",
        "cpu/results/07_table_1",
    ],
)
def test_changed_number_is_noticed(result, tmp_path, monkeypatch):
    shutil.copytree(
        ROOT / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("*.ipynb", "figures", "weights")
    )
    shutil.copy(ROOT / "README.md", tmp_path)
    changed = tmp_path / f"outputs/{result}.json"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(re.sub(r'(compact/mae": 0\.\d)', r"\g<1>9", text), encoding="utf-8")
    monkeypatch.setattr(render_readme, "project_root", lambda: tmp_path)
    assert render_readme.written()[tmp_path / "README.md"] != README


def test_readme_without_marks_is_named():
    with pytest.raises(ValueError, match="no place for results"):
        rendered(README.replace(END, ""), "")
    assert BEGIN in README


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets and all((ROOT / target).is_file() for target in targets)


def test_every_notebook_is_listed():
    listed = set(re.findall(r"\(notebooks/([^)]+)\)", README))
    assert listed == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
