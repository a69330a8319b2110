"""Execute notebooks without a browser, and summarise their results; the Snakefile and the Makefile call this.

python -m tools.execute execute notebooks/03_training.ipynb cpu --place 1/2
python -m tools.execute summary cpu
"""

import argparse
import json
import logging
import os
import re
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from defusion_lib.paths import outputs_root, write_atomically
from defusion_lib.runs.parameters import check_parameters

# Time limits in seconds per cell: papermill can wait for ever on a cell that shows widgets.
CELL_SECONDS = {"quick": 600}
LONG_CELL_SECONDS = 48 * 3600
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)[^)\s#]+(?=[)#])")  # a relative one of Markdown
COLUMNS = ("mae", "max-f-blur", "max-f-focus", "auc", "seconds")
TRACEBACK_LINES = 16


def execute(notebook: Path, profile: str, given: dict) -> Path:
    """Execute a notebook with a profile's parameters from the current folder, and return the executed copy.

    The copy appears under `outputs/<profile>/` when it is complete, with the run's stamp in its metadata
    under "defusion". During the run, `<stem>.running.ipynb` beside it holds the cells so far; after an error it is
    renamed to `<stem>.failed.ipynb`. Files of these names from an earlier run are removed first. Raises
    RuntimeError with the end of the cell's traceback, or where the notebook wrote no stamp.
    """
    # Imported here, because they take a second, and the summary does not need them.
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    # The notebook itself gives a clearer message for an unknown parameter than papermill's warning.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    if not notebook.is_file():
        raise ValueError(f"There is no notebook {notebook}: give the path of an .ipynb file.")
    try:
        nbformat.read(notebook, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
        raise ValueError(f"{notebook} is not a Jupyter notebook: give the path of an .ipynb file.") from None
    folder = outputs_root() / profile
    executed = folder / notebook.name
    running, failed = (folder / f"{notebook.stem}.{state}.ipynb" for state in ("running", "failed"))
    results = folder / "results" / f"{notebook.stem}.json"
    folder.mkdir(parents=True, exist_ok=True)
    running.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        papermill.execute_notebook(
            notebook,
            running,
            parameters=given,
            kernel_name="python3",
            execution_timeout=CELL_SECONDS.get(profile, LONG_CELL_SECONDS),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],  # each kernel warns at its start that it listens on TCP
        )
        stamp = json.loads(results.read_text(encoding="utf-8"))["stamp"] if results.is_file() else {"started": ""}
        if stamp["started"] < begun:
            raise RuntimeError(f"{notebook.name} wrote no stamp: its last cell must call `run.finish()`.")
    except KeyboardInterrupt:
        running.unlink(missing_ok=True)
        raise
    except (papermill.PapermillExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        running.replace(failed)
        message = _ending(error) if isinstance(error, papermill.PapermillExecutionError) else str(error).strip()
        raise RuntimeError(f"{message}\nThe cells so far are in {_place(failed)}.") from None
    document = nbformat.read(running, as_version=4)
    document.metadata["defusion"] = stamp
    # papermill's metadata hold absolute paths, and times that differ in every cell of every run.
    for part in (document, *document.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    for cell in (each for each in document.cells if each.cell_type == "markdown"):
        cell.source = rebased(cell.source, notebook.parent, executed.parent)
    write_atomically(executed, (nbformat.writes(document) + "\n").encode())
    running.unlink()
    return executed


def rebased(text: str, old: Path, new: Path) -> str:
    """Return a Markdown text with its relative links, which start at a folder, changed to start at another."""
    return LINK.sub(lambda found: Path(os.path.relpath(old / found.group(), new)).as_posix(), text)


def find_parameters(notebook: Path, profile: str) -> Path | None:
    """Return the YAML file of a notebook in a profile, in the current folder; None where the quick profile has none.

    Raises ValueError where the profile's name is not valid, or the notebook does not belong to it.
    """
    check_parameters({"profile": profile}, {})
    path = Path("params", profile, f"{notebook.stem}.yaml")
    if path.is_file():
        return path
    if profile != "quick":
        known = ", ".join(sorted(other.parent.name for other in Path("params").glob(f"*/{notebook.stem}.yaml")))
        raise ValueError(
            f"{notebook.stem} does not belong to profile {profile!r}, because there is no {path}: choose quick"
            + (f", or one of {known}." if known else ".")
        )
    return None


def read_profile(profile: str, path: Path) -> dict:
    """Read the parameters of a notebook in a profile: the profile's name, and the values of its YAML file.

    A file without values gives the name alone. Raises ValueError where the file is not a list of lines `name: value`,
    gives a name twice, or names another profile.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        given = yaml.safe_load(text)
        json.dumps(given, default=str, skipkeys=True)  # fails where a value contains itself
        document = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{_place(path)} is not valid YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ValueError(f"Cannot read {_place(path)} ({why}): give a YAML file of lines `name: value`.") from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # PyYAML does not check a value before it converts it to a date, a number or a nested list.
        why = " ".join(str(error).split())
        raise ValueError(
            f"{_place(path)} holds a value that YAML cannot read ({why}): write text, dates and long numbers in quotes."
        ) from None
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise ValueError(f"{_place(path)} must hold lines `name: value`, not {_short(given)}.")
    for name in given:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"{_place(path)} must hold lines `name: value`, but one of its names is read as {_short(name)}."
            )
    twice = (
        [name for name, count in Counter(key.value for key, _ in document.value).items() if count > 1] if given else []
    )
    if twice:
        raise ValueError(f"{_place(path)} gives {twice[0]} more than once: keep one of these lines.")
    for number in _numbers(document) if given else ():
        if ":" in number or re.match("[+-]?0_*[0-7]", number):
            raise ValueError(
                f"{_place(path)} holds {number[:60]}, which YAML reads as another number (12:30 as 750, 0123 as 83): "
                "write a decimal number, or text in quotes."
            )
    if given.get("profile", profile) != profile:
        raise ValueError(
            f"{_place(path)} sets profile to {_short(given['profile'])}: remove that line, the folder is the profile."
        )
    return {"profile": profile} | given


def _numbers(node) -> Iterator[str]:
    """Yield each number below a node of a YAML document, as the file has it."""
    if isinstance(node.value, str):
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            yield node.value
        return
    for inner in node.value:
        for each in inner if isinstance(inner, tuple) else (inner,):
            yield from _numbers(each)


def summary(profile: str) -> str:
    """Return a short table of a profile's results, and the folders of all outputs.

    Raises ValueError where the profile has no folder, or one of its files holds no results.
    """
    check_parameters({"profile": profile}, {})
    folder = outputs_root() / profile
    if not folder.is_dir():
        made = ", ".join(sorted(results.parent.name for results in outputs_root().glob("*/results")))
        raise ValueError(
            f"{_place(outputs_root())}/ has no results of profile {profile!r}: run it first"
            + (f", or choose one of {made}." if made else ".")
        )
    rows, others = {}, 0
    for path in sorted((folder / "results").glob("*.json")):
        for dataset, method, metric, value in _values(path):
            if metric in COLUMNS:
                rows.setdefault((path.stem, dataset, method), {})[metric] = value
            else:
                others += 1
    columns = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    table = [("notebook", "dataset", "method", *columns)]
    table += [names + tuple(_number(row.get(metric)) for metric in columns) for names, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))).rstrip()
        for line in table
    ]
    more = f" ({others} more numbers)" if others else ""
    lines = lines if rows else ["No results with these measures: " + ", ".join(COLUMNS)]
    return "\n".join(
        [
            "",
            *lines,
            "",
            f"executed notebooks  {_place(folder)}/",
            f"numbers             {_place(folder)}/results/{more}",
            f"figures and arrays  {_place(folder)}/figures/",
        ]
    )


def _values(path: Path) -> list[tuple[str, str, str, float]]:
    """Return (dataset, method, metric, value) of each number in a file of results."""
    found = []
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["values"]
        for key, value in values.items():
            dataset, method, metric = key.split("/")
            found.append((dataset, method, metric, value + 0.0))
        return found
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{_place(path)} holds no results: remove it, and run {path.stem} again.") from None


def _place(path: Path) -> str:
    """Return a path as text: relative where it is in the current folder, otherwise absolute."""
    path = path.absolute()
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


def _short(value) -> str:
    return textwrap.shorten(repr(value), 60, placeholder=" ...")


def _number(value) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


def _ending(error) -> str:
    """Return the number of the failed cell and the end of its traceback, without colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).strip().splitlines()
    kept = lines if len(lines) <= TRACEBACK_LINES else ["...", *lines[-TRACEBACK_LINES:]]
    return f"Cell [{error.exec_count}] failed:\n" + "\n".join("    " + line for line in kept)


def report(name: str, work: Callable[[], object], place: str, beside: bool = False) -> int:
    """Do the work of a job with a line before and after it, `[place] name ... seconds`, and return its exit code.

    Where other jobs run `beside` it, a line of its own says that it begins. An error is printed without its traceback.
    """
    title = f"[{place}] {name} ..."
    print(title, end="\n" if beside else " ", flush=True)
    title = f"{title} " if beside else ""
    begun = time.monotonic()
    try:
        work()
    except (RuntimeError, ValueError, OSError, ArithmeticError) as error:
        print(f"{title}failed after {time.monotonic() - begun:.0f} s", flush=True)
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{title}interrupted; the same command continues with it", flush=True)
        return 130
    print(f"{title}{time.monotonic() - begun:.0f} s", flush=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("execute", help="execute one notebook")
    one.add_argument("notebook", type=Path)
    one.add_argument("profile")
    one.add_argument("--parameters", type=Path, help="YAML file instead of params/<profile>/<notebook>.yaml")
    one.add_argument("--place", default="1/1", help="number of this notebook and of all, for the progress line")
    one.add_argument("--beside", action="store_true", help="other jobs print in the same terminal")
    one.add_argument("--mark", type=Path, help="file to write when the notebook has run to its end")
    commands.add_parser("summary", help="show a profile's results").add_argument("profile")
    options = parser.parse_args(arguments)
    if options.command == "summary":
        try:
            print(summary(options.profile))
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    from tools.graph import library_files, unedited  # which imports this module

    def work() -> None:
        path = options.parameters or find_parameters(options.notebook, options.profile)
        given = read_profile(options.profile, path) if path else {}
        inputs = [path, options.notebook, *library_files(options.notebook)] if options.mark else []
        with unedited(filter(None, inputs)):
            execute(options.notebook, options.profile, given)
        if options.mark:
            write_atomically(options.mark, f"{datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())

    return report(options.notebook.stem, work, options.place, options.beside)


if __name__ == "__main__":
    sys.exit(main())
