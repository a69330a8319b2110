"""Measure how results change with the machine alone, into outputs/cpu/results/determinism.json.

    make determinism                            # half an hour: the quick notebooks, several times
    python -m tools.determinism 08_ablations    # only these notebooks; the stored values of others are kept

`tools/verify.py` computes its tolerances from this file, and the README shows it. "weights" is the largest change of
a weight after the training of the quick profile; the other keys are results and figures of notebooks.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from defusion_lib.runs.run import Run
from tools.run_cells import run_cells
from tools.verify import MACHINE, MEASURED, ROOT, differences, metric, read

TRAINING = "03_training"
# Each changes one setting of the first run: threads, the vector kernels of PyTorch, those of its convolutions.
CHANGES = [{}, {"DEFUSION_THREADS": "1"}, {"ATEN_CPU_CAPABILITY": "default"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}]


def execute(folder: Path, notebooks: list[Path], environment: dict | None = None, given: str = "") -> Path:
    """Run notebooks into a folder, each in a new process; return the profile's folder.

    `given` is the YAML text of changed parameters.
    """
    parameters = folder / "parameters.yaml"
    parameters.parent.mkdir(exist_ok=True)
    parameters.write_text(given)
    for notebook in tqdm(notebooks, desc=folder.name):
        command = [sys.executable, "-m", "tools.execute", "execute", str(notebook), "quick"]
        surroundings = os.environ | (environment or {}) | {"DEFUSION_OUTPUTS": str(folder)}
        subprocess.run(
            [*command, "--parameters", str(parameters)],
            check=True, cwd=ROOT, env=surroundings, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return folder / "quick"


def train_here(folder: Path) -> Path:
    """Run the training notebook in this process; return the profile's folder."""
    os.environ["DEFUSION_OUTPUTS"] = str(folder)
    try:
        run_cells(ROOT / f"notebooks/{TRAINING}.ipynb")
    finally:
        del os.environ["DEFUSION_OUTPUTS"]
    return folder / "quick"


def compare(first: Path, second: Path) -> dict[str, float]:
    """Compute the largest difference between two runs, of each item of `second` and of the trained weights."""
    ours, theirs = read(first), read(second)
    apart = differences({item: ours[item] for item in theirs}, theirs)
    found = {metric(item): max(keys.values(), default=0.0) for item, keys in apart.items()}
    paths = [folder / f"weights/{TRAINING}.safetensors" for folder in (first, second)]
    if all(path.is_file() for path in paths):
        before, after = map(load_file, paths)
        found["weights"] = max((before[name].float() - after[name].float()).abs().max().item() for name in before)
    return found


def main() -> None:
    parameters = {"profile": "cpu", "seed": 0}
    run = Run("determinism", parameters, parameters)
    chosen = sys.argv[1:]
    notebooks = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem in chosen or not chosen]
    training = [path for path in notebooks if path.stem == TRAINING]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first = execute(folder / "first", notebooks)
        pairs = {name: (first, execute(folder / name, notebooks, change)) for name, change in zip(MACHINE, CHANGES)}
        if training:
            pairs["same-process"] = train_here(folder / "once"), train_here(folder / "again")
            pairs["another-seed"] = first, execute(folder / "another-seed", training, given="seed: 1")
        values = {
            f"quick/{name}/{item}": apart for name, pair in pairs.items() for item, apart in compare(*pair).items()
        }
    run.note(vector_instructions=torch.backends.cpu.get_cpu_capability())
    if chosen:
        earlier = json.loads(MEASURED.read_text(encoding="utf-8"))
        run.note(measured=chosen, kept_from=earlier["stamp"])
        run.results(earlier["values"] | values)
    else:
        run.results(values)
    print(f"{'largest change of':34}" + "".join(f"{name:>16}" for name in pairs))
    for item in sorted({key.rpartition("/")[2] for key in values}):
        row = [values.get(f"quick/{name}/{item}") for name in pairs]
        print(f"{item:34}" + "".join(f"{'' if apart is None else f'{apart:.1e}':>16}" for apart in row))


if __name__ == "__main__":
    main()
