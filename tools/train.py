"""Train one network of a notebook, as the notebook itself would: a job of the Snakefile.

    python -m tools.train cpu 08_ablations full@seed0

The network and its checkpoint get the names that the notebook gives them, so that the notebook finds the network, and
a training that was killed continues. Parameters are those of the notebook in this profile.
"""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from defusion_lib.paths import outputs_root, write_atomically
from tools.alone import hold
from tools.execute import find_parameters, read_profile, report
from tools.graph import code_cells, mark, parameters_cell, trainer, training_files, unedited


def begin(notebook: Path, given: Mapping) -> Any:
    """Begin a notebook's run as its first cells do, with these parameters instead of its own; return the `Run`."""
    parameters = parameters_cell(notebook)
    start = next(cell["source"] for cell in code_cells(notebook) if "runs.start(" in cell["source"])
    replaced = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())])
    namespace: dict[str, Any] = {"In": [parameters, replaced]}  # what runs.start reads, as papermill leaves it
    exec(parameters, namespace)
    namespace |= given
    exec(start, namespace)
    return namespace["run"]


def train(notebook: Path, profile: str, name: str, alone: bool = False) -> str:
    """Train a network of a notebook in a profile, or find it trained, and return the content of its mark.

    With `alone` it takes the lock that a job of the Snakefile has. Raises ValueError for a notebook or a name without
    training, and where another process has the lock, and what the training raises.
    """
    if not notebook.is_file():
        raise ValueError(f"There is no notebook {notebook.stem}: give its file name without .ipynb.")
    module = trainer(cell["source"] for cell in code_cells(notebook))
    if module is None:
        raise ValueError(f"{notebook.stem} trains no network: choose another notebook.")
    path = find_parameters(notebook, profile)
    run = begin(notebook, read_profile(profile, path) if path else {})
    if profile == "paper" and run.device.type == "cpu":
        print("No GPU was found: the paper's recipe takes a processor weeks. Check torch.cuda.is_available().")
    found = import_module(module).trainings(run.parameters)
    if name not in found:
        raise ValueError(f"{notebook.stem} has no training {name!r} in profile {profile}: choose {', '.join(found)}.")
    lock = outputs_root() / profile / f".done/{notebook.stem}.{name}.lock"
    with hold(lock) if alone else nullcontext(), unedited(training_files(found[name])):
        import_module(module).train_one(run, name, found[name].open_photos())
    return mark(found[name])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("notebook", help="file name without .ipynb")
    parser.add_argument("network", help="name of the training, such as full@seed0")
    parser.add_argument("--place", default="1/1", help="number of this job and of all, for the progress line")
    parser.add_argument("--beside", action="store_true", help="other jobs print in the same terminal")
    parser.add_argument("--mark", type=Path, help="file to write at the end; the words of the training go beside it")
    options = parser.parse_args(arguments)

    def work() -> None:
        with ExitStack() as stack:
            if options.mark:
                options.mark.parent.mkdir(parents=True, exist_ok=True)
                log = options.mark.with_name(f"{options.mark.name}.log").open("a", encoding="utf-8")
                stack.enter_context(log)
                stack.enter_context(redirect_stdout(log))
                stack.enter_context(redirect_stderr(log))
            made = train(
                Path(f"notebooks/{options.notebook}.ipynb"), options.profile, options.network, not options.mark
            )
            if options.mark:
                write_atomically(options.mark, made.encode())

    return report(f"{options.notebook}/{options.network}", work, options.place, options.beside)


if __name__ == "__main__":
    sys.exit(main())
