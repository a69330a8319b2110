"""Progress bars that leave nothing in a stored notebook.

A finished bar leaves an empty line in a notebook's output. So there are none where a notebook is executed for storing
(papermill, nbconvert, nbval); everywhere else they are tqdm's.
"""

import sys

from tqdm.auto import tqdm as visible_tqdm
from tqdm.std import tqdm as plain_tqdm


def is_unattended() -> bool:
    """Return whether this runs in a notebook's kernel whose program allows no input: nobody is watching."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    return kernel is not None and not kernel._allow_stdin


class HiddenTqdm(plain_tqdm):
    """A bar that is never shown, whatever its caller says."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options | {"disable": True})


tqdm = HiddenTqdm if is_unattended() else visible_tqdm
