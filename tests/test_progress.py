"""Bars are shown to people, and leave nothing in notebooks that are executed for storing."""

import re

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


def test_a_terminal_gets_bars_and_a_pipe_gets_lines(monkeypatch):
    monkeypatch.setattr(progress, "_kernel", lambda: None)
    for terminal in (True, False):
        monkeypatch.setattr(progress.sys, "stderr", type("Stream", (), {"isatty": lambda self: terminal})())
        assert progress.is_piped() is not terminal
    monkeypatch.setattr(progress, "_kernel", object)
    assert not progress.is_piped()


def test_lines_tell_done_total_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.plain_tqdm(total=1):  # another bar, inside of which this one is
        capsys.readouterr()
        list(progress.LineTqdm(range(3), desc="photos", miniters=1))
        error = capsys.readouterr().err
    assert "\r" not in error and "\x1b" not in error
    lines = error.splitlines()
    assert all(re.fullmatch(r"photos: [0-3] of 3, \S+ passed, \S+ left", line) for line in lines)
    assert len(lines) >= 2 and len({line.split()[1] for line in lines}) == len(lines)


def test_short_work_writes_no_line(capsys):
    list(progress.LineTqdm(range(3), desc="photos"))
    assert capsys.readouterr().err == ""
