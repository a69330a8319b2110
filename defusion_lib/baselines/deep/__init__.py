"""The compared networks of Table 1, each in a file of its own, all trained by the loop of `training`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from defusion_lib import inference
from defusion_lib.data import PhotoSet
from defusion_lib.network import DeFusionNet
from defusion_lib.training import MASKS, Recipe, Task, applicable, make_recipe, train_or_load


class Budget(NamedTuple):
    """How much a network learns, and what it sees when it is tested.

    `stages` as in `training.Recipe`; `size` is in pixels.
    """

    stages: tuple[tuple[int, int, int], ...]
    size: int


# What every network gets that has no other budget of its own under the same name.
BUDGETS = {
    "quick": Budget(((4, 64, 2),), 64),
    "cpu": Budget(((400, 128, 4), (150, 224, 4)), 224),
    "paper": Budget(((10_000, 320, 4),), 320),
}


class Deep(NamedTuple):
    """A compared network: how it is built, what it learns, and how it maps an image.

    network:  its class; the defaults are the form of its paper
    task:     what it learns
    config:   arguments of its class that make the method of it
    detect:   its call (image, network, size) -> defocus map, float32 (H, W) in [0, 1]; `size` may be missing
    budgets:  budgets of its own, which go before `BUDGETS`
    """

    network: Callable[..., nn.Module]
    task: Task = MASKS
    config: Mapping[str, Any] = {}
    detect: Callable[..., np.ndarray] = inference.detect
    budgets: Mapping[str, Budget] = {}

    def build(self, **switches) -> nn.Module:
        """Build the network with fresh weights; of `switches`, those that its class does not have are left out."""
        known = inspect.signature(self.network).parameters
        return self.network(**self.config, **{name: value for name, value in switches.items() if name in known})

    def budget(self, name: str) -> Budget:
        """Return the budget of this name in `BUDGETS`, or the network's own."""
        return self.budgets.get(name, BUDGETS[name])

    def recipe(self, name: str, budget: str, seed: int = 0) -> Recipe:
        """Return a recipe of `training.RECIPES` with the stages of a budget, as far as it applies to the task."""
        return applicable(make_recipe(name, stages=self.budget(budget).stages, seed=seed), self.task)

    def train_or_load(
        self,
        path: Path,
        photos: PhotoSet,
        recipe: Recipe,
        backbone: str | Path | None = None,
        device: torch.device | str = "cpu",
        stamp: Mapping | None = None,
        **switches,
    ) -> nn.Module:
        """Train the network and save it as `path`, or load it from there; see `training.train_or_load`."""
        build = partial(self.build, **switches)
        return train_or_load(path, build, photos, recipe, backbone, device, stamp, self.task)

    def detector(self, network: nn.Module, size: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return the call of a trained network, `detect(image)`, as classical methods have it."""
        seen = {"size": size} if "size" in inspect.signature(self.detect).parameters else {}
        return partial(self.detect, network=network, **seen)


OURS = Deep(DeFusionNet)  # under the budget of the compared networks
