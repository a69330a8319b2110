# The graph of batch runs: a notebook, a profile's parameters and the library make an executed notebook.
#
#     snakemake --cores 1 --config profile=cpu
#
# The quick profile runs every notebook with its own defaults; another profile runs the notebooks that have a
# file in params/<profile>/. There, each network that a notebook trains is a job before it (tools/train.py), and the
# notebook finds the networks finished. In the quick profile a training takes seconds, less than a process for it: so
# there are no such jobs (tools/graph.py).
#
# A notebook is stale when itself, its parameters, what it imports from the library (tools/graph.py), or the last run of
# a notebook or training whose files it reads is newer than its own last run to the end. A training is stale when its own
# parameters changed, nothing of its network is kept, or what it computes with is newer. Where recipe, photos and first
# weights of a finished network are still the same, the job keeps it.
# The moment of the last run is kept as a small file in outputs/<profile>/.done/, because Snakemake removes what a rule
# makes before it runs the rule: so it is the mark that goes, and the last good copy of a notebook stays until the new
# one is complete.

import os
import sys
from pathlib import Path

from snakemake.logging import logger

sys.path.insert(0, workflow.basedir)
from defusion_lib.runs.run import thread_count
from tools.alone import hold
from tools.cluster import Lines
from tools.graph import files_of_others, library_files, mark, training_files, trainings

PROFILE = config.get("profile", "quick")
OUTPUTS = os.path.expanduser(os.environ.get("DEFUSION_OUTPUTS") or "outputs")
FOLDER = f"{OUTPUTS}/{PROFILE}"
NEEDS = {"04_evaluation": ["03_training"]}
if PROFILE != "quick":  # whose 07b tests no network of notebook 07
    NEEDS["07b_other_photos"] = ["07_table_1"]
# The claims are compared with the kept results of every profile but the quick one.
KEPT = sorted(Path("outputs").glob("*/results/*.json"))
READS = {"06_claims": [str(path) for path in KEPT if path.parts[1] not in ("quick", PROFILE)]}

# What a scheduler grants one job: MB, minutes, and the paper's recipe a GPU. `make run` without a cluster
# reads none of it, and a cluster's settings (tools/slurm/config.yaml) can set more for a rule.
MEMORY, MINUTES = {"quick": (6_000, 60), "paper": (32_000, 24 * 60)}.get(PROFILE, (16_000, 24 * 60))
GPU = {"gpu": 1} if PROFILE == "paper" else {"gpu_model": ""}

NOTEBOOKS = sorted(
    path.stem
    for path in Path("notebooks").glob("*.ipynb")
    if PROFILE == "quick" or Path(f"params/{PROFILE}/{path.stem}.yaml").is_file()
)
if not NOTEBOOKS:
    known = ", ".join(sorted(path.name for path in Path("params").glob("*/")))
    sys.exit(f"No notebook belongs to profile {PROFILE!r}: choose quick, or a folder of params/ ({known}).")
TRAININGS = {
    (stem, network): training
    for stem in NOTEBOOKS
    for network, training in trainings(Path(f"notebooks/{stem}.ipynb"), PROFILE).items()
}
# A notebook comes after its trainings.
JOBS = [job for stem in NOTEBOOKS for job in [*(job for job in TRAININGS if job[0] == stem), (stem,)]]

# Sums over another number of threads differ in the last digit, so every job takes as many as a notebook does. With one
# core, as in `make run`, one job runs at a time, and has all of them.
try:
    THREADS = thread_count()
except ValueError as error:
    sys.exit(str(error))
CORES = workflow.resource_settings.cores
BESIDE = "--beside" if workflow.local_exec and (CORES or 1) > THREADS else ""


def done(*job):
    return f"{FOLDER}/.done/{'.'.join(job)}"


# A job of a cluster reads this file too, on its own node, where a new file may not be visible yet.
if workflow.is_main_process:
    for stem in NOTEBOOKS:
        if not Path(f"{FOLDER}/{stem}.ipynb").is_file():
            Path(done(stem)).unlink(missing_ok=True)
    for job, training in TRAININGS.items():
        path = Path(done(*job))
        # Of each network notebooks 07 and 08 keep what they found, and with that they need the weights no more.
        kept = Path(FOLDER, training.file), Path(FOLDER, "results", *job[:-1], f"{job[-1]}.npz")
        if path.is_file() and (path.read_text() != mark(training) or not any(each.is_file() for each in kept)):
            path.unlink()


def parameters(wildcards):
    path = Path(f"params/{PROFILE}/{wildcards.stem}.yaml")
    return [str(path)] if path.is_file() else []


def trained(stem):
    return [done(*job) for job in TRAININGS if job[0] == stem]


def needed(wildcards):
    others = [stem for stem in NEEDS.get(wildcards.stem, []) if stem in NOTEBOOKS]
    runs = [path for stem in others for path in trained(stem) or [done(stem)]]
    results = files_of_others(Path(f"notebooks/{wildcards.stem}.ipynb"), PROFILE)
    return trained(wildcards.stem) + runs + READS.get(wildcards.stem, []) + results


def first_weights(training):
    """The file of the first weights, or the mark of the training of this profile that makes it."""
    path = Path(os.path.expanduser(training.begin_with or training.backbone))
    places = [path.absolute()]
    if path.parts[:1] == ("outputs",):
        places.insert(0, Path(OUTPUTS, *path.parts[1:]).absolute())
    made = [done(*job) for job, other in TRAININGS.items() if Path(FOLDER, other.file).absolute() == places[0]]
    return made or [str(each) for each in places if each.is_file()][:1]


def place(*job):
    return f"{JOBS.index(job) + 1}/{len(JOBS)}"


rule all:
    input:
        expand(f"{FOLDER}/.done/{{stem}}", stem=NOTEBOOKS),


rule training:
    input:
        lambda wildcards: first_weights(TRAININGS[wildcards.stem, wildcards.network]),
        lambda wildcards: training_files(TRAININGS[wildcards.stem, wildcards.network]),
    output:
        done("{stem}", "{network}"),
    wildcard_constraints:
        stem="[^/.]+",
        network="[^/.]+",
    threads: THREADS
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
        **GPU,
    priority: lambda wildcards: -JOBS.index((wildcards.stem, wildcards.network))
    params:
        python=sys.executable,
        threads=lambda wildcards, threads: THREADS if CORES == 1 else threads,
        place=lambda wildcards: place(wildcards.stem, wildcards.network),
    shell:
        "DEFUSION_THREADS={params.threads} {params.python:q} -m tools.alone {output:q}.lock tools.train {PROFILE}"
        " {wildcards.stem:q} {wildcards.network:q} --place {params.place} {BESIDE} --mark {output:q}"
        " || {{ code=$?; [ $code -lt 129 -o $code -eq 130 ] || echo {wildcards.stem:q}/{wildcards.network:q}"
        ' "was ended by signal $((code - 128)): run again to continue from its checkpoint." >&2; exit $code; }}'


rule notebook:
    input:
        needed,
        lambda wildcards: library_files(Path(f"notebooks/{wildcards.stem}.ipynb")),
        notebook="notebooks/{stem}.ipynb",
        parameters=parameters,
    output:
        done("{stem}"),
    wildcard_constraints:
        stem="[^/.]+",
    threads: THREADS
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
        **GPU,
    priority: lambda wildcards: -JOBS.index((wildcards.stem,))
    params:
        python=sys.executable,
        threads=lambda wildcards, threads: THREADS if CORES == 1 else threads,
        place=lambda wildcards: place(wildcards.stem),
    shell:
        "DEFUSION_THREADS={params.threads} {params.python:q} -m tools.alone {output:q}.lock tools.execute execute"
        " {input.notebook:q} {PROFILE} --place {params.place} {BESIDE} --mark {output:q}"


onstart:
    try:
        workflow.held = hold(Path(f"{FOLDER}/.done/run.lock"))
    except ValueError as error:
        print(error, file=sys.stderr)  # which --quiet would hide
        raise
    # The words of a local notebook are in the terminal already, those of a job are on its node.
    if workflow.non_local_exec:
        logger.addHandler(Lines())
