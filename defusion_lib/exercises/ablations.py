"""Exercises of notebook 08: an interval over seeds, how many seeds it takes, and why to train again."""

import numpy as np
from scipy import stats

from defusion_lib.evaluation.statistics import contrast
from defusion_lib.exercises import near

SPREAD, DIFFERENCE = 0.004, 0.003


def interval(answer) -> str:
    """Welch's interval of a difference of means over seeds."""
    row, reference = np.array([0.152, 0.161, 0.147]), np.array([0.149, 0.151, 0.150, 0.148, 0.152])
    found = np.asarray(answer(row.copy(), reference.copy()), float)
    if found.shape != (3,):
        return f"Three numbers are wanted, difference, low and high: yours has the shape {found.shape}."
    right = np.array(contrast(row, reference))
    if abs(found[0] + right[0]) <= 1e-9:
        return "That is the reference minus the row."
    if abs(found[0] - right[0]) > 1e-9:
        return f"The means differ by {right[0]:+.5f}, not by {found[0]:+.5f}."
    pooled = stats.ttest_ind(row, reference, equal_var=True).confidence_interval(0.95)
    likely = {
        "": right[2] - right[0],
        "You took 1.96, as for many seeds: with few, t is larger.": 1.96 * _error(row, reference),
        "Your standard deviation divides by n: take ddof=1.": _half_width(row, reference, ddof=0),
        "That is Student's interval, which takes both spreads for equal.": pooled.high - right[0],
    }
    for sentence, half in likely.items():
        if np.allclose(found[1:], right[0] + half * np.array([-1, 1]), rtol=0, atol=1e-6):
            return sentence
    side = "wide" if np.ptp(found[1:]) > np.ptp(right[1:]) else "narrow"
    return f"Your interval, {found[1]:+.4f} to {found[2]:+.4f}, is too {side} or not around the difference."


def _error(row: np.ndarray, reference: np.ndarray, ddof: int = 1) -> float:
    """The standard error of the difference of two means."""
    return float(np.sqrt(row.var(ddof=ddof) / len(row) + reference.var(ddof=ddof) / len(reference)))


def _half_width(row: np.ndarray, reference: np.ndarray, ddof: int) -> float:
    """Half of Welch's interval, with the degrees of freedom of Welch and Satterthwaite."""
    parts = [values.var(ddof=ddof) / len(values) for values in (row, reference)]
    below = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (row, reference)))
    return float(stats.t.ppf(0.975, sum(parts) ** 2 / below)) * _error(row, reference, ddof)


def seeds(answer) -> str:
    """How many seeds a row make the interval of a difference narrow enough."""
    numbers = np.arange(2, 1000)

    def enough(half_widths):
        return int(numbers[half_widths < DIFFERENCE][0])

    error = SPREAD / np.sqrt(numbers)
    if answer == enough(stats.t.ppf(0.975, numbers - 1) * error):
        return "That is enough for the mean of one row: both vary, so the error is root 2 times as large."
    if answer == enough(1.96 * np.sqrt(2) * error):
        return "So it would be with 1.96: t has 2 n - 2 degrees of freedom here, and is a little larger."
    if answer == enough(np.sqrt(2) * error):
        return "There the standard error is as small as the difference: half the interval is twice that."
    return near(answer, enough(stats.t.ppf(0.975, 2 * numbers - 2) * np.sqrt(2) * error), 0, " seeds a row")


def ablation(answer) -> str:
    """The errors of a linear model without a feature: taken away after training, and trained without it."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 3))
    x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=200)  # says nearly the same as the first
    y = x @ [1.0, 1.0, 0.5] + 0.1 * rng.normal(size=200)
    found = np.asarray(answer(x.copy(), y.copy(), 1), float)
    if found.shape != (2,):
        return f"Two numbers are wanted, (taken_away, trained_again): yours has the shape {found.shape}."
    others = x[:, [0, 2]]
    away = np.mean((others @ np.linalg.solve(x.T @ x, x.T @ y)[[0, 2]] - y) ** 2)
    again = np.mean((others @ np.linalg.solve(others.T @ others, others.T @ y) - y) ** 2)
    likely = {
        "": (away, again),
        "The two are swapped.": (again, away),
        "Both were fitted again: for the first, keep the weights of the fit with all.": (again, again),
        "Both have the weights of the fit with all: for the second, fit again.": (away, away),
        "Those are the roots: leave the mean of the squares as it is.": (away**0.5, again**0.5),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=1e-6):
            return sentence
    return f"The errors are {away:.3f} and {again:.3f}, yours {found[0]:.3f} and {found[1]:.3f}."


CHECKS = [interval, seeds, ablation]
