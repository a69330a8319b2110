"""Exercises: an unsolved one is told so, the solution in the notebook passes, and every check can fail."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from defusion_lib import exercises
from tools.classroom import answered, find_exercises

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FEWEST, MOST = 2, 4


def exercises_of(path):
    """(number, source of the answer's cell, the same with the solution in it) for each exercise of a notebook."""
    found = find_exercises(nbformat.read(path, as_version=4), path.stem)
    return [(exercise.number, exercise.answer.source, exercise.solved) for exercise in found]


EXERCISES = [(path.stem, *exercise) for path in NOTEBOOKS for exercise in exercises_of(path)]
IDS = [f"{stem}-{number}" for stem, number, *_ in EXERCISES]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_ends_with_exercises_in_order(path):
    numbers = [number for number, *_ in exercises_of(path)]
    checked = (ROOT / f"defusion_lib/exercises/{path.stem.partition('_')[2]}.py").is_file()
    assert numbers == list(range(1, len(numbers) + 1))
    assert FEWEST <= len(numbers) <= MOST if checked else not numbers


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "number", "cell", "solution"), EXERCISES, ids=IDS)
def test_the_unsolved_exercise_fails_and_the_solution_passes(stem, number, cell, solution):
    assert exercises.verdict(stem, number, answered(cell)) != ""
    assert exercises.verdict(stem, number, answered(solution)) == ""


@pytest.mark.parametrize(("stem", "number", "cell", "solution"), EXERCISES, ids=IDS)
def test_the_stored_output_says_that_it_is_not_solved(stem, number, cell, solution):
    notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    (stored,) = [found for found in notebook.cells if found.source == cell]
    said = "".join(output.get("text", "") for output in stored.outputs)
    assert said.startswith(f"Exercise {number}: not yet. ")


@pytest.mark.parametrize("path", [*filter(exercises_of, NOTEBOOKS)], ids=lambda path: path.stem)
def test_the_last_cell_shows_how_many_are_done(path):
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.source.endswith(f'show_progress("{path.stem}")')
    here, everywhere = len(exercises_of(path)), len(EXERCISES)
    said = f"Exercises: 0 of {here} done in this notebook, 0 of {everywhere} in the collection.\n"
    assert last.outputs[-1].text.endswith(said)


def test_right_answers_are_counted_until_they_are_reset(outputs, capsys):
    def shown(stem):
        exercises.show_progress(stem)
        return (
            capsys.readouterr()
            .out.removeprefix("Exercises: ")
            .removesuffix(f" of {len(EXERCISES)} in the collection.\n")
        )

    exercises.check("00_first_map", 1, 0.5)
    assert not outputs.exists()
    for _ in range(2):
        exercises.check("00_first_map", 1, 0.6)
    exercises.check("13_own_photographs", 1, 18.432)
    exercises.check("00_first_map", 1, None)  # it was right before
    (outputs / ".exercises/no_notebook-1").touch()
    capsys.readouterr()
    assert shown("00_first_map") == "1 of 3 done in this notebook, 2"
    assert shown("02_network") == "0 of 3 done in this notebook, 2"
    exercises.reset()
    assert shown("00_first_map") == "0 of 3 done in this notebook, 0"
    exercises.reset()


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


@pytest.mark.slow
@pytest.mark.parametrize(("notebook", "number", "answer", "words"), WRONG, ids=[f"{n}-{i}-{w}" for n, i, _, w in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong_with_it(notebook, number, answer, words):
    assert words in exercises.verdict(notebook, number, answer)


def in_place(defocus):
    height, width = defocus.shape[0] // 10, defocus.shape[1] // 10
    defocus *= -1
    defocus += 1
    return np.lib.stride_tricks.sliding_window_view(defocus, (height, width)).mean(axis=(2, 3)).max()


@pytest.mark.parametrize(
    ("notebook", "number", "answer"),
    [
        ("04_evaluation", 2, lambda precision, recall: 1.3 * precision * recall / (0.3 * precision + recall + 1e-8)),
        ("13_own_photographs", 2, in_place),
    ],
)
def test_a_right_answer_may_be_written_in_another_way(notebook, number, answer):
    assert exercises.verdict(notebook, number, answer) == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_has_two_wrong_answers(path):
    tried = [number for notebook, number, *_ in WRONG if notebook == path.stem]
    assert all(tried.count(number) >= 2 for number, *_ in exercises_of(path))
