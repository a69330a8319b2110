"""Find the trainings of a notebook, and the files that results depend on: jobs and inputs of the Snakefile."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import defusion_lib
from defusion_lib.paths import locate, outputs_root
from defusion_lib.runs.parameters import check_parameters, read_parameters
from defusion_lib.sources import PACKAGE, all_imports, direct_imports, module_file
from tools.execute import find_parameters, read_profile

if TYPE_CHECKING:
    from defusion_lib.experiments.training_run import Training

# Modules that results do not depend on: the checks of exercises, and the status of claims, which is shown beside
# results. Only the notebook of the claims counts the status.
SHOWN = (f"{PACKAGE}.exercises", f"{PACKAGE}.paper.claims")
CLAIMS = "06_claims"
# Modules of experiments with `trainings` and `train_one`; a notebook that calls such a function has its trainings.
TRAINERS = ("training_run", "table_1", "ablations")
READ_RESULTS = {"pilot", "beside"}  # parameters that name a result file of another profile
# What every training computes with.
TRAINING = (f"{PACKAGE}.training", f"{PACKAGE}.data.datasets")


def code_cells(notebook: Path) -> list[dict]:
    """Return the code cells of a notebook, as its file has them, each with its source as one text."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


def parameters_cell(notebook: Path) -> str:
    """Return the source of the parameters cell of a notebook."""
    return next(cell["source"] for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", []))


def library_files(notebook: Path, root: Path = Path()) -> list[str]:
    """Return the files of the library below `root`, code and data, that a notebook's results depend on."""
    names = set().union(*(direct_imports(cell["source"]) for cell in code_cells(notebook)))
    # A public name is replaced by the module that defines it.
    names |= {f"{PACKAGE}.{module}" for name, module in defusion_lib.FACE.items() if f"{PACKAGE}.{name}" in names}
    found = _files(names, SHOWN[:1] if notebook.stem == CLAIMS else SHOWN, root)
    if notebook.stem == CLAIMS:
        found.add(root / PACKAGE / "paper/claims.yaml")
    return sorted(path.as_posix() for path in found)


def _files(names: Iterable[str], left_out: Iterable[str], root: Path) -> set[Path]:
    """Return the files of modules and of all that they import, with the data beside them."""
    library = root / PACKAGE
    modules = [module_file(name, library) for name in all_imports(names, left_out, library)]
    found = {path for path in modules if path is not None}
    for folder in {path.parent for path in found}:
        found |= {path for path in folder.glob("*") if path.suffix in (".json", ".txt", ".npz")}
    if library / "weights.py" in found:
        found |= set((library / "shipped").glob("*.safetensors"))
    return found


def files_of_others(notebook: Path, profile: str) -> list[str]:
    """Return the results of other profiles that a notebook reads in a profile, where it has them; none where its
    parameters are wrong, which the notebook says.
    """
    try:
        given = _effective(notebook, profile, find_parameters(notebook, profile))
    except (ValueError, StopIteration):
        return []
    own = (outputs_root() / profile).absolute()
    found = []
    for name in READ_RESULTS & given.keys():
        with suppress(ValueError, OSError):
            file = Path(locate(given[name])).absolute()
            found += [str(file)] if given[name] and file.is_file() and not file.is_relative_to(own) else []
    return found


def _effective(notebook: Path, profile: str, path: Path | None) -> dict:
    """Return the parameters of a notebook in a profile, of which a YAML file is at `path`, if there is one."""
    given = read_profile(profile, path) if path else {"profile": profile}
    return check_parameters(read_parameters(parameters_cell(notebook)), given)


def trainer(sources: Iterable[str]) -> str | None:
    """Return the name of the module that trains the networks of a notebook with these cells, None for none."""
    code = "\n".join(sources)
    return next((f"{PACKAGE}.experiments.{name}" for name in TRAINERS if f"{name}.train" in code), None)


def trainings(notebook: Path, profile: str) -> "dict[str, Training]":
    """Return the trainings of a notebook that are jobs of a profile, by name.

    They are jobs where params/<profile>/ has a file for the notebook. The quick profile has none: its trainings take
    seconds, less than a process takes to import torch and to read photos. There are none either where the parameters
    are wrong: the notebook, which trains what no job did, says why.
    """
    module = trainer(cell["source"] for cell in code_cells(notebook))
    if module is None:
        return {}
    try:
        path = find_parameters(notebook, profile)
        if path is None:
            return {}
        given = _effective(notebook, profile, path)
        return import_module(module).trainings(SimpleNamespace(**given))
    except (ValueError, KeyError):
        return {}


def training_files(training: "Training", root: Path = Path()) -> list[str]:
    """Return the files of the library below `root` that the result of a training depends on.

    The module that lists a notebook's trainings also draws its figures, and is none of them: what it decides is in
    `mark`.
    """
    found = _files({*TRAINING, *training.modules}, (), root)
    if "shipped" not in (training.begin_with, training.backbone):
        found = {path for path in found if path.suffix != ".safetensors"}
    return sorted(path.as_posix() for path in found)


@contextmanager
def unedited(files: Iterable[str | Path]) -> Iterator[None]:
    """Raise RuntimeError at the end of the block if one of the files was edited in it.

    Snakemake compares file times at the end of a job: results of the old version would count as new.
    """
    before = {path: _edited(path) for path in files}
    yield
    changed = [Path(path).as_posix() for path, when in before.items() if _edited(path) != when]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise RuntimeError(
            f"{changed[0]}{more} changed during this run, whose results may be of the old version: delete what it "
            "stored, and run it again."
        )


def _edited(path: str | Path) -> int | None:
    return Path(path).stat().st_mtime_ns if Path(path).is_file() else None


def mark(training: "Training") -> str:
    """Return the content of the file that marks a finished training: a training with another one is stale."""
    return json.dumps(training.facts(), indent=1) + "\n"
