"""Check the exercises of notebook 03: the learning rate, the loss at the start, and the cross-entropy itself."""

import math

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.exercises import diagnose, near
from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.network import Maps

RATE, SIDE = 1e-8, 160  # the paper's rate for the sum, and pixels per side
TAPS, STEPS = 6, 2


def rate(answer) -> str:
    """Check the learning rate for the mean that gives the paper's step at 160 x 160 pixels."""
    right = RATE * SIDE * SIDE
    likely = {
        "That is the rate for 320 x 320 pixels.": 4 * right,
        "The ratio is inverted: for fewer pixels the sum is divided by a smaller number.": 16 * right,
        "Half as many pixels per side are a quarter of the pixels.": 2 * right,
        "The sum is over all 160 x 160 pixels.": RATE * SIDE,
        "The mean is smaller than the sum, so its rate must be larger: multiply.": RATE / SIDE**2,
        "That is the paper's rate for the sum.": RATE,
    }
    for sentence, wrong in likely.items():
        if not near(answer, wrong, 0.02 * wrong):
            return sentence
    return near(answer, right, 0.02 * right)


def start(answer) -> str:
    """Check the loss of a network of two steps whose maps are all 0.5."""
    logits = torch.zeros(1, 1, 4, 4)
    mask = (torch.arange(16).reshape(1, 1, 4, 4) < 11).float()
    sides = [torch.zeros_like(logits) for _ in range(TAPS * STEPS)]
    right = float(deep_supervision(Maps(logits, sides), mask))
    maps, one = TAPS * STEPS + 1, math.log(2)
    likely = {
        "That is the number of maps: each has the loss ln 2, with the natural logarithm.": maps,
        "The final map is also compared with the mask.": (maps - 1) * one,
        "That is the loss of a network of three steps: this one has two.": (maps + TAPS) * one,
        "That is the loss of one map: Eq. 10 is a sum over all of them.": one,
        "That is the loss of the six maps of one step and the final one.": (TAPS + 1) * one,
        "The cross-entropy of 0.5 is -ln 0.5, not 0.5.": maps / 2,
        "Take the natural logarithm.": maps * math.log10(2),
    }
    return diagnose(answer, right, 0.006, likely)


def cross_entropy(answer) -> str:
    """Check a function that computes Eq. 9 as the mean over the pixels, for any logits."""
    rng = np.random.default_rng(3)
    logits, mask = rng.normal(0, 3, (6, 9)), (rng.random((6, 9)) < 0.7).astype(float)
    with np.errstate(all="ignore"):  # a direct formula overflows, which its result shows
        found = answer(logits.copy(), mask.copy())
        if np.ndim(found):
            return f"Return one number, the mean over the pixels: yours has the shape {np.shape(found)}."
        if sentence := _error(float(found), logits, mask):
            return sentence
        grey = np.clip(mask + rng.uniform(-0.4, 0.4, mask.shape), 0, 1)
        if near(answer(logits.copy(), grey.copy()), _right(logits, grey), 1e-6):
            return "A resized mask has grey values: weight the terms by the mask and by 1 minus the mask."
        for logit, blurred in ((1000.0, 1.0), (1000.0, 0.0), (-1000.0, 1.0)):
            pixels = np.full((2, 3), logit), np.full((2, 3), blurred)
            found, right = answer(*pixels), _right(*pixels)
            if near(found, right, 1e-6):
                pixel = f"A logit of {logit:g} where the mask is {blurred:g}"
                return f"{pixel} has the loss {right:g}, not {found:g}: compute it without probabilities."
    return ""


def _right(logits: np.ndarray, mask: np.ndarray) -> float:
    """Compute the library's loss."""
    return float(side_loss(*(torch.as_tensor(each)[None, None] for each in (logits, mask))))


def _error(found: float, logits: np.ndarray, mask: np.ndarray) -> str:
    """Return what is wrong with the loss of small logits and a binary mask."""
    right, p = _right(logits, mask), expit(logits)
    likely = {
        "": right,
        "That is the sum over the pixels: we take the mean.": right * logits.size,
        "The sign is wrong: logarithms of probabilities are below 0.": -right,
        "The pixels in focus are missing: both kinds of error have the same weight.": (-(mask * np.log(p)).mean()),
        "The blurred pixels are missing.": -((1 - mask) * np.log(1 - p)).mean(),
        "Mask and map are inverted: 1 = blurred, and so are positive logits.": _right(logits, 1 - mask),
        "Take the natural logarithm.": right / math.log(2),
        "That is the absolute error of the probabilities: take the cross-entropy.": np.abs(p - mask).mean(),
    }
    named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-6]
    if not named and not math.isfinite(found):
        return "Your loss is NaN or infinite: logits are not probabilities, apply the sigmoid first."
    return [*named, near(found, right, 1e-6)][0]


CHECKS = [rate, start, cross_entropy]
