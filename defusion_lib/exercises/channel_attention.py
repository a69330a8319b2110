"""Check the exercises of notebook 09: a CAM's weights and parameters, the photo's share of the variance, noGMP."""

import numpy as np
import torch
from scipy.special import expit

from defusion_lib.exercises import diagnose, near
from defusion_lib.experiments.attention import standard_deviations
from defusion_lib.network import CAM, CHANNELS, DeFusionNet

ALL = 6 * CHANNELS  # channels of the one group of a network without FFRM


def weights(answer) -> str:
    """Check the channel weights of Eq. 4-6."""
    rng = np.random.default_rng(13)  # with it, the mean and the maximum differ in sign in one unit of the bottleneck
    features = np.maximum(rng.normal(rng.uniform(-2, 1, (64, 1, 1)), 1, (64, 5, 7)), 0)
    down, up = rng.normal(0, 0.3, (4, 64)), rng.normal(0, 0.5, (64, 4))
    found = np.asarray(answer(features.copy(), down.copy(), up.copy()), float)
    if found.shape != (64,):
        return f"Found weights of shape {found.shape}, expected 64, one per channel."
    mean, highest = down @ features.mean((1, 2)), down @ features.max((1, 2))
    gap, gmp = np.maximum(mean, 0), np.maximum(highest, 0)
    likely = {
        "": _of_the_network(features, down, up),
        "That is noGMP: the maximum of each map is missing.": expit(up @ gap),
        "That is noGAP: the mean of each map is missing.": expit(up @ gmp),
        "ReLU is applied to each term, before they are added.": expit(up @ np.maximum(mean + highest, 0)),
        "The ReLU between the two matrices is missing.": expit(up @ (mean + highest)),
        "The sigmoid is missing.": up @ (gap + gmp),
        "Add before the sigmoid, not after it.": expit(up @ gap) + expit(up @ gmp),
        "The two terms are added, not averaged.": expit(up @ (gap + gmp) / 2),
    }
    for sentence, wrong in likely.items():
        if np.allclose(found, wrong, rtol=0, atol=1e-6):
            return sentence
    if found.min() < 0 or found.max() > 1:
        return f"Weights lie between 0 and 1; yours are between {found.min():.2f} and {found.max():.2f}."
    return "The network's CAM computes other weights with the same matrices."


def _of_the_network(features: np.ndarray, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Compute the weights with the library's CAM, in double precision."""
    cam = CAM(len(features)).double()
    with torch.no_grad():
        cam.down.weight.copy_(torch.as_tensor(down))
        cam.up.weight.copy_(torch.as_tensor(up))
        return cam.weights(torch.as_tensor(features)[None])[0].numpy()


def parameters(answer) -> str:
    """Check the number of parameters of the CAM in a network without FFRM."""
    cam = CAM(ALL)
    right = sum(matrix.numel() for matrix in cam.parameters())
    if answer == right + cam.down.out_features + cam.up.out_features:
        return "The two matrices have no biases."
    if answer == right // 4:
        return "That is the CAM of one group: with twice the channels, both dimensions of a matrix double."
    if answer == right // 2:
        return "There are two matrices, and the bottleneck is a sixteenth of all 192 channels."
    if answer == 2 * right:
        return "The mean and the maximum share the two matrices."
    return near(answer, right, 0)


def share(answer) -> str:
    """Check the share of the weights' variance that is within channels, between photos."""
    rng = np.random.default_rng(10)
    given = rng.uniform(0.3, 0.7, 40) + rng.normal(0, 0.05, (12, 40)) + rng.normal(0, 0.02, (12, 1))
    found = answer(given.copy())
    within, between = standard_deviations(given[:, None])
    right = within**2 / (within**2 + between**2)
    likely = {
        "": right,
        "That is the share of the channels: the photos have the rest.": 1 - right,
        "Those are standard deviations: variances add up.": within / (within + between),
        "That is one variance over the other: for a share, divide by their sum.": within**2 / between**2,
        "Your variances divide by n - 1: use np.var without ddof.": (
            given.var(0, ddof=1).mean() / (given.var(0, ddof=1).mean() + given.mean(0).var(ddof=1))
        ),
        "Average each channel over the photos, not each photo over its channels.": (given.mean(1).var() / given.var()),
    }
    return diagnose(found, right, 1e-6, likely)


def without_maximum(answer) -> str:
    """Check a network whose channel attention uses the mean only."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    given = _network_with_distinct_weights()
    with torch.inference_mode():
        before = given(image).final
        found = answer(given)
        if not isinstance(found, torch.nn.Module):
            return f"Found {found!r:.40}, expected a network."
        if not torch.equal(given(image).final, before):
            return "Your function changed the given network: work on a copy of it."
        made = found(image).final
        for sentence, cam in {
            "": "gap",
            "That is the map of the original network: its CAMs still use the maximum.": "gap+gmp",
            "That is noGAP: remove the maximum, not the mean.": "gmp",
            "That is noCAM: keep the weights from the mean.": "off",
        }.items():
            if torch.allclose(made, _with_cam(given, cam)(image).final, rtol=1e-4, atol=1e-6):
                return sentence
    return "That is not noGMP's map: change the CAMs of both groups in all steps, and keep their matrices."


def _network_with_distinct_weights() -> DeFusionNet:
    """Make a network whose CAM weights differ between channels: initial CAMs give all channels about 0.5."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(9)
        network = DeFusionNet("compact", steps=2)
        for module in network.modules():
            if isinstance(module, CAM):
                torch.nn.init.normal_(module.down.weight, std=2)
                torch.nn.init.normal_(module.up.weight, std=1)
    return network.eval()


def _with_cam(network: DeFusionNet, cam: str) -> DeFusionNet:
    """Return a network with the same parameters and another `cam` switch."""
    with torch.random.fork_rng(devices=()):
        other = DeFusionNet(**network.config | {"cam": cam})
    other.load_state_dict(network.state_dict(), strict=cam != "off")
    return other.eval()


CHECKS = [weights, parameters, share, without_maximum]
