"""Check the exercises at the end of the notebooks.

The exercises of a notebook have one module here, named like the notebook without its number (what follows the first
underscore). Its list `CHECKS` has one function per exercise: it takes the answer and returns one sentence that names
the error, or "" where the answer is right. The notebook has the question, a cell for the answer that ends with `check`,
and a collapsed solution.
"""

import functools
import importlib
from collections.abc import Mapping


def check(stem: str, number: int, answer) -> None:
    """Print whether the answer to an exercise of a notebook is right, and if not, what is wrong with it."""
    wrong = verdict(stem, number, answer)
    print(f"Exercise {number}: " + (f"not yet. {wrong}" if wrong else "right."))


def verdict(stem: str, number: int, answer) -> str:
    """Return what is wrong with an answer, "" where it is right.

    `None` counts as no answer. An answer may be any function: where it raises, its error is returned as a sentence.
    Raises ValueError for an exercise that does not exist.
    """
    try:
        checks = importlib.import_module(f"{__name__}.{stem.partition('_')[2]}").CHECKS
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
