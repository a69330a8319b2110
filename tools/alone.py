"""Run a Python module alone: while it runs, a second process with the same lock ends with one sentence.

    python -m tools.alone outputs/cpu/.done/.03_training.lock tools.execute execute notebooks/03_training.ipynb cpu

The lock holds across machines that share the folder, and ends with its process, however that ends.
"""

import runpy
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from defusion_lib.paths import display_path


def hold(lock: Path) -> FileLock:
    """Take a lock, which lasts as long as the returned object; ValueError where another process has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"Another run writes into {display_path(lock.parent.parent)}/: wait until it has ended, or end it (on a "
            "cluster, a job goes on after its `make run` was killed: squeue lists it, scancel ends it)."
        ) from None
    return held


def main() -> int | None:
    lock, module, *arguments = sys.argv[1:]
    try:
        held = hold(Path(lock))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sys.argv = [module, *arguments]
    with held:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
