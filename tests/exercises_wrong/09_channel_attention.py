"""Wrong answers to the exercises of notebook 09, and words that the answer of the check must contain."""

from copy import deepcopy
from functools import partial

import numpy as np
import torch
from scipy.special import expit


def terms(features, down):
    """Compute the two sums in the bottleneck, before the ReLU."""
    return down @ features.mean((1, 2)), down @ features.max((1, 2))


def relu(x):
    return np.maximum(x, 0)


def share(weights):
    """Return the right answer, to be changed."""
    within, between = weights.var(0).mean(), weights.mean(0).var()
    return within / (within + between)


def of_deviations(weights):
    within, between = np.sqrt(weights.var(0).mean()), weights.mean(0).std()
    return within / (within + between)


def with_n_minus_1(weights):
    within, between = weights.var(0, ddof=1).mean(), weights.mean(0).var(ddof=1)
    return within / (within + between)


def changed(network, attention, steps=None):
    """Copy a network and replace `forward` of the CAMs in the first `steps` steps."""
    network = deepcopy(network)
    for step in network.steps[:steps]:
        for fuse in (step.fshf, step.fsef):
            fuse.cam.forward = partial(attention, fuse.cam)
    return network


def by(squeeze):
    """Return a CAM's `forward` with weights from one descriptor."""
    return lambda cam, x: x * torch.sigmoid(cam.up(cam.down(squeeze(x)).relu()))[..., None, None]


def mean(x):
    return x.mean(dim=(2, 3))


def in_place(network):
    for step in network.steps:
        step.fshf.cam.pooling = step.fsef.cam.pooling = "gap"
    return network


def other_matrices(network):
    """Return the right CAMs with other matrices."""
    network = changed(network, by(mean))
    for step in network.steps:
        torch.nn.init.zeros_(step.fshf.cam.up.weight)
    return network


WRONG = [
    (1, lambda x, down, up: None, "returns None"),
    (1, lambda x, down, up: down @ x.mean((1, 2)), "expected 64, one per channel"),
    (1, lambda x, down, up: expit(up @ relu(terms(x, down)[0])), "That is noGMP"),
    (1, lambda x, down, up: expit(up @ relu(terms(x, down)[1])), "That is noGAP"),
    (1, lambda x, down, up: expit(up @ relu(sum(terms(x, down)))), "before they are added"),
    (1, lambda x, down, up: expit(up @ sum(terms(x, down))), "ReLU between the two matrices is missing"),
    (1, lambda x, down, up: up @ sum(map(relu, terms(x, down))), "sigmoid is missing"),
    (1, lambda x, down, up: sum(expit(up @ relu(term)) for term in terms(x, down)), "Add before the sigmoid"),
    (1, lambda x, down, up: expit(up @ sum(map(relu, terms(x, down))) / 2), "not averaged"),
    (1, lambda x, down, up: 2 * up @ relu(terms(x, down)[0]), "between 0 and 1"),
    (1, lambda x, down, up: np.full(64, 0.5), "other weights"),
    (1, lambda x, down, up: expit(down @ x.mean((1, 2))) @ up, "Your answer stopped with ValueError"),
    (2, 1152, "the CAM of one group"),
    (2, 2304, "a sixteenth of all 192 channels"),
    (2, 4608 + 12 + 192, "no biases"),
    (2, 9216, "share the two matrices"),
    (2, 4607, "too small"),
    (3, lambda weights: None, "returns None"),
    (3, lambda weights: 1 - share(weights), "share of the channels"),
    (3, of_deviations, "variances add up"),
    (3, lambda weights: share(weights) / (1 - share(weights)), "divide by their sum"),
    (3, with_n_minus_1, "np.var"),
    (3, lambda weights: weights.mean(1).var() / weights.var(), "not each photo over its channels"),
    (3, lambda weights: 0.9, "too large"),
    (4, lambda network: None, "returns None"),
    (4, lambda network: "noGMP", "expected a network"),
    (4, deepcopy, "still use the maximum"),
    (4, in_place, "work on a copy"),
    (4, lambda network: changed(network, by(lambda x: x.amax(dim=(2, 3)))), "That is noGAP"),
    (4, lambda network: changed(network, lambda cam, x: x), "That is noCAM"),
    (4, lambda network: changed(network, by(mean), steps=1), "in all steps"),
    (4, other_matrices, "keep their matrices"),
]
