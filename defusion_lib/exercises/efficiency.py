"""Check the exercises of notebook 10: the count of a convolution, a padded photo, and a correct timing."""

import numpy as np
import torch
from torch import nn

from defusion_lib.exercises import near
from defusion_lib.experiments.efficiency import layer_costs, meta_network, total_cost

SIDE, PADDED = 321, 352  # of the photo, and of the network's input: eleven times 32
SECONDS = (9.0, 1.0, 1.5, 7.0, 1.1, 1.3)  # of each call: the first is slow, and another one is disturbed


def convolution(answer) -> str:
    """Check the multiply-accumulates of a k x k convolution."""
    for kernel, given, made, height, width in ((3, 32, 64, 20, 30), (1, 192, 16, 7, 9), (5, 6, 6, 12, 12)):
        found = answer(kernel, given, made, height, width)
        with torch.device("meta"):
            layer = nn.Conv2d(given, made, kernel, padding=kernel // 2)
            network = nn.Sequential(nn.Conv2d(3, given, 1), layer)
        right = layer_costs(network, width, height)["1"].macs
        likely = {
            "That is the number of weights: each weight is used at every position.": layer.weight.numel(),
            "Each output value depends on all input channels.": right / given,
            "Multiply by the number of output channels.": right / made,
            "The kernel has k x k weights per pair of channels.": right / kernel,
            "A multiplication and its addition count as one MAC, not two.": 2 * right,
            "Do not count biases.": right + made * height * width,
        }
        if found != right:
            named = [sentence for sentence, wrong in likely.items() if found == wrong]
            shown = f"{kernel} x {kernel}, {given} to {made} channels, {height} x {width} positions"
            return [*named, f"{shown}: {right:,} MACs, not {found:,}."][0]
    return ""


def padded(answer) -> str:
    """Check the GMAC of the reference for a photo whose sides are not a multiple of 32."""
    right = total_cost(meta_network(), SIDE, SIDE).gmac
    of_a_pixel = right / PADDED**2
    if not near(answer, of_a_pixel * 320**2, 0.1):
        return "That is the count for 320 x 320: one pixel more makes the padded input larger by 32 pixels."
    if not near(answer, of_a_pixel * SIDE**2, 0.2):
        return "That is the count without padding: the network first pads both sides to the next multiple of 32."
    if not near(answer, of_a_pixel * PADDED * 320, 0.2):
        return "Both sides are padded: the number of pixels grows with the square of the side."
    return near(answer, right, 0.3, " GMAC")


def timing(answer) -> str:
    """Check the median time of the later calls."""
    now, calls = [100.0], []

    def work():
        now[0] += SECONDS[len(calls)] if len(calls) < len(SECONDS) else 1.2
        calls.append(now[0])

    found = answer(work, 5, lambda: now[0])
    later = SECONDS[1:]
    likely = {
        "The first call only warms up: leave it out.": (
            np.median(SECONDS),
            np.median(SECONDS[:5]),
        ),
        "That is a mean, which one disturbed call changes: take the median.": (
            np.mean(later),
            np.mean(SECONDS),
            np.mean(SECONDS[:5]),
        ),
        "That is the fastest call: take the median.": (min(SECONDS),),
    }
    if found < 0.5:
        return f"{found:g} s is not a time of these calls: read the clock that your function gets as its argument."
    for sentence, wrongs in likely.items():
        if any(abs(found - wrong) <= 1e-9 for wrong in wrongs):
            return sentence
    if len(calls) != 6:
        return f"With 5 repeats, call the work 6 times, once to warm up: your function called it {len(calls)} times."
    return near(found, float(np.median(later)), 1e-9, " s")


CHECKS = [convolution, padded, timing]
