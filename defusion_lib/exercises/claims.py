"""Check the exercises of notebook 06: the status of a claim, and the effect of a tolerance."""

from scipy import stats

from defusion_lib.exercises import near

# Published number, result, tolerance, what is missing; the right status and the reason.
CASES = (
    (0.102, 0.101, 0.006, "", "reproduced", "the result is stored and lies within the tolerance"),
    (0.102, 0.120, 0.006, "", "differs", "the result lies outside"),
    (0.102, 0.090, 0.006, "", "differs", "a result that is better than the paper's also differs"),
    (0.102, None, 0.006, "data", "needs data", "without a result a claim does not differ"),
    (0.102, None, 0.006, "a GPU", "needs a GPU", "without a result a claim does not differ"),
    (0.102, None, 0.006, "", "not attempted", "nothing is missing, and there is no result"),
    (0.004, 0.0, 0.003, "", "differs", "a result of 0 is a result: test whether it is None"),
    (0.102, 0.108, 0.006, "", "reproduced", "in floating point 0.108 - 0.102 is slightly more than 0.006"),
)
TOLERANCE, WANTED, PHOTOGRAPHS = 0.006, 0.003, 100


def status(answer) -> str:
    """Check a function that returns the status of one claim."""
    for *given, right, why in CASES:
        found = answer(*given)
        if found != right:
            shown = ", ".join(map(repr, given))
            return f"status({shown}) is {found!r}, but must be {right!r}: {why}."
    return ""


def luck(answer) -> str:
    """Check how many of 100 true claims lie outside a tolerance of one standard error by chance."""
    outside = 100 * 2 * stats.norm.sf(1)
    if not near(answer, 100 - outside, 1):
        return "That is the number of claims inside the tolerance."
    if not near(answer, outside / 2, 1):
        return "A result can also be too low: count both sides."
    if not near(answer, 100 * 2 * stats.norm.sf(2), 1):
        return "That many lie outside two standard errors: the tolerance is one."
    return near(answer, outside, 1)


def photographs(answer) -> str:
    """Check how many photos give a mean the wanted standard error."""
    times = TOLERANCE / WANTED
    if not near(answer, PHOTOGRAPHS * times, 0.5):
        return "The standard error falls with the square root of the number, not with the number."
    return near(answer, PHOTOGRAPHS * times**2, 0.5)


CHECKS = [status, luck, photographs]
