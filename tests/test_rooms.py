"""The rooms of the library: arrows between them point one way."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from defusion_lib.sources import PACKAGE, direct_imports

ROOT = Path(__file__).resolve().parents[1]
# From the lowest room to the highest; modules of one line may import one another.
ROOMS = (
    ("paths", "lock", "progress", "freeze", "sources", "stopping"),
    ("data", "backbone", "precision", "device", "distributed"),
    ("network", "losses", "metrics"),
    ("weights", "cam_hooks", "plots", "network_drawing"),
    ("inference", "tiling", "training", "export", "refinement"),
    ("evaluation", "baselines", "runs"),
    ("experiments", "paper"),
    ("apps",),
    ("exercises",),
)
LEVELS = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
# The paper's Sections 3 and 4 in code: what computes, and reads no file.
PURE = ("network", "backbone", "losses", "metrics")
READERS = {"pathlib", "os", "io", "json", "safetensors", "PIL"}  # modules, by the first part of their name
READING = {"open", "load", "read_text", "read_bytes", "fromfile"}  # functions


def modules(root=ROOT):
    """Every module of the library with its source: {dotted name below the library: source}."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def imports(source, known):
    """The modules of the library that a source imports, wherever in it."""
    return {name.removeprefix(f"{PACKAGE}.") for name in direct_imports(source)} & known


def wrong_arrows(sources):
    """Each import of a room in a higher one, "importer -> imported"."""
    known, found = set(sources), []
    for name, source in sources.items():
        if name == "__init__":
            continue  # the public face: names of every room, loaded when they are used
        for other in sorted(imports(source, known)):
            if LEVELS[name.partition(".")[0]] < LEVELS[other.partition(".")[0]]:
                found.append(f"{name} -> {other}")
    return found


def test_every_module_is_in_a_room():
    assert {name.partition(".")[0] for name in modules()} - {"__init__"} == set(LEVELS)


def test_no_room_imports_a_higher_one():
    assert wrong_arrows(modules()) == []


def test_a_wrong_arrow_is_found():
    sources = modules()
    sources["network"] += "\n\ndef late():\n    from defusion_lib.training import train\n"
    sources["data.shi"] += "\nfrom defusion_lib import runs\n"
    assert wrong_arrows(sources) == ["data.shi -> runs", "network -> training"]


def test_every_import_names_the_library():
    """`direct_imports` reads no relative ones."""
    assert not [name for name, source in modules().items() if re.search(r"^\s*from \.", source, re.MULTILINE)]


@pytest.mark.slow
def test_no_circles():
    sources = {name: source for name, source in modules().items() if name != "__init__"}
    known = set(sources)
    graph = {name: imports(source, known) - {name} for name, source in sources.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(sources)


@pytest.mark.parametrize("name", PURE)
def test_the_papers_own_modules_read_no_file(name):
    assert not files_of(modules()[name])


def files_of(source):
    """The names of a source's imports and calls that read files."""
    found = {name for name in direct_imports(source) if name == f"{PACKAGE}.paths"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            found |= {str(name).partition(".")[0] for name in names} & READERS
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func).rpartition(".")[2]} & READING
    return found


@pytest.mark.parametrize(
    "line",
    ["import os.path", "from safetensors.torch import load_file", "open('a')", "torch.load('a')", "p.read_text()"],
)
def test_a_file_that_is_read_is_found(line):
    assert files_of(line) and not files_of("import torch")


def test_nothing_in_the_library_imports_tools():
    assert not [name for name, source in modules().items() if "import tools" in source or "from tools" in source]
