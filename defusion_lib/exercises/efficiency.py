"""Exercises of notebook 10: the count of a convolution, a padded photograph, and a fair time."""

import numpy as np
import torch
from torch import nn

from defusion_lib import network
from defusion_lib.exercises import near
from defusion_lib.experiments.efficiency import layer_costs, total_cost

SIDE, PADDED = 321, 352  # of the photograph, and of what the network sees: eleven times 32
SECONDS = (9.0, 1.0, 1.5, 7.0, 1.1, 1.3)  # of the calls, the first one slow and one disturbed


def convolution(answer) -> str:
    """The multiply-accumulates of a k x k convolution."""
    for kernel, given, made, height, width in ((3, 32, 64, 20, 30), (1, 192, 16, 7, 9), (5, 6, 6, 12, 12)):
        found = answer(kernel, given, made, height, width)
        with torch.device("meta"):
            layer = nn.Conv2d(given, made, kernel, padding=kernel // 2)
            network = nn.Sequential(nn.Conv2d(3, given, 1), layer)
        right = layer_costs(network, width, height)["1"].macs
        likely = {
            "Those are the weights: each of them is used at every position.": layer.weight.numel(),
            "Each number that is made sees all channels that come in.": right / given,
            "Every channel that comes out takes as many again.": right / made,
            "The kernel has k x k places.": right / kernel,
            "A multiplication with its addition is one MAC, not two.": 2 * right,
            "Biases are not counted.": right + made * height * width,
        }
        if found != right:
            named = [sentence for sentence, wrong in likely.items() if found == wrong]
            shown = f"{kernel} x {kernel}, {given} to {made} channels, {height} x {width} positions"
            return [*named, f"{shown}: {right:,} MACs, not {found:,}."][0]
    return ""


def padded(answer) -> str:
    """The GMAC of the reference for a photograph whose sides are no multiple of 32."""
    with torch.device("meta"):
        right = total_cost(network.DeFusionNet(), SIDE, SIDE).macs / 1e9
    of_a_pixel = right / PADDED**2
    if not near(answer, of_a_pixel * 320**2, 0.1):
        return "That is what 320 x 320 takes: one pixel more makes the network see more than one."
    if not near(answer, of_a_pixel * SIDE**2, 0.2):
        return "So it would be without padding: the sides grow to the next multiple of 32 first."
    if not near(answer, of_a_pixel * PADDED * 320, 0.2):
        return "Both sides are padded: the pixels grow with the square."
    return near(answer, right, 0.3, " GMAC")


def timing(answer) -> str:
    """The median time of the later calls."""
    now, calls = [100.0], []

    def work():
        now[0] += SECONDS[len(calls)] if len(calls) < len(SECONDS) else 1.2
        calls.append(now[0])

    found = answer(work, 5, lambda: now[0])
    later = SECONDS[1:]
    likely = {
        "The first call is there to warm up: it does not count.": (
            np.median(SECONDS),
            np.median(SECONDS[:5]),
        ),
        "That is a mean, which one disturbed call moves: take the median.": (
            np.mean(later),
            np.mean(SECONDS),
            np.mean(SECONDS[:5]),
        ),
        "That is the luckiest call: take the median.": (min(SECONDS),),
    }
    if found < 0.5:
        return f"{found:g} s is no time of these calls: read the clock that your function is given."
    for sentence, wrongs in likely.items():
        if any(abs(found - wrong) <= 1e-9 for wrong in wrongs):
            return sentence
    if len(calls) != 6:
        return f"With 5 repeats the work is called 6 times, once to warm up: yours called it {len(calls)}."
    return near(found, float(np.median(later)), 1e-9, " s")


CHECKS = [convolution, padded, timing]
