"""Trainings are jobs: which of them a profile has, what makes them stale, and a killed one continues."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from defusion_lib.apps import notebook_run
from defusion_lib.experiments.table_1 import TRAINED
from defusion_lib.weights import load_network, read_card, weights_hash
from tools import alone, graph, train

ROOT = Path(__file__).resolve().parents[2]
TINY = """\
count: 2
rows: [full, step1]
rows_once: []
seeds: [0]
stages: [[80, 32, 1]]
size: 32
shipped_size: 32
examples: 1
"""


@pytest.fixture
def project(tmp_path, monkeypatch, outputs):
    """A checkout in the current folder, with the notebooks that train, their profiles, and a tiny profile of 08."""
    for name in ("defusion_lib", "tools", "params", "Snakefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params").unlink()
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "notebooks").mkdir()
    for stem in ("03_training", "04_evaluation", "07_table_1", "08_ablations"):
        shutil.copy(ROOT / f"notebooks/{stem}.ipynb", tmp_path / "notebooks")
    (tmp_path / "params/tiny").mkdir()
    (tmp_path / "params/tiny/08_ablations.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def names(stem, profile):
    return list(graph.trainings(Path(f"notebooks/{stem}.ipynb"), profile))


# ------------------------------------------------------------------------------------------- which jobs there are


def test_each_network_of_a_long_profile_is_a_job(project):
    assert names("03_training", "cpu") == names("03_training", "paper") == ["network"]
    assert names("07_table_1", "cpu") == names("07_table_1", "paper") == list(TRAINED)
    rows = Counter(name.partition("@")[0] for name in names("08_ablations", "cpu"))
    assert rows["full"] == rows["nocam+nofam"] == 3 and rows["step6"] == 1 and rows.total() == 24
    assert len(names("08_ablations", "paper")) == 36 and "step6@seed2" in names("08_ablations", "paper")
    assert names("04_evaluation", "cpu") == []
    assert names("08_ablations", "tiny") == ["full@seed0", "step1@seed0"]
    every = sorted((ROOT / "notebooks").glob("*.ipynb"))
    code = {path.stem: [cell["source"] for cell in graph.code_cells(path)] for path in every}
    assert [stem for stem, sources in code.items() if graph.trainer(sources)] == [
        "03_training",
        "07_table_1",
        "08_ablations",
    ]


def test_the_quick_profile_trains_in_its_notebooks(project):
    assert [names(stem, "quick") for stem in ("03_training", "07_table_1", "08_ablations")] == [[], [], []]


@pytest.mark.parametrize("wrong", ["rows: [fll]", "seeds: 3", "recipe: best", "sise: 3", "rows: ["])
def test_wrong_parameters_make_no_jobs_because_the_notebook_says_what_is_wrong(project, wrong):
    (project / "params/tiny/08_ablations.yaml").write_text(wrong)
    assert names("08_ablations", "tiny") == []


def files(stem, name, profile="cpu"):
    found = graph.training_files(graph.trainings(Path(f"notebooks/{stem}.ipynb"), profile)[name])
    return {Path(path).relative_to("defusion_lib").as_posix() for path in found}


@pytest.mark.slow
def test_a_training_depends_on_what_it_computes_with_and_on_no_figure(project):
    for stem, name in (("03_training", "network"), ("07_table_1", "dhde"), ("08_ablations", "full@seed0")):
        found = files(stem, name)
        assert {"training.py", "network.py", "data/augmentation.py", "data/shi_manifest.json"} <= found
        assert not [path for path in found if path.startswith(("experiments/", "evaluation/", "apps/", "baselines/cl"))]
        assert not found & {"plots.py", "metrics.py", "baselines/__init__.py"}
    assert {"baselines/deep/dhde.py", "baselines/deep/__init__.py"} <= files("07_table_1", "dhde")
    assert "baselines/deep/dbm.py" not in files("07_table_1", "dhde")
    shipped = "shipped/defusionnet_compact.safetensors"
    assert shipped in files("08_ablations", "full@seed0", "tiny") and shipped not in files("08_ablations", "full@seed0")


def test_the_mark_of_a_training_changes_with_what_decides_its_result_alone(project):
    def marks():
        found = graph.trainings(Path("notebooks/08_ablations.ipynb"), "tiny")
        return {name: graph.mark(training) for name, training in found.items()}

    path, before = project / "params/tiny/08_ablations.yaml", marks()
    assert before["full@seed0"] != before["step1@seed0"]
    path.write_text(TINY.replace("examples: 1", "examples: 2").replace("seeds: [0]", "seeds: [0, 1]"))
    after = marks()
    assert before.items() <= after.items() and len(after) == 4
    for old, new in (("80, 32", "81, 32"), ("count: 2", "count: 3"), ("rows_once", "heads: radf\nrows_once")):
        path.write_text(TINY.replace(old, new))
        assert marks().keys() == before.keys() and not marks().items() & before.items()


# -------------------------------------------------------------------------------------------------- one training


@pytest.mark.slow
def test_a_job_begins_with_the_parameters_and_limits_of_the_notebook(project, one_thread, capsys):
    notebook = Path("notebooks/08_ablations.ipynb")
    run = train.begin(notebook, {"profile": "tiny", "rows": ["full"], "size": 32})
    assert run.stem == "08_ablations" and run.parameters.rows == ("full",) and run.parameters.recipe == "frozen"
    assert run.stamp["overridden"] == ["profile", "rows", "size"] and run.stamp["notebook"] == "08_ablations"
    assert "changed: size from 64 to 32" in capsys.readouterr().out
    with pytest.raises(ValueError, match="size of 08_ablations must be 32 to 1024, not 8"):
        train.begin(notebook, {"size": 8})
    with pytest.raises(ValueError, match='"sise" is no parameter of 08_ablations'):
        train.begin(notebook, {"sise": 8})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny", "08_ablations", "ful@seed0"], "08_ablations has no training 'ful@seed0' in profile tiny: choose full@s"),
        (["tiny", "07_table_1", "dhde"], "07_table_1 does not belong to profile 'tiny'"),
        (["cpu", "04_evaluation", "network"], "04_evaluation trains no network: choose another notebook."),
        (["cpu", "99_nothing", "network"], "There is no notebook 99_nothing: give its file name"),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_sentence(project, capsys, arguments, said):
    assert train.main(arguments) == 1
    out, err = capsys.readouterr()
    assert said in err and len(err.splitlines()) == 1
    assert out.startswith(f"[1/1] {arguments[1]}/{arguments[2]} ... ") and "failed after" in out


def test_a_network_is_not_trained_twice_at_a_time(project, outputs, monkeypatch, capsys):
    monkeypatch.setattr("defusion_lib.experiments.ablations.train_one", lambda *given: pytest.fail("trains"))
    held = alone.hold(outputs / "tiny/.done/08_ablations.full@seed0.lock")
    assert train.main(["tiny", "08_ablations", "full@seed0"]) == 1
    assert "Another run writes into" in capsys.readouterr().err
    held.release()


@pytest.fixture
def trained(monkeypatch, one_thread):
    """The calls of `train_one` of the ablations, which trains nothing here."""
    calls = []

    def train_one(run, name, photos):
        print("words of the training")
        calls.append((run.stamp["parameters"]["stages"], name, photos.name, len(photos)))
        if "full" in name:
            raise FloatingPointError("The loss is nan at iteration 7: lower the learning rate.")

    monkeypatch.setattr("defusion_lib.experiments.ablations.train_one", train_one)
    return calls


@pytest.mark.slow
def test_a_finished_training_leaves_its_mark_and_a_failed_one_a_sentence(project, outputs, trained, capsys):
    marks = outputs / "tiny/.done"
    for name, code in (("step1@seed0", 0), ("full@seed0", 1)):
        mark = marks / f"08_ablations.{name}"
        given = ["tiny", "08_ablations", name, "--place", "2/3", "--beside", "--mark", str(mark)]
        assert train.main(given) == code
        assert mark.is_file() is not bool(code)
        assert "words of the training\n" in (marks / f"08_ablations.{name}.log").read_text()
    assert trained == [([[80, 32, 1]], name, "synthetic", 2) for name in ("step1@seed0", "full@seed0")]
    made = graph.trainings(Path("notebooks/08_ablations.ipynb"), "tiny")["step1@seed0"]
    assert (marks / "08_ablations.step1@seed0").read_text() == graph.mark(made)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "[2/3] 08_ablations/step1@seed0 ..." and lines[1].startswith(f"{lines[0]} ")
    assert lines[3].startswith("[2/3] 08_ablations/full@seed0 ... failed after ") and len(lines) == 4
    assert err == "The loss is nan at iteration 7: lower the learning rate.\n"


@pytest.mark.slow
def test_a_training_whose_code_changes_while_it_runs_has_no_mark(project, outputs, monkeypatch, one_thread, capsys):
    code, mark = project / "code.py", outputs / "tiny/.done/08_ablations.step1@seed0"
    code.touch()
    monkeypatch.setattr(train, "training_files", lambda training: [str(code)])
    monkeypatch.setattr("defusion_lib.experiments.ablations.train_one", lambda *_: code.write_text("edited"))
    assert train.main(["tiny", "08_ablations", "step1@seed0", "--mark", str(mark)]) == 1
    assert "code.py changed during this run" in capsys.readouterr().err and not mark.exists()


# ------------------------------------------------------------------------------------------------- the whole graph


def snakemake(profile, *more, cores=2):
    where = ["--cores", str(cores), "--keep-going", *notebook_run.OPTIONS]
    return [sys.executable, "-m", "snakemake", *where, *more, "--config", f"profile={profile}"]


def dry(profile, **how):
    """The jobs that are stale, {job: the jobs whose files it needs}."""
    done = subprocess.run(snakemake(profile, "--dry-run", **how), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    jobs, needs = {}, ()
    for line in (done.stdout + done.stderr).splitlines():
        kind, _, rest = line.strip().partition(": ")
        if kind == "input":
            needs = {Path(path).name for path in rest.split(", ") if "/.done/" in path}
        elif kind == "wildcards":
            jobs[".".join(pair.partition("=")[2] for pair in rest.split(", "))] = needs
    return jobs


@pytest.mark.slow
def test_the_graph_of_the_long_profiles(project, monkeypatch):
    monkeypatch.delenv("DEFUSION_OUTPUTS")
    jobs = dry("cpu")
    ablations = {f"08_ablations.{name}" for name in names("08_ablations", "cpu")}
    rivals = {f"07_table_1.{name}" for name in TRAINED}
    notebooks = {"03_training", "04_evaluation", "07_table_1", "08_ablations"}
    assert jobs.keys() == ablations | rivals | notebooks | {"03_training.network"}
    assert jobs["08_ablations"] == ablations and jobs["07_table_1"] == rivals
    assert jobs["03_training"] == jobs["04_evaluation"] == {"03_training.network"}
    assert all(jobs[name] == set() for name in ablations | rivals | {"03_training.network"})
    # Rows whose first weights are the network of notebook 03 wait for it.
    rows = project / "params/cpu/08_ablations.yaml"
    rows.write_text(
        rows.read_text().replace("backbone: imagenet", "backbone: outputs/cpu/weights/03_training.safetensors")
    )
    jobs = dry("cpu")
    assert all(jobs[name] == {"03_training.network"} for name in ablations)

    jobs = dry("paper", cores=8)
    assert len([name for name in jobs if "@" in name]) == 36 and len(jobs) == 36 + len(rivals) + 1 + 4
    assert all(needs == set() for name, needs in jobs.items() if "@" in name)
    assert dry("quick").keys() == notebooks


@pytest.mark.slow
def test_an_edited_figure_trains_nothing_again(project, outputs):
    jobs = graph.trainings(Path("notebooks/08_ablations.ipynb"), "tiny")
    for name, training in jobs.items():
        for path, text in (
            (outputs / "tiny" / training.file, ""),
            (outputs / f"tiny/.done/08_ablations.{name}", graph.mark(training)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in (outputs / "tiny/.done/08_ablations", outputs / "tiny/08_ablations.ipynb"):
        path.write_text("")
    assert dry("tiny") == {}
    now = time.time() + 10
    os.utime(project / "notebooks/08_ablations.ipynb", (now, now))
    assert dry("tiny").keys() == {"08_ablations"}
    # What the notebook keeps of a network is enough; without it and the weights the network is trained again.
    kept = outputs / "tiny/results/08_ablations/full@seed0.npz"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    (outputs / "tiny/weights/08_ablations/full@seed0.safetensors").unlink()
    assert dry("tiny").keys() == {"08_ablations"}
    kept.unlink()
    assert dry("tiny").keys() == {"08_ablations", "08_ablations.full@seed0"}
    (project / "params/tiny/08_ablations.yaml").write_text(TINY.replace("[[80", "[[90"))
    assert dry("tiny").keys() == {"08_ablations", *(f"08_ablations.{name}" for name in jobs)}


def victim(run, name):
    """The process of a training that a run has started."""
    for process in psutil.Process(run.pid).children(recursive=True):
        words = process.cmdline()
        if words[:3] == [sys.executable, "-m", "tools.alone"] and name in words:
            return process
    raise AssertionError(f"no process trains {name}")


@pytest.mark.slow
def test_a_killed_training_continues_and_the_notebook_reads_what_the_jobs_made(project, outputs, monkeypatch):
    monkeypatch.setenv("DEFUSION_THREADS", "1")
    weights, said = outputs / "tiny/weights/08_ablations", project / "said.txt"
    with said.open("w") as file:
        run = subprocess.Popen(snakemake("tiny", "--quiet", "all"), stdout=file, stderr=file)
        try:
            while not (weights / "full@seed0.pt").exists():
                assert run.poll() is None, said.read_text()
                time.sleep(0.01)
            victim(run, "full@seed0").send_signal(signal.SIGKILL)
            assert run.wait(300) != 0
        finally:
            run.kill()
    words = said.read_text()
    assert "08_ablations/full@seed0 was ended by signal 9: run again to continue from its checkpoint." in words
    assert "[2/3] 08_ablations/step1@seed0 ... " in words and "[3/3]" not in words and "Error" not in words
    assert (weights / "full@seed0.pt").exists() and not (weights / "full@seed0.safetensors").exists()
    made = (weights / "step1@seed0.safetensors").stat().st_mtime_ns

    done = subprocess.run(snakemake("tiny", "--quiet", "all"), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == [f"08_ablations{end}" for end in (
        "/full@seed0", "/full@seed0", "", ""
    )]  # fmt: skip
    card = read_card(weights / "full@seed0.safetensors")
    assert [(each["from"], each["to"]) for each in card["stretches"]] == [(0, 50), (50, 80)]
    assert all(each["notebook"] == "08_ablations" and each["threads"] == 1 for each in card["stretches"])
    assert (weights / "step1@seed0.safetensors").stat().st_mtime_ns == made
    assert dry("tiny") == {}

    monkeypatch.setenv("DEFUSION_OUTPUTS", str(project / "alone"))
    alone = [sys.executable, "-m", "tools.execute", "execute", "notebooks/08_ablations.ipynb", "tiny"]
    subprocess.run(alone, check=True, timeout=600)
    for name in ("full@seed0", "step1@seed0"):
        path = f"tiny/weights/08_ablations/{name}.safetensors"
        ours, theirs = (weights_hash(load_network(folder / path)) for folder in (outputs, project / "alone"))
        assert ours == theirs
    results = [folder / "tiny/results/08_ablations.json" for folder in (outputs, project / "alone")]
    ours, theirs = (json.loads(path.read_text())["values"] for path in results)
    assert ours == theirs
