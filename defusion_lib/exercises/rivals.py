"""What the answers to notebook 12's exercises are checked for."""

import numpy as np

from defusion_lib.baselines.deep.dhde import SIGMAS
from defusion_lib.baselines.images import stretch


def unpooled(answer) -> str:
    """How many times as many multiply-accumulates conv5_1 takes without the four poolings before it."""
    sides = 2**4
    if answer == sides:
        return f"{sides} is how much longer each side is: a layer works on every pixel."
    if answer == (2**5) ** 2:
        return "There are five poolings, but the fifth comes after conv5_1."
    return "" if answer == sides**2 else f"{answer} is not it: count the poolings before conv5_1, and think of both sides."


def stretched(answer) -> str:
    """A function that stretches a map to the range 0 to 1."""
    defocus = np.random.default_rng(0).uniform(0.2, 0.6, (6, 8)).astype(np.float32)
    found = np.asarray(answer(defocus.copy()))
    if found.shape != defocus.shape:
        return f"A map of shape {defocus.shape} became one of shape {found.shape}."
    if not np.isclose(found.min(), 0) or not np.isclose(found.max(), 1):
        return f"Your map goes from {found.min():.2f} to {found.max():.2f}, not from 0 to 1."
    if not np.allclose(found, stretch(defocus), atol=1e-6):
        return "The ends are right, but what lies between is not on the straight line between them."
    with np.errstate(all="ignore"):
        constant = np.asarray(answer(np.full((3, 3), 0.5, np.float32)))
    return "" if np.isfinite(constant).all() else "A constant map becomes NaN: leave it as it is."


def mean_error(answer) -> str:
    """A function of a confusion matrix and its sigmas: the mean absolute error in pixels."""
    confusion = np.random.default_rng(0).integers(0, 50, (len(SIGMAS), len(SIGMAS)))
    found = float(answer(confusion, SIGMAS))
    steps = np.abs(np.subtract.outer(np.arange(len(SIGMAS)), np.arange(len(SIGMAS))))
    right = sum(
        confusion[i, j] * abs(SIGMAS[i] - SIGMAS[j]) for i in range(len(SIGMAS)) for j in range(len(SIGMAS))
    )
    if np.isclose(found, right / confusion.sum()):
        return ""
    if np.isclose(found, right):
        return "That is the sum over all patches: divide by their number."
    if np.isclose(found, (confusion * steps).sum() / confusion.sum()):
        return "That counts classes: the sigmas say how far apart they are in pixels."
    return f"For a matrix of random counts you find {found:.3f}, not {right / confusion.sum():.3f}."


CHECKS = [unpooled, stretched, mean_error]
