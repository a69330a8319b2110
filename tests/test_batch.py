"""Notebooks are executed whole or not at all, only when stale, and their stamps and numbers come through."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from tiny import write_notebook

from defusion_lib import batch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch, outputs):
    """A project of three notebooks of which 04 reads what 03 wrote, in the current folder."""
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "defusion_lib").mkdir()
    (tmp_path / "defusion_lib/network.py").write_text("")
    for stem in ("00_first", "03_training", "04_evaluation"):
        write_notebook(tmp_path / f"notebooks/{stem}.ipynb")
    (tmp_path / "params/cpu").mkdir(parents=True)
    for stem in ("03_training", "04_evaluation"):
        (tmp_path / f"params/cpu/{stem}.yaml").write_text("size: 8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def recipe_of_make(profile):
    """The command that `make` runs for a profile, without the summary behind it."""
    target = "run" if profile == "quick" else profile
    shown = subprocess.run(
        ["make", "-n", "-C", ROOT, target, "READY="], capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    line = next(line for line in shown.splitlines() if "snakemake" in line)
    return line.partition("&&")[0].split()[1:]


def run_make(profile="cpu", dry=False):
    """What `make` does for a profile; a dry run gives the notebooks that are stale."""
    command = [sys.executable, "-m", "snakemake", *recipe_of_make(profile)]
    if dry:
        command = [word for word in command if word not in ("--quiet", "all")] + ["--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if dry:
        assert done.returncode == 0, done.stderr
        words = (done.stdout + done.stderr).split()
        return sorted({word.removeprefix("stem=") for word in words if word.startswith("stem=")})
    return done


def test_stale_notebooks_and_no_others_run_in_order(project, outputs):
    first = run_make()
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert [line.partition(" ... ")[0] for line in lines] == ["[1/2] 03_training", "[2/2] 04_evaluation"]
    assert all(line.endswith(" s") for line in lines)
    assert first.stderr == ""
    assert sorted(path.name for path in (outputs / "cpu").iterdir()) == [
        ".done",
        "03_training.ipynb",
        "04_evaluation.ipynb",
        "results",
    ]
    executed = nbformat.read(outputs / "cpu/03_training.ipynb", as_version=4)
    assert executed.metadata["defusion"]["overridden"] == ["profile", "size"]
    assert str(project) not in (outputs / "cpu/03_training.ipynb").read_text()
    values = json.loads((outputs / "cpu/results/03_training.json").read_text())["values"]
    assert values == {"synthetic/tiny/mae": 0.4}

    assert run_make(dry=True) == []
    newer(project / "params/cpu/04_evaluation.yaml", project)
    assert run_make(dry=True) == ["04_evaluation"]
    newer(outputs / "cpu/.done/04_evaluation", project)
    newer(project / "notebooks/03_training.ipynb", project)
    assert run_make(dry=True) == ["03_training", "04_evaluation"]
    assert run_make("quick", dry=True) == ["00_first", "03_training", "04_evaluation"]

    newer(outputs / "cpu/.done/03_training", project)
    assert run_make(dry=True) == ["04_evaluation"]
    newer(outputs / "cpu/.done/04_evaluation", project)
    assert run_make(dry=True) == []
    (outputs / "cpu/04_evaluation.ipynb").unlink()
    assert run_make(dry=True) == ["04_evaluation"]


@pytest.mark.parametrize("path", ["defusion_lib/network.py", "defusion_lib/data/manifest.json"])
def test_the_library_makes_notebooks_stale(project, outputs, path):
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text("")
    for stem in ("03_training", "04_evaluation"):
        for made in (outputs / f"cpu/{stem}.ipynb", outputs / f"cpu/.done/{stem}"):
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text("")
    assert run_make(dry=True) == []
    newer(project / path, project)
    assert run_make(dry=True) == ["03_training", "04_evaluation"]


def newer(path, project):
    latest = max(other.stat().st_mtime_ns for other in project.rglob("*"))
    os.utime(path, ns=(latest + 10**9, latest + 10**9))


def test_a_failing_notebook_leaves_the_last_good_copy_and_shows_its_traceback(project, outputs):
    good = outputs / "cpu/03_training.ipynb"
    (outputs / "cpu/.done").mkdir(parents=True)
    (outputs / "cpu/.done/03_training").write_text("")
    good.write_text("the last good copy")
    write_notebook(
        project / "notebooks/03_training.ipynb", body="def ratio(n):\n    return size / n\nratio(0)"
    )
    done = run_make()
    assert done.returncode != 0
    assert (
        done.stdout.startswith("[1/2] 03_training ... failed after ") and "04_evaluation" not in done.stdout
    )
    assert "Cell [4] failed" in done.stderr and "return size / n" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b" not in done.stderr and len(done.stderr.splitlines()) < 25
    assert good.read_text() == "the last good copy"
    assert run_make(dry=True) == ["03_training", "04_evaluation"]


def test_a_profile_without_notebooks(project):
    done = run_make("paper")
    assert done.returncode != 0
    assert "choose quick, or a folder of params/ (cpu)" in done.stdout + done.stderr


def test_a_notebook_without_a_stamp_is_refused(project, outputs):
    path = write_notebook(project / "notebooks/00_first.ipynb")
    document = nbformat.read(path, as_version=4)
    del document.cells[3]
    nbformat.write(document, path)
    with pytest.raises(RuntimeError, match=r"00_first\.ipynb left no stamp"):
        batch.execute(Path("notebooks/00_first.ipynb"), "quick", {})
    assert not (outputs / "quick/00_first.ipynb").exists()


def test_summary(outputs):
    results = outputs / "cpu/results"
    results.mkdir(parents=True)
    values = {"dut/jnb/mae": 0.12345, "dut/jnb/seconds": 123.4, "dut/jnb/f-half-blur": 0.5, "dut/ss/mae": 1}
    (results / "04_evaluation.json").write_text(json.dumps({"stamp": {}, "values": values}))
    assert batch.summary("cpu").splitlines() == [
        "",
        "notebook       dataset  method    mae  seconds",
        "04_evaluation  dut      jnb     0.123      123",
        "04_evaluation  dut      ss      1.000",
        "",
        "executed notebooks  outputs/cpu/",
        "numbers             outputs/cpu/results/ (1 more numbers)",
        "figures and arrays  outputs/cpu/figures/",
    ]


def test_summary_without_numbers(outputs):
    assert "No results with these measures" in batch.summary("cpu")
