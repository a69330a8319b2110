"""The command line `defusion`: thin commands over functions of the library that the notebooks call too.

Each command is a module of this package. A module imports only click when it is loaded, and the library inside its
function: so `defusion --help` answers at once.

Exit codes: 0 all inputs done, 1 some inputs failed and are named, 2 nothing done, because of the usage or the input,
130 stopped by Ctrl-C.
"""

import click

from defusion_lib.apps.cli.data import data
from defusion_lib.apps.cli.export import export
from defusion_lib.apps.cli.map import map_photos
from defusion_lib.apps.cli.run import run
from defusion_lib.apps.cli.score import score
from defusion_lib.apps.cli.terminal import Group
from defusion_lib.apps.cli.train import train

COMMANDS = (map_photos, score, train, data, export, run)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="defusion-lib", message="%(prog)s %(version)s")
def main() -> None:
    """Find what is out of focus in photos, with DeFusionNet and the methods it is compared with.

    A defocus map is a grey picture of a photo's size: white is out of focus, black is in focus.

    \b
    Three ways to begin:
      defusion map my_photos              map your photos: maps, a table, a gallery
      defusion score my_maps --data shi   score the maps of your method beside the others
      defusion train --root my_data       train the network on your photos and masks

    map, train and run resume where an earlier run stopped; no command leaves a half-written file. `defusion COMMAND
    --help` explains one command with examples. Exit codes: 0 all inputs done, 1 some inputs failed and are named, 2
    nothing done, because of the usage or the input, 130 stopped by Ctrl-C.
    """


for command in COMMANDS:
    main.add_command(command)
