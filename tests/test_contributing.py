"""The recipes of CONTRIBUTING.md are followed, word for word, in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defusion_lib.weights import load_network, result_name

ROOT = Path(__file__).resolve().parents[1]
RECIPES = dict(
    re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
)
BLOCK = r":\n\n   ```\w*\n(.*?)   ```"


@pytest.fixture
def project(tmp_path, outputs):
    """A copy of what the recipes and their checks need."""
    for name in ("defusion_lib", "notebooks", "params", "tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "stored"))
    for path in ROOT.glob("[!.]*"):
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    (tmp_path / "outputs").symlink_to(ROOT / "outputs")
    (tmp_path / "tests/stored").symlink_to(ROOT / "tests/stored")
    return tmp_path


def follow(recipe, project):
    """Do what the numbered points of a recipe say to do with files."""
    text = RECIPES[recipe]
    for path, block in re.findall(rf"Write the file `([^`]*)`{BLOCK}", text, re.DOTALL):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        assert not (project / path).exists()
        (project / path).write_text(textwrap.dedent(block))
    for path, rest in re.findall(r"In `([^`]*)`, (.*?)(?=^\d\. |\Z)", text, re.DOTALL | re.MULTILINE):
        for where, beside, block in re.findall(rf"(above|below) `([^`]*)`{BLOCK}", rest, re.DOTALL):
            source = (project / path).read_text()
            assert source.count(beside) == 1, f"{path} has {source.count(beside)} times {beside!r}"
            added = "\n".join(line[3:] for line in block.splitlines()) + "\n"
            at = source.index(beside) if where == "above" else source.index("\n", source.index(beside)) + 1
            (project / path).write_text(source[:at] + added + source[at:])


def run(project, *command):
    """What a command prints, run in the project with its own library."""
    given = os.environ | {"PYTHONPATH": str(project), "DEFUSION_OUTPUTS": str(project / "build/outputs")}
    done = subprocess.run([sys.executable, "-m", *command], cwd=project, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def check(project, *tests):
    run(project, "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)


def check_quickly(project, *tests):
    """Run the fast tests of files: those that could notice what a recipe adds."""
    check(project, "-m", "not slow", *(f"tests/{path}" for path in tests))


@pytest.mark.slow
def test_a_method(project):
    follow("A method", project)
    check(project, "tests/baselines/test_baselines.py", "-k", "little-detail")
    check(project, "tests/baselines/test_deep.py", "-k", "table_1")
    pages = ("render_heads.py", "render_findings.py", "render_readme.py::test_numbers_are_those_of_the_result_files")
    experiments = ("experiments/test_other_photos.py", "experiments/test_table_1.py")
    check_quickly(project, "test_rooms.py", "paper", *experiments, *(f"tools/test_{page}" for page in pages))
    run(project, "tools.execute", "execute", "notebooks/07_table_1.ipynb", "quick")
    values = json.loads((project / "build/outputs/quick/results/07_table_1.json").read_text())["values"]
    assert "synthetic/little-detail/mae" in values


@pytest.mark.slow
def test_a_data_set(project):
    follow("A data set", project)
    for i in range(6):
        for folder, shape in (("images", (40, 50, 3)), ("masks", (40, 50))):
            (project / f"data/mine/{folder}").mkdir(parents=True, exist_ok=True)
            picture = np.zeros(shape, np.uint8)
            picture[:, 25:] = 255
            Image.fromarray(picture).save(project / f"data/mine/{folder}/{i}.png")
    check(project, "tests/test_rooms.py", "tests/paper", "tests/data/test_datasets.py")
    check_quickly(project, "data/test_check.py", "apps/cli/test_score.py", "apps/cli/test_train_command.py")
    (project / "params/own").mkdir()
    (project / "params/own/04_evaluation.yaml").write_text("dataset: mine\nsize: 64\n")
    run(project, "tools.execute", "execute", "notebooks/04_evaluation.ipynb", "own")
    values = json.loads((project / "build/outputs/own/results/04_evaluation.json").read_text())["values"]
    assert [key for key in values if key.startswith("mine-test/")]


@pytest.mark.slow
def test_a_notebook(project):
    (command,) = re.findall(r"```sh\n\s*python -m (.*?)\n", RECIPES["A notebook"])
    stem = command.split()[1]
    run(project, *[word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)])
    given = f"notebooks/{stem}.ipynb"
    run(project, "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", given)
    check(project, "tests/test_notebooks.py", "tests/test_exercises.py", "-k", stem)
    pages = ("site.py", "render_heads.py", "render_readme.py::test_every_notebook_is_listed")
    check_quickly(project, *(f"tools/test_{page}" for page in pages))
    run(project, "tools.execute", "execute", given, "quick")
    values = json.loads((project / f"build/outputs/quick/results/{stem}.json").read_text())["values"]
    assert f"synthetic/{result_name(load_network())}/mae" in values


@pytest.mark.slow
def test_a_profile(project):
    follow("A profile", project)
    check(project, "tests/test_notebooks.py", "-k", "mine")
    assert "PROFILE=mine" in RECIPES["A profile"]
    run(project, "tools.execute", "execute", "notebooks/04_evaluation.ipynb", "mine")
    stamp = json.loads((project / "build/outputs/mine/results/04_evaluation.json").read_text())["stamp"]
    assert set(stamp["overridden"]) == {"profile", "count"}
