"""Tell which executed copies below outputs/ are of the notebooks as they stand, and keep their words up to date.

A copy is stale where its code is not that of its notebook: its outputs are then those of another program. Words between
the cells change no output, so those of a copy that is not stale follow the notebook (`tools/render_heads.py`).
"""

import json
import subprocess
from pathlib import Path

from tools.execute import rebased

GIVEN = {"parameters", "injected-parameters"}  # tags of the cells that differ between a notebook and its copies


def stored(root: Path) -> list[Path]:
    """Return the executed copies that belong to the project: the tracked ones, without git those of all but quick."""
    try:
        names = subprocess.check_output(
            ["git", "ls-files", "outputs/*.ipynb"], cwd=root, text=True, stderr=subprocess.DEVNULL
        )
        return [path for name in names.splitlines() if (path := root / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        return sorted(path for path in (root / "outputs").glob("*/*.ipynb") if path.parent.name != "quick")


def is_stale(copy: Path, notebooks: Path) -> bool:
    """Return whether an executed copy is not of the notebook of its name in a folder, or there is no such notebook."""
    notebook = notebooks / copy.name
    return not notebook.is_file() or _code(_cells(copy)) != _code(_cells(notebook))


def with_words_of(copy: Path, notebook: Path) -> dict:
    """Return the document of a copy that is not stale, with the Markdown cells of its notebook."""
    document = json.loads(copy.read_text(encoding="utf-8"))
    executed = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    cells = []
    for cell in _cells(notebook):
        if cell["cell_type"] == "markdown":
            text = rebased("".join(cell["source"]), notebook.parent, copy.parent)
            cells.append(cell | {"source": text.splitlines(keepends=True)})
            continue
        cells.append(executed.pop(0))
        if executed and "injected-parameters" in _tags(executed[0]):
            cells.append(executed.pop(0))
    return document | {"cells": cells}


def _cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def _code(cells: list[dict]) -> list[str]:
    """Return the sources of the code cells, without the parameters and those that a run inserts."""
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and not GIVEN & set(_tags(cell))]
