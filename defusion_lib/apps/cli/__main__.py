"""Run the command line as `python -m defusion_lib.apps.cli`."""

from defusion_lib.apps.cli import main

main(prog_name="defusion")
