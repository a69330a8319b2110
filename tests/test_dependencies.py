"""One list of dependencies: what it says, what is pinned, what conda installs and what is imported agree."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def needs(*extras):
    """The requirements of the package with some extras, which may name one another."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for extra in extras:
        for line in EXTRAS[extra]:
            requirement = Requirement(line)
            found += needs(*requirement.extras) if requirement.name == PROJECT["name"] else [requirement]
    return list({str(requirement): requirement for requirement in found}.values())


DETECTOR = needs()
DEPENDENCIES = needs("batch")
DEVELOPMENT = needs("dev")
BROWSER = [Requirement(line) for line in EXTRAS["browser"]]
CLUSTER = [requirement for requirement in needs("cluster") if requirement not in DEPENDENCIES]
SITE = [Requirement(line) for line in EXTRAS["site"]]
HEIF = [Requirement(line) for line in EXTRAS["heif"]]
EXPORT = [Requirement(line) for line in EXTRAS["export"]]
# Rooms that the detector and its training need; the others belong to the extras.
DETECTOR_ROOMS = ("paths", "data", "backbone", "precision", "network", "losses", "metrics", "weights", "cam_hooks")
DETECTOR_ROOMS += ("inference", "tiling", "training", "export", "refinement", "sources", "progress", "distributed")
# Modules whose package has another name.
PACKAGES = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml"}
PACKAGES |= {"py_sod_metrics": "pysodmetrics", "pillow_heif": "pillow-heif"}
# Brought along by a listed package that cannot do without them.
BROUGHT = {"IPython": "ipykernel", "nbclient": "papermill", "packaging": "pytest"}
BROUGHT |= {
    "psutil": "ipykernel",
    "threadpoolctl": "scikit-learn",
    "matplotlib_inline": "ipykernel",
    "nbconvert": "jupyterlab",
}


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def listed(requirements):
    return {canonicalize_name(requirement.name) for requirement in requirements}


def imported(sources):
    """The first parts of the names of the modules that Python sources import."""
    names = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names


def unlisted(sources, requirements, own=("defusion_lib",)):
    """Third-party modules that sources import and no requirement stands for."""
    third_party = imported(sources) - set(sys.stdlib_module_names) - set(own)
    packages = {name: PACKAGES.get(name) or BROUGHT.get(name) or name for name in third_party}
    return sorted(name for name, package in packages.items() if canonicalize_name(package) not in listed(requirements))


def sources_of(folder):
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_constraints_are_exact_versions():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.!]+", line), f"{line!r} is not name==version of the package index"
        assert not line.lower().startswith(("nvidia", "defusion", "pip=="))


@pytest.mark.parametrize("requirement", DEVELOPMENT + BROWSER + SITE + CLUSTER, ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


@pytest.mark.slow
def test_what_dependencies_need_is_pinned_too():
    seen, waiting = set(), list(DEVELOPMENT)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed here")
        environments = [default_environment() | {"extra": extra} for extra in requirement.extras or [""]]
        for need in map(Requirement, needs):
            # A torch with CUDA brings NVIDIA's packages, and chooses their versions itself.
            if canonicalize_name(need.name).startswith(("nvidia", "cuda", "triton")):
                continue
            if need.marker is None or any(need.marker.evaluate(each) for each in environments):
                assert canonicalize_name(need.name) in pins(), f"{name} needs {need.name}"
                waiting.append(need)


def test_torch_has_an_upper_bound():
    for requirement in DEPENDENCIES:
        if requirement.name in ("torch", "torchvision"):
            assert any(specifier.operator == "<" for specifier in requirement.specifier)


def test_conda_installs_the_project_and_nothing_beside_it():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, through_pip = environment["dependencies"]
    assert pip == "pip" and through_pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    version = python.removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


def test_make_installs_the_same():
    assert '/pip install -c constraints.txt -e ".[dev]"' in (ROOT / "Makefile").read_text()


def test_the_oldest_versions_are_the_lower_bounds(tmp_path):
    """Every requirement has one, and the recipe of `make test-oldest` finds it."""
    told = subprocess.run(
        ["make", "-n", f"OLDEST={tmp_path}", f"{tmp_path}/.ready"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (recipe,) = [line for line in told.splitlines() if line.startswith("sed ")]
    subprocess.run(recipe, shell=True, cwd=ROOT, check=True)
    oldest = sorted((tmp_path / "constraints.txt").read_text().split())
    bounds = [
        f"{requirement.name}=={specifier.version}"
        for requirement in DEVELOPMENT + BROWSER + SITE + CLUSTER
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]
    assert len(bounds) == len(DEVELOPMENT + BROWSER + SITE + CLUSTER) and oldest == sorted(bounds)


def test_the_detector_imports_what_its_short_list_names():
    """torchvision downloads weights on demand, and says so where it is missing."""
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "defusion_lib").rglob("*.py")
        if path.relative_to(ROOT / "defusion_lib").with_suffix("").parts[0] in DETECTOR_ROOMS
    ]
    assert set(unlisted(sources, DETECTOR + HEIF + EXPORT)) <= {"torchvision"}


@pytest.mark.slow
def test_the_library_imports_what_is_listed():
    assert unlisted(sources_of("defusion_lib"), DEPENDENCIES + HEIF + EXPORT) == []


@pytest.mark.slow
def test_tests_import_what_is_listed():
    helpers = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"defusion_lib", "reference", "tools"}
    assert unlisted(sources_of("tests"), DEVELOPMENT + BROWSER, own=helpers) == []


def test_notebooks_import_what_is_listed():
    sources = [
        TransformerManager().transform_cell(cell.source)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    assert unlisted(sources, DEPENDENCIES) == []


def test_an_unlisted_import_is_found():
    source = "import os, cv2\nfrom PIL import Image\nfrom pandas.io import json\nfrom . import x\n"
    assert unlisted([source, "def f():\n    import boto3.session\n"], DEPENDENCIES) == ["boto3", "cv2"]
