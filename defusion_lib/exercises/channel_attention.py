"""Exercises of notebook 09: a CAM's weights, how many numbers it learns, what the photograph decides, and noGMP."""

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.exercises import near
from defusion_lib.experiments.attention import spreads
from defusion_lib.network import CAM, CHANNELS, DeFusionNet

ALL = 6 * CHANNELS  # channels of the one group of a network without FFRM


def weights(answer) -> str:
    """The channel weights of Eq. 4-6."""
    rng = np.random.default_rng(13)  # in one unit of the bottleneck, mean and maximum differ in sign
    features = np.maximum(rng.normal(rng.uniform(-2, 1, (64, 1, 1)), 1, (64, 5, 7)), 0)
    down, up = rng.normal(0, 0.3, (4, 64)), rng.normal(0, 0.5, (64, 4))
    found = np.asarray(answer(features.copy(), down.copy(), up.copy()), float)
    if found.shape != (64,):
        return f"64 channels must get 64 weights: yours have the shape {found.shape}."
    mean, highest = down @ features.mean((1, 2)), down @ features.max((1, 2))
    gap, gmp = np.maximum(mean, 0), np.maximum(highest, 0)
    likely = {
        "": _of_the_network(features, down, up),
        "That is noGMP: the maximum of each map is missing.": expit(up @ gap),
        "That is noGAP: the mean of each map is missing.": expit(up @ gmp),
        "ReLU acts on each term, before they are added.": expit(up @ np.maximum(mean + highest, 0)),
        "The ReLU between the two matrices is missing.": expit(up @ (mean + highest)),
        "The sigmoid is missing.": up @ (gap + gmp),
        "Add before the sigmoid, not after it.": expit(up @ gap) + expit(up @ gmp),
        "The two terms are added, not averaged.": expit(up @ (gap + gmp) / 2),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=0, atol=1e-6):
            return sentence
    if found.min() < 0 or found.max() > 1:
        return f"Weights lie between 0 and 1, yours between {found.min():.2f} and {found.max():.2f}."
    return "These are other weights than the network's own CAM gives for the same matrices."


def _of_the_network(features: np.ndarray, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    """What the library's CAM makes of it, in double precision."""
    cam = CAM(len(features)).double()
    with torch.no_grad():
        cam.down.weight.copy_(torch.as_tensor(down))
        cam.up.weight.copy_(torch.as_tensor(up))
        return cam.weights(torch.as_tensor(features)[None])[0].numpy()


def learnt(answer) -> str:
    """How many numbers the CAM of a network without FFRM has to learn."""
    cam = CAM(ALL)
    right = sum(parameter.numel() for parameter in cam.parameters())
    if answer == right + cam.down.out_features + cam.up.out_features:
        return "The two matrices have no biases."
    if answer == right // 4:
        return "That is the CAM of one group: with twice the channels both sides of a matrix double."
    if answer == right // 2:
        return "There are two matrices, and the bottleneck is a sixteenth of all 192 channels."
    if answer == 2 * right:
        return "The mean and the maximum share the two matrices."
    return near(answer, right, 0)


def share(answer) -> str:
    """How much of the variance of the weights is that of one channel between photographs."""
    rng = np.random.default_rng(10)
    given = rng.uniform(0.3, 0.7, 40) + rng.normal(0, 0.05, (12, 40)) + rng.normal(0, 0.02, (12, 1))
    found = answer(given.copy())
    within, between = spreads(given[:, None])
    right = within**2 / (within**2 + between**2)
    likely = {
        "": right,
        "That is the share of the channels: the photographs have the rest.": 1 - right,
        "Those are standard deviations: variances add up.": within / (within + between),
        "That is one variance over the other: a share has their sum below.": within**2 / between**2,
        "Your variances divide by n - 1: take those of np.var.": (
            given.var(0, ddof=1).mean() / (given.var(0, ddof=1).mean() + given.mean(0).var(ddof=1))
        ),
        "Average each channel over the photographs, not each photograph over its channels.": (
            given.mean(1).var() / given.var()
        ),
    }
    for sentence, wrong in likely.items():
        if abs(found - wrong) <= 1e-6:
            return sentence
    return near(found, right, 1e-6)


def without_maximum(answer) -> str:
    """A network whose channel attention sees the mean only."""
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    given = _decided()
    with torch.inference_mode():
        before = given(photo).final
        found = answer(given)
        if not isinstance(found, torch.nn.Module):
            return f"A network is wanted, not {found!r:.40}."
        if not torch.equal(given(photo).final, before):
            return "The network that was given has changed: work on a copy of it."
        made = found(photo).final
        for sentence, cam in {
            "": "gap",
            "That is the map of the network as it was: its CAMs still see the maximum.": "gap+gmp",
            "That is noGAP: the maximum is what has to go.": "gmp",
            "That is noCAM: the weights from the mean stay.": "off",
        }.items():
            if torch.allclose(made, _with(given, cam)(photo).final, rtol=1e-4, atol=1e-6):
                return sentence
    return "That is not noGMP's map: change the CAMs of both groups in all steps, and leave their matrices as they are."


def _decided() -> DeFusionNet:
    """A network with attention that decides something: fresh CAMs give all channels one half."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(9)
        network = DeFusionNet("compact", steps=2)
        for module in network.modules():
            if isinstance(module, CAM):
                torch.nn.init.normal_(module.down.weight, std=2)
                torch.nn.init.normal_(module.up.weight, std=1)
    return network.eval()


def _with(network: DeFusionNet, cam: str) -> DeFusionNet:
    """The same weights in the library's network with that switch."""
    with torch.random.fork_rng(devices=()):
        other = DeFusionNet(**network.switches | {"cam": cam})
    other.load_state_dict(network.state_dict(), strict=cam != "off")
    return other.eval()


CHECKS = [weights, learnt, share, without_maximum]
