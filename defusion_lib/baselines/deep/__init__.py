"""The compared networks of Table 1, each in a file of its own, all trained by the loop of `training`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from defusion_lib import inference
from defusion_lib.data import PhotoSet
from defusion_lib.data.shi import every_tenth
from defusion_lib.network import DeFusionNet
from defusion_lib.training import (
    MASKS,
    Recipe,
    Task,
    Validation,
    applicable,
    identity,
    initialise,
    make_recipe,
    train_or_load,
)

# Decided before any of these trainings: how long they are, when they end, and which weights they keep.
MINUTES = 35  # of one core, for each network under budget cpu: preparation, iterations and evaluations
EVALUATIONS = 15  # in a training
FEWEST = 6  # photos of which every tenth can be held out
PATIENCE = 4  # evaluations, after which a training ends (`Budget`)


class Budget(NamedTuple):
    """How much a network learns, and what it sees when it is tested.

    stages:  as in `training.Recipe`
    size:    in pixels, of the test
    changes: fields of the recipe that differ under this budget
    evaluations: on held-out photos, at equal distances (`held_out`); 0: learn from all photos, without evaluations
    patience: evaluations in a row without a new lowest loss, after which the training ends
    """

    stages: tuple[tuple[int, int, int], ...]
    size: int
    changes: Mapping[str, Any] = {}
    evaluations: int = 0
    patience: int = PATIENCE


# The weights are a moving average over this share of the iterations, because the loss of the last ones alone varies;
# kept is the average of the lowest loss on held-out photos, because a network may fit the training photos too closely.
AVERAGED = 0.03
# Bfloat16 where the processor has it, and random steps of the augmentation, because a photo is seen dozens of times.
ENGINE = {"precision": "auto", "augmentation": ("crop", "turn", "tone")}


def timed(
    *stages: tuple[float, int, int, float],
    evaluation: float,
    preparation: float = 0.0,
    size: int = 0,
    patience: int = PATIENCE,
    **changes: Any,
) -> Budget:
    """Make the budget that takes `MINUTES` of one core; `size` is that of the test, 0 for that of the last stage.

    Stages are (share of the time, photo size, batch size, seconds per iteration); `evaluation` is the seconds of one of
    60 photos, `preparation` those before the first iteration. All were measured once, as the median processor time of
    one thread (AMD EPYC with AVX512-BF16), so that the iterations do not depend on the machine or what else it
    computes: another processor with AVX512-BF16 needed 1.6 to 2 times as long.
    """
    seconds = 60 * MINUTES - preparation - EVALUATIONS * evaluation
    planned = tuple((round(share * seconds / each), size, batch) for share, size, batch, each in stages)
    averaging = round(1 - 1 / (AVERAGED * sum(iterations for iterations, _, _ in planned)), 4)
    return Budget(planned, size or planned[-1][1], ENGINE | {"averaging": averaging} | changes, EVALUATIONS, patience)


def held_out(photos: PhotoSet) -> tuple[PhotoSet, PhotoSet]:
    """Divide training photos: those to learn from, and every tenth, as Shi's parts "fit" and "validation"."""
    rest, tenth = every_tenth(photos.stems)
    return PhotoSet(photos.name, rest, photos.read), PhotoSet(photos.name, tenth, photos.read)


# What every network gets that has no other budget of its own under the same name.
BUDGETS = {
    "quick": Budget(((4, 64, 2),), 64),
    "cpu": timed((0.5, 160, 4, 1.74), (0.5, 224, 4, 3.29), evaluation=14.3),  # the times of DeFusionNet
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
        given = self.budget(budget)
        return applicable(make_recipe(name, stages=given.stages, seed=seed, **given.changes), self.task)

    def train_or_load(
        self,
        path: Path,
        photos: PhotoSet,
        recipe: Recipe,
        backbone: str | Path | None = None,
        device: torch.device | str = "cpu",
        stamp: Mapping | None = None,
        validation: Validation | None = None,
        **switches,
    ) -> nn.Module:
        """Train the network and save it as `path`, or load it from there; see `training.train_or_load`."""
        build = partial(self.build, **switches)
        return train_or_load(path, build, photos, recipe, backbone, device, stamp, self.task, validation)

    def identity(
        self,
        photos: PhotoSet,
        recipe: Recipe,
        backbone: str | Path | None = None,
        validation: Validation | None = None,
        **switches,
    ) -> dict:
        """Return what identifies the training of `train_or_load` with these arguments; see `training.identity`."""
        return identity(initialise(partial(self.build, **switches), recipe, backbone), photos, recipe, validation)

    def detector(self, network: nn.Module, size: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return the call of a trained network, `detect(image)`, as classical methods have it."""
        seen = {"size": size} if "size" in inspect.signature(self.detect).parameters else {}
        return partial(self.detect, network=network, **seen)


def with_validation(photos: PhotoSet, recipe: Recipe, budget: Budget) -> tuple[PhotoSet, Validation | None]:
    """Hold a part of the photos out where a budget has evaluations; return the other photos, and the validation.

    Raises ValueError where the photos are too few to divide.
    """
    if not budget.evaluations:
        return photos, None
    if len(photos) < FEWEST:
        raise ValueError(
            f"{photos.name} holds {len(photos)} photos to train on, expected at least {FEWEST} where every tenth is "
            "held out: give more, or choose the budget quick."
        )
    photos, unseen = held_out(photos)
    return photos, Validation(unseen, ceil(recipe.iterations / budget.evaluations), budget.patience)


OURS = Deep(DeFusionNet)  # under the budget of the compared networks
