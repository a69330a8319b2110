"""Exercises of notebook 02: what a tap sees, what a refining convolution learns, and the final map."""

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.backbone import BLOCKS
from defusion_lib.exercises import near
from defusion_lib.network import CHANNELS, FUSED, Step


def field(answer) -> str:
    """The receptive field of conv2_2 in pixels a side."""
    likely = {
        "That is conv1_2: a pooling and two convolutions come after it.": _field(1),
        "After the pooling two neighbours are two pixels of the photograph apart: each 3x3 adds four.": (
            1 + 4 * 2 + 1
        ),
        "The pooling matters twice: it looks at two neighbours, and doubles the steps after it.": 1 + 4 * 2,
        "The pooling looks at two neighbours itself, and so adds one pixel.": _field(2) - 1,
        "One pooling more: conv2_2 is tapped before the second one.": _field(2) + 2,
        "That is the area: one side is asked for.": _field(2) ** 2,
    }
    for sentence, wrong in likely.items():
        if answer == wrong:
            return sentence
    return near(answer, _field(2), 0, " pixels")


def _field(blocks: int) -> int:
    """The receptive field, in pixels a side, of the last convolution of VGG-16's first blocks."""
    side, step = 1, 1
    for number, block in enumerate(BLOCKS[:blocks]):
        if number:
            side, step = side + step, 2 * step  # the 2x2 pooling between blocks
        side += 2 * step * len(block)
    return side


def refine(answer) -> str:
    """How many numbers a refining convolution of Eq. 3 has to learn."""
    with torch.device("meta"):
        convolution = Step("gap+gmp", True, True).refine[0]
    right, kernel = sum(each.numel() for each in convolution.parameters()), 3 * 3
    likely = {
        "It has a bias for each channel that it makes.": right - CHANNELS,
        "It sees the helper's 16 channels beside the layer's own 32.": (CHANNELS * kernel + 1) * CHANNELS,
        "It sees the layer's own 32 channels beside the helper's 16.": (FUSED * kernel + 1) * CHANNELS,
        "Its kernel has 3 x 3 places, and a number for each.": (CHANNELS + FUSED + 1) * CHANNELS,
        "Each of the 32 channels that it makes has a kernel of its own.": (CHANNELS + FUSED) * kernel + 1,
        "It makes 32 channels: a refined layer has what the layer had.": (
            ((CHANNELS + FUSED) * kernel + 1) * (CHANNELS + FUSED)
        ),
        "So many have the six of one step: one is asked for.": 6 * right,
    }
    for sentence, wrong in likely.items():
        if answer == wrong:
            return sentence
    return near(answer, right, 0, " numbers")


def fuse(answer) -> str:
    """The final map of six side outputs."""
    rng = np.random.default_rng(2)
    sides, weights, bias = rng.normal(0, 3, (6, 5, 7)), rng.uniform(0.05, 0.3, 6), -0.4
    found = answer(sides.copy(), weights.copy(), bias)
    found = np.asarray(found, float)
    if found.shape != (5, 7):
        return f"Six side outputs of (5, 7) make one map of (5, 7): yours has the shape {found.shape}."
    fused = np.tensordot(weights, sides, 1)
    likely = {
        "": expit(_of_a_convolution(sides, weights, bias)),
        "The bias is missing.": expit(fused),
        "The sigmoid is missing: those are logits.": fused + bias,
        "You blended probabilities: blend the logits, then take one sigmoid.": (
            np.tensordot(weights, expit(sides), 1) + bias
        ),
        "The side outputs are logits, and are blended as they are: one sigmoid, at the end.": (
            expit(np.tensordot(weights, expit(sides), 1) + bias)
        ),
        "With Eq. 8's ReLU no pixel gets below one half, so none is in focus: leave it out.": (
            expit(np.maximum(fused + bias, 0))
        ),
        "Each side output has a weight of its own: yours is their mean.": expit(sides.mean(0) + bias),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=0, atol=1e-6):
            return sentence
    if found.min() < 0 or found.max() > 1:
        return f"A map lies between 0 and 1, yours between {found.min():.2f} and {found.max():.2f}."
    return "This is another map than a 1x1 convolution and a sigmoid make."


def _of_a_convolution(sides: np.ndarray, weights: np.ndarray, bias: float) -> np.ndarray:
    """What the network's kind of 1x1 convolution makes of them, in double precision."""
    weight = torch.as_tensor(weights).reshape(1, 6, 1, 1)
    bias = torch.tensor([bias], dtype=torch.float64)
    return torch.nn.functional.conv2d(torch.as_tensor(sides)[None], weight, bias)[0, 0].numpy()


CHECKS = [field, refine, fuse]
