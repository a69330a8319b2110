"""`defusion run`: execute the notebooks."""

import sys

import click

from defusion_lib.apps.cli.terminal import SOME_FAILED, json_option, report


@click.command()
@click.argument("profile", default="quick")
@click.option("-n", "--dry-run", is_flag=True, help="List the notebooks that are stale, and execute none.")
@click.option("--cluster", default="",
              help="Run them as jobs: slurm (tools/slurm/README.md), or local, side by side on this machine "
                   "(params/README.md).")  # fmt: skip
@json_option
def run(profile: str, dry_run: bool, cluster: str, as_json: bool) -> None:
    """Execute the notebooks of a checkout in PROFILE, and show their results.

    PROFILE is quick (the default, minutes) or a folder of params/. Only notebooks that are stale are executed, one
    after the other. The copies, results and figures appear under outputs/PROFILE/, or in the folder that
    DEFUSION_OUTPUTS names. A run that was stopped continues with the notebook where it stopped.

    \b
    Examples:
      defusion run               the quick profile, as `make run`
      defusion run cpu           on real photos with two cores, hours
      defusion run cpu -n        what it would execute
      defusion run paper --cluster slurm
      defusion run --json        all results as one document; the progress goes to standard error

    It needs no make. It was tested on Linux, not on Windows. Exit codes: 0 done, 1 a notebook failed,
    2 there is no such profile or no checkout.
    """
    from defusion_lib.apps.notebook_run import results, run_notebooks

    if as_json and dry_run:
        raise click.UsageError("--json prints results, which --dry-run does not make: leave one of them out.")
    finished = run_notebooks(profile, dry_run, cluster, progress_only=as_json)
    if as_json:
        report({"profile": profile, "finished": finished, "results": results(profile)}, "", as_json)
    if not finished:
        sys.exit(SOME_FAILED)
