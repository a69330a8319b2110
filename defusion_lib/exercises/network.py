"""Check the exercises of notebook 02: a receptive field, the weights of a refining convolution, and the final map."""

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.backbone import BLOCKS
from defusion_lib.exercises import diagnose
from defusion_lib.network import CHANNELS, FUSED, FFRMStep


def field(answer) -> str:
    """Check the receptive field of conv2_2, in pixels per side."""
    likely = {
        "That is conv1_2: a pooling and two convolutions come after it.": _field(1),
        "After the pooling, neighbours are two pixels of the photo apart: each 3x3 adds four.": (1 + 4 * 2 + 1),
        "The pooling has two effects: it covers two neighbours, and it doubles the steps after it.": 1 + 4 * 2,
        "The pooling itself covers two neighbours, and so adds one pixel.": _field(2) - 1,
        "That includes one pooling more: conv2_2 lies before the second pooling.": _field(2) + 2,
        "That is the area: the question is about one side.": _field(2) ** 2,
    }
    return diagnose(answer, _field(2), 0, likely, " pixels")


def _field(blocks: int) -> int:
    """Compute the receptive field, in pixels per side, of the last convolution of VGG-16's first blocks."""
    side, step = 1, 1
    for number, block in enumerate(BLOCKS[:blocks]):
        if number:
            side, step = side + step, 2 * step  # the 2x2 pooling between blocks
        side += 2 * step * len(block)
    return side


def refine(answer) -> str:
    """Check the number of weights of a refining convolution of Eq. 3."""
    with torch.device("meta"):
        convolution = FFRMStep("gap+gmp", True, True).refine[0]
    right, kernel = sum(each.numel() for each in convolution.parameters()), 3 * 3
    likely = {
        "It also has a bias for each output channel.": right - CHANNELS,
        "Its input also has the 16 channels of the fused features.": (CHANNELS * kernel + 1) * CHANNELS,
        "Its input also has the layer's 32 channels.": (FUSED * kernel + 1) * CHANNELS,
        "Its kernel has 3 x 3 positions with one weight each.": (CHANNELS + FUSED + 1) * CHANNELS,
        "Each of the 32 output channels has its own kernel.": (CHANNELS + FUSED) * kernel + 1,
        "Its output has 32 channels, as many as the layer.": (((CHANNELS + FUSED) * kernel + 1) * (CHANNELS + FUSED)),
        "That is the number for the six convolutions of one step: the question is about one.": 6 * right,
    }
    return diagnose(answer, right, 0, likely, " weights")


def fuse(answer) -> str:
    """Check a function that fuses six side outputs to the final map."""
    rng = np.random.default_rng(2)
    sides, weights, bias = rng.normal(0, 3, (6, 5, 7)), rng.uniform(0.05, 0.3, 6), -0.4
    found = answer(sides.copy(), weights.copy(), bias)
    found = np.asarray(found, float)
    if found.shape != (5, 7):
        return f"Six side outputs of (5, 7) give one map of (5, 7): yours has the shape {found.shape}."
    fused = np.tensordot(weights, sides, 1)
    likely = {
        "": expit(_of_a_convolution(sides, weights, bias)),
        "The bias is missing.": expit(fused),
        "The sigmoid is missing: those are logits.": fused + bias,
        "You fused probabilities: fuse the logits, then apply one sigmoid.": (
            np.tensordot(weights, expit(sides), 1) + bias
        ),
        "The side outputs are logits and are fused unchanged: apply one sigmoid, at the end.": (
            expit(np.tensordot(weights, expit(sides), 1) + bias)
        ),
        "With Eq. 8's ReLU no pixel is below 0.5, so none is in focus: omit it.": (expit(np.maximum(fused + bias, 0))),
        "Each side output has its own weight: yours is their mean.": expit(sides.mean(0) + bias),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=0, atol=1e-6):
            return sentence
    if found.min() < 0 or found.max() > 1:
        return f"A map has values from 0 to 1, yours from {found.min():.2f} to {found.max():.2f}."
    return "Your map is not that of a 1x1 convolution and a sigmoid."


def _of_a_convolution(sides: np.ndarray, weights: np.ndarray, bias: float) -> np.ndarray:
    """Apply a 1x1 convolution to the side outputs in double precision, as the network does."""
    weight = torch.as_tensor(weights).reshape(1, 6, 1, 1)
    bias = torch.tensor([bias], dtype=torch.float64)
    return torch.nn.functional.conv2d(torch.as_tensor(sides)[None], weight, bias)[0, 0].numpy()


CHECKS = [field, refine, fuse]
