"""Find the channel attention modules (CAM, Section 3.2) of a network and replace their weights.

The key of a CAM is (step, group). Steps count from 1; the group is "shallow" (fused to FSHF), "deep" (fused to FSEF),
or "all" in a network without FFRM. The C channels of a group are ordered by tap, 32 per tap.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from defusion_lib.backbone import TAPS
from defusion_lib.network import CAM, SHALLOW, DeFusionNet

CamKey = tuple[int, str]
Change = Callable[[CamKey, torch.Tensor], torch.Tensor]  # key and weights (N, C) -> other weights (N, C)
GROUPS = {"fshf": "shallow", "fsef": "deep", "fused": "all"}
GROUP_TAPS = {"shallow": TAPS[:SHALLOW], "deep": TAPS[SHALLOW:], "all": TAPS}


def has_cam(network: DeFusionNet) -> bool:
    """Return whether a network has CAMs, which read the photo, not constant gates or nothing in their place."""
    return network.config["cam"] not in ("off", "constant")


def fusion_modules(network: DeFusionNet) -> dict[CamKey, Any]:
    """Return the `FeatureFusion` modules with a CAM, by key; raises ValueError for a network without CAM."""
    if not has_cam(network):
        raise ValueError(
            f'The network has no CAM (cam="{network.config["cam"]}"): choose a network that was trained with CAM.'
        )
    return {
        (step, group): getattr(module, name)
        for step, module in enumerate(network.steps, start=1)
        for name, group in GROUPS.items()
        if hasattr(module, name)
    }


@contextmanager
def intervene(network: DeFusionNet, change: Change) -> Iterator[None]:
    """Make every CAM use `change(key, weights)` instead of its weights (N, C) of Eq. 6 within this block.

    The network is restored afterwards, also after an error. Raises ValueError for a network without CAM, and inside
    another such block.
    """
    modules = fusion_modules(network)
    if any("weights" in vars(module.cam) for module in modules.values()):
        raise ValueError("The CAM weights are already being changed: combine both changes in one function.")

    def changed(key, cam, x):
        return change(key, CAM.weights(cam, x))

    try:
        for key, module in modules.items():
            module.cam.weights = partial(changed, key, module.cam)
        yield
    finally:
        for module in modules.values():
            vars(module.cam).pop("weights", None)


def zero_channels(channels: Mapping[CamKey, Sequence[int] | np.ndarray]) -> Change:
    """Return the change that sets the weights of these channels to zero; other CAMs and channels keep theirs."""

    def change(key, weights):
        weights = weights.clone()
        weights[:, list(channels.get(key, []))] = 0
        return weights

    return change


def constant_weights(by_key: Mapping[CamKey, np.ndarray | float]) -> Change:
    """Return the change that uses the same weights for every image: per CAM an array (C,) or one number."""

    def change(key, weights):
        return torch.as_tensor(by_key[key], dtype=weights.dtype, device=weights.device).expand_as(weights)

    return change
