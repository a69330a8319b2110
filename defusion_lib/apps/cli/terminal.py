"""What the commands share: errors as one sentence, results as JSON for programs."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click

SOME_FAILED = 1  # the exit code where some inputs failed; click's own code for wrong usage is 2
STOPPED = 130  # the exit code after Ctrl-C, as shells have it
RESUMING = ("map", "train", "run")  # commands that go on where they were stopped


class Group(click.Group):
    """A group of commands that reports wrong input as one sentence with exit code 2, and no traceback.

    Ctrl-C ends it with one sentence and exit code 130.
    """

    def invoke(self, context: click.Context) -> Any:
        """Run the command; what the library raises about its input, or a loss that diverges, is a sentence."""
        try:
            return super().invoke(context)
        except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
            missing = (isinstance(error, ModuleNotFoundError) and error.name) or ""
            if isinstance(error, BrokenPipeError) or missing.partition(".")[0] == "defusion_lib":
                raise
            advice = ', which this command needs: pip install "defusion-lib[notebooks]"' if missing else ""
            message = click.ClickException(f"{error}{advice}")
            message.exit_code = 2
            raise message from error
        except KeyboardInterrupt:
            resumes = context.invoked_subcommand in RESUMING
            click.echo("Stopped: the same command resumes." if resumes else "Stopped.", err=True)
            sys.exit(STOPPED)


def json_option(command: Callable) -> Callable:
    """Add `--json` to a command: the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")(command)


def report(result: dict, text: str, as_json: bool) -> None:
    """Print a result on standard output: `text` for people, or `result` as one JSON document.

    Raises ValueError for a number that is not finite, which JSON does not have.
    """
    if as_json:
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # a name that is no UTF-8, whose bytes JSON writes as escapes
            text = json.dumps(result, indent=1)
    click.echo(text)


def finish(failed: dict[str, str]) -> None:
    """Name the failed inputs {input: problem} on standard error, and exit with 1 if there are any."""
    for name, problem in failed.items():
        click.echo(f"{name}: {problem}", err=True)
    if failed:
        sys.exit(SOME_FAILED)
