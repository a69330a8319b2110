"""What every command of `defusion` promises: help that teaches, one sentence for wrong input, exit codes."""

import builtins
import importlib
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from defusion_lib.apps.cli import main
from defusion_lib.apps.cli.terminal import RESUMING, Group, finish, json_option, report


@click.group(cls=Group)
def example():
    """Commands to test with."""


@example.command()
@click.argument("error")
def stop(error):
    """Raise an error of the library."""
    raise getattr(builtins, error)("Found 1, expected 2: change it.")


@example.command("map")
def interrupted():
    """Meet Ctrl-C."""
    raise KeyboardInterrupt


example.add_command(interrupted, "other")


@example.command()
@click.argument("name", default="no_such_package")
def missing(name):
    """Import a package that is not there."""
    importlib.import_module(name)


@example.command()
@json_option
def some(as_json):
    """Fail for one of two inputs."""
    report({"done": ["é.jpg"]}, "1 done", as_json)
    finish({"b.jpg": "cannot be read"})


def test_a_package_that_is_missing_is_named_with_the_way_to_get_it():
    result = CliRunner().invoke(example, ["missing"])
    expected = "No module named 'no_such_package', which this command needs: pip install \"defusion-lib[notebooks]\""
    assert (result.exit_code, result.stderr) == (2, f"Error: {expected}\n")


def test_a_module_of_ours_that_is_missing_keeps_its_traceback():
    result = CliRunner().invoke(example, ["missing", "defusion_lib.no_such_module"])
    assert isinstance(result.exception, ModuleNotFoundError) and result.exit_code == 1


def test_json_holds_names_that_are_no_text(capsys):
    report({"names": ["é.jpg", "\udce9.jpg"]}, "", as_json=True)
    shown = capsys.readouterr().out
    assert shown.encode() and json.loads(shown)["names"] == ["é.jpg", "\udce9.jpg"]


def test_json_has_no_number_that_is_not_finite():
    with pytest.raises(ValueError, match="not JSON compliant"):
        report({"se": float("nan")}, "", as_json=True)


@pytest.mark.parametrize("error", ["ValueError", "FileNotFoundError", "FloatingPointError", "ModuleNotFoundError"])
def test_wrong_input_is_one_sentence_and_exit_code_2(error):
    result = CliRunner().invoke(example, ["stop", error])
    assert (result.exit_code, result.stderr, result.stdout) == (2, "Error: Found 1, expected 2: change it.\n", "")


@pytest.mark.parametrize("name, words", [("map", "Stopped: the same command resumes.\n"), ("other", "Stopped.\n")])
def test_ctrl_c_is_one_sentence_and_exit_code_130(name, words):
    result = CliRunner().invoke(example, [name])
    assert (result.exit_code, result.stderr, result.stdout) == (130, words, "")


def test_commands_that_resume_exist():
    assert set(RESUMING) <= main.commands.keys()


def test_a_defect_of_the_program_keeps_its_traceback():
    assert isinstance(CliRunner().invoke(example, ["stop", "KeyError"]).exception, KeyError)


def test_failed_inputs_are_named_and_exit_code_1():
    result = CliRunner().invoke(example, ["some"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "1 done\n", "b.jpg: cannot be read\n")
    assert json.loads(CliRunner().invoke(example, ["some", "--json"]).stdout) == {"done": ["é.jpg"]}


def test_wrong_usage_is_exit_code_2():
    result = CliRunner().invoke(main, ["nothing"])
    assert result.exit_code == 2 and "No such command 'nothing'" in result.stderr


@pytest.mark.parametrize("name", main.commands)
def test_each_command_explains_itself_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0 and f"defusion {name}" in result.stdout.partition("Usage:")[2].partition("\n")[2]


def test_help_loads_neither_numpy_nor_torch():
    code = (
        "import sys\nfrom defusion_lib.apps.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print([name for name in ('numpy', 'torch', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n") and "Exit codes" in done.stdout
