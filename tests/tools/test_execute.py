"""Notebooks are executed whole or not at all, only when stale, and their stamps and numbers come through."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from minimal_notebook import write_notebook

from defusion_lib.apps import notebook_run
from tools import execute

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch, outputs):
    """A project of three notebooks of which 04 reads what 03 wrote, in the current folder."""
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "defusion_lib/runs").mkdir(parents=True)
    (tmp_path / "defusion_lib/runs/__init__.py").write_text("")
    for stem in ("00_first", "03_training", "04_evaluation"):
        write_notebook(tmp_path / f"notebooks/{stem}.ipynb")
    (tmp_path / "params/cpu").mkdir(parents=True)
    for stem in ("03_training", "04_evaluation"):
        (tmp_path / f"params/cpu/{stem}.yaml").write_text("size: 8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def run_make(profile="cpu", dry=False):
    """What `make run` does for a profile; a dry run gives the notebooks that are stale."""
    command = notebook_run.command(profile, dry)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if dry:
        assert done.returncode == 0, done.stderr
        words = (done.stdout + done.stderr).split()
        return sorted({word.removeprefix("stem=") for word in words if word.startswith("stem=")})
    return done


@pytest.mark.slow
def test_a_notebook_whose_parameters_change_while_it_runs_stays_stale(project, outputs, capsys):
    path = Path("notebooks/03_training.ipynb")
    write_notebook(project / path, body='open("params/cpu/03_training.yaml", "a").write("# later")\nmae = 0.5')
    mark = outputs / "cpu/.done/03_training"
    assert execute.main(["execute", str(path), "cpu", "--mark", str(mark)]) == 1
    assert "params/cpu/03_training.yaml changed during this run" in capsys.readouterr().err
    assert not mark.exists() and (outputs / "cpu/03_training.ipynb").is_file()
    write_notebook(project / path)
    assert execute.main(["execute", str(path), "cpu", "--mark", str(mark)]) == 0 and mark.is_file()


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "stale"), [("runs/__init__.py", True), ("runs/units.json", True), ("exercises/training.py", False)]
)
def test_what_a_notebook_imports_makes_it_stale(project, outputs, path, stale):
    path = project / "defusion_lib" / path
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    for stem in ("03_training", "04_evaluation"):
        for made in (outputs / f"cpu/{stem}.ipynb", outputs / f"cpu/.done/{stem}"):
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text("")
    assert run_make(dry=True) == []
    newer(path, project)
    assert run_make(dry=True) == (["03_training", "04_evaluation"] if stale else [])


def newer(path, project):
    latest = max(other.stat().st_mtime_ns for other in project.rglob("*"))
    os.utime(path, ns=(latest + 10**9, latest + 10**9))


@pytest.mark.slow
def test_a_failing_notebook_leaves_the_last_good_copy_and_shows_its_traceback(project, outputs):
    good = outputs / "cpu/03_training.ipynb"
    (outputs / "cpu/.done").mkdir(parents=True)
    (outputs / "cpu/.done/03_training").write_text("")
    good.write_text("the last good copy")
    write_notebook(project / "notebooks/03_training.ipynb", body="def ratio(n):\n    return size / n\nratio(0)")
    done = run_make()
    assert done.returncode != 0
    assert done.stdout.startswith("[1/2] 03_training ... failed after ") and "04_evaluation" not in done.stdout
    assert "Cell [4] failed" in done.stderr and "return size / n" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b" not in done.stderr and len(done.stderr.splitlines()) < 25
    assert good.read_text() == "the last good copy"
    assert "The cells so far are in outputs/cpu/03_training.failed.ipynb." in done.stderr
    assert sorted(path.name for path in (outputs / "cpu").glob("*.ipynb")) == ["03_training.failed.ipynb", good.name]
    assert run_make(dry=True) == ["03_training", "04_evaluation"]


LOOKS = """\
import os
from pathlib import Path

assert os.environ.get("GOMP_SPINCOUNT") == "1000", "the kernel has no GOMP_SPINCOUNT"
found = sorted(path.name for path in Path("outputs/quick").glob("*.ipynb"))
assert found == ["00_first.running.ipynb"], found
mae = 0.2"""


@pytest.mark.slow
def test_a_running_notebook_is_named_so_and_earlier_ones_are_gone(project, outputs, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    write_notebook(project / "notebooks/00_first.ipynb", body=LOOKS)
    (outputs / "quick").mkdir(parents=True)
    for state in ("running", "failed"):
        (outputs / f"quick/00_first.{state}.ipynb").write_text("left by a run that was killed")
    done = run_command("notebooks/00_first.ipynb", "quick")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (outputs / "quick").glob("*.ipynb")] == ["00_first.ipynb"]


def test_an_interrupted_notebook_leaves_nothing_that_runs_or_failed(project, outputs, monkeypatch, capsys):
    def interrupted(notebook, copy, **_):
        Path(copy).write_text("some cells")
        raise KeyboardInterrupt

    monkeypatch.setattr("papermill.execute_notebook", interrupted)
    assert execute.main(["execute", "notebooks/00_first.ipynb", "quick"]) == 130
    assert "the same command continues" in capsys.readouterr().out
    assert list((outputs / "quick").iterdir()) == []


def run_command(*arguments):
    command = [sys.executable, "-m", "tools.execute", "execute", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_git_ignores_what_is_no_result():
    names = [f"outputs/cpu/03_training.{state}.ipynb" for state in ("running", "failed")]
    asked = subprocess.run(
        ["git", "check-ignore", "--no-index", *names, "outputs/cpu/03_training.ipynb"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if asked.returncode > 1:
        pytest.skip("no git here")
    assert asked.stdout.split() == names


@pytest.mark.slow
def test_a_profile_without_notebooks(project):
    done = run_make("paper")
    assert done.returncode != 0
    assert "choose quick, or a folder of params/ (cpu)" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_notebook_without_a_stamp_is_refused(project, outputs):
    path = write_notebook(project / "notebooks/00_first.ipynb")
    document = nbformat.read(path, as_version=4)
    del document.cells[3]
    nbformat.write(document, path)
    with pytest.raises(RuntimeError, match=r"00_first\.ipynb wrote no stamp"):
        execute.execute(Path("notebooks/00_first.ipynb"), "quick", {})
    assert [path.name for path in (outputs / "quick").iterdir()] == ["00_first.failed.ipynb"]


@pytest.mark.slow
def test_links_of_a_copy_start_at_its_own_folder(project, outputs):
    path = write_notebook(project / "notebooks/00-first.ipynb")
    notebook = nbformat.read(path, 4)
    text = "[kept](../outputs/real/00.ipynb#run), [other](01-second.ipynb), [page](https://a.b/c), [below](#end)"
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(text))
    nbformat.write(notebook, path)
    copy = nbformat.read(execute.execute(Path("notebooks/00-first.ipynb"), "quick", {}), 4)
    expected = (
        "[kept](../real/00.ipynb#run), [other](../../notebooks/01-second.ipynb), [page](https://a.b/c), [below](#end)"
    )
    assert outputs == project / "outputs" and copy.cells[0].source == expected


def test_a_notebook_takes_its_profiles_parameters(project, monkeypatch):
    given = []
    monkeypatch.setattr(execute, "execute", lambda *all_given: given.append(all_given))
    Path("other.yaml").write_text("size: 9\n")
    new = ["03_training", "new", "--parameters", "other.yaml"]
    for stem, *others in (["03_training", "cpu"], ["00_first", "quick"], new):
        assert execute.main(["execute", f"notebooks/{stem}.ipynb", *others]) == 0
    assert [each[2] for each in given] == [{"profile": "cpu", "size": 8}, {}, {"profile": "new", "size": 9}]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["03_training", "cpuu"], "does not belong to profile 'cpuu', because there is no params/cpuu/03_training.yaml: "
         "choose quick, or one of cpu."),
        (["00_first", "cpu"], "00_first does not belong to profile 'cpu'"),
        (["03_training", "../cpu"], "Parameter profile names a folder"),
        (["03_training", ""], "Parameter profile names a folder"),
        (["99_nothing", "quick"], "There is no notebook notebooks/99_nothing.ipynb"),
        (["broken", "quick"], "notebooks/broken.ipynb is not a Jupyter notebook"),
        (["binary", "quick"], "notebooks/binary.ipynb is not a Jupyter notebook"),
        (["list", "quick"], "notebooks/list.ipynb is not a Jupyter notebook"),
        (["00_first", "quick", "--parameters", "absent.yaml"], "Cannot read absent.yaml (No such file or directory)"),
        (["00_first", "quick", "--parameters", "params"], "Cannot read params (Is a directory)"),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_sentence(project, outputs, capsys, arguments, said):
    Path("notebooks/broken.ipynb").write_text('{"cells": [')
    Path("notebooks/binary.ipynb").write_bytes(b"\xff\xfe\x00")
    Path("notebooks/list.ipynb").write_text("[1]")
    stem, *others = arguments
    assert execute.main(["execute", f"notebooks/{stem}.ipynb", *others]) == 1
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1
    assert not outputs.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, said",
    [
        ("- size\n- 8\n", "must hold lines `name: value`, not ['size', 8]."),
        ("[]", "must hold lines `name: value`, not []."),
        ("no", "must hold lines `name: value`, not False."),
        ("0", "must hold lines `name: value`, not 0."),
        ("size = 8", "must hold lines `name: value`, not 'size = 8'."),
        ("word " * 10_000, "not 'word word word"),
        ("on: 3", "one of its names is read as True."),
        ("8: 3", "one of its names is read as 8."),
        ("my size: 3", "one of its names is read as 'my size'."),
        ("size: [8", "is not valid YAML: "),
        ("size: 8\0", "is not valid YAML: "),
        ("profile: paper", "sets profile to 'paper': remove that line"),
        ("size: 8\nseed: 1\nsize: 9", "gives size more than once"),
        ("size: 12:30", "holds 12:30, which YAML reads as another number"),
        ("stages: [[8, 0640]]", "holds 0640, which YAML reads as another number"),
        ("size: !!int x", "holds a value that YAML cannot read (invalid literal"),
        ("resume: !!bool x", "holds a value that YAML cannot read ('x')"),
        ("image: 2024-13-45", "holds a value that YAML cannot read (month must be in"),
        ("image: &a [*a]", "holds a value that YAML cannot read (Circular reference"),
        ("image: " + "[" * 3000, "holds a value that YAML cannot read (maximum recursion depth"),
        (b"size: \xff8", "Cannot read p.yaml (it is not text in UTF-8)"),
    ],
)
def test_parameters_that_are_no_lines_are_refused(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as refused:
        execute.read_profile("cpu", Path("p.yaml"))
    told = str(refused.value)
    assert said in told and "p.yaml" in told and len(told) < 300 and "\n" not in told


@pytest.mark.parametrize("content", ["", "# nothing differs\n", "---\n", "{}"])
def test_parameters_without_a_value_give_the_profile_alone(tmp_path, content):
    (tmp_path / "p.yaml").write_text(content)
    assert execute.read_profile("cpu", tmp_path / "p.yaml") == {"profile": "cpu"}


def test_summary(outputs, monkeypatch):
    results = outputs / "cpu/results"
    results.mkdir(parents=True)
    values = {"dut/jnb/mae": 0.12345, "dut/jnb/seconds": 123.4, "dut/jnb/f-half-blur": 0.5, "dut/ss/mae": 1}
    (results / "04_evaluation.json").write_text(json.dumps({"stamp": {}, "values": values}))
    monkeypatch.chdir(outputs.parent)
    assert execute.summary("cpu").splitlines() == [
        "",
        "notebook       dataset  method    mae  seconds",
        "04_evaluation  dut      jnb     0.123      123",
        "04_evaluation  dut      ss      1.000",
        "",
        "executed notebooks  outputs/cpu/",
        "numbers             outputs/cpu/results/ (1 more numbers)",
        "figures and arrays  outputs/cpu/figures/",
    ]


def test_summary_names_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    (tmp_path / "elsewhere/cpu").mkdir(parents=True)
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    assert "executed notebooks  elsewhere/cpu/" in execute.summary("cpu").splitlines()
    monkeypatch.chdir(ROOT)
    assert f"executed notebooks  {tmp_path}/elsewhere/cpu/" in execute.summary("cpu").splitlines()


def test_summary_without_numbers(outputs):
    (outputs / "cpu").mkdir(parents=True)
    assert "No results with these measures" in execute.summary("cpu")


@pytest.mark.parametrize(
    "profile, said",
    [
        ("cpuu", "outputs/ has no results of profile 'cpuu': run it first, or choose one of cpu."),
        ("..", "Parameter profile names a folder"),
        ("", "Parameter profile names a folder"),
        ("cpu", "outputs/cpu/results/03_training.json holds no results: remove it, and run 03_training again."),
    ],
)
@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"stamp": {}}', '{"values": [1]}', '{"values": {"mae": 1}}', '{"values": {"a/b/mae": "x"}}', b"\xff"],
)
def test_a_summary_that_cannot_be_had_gets_one_sentence(outputs, monkeypatch, capsys, profile, said, content):
    (outputs / "cpu/results").mkdir(parents=True)
    content = content if isinstance(content, bytes) else content.encode()
    (outputs / "cpu/results/03_training.json").write_bytes(content)
    monkeypatch.chdir(outputs.parent)
    assert execute.main(["summary", profile]) == 1
    told = capsys.readouterr()
    assert said in told.err and len(told.err.splitlines()) == 1 and told.out == ""
