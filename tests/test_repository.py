"""The repository stays small: every storing of results adds to its history for ever."""

import base64
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defusion_lib.runs.pictures import WIDTH, shrink

ROOT = Path(__file__).resolve().parents[1]
TRACKED = 24_000_000  # bytes in all; 23.1 million with what is kept of all networks of Table 1, on two data sets
NOTEBOOK = 1_000_000  # bytes; the largest had 0.8 million


def listed(root):
    """Every tracked file that is there."""
    try:
        names = subprocess.check_output(["git", "ls-files", "-z"], cwd=root, text=True, stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("Which files are tracked is known to git alone: there is no git, or this is no checkout.")
    return [path for path in map(root.joinpath, names.split("\0")) if path.is_file()]


@pytest.fixture(scope="module")
def tracked():
    return listed(ROOT)


def of_type(tracked, suffix):
    """Tracked files of one type that runs make, as (path, its place in the checkout)."""
    return [path for path in tracked if path.suffix == suffix and path.relative_to(ROOT).parts[0] != "defusion_lib"]


def wide_pictures(notebook, widest=WIDTH):
    """Pictures in a notebook's outputs that are wider than a page."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for kind, content in output.get("data", {}).items():
                if kind in ("image/png", "image/jpeg"):
                    width = Image.open(io.BytesIO(base64.b64decode("".join(content)))).width
                    found += [f"{kind} of {width} pixels"] * (width > widest)
    return found


def test_tracked_files_without_weights_stay_small(tracked):
    sizes = {path: path.stat().st_size for path in tracked if path.suffix != ".safetensors"}
    largest = sorted(sizes, key=sizes.get)[-5:]
    assert sum(sizes.values()) <= TRACKED, f"the largest are {[str(path.relative_to(ROOT)) for path in largest]}"


def test_notebooks_stay_small(tracked):
    notebooks = of_type(tracked, ".ipynb")
    assert len(notebooks) > 10
    assert {path.name: size for path in notebooks if (size := path.stat().st_size) > NOTEBOOK} == {}


def test_pictures_in_notebooks_are_no_wider_than_a_page(tracked):
    found = {
        str(path): wide_pictures(json.loads(path.read_text(encoding="utf-8"))) for path in of_type(tracked, ".ipynb")
    }
    assert {path: wide for path, wide in found.items() if wide} == {}


def hides_widgets(notebook):
    """Whether a notebook stores the states of widgets, and no output shows one."""
    kinds = {
        kind for cell in notebook["cells"] for output in cell.get("outputs", []) for kind in output.get("data", ())
    }
    return "widgets" in notebook["metadata"] and "application/vnd.jupyter.widget-view+json" not in kinds


def test_notebooks_store_no_widgets_that_are_never_seen(tracked):
    """A notebook that once showed progress bars carries their states into every copy."""
    notebooks = of_type(tracked, ".ipynb")
    assert [path.name for path in notebooks if hides_widgets(json.loads(path.read_text(encoding="utf-8")))] == []


def test_maps_behind_figures_are_stored_small(tracked):
    large = []
    for path in of_type(tracked, ".npz"):
        if path.parent.name == "figures":
            with np.load(path) as arrays:
                large += [f"{path}: {key}" for key, array in arrays.items() if shrink(array) is not array]
    assert large == []


def test_a_picture_is_tracked_only_where_a_page_shows_it(tracked):
    pages = "".join(path.read_text(encoding="utf-8") for path in tracked if path.suffix in (".md", ".ipynb"))
    names = [path.relative_to(ROOT).as_posix() for path in of_type(tracked, ".png")]
    assert [name for name in names if f"]({name})" not in pages and f"](../{name})" not in pages] == []


def test_a_wide_picture_is_found():
    content = io.BytesIO()
    Image.new("RGB", (30, 20)).save(content, "png")
    data = {"image/png": base64.b64encode(content.getvalue()).decode(), "text/plain": "a picture"}
    notebook = {"cells": [{"outputs": [{"data": data}]}]}
    assert wide_pictures(notebook, widest=29) == ["image/png of 30 pixels"]
    assert wide_pictures(notebook, widest=30) == []


def test_without_git_the_tests_say_why_they_are_skipped(tmp_path, monkeypatch):
    for spoil in (lambda: None, lambda: monkeypatch.setenv("PATH", "")):
        spoil()
        with pytest.raises(pytest.skip.Exception, match="Which files are tracked is known to git alone"):
            listed(tmp_path)
