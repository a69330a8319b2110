"""Check the exercises of notebook 05c: a printed AUC, converted, and the positive classes that a printed AUC allows."""

from defusion_lib.evaluation import protocols
from defusion_lib.exercises import diagnose

PRINTED, BLURRED_SHARE = 0.77, 0.75  # an AUC on the paper's axis, in focus positive, and the blurred share
CASES = ((0.84, 0.7), (0.6, 0.7), (0.9, 0.7), (0.64, 0.7), (0.84, 0.2), (0.75, 0.5))  # printed AUC, blurred share


def converted(answer) -> str:
    """Check the ordinary AUC of a printed one, in focus positive."""
    share = 1 - BLURRED_SHARE
    likely = {
        "pi is the share of the positive class, and that is in focus here.": (
            protocols.auc_from_paper_axis(PRINTED, BLURRED_SHARE)
        ),
        "That is the printed number over its ceiling: chance, 0.5, must stay 0.5.": (
            PRINTED / protocols.auc_paper_ceiling(share)
        ),
        "Subtract only half of pi: the positives contribute the area pi / 2.": (PRINTED - share) / (1 - share),
        "That is the inverse: from an ordinary AUC to the paper's axis.": (protocols.auc_on_paper_axis(PRINTED, share)),
        "That is the printed number, unchanged.": PRINTED,
        "That is the ceiling.": protocols.auc_paper_ceiling(share),
        "Divide by 1 - pi, the share of the axis that the negatives have.": PRINTED - share / 2,
    }
    right = protocols.auc_from_paper_axis(PRINTED, share)
    return diagnose(answer, right, 0.004, likely)


def classes(answer) -> str:
    """Check which positive classes a printed AUC allows."""

    def allowed(printed, shares, ceiling):
        return {positive for positive, share in shares.items() if printed <= ceiling(share)}

    for printed, blurred in CASES:
        found, shares = set(answer(printed, blurred)), {"blur": blurred, "focus": 1 - blurred}
        right = allowed(printed, shares, protocols.auc_paper_ceiling)
        if found == right:
            continue
        case = f"AUC {printed} with {blurred:.0%} of the pixels blurred"
        if found == allowed(printed, shares, lambda share: (1 + share) / 2):
            return f"{case}: the two classes are swapped, the ceiling of the larger class is the lower one."
        if found == allowed(printed, shares, lambda share: 1 - share):
            return f"{case}: the ceiling is 1 - pi / 2, not 1 - pi."
        return f"{case} allows {sorted(right)}, not {sorted(found)}."
    return ""


CHECKS = [converted, classes]
