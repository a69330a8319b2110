"""Execute notebooks without a browser, and show what came out: what the Snakefile and the Makefile call.

python -m defusion_lib.batch execute notebooks/03_training.ipynb cpu --place 1/2
python -m defusion_lib.batch summary cpu
"""

import argparse
import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from defusion_lib.runs import outputs_root, shown, write_whole

# Seconds for one cell. papermill can wait for ever on a cell that shows widgets, so there is always an end.
CELL_SECONDS = {"quick": 600}
LONG_CELL_SECONDS = 48 * 3600
COLUMNS = ("mae", "max-f-blur", "max-f-focus", "auc", "seconds")
TRACEBACK_LINES = 16


def execute(notebook: Path, profile: str, given: dict) -> Path:
    """Execute a notebook with a profile's parameters from the current folder, and return the executed copy.

    The copy appears under `outputs/<profile>/` when it is complete, with the run's stamp in its metadata
    under "defusion". Where a cell fails, what ran so far is kept beside it as `<stem>.failed.ipynb`. Raises
    RuntimeError with the end of the cell's traceback, or where the notebook left no stamp.
    """
    # Imported here: they take a second, which the summary need not wait for.
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    # Its warning of an unknown parameter comes once more, and clearer, from the notebook itself.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    folder = outputs_root() / profile
    executed, failed = folder / notebook.name, folder / f"{notebook.stem}.failed.ipynb"
    results = folder / "results" / f"{notebook.stem}.json"
    folder.mkdir(parents=True, exist_ok=True)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        papermill.execute_notebook(
            notebook,
            failed,
            parameters=given,
            kernel_name="python3",
            execution_timeout=CELL_SECONDS.get(profile, LONG_CELL_SECONDS),
            progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],  # kernels warn on every start that they listen on TCP
        )
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(_ending(error) + f"\nWhat ran so far is in {shown(failed)}.") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise RuntimeError(f"{str(error).strip()}\nWhat ran so far is in {shown(failed)}.") from None
    stamp = json.loads(results.read_text(encoding="utf-8"))["stamp"] if results.is_file() else {"started": ""}
    if stamp["started"] < begun:
        raise RuntimeError(f"{notebook.name} left no stamp: its last cell must call `run.finish()`.")
    document = nbformat.read(failed, as_version=4)
    document.metadata["defusion"] = stamp
    # papermill's own notes hold absolute paths, and times that make every re-run differ in every cell.
    for part in (document, *document.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    write_whole(executed, (nbformat.writes(document) + "\n").encode())
    failed.unlink()
    return executed


def read_profile(profile: str, path: Path) -> dict:
    """What a notebook is given in a profile: the profile's name, and what its YAML file says.

    Raises ValueError where the file is no list of `name: value` lines, or names another profile.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{shown(path)} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{shown(path)} must hold lines `name: value`, not {given!r}.")
    if given.get("profile", profile) != profile:
        raise ValueError(
            f"{shown(path)} sets profile to {given['profile']!r}: leave it out, the folder says it."
        )
    return {"profile": profile} | given


def summary(profile: str) -> str:
    """A short table of a profile's results, and where everything lies."""
    folder = outputs_root() / profile
    rows, others = {}, 0
    for path in sorted((folder / "results").glob("*.json")):
        for key, value in json.loads(path.read_text(encoding="utf-8"))["values"].items():
            dataset, method, metric = key.split("/")
            if metric in COLUMNS:
                rows.setdefault((path.stem, dataset, method), {})[metric] = value
            else:
                others += 1
    columns = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    table = [("notebook", "dataset", "method", *columns)]
    table += [names + tuple(_number(row.get(metric)) for metric in columns) for names, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))
        ).rstrip()
        for line in table
    ]
    more = f" ({others} more numbers)" if others else ""
    lines = lines if rows else ["No results with these measures: " + ", ".join(COLUMNS)]
    return "\n".join(
        [
            "",
            *lines,
            "",
            f"executed notebooks  {shown(folder)}/",
            f"numbers             {shown(folder)}/results/{more}",
            f"figures and arrays  {shown(folder)}/figures/",
        ]
    )


def _number(value) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


def _ending(error) -> str:
    """The cell that failed and the end of its traceback, without colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).strip().splitlines()
    kept = lines if len(lines) <= TRACEBACK_LINES else ["...", *lines[-TRACEBACK_LINES:]]
    return f"Cell [{error.exec_count}] failed:\n" + "\n".join("    " + line for line in kept)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m defusion_lib.batch", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("execute", help="execute one notebook")
    one.add_argument("notebook", type=Path)
    one.add_argument("profile")
    one.add_argument("--parameters", type=Path, help="YAML file with the profile's parameters")
    one.add_argument("--place", default="1/1", help="which of how many, for the progress line")
    commands.add_parser("summary", help="show a profile's results").add_argument("profile")
    options = parser.parse_args(arguments)
    if options.command == "summary":
        print(summary(options.profile))
        return 0
    print(f"[{options.place}] {options.notebook.stem} ... ", end="", flush=True)
    begun = time.monotonic()
    try:
        given = read_profile(options.profile, options.parameters) if options.parameters else {}
        execute(options.notebook, options.profile, given)
    except (RuntimeError, ValueError, OSError) as error:
        print(f"failed after {time.monotonic() - begun:.0f} s", flush=True)
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with this notebook", flush=True)
        return 130
    print(f"{time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
