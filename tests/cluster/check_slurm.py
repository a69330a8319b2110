"""Notebooks as jobs of a real Slurm, on this machine: `make test-cluster`.

Installs Debian's Slurm and munge where they are missing, which needs root. DEFUSION_NOTEBOOKS names some notebooks
(00_first_map,03_training) where all of the quick profile take too long.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from minimal_notebook import write_notebook
from small_slurm import SmallSlurm, install

from defusion_lib.apps import photo_folder
from defusion_lib.weights import load_network
from tools import verify

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = float(os.environ.get("DEFUSION_PATIENCE", 1800))  # seconds, for a run or a job
CHOSEN = [name for name in os.environ.get("DEFUSION_NOTEBOOKS", "").split(",") if name]
GRID = """\
rows: [full, noffrm, nocam]
rows_once: []
seeds: [0, 1]
stages: [[6, 64, 2]]
"""
# A large notebook needs more memory than it may, and a slow one more minutes.
LIMITS = """
set-resources:
  notebook:
    runtime: "1 if wildcards.stem == '01_slow' else 30"
    mem_mb: "800 if wildcards.stem == '02_large' else 4000"
"""


@pytest.fixture(scope="session", autouse=True)
def installed():
    try:
        install()
    except RuntimeError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture
def slurm(tmp_path_factory, request):
    """A new cluster, perhaps with a GPU of the type that the test names; its sockets need a short path."""
    cluster = SmallSlurm(tmp_path_factory.mktemp("s"), getattr(request, "param", ""))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


class Project:
    """A copy of the checkout, in which `make run` makes results."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("defusion_lib", "tools"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Snakefile", "Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        # What somebody writes where sacct is off, and waits that suit one machine.
        settings = folder / "tools/slurm/config.yaml"
        text = settings.read_text().replace("# slurm-status-command", "slurm-status-command")
        text = text.replace("latency-wait: 60", "latency-wait: 5")
        settings.write_text(f"{text}\nslurm-init-seconds-before-status-checks: 5\n")
        places = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
        del self.environment["DEFUSION_OUTPUTS"]
        self.runs = []

    def set(self, **values):
        """Set what `default-resources` says in the cluster's settings."""
        settings = self.folder / "tools/slurm/config.yaml"
        text = settings.read_text()
        for name, value in values.items():
            text, count = re.subn(rf'^  {name}: "\w*"', f'  {name}: "{value}"', text, flags=re.MULTILINE)
            assert count == 1
        settings.write_text(text)

    def start(self, profile="quick", cluster="slurm", outputs="outputs"):
        """Start `make run`; its words go to a file beside the project."""
        words = self.folder / f"run-{len(self.runs)}.txt"
        command = [
            "make",
            "--no-print-directory",
            "run",
            "READY=",
            "SLURM=",
            f"BIN={Path(sys.executable).parent}",
            f"PROFILE={profile}",
        ]
        with words.open("w") as file:
            run = subprocess.Popen(
                [*command, f"CLUSTER={cluster}"], cwd=self.folder, stdout=file, stderr=file, start_new_session=True,
                env=self.environment | {"DEFUSION_OUTPUTS": str(self.folder / outputs)},
            )  # fmt: skip
        self.runs.append(run)
        return run, words

    def finish(self, run, words):
        """Wait for a run, and return its exit code and its words."""
        code = run.wait(PATIENCE)
        print(words.read_text())
        return code, words.read_text()

    def run(self, *how, **more):
        return self.finish(*self.start(*how, **more))

    def close(self):
        for run in self.runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()


@pytest.fixture
def collection(tmp_path):
    """A project with the notebooks of the collection."""
    project = Project(tmp_path / "collection")
    made = shutil.ignore_patterns("__pycache__", "quick", "checkpoints", "weights", "maps")
    for name in ("notebooks", "params", "outputs"):
        shutil.copytree(ROOT / name, project.folder / name, ignore=made)
    for path in (project.folder / "notebooks").glob("*.ipynb"):
        if CHOSEN and path.stem not in CHOSEN:
            path.unlink()
    yield project
    project.close()


@pytest.fixture
def tiny(tmp_path):
    """A project of small notebooks: 04 needs 03, whose first cell fails."""
    project = Project(tmp_path / "tiny")
    bodies = {
        "00_first": "mae = 0.2",
        "01_slow": "import time\ntime.sleep(600)\nmae = 0.2",
        "02_large": "import time\nlarge = bytearray(2_000_000_000)\ntime.sleep(60)\nmae = 0.2",
        "03_training": "def ratio(n):\n    return size / n\nmae = ratio(0)",
        "04_evaluation": "mae = 0.2",
    }
    for stem, body in bodies.items():
        write_notebook(project.folder / f"notebooks/{stem}.ipynb", body=body)
    (project.folder / "params/paper").mkdir(parents=True)
    (project.folder / "params/paper/00_first.yaml").write_text("size: 8\n")
    settings = project.folder / "tools/slurm/config.yaml"
    settings.write_text(settings.read_text() + LIMITS)
    yield project
    project.close()


def wait(done, run=None):
    """Wait until something is true, and return it; for as long as a run lasts, where one is given."""
    until = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < until, f"{PATIENCE} seconds passed"
        assert run is None or run.poll() is None, "the run ended before"
        time.sleep(1)
    return found


def job_of(words, stem):
    """The number of a notebook's job, when it has one."""
    found = re.findall(rf"^{stem} \.\.\. job (\d+)$", words.read_text(), re.MULTILINE)
    return found[-1] if found else None


def keep_only(project, *stems):
    for path in (project.folder / "notebooks").glob("*.ipynb"):
        if path.stem not in stems:
            path.unlink()


def test_the_quick_profile_survives_a_killed_job_and_a_killed_node(slurm, collection):
    folder = collection.folder / "outputs/quick"
    checkpoint = folder / "checkpoints/03_training.pt"
    run, words = collection.start()
    job = wait(lambda: job_of(words, "03_training"), run)
    wait(checkpoint.exists, run)
    slurm.ask("scancel", job)
    wait(lambda: "03_training ... failed\nSomebody cancelled the job" in words.read_text(), run)
    slurm.kill_node()
    wait(lambda: "down" in slurm.ask("sinfo", "-h", "-o", "%t"))
    slurm.start_node()
    code, _ = collection.finish(run, words)
    assert code != 0 and checkpoint.exists()

    code, said = collection.run()
    assert code == 0, said
    stamp = json.loads((folder / "results/03_training.json").read_text())["stamp"]
    assert len(stamp["training_stretches"]) == 2, "the training did not continue from its checkpoint"
    assert list(folder.glob("*.failed.ipynb")) == list(folder.glob("*.running.ipynb")) == []
    stored, fresh = verify.read(ROOT / "tests/stored/quick"), verify.read(folder)
    if CHOSEN:
        stored = {item: stored[item] for item in fresh}
    assert verify.problems(stored, fresh, verify.tolerances(stored)) == []


def test_a_grid_of_ablations_continues_with_the_network_where_it_was_killed(slurm, collection):
    (collection.folder / "params/grid").mkdir()
    (collection.folder / "params/grid/08_ablations.yaml").write_text(GRID)
    folder = collection.folder / "outputs/grid"
    weights = folder / "weights/08_ablations"
    run, words = collection.start("grid")
    wait((folder / ".done/08_ablations.nocam@seed1.log").exists, run)
    slurm.ask("scancel", "--signal=KILL", "--full", job_of(words, "08_ablations/nocam@seed1"))
    code, said = collection.finish(run, words)
    assert code != 0 and "08_ablations/nocam@seed1 ... failed" in said and "08_ablations ... job" not in said
    before = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    assert len(before) == 5 and "nocam@seed1.safetensors" not in before

    code, said = collection.run("grid")
    assert code == 0, said
    after = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    assert len(after) == 6 and before.items() <= after.items()
    code, said = collection.run("grid", cluster="", outputs="local")
    assert code == 0, said
    local, fresh = verify.read(collection.folder / "local/grid"), verify.read(folder)
    assert verify.problems(local, fresh, dict.fromkeys(local, verify.SINGLE)) == []


def test_an_array_of_jobs_maps_a_folder(slurm, tmp_path):
    """The commands of tools/slurm/README.md, with three jobs instead of sixteen, give the table of one run."""
    (block,) = re.findall(r"```sh\n(sbatch.*?)```", (ROOT / "tools/slurm/README.md").read_text(), re.DOTALL)
    block = block.replace("16", "3").replace(".venv/bin/defusion", f"{sys.executable} -m defusion_lib.apps.cli")
    (tmp_path / "my_photos").mkdir()
    photo_folder.write_example(tmp_path / "my_photos")
    for name in ("broken_cut.jpg", "broken_empty.png", "broken_letter.jpg"):
        (tmp_path / "my_photos" / name).unlink()  # a job with a broken photo fails, as the command does
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True, timeout=PATIENCE)
    alone = photo_folder.map_folder(tmp_path / "my_photos", load_network(), into=tmp_path / "alone", progress=False)
    joined = photo_folder.read_table(tmp_path / "maps")
    assert len(joined) == 8
    assert {file: row._replace(seconds=None) for file, row in joined.items()} == {
        row.file: row._replace(seconds=None) for row in alone.rows
    }


def test_jobs_over_their_limits_get_a_sentence_and_the_others_run(slurm, tiny):
    code, said = tiny.run()
    assert code != 0
    lines = said.splitlines()
    assert "00_first ... done" in lines
    after = {line.split()[0]: lines[i + 1] for i, line in enumerate(lines) if line.endswith(" ... failed")}
    assert after.keys() == {"01_slow", "02_large", "03_training"} and "04_evaluation" not in said
    assert after["01_slow"].startswith("It ran longer than its limit of 1 min: set a larger runtime in tools/")
    assert after["02_large"].startswith("It needed more than its limit of 800 MB: set a larger mem_mb in tools/")
    assert after["03_training"] == "Cell [3] failed:"
    assert "ZeroDivisionError: division by zero" in said and "RuleException" not in said
    assert "The cells so far are in outputs/quick/03_training.failed.ipynb." in lines
    assert len(lines) < 40


def test_two_runs_on_one_folder_and_a_job_whose_run_was_killed(slurm, tiny):
    keep_only(tiny, "00_first", "01_slow")
    run, words = tiny.start()
    job = wait(lambda: job_of(words, "01_slow"), run)
    running = tiny.folder / "outputs/quick/01_slow.running.ipynb"
    wait(running.exists, run)
    for cluster in ("slurm", ""):
        code, said = tiny.run(cluster=cluster)
        assert code != 0
        assert "Another run writes into outputs/quick/: wait until it has ended" in said
        assert len(said.splitlines()) <= 3
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert slurm.ask("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING"
    code, said = tiny.run(cluster="")
    assert code != 0 and "Another run writes into outputs/quick/" in said
    assert running.exists()
    slurm.ask("scancel", job)


def test_a_cluster_without_gpus(slurm, tiny):
    code, said = tiny.run("paper")
    assert code != 0
    assert "Slurm refuses the job (Invalid generic resource (gres) specification): set a partition, an acc" in said
    assert len(said.splitlines()) <= 4


@pytest.mark.parametrize("slurm", ["a100"], indirect=True)
def test_a_type_of_gpu_and_a_partition_are_asked_for(slurm, tiny):
    """The node claims a GPU; the notebook is given its number by Slurm."""
    body = "import os\nassert os.environ['CUDA_VISIBLE_DEVICES'] == '0'\nmae = 0.2"
    write_notebook(tiny.folder / "notebooks/00_first.ipynb", body=body)
    tiny.set(slurm_partition="small", gpu_model="h100")
    code, said = tiny.run("paper")
    assert code != 0 and "Slurm refuses the job (" in said
    tiny.set(gpu_model="a100")
    code, said = tiny.run("paper")
    assert code == 0 and "00_first ... done" in said
    tiny.set(slurm_partition="large")
    (tiny.folder / "outputs/paper/.done/00_first").unlink()
    code, said = tiny.run("paper")
    assert code != 0 and "Slurm refuses the job (" in said and "partition" in said


def test_a_folder_that_the_node_does_not_see(slurm, tiny):
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no root its own mounts")
    keep_only(tiny, "00_first")
    slurm.kill_node()
    hide = f"mount -t tmpfs none '{tiny.folder}' && exec \"$@\""
    slurm.start_node("unshare", "--mount", "sh", "-c", hide, "sh")
    try:
        code, said = tiny.run()
    finally:
        slurm.kill_node()
        slurm.start_node()
    assert code != 0
    assert "does every node see this folder under the same path? " in said
    assert len(said.splitlines()) <= 5
