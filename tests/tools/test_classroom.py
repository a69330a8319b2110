"""Copies for a class: no solution in a student's notebook, every check passes in the key, and no work is overwritten."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from minimal_notebook import minimal_notebook
from nbformat import v4

from defusion_lib import exercises
from tools import classroom

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTION = """\
<details>
<summary>Solution</summary>

Three twigs.

```python
answer_1 = 3 * 128 / 640
```

</details>"""


def lines(source):
    return {line.strip() for line in source.splitlines() if line.strip()}


@pytest.fixture
def notebook():
    """A notebook with one exercise, as in the collection."""
    made = minimal_notebook("00_first_map")
    answer = 'answer_1 = None  # pixels\ncheck("00_first_map", 1, answer_1)'
    said = [nbformat.v4.new_output("stream", name="stdout", text="Exercise 1: not yet.\n")]
    made.cells[-1:-1] = [
        nbformat.v4.new_markdown_cell(
            f"## Exercises\n\n{classroom.ASK}{classroom.POINTER} ![A plot](../a.png)\n\nSee [it](../params/README.md)."
        ),
        nbformat.v4.new_code_cell(answer, outputs=said, execution_count=4),
        nbformat.v4.new_markdown_cell(SOLUTION),
    ]
    return made


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_students_copy_has_no_solution(path):
    stored, copy = (nbformat.read(path, as_version=4) for _ in range(2))
    found = classroom.find_exercises(stored, path.stem)
    classroom.student_copy(copy, path.stem)
    nbformat.validate(copy)
    left = "\n".join(cell.source for cell in copy.cells)
    assert not re.search(r"<details>|\b[Ss]olution is|\]\(\.\./", left)
    solutions = [exercise.solution for exercise in found]
    given = set.union(*(lines(cell.source) for cell in stored.cells if cell not in solutions))
    for exercise in found:
        words = lines(classroom.FOLDED.search(exercise.solution.source)[1]) - {"```", "```python"} - given
        assert words and not words & lines(left)
    assert [cell.source for cell in copy.cells if cell.cell_type == "code"] == [
        cell.source for cell in stored.cells if cell.cell_type == "code"
    ]
    assert "right." not in str([cell.outputs for cell in copy.cells if "check(" in cell.source])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_check_passes_in_the_key(path):
    stored, key = (nbformat.read(path, as_version=4) for _ in range(2))
    classroom.key_copy(key, path.stem)
    nbformat.validate(key)
    calls = [(cell.source, classroom.CALL.search(cell.source)) for cell in key.cells if cell.cell_type == "code"]
    passed = [int(call[2]) for source, call in calls if call and not _wrong(path.stem, call, source)]
    assert passed == [exercise.number for exercise in classroom.find_exercises(stored, path.stem)]


def _wrong(stem, call, source):
    return exercises.verdict(stem, int(call[2]), classroom.answered(source))


def test_what_a_copy_keeps_and_what_it_changes(notebook):
    student, key = notebook, notebook.copy()
    key.cells = [nbformat.from_dict(cell) for cell in notebook.cells]
    classroom.student_copy(student, "00_first_map")
    assert student.cells[3].source == f"## Exercises\n\n{classroom.ASK} See it."
    assert student.cells[2].outputs and not student.cells[4].outputs and student.cells[4].execution_count is None
    assert len(student.cells) == 6
    classroom.key_copy(key, "00_first_map")
    assert key.cells[3].source == "## Exercises\n\nThe answers are filled in. See it."
    assert key.cells[4].source == 'answer_1 = 3 * 128 / 640\ncheck("00_first_map", 1, answer_1)'
    assert key.cells[5].source == "**Solution.** Three twigs."


@pytest.mark.parametrize(
    ("solution", "words"),
    [
        (SOLUTION.replace("128", "320"), "00_first_map: the solution of exercise 1 does not pass its check: That is"),
        ("Three twigs.", "00_first_map: exercise 1 has no folded solution"),
        (SOLUTION.replace("```", ""), "00_first_map: exercise 1 has no folded solution"),
    ],
)
def test_a_solution_that_is_wrong_or_missing_is_an_error(notebook, solution, words):
    notebook.cells[5].source = solution
    with pytest.raises(ValueError, match=words):
        classroom.key_copy(notebook, "00_first_map")


def test_an_exercise_of_another_notebook_is_an_error(notebook):
    with pytest.raises(ValueError, match="01_data: exercise 1 calls itself one of 00_first_map"):
        classroom.student_copy(notebook, "01_data")


def test_a_copy_that_somebody_worked_in_is_not_overwritten(notebook, tmp_path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks/00_first_map.ipynb")
    folder = tmp_path / "class"
    for _ in range(2):
        written = classroom.write_copies(tmp_path / "notebooks", folder)
        assert written == [folder / "student/00_first_map.ipynb", folder / "key/00_first_map.ipynb"]
    worked = written[0].read_text().replace("None", "0.6")
    written[0].write_text(worked)
    written[1].unlink()
    with pytest.raises(ValueError, match="somebody may have worked in them"):
        classroom.write_copies(tmp_path / "notebooks", folder)
    assert written[0].read_text() == worked and not written[1].exists()


def test_the_plan_names_exercises_that_exist():
    page = (ROOT / "notebooks/CLASS.md").read_text(encoding="utf-8")
    there = {
        (path.stem.partition("_")[0], exercise.number)
        for path in NOTEBOOKS
        for exercise in classroom.find_exercises(nbformat.read(path, as_version=4), path.stem)
    }
    planned = [
        (number, exercise)
        for row in re.findall(r"^\| \d \|.*?\|(.*?) \(30 min\)", page, re.MULTILINE)
        for number, given in re.findall(r"(\d\d): ([\d-]+(?: and \d)?)", row)
        for exercise in (range(1, 4) if given == "1-3" else map(int, given.split(" and ")))
    ]
    assert set(planned) <= there
    assert f"has {len(there)} exercises, and the plan uses {len(planned)} of them" in page


@pytest.mark.slow
def test_the_command_that_marks_goes_on_after_an_error_and_keeps_the_record_apart(tmp_path, monkeypatch):
    page = (ROOT / "notebooks/CLASS.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^DEFUSION_OUTPUTS=.* nbconvert .*$", page, re.MULTILINE)
    command = command.replace(".venv/bin/jupyter", f"{sys.executable} -m jupyter")
    raising = v4.new_notebook(
        cells=[v4.new_code_cell("1 / 0"), v4.new_code_cell("import os; os.environ['DEFUSION_OUTPUTS']")]
    )
    (tmp_path / "anna").mkdir()
    for name in ("a", "b"):
        nbformat.write(raising, tmp_path / f"anna/{name}.ipynb")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    for name in ("a", "b"):
        marked = nbformat.read(tmp_path / f"marked/anna/{name}.ipynb", as_version=4)
        assert marked.cells[1].outputs[0].data["text/plain"] == repr(str(tmp_path / "marked/anna"))


def test_the_command_says_in_a_sentence_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classroom, "write_copies", lambda notebooks, folder: [folder / "a", folder / "b"])
    assert classroom.main([str(tmp_path)]) == 0
    assert "1 notebooks in student/" in capsys.readouterr().out

    def fail(*_):
        raise ValueError("No.")

    monkeypatch.setattr(classroom, "write_copies", fail)
    assert classroom.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == "No.\n"
