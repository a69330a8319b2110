"""What a run on a cluster says of its jobs, and the lock of one folder; a real Slurm is in tests/cluster/."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from defusion_lib.apps import notebook_run
from tools import alone, cluster

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"runtime": 60, "mem_mb": 6000}
FAILED = """\
Execute 1 jobs...
[2/4] 03_training ... failed after 3 s
Cell [3] failed:
    ZeroDivisionError: division by zero
The cells so far are in outputs/cpu/03_training.failed.ipynb.
{end}
CalledProcessError in file "Snakefile", line 84:
"""


def explain(message, *logs):
    return cluster.explain(message, [Path(path) for path in logs], LIMITS)


def of_status(status):
    return f"SLURM-job '7' failed, SLURM status is: '{status}'. Reason: Unknown."


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("SLURM sbatch failed. The error message was 'sbatch: error: Invalid generic resource (gres) specification'.\n",
         "Slurm refuses the job (Invalid generic resource (gres) specification): set a partition, an account and a GPU"),
        ("SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: x\nsbatch: error: y'",
         "Slurm refuses the job (invalid partition specified: x): set"),
        (of_status("TIMEOUT"), "longer than its limit of 60 min: set a larger runtime in tools/slurm/config.yaml"),
        (of_status("OUT_OF_MEMORY"), "more than its limit of 6000 MB: set a larger mem_mb in tools/slurm/config.yaml"),
        (of_status("CANCELLED"), "Somebody cancelled the job: run again"),
        (of_status("NODE_FAIL"), "lost the job's node: run again"),
        ("Job submission failed with exception: no sinfo", "Job submission failed with exception: no sinfo"),
    ],
)  # fmt: skip
def test_a_failed_job_gets_one_sentence(message, said):
    told = explain(message)
    assert said in told and len(told.splitlines()) == 1


@pytest.mark.parametrize("end", ["RuleException:", "[Sat Nov 28 21:32:37 2026]"])
def test_the_words_of_a_notebook_come_from_the_log_of_its_job(tmp_path, end):
    log = tmp_path / "7.log"
    log.write_text(FAILED.format(end=end))
    assert explain(of_status("FAILED"), log).splitlines() == FAILED.splitlines()[2:5]
    log.write_text("slurmstepd: error: Exceeded job memory limit\n")
    assert "more than its limit of 6000 MB" in explain(of_status("FAILED"), log)
    log.write_text("Another run writes into outputs/cpu/: wait.\nRuleException:\nmore\n")
    assert explain(of_status("FAILED"), log) == "Another run writes into outputs/cpu/: wait."
    log.write_text("python: not found\n")
    assert explain(of_status("FAILED"), log).splitlines()[1:] == ["The job's log: …/7.log."]
    log.unlink()
    assert "left no log file …/7.log: does every node see this folder" in explain(of_status("FAILED"), log)


def test_one_line_for_each_job_that_is_taken_done_or_failed(capsys):
    logger = logging.Logger("graph")
    logger.addHandler(cluster.Lines())

    def told(message, event="", **more):
        logger.info(message, extra={"event": SimpleNamespace(name=event)} | more)

    rule = {"rule_name": "notebook", "resources": LIMITS, "local": False}
    told("a page", "JOB_INFO", jobid=1, wildcards={"stem": "08_ablations", "network": "full@seed0"}, **rule)
    told("a page", "JOB_INFO", jobid=2, wildcards={"stem": "04_evaluation"}, **rule)
    told("a page", "JOB_INFO", jobid=0, wildcards={}, **rule | {"local": True})
    logger.info("Job 2 has been submitted with SLURM jobid 17 (log: 17.log).")
    told("done", "JOB_FINISHED", job_id=1)
    told("done", "JOB_FINISHED", job_id=0)
    told("error", "JOB_ERROR", jobid=2, rule_msg=of_status("TIMEOUT"), log=[])
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "04_evaluation ... job 17",
        "08_ablations/full@seed0 ... done",
        "04_evaluation ... failed",
    ]
    assert err.startswith("It ran longer than its limit of 60 min:")


def run_alone(lock, code):
    """A process that runs a module, of this code, alone."""
    module = lock.parent / "module.py"
    module.write_text(code)
    given = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{lock.parent}"}
    command = [sys.executable, "-m", "tools.alone", str(lock), "module", "word"]
    return subprocess.run(command, cwd=lock.parent, env=given, capture_output=True, text=True, timeout=60)


def test_one_process_at_a_time_has_a_lock(tmp_path):
    lock = tmp_path / "run.lock"
    held = alone.hold(lock)
    done = run_alone(lock, "print('it runs')")
    assert done.returncode == 1 and done.stdout == ""
    assert "Another run writes into " in done.stderr and len(done.stderr.splitlines()) == 1
    held.release()
    done = run_alone(lock, "import sys\nprint(sys.argv[1:])\nsys.exit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "['word']\n", "")


def test_a_killed_process_leaves_no_lock(tmp_path):
    lock = tmp_path / "run.lock"
    done = run_alone(lock, "import os\nos.kill(os.getpid(), 9)")
    assert done.returncode == -9 and lock.exists()
    alone.hold(lock).release()


def test_jobs_go_to_a_cluster_only_where_one_is_named():
    def command(*options):
        asked = ["make", "-n", "-C", str(ROOT), "run", "READY=", "SLURM=", *options]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    assert "--cluster" not in command() and '--cluster "slurm"' in command("CLUSTER=slurm")
    assert "--cores" in notebook_run.command("quick") and "--profile" not in notebook_run.command("quick")
    found = notebook_run.command("quick", cluster="slurm")
    assert "--cores" not in found and (ROOT / found[found.index("--profile") + 1] / "config.yaml").is_file()


def test_an_unknown_cluster_is_named():
    with pytest.raises(ValueError, match="no cluster 'pbs': choose one of local, slurm"):
        notebook_run.run_notebooks(cluster="pbs")
