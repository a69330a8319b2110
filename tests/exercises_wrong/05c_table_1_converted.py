"""Wrong answers to the exercises of notebook 05c, and what they must be told."""


def allowed(ceiling):
    """A solution of exercise 2 with another ceiling, a function of the positive class's share."""

    def classes(printed, blurred):
        shares = {"blur": blurred, "focus": 1 - blurred}
        return [positive for positive, share in shares.items() if printed <= ceiling(share)]

    return classes


WRONG = [
    (1, 1.58, "the positive class"),
    (1, 0.88, "over its ceiling"),
    (1, 0.693, "half of pi"),
    (1, 0.7025, "That is the inverse"),
    (1, 0.77, "the printed number, unchanged"),
    (1, 0.875, "the ceiling"),
    (1, 0.645, "Divide by 1 - pi"),
    (1, 0.9, "0.9 is too large"),
    (2, allowed(lambda share: (1 + share) / 2), "swapped"),
    (2, allowed(lambda share: 1 - share), "1 - pi / 2"),
    (2, lambda printed, blurred: ["blur", "focus"], "allows ['focus'], not ['blur', 'focus']"),
    (2, lambda printed, blurred: None, "write its body"),
]
