"""Run a notebook's cells in this process, so that a test can change the library before."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
from IPython.core.interactiveshell import InteractiveShell

matplotlib.use("Agg")


def run_cells(notebook: Path) -> None:
    """Execute a notebook's code cells in order, with its own parameters; an error in a cell is raised here."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source, store_history=True).raise_error()
    plt.close("all")
