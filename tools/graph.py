"""Find the files that a notebook's results depend on: the inputs that the Snakefile gives it."""

import json
from pathlib import Path

import defusion_lib
from defusion_lib.sources import PACKAGE, all_imports, direct_imports, module_file

# Modules that results do not depend on: the checks of exercises, and the status of claims, which is shown beside
# results. Only the notebook of the claims counts the status.
SHOWN = (f"{PACKAGE}.exercises", f"{PACKAGE}.paper.claims")
CLAIMS = "06_claims"


def library_files(notebook: Path, root: Path = Path()) -> list[str]:
    """Return the files of the library below `root`, code and data, that a notebook's results depend on."""
    library = root / PACKAGE
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = set().union(*map(direct_imports, code))
    # A public name is replaced by the module that defines it.
    names |= {f"{PACKAGE}.{module}" for name, module in defusion_lib.FACE.items() if f"{PACKAGE}.{name}" in names}
    left_out = SHOWN[:1] if notebook.stem == CLAIMS else SHOWN
    modules = [module_file(name, library) for name in all_imports(names, left_out, library)]
    found = {path for path in modules if path is not None}
    for folder in {path.parent for path in found}:
        found |= {path for path in folder.glob("*") if path.suffix in (".json", ".txt", ".npz")}
    if library / "weights.py" in found:
        found |= set((library / "shipped").glob("*.safetensors"))
    if notebook.stem == CLAIMS:
        found.add(library / "paper/claims.yaml")
    return sorted(path.as_posix() for path in found)
