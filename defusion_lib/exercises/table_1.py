"""Check the exercises of notebook 07: paired intervals, agreement of orders, a detector, and min-max stretching."""

import numpy as np
from PIL import Image
from scipy import stats

from defusion_lib.baselines.images import stretch
from defusion_lib.data import bundled
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.evaluation import statistics
from defusion_lib.experiments import controlled_images

DRAWS = 20_000  # many, so that most of the remaining noise comes from the draws of the answer
WITHIN = 0.05  # allowed error of an interval's ends, relative to its width; the ends of a 90 % interval differ by 0.08
NAMES = ("skimage-brick", "skimage-grass", "skimage-gravel")
SIDE, RADIUS, BAR = 96, 3.0, 0.95
ORDERS = ((2, 0, 1, 3, 4), (3, 4, 2, 0, 1), (4, 3, 2, 1, 0), (0, 1, 2, 3, 4))


def bootstrap(answer) -> str:
    """Check the 95 % interval of a mean difference over the same photos."""
    rng = np.random.default_rng(7)
    hardness = rng.normal(0.8, 0.1, 60)
    first, second = hardness + rng.normal(0.02, 0.03, 60), hardness + rng.normal(0, 0.03, 60)
    found = np.asarray(answer(first.copy(), second.copy()), float)
    if found.shape != (2,):
        return f"Found an answer of shape {found.shape}, expected two numbers: the lower and the upper end."
    drawn, others = rng.integers(0, 60, (2, DRAWS, 60))
    together = first[drawn].mean(1) - second[drawn].mean(1)
    apart = first[drawn].mean(1) - second[others].mean(1)
    if _near(found, together):
        return ""
    likely = {
        "Both methods need the same draws: with separate draws, the difficulty of the photos does not cancel.": apart,
        "That is the second minus the first.": -together,
        "That is the interval of single photos: take the mean of each draw first.": first - second,
    }
    for sentence, differences in likely.items():
        if _near(found, differences):
            return sentence
    if _near(found, together, (0.05, 0.95)):
        return "Only 90 % of the draws lie in your interval: 2.5 % must be left out on each side."
    low, high = np.quantile(together, (0.025, 0.975))
    return f"{found[0]:.3f} to {found[1]:.3f} is wrong: the interval must be about {high - low:.3f} wide."


def _near(found: np.ndarray, differences: np.ndarray, ends: tuple[float, float] = (0.025, 0.975)) -> bool:
    """Return whether an interval is the one between two quantiles of some differences."""
    wanted = np.quantile(differences, ends)
    return bool(np.abs(found - wanted).max() <= WITHIN * np.ptp(wanted))


def tau(answer) -> str:
    """Check a function that computes Kendall's tau of scores without ties."""
    scores = np.array([0.60, 0.80, 0.83, 0.86, 0.95])
    for order in ORDERS:
        theirs = scores[list(order)]
        found, right = answer(list(scores), list(theirs)), stats.kendalltau(scores, theirs).statistic
        if abs(found - right) <= 1e-9:
            continue
        likely = {
            "That is the share of pairs that agree: tau is 1 for all and -1 for none.": (right + 1) / 2,
            "The sign is wrong: pairs in the same order count +1, others -1.": -right,
            "That is a sum over the pairs: divide by the number of pairs.": 10 * right,
            "You count every pair twice.": 2 * right,
            "That is Pearson's correlation: tau uses only the order.": np.corrcoef(scores, theirs)[0, 1],
            "That is Spearman's correlation: tau counts pairs.": stats.spearmanr(scores, theirs).statistic,
        }
        named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-9]
        shown = ", ".join(f"{score:g}" for score in theirs)
        return [*named, f"For 0.6, 0.8, 0.83, 0.86, 0.95 and {shown} tau is {right:g}, not {found:g}."][0]
    return ""


def detector(answer) -> str:
    """Check a detector on images of a sharp and a blurred half, in both orders."""
    shares = []
    for name in NAMES:
        image = resize_to_square(Image.fromarray(bundled.embedded(name)), SIDE)
        for sharp_left in (True, False):
            photo = controlled_images.half_and_half(name, image, RADIUS, sharp_left).photo
            found = np.asarray(answer(photo.image), float)
            if found.shape != photo.mask.shape:
                return f"A photo of {photo.mask.shape} gave a map of {found.shape}: return one number per pixel."
            if not (found >= 0).all() or not (found <= 1).all():
                return f"Your map has values from {found.min():g} to {found.max():g}: scale it to [0, 1]."
            shares.append(statistics.probability_of_superiority(found, photo.mask == 1))
    auc = float(np.mean(shares))
    if 1 - auc > 0.6:
        return f"Your map is inverted, its AUC is {auc:.2f}: 1 = blurred."
    if auc < BAR:
        return f"Its AUC is {auc:.2f}, below {BAR}: one pixel is not enough, average over its neighbourhood."
    return ""


def stretched(answer) -> str:
    """Check a function that stretches a map to the range 0 to 1."""
    defocus = np.random.default_rng(0).uniform(0.2, 0.6, (6, 8)).astype(np.float32)
    found = np.asarray(answer(defocus.copy()))
    if found.shape != defocus.shape:
        return f"A map of shape {defocus.shape} became one of shape {found.shape}."
    if not np.isclose(found.min(), 0) or not np.isclose(found.max(), 1):
        return f"Your map has values from {found.min():.2f} to {found.max():.2f}, not from 0 to 1."
    if not np.allclose(found, stretch(defocus), atol=1e-6):
        return "The smallest and the largest value are right, but the values between are not on a straight line."
    with np.errstate(all="ignore"):
        constant = np.asarray(answer(np.full((3, 3), 0.5, np.float32)))
    if not np.isfinite(constant).all():
        return "A constant map becomes NaN: return it unchanged."
    return (
        ""
        if np.allclose(constant, 0.5)
        else f"A constant map of 0.5 becomes {constant.flat[0]:g}: return it unchanged."
    )


CHECKS = [bootstrap, tau, detector, stretched]
