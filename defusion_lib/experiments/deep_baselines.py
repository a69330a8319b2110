"""The deep methods of Table 1, all trained by the one loop on the same photographs.

Each has a file in `defusion_lib.baselines`; CVPR 2019 is DeFusionNet with two parts switched off.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from defusion_lib import inference, training
from defusion_lib.baselines.deep import dhde, dmenet
from defusion_lib.baselines.deep.btbnet import BTBNet
from defusion_lib.baselines.deep.dbm import DBM
from defusion_lib.baselines.deep.dhde import DHDE
from defusion_lib.baselines.deep.dmenet import DMENet
from defusion_lib.data import PhotoSet
from defusion_lib.network import DeFusionNet
from defusion_lib.training import MASKS, Recipe, Task
from defusion_lib.weights import load_backbone


class Rival(NamedTuple):
    """How a deep method is built, and what it is taught; `switches` make it of its class."""

    network: Callable[..., nn.Module]
    task: Task
    switches: Mapping = {}

    def build(self, **switches) -> nn.Module:
        """A network with fresh weights; `switches` go before the method's own. Its defaults are the paper's form."""
        return self.network(**{**self.switches, **switches})


# In the order of Table 1.
RIVALS = {
    "dhde": Rival(DHDE, dhde.TASK),
    "dbm": Rival(DBM, MASKS),
    "dmenet": Rival(DMENet, dmenet.TASK),
    "btbnet": Rival(BTBNet, MASKS),
    "cvpr19": Rival(DeFusionNet, MASKS, {"cam": "off", "fam": False}),
}
# A network can only be compared with what had the same chance.
TRAINED = RIVALS | {"defusionnet": Rival(DeFusionNet, MASKS)}


def trained(
    name: str,
    recipe: Recipe,
    photos: PhotoSet,
    folder: Path,
    backbone: str | Path | None = None,
    device: torch.device | str = "cpu",
    stamp: Mapping | None = None,
    **switches,
) -> nn.Module:
    """A method's network, trained by a recipe and its seed; read from `folder` where it is already there.

    `backbone` as in `backbone.load_backbone`, for the methods that have one. A run that was stopped goes on from its
    checkpoint. Raises ValueError where the file in `folder` was made in another way, KeyError for a method that is
    not in `TRAINED`.
    """
    rival = TRAINED[name]
    torch.manual_seed(recipe.seed)
    network = rival.build(**switches)
    if hasattr(network, "backbone"):
        load_backbone(network.backbone, backbone)
    return training.trained(
        folder / f"{name}.safetensors", network, photos, recipe, device, dict(stamp or {}), rival.task
    )


def detector(name: str, network: nn.Module, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """A trained method's call `detect(image) -> map`, as of the classic methods.

    `size` is the pixels a side of what the network sees; DHDE looks at patches of the photograph as it is.
    """
    if name == "dhde":
        return partial(dhde.detect, network=network)
    return partial(inference.detect, network=network, size=size)
