"""The tables of refined maps and exported files are of the networks that they name."""

import json
import shutil
from pathlib import Path

import pytest

from tools.render_commands import EXPORTED, commands_section

ROOT = Path(__file__).resolve().parents[2]


def test_maps_were_refined_by_the_network_in_the_package():
    assert "Made by the network in the package" in commands_section(ROOT / "outputs")


@pytest.mark.parametrize(
    ("exported", "of_network"),
    [*zip(EXPORTED, ("box/results/stress_shi.json", "cpu/results/04_evaluation.json"))],
)
def test_files_were_exported_from_the_named_network(exported, of_network):
    stamps = [
        json.loads((ROOT / "outputs" / path).read_text())["stamp"]
        for path in (f"{exported.replace('/', '/results/')}.json", of_network)
    ]
    assert stamps[0]["weights_sha256"] == stamps[1]["weights_sha256"]


@pytest.mark.parametrize(
    ("file", "key", "shown"),
    [
        ("refinement_gain", "shi-dutlab100/refined-less-steeper/border-mae", "-0.123 ± "),
        ("export_loss", "shi-dutlab100-train30/onnx-fp16/mae-change", "-0.1230 ± "),
    ],
)
def test_a_changed_result_changes_the_page(file, key, shown, tmp_path):
    for folder in ("box", "cpu"):
        shutil.copytree(ROOT / f"outputs/{folder}/results", tmp_path / folder / "results")
    path = tmp_path / f"box/results/{file}.json"
    content = json.loads(path.read_text())
    content["values"][key] = -0.123
    path.write_text(json.dumps(content))
    assert shown in commands_section(tmp_path) and shown not in commands_section(ROOT / "outputs")
