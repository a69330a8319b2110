"""Exercises at the end of the notebooks, and what an answer is checked for.

Each notebook's exercises have a module here, named like the notebook without its number, with a list `CHECKS`: a function for
each exercise that takes the answer and returns what is wrong with it, a sentence, or "" where it is right. The
notebook holds the question, a cell for the answer that ends with `check`, and a solution that is folded away.
"""

import functools
import importlib


def check(stem: str, number: int, answer) -> None:
    """Print whether the answer to an exercise of a notebook is right, and if not, what is wrong with it."""
    wrong = verdict(stem, number, answer)
    print(f"Exercise {number}: " + (f"not yet. {wrong}" if wrong else "right."))


def verdict(stem: str, number: int, answer) -> str:
    """What is wrong with an answer, "" where it is right; raises ValueError for an exercise that does not exist.

    An answer that is `None` was not given; one that raises says what it raised, since it may be any function.
    """
    try:
        checks = importlib.import_module(f"{__name__}.{stem[3:]}").CHECKS
    except ModuleNotFoundError:
        checks = []
    if not 1 <= number <= len(checks):
        raise ValueError(f"{stem} has {len(checks)} exercises: there is no exercise {number}.")
    if answer is None:
        return "Put your answer in the place of None."
    try:
        return checks[number - 1](_written(answer) if callable(answer) else answer)
    except _Unwritten:
        return "Your function returns None: write its body, and give something back for every input."
    except Exception as error:  # whatever a learner's function raises is news for the learner
        return f"Your answer stopped with {type(error).__name__}: {error}"


class _Unwritten(Exception):
    """A learner's function gave nothing back."""


def _written(function):
    """The function, which must give something back."""

    @functools.wraps(function)
    def asked(*given, **named):
        found = function(*given, **named)
        if found is None:
            raise _Unwritten
        return found

    return asked


def near(answer: float, right: float, within: float, unit: str = "") -> str:
    """The sentence for a number that should be `right`, up to `within`."""
    if abs(answer - right) <= within:
        return ""
    side = "large" if answer > right else "small"
    return f"{answer:g}{unit} is too {side}."
