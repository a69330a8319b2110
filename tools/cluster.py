"""Tell about the jobs of a cluster: one line for each that it takes, finishes or fails, as a run on one machine does.

Snakemake logs a page for each job; `Lines` listens to that log.
"""

import logging
import re
import sys
from pathlib import Path

from defusion_lib.paths import display_path

SETTINGS = "tools/slurm/config.yaml"
SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+)")
REFUSED = re.compile(r"sbatch failed\. The error message was '(?:sbatch: error: )?(?P<why>[^\n']*)")
STATUS = re.compile(r"SLURM status is: '(\w+)'")
MEMORY = re.compile(r"memory limit|oom[-_ ]kill", re.IGNORECASE)
# What tools.execute and tools.alone say of the notebook, before Snakemake's own words.
SAID = re.compile(
    r"^(?:\[\d+/\d+\] \S+ \.\.\. failed after \d+ s\n(.*?)|(Another run [^\n]*\n))"
    r"(?=^RuleException|^\[\w{3} \w{3} |\Z)",
    re.DOTALL | re.MULTILINE,
)


class Lines(logging.Handler):
    """Print a line for each job that is taken, done or failed: a handler of Snakemake's log."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "JOB_INFO" and not record.local:
            name = "/".join(record.wildcards.values()) or record.rule_name
            self.jobs[record.jobid] = (name, record.resources)
        elif event == "JOB_FINISHED" and record.job_id in self.jobs:
            print(f"{self.jobs[record.job_id][0]} ... done", flush=True)
        elif event == "JOB_ERROR" and record.jobid in self.jobs:
            name, resources = self.jobs[record.jobid]
            print(f"{name} ... failed", flush=True)
            logs = [Path(each) for each in record.log]
            print(explain(record.rule_msg or "", logs, resources), file=sys.stderr, flush=True)
        elif found := SUBMITTED.search(record.getMessage()):
            number = int(found[1])
            if number in self.jobs:
                print(f"{self.jobs[number][0]} ... job {found[2]}", flush=True)


def explain(message: str, logs: list[Path], resources) -> str:
    """Return why a job failed, from Snakemake's message, the job's log files and its resources, and what to do."""
    if found := REFUSED.search(message):
        return (
            f"Slurm refuses the job ({found['why']}): set a partition, an account and a GPU type of this cluster "
            f"in {SETTINGS}."
        )
    status = found[1] if (found := STATUS.search(message)) else ""
    written = [path for path in logs if path.is_file()]
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in written)
    if status == "TIMEOUT":
        limit = f"ran longer than its limit of {resources.get('runtime')} min: set a larger runtime"
        return f"It {limit} in {SETTINGS}, and run again."
    if status == "OUT_OF_MEMORY" or MEMORY.search(text):
        limit = f"needed more than its limit of {resources.get('mem_mb')} MB: set a larger mem_mb"
        return f"It {limit} in {SETTINGS}, and run again."
    if status == "CANCELLED":
        return "Somebody cancelled the job: run again to continue."
    if status == "NODE_FAIL":
        return "Slurm lost the job's node: run again to continue on another."
    if logs and not written:
        return (
            f"The job left no log file {display_path(logs[0])}: does every node see this folder under the same path? "
            "Put the checkout on a file system that the nodes share."
        )
    if found := SAID.search(text):
        return (found[1] or found[2]).strip()
    where = f"\nThe job's log: {', '.join(map(display_path, written))}." if written else ""
    return (message.strip() or "Snakemake gives no reason.") + where
