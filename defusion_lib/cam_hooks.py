"""Find the channel attention modules (CAM, Section 3.2) of a network, and replace their weights.

A CAM has a place, (step, group): the steps count from 1, the group is "shallow" (fused to FSHF), "deep"
(FSEF), or "all" in a network without FFRM. Its C channels lie tap by tap, 32 of each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from defusion_lib.backbone import TAPS
from defusion_lib.network import CAM, SHALLOW, DeFusionNet, Fuse

Place = tuple[int, str]
Change = Callable[[Place, torch.Tensor], torch.Tensor]  # place and weights (N, C) -> other weights (N, C)
GROUPS = {"fshf": "shallow", "fsef": "deep", "fused": "all"}
GROUP_TAPS = {"shallow": TAPS[:SHALLOW], "deep": TAPS[SHALLOW:], "all": TAPS}


def fusions(network: DeFusionNet) -> dict[Place, Fuse]:
    """The modules of a network that hold a CAM, by their places; ValueError where it has none."""
    if network.switches["cam"] == "off":
        raise ValueError('The network has no CAM (cam="off"): choose one that was trained with one.')
    return {
        (j, group): getattr(step, name)
        for j, step in enumerate(network.steps, start=1)
        for name, group in GROUPS.items()
        if hasattr(step, name)
    }


@contextmanager
def intervene(network: DeFusionNet, change: Change) -> Iterator[None]:
    """Within this block every CAM uses `change(place, weights)` instead of its weights (N, C) of Eq. 6.

    Afterwards, also after an error, the network is as it was. ValueError for a network without CAM, and
    inside of another such block.
    """
    places = fusions(network)
    if any("weights" in vars(fusion.cam) for fusion in places.values()):
        raise ValueError("The weights are being changed already: make one function of both changes.")

    def changed(place, cam, x):
        return change(place, CAM.weights(cam, x))

    try:
        for place, fusion in places.items():
            fusion.cam.weights = partial(changed, place, fusion.cam)
        yield
    finally:
        for fusion in places.values():
            vars(fusion.cam).pop("weights", None)


def switched_off(channels: Mapping[Place, Sequence[int]]) -> Change:
    """The change that sets the weights of these channels to zero."""

    def change(place, weights):
        weights = weights.clone()
        weights[:, list(channels.get(place, []))] = 0
        return weights

    return change


def replaced(by: Mapping[Place, np.ndarray]) -> Change:
    """The change that gives every photograph the same weights: for each place an array (C,) or a number."""

    def change(place, weights):
        return torch.as_tensor(by[place], dtype=weights.dtype, device=weights.device).expand_as(weights)

    return change


