"""Exercises: an unsolved one is told so, the solution in the notebook passes, and every check can fail."""

import re
from pathlib import Path

import nbformat
import pytest

from defusion_lib import exercises

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CALL = re.compile(r'^check\("(\w+)", (\d+), (\w+)\)$', re.MULTILINE)
FOLDED = re.compile(r"<details>\s*<summary>Solution</summary>(.*?)</details>", re.DOTALL)
FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)
FEWEST, MOST = 2, 4


def exercises_of(path):
    """(number, source of the answer's cell, source of its solution) for each exercise of a notebook."""
    cells, found = nbformat.read(path, as_version=4).cells, []
    for cell, following in zip(cells, cells[1:]):
        if cell.cell_type == "code" and (call := CALL.search(cell.source)):
            assert call[1] == path.stem, f"{path.name}: an exercise calls itself one of {call[1]}"
            folded = FOLDED.search(following.source)
            assert folded, f"{path.name}: exercise {call[2]} has no folded solution behind it"
            solution = "\n".join(FENCED.findall(folded[1]))
            found.append((int(call[2]), cell.source, solution))
    return found


EXERCISES = [(path.stem, *exercise) for path in NOTEBOOKS for exercise in exercises_of(path)]
IDS = [f"{stem}-{number}" for stem, number, *_ in EXERCISES]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_ends_with_exercises_in_order(path):
    numbers = [number for number, *_ in exercises_of(path)]
    checked = (ROOT / f"defusion_lib/exercises/{path.stem.partition('_')[2]}.py").is_file()
    assert numbers == list(range(1, len(numbers) + 1))
    assert FEWEST <= len(numbers) <= MOST if checked else not numbers


def answered(source):
    """What a cell's answer is: the cell is executed by itself, without its call of the check."""
    call = CALL.search(source)
    namespace = {}
    exec(CALL.sub("", source), namespace)
    return namespace[call[3]]


@pytest.mark.parametrize(("stem", "number", "cell", "solution"), EXERCISES, ids=IDS)
def test_the_unsolved_exercise_fails_and_the_solution_passes(stem, number, cell, solution, capsys):
    assert exercises.verdict(stem, number, answered(cell)) != ""
    name = CALL.search(cell)[3]
    assert exercises.verdict(stem, number, answered(f'{solution}\ncheck("{stem}", {number}, {name})')) == ""


@pytest.mark.parametrize(("stem", "number", "cell", "solution"), EXERCISES, ids=IDS)
def test_the_stored_output_says_that_it_is_not_solved(stem, number, cell, solution):
    notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    (stored,) = [found for found in notebook.cells if found.source == cell]
    said = "".join(output.get("text", "") for output in stored.outputs)
    assert said.startswith(f"Exercise {number}: not yet. ")


def test_an_answer_that_raises_is_told(monkeypatch):
    monkeypatch.setattr(exercises.importlib, "import_module", lambda name: type("M", (), {"CHECKS": [lambda a: a()]}))
    assert exercises.verdict("00_x", 1, lambda: 1 / 0) == "Your answer stopped with ZeroDivisionError: division by zero"
    assert (
        exercises.verdict("00_x", 1, lambda: None)
        == "Your function returns None: write its body, and give something back for every input."
    )
    with pytest.raises(ValueError, match="00_x has 1 exercises: there is no exercise 2"):
        exercises.verdict("00_x", 2, 0)


def test_near_says_on_which_side_a_number_lies():
    assert exercises.near(1.05, 1, 0.1) == ""
    assert exercises.near(1.2, 1, 0.1, " px") == "1.2 px is too large."
    assert exercises.near(0.8, 1, 0.1) == "0.8 is too small."


def wrong_answers(path):
    namespace = {}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), namespace)
    return [(path.stem, *wrong) for wrong in namespace["WRONG"]]


WRONG = [case for path in sorted((ROOT / "tests/exercises_wrong").glob("*.py")) for case in wrong_answers(path)]


@pytest.mark.parametrize(("notebook", "number", "answer", "words"), WRONG, ids=[f"{n}-{i}-{w}" for n, i, _, w in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong_with_it(notebook, number, answer, words):
    assert words in exercises.verdict(notebook, number, answer)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_has_two_wrong_answers(path):
    tried = [number for notebook, number, *_ in WRONG if notebook == path.stem]
    assert all(tried.count(number) >= 2 for number, *_ in exercises_of(path))
