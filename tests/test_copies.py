"""Each executed copy below outputs/ is of the notebook as it stands."""

import subprocess
from pathlib import Path

import nbformat
import pytest
from minimal_notebook import minimal_notebook
from nbformat import v4

from tools.copies import is_stale, stored, with_words_of

ROOT = Path(__file__).resolve().parents[1]


def test_copies_of_a_users_own_runs_are_none_of_the_project(tmp_path):
    """After `make run`, or a run of another profile, the tests are about the same copies."""
    mine, theirs = (tmp_path / f"outputs/{name}/00-tiny.ipynb" for name in ("mine", "cpu"))
    for path in (mine, theirs, tmp_path / "outputs/quick/00-tiny.ipynb"):
        path.parent.mkdir(parents=True)
        path.touch()
    assert stored(tmp_path) == sorted([mine, theirs])
    for command in (["init", "-q"], ["add", "outputs/cpu"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert stored(tmp_path) == [theirs]


def test_copies_are_of_the_notebooks_as_they_stand():
    """If a copy is stale: execute it again, or remove it. Its results stay, with their stamps."""
    assert not [path for path in stored(ROOT) if is_stale(path, ROOT / "notebooks")]


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda copy: None, False),
        (lambda copy: copy.cells[0].update(source="size = 8"), False),
        (
            lambda copy: copy.cells.insert(1, v4.new_code_cell("size = 8", metadata={"tags": ["injected-parameters"]})),
            False,
        ),
        (lambda copy: copy.cells.insert(1, v4.new_markdown_cell("words")), False),
        (lambda copy: copy.cells[2].update(source="mae = 1"), True),
        (lambda copy: copy.cells.pop(2), True),
        (lambda copy: copy.cells.insert(1, v4.new_code_cell("size = 8")), True),
    ],
)
def test_a_stale_copy_is_found(change, stale, tmp_path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(minimal_notebook(), tmp_path / "notebooks/00-tiny.ipynb")
    copy = minimal_notebook()
    change(copy)
    nbformat.write(copy, tmp_path / "00-tiny.ipynb")
    assert is_stale(tmp_path / "00-tiny.ipynb", tmp_path / "notebooks") == stale


def test_a_copy_without_a_notebook_is_stale(tmp_path):
    nbformat.write(minimal_notebook(), tmp_path / "00-tiny.ipynb")
    assert is_stale(tmp_path / "00-tiny.ipynb", tmp_path / "notebooks")


def test_words_of_a_copy_follow_its_notebook_and_its_outputs_stay(tmp_path):
    """The notebook has a cell of words more, and a link; the copy has the parameters that its run was given."""
    notebook, copy = minimal_notebook(), minimal_notebook()
    notebook.cells.insert(1, v4.new_markdown_cell("See [the page](README.md)."))
    given = v4.new_code_cell("size = 8", metadata={"tags": ["injected-parameters"]})
    copy.cells.insert(1, given)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "outputs/cpu").mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "notebooks/00-tiny.ipynb")
    nbformat.write(copy, tmp_path / "outputs/cpu/00-tiny.ipynb")
    found = with_words_of(tmp_path / "outputs/cpu/00-tiny.ipynb", tmp_path / "notebooks/00-tiny.ipynb")
    words = ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == "markdown"]
    assert "See [the page](../../notebooks/README.md)." in words
    executed = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in executed] == [c.source for c in copy.cells if c.cell_type == "code"]
