"""Train every network of the collection by one loop, with progress, checkpoints and resume."""

import io
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from math import cos, gcd, isfinite, pi
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from defusion_lib.backbone import BLOCKS, VGG16
from defusion_lib.data import PhotoSet, first_few
from defusion_lib.data.augmentation import ROTATIONS, SCALES, STEPS, Augmented
from defusion_lib.distributed import Processes, join
from defusion_lib.freeze import freeze
from defusion_lib.lock import locked
from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.paths import display_path, write_atomically
from defusion_lib.precision import PRECISIONS, autocast, place, resolve_precision
from defusion_lib.progress import tqdm
from defusion_lib.weights import load_backbone, load_network, read_card, save_network, weights_hash

# A custom of Caffe networks, on which the paper is silent: biases learn twice as fast and never decay.
BIAS_FACTOR = 2
EVERY = 50  # iterations between the checkpoints of `train_or_load`
RECIPE_VERSION = 3  # raised whenever the same recipe would give other samples or other steps
AHEAD = 3  # batches that are read while the network works
WORKERS = 8  # threads that read them


def _some_of(values: tuple, valid) -> bool:
    return bool(values) and len(set(values)) == len(values) and set(values) <= set(valid)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the paper's (Sec. 3.5), per-pixel mean instead of sum.

    stages:          (iterations, photo size, batch size), one after the other
    optimiser:       "sgd" (momentum 0.9) or "adamw"
    learning_rate:   of the new layers; the paper's 1e-8 on the summed loss is 1.02e-3 on the mean at 320x320
    backbone_factor: learning rate of VGG-16 over that of the new layers
    score_factor:    the same for the side outputs and the final fusion, right under the losses (RADF: 0.1)
    frozen_blocks:   how many of VGG-16's five blocks, from the first, keep their weights
    weight_decay:    5e-4 beside a loss summed over 102,400 pixels is 4.9e-9 beside the mean
    schedule:        "step" (x0.1 at `step_at`) or "cosine" (warm-up over the first 3 %, then down to zero)
    rotations, scales: of the augmentation, always with both flips
    augmentation:    names of random steps beside these (`data.augmentation.STEPS`)
    precision:       "fp32", "bf16" or "auto" (`precision.resolve_precision`); losses are always in fp32
    averaging:       decay per iteration of the moving average of the weights, which is what a run ends with; 0 for none
    seed:            of the order of samples

    Raises ValueError for a value that does not exist or would have no effect, and for photos larger than a step of the
    augmentation makes.
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
    augmentation: tuple[str, ...] = ()
    precision: str = "fp32"
    averaging: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name, value, valid in (
            ("optimiser", self.optimiser, ("sgd", "adamw")),
            ("schedule", self.schedule, ("step", "cosine")),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in valid:
                raise ValueError(f"{name}={value!r} does not exist: choose {' or '.join(valid)}.")
        whole = all(len(stage) == 3 and all(type(n) is int and n > 0 for n in stage) for stage in self.stages)
        for name, right, expected in (
            ("stages", whole and self.stages, "one or more of (iterations, size, batch), whole numbers above 0"),
            ("learning_rate", self.learning_rate > 0, "a number above 0"),
            ("backbone_factor", self.backbone_factor >= 0, "0 or more"),
            ("score_factor", self.score_factor >= 0, "0 or more"),
            ("frozen_blocks", self.frozen_blocks in range(6), "0 to 5"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("averaging", 0 <= self.averaging < 1, "0 for none, or a decay below 1 such as 0.998"),
            ("rotations", _some_of(self.rotations, ROTATIONS), f"one or more of {ROTATIONS}, each once"),
            ("scales", self.scales and min(self.scales) >= 1, "one or more numbers of 1 or above"),
            (
                "augmentation",
                not self.augmentation or _some_of(self.augmentation, STEPS),
                f"names of {', '.join(STEPS)}, each once",
            ),
        ):
            if not right:
                raise ValueError(f"{name}={getattr(self, name)!r} cannot be used: expected {expected}.")
        if "rendered" in self.augmentation:
            # Imported here: a bundle (tools/bundle.py) trains without SciPy, which scenes need.
            from defusion_lib.data.synthetic.scenes import LARGEST_SIDE

            largest = max(size for _, size, _ in self.stages)
            if largest > LARGEST_SIDE:
                raise ValueError(
                    f"augmentation={self.augmentation!r} cannot be used at {largest} pixels: expected at most "
                    f"{LARGEST_SIDE} with the step rendered, whose scenes are no larger, so leave it out or choose "
                    "smaller stages."
                )
        if self.schedule == "cosine" and self.step_at != Recipe.step_at:
            raise ValueError(
                f"step_at={self.step_at} has no effect with schedule='cosine': leave it out, or choose schedule='step'."
            )

    @property
    def iterations(self) -> int:
        """The number of iterations of all stages."""
        return sum(stage[0] for stage in self.stages)

    def rate(self, iteration: int) -> float:
        """Return the learning rate at an iteration, as a share of the initial one."""
        if self.schedule == "step":
            return 1.0 if iteration < self.step_at else 0.1
        warm_up = max(1, round(0.03 * self.iterations))
        if iteration < warm_up:
            return (iteration + 1) / warm_up
        return (1 + cos(pi * (iteration - warm_up) / (self.iterations - warm_up))) / 2


# How networks are trained, by name; `stages` and the seed belong to a run. "frozen" keeps VGG-16 as it is,
# "blocks-4-5" its first three blocks.
RECIPES = {"paper": Recipe()}
RECIPES["cpu"] = Recipe(
    optimiser="adamw",
    learning_rate=5e-4,
    backbone_factor=0.1,
    score_factor=1.0,
    frozen_blocks=2,
    weight_decay=0.01,
    schedule="cosine",
    rotations=(0,),
)
RECIPES["frozen"] = replace(RECIPES["cpu"], learning_rate=1e-3, frozen_blocks=5)
RECIPES["blocks-4-5"] = replace(RECIPES["cpu"], frozen_blocks=3, precision="auto")


def make_recipe(name: str, **changes) -> Recipe:
    """Return a recipe of `RECIPES` with some fields changed: lists become tuples, None keeps the recipe's value."""
    frozen = {key: freeze(value) for key, value in changes.items() if value is not None}
    return replace(RECIPES[name], **frozen)


def augmented(photos: PhotoSet, size: int, recipe: Recipe) -> Augmented:
    """Make the samples of photos and masks at a size, augmented as a recipe says."""
    return Augmented(photos, size, recipe.rotations, recipe.scales, seed=recipe.seed, steps=recipe.augmentation)


def whole_photos(photos: PhotoSet, size: int, recipe: Recipe) -> list[tuple[torch.Tensor, ...]]:
    """Make one sample of each photo and its mask at a size: the whole of both, without any augmentation.

    Of a recipe that shows no whole photos, a sample is a window, at its smallest scale.
    """
    samples = Augmented(photos, size, rotations=(0,), scales=(min(recipe.scales),), seed=recipe.seed)
    return [samples[index] for index in range(0, len(samples), len(samples) // len(photos))]


def final_loss(network: nn.Module, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy between a network's final map and the mask, which compares between networks."""
    return side_loss(network(image).final, mask)


class Task(NamedTuple):
    """A training task: how samples are made, and how their loss is computed.

    samples: makes a sequence of samples (tuples of tensors) from photos, a size in pixels and a recipe; sample i is
             always the same, and several threads may read samples at once
    loss:    computes the loss from the network and a batch, which is the samples' tensors, stacked
    ignores: fields of the recipe that have no effect on the task, and must have their defaults (`applicable`)
    held_out:      makes the samples of held-out photos, as `samples` does
    held_out_loss: computes the loss of these
    """

    samples: Callable[[PhotoSet, int, Recipe], Sequence[tuple[torch.Tensor, ...]]]
    loss: Callable[..., torch.Tensor]
    ignores: tuple[str, ...] = ()
    held_out: Callable[[PhotoSet, int, Recipe], Sequence[tuple[torch.Tensor, ...]]] = whole_photos
    held_out_loss: Callable[..., torch.Tensor] = final_loss


def _supervised(network: nn.Module, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return deep_supervision(network(image), mask)


MASKS = Task(augmented, _supervised)  # every output of a network is compared with the mask (Eq. 9-10)


class Validation(NamedTuple):
    """Held-out photos, which choose a run's weights and may end it early.

    Every `every` iterations, and after the last, the loss on these photos is computed with the weights that the run
    would end with. A run ends early after `patience` evaluations in a row without a new lowest loss. Its weights are
    those of the lowest.
    """

    photos: PhotoSet
    every: int
    patience: int


@dataclass
class History:
    """The loss of each iteration, each uninterrupted stretch of a run, and the evaluations on held-out photos.

    A stretch is {"from": iteration, "to": iteration, "seconds": ..., **its stamp}, an evaluation [iteration, loss].
    """

    loss: list[float] = field(default_factory=list)
    stretches: list[dict] = field(default_factory=list)
    held_out: list[list] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The seconds of all stretches."""
        return sum(stretch["seconds"] for stretch in self.stretches)

    @property
    def lowest(self) -> int:
        """The place in `held_out` of the lowest loss, the first of equal ones."""
        return min(range(len(self.held_out)), key=lambda place: self.held_out[place][1])

    def has_stopped_falling(self, patience: int) -> bool:
        """Return whether the last `patience` evaluations are not below the lowest loss before them."""
        return bool(self.held_out) and len(self.held_out) - 1 - self.lowest >= patience


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
    validation: Validation | None = None,
) -> History:
    """Train a network on photos with masks, from its last checkpoint if there is one.

    The network has `config` (the arguments it was built with) and may have a `backbone`, which has a learning rate
    of its own, and `score_layers()`, those right under the losses. It ends with the recipe's averaged weights; with a
    `validation`, with those of the lowest loss on held-out photos, which it may also end the training.

    Writes `checkpoint` every `every` iterations and at the end; a run that is killed and started again ends with
    the same weights, bit for bit, as an undisturbed one. `stamp` is the provenance of this stretch of the run; `show`
    is called with the history every `every` iterations. Raises ValueError where a photo has no mask or cannot be
    read, where all masks are uniform, where a held-out photo is also trained on, where a part of the recipe would have
    no effect, and where the checkpoint belongs to another recipe, network, data set, validation or first weights;
    FloatingPointError where a loss becomes infinite or NaN (the last checkpoint is kept); BlockingIOError where another
    process writes this checkpoint.

    Under `torchrun --nproc-per-node N` the N processes share each batch (`distributed`). All of them call this and end
    with the same weights; the first one alone writes the checkpoint and calls `show`, and the losses are those of
    whole batches. Another number of processes rounds sums differently, and may continue the run. Raises ValueError
    where a batch has no N equal parts and where the processes would train different things; ConnectionAbortedError
    where another process ends.
    """
    processes = join(device)
    device = processes.device
    precision = resolve_precision(recipe.precision, device)
    _refuse_ignored(recipe, task)
    _refuse_unequal_parts(recipe, processes)
    photos = photos.in_memory()
    check_masks(photos)
    if validation is not None:
        validation = validation._replace(photos=_held_out(validation.photos, photos))
    made = identity(network, photos, recipe, validation)
    place(network, precision, device).train()
    optimiser = make_optimiser(network, recipe)
    base_rates = [group["lr"] for group in optimiser.param_groups]
    averaged = average_of(network, recipe)
    history, best = History(), dict[str, torch.Tensor]()
    if checkpoint is not None and checkpoint.exists():
        history = load_checkpoint(checkpoint, network, optimiser, averaged, made, best)
    begin = len(history.loss)
    is_over = begin == recipe.iterations or (
        validation is not None and history.has_stopped_falling(validation.patience)
    )
    layout = {"precision": precision, "channels_last": precision == "bf16"}
    if processes.world > 1:
        layout["processes"] = processes.world
    stretch = {"from": begin, "to": begin, "seconds": 0.0} | layout | (stamp or {})
    if not is_over:
        history.stretches.append(stretch)
    started = time.perf_counter()
    bar = tqdm(total=recipe.iterations, initial=begin, desc="training", unit="it", disable=not processes.is_writer)
    written = checkpoint if processes.is_writer else None
    if written is not None:
        written.parent.mkdir(parents=True, exist_ok=True)
    with processes.together(checkpoint), locked(written.parent, written.stem) if written is not None else nullcontext():
        _refuse_unlike(processes, made | {"precision": precision, "iterations_done": begin})
        compute_loss = processes.wrap(network, task.loss)
        evaluate = None if validation is None or is_over else _evaluation(validation.photos, recipe, task)
        for batch in () if is_over else batches(photos, recipe, begin, task, processes.share):
            for group, base in zip(optimiser.param_groups, base_rates):
                group["lr"] = base * recipe.rate(len(history.loss))
            with autocast(precision, device):
                loss = compute_loss(*(tensor.to(device, non_blocking=True) for tensor in batch))
            whole = processes.mean(loss)
            if not torch.isfinite(whole):
                raise _diverged(f"The loss is {whole.item()} at iteration {len(history.loss)}", recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if averaged is not None:
                averaged.update_parameters(network)
            history.loss.append(whole.item())
            bar.set_postfix(loss=f"{whole.item():.3f}", refresh=False)
            bar.update()
            done = len(history.loss)
            is_over = done == recipe.iterations
            if validation is not None and evaluate is not None and (done % validation.every == 0 or is_over):
                ending = network if averaged is None else averaged.module
                with autocast(precision, device):
                    found = processes.mean(evaluate(ending, device)).item()
                if not isfinite(found):
                    raise _diverged(f"The loss on held-out photos is {found} at iteration {done}", recipe)
                history.held_out.append([done, found])
                if history.lowest == len(history.held_out) - 1:
                    best = {name: value.detach().cpu().clone() for name, value in ending.state_dict().items()}
                is_over = is_over or history.has_stopped_falling(validation.patience)
            if done % every == 0 or is_over:
                if not all(weight.isfinite().all() for weight in network.parameters()):
                    raise _diverged(f"Weights are not finite after iteration {done}", recipe)
                stretch.update({"to": done, "seconds": time.perf_counter() - started})
                if written is not None:
                    save_checkpoint(written, network, optimiser, averaged, made, history, best)
                if show is not None and processes.is_writer:
                    show(history)
            if is_over:
                break
    bar.close()
    if best:
        network.load_state_dict(best)
    elif averaged is not None:
        network.load_state_dict(averaged.module.state_dict())
    network.eval()
    return history


def _diverged(found: str, recipe: Recipe) -> FloatingPointError:
    return FloatingPointError(
        f"{found}: lower the learning rate (now {recipe.learning_rate:g}) or choose another recipe; the last "
        "checkpoint was kept."
    )


def average_of(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """Return the moving average of a network's weights, None for a recipe without averaging."""
    if not recipe.averaging:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))


def _held_out(held_out: PhotoSet, photos: PhotoSet) -> PhotoSet:
    """Read held-out photos; raise ValueError where one of them is trained on, and what `check_masks` raises."""
    if held_out.name == photos.name and (both := sorted({*held_out.stems} & {*photos.stems})):
        raise ValueError(
            f"{first_few(both)} of {photos.name} are held out and trained on: they may be only one of both."
        )
    held_out = held_out.in_memory()
    check_masks(held_out)
    return held_out


def _evaluation(photos: PhotoSet, recipe: Recipe, task: Task) -> Callable[[nn.Module, Any], torch.Tensor]:
    """Return the mean loss on held-out photos as a function of a network and a device; the samples are made once."""
    _, size, batch = recipe.stages[-1]
    samples = task.held_out(photos, size, recipe)

    @torch.no_grad()
    def evaluate(network: nn.Module, device) -> torch.Tensor:
        training = network.training
        network.eval()
        total = torch.zeros((), device=device)
        for begin in range(0, len(samples), batch):
            part = [samples[index] for index in range(begin, min(begin + batch, len(samples)))]
            tensors = (torch.stack(each).to(device) for each in zip(*part))
            total += len(part) * task.held_out_loss(network, *tensors)
        network.train(training)
        return total / len(samples)

    return evaluate


def identity(network: nn.Module, photos: PhotoSet, recipe: Recipe, validation: Validation | None = None) -> dict:
    """Return what identifies a run: recipe, network, first weights, the photos' pixels, and its validation."""
    made = {
        "recipe": asdict(recipe),
        "recipe_version": RECIPE_VERSION,
        "switches": network.config,
        "data": photos.in_memory().identity(),
        "begun_with_sha256": weights_hash(network),
    }
    if validation is not None:
        rule = {"every": validation.every, "patience": validation.patience}
        made["validation"] = validation.photos.in_memory().identity() | rule
    return json.loads(json.dumps(made))  # as a card keeps it, with lists


def differences(found: Mapping, expected: Mapping) -> str:
    """Name what differs between two identities, "key=found instead of expected" for the first six, or an empty text."""
    names = {
        key if group in ("recipe", "switches") else f"{group}.{key}": (found.get(group, {}).get(key), value)
        for group in ("recipe", "switches", "data", "validation", "test")
        for key, value in expected.get(group, dict.fromkeys(found.get(group, {}))).items()
    } | {key: (found.get(key), value) for key, value in expected.items() if not isinstance(value, dict)}
    differing = [f"{key}={old!r} instead of {new!r}" for key, (old, new) in names.items() if old != new]
    if len(differing) == 1 and differing[0].startswith("begun_with"):
        return f"{differing[0]}: other first weights, which also differ between kinds of processors"
    return first_few(differing, 6)


def applicable(recipe: Recipe, task: Task) -> Recipe:
    """Return a recipe with the fields that have no effect on a task at their defaults."""
    defaults: dict[str, Any] = {each.name: each.default for each in fields(Recipe) if each.name in task.ignores}
    return replace(recipe, **defaults)


def _refuse_ignored(recipe: Recipe, task: Task) -> None:
    for name in task.ignores:
        if getattr(recipe, name) != getattr(applicable(recipe, task), name):
            raise ValueError(
                f"{name}={getattr(recipe, name)!r} has no effect on this method: leave it out (training.applicable)."
            )


def _refuse_unequal_parts(recipe: Recipe, processes: Processes) -> None:
    sizes = [batch for _, _, batch in recipe.stages]
    parts = gcd(*sizes)
    if parts % processes.world:
        most = max(number for number in range(1, processes.world) if parts % number == 0)
        raise ValueError(
            f"{processes.world} processes cannot share batches of {' and '.join(map(str, sizes))} in equal parts: "
            f"start {most} or choose another batch size."
        )


def _refuse_unlike(processes: Processes, facts: dict) -> None:
    """Raise ValueError, in all processes, where one of them has other facts than the first; wait for all of them."""
    first, *others = processes.gather(facts)
    for rank, other in enumerate(others, 1):
        if differing := differences(other, first):
            raise ValueError(
                f"Process {rank} would train something else than process 0 ({differing}): give all of them the same "
                "code, parameters and folders."
            )


def check_masks(photos: PhotoSet) -> None:
    """Raise ValueError where there is no photo, where one has no mask, and where all masks are uniform."""
    if not len(photos):
        raise ValueError(f"{photos.name} holds no photo to train on: choose a part of the set that has some.")
    uniform = 0
    for name, _, mask in photos:
        if mask is None:
            raise ValueError(f"{name} of {photos.name} has no mask, and training needs one for every photo.")
        uniform += mask.min() == mask.max()
    if uniform == len(photos):
        raise ValueError(
            f"All {len(photos)} masks of {photos.name} mark nothing or everything as blurred, expected both kinds of "
            "pixels: check that the masks belong to the photos, and what white stands for in them."
        )


def initialise(build: Callable[[], nn.Module], recipe: Recipe, backbone: str | Path | None = None) -> nn.Module:
    """Build a network under the recipe's seed; VGG-16 gets its first weights, if the network has one (VGG-19 does not).

    `backbone` is what `weights.load_backbone` takes.
    """
    torch.manual_seed(recipe.seed)
    network = build()
    vgg16 = getattr(network, "backbone", None)
    if isinstance(vgg16, VGG16) and [*map(len, vgg16.widths)] == [*map(len, BLOCKS)]:
        load_backbone(vgg16, backbone)
    return network


def train_or_load(
    path: Path,
    build: Callable[[], nn.Module],
    photos: PhotoSet,
    recipe: Recipe,
    backbone: str | Path | None = None,
    device: torch.device | str = "cpu",
    stamp: Mapping | None = None,
    task: Task = MASKS,
    validation: Validation | None = None,
) -> nn.Module:
    """Train the network that `build` makes under the recipe's seed and save it as `path`, or load it from there.

    `backbone` is what `weights.load_backbone` takes, for a network that has one. A run that was stopped resumes from
    its checkpoint beside the file. The file's card keeps the recipe, the data, the losses and the stretches of the run,
    and of a `validation` the rule, the evaluations (`held_out`) and the place of the lowest among them (`kept`).
    Under torchrun (see `train`) the first process writes the file, and all processes load it.
    Raises ValueError where the file was made in another way, and what `train` raises.
    """
    network = initialise(build, recipe, backbone)
    photos = photos.in_memory()
    if validation is not None:
        validation = validation._replace(photos=validation.photos.in_memory())
    made = identity(network, photos, recipe, validation)
    processes, checkpoint = join(device), path.with_suffix(".pt")
    with processes.together(checkpoint):
        _refuse_unlike(processes, made | {"is_trained": path.exists()})
    if path.exists():
        differing = differences(read_card(path), made)
        if differing:
            raise ValueError(
                f"{display_path(path)} was made in another way ({differing}): restore the old parameters, "
                "or delete the file to train that network again."
            )
    else:
        stamped = dict(stamp or {})
        history = train(network, photos, recipe, device, checkpoint, EVERY, stamped, task=task, validation=validation)
        if processes.is_writer:
            learnt = {"loss": history.loss, "stretches": history.stretches}
            if validation is not None:
                learnt |= {"held_out": history.held_out, "kept": history.lowest}
            save_network(network, path, made | learnt)
            checkpoint.unlink()
        with processes.together(checkpoint):
            processes.gather(None)  # nobody reads the file before it is written
    return load_network(path, processes.device, type(network))  # as a later run finds it, in half precision


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimiser with its learning rates by part: backbone, scores, the rest; biases apart.

    The blocks of VGG-16 that the recipe freezes stop learning: their parameters need no gradient from here on. Raises
    ValueError where the recipe speaks of layers that the network does not have.
    """
    scores = {id(parameter) for layer in _score_layers(network) for parameter in layer.parameters()}
    backbone: Any = getattr(network, "backbone", None)
    blocks = backbone.blocks() if backbone is not None else []
    for name, value, neutral, acts in (
        ("score_factor", recipe.score_factor, 1, scores),
        ("backbone_factor", recipe.backbone_factor, 1, blocks),
        ("frozen_blocks", recipe.frozen_blocks, 0, blocks),
    ):
        if value != neutral and not acts:
            raise ValueError(
                f"{name}={value} has no effect on {type(network).__name__}, which has no such layers: "
                f"set it to {neutral}."
            )
    for block in blocks[: recipe.frozen_blocks]:
        for convolution in block:
            convolution.requires_grad_(False)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = recipe.backbone_factor if name.startswith("backbone") else 1.0
        if id(parameter) in scores:
            factor = recipe.score_factor
        decay = recipe.weight_decay
        if name.endswith("bias"):
            factor, decay = factor * BIAS_FACTOR, 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    settings = [
        {"params": parameters, "lr": recipe.learning_rate * factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    return torch.optim.SGD(settings, momentum=0.9) if recipe.optimiser == "sgd" else torch.optim.AdamW(settings)


def _score_layers(network: Any) -> list[nn.Module]:
    return network.score_layers() if hasattr(network, "score_layers") else []


def batches(
    photos: PhotoSet,
    recipe: Recipe,
    begin: int = 0,
    task: Task = MASKS,
    share: Callable[[list[int]], list[int]] = list,
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield the batches of a run from iteration `begin` on; for `MASKS` (N, 3, S, S) and (N, 1, S, S).

    `share` chooses the samples of each batch that are made (`distributed.Processes.share`), all by default.

    Samples come in passes over all that the task makes of the photos. The order of a pass depends on the seed and
    the number of the pass alone, so that a resumed run sees the same samples.
    """

    def plan() -> Iterator[tuple[Sequence, list[int]]]:
        drawn = iteration = 0
        for iterations, size, batch in recipe.stages:
            samples = task.samples(photos, size, recipe)
            order, current_pass = torch.empty(0), -1  # another size may give another number of samples
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
                    yield samples, share(chosen)
                iteration += 1

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        upcoming: deque[list[Future]] = deque()
        for samples, chosen in plan():
            upcoming.append([pool.submit(samples.__getitem__, index) for index in chosen])
            if len(upcoming) > AHEAD:
                yield _stacked(upcoming.popleft())
        while upcoming:
            yield _stacked(upcoming.popleft())


def _stacked(samples: list[Future]) -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.stack, zip(*(sample.result() for sample in samples))))


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    made: dict,
    history: History,
    best: Mapping[str, torch.Tensor],
) -> None:
    """Write all that a run needs to resume; a run killed while writing leaves the previous file.

    `best` are the weights of the lowest loss on held-out photos so far.
    """
    state = {
        "made": made,
        "network": network.state_dict(),
        "averaged": averaged and averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": asdict(history),
        "best": dict(best),
    }
    # Through memory: where a disk is full, torch.save ends in an error that does not name it.
    content = io.BytesIO()
    torch.save(state, content)
    write_atomically(path, content.getbuffer())


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    made: dict,
    best: dict[str, torch.Tensor],
) -> History:
    """Restore a run's last checkpoint and return its history so far; `best` is filled as `save_checkpoint` got it.

    `made` is the run's `identity`. Raises ValueError, naming what differs, where the checkpoint has another one, and
    where the file cannot be read, was changed after it was written, or holds numbers that are not finite.
    """
    state = _read_checkpoint(path, made)
    try:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        history = History(**state["history"])
        kept = state.get("best", {})
        if kept and kept.keys() != network.state_dict().keys():
            raise ValueError
        best.update(kept)
        weights = [*network.parameters(), *(averaged.parameters() if averaged is not None else []), *kept.values()]
        begun = 0
        for stretch in history.stretches:
            if stretch["from"] != begun or stretch["to"] < begun:
                raise ValueError
            begun = stretch["to"]
        losses = [*history.loss, *(loss for _, loss in history.held_out)]
        finite = all(map(isfinite, losses)) and all(weight.isfinite().all() for weight in weights)
        if begun != len(history.loss) or not finite or bool(history.held_out) != bool(kept):
            raise ValueError
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    return history


def iterations_done(path: Path, made: Mapping) -> int:
    """Return the number of iterations in a run's checkpoint, 0 where there is none.

    `made` is the run's `identity`. Raises ValueError where the checkpoint has another one or cannot be read.
    """
    return len(_read_checkpoint(path, made)["history"]["loss"]) if path.exists() else 0


def _read_checkpoint(path: Path, made: Mapping) -> dict[str, Any]:
    try:
        with ZipFile(path) as archive:
            if archive.testzip():  # torch compares no checksum
                raise BadZipFile
        state = torch.load(path, map_location="cpu", weights_only=True)
        differing = differences(state["made"], made)
    except Exception as error:  # torch reports a damaged file in many ways
        raise _unreadable(path, error) from None
    if differing:
        raise ValueError(
            f"{path.name} belongs to another run ({differing}): "
            "restore the old parameters to resume it, or delete it to start again."
        )
    return state


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path.name} is not a readable checkpoint ({type(error).__name__}): delete it to start again.")
