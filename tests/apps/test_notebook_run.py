"""`defusion run`, which `make run` calls: one Snakemake command, the environment of the Makefile, clear errors."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from defusion_lib import SPINCOUNT
from defusion_lib.apps import notebook_run
from defusion_lib.apps.cli import main
from defusion_lib.experiments.efficiency import ALLOCATOR

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def started(monkeypatch):
    """The commands that are started instead of running, each with its folder and environment; `codes` they return."""
    found = []

    class Process:
        codes = {"snakemake": [0], "tools.execute": [0]}

        def __init__(self, arguments, cwd, env, stdout):
            found.append((arguments, cwd, env, stdout))
            self.code = self.codes[arguments[2]][0]

        def wait(self):
            return self.code

    monkeypatch.setattr(subprocess, "Popen", Process)
    found.append(Process)
    return found


def test_a_run_executes_the_notebooks_and_shows_their_results(started):
    result = CliRunner().invoke(main, ["run", "cpu"])
    assert result.exit_code == 0, result.output
    _, (first, folder, environment, stdout), (second, *_) = started
    assert first[:3] == [sys.executable, "-m", "snakemake"] and first[-2:] == ["--config", "profile=cpu"]
    assert "--dry-run" not in first and folder == ROOT and environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert stdout is None
    assert second == [sys.executable, "-m", "tools.execute", "summary", "cpu"]


def test_a_checkout_that_cannot_be_written_in_is_one_sentence(started, monkeypatch, tmp_path):
    """Snakemake keeps its records in the checkout, wherever the results go."""

    def refuse(folder):
        raise OSError(f"Cannot write in {folder.name} (Read-only file system).")

    monkeypatch.setattr(notebook_run, "check_writable", refuse)
    result = CliRunner().invoke(main, ["run", "--dry-run"])
    assert (result.exit_code, result.stderr) == (2, "Error: Cannot write in .snakemake (Read-only file system).\n")
    assert len(started) == 1


def test_the_help_names_every_cluster():
    help_text = CliRunner().invoke(main, ["run", "--help"]).stdout.partition("--cluster")[2]
    clusters = [path.parent.name for path in (ROOT / "tools").glob("*/config.yaml")]
    assert len(clusters) == 2 and not [name for name in clusters if f" {name}" not in help_text]


def test_a_dry_run_executes_nothing(started):
    assert CliRunner().invoke(main, ["run", "--dry-run"]).exit_code == 0
    _, (first, *_) = started
    assert "--dry-run" in first and "--quiet" not in first and first[-1] == "profile=quick"


@pytest.mark.parametrize("code", [0, 1])
def test_results_for_programs_are_all_that_standard_output_has(started, code, monkeypatch, tmp_path):
    started[0].codes = {"snakemake": [code]}
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(tmp_path))
    (tmp_path / "cpu/results").mkdir(parents=True)
    (tmp_path / "cpu/results/01_data.json").write_text('{"values": {"shi/all-blurred/mae": 0.5}}')
    ended = CliRunner().invoke(main, ["run", "cpu", "--json"])
    found = {"01_data": {"values": {"shi/all-blurred/mae": 0.5}}}
    assert ended.exit_code == code
    assert json.loads(ended.stdout) == {"profile": "cpu", "finished": code == 0, "results": found}
    _, (first, *_, stdout) = started
    assert "snakemake" in first and stdout == 2


def test_a_dry_run_has_no_results_for_programs(started):
    ended = CliRunner().invoke(main, ["run", "--dry-run", "--json"])
    assert ended.exit_code == 2 and "leave one of them out" in ended.stderr and len(started) == 1


def test_a_failing_notebook_is_exit_code_1_without_a_summary(started):
    started[0].codes = {"snakemake": [1]}
    assert CliRunner().invoke(main, ["run"]).exit_code == 1 and len(started) == 2


def test_an_interrupted_run_waits_for_the_notebook(started, monkeypatch):
    answers = iter([KeyboardInterrupt, 130])

    def wait(self):
        answer = next(answers)
        if answer is KeyboardInterrupt:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(started[0], "wait", wait)
    result = CliRunner().invoke(main, ["run"])
    assert result.exit_code == 130 and result.stderr == "Stopped: the same command resumes.\n"
    assert next(answers, None) is None


def test_unknown_profiles_are_refused(started):
    result = CliRunner().invoke(main, ["run", "gpu"])
    assert result.exit_code == 2
    assert "no profile 'gpu': choose one of quick, box, box-first, box-second, cpu" in result.stderr
    assert len(started) == 1


def test_outside_of_a_checkout_one_sentence_says_so(started, tmp_path, monkeypatch):
    monkeypatch.setattr(notebook_run, "project_root", lambda: tmp_path)
    result = CliRunner().invoke(main, ["run"])
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and "There is no Snakefile" in result.stderr


def test_the_environment_is_the_makefiles(monkeypatch, tmp_path):
    given = {"JUPYTER_PATH": "/a", "MPLBACKEND": "Agg", "HOME": "/b"}
    expected = ALLOCATOR | {"HOME": "/b", "JUPYTER_PREFER_ENV_PATH": "1", "GOMP_SPINCOUNT": SPINCOUNT}
    assert notebook_run.environment(given) == expected
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.search(r"^unexport (.*)$", makefile, re.MULTILINE)[1].split()) == {"JUPYTER_PATH", "MPLBACKEND"}
    exported = set(re.findall(r"^export (\w+)", makefile, re.MULTILINE))
    assert exported == set(expected) - {"HOME"}
    assert notebook_run.environment({"GOMP_SPINCOUNT": "7"})["GOMP_SPINCOUNT"] == "7"
    assert "GOMP_SPINCOUNT" not in notebook_run.environment({"OMP_WAIT_POLICY": "active"})
    monkeypatch.setenv("DEFUSION_OUTPUTS", "here")
    monkeypatch.chdir(tmp_path)
    assert notebook_run.environment({"DEFUSION_OUTPUTS": "here"})["DEFUSION_OUTPUTS"] == str(tmp_path / "here")


def test_make_calls_it():
    shown = subprocess.run(
        ["make", "-n", "-C", ROOT, "run", "PROFILE=cpu", "READY="], capture_output=True, text=True, check=True
    ).stdout
    assert '.venv/bin/python -m defusion_lib.apps.cli run "cpu"' in shown
