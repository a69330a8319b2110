"""The explorer with and without somebody who can use it, and what the Makefile's servers allow."""

import ast
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from defusion_lib.apps.explorer import panels

ROOT = Path(__file__).resolve().parents[3]


def front_end(monkeypatch, allow_stdin):
    message = {"content": {"allow_stdin": allow_stdin}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: message))
    monkeypatch.setattr(panels, "get_ipython", lambda: shell)


def test_a_batch_run_shows_no_panel(monkeypatch, capsys):
    made = []
    panels.show_panel(made.append, 1)
    front_end(monkeypatch, allow_stdin=False)
    panels.show_panel(made.append, 2)
    assert made == []
    assert capsys.readouterr().out.count("No live kernel") == 2


def test_a_panel_is_complete_when_its_cell_ends_in_a_front_end_and_in_voila(monkeypatch):
    done = []

    def panel(place):
        return SimpleNamespace(box=f"shown {place}", wait=lambda: done.append(f"complete {place}"))

    monkeypatch.setattr(panels, "display", done.append)
    front_end(monkeypatch, allow_stdin=True)
    panels.show_panel(panel, "in a front end")
    front_end(monkeypatch, allow_stdin=False)
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://localhost/")
    panels.show_panel(panel, "in Voila")
    assert done == [f"{step} {place}" for place in ("in a front end", "in Voila") for step in ("shown", "complete")]


@pytest.mark.parametrize("target, option", [("lab", "ServerApp"), ("explorer", "Voila")])
def test_a_server_of_the_makefile_lets_through_what_it_says(target, option):
    command = ["make", "-n", "--no-print-directory", target]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(asked.stdout.splitlines()[-1])
    (said,) = [word for word in words if word.startswith("DEFUSION_UPLOAD=")]
    (given,) = [word for word in words if word.startswith(f"--{option}.tornado_settings=")]
    limit = ast.literal_eval(given.split("=", 1)[1])["websocket_max_message_size"]
    megabytes = int(re.fullmatch("DEFUSION_UPLOAD=([0-9]+) MB", said)[1])
    # Programs mean 1000 or 1024 kilobytes; some kilobytes more are the rest of the message.
    assert 64 <= megabytes and megabytes * 2**20 + 2**16 < limit
