"""Bars are shown to people, and leave nothing in notebooks that are executed for storing."""

import pytest
from nbclient import NotebookClient
from nbformat import v4

from defusion_lib import progress

LOOP = "from defusion_lib.progress import tqdm\nfor i in tqdm(range(3), desc='reading', disable=False):\n    pass\nprint('done')"


@pytest.mark.slow
def test_an_executed_notebook_holds_no_bar():
    notebook = v4.new_notebook(cells=[v4.new_code_cell(LOOP)])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert [output.get("text") for output in notebook.cells[0].outputs] == ["done\n"]


@pytest.mark.parametrize(("kernel", "unattended"), [(None, False), (True, False), (False, True)])
def test_a_kernel_that_allows_no_input_is_unattended(monkeypatch, kernel, unattended):
    shell = None if kernel is None else type("Shell", (), {"kernel": type("Kernel", (), {"_allow_stdin": kernel})})
    monkeypatch.setitem(
        progress.sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda: shell)})
    )
    assert progress.is_unattended() is unattended


def test_outside_of_notebooks_there_are_bars(capsys):
    list(progress.tqdm(range(3), desc="reading"))
    assert "reading" in capsys.readouterr().err
