"""The page of open choices names only code that exists, with the values that it has."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

from defusion_lib.network import DeFusionNet

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "defusion_lib/paper/open_choices.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| The paper states")]
NAMES = list(dict.fromkeys(re.findall("`([^`]+)`", PAGE)))


def resolve(dotted):
    """The object of a dotted name below the library: the longest module, then attributes."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(["defusion_lib", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AttributeError(f"no module of {dotted}")


def problems(entry):
    """What is wrong with an entry: `name`, `name = value` or `name(argument=value)`."""
    (statement,) = ast.parse(entry).body
    node = statement.targets[0] if isinstance(statement, ast.Assign) else statement.value
    try:
        found = resolve(ast.unparse(node.func if isinstance(node, ast.Call) else node))
    except AttributeError as error:
        return [str(error)]
    if isinstance(statement, ast.Assign) and found != ast.literal_eval(statement.value):
        return [f"{entry}: it is {found!r}"]
    if isinstance(node, ast.Call):
        given = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        if unknown := set(given) - set(inspect.signature(found).parameters):
            return [f"{entry}: no argument {', '.join(sorted(unknown))}"]
        if found is DeFusionNet:
            try:
                with torch.device("meta"):
                    found(**given)
            except ValueError as error:
                return [str(error)]
    return []


@pytest.mark.parametrize("entry", NAMES)
def test_what_the_page_names_exists(entry):
    assert problems(entry) == []


def test_every_row_has_four_filled_cells_and_names_code():
    assert len(ROWS) == 40
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4 and all(cells), row
        assert "`" in cells[-1] and not any("`" in cell for cell in cells[:-1]), row


def test_every_switch_of_the_network_is_on_the_page():
    named = {word for entry in NAMES for word in re.findall(r"(\w+)=", entry) if entry.startswith("network.")}
    # The stride of the fusion is our addition for laptops: the paper fuses at the photo's size.
    assert named == set(DeFusionNet(heads="compact").config) - {"fusion_stride"}


@pytest.mark.parametrize(
    "entry",
    [
        "network.Fuse",
        "network.CHANNELS = 31",
        "network.DeFusionNet(cams='off')",
        "network.DeFusionNet(cam='of')",
        "no.x",
    ],
)
def test_a_wrong_entry_is_found(entry):
    assert problems(entry)


def test_notebook_02_links_the_page():
    notebook = (ROOT / "notebooks/02_network.ipynb").read_text(encoding="utf-8")
    assert "](../defusion_lib/paper/open_choices.md)" in notebook
