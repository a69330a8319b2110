"""The deep methods of Table 1, all trained by the one loop on the same photographs.

Each has a file in `defusion_lib.methods`; CVPR 2019 is DeFusionNet with two parts switched off.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from defusion_lib import training
from defusion_lib.backbone import load_backbone
from defusion_lib.data import PhotoSet
from defusion_lib.methods.dbm import DBM
from defusion_lib.network import DeFusionNet
from defusion_lib.training import MASKS, Recipe, Task


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
    "dbm": Rival(DBM, MASKS),
    "cvpr19": Rival(DeFusionNet, MASKS, {"cam": "off", "fam": False}),
    "defusionnet": Rival(DeFusionNet, MASKS),
}


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
    not in `RIVALS`.
    """
    rival = RIVALS[name]
    torch.manual_seed(recipe.seed)
    network = rival.build(**switches)
    if hasattr(network, "backbone"):
        load_backbone(network.backbone, backbone)
    return training.trained(
        folder / f"{name}.safetensors", network, photos, recipe, device, dict(stamp or {}), rival.task
    )
