"""A notebook depends on what it computes with, and not on what it only shows."""

import json
import os
from pathlib import Path

import pytest

from tools.graph import files_of_others, library_files, unedited

ROOT = Path(__file__).resolve().parents[2]


def files_of(stem):
    (notebook,) = (ROOT / "notebooks").glob(f"{stem}_*.ipynb")
    return {Path(name).relative_to(ROOT / "defusion_lib").as_posix() for name in library_files(notebook, ROOT)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stem", "needed"),
    [
        ("03", "training.py"),
        ("03", "data/shi_manifest.json"),
        ("04", "shipped/defusionnet_compact.safetensors"),
        ("07", "baselines/classical/jnb.npz"),
        ("09", "network.py"),
        ("06", "paper/claims.yaml"),
        ("06", "paper/claims.py"),
    ],
)
def test_what_results_are_computed_with_is_an_input(stem, needed):
    assert needed in files_of(stem)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["03", "04", "07", "08", "09", "10", "11"])
def test_what_is_only_shown_is_no_input(stem):
    found = files_of(stem)
    assert not [name for name in found if name.startswith(("exercises/", "apps/")) or "claims" in name]


@pytest.mark.parametrize("stem", ["03", "04", "08", "09"])
def test_training_and_evaluation_do_not_depend_on_the_baselines(stem):
    assert not [name for name in files_of(stem) if name.startswith("baselines/")]


def test_results_of_other_profiles_that_a_notebook_reads_are_inputs(monkeypatch, outputs):
    """The pilot of notebook 08, wherever the outputs are; a notebook's own result makes it no more stale."""
    monkeypatch.chdir(ROOT)
    notebook, pilot = Path("notebooks/08_ablations.ipynb"), "cpu-pilot/results/08_ablations.json"
    assert files_of_others(notebook, "cpu") == [str(ROOT / "outputs" / pilot)]
    (outputs / pilot).parent.mkdir(parents=True)
    (outputs / pilot).touch()
    assert files_of_others(notebook, "cpu") == [str(outputs / pilot)]
    (outputs / "untagged.ipynb").write_text(json.dumps({"cells": []}))
    assert files_of_others(outputs / "untagged.ipynb", "quick") == []
    assert files_of_others(notebook, "cpu-pilot") == files_of_others(Path("notebooks/04_evaluation.ipynb"), "cpu") == []


def test_files_that_change_in_a_block_are_named(tmp_path):
    files = [tmp_path / name for name in ("a.py", "b.py", "c.yaml")]
    for path in files:
        path.write_text("1")
    with unedited(files):
        files[0].read_text()
    with pytest.raises(
        RuntimeError, match=r"b\.py and 1 more changed during this run, .*: delete what it stored, and run it again\."
    ):
        with unedited(files):
            os.utime(files[1], (1, 1))
            files[2].unlink()
