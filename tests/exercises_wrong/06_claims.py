"""Wrong answers to the exercises of notebook 06, and words that the message on each must contain."""


def status(published, result, tolerance, missing):
    """The right one, to be spoilt."""
    if result is None:
        return f"needs {missing}" if missing else "not attempted"
    return "reproduced" if abs(result - published) <= tolerance * (1 + 1e-9) else "differs"


def to_the_letter(published, result, tolerance, missing):
    if result is None:
        return status(published, result, tolerance, missing)
    return "reproduced" if abs(result - published) <= tolerance else "differs"


def one_sided(published, result, tolerance, missing):
    if result is None:
        return status(published, result, tolerance, missing)
    return "reproduced" if result - published <= tolerance * (1 + 1e-9) else "differs"


def falsy(published, result, tolerance, missing):
    return status(published, result or None, tolerance, missing)


def never_looked_is_differs(published, result, tolerance, missing):
    return "differs" if result is None else status(published, result, tolerance, missing)


def always_in_the_way(published, result, tolerance, missing):
    return f"needs {missing}" if result is None else status(published, result, tolerance, missing)


WRONG = [
    (1, lambda *given: None, "returns None"),
    (1, lambda *given: "differs", "must be 'reproduced': the result is stored"),
    (1, lambda *given: "reproduced", "the result lies outside"),
    (1, to_the_letter, "0.108 - 0.102 is slightly more than 0.006"),
    (1, one_sided, "better than the paper's"),
    (1, falsy, "a result of 0 is a result"),
    (1, never_looked_is_differs, "without a result a claim does not differ"),
    (1, always_in_the_way, "nothing is missing"),
    (2, 68, "inside the tolerance"),
    (2, 16, "count both sides"),
    (2, 5, "two standard errors"),
    (2, 0, "too small"),
    (2, 50, "too large"),
    (3, 200, "square root"),
    (3, 399, "too small"),
    (3, 401, "too large"),
]
