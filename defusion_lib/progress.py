"""Progress bars that leave nothing in a stored notebook, and plain lines where there is no terminal.

A finished bar leaves an empty line in a notebook's output. So there are none where a notebook is executed for storing
(papermill, nbconvert, nbval). A program whose errors go to a file or a pipe writes a line now and then instead of a
bar. Everywhere else the bars are tqdm's.
"""

import sys
from typing import Any

from tqdm.auto import tqdm as visible_tqdm
from tqdm.std import tqdm as plain_tqdm

LINE_SECONDS = 10  # between two lines where there is no terminal


def is_unattended() -> bool:
    """Return whether this runs in a notebook's kernel whose program allows no input: nobody is watching."""
    kernel = _kernel()
    return kernel is not None and not kernel._allow_stdin


def is_piped() -> bool:
    """Return whether this is a program (no notebook) whose standard error is not a terminal."""
    return _kernel() is None and not (sys.stderr and sys.stderr.isatty())


def _kernel() -> Any:
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None)


class HiddenTqdm(plain_tqdm):
    """A bar that is never shown, whatever its caller says."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options | {"disable": True})


class LineTqdm(plain_tqdm):
    """A bar that writes one plain line every `LINE_SECONDS`: done, total, and the time left."""

    def __init__(self, *arguments, **options):
        words = "{desc}: {n_fmt} of {total_fmt}, {elapsed} passed, {remaining} left"
        lines = {"mininterval": LINE_SECONDS, "delay": LINE_SECONDS, "bar_format": words}
        super().__init__(*arguments, **options | lines)

    @staticmethod
    def status_printer(file):
        """Return the function that writes a line, without moving the cursor."""
        return lambda text: print(text, file=file, flush=True)

    def moveto(self, n):
        """Stay where the line is: a bar inside another one has no line above it."""

    def close(self):
        """End without the empty line by which tqdm leaves its bar."""
        self.disable = True


tqdm = HiddenTqdm if is_unattended() else LineTqdm if is_piped() else visible_tqdm
