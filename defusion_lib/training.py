"""One training loop for every network of the collection: progress, checkpoints, resume."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from tqdm.auto import tqdm

from defusion_lib.data import PhotoSet
from defusion_lib.data.augmentation import ROTATIONS, SCALES, Augmented
from defusion_lib.losses import deep_supervision
from defusion_lib.runs import data_stamp
from defusion_lib.weights import load_network, read_card, save_network, weights_hash

BIAS_FACTOR = (
    2  # Caffe's habit, which the paper's network inherits: biases learn twice as fast and never decay
)
EVERY = 50  # iterations between the checkpoints of `trained`


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the paper's (Sec. 3.5), per-pixel mean instead of sum.

    stages:          (iterations, photograph size, batch size), one after the other
    optimiser:       "sgd" (momentum 0.9) or "adamw"
    learning_rate:   of the new layers; the paper's 1e-8 on the summed loss is 1.02e-3 on the mean at 320x320
    backbone_factor: learning rate of VGG-16 over that of the new layers
    score_factor:    the same for the side outputs' 1x1 convolutions, right under the losses (RADF: 0.1)
    frozen_blocks:   how many of VGG-16's five blocks, from the first, keep their weights
    weight_decay:    5e-4 beside a loss summed over 102,400 pixels is 4.9e-9 beside the mean
    schedule:        "step" (x0.1 at `step_at`) or "cosine" (warm-up over the first 3 %, then down to zero)
    rotations, scales: of the augmentation, always with both flips
    seed:            of the order of samples
    """

    stages: tuple[tuple[int, int, int], ...] = ((10_000, 320, 4),)
    optimiser: str = "sgd"
    learning_rate: float = 1.02e-3
    backbone_factor: float = 1.0
    score_factor: float = 0.1
    frozen_blocks: int = 0
    weight_decay: float = 4.9e-9
    schedule: str = "step"
    step_at: int = 5_000
    rotations: tuple[int, ...] = ROTATIONS
    scales: tuple[float, ...] = SCALES
    seed: int = 0

    def __post_init__(self):
        for name, value, valid in (
            ("optimiser", self.optimiser, ("sgd", "adamw")),
            ("schedule", self.schedule, ("step", "cosine")),
        ):
            if value not in valid:
                raise ValueError(f"{name}={value!r} does not exist: choose {' or '.join(valid)}.")

    @property
    def iterations(self) -> int:
        return sum(stage[0] for stage in self.stages)

    def rate(self, iteration: int) -> float:
        """The learning rate at an iteration, as a share of the initial one."""
        if self.schedule == "step":
            return 1.0 if iteration < self.step_at else 0.1
        warm_up = max(1, round(0.03 * self.iterations))
        if iteration < warm_up:
            return (iteration + 1) / warm_up
        return (1 + cos(pi * (iteration - warm_up) / (self.iterations - warm_up))) / 2


class Task(NamedTuple):
    """What a network is taught.

    samples: makes a sequence of samples, tuples of tensors, of photographs, a size in pixels and a recipe; sample i is
             the same whenever it is asked for, and may be asked for by several threads at once
    loss:    the number to make small, of the network and a batch: the samples' tensors, stacked
    """

    samples: Callable[[PhotoSet, int, Recipe], Sequence[tuple[torch.Tensor, ...]]]
    loss: Callable[..., torch.Tensor]


def _augmented(photos: PhotoSet, size: int, recipe: Recipe) -> Augmented:
    return Augmented(photos, size, recipe.rotations, recipe.scales, seed=recipe.seed)


def _supervised(network: nn.Module, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return deep_supervision(network(image), mask)


MASKS = Task(_augmented, _supervised)  # every map that a network gives is held against the mask (Eq. 9-10)


@dataclass
class History:
    """What happened: the loss of each iteration, and each uninterrupted stretch of the run.

    A stretch is {"from": iteration, "to": iteration, "seconds": ..., **its stamp}.
    """

    loss: list[float] = field(default_factory=list)
    stretches: list[dict] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(stretch["seconds"] for stretch in self.stretches)


def train(
    network: nn.Module,
    photos: PhotoSet,
    recipe: Recipe,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 100,
    stamp: dict | None = None,
    show: Callable[[History], None] | None = None,
    task: Task = MASKS,
) -> History:
    """Train a network on photographs with masks, from its last checkpoint if there is one.

    The network has `switches` (what it was built with) and may have a `backbone`, whose learning rate is its own.

    Writes `checkpoint` every `every` iterations and at the end; a run that is killed and started again ends with
    the same weights, bit for bit, as one that was not. `stamp` says what makes this stretch of the run; `show` is
    called with the history every `every` iterations. Raises ValueError where the checkpoint belongs to another
    recipe or network, FloatingPointError where the loss stops being a number (the last checkpoint stays as it is).
    """
    network.to(device).train()
    optimiser = make_optimiser(network, recipe)
    base_rates = [group["lr"] for group in optimiser.param_groups]
    history = History()
    if checkpoint is not None and checkpoint.is_file():
        history = load_checkpoint(checkpoint, network, optimiser, recipe)
    begin = len(history.loss)
    stretch = {"from": begin, "to": begin, "seconds": 0.0} | (stamp or {})
    if begin < recipe.iterations:
        history.stretches.append(stretch)
    started = time.perf_counter()
    bar = tqdm(total=recipe.iterations, initial=begin, desc="training", unit="it")
    for batch in batches(photos, recipe, begin, task):
        for group, base in zip(optimiser.param_groups, base_rates):
            group["lr"] = base * recipe.rate(len(history.loss))
        loss = task.loss(network, *(tensor.to(device) for tensor in batch))
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss.item()} at iteration {len(history.loss)}: lower the learning rate "
                f"(now {recipe.learning_rate:g}); the last checkpoint was left as it is."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        history.loss.append(loss.item())
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        bar.update()
        done = len(history.loss)
        if done % every == 0 or done == recipe.iterations:
            stretch.update({"to": done, "seconds": time.perf_counter() - started})
            if checkpoint is not None:
                save_checkpoint(checkpoint, network, optimiser, recipe, history)
            if show is not None:
                show(history)
    bar.close()
    network.eval()
    return history


def trained(
    path: Path,
    network: nn.Module,
    photos: PhotoSet,
    recipe: Recipe,
    device: torch.device | str = "cpu",
    stamp: dict | None = None,
    task: Task = MASKS,
) -> nn.Module:
    """A network as the file `path` keeps it: trained from its present weights, or read where it was trained before.

    A run that was stopped goes on from its checkpoint beside the file. The file's card keeps the recipe, the data,
    the losses and the stretches of the run. Raises ValueError where the file was made in another way, and what
    `train` raises.
    """
    made = {
        "recipe": asdict(recipe),
        "data": data_stamp(photos),
        "begun_with_sha256": weights_hash(network),
        "switches": network.switches,
    }
    made = json.loads(json.dumps(made))  # as a card keeps it, with lists
    if path.is_file():
        card = read_card(path)
        differing = [f"{name} {card.get(name)}, expected {made[name]}" for name in made if card.get(name) != made[name]]
        if differing:
            raise ValueError(
                f"{path.name} was made in another way (found {'; '.join(differing)}): give back the old parameters, "
                "or delete it to train that network anew."
            )
    else:
        checkpoint = path.with_suffix(".pt")
        history = train(network, photos, recipe, device, checkpoint, EVERY, dict(stamp or {}), task=task)
        save_network(network, path, made | {"loss": history.loss, "stretches": history.stretches})
        checkpoint.unlink()
    return load_network(path, device, type(network))  # as a later run finds it, in half precision


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser with its learning rates by part: backbone, scores, the rest; biases apart."""
    blocks = network.backbone.blocks() if hasattr(network, "backbone") else []
    for block in blocks[: recipe.frozen_blocks]:
        for convolution in block:
            convolution.requires_grad_(False)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = recipe.backbone_factor if name.startswith("backbone") else 1.0
        if ".score." in name or name.startswith("final"):
            factor = recipe.score_factor
        decay = recipe.weight_decay
        if name.endswith("bias"):
            factor, decay = factor * BIAS_FACTOR, 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    settings = [
        {"params": parameters, "lr": recipe.learning_rate * factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    return (
        torch.optim.SGD(settings, momentum=0.9) if recipe.optimiser == "sgd" else torch.optim.AdamW(settings)
    )


def batches(
    photos: PhotoSet, recipe: Recipe, begin: int = 0, task: Task = MASKS
) -> Iterator[tuple[torch.Tensor, ...]]:
    """The batches of a run from iteration `begin` on; of masks (N, 3, S, S) and (N, 1, S, S).

    Samples come in passes over all that the task makes of the photographs, each pass in an order of its own that depends on the seed
    and the number of the pass alone, so that a resumed run sees what it would have seen.
    """

    def plan() -> Iterator[tuple[Sequence, list[int]]]:
        drawn = iteration = 0
        order, current_pass = torch.empty(0), -1
        for iterations, size, batch in recipe.stages:
            samples = task.samples(photos, size, recipe)
            for _ in range(iterations):
                chosen = []
                for _ in range(batch):
                    if drawn // len(samples) != current_pass:
                        current_pass = drawn // len(samples)
                        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + current_pass)
                        order = torch.randperm(len(samples), generator=generator)
                    chosen.append(int(order[drawn % len(samples)]))
                    drawn += 1
                if iteration >= begin:
                    yield samples, chosen
                iteration += 1

    def read(samples: Sequence, chosen: list[int]):
        return [pool.submit(samples.__getitem__, index) for index in chosen]

    with ThreadPoolExecutor(max_workers=4) as pool:
        upcoming = None
        for samples, chosen in plan():
            # The next batch is read while the network works on this one.
            upcoming, ready = read(samples, chosen), upcoming
            if ready is not None:
                yield tuple(map(torch.stack, zip(*(sample.result() for sample in ready))))
        if upcoming is not None:
            yield tuple(map(torch.stack, zip(*(sample.result() for sample in upcoming))))


def save_checkpoint(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, history: History
) -> None:
    """Write all that a run needs to go on; a run killed while writing leaves the previous file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    state = {
        "switches": network.switches,
        "recipe": asdict(recipe),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": asdict(history),
    }
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe
) -> History:
    """Bring a run back to its last checkpoint and give its history so far.

    Raises ValueError, naming what differs, where the checkpoint was made by another recipe or network, and where
    the file cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports a damaged file in many ways
        raise ValueError(
            f"{path.name} is not a readable checkpoint ({type(error).__name__}): delete it to start anew."
        ) from None
    found = state["recipe"] | state["switches"]
    expected = asdict(recipe) | network.switches
    differing = [
        f"{key}={found.get(key)!r} instead of {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"{path.name} belongs to another run ({', '.join(differing)}): "
            "give back the old parameters to go on with it, or delete it to start anew."
        )
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return History(**state["history"])
