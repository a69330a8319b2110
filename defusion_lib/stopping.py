"""Stop a long computation between two of its steps.

A long loop calls `tick` in each round. Nobody passes a flag down to it: who starts the computation does so in
`stoppable`, and elsewhere a tick does nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps


class Stopped(Exception):
    """A computation ended at a `tick`, because it was asked to."""


_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=lambda: False)


@contextmanager
def stoppable(asked: Callable[[], bool]) -> Iterator[None]:
    """Raise `Stopped` at the first `tick` in this block at which `asked()` is true.

    `asked` is called in whichever thread ticks.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def tick() -> None:
    """Raise `Stopped` where this computation runs in `stoppable` and was asked to stop."""
    if _asked.get()():
        raise Stopped("The computation was stopped.")


def stoppable_in_threads(work: Callable) -> Callable:
    """Return `work` for threads that the computation starts: ticks in them ask what ticks here ask."""
    asked = _asked.get()

    @wraps(work)
    def run(*arguments):
        with stoppable(asked):
            return work(*arguments)

    return run
