"""Execute the notebooks of a checkout in a profile: what `make run` and `defusion run` do."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from defusion_lib import SPINCOUNT
from defusion_lib.experiments.efficiency import ALLOCATOR
from defusion_lib.paths import check_writable, outputs_root, project_root

# Only file times tell what is stale: a checkout brings no other record of earlier runs.
OPTIONS = (
    *("--scheduler", "greedy", "--nolock", "--rerun-incomplete"),
    *("--rerun-triggers", "mtime", "--max-checksum-file-size", "0"),
)
STANDARD_ERROR = 2  # the number of that stream in every process


def run_notebooks(
    profile: str = "quick", dry_run: bool = False, cluster: str = "", progress_only: bool = False
) -> bool:
    """Execute the notebooks of a profile that are stale, print their results, and return whether all went well.

    `dry_run` lists them instead. `cluster` is a folder of tools/ with Snakemake's settings for one; without it they run
    on this machine, one after the other. `progress_only` leaves out the results, and the progress goes to standard
    error. Raises FileNotFoundError outside of a checkout, OSError in one that cannot be written in, ValueError for a
    profile or cluster that does not exist and where Snakemake is not installed, and KeyboardInterrupt after a notebook
    that Ctrl-C stopped.
    """
    root = project_root()
    if not (root / "Snakefile").is_file():
        raise FileNotFoundError(
            f"There is no Snakefile in {root}: the notebooks belong to a checkout of the project, so clone it and "
            'install it from there (pip install -e ".[batch]").'
        )
    known = ["quick", *sorted(path.name for path in (root / "params").iterdir() if path.is_dir())]
    if profile not in known:
        raise ValueError(f"There is no profile {profile!r}: choose one of {', '.join(known)}.")
    clusters = sorted(path.parent.name for path in (root / "tools").glob("*/config.yaml"))
    if cluster and cluster not in clusters:
        raise ValueError(
            f"There is no cluster {cluster!r}: choose one of {', '.join(clusters)} (tools/slurm/README.md)."
        )
    if importlib.util.find_spec("snakemake") is None:
        raise ValueError('Snakemake is not installed, which runs the notebooks: pip install -e ".[batch]".')
    check_writable(root / ".snakemake")  # where Snakemake keeps its records
    commands = [command(profile, dry_run, cluster)]
    if not dry_run and not progress_only:
        commands.append([sys.executable, "-m", "tools.execute", "summary", profile])
    return all(_run(each, root, STANDARD_ERROR if progress_only else None) for each in commands)


def results(profile: str) -> dict[str, dict]:
    """Read the result files of a profile, {notebook: its stamp and values}; empty where there are none."""
    files = sorted((outputs_root() / profile / "results").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def command(profile: str, dry_run: bool = False, cluster: str = "") -> list[str]:
    """Return the command that executes the stale notebooks of a profile, or lists them, in the project's folder."""
    verbosity = ("--dry-run",) if dry_run else ("--quiet", "all")
    where = ("--profile", f"tools/{cluster}") if cluster else ("--cores", "1")
    return [sys.executable, "-m", "snakemake", *where, *OPTIONS, *verbosity, "--config", f"profile={profile}"]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the notebooks: the Makefile exports the same, and says why."""
    found = {name: value for name, value in given.items() if name not in ("JUPYTER_PATH", "MPLBACKEND")}
    found |= ALLOCATOR | {"JUPYTER_PREFER_ENV_PATH": "1"}
    if "OMP_WAIT_POLICY" not in given:
        found.setdefault("GOMP_SPINCOUNT", SPINCOUNT)
    if given.get("DEFUSION_OUTPUTS"):
        found["DEFUSION_OUTPUTS"] = str(outputs_root())
    return found


def _run(arguments: list[str], root: Path, stdout: int | None) -> bool:
    process = subprocess.Popen(arguments, cwd=root, env=environment(os.environ), stdout=stdout)
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # the program got it too, and says where it stopped
            interrupted = True
    if interrupted and code:
        raise KeyboardInterrupt
    return code == 0
