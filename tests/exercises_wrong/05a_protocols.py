"""Wrong answers to the exercises of notebook 05a, and what they must be told."""

WRONG = [
    (1, 0.648, "0.95 and 0.05"),
    (1, 0.4375, "twice the mean"),
    (1, 2 / 3, "0.1, not 0"),
    (1, 1, "everything is blurred"),
    (1, 0.375, "share in focus"),
    (1, 0.6, "the mean of such a map"),
    (1, 0.7, "0.7 is too large"),
    (2, (0.3886, 0.6205), "in the other order"),
    (2, (0.325, 0.452), "F of each image"),
    (2, (0.6205, 0.3576), "1.3 and 0.3"),
    (2, (0.6205,), "not 1"),
    (2, (0.7, 0.3886), "F of the means: 0.7 is too large"),
    (2, (0.6205, 0.3), "The mean of F: 0.3 is too small"),
]
