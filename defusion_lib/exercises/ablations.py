"""Check the exercises of notebook 08: an interval over seeds, the number of seeds, and why to train again."""

import numpy as np
from scipy import stats

from defusion_lib.evaluation.statistics import contrast
from defusion_lib.exercises import near

SPREAD, DIFFERENCE = 0.004, 0.003


def interval(answer) -> str:
    """Check Welch's interval of a difference of means over seeds."""
    row, reference = np.array([0.152, 0.161, 0.147]), np.array([0.149, 0.151, 0.150, 0.148, 0.152])
    found = np.asarray(answer(row.copy(), reference.copy()), float)
    if found.shape != (3,):
        return f"Found an answer of shape {found.shape}, expected three numbers: difference, low and high."
    right = np.array(contrast(row, reference))
    if abs(found[0] + right[0]) <= 1e-9:
        return "That is the reference minus the row."
    if abs(found[0] - right[0]) > 1e-9:
        return f"The means differ by {right[0]:+.5f}, not by {found[0]:+.5f}."
    pooled = stats.ttest_ind(row, reference, equal_var=True).confidence_interval(0.95)
    likely = {
        "": right[2] - right[0],
        "You used 1.96, as for many seeds: with few, t is larger.": 1.96 * _error(row, reference),
        "Your standard deviation divides by n: use ddof=1.": _half_width(row, reference, ddof=0),
        "That is Student's interval, which assumes equal spreads.": pooled.high - right[0],
    }
    for sentence, half in likely.items():
        if np.allclose(found[1:], right[0] + half * np.array([-1, 1]), rtol=0, atol=1e-6):
            return sentence
    side = "wide" if np.ptp(found[1:]) > np.ptp(right[1:]) else "narrow"
    return f"Your interval, {found[1]:+.4f} to {found[2]:+.4f}, is too {side} or not around the difference."


def _error(row: np.ndarray, reference: np.ndarray, ddof: int = 1) -> float:
    """Compute the standard error of the difference of two means."""
    return float(np.sqrt(row.var(ddof=ddof) / len(row) + reference.var(ddof=ddof) / len(reference)))


def _half_width(row: np.ndarray, reference: np.ndarray, ddof: int) -> float:
    """Compute half of Welch's interval, with the degrees of freedom of Welch and Satterthwaite."""
    parts = [values.var(ddof=ddof) / len(values) for values in (row, reference)]
    below = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (row, reference)))
    return float(stats.t.ppf(0.975, sum(parts) ** 2 / below)) * _error(row, reference, ddof)


def seeds(answer) -> str:
    """Check the number of seeds per row that makes the interval of a difference narrow enough."""
    numbers = np.arange(2, 1000)

    def enough(half_widths):
        return int(numbers[half_widths < DIFFERENCE][0])

    error = SPREAD / np.sqrt(numbers)
    if answer == enough(stats.t.ppf(0.975, numbers - 1) * error):
        return "That is enough for the mean of one row: both rows vary, so the error is root 2 times as large."
    if answer == enough(1.96 * np.sqrt(2) * error):
        return "That is the answer for 1.96: t has 2 n - 2 degrees of freedom here, and is slightly larger."
    if answer == enough(np.sqrt(2) * error):
        return "There the standard error is below the difference: half the interval is twice that."
    return near(answer, enough(stats.t.ppf(0.975, 2 * numbers - 2) * np.sqrt(2) * error), 0, " seeds per row")


def ablation(answer) -> str:
    """Check the errors of a linear model without a feature: removed after training, and trained without it."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 3))
    x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=200)  # almost equal to the first
    y = x @ [1.0, 1.0, 0.5] + 0.1 * rng.normal(size=200)
    found = np.asarray(answer(x.copy(), y.copy(), 1), float)
    if found.shape != (2,):
        return f"Found an answer of shape {found.shape}, expected two numbers: (removed, trained_again)."
    others = x[:, [0, 2]]
    removed = np.mean((others @ np.linalg.solve(x.T @ x, x.T @ y)[[0, 2]] - y) ** 2)
    again = np.mean((others @ np.linalg.solve(others.T @ others, others.T @ y) - y) ** 2)
    likely = {
        "": (removed, again),
        "The two are swapped.": (again, removed),
        "Both come from a new fit: for the first, keep the weights of the fit with all columns.": (again, again),
        "Both have the weights of the fit with all columns: for the second, fit again.": (removed, removed),
        "Those are the roots: return the mean of the squares.": (removed**0.5, again**0.5),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=1e-6):
            return sentence
    return f"The errors are {removed:.3f} and {again:.3f}, yours {found[0]:.3f} and {found[1]:.3f}."


CHECKS = [interval, seeds, ablation]
