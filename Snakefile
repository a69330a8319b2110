# The graph of batch runs: a notebook, a profile's parameters and the library make an executed notebook.
#
#     snakemake --cores 1 --config profile=cpu
#
# The quick profile runs every notebook with its own defaults; another profile runs the notebooks that have a
# file in params/<profile>/. A notebook is stale when itself, its parameters, what it imports from the library
# (tools/graph.py), or the last run of a notebook whose files it reads is newer than its own last run to the end. That moment is kept
# as a small file in outputs/<profile>/.done/, because Snakemake removes what a rule makes before it runs the
# rule: so it is the mark that goes, and the last good copy of a notebook stays until the new one is complete.

import os
import sys
from pathlib import Path

from snakemake.logging import logger

sys.path.insert(0, workflow.basedir)
from tools.alone import hold
from tools.cluster import Lines
from tools.graph import library_files

PROFILE = config.get("profile", "quick")
FOLDER = f"{os.path.expanduser(os.environ.get('DEFUSION_OUTPUTS') or 'outputs')}/{PROFILE}"
NEEDS = {"04_evaluation": ["03_training"], "08_ablations": ["03_training"]}
# The claims are compared with the kept results of every profile but the quick one.
KEPT = sorted(Path("outputs").glob("*/results/*.json"))
READS = {"06_claims": [str(path) for path in KEPT if path.parts[1] not in ("quick", PROFILE)]}

# What a scheduler grants one notebook: MB, minutes, and the paper's recipe a GPU. `make run` without a cluster
# reads none of it, and a cluster's settings (tools/slurm/config.yaml) can set more.
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
# A job of a cluster reads this file too, on its own node, where a new file may not be visible yet.
if workflow.is_main_process:
    for stem in NOTEBOOKS:
        if not Path(f"{FOLDER}/{stem}.ipynb").is_file():
            Path(f"{FOLDER}/.done/{stem}").unlink(missing_ok=True)


def parameters(wildcards):
    path = Path(f"params/{PROFILE}/{wildcards.stem}.yaml")
    return [str(path)] if path.is_file() else []


def needed(wildcards):
    runs = [f"{FOLDER}/.done/{stem}" for stem in NEEDS.get(wildcards.stem, []) if stem in NOTEBOOKS]
    return runs + READS.get(wildcards.stem, [])


rule all:
    input:
        expand(f"{FOLDER}/.done/{{stem}}", stem=NOTEBOOKS),


rule notebook:
    input:
        needed,
        lambda wildcards: library_files(Path(f"notebooks/{wildcards.stem}.ipynb")),
        notebook="notebooks/{stem}.ipynb",
        parameters=parameters,
    output:
        f"{FOLDER}/.done/{{stem}}",
    wildcard_constraints:
        stem="[^/.]+",
    threads: 2
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
        **GPU,
    priority: lambda wildcards: -NOTEBOOKS.index(wildcards.stem)
    params:
        python=sys.executable,
        place=lambda wildcards: f"{NOTEBOOKS.index(wildcards.stem) + 1}/{len(NOTEBOOKS)}",
    shell:
        "{params.python:q} -m tools.alone {output:q}.lock tools.execute execute {input.notebook:q} {PROFILE}"
        " --place {params.place} --mark {output:q}"


onstart:
    try:
        workflow.held = hold(Path(f"{FOLDER}/.done/run.lock"))
    except ValueError as error:
        print(error, file=sys.stderr)  # which --quiet would hide
        raise
    # The words of a local notebook are in the terminal already, those of a job are on its node.
    if workflow.non_local_exec:
        logger.addHandler(Lines())
