"""Wrong answers to the exercises of notebook 08, and words that the answer of the check must contain."""

import numpy as np
from scipy import stats


def interval(row, reference, ddof=1, normal=False):
    """Return the right answer, or one with a mistake."""
    difference = row.mean() - reference.mean()
    first, second = row.var(ddof=ddof) / len(row), reference.var(ddof=ddof) / len(reference)
    freedom = (first + second) ** 2 / (first**2 / (len(row) - 1) + second**2 / (len(reference) - 1))
    half = (1.96 if normal else stats.t.ppf(0.975, freedom)) * np.sqrt(first + second)
    return difference, difference - half, difference + half


def students(row, reference):
    found = stats.ttest_ind(row, reference).confidence_interval()
    return row.mean() - reference.mean(), found.low, found.high


def of_the_row(row, reference):
    half = stats.t.ppf(0.975, len(row) - 1) * row.std(ddof=1) / np.sqrt(len(row))
    difference = row.mean() - reference.mean()
    return difference, difference - half, difference + half


def ablation(x, y, left_out):
    """Return the right answer, to be changed."""
    rest = np.delete(x, left_out, axis=1)
    kept = np.delete(np.linalg.lstsq(x, y)[0], left_out)
    return np.mean((rest @ kept - y) ** 2), np.mean((rest @ np.linalg.lstsq(rest, y)[0] - y) ** 2)


WRONG = [
    (1, lambda row, reference: None, "returns None"),
    (1, lambda row, reference: interval(row, reference)[1:], "expected three numbers"),
    (1, lambda row, reference: interval(reference, row), "reference minus the row"),
    (1, lambda row, reference: (row.mean(), 0, 1), "The means differ by"),
    (1, lambda row, reference: interval(row, reference, normal=True), "with few, t is larger"),
    (1, lambda row, reference: interval(row, reference, ddof=0), "ddof=1"),
    (1, students, "Student's interval"),
    (1, of_the_row, "not around the difference"),
    (2, 10, "mean of one row"),
    (2, 14, "2 n - 2 degrees of freedom"),
    (2, 4, "half the interval is twice that"),
    (2, 16, "too large"),
    (2, 13, "too small"),
    (3, lambda x, y, k: None, "returns None"),
    (3, lambda x, y, k: ablation(x, y, k)[0], "expected two numbers"),
    (3, lambda x, y, k: ablation(x, y, k)[::-1], "swapped"),
    (3, lambda x, y, k: (ablation(x, y, k)[1],) * 2, "Both come from a new fit"),
    (3, lambda x, y, k: (ablation(x, y, k)[0],) * 2, "weights of the fit with all columns: for the second"),
    (3, lambda x, y, k: np.sqrt(ablation(x, y, k)), "roots"),
    (3, lambda x, y, k: ablation(x, y, 2), "The errors are"),
    (3, lambda x, y, k: np.multiply(ablation(x, y, k), 200), "The errors are"),
]
