"""Check the exercises at the end of the notebooks.

The exercises of a notebook have one module here, named like the notebook without its number (what follows the first
underscore). Its list `CHECKS` has one function per exercise: it takes the answer and returns one sentence that names
the error, or "" where the answer is right. The notebook has the question, a cell for the answer that ends with `check`,
and a collapsed solution. Its last cell calls `show_progress`.

A right answer leaves an empty file in `outputs/.exercises/`, which git ignores; `reset` removes these files.
"""

import functools
import importlib
import pkgutil
import shutil
from collections.abc import Mapping
from pathlib import Path

from defusion_lib.paths import outputs_root, write_atomically


def check(stem: str, number: int, answer) -> None:
    """Print whether the answer to an exercise of a notebook is right, and if not, what is wrong with it.

    A right answer is recorded for `show_progress`.
    """
    wrong = verdict(stem, number, answer)
    if not wrong:
        write_atomically(_record(_module(stem), number), b"")
    print(f"Exercise {number}: " + (f"not yet. {wrong}" if wrong else "right."))


def show_progress(stem: str) -> None:
    """Print how many exercises of a notebook, and of all notebooks, were answered right since the last `reset`."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    done = {name: [_record(name, i + 1).is_file() for i in range(len(_checks(name)))] for name in modules}
    here, everywhere = done[_module(stem)], sum(done.values(), [])
    print(
        f"Exercises: {sum(here)} of {len(here)} done in this notebook, "
        f"{sum(everywhere)} of {len(everywhere)} in the collection."
    )


def reset() -> None:
    """Remove the record of right answers of all notebooks."""
    shutil.rmtree(_record("", 0).parent, ignore_errors=True)


def verdict(stem: str, number: int, answer) -> str:
    """Return what is wrong with an answer, "" where it is right.

    `None` counts as no answer. An answer may be any function: where it raises, its error is returned as a sentence.
    Raises ValueError for an exercise that does not exist.
    """
    try:
        checks = _checks(_module(stem))
    except ModuleNotFoundError:
        checks = []
    if not 1 <= number <= len(checks):
        raise ValueError(f"{stem} has {len(checks)} exercises: there is no exercise {number}.")
    if answer is None:
        return "Replace None with your answer."
    try:
        return checks[number - 1](_written(answer) if callable(answer) else answer)
    except _Unwritten:
        return "Your function returns None: write its body, and give something back for every input."
    except Exception as error:  # a learner's function may raise anything, and the learner reads it
        return f"Your answer stopped with {type(error).__name__}: {error}"


def _module(stem: str) -> str:
    return stem.partition("_")[2]


def _checks(module: str) -> list:
    return importlib.import_module(f"{__name__}.{module}").CHECKS


def _record(module: str, number: int) -> Path:
    # One file per exercise: several notebooks may write at the same time.
    return outputs_root() / ".exercises" / f"{module}-{number}"


class _Unwritten(Exception):
    """A learner's function returned None."""


def _written(function):
    """Wrap a function so that a returned None raises `_Unwritten`."""

    @functools.wraps(function)
    def asked(*given, **named):
        found = function(*given, **named)
        if found is None:
            raise _Unwritten
        return found

    return asked


def diagnose(answer: float, right: float, within: float, likely: Mapping[str, float], unit: str = "") -> str:
    """Return the sentence of the first likely value that a number equals up to `within`, else what `near` returns.

    `likely` is {sentence: wrong value}.
    """
    for sentence, value in likely.items():
        if not near(answer, value, within):
            return sentence
    return near(answer, right, within, unit)


def near(answer: float, right: float, within: float, unit: str = "") -> str:
    """Return a sentence where a number is not `right` up to `within`, else ""."""
    if abs(answer - right) <= within:
        return ""
    side = "large" if answer > right else "small"
    return f"{answer:g}{unit} is too {side}."
