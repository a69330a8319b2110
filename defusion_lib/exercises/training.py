"""Exercises of notebook 03: the learning rate, the loss at the start, and the cross-entropy itself."""

import math

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.exercises import near
from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.network import Maps

RATE, SIDE = 1e-8, 160  # the paper's rate on the sum, and pixels a side
TAPS, STEPS = 6, 2


def rate(answer) -> str:
    """The learning rate on the mean that makes the paper's step at 160 x 160 pixels."""
    right = RATE * SIDE * SIDE
    likely = {
        "That is the rate for 320 x 320 pixels.": 4 * right,
        "The other way round: a mean over fewer pixels is that sum divided by less.": 16 * right,
        "Half as many pixels a side are a quarter of the pixels.": 2 * right,
        "The sum is over all pixels, 160 x 160 of them.": RATE * SIDE,
        "The mean is smaller than the sum, so that its rate must be larger: multiply.": RATE / SIDE**2,
        "That is the paper's rate beside the sum.": RATE,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.02 * wrong):
            return sentence
    return near(answer, right, 0.02 * right)


def start(answer) -> str:
    """The loss of a network of two steps whose maps all say 0.5."""
    logits = torch.zeros(1, 1, 4, 4)
    mask = (torch.arange(16).reshape(1, 1, 4, 4) < 11).float()
    sides = [torch.zeros_like(logits) for _ in range(TAPS * STEPS)]
    right = float(deep_supervision(Maps(logits, sides), mask))
    maps, one = TAPS * STEPS + 1, math.log(2)
    likely = {
        "That is the number of maps: each costs ln 2, with the natural logarithm.": maps,
        "The final map is held against the mask, too.": (maps - 1) * one,
        "That is a network of three steps: this one has two.": (maps + TAPS) * one,
        "That is one map: Eq. 10 is a sum over all of them.": one,
        "That is what the six maps of one step and the final one cost.": (TAPS + 1) * one,
        "The cross-entropy of 0.5 is -ln 0.5, not 0.5.": maps / 2,
        "Take the natural logarithm.": maps * math.log10(2),
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.006):
            return sentence
    return near(answer, right, 0.006)


def cross_entropy(answer) -> str:
    """Eq. 9 as the mean over the pixels, for any logits."""
    rng = np.random.default_rng(3)
    logits, mask = rng.normal(0, 3, (6, 9)), (rng.random((6, 9)) < 0.7).astype(float)
    with np.errstate(all="ignore"):  # a plain formula overflows; its result says so
        found = answer(logits.copy(), mask.copy())
        if np.ndim(found):
            return f"One number is wanted, the mean over the pixels: yours has the shape {np.shape(found)}."
        if sentence := _blamed(float(found), logits, mask):
            return sentence
        grey = np.clip(mask + rng.uniform(-0.4, 0.4, mask.shape), 0, 1)
        if near(answer(logits.copy(), grey.copy()), _right(logits, grey), 1e-6):
            return "A resized mask has greys: both terms count, by the mask's value and by 1 less it."
        for logit, blurred in ((1000.0, 1.0), (1000.0, 0.0), (-1000.0, 1.0)):
            pixels = np.full((2, 3), logit), np.full((2, 3), blurred)
            found, right = answer(*pixels), _right(*pixels)
            if near(found, right, 1e-6):
                pixel = f"A logit of {logit:g} where the mask is {blurred:g}"
                return f"{pixel} costs {right:g}, not {found:g}: compute no probability on the way."
    return ""


def _right(logits: np.ndarray, mask: np.ndarray) -> float:
    """The library's loss."""
    return float(side_loss(*(torch.as_tensor(each)[None, None] for each in (logits, mask))))


def _blamed(found: float, logits: np.ndarray, mask: np.ndarray) -> str:
    """What is wrong with the loss of small logits and a black and white mask."""
    right, p = _right(logits, mask), expit(logits)
    likely = {
        "": right,
        "That is the sum over the pixels: we take the mean.": right * logits.size,
        "The sign is wrong: logarithms of probabilities are below 0.": -right,
        "The pixels in focus are missing: a wrong 'blurred' costs as much as a wrong 'in focus'.": (
            -(mask * np.log(p)).mean()
        ),
        "The blurred pixels are missing.": -((1 - mask) * np.log(1 - p)).mean(),
        "Mask and map are inverted: 1 = blurred, and positive logits say so.": _right(logits, 1 - mask),
        "Take the natural logarithm.": right / math.log(2),
        "That is the absolute error of the probabilities: take the cross-entropy.": np.abs(p - mask).mean(),
    }
    named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-6]
    if not named and not math.isfinite(found):
        return "Your loss is no number: logits are no probabilities, pass them through the sigmoid first."
    return [*named, near(found, right, 1e-6)][0]


CHECKS = [rate, start, cross_entropy]
