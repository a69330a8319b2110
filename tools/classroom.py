"""Write the notebooks for a class: student copies without solutions, and a key in which every check passes.

python -m tools.classroom build/class    # `make class` does this
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from defusion_lib import exercises
from defusion_lib.paths import display_path, project_root

CALL = re.compile(r'^check\("(\w+)", (\d+), (\w+)\)$', re.MULTILINE)
PROGRESS = re.compile(r"^show_progress\(", re.MULTILINE)
FOLDED = re.compile(r"<details>\s*<summary>Solution</summary>(.*?)</details>", re.DOTALL)
FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)
ASK = "Replace `None` with your answer and run the cell to check it."
POINTER = " Each solution is in the collapsed section below."
# A copy is read outside of the checkout, where only the other notebooks are beside it.
OUTSIDE = re.compile(r"!\[[^\]]*\]\(\.\./[^)]*\)\n*|\[([^\]]*)\]\(\.\./[^)]*\)")


class Exercise(NamedTuple):
    """An exercise of a notebook: its number, the cell for the answer, and the one with the folded solution."""

    number: int
    answer: nbformat.NotebookNode
    solution: nbformat.NotebookNode

    @property
    def code(self) -> str:
        """Return the code of the solution."""
        return "\n".join(FENCED.findall(self.solution.source)).rstrip()

    @property
    def solved(self) -> str:
        """Return the source of the answer's cell with the solution in it."""
        call = CALL.search(self.answer.source)
        return f"{self.code}{chr(10) * (3 if 'def ' in self.code else 1)}{call[0] if call else ''}"


def find_exercises(notebook: nbformat.NotebookNode, stem: str) -> list[Exercise]:
    """Find the exercises of a notebook; raise ValueError where one names another notebook or has no solution."""
    found = []
    for cell, following in zip(notebook.cells, notebook.cells[1:]):
        if cell.cell_type == "code" and (call := CALL.search(cell.source)):
            if call[1] != stem:
                raise ValueError(f"{stem}: exercise {call[2]} calls itself one of {call[1]}.")
            if not FOLDED.search(following.source) or not FENCED.search(following.source):
                raise ValueError(f"{stem}: exercise {call[2]} has no folded solution with code in the cell behind it.")
            found.append(Exercise(int(call[2]), cell, following))
    return found


def answered(source: str):
    """Return the answer that a cell gives to its exercise: its code is executed, without the call of `check`."""
    call = CALL.search(source)
    if not call:
        raise ValueError(f"No call of check in {source!r}.")
    namespace: dict = {}
    exec(CALL.sub("", source), namespace)
    return namespace[call[3]]


def student_copy(notebook: nbformat.NotebookNode, stem: str) -> None:
    """Remove from a notebook its solutions, and the links to files that a copy does not have beside it."""
    solutions = [exercise.solution.id for exercise in find_exercises(notebook, stem)]
    notebook.cells = [cell for cell in notebook.cells if cell.id not in solutions]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = OUTSIDE.sub(r"\1", cell.source).replace(POINTER, "")
    _clear(notebook)


def key_copy(notebook: nbformat.NotebookNode, stem: str) -> None:
    """Write the solutions of a notebook into its cells for answers; raise ValueError where a check does not pass."""
    for exercise in find_exercises(notebook, stem):
        if wrong := exercises.verdict(stem, exercise.number, answered(exercise.solved)):
            raise ValueError(f"{stem}: the solution of exercise {exercise.number} does not pass its check: {wrong}")
        exercise.answer.source = exercise.solved
        folded = FOLDED.search(exercise.solution.source)
        explained = FENCED.sub("", folded[1] if folded else "").strip()
        exercise.solution.source = f"**Solution.** {explained}"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = OUTSIDE.sub(r"\1", cell.source).replace(ASK + POINTER, "The answers are filled in.")
    _clear(notebook)


def _clear(notebook: nbformat.NotebookNode) -> None:
    """Remove the outputs of the exercises and of the progress, which say what is solved."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and (CALL.search(cell.source) or PROGRESS.search(cell.source)):
            cell.update(outputs=[], execution_count=None)


COPIES = {"student": student_copy, "key": key_copy}


def write_copies(notebooks: Path, folder: Path) -> list[Path]:
    """Write the copies of all notebooks of a folder to `student/` and `key/`, and return their paths.

    Raises ValueError, and writes nothing, where a copy of another content is there: somebody may have worked in it.
    """
    made = {}
    for name, change in COPIES.items():
        for path in sorted(notebooks.glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            change(notebook, path.stem)
            made[folder / name / path.name] = nbformat.writes(notebook) + "\n"
    changed = [path for path, text in made.items() if path.is_file() and path.read_text(encoding="utf-8") != text]
    if changed:
        raise ValueError(
            f"{display_path(changed[0])} and {len(changed) - 1} more are not as they would be written now: "
            f"somebody may have worked in them. Move or remove {display_path(folder)}, and run this again."
        )
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(made)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tools.classroom", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write student/ and key/")
    folder = parser.parse_args(arguments).folder
    try:
        written = write_copies(project_root() / "notebooks", folder)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{display_path(folder)}: {len(written) // 2} notebooks in student/, without solutions, and in key/, solved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
