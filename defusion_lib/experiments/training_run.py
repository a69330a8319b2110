"""Train DeFusionNet on photos with masks and score it on those held out, in one call that resumes where it stopped.

`defusion train` prints what happens here. A run leaves three files in its folder: `network.safetensors` for
`load_network`, `curve.png`, and `card.md`, which says in words how the network was made and how well it does.

The last part trains the network of notebook 03, for the notebook itself and for the job of a batch run that trains it
before (tools/train.py). `ablations` and `table_1` have the same two functions, `trainings` and `train_one`.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from defusion_lib import plots
from defusion_lib.data import Photo, PhotoSet, first_few, name_bytes
from defusion_lib.data.check import poll
from defusion_lib.data.datasets import check_unseen, open_dataset, trained_on
from defusion_lib.experiments import stress
from defusion_lib.inference import detect
from defusion_lib.lock import locked
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import check_writable, locate, write_atomically
from defusion_lib.runs.provenance import environment_info
from defusion_lib.runs.run import Run
from defusion_lib.training import (
    RECIPES,
    History,
    Recipe,
    check_masks,
    identity,
    initialise,
    iterations_done,
    make_recipe,
    train,
    train_or_load,
)
from defusion_lib.weights import (
    SHIPPED,
    import_torchvision,
    load_backbone,
    load_network,
    read_card,
    resolve,
    save_network,
    weights_hash,
)

# (iterations, photo size, batch): small photos first, the size of the test last. One to three hours on two cores.
LAPTOP = ((800, 128, 4), (500, 224, 4), (300, 320, 2))
STAGES = {"cpu": LAPTOP, "frozen": LAPTOP, "paper": RECIPES["paper"].stages}
LONGEST_SIDE = 1024  # pixels: larger photos are reduced when they are read, and a thousand of them fit in memory
TRIALS = 3  # iterations of each stage that are timed
MEASURES = {"mae": "MAE", "max-f-blur": "max F, blur", "max-f-focus": "max F, in focus", "auc": "AUC"}


class Trained(NamedTuple):
    """A finished run: its files, the card of the network, and {network: {measure: (mean, standard error)}}."""

    network: Path
    curve: Path
    words: Path
    card: dict
    scores: dict[str, dict[str, tuple[float, float]]]


def plan(name: str, iterations: int | None = None, seed: int = 0) -> Recipe:
    """Return a recipe of `RECIPES` with its stages in `STAGES`, or with the same shares of `iterations`.

    Raises ValueError for an unknown name and for fewer iterations than stages.
    """
    if name not in STAGES:
        raise ValueError(f"recipe={name!r} does not exist: choose one of {', '.join(STAGES)}.")
    stages = STAGES[name]
    if iterations is None:
        return make_recipe(name, stages=stages, seed=seed)
    if iterations < len(stages):
        raise ValueError(
            f"iterations={iterations} are fewer than the {len(stages)} stages of recipe {name}: give more of them."
        )
    whole, ends = sum(stage[0] for stage in stages), [0]
    for i in range(len(stages)):
        end = round(iterations * sum(stage[0] for stage in stages[: i + 1]) / whole)
        # Each later stage keeps an iteration.
        ends.append(min(end, iterations - (len(stages) - 1 - i)))
    parts = tuple((end - begin, *stage[1:]) for begin, end, stage in zip(ends, ends[1:], stages))
    changes = {"step_at": iterations // 2} if RECIPES[name].schedule == "step" else {}
    return make_recipe(name, stages=parts, seed=seed, **changes)


def train_network(
    photos: PhotoSet,
    held_out: PhotoSet,
    recipe: Recipe,
    into: Path,
    backbone: str | Path | None = SHIPPED,
    begin_with: str | Path | None = None,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
) -> Trained:
    """Train a network with compact heads on `photos`, score it on `held_out`, and write both with words into a folder.

    `backbone` is the file of VGG-16's first weights, "imagenet", or None for random ones; `begin_with` is a network to
    go on from, instead. Photos and first weights are read and checked before anything is computed. `say` gets
    sentences about what will happen: photos, doubtful masks, the time it will take. A run that was stopped resumes from
    its checkpoint; a finished one is scored again, not trained. Raises ValueError where a photo cannot be read or has
    no mask of its size, where all masks of a set are uniform, where the first weights come from held-out photos or do
    not fit, and where the folder holds a network that was made in another way; OSError where it cannot be written in,
    and BlockingIOError where another run trains in it.
    """
    check_writable(into)
    photos = at_most(photos).in_memory()
    check_masks(photos)
    for words in describe(photos, held_out):
        say(words)
    if has_seen(held_out, begin_with or backbone):
        raise ValueError(
            f"The first weights ({weights_words(begin_with or backbone)}) come from a training that saw some of the "
            f"{len(held_out)} held-out photos of {held_out.name}: begin with others, such as backbone imagenet, or "
            "hold out the same photos again."
        )

    def build() -> DeFusionNet:
        return load_network(begin_with) if begin_with else DeFusionNet("compact")

    source = None if begin_with else backbone
    first = initialise(build, recipe, source)
    stamp = environment_info(torch.device(device).type == "cuda")
    into.mkdir(parents=True, exist_ok=True)
    with locked(into, "train"):
        path, checkpoint = into / "network.safetensors", into / "network.pt"
        if path.exists():
            say(f"{path} is there: it is scored again, not trained.")
        else:
            begun = iterations_done(checkpoint, identity(first, photos, recipe))
            lasts = duration(estimate_seconds(first, photos, recipe, device, begun))
            resumed = f"{begun:,} of {recipe.iterations:,} iterations are done. " if begun else ""
            say(f"{resumed}The training takes about {lasts}. Stop it with Ctrl-C: the same command resumes it.")
        network = train_or_load(path, build, photos, recipe, source, device, stamp)
        assert isinstance(network, DeFusionNet)
        size = recipe.stages[-1][1]
        scores = {"this network": held_out_scores(network, held_out, size)}
        if not has_seen(held_out, SHIPPED):
            scores["the shipped network"] = held_out_scores(load_network(device=device), held_out, size)
        card = read_card(path)
        # Two parts may hold different photos under the same names, which then identify nothing.
        named = {"stems": photos.stems} if set(photos.stems).isdisjoint(held_out.stems) else {}
        card |= {
            "data": card["data"] | named,
            "held_out": held_out.provenance() | {"stems": held_out.stems},
            "begun_with": weights_words(begin_with) if begin_with else f"VGG-16 of {weights_words(backbone)}",
            "data_before": sets_behind(begin_with or backbone),
            "scores": scores["this network"],
        }
        save_network(network, path, card)  # the same weights, which are in half precision already
        return Trained(path, _draw(into, card), _write(into, card, scores, size), card, scores)


def at_most(photos: PhotoSet, side: int = LONGEST_SIDE) -> PhotoSet:
    """Return a set whose photos and masks are reduced to at most `side` pixels a side when they are read."""

    def read(stem: str) -> Photo:
        photo = photos.read(stem)
        height, width = photo.image.shape[:2]
        if max(height, width) <= side:
            return photo
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(Image.fromarray(photo.image).resize(size, Image.Resampling.BILINEAR))
        if photo.mask is None:
            return photo._replace(image=image)
        mask = np.asarray(Image.fromarray(photo.mask).resize(size, Image.Resampling.BILINEAR))
        return Photo(photo.name, image, (mask >= 0.5).astype(np.float32))

    return PhotoSet(photos.name, photos.stems, read)


def describe(photos: PhotoSet, held_out: PhotoSet) -> list[str]:
    """Return sentences about the photos of a run: how many, which are held out, which masks are doubtful.

    A mask is doubtful that marks everything or nothing; all are where blur has more detail than focus.

    Reads every photo. Raises ValueError where a held-out photo has no mask or none of their masks has both kinds of
    pixels, beside what reading raises.
    """
    words = [
        f"{photos.name}: {len(photos)} photos to train on, {len(held_out)} held out ({first_few(held_out.stems, 6)})."
    ]
    for name, of_part in (("training", photos), ("held-out", held_out)):
        uniform = []
        for photo in of_part:
            if photo.mask is None:
                raise ValueError(f"{photo.name} of {of_part.name} has no mask, and scoring needs one for every photo.")
            if photo.mask.min() == photo.mask.max():
                uniform.append(photo.name)
        if len(uniform) == len(of_part):
            raise ValueError(
                f"None of the {len(of_part)} {name} masks has both blurred and in-focus pixels, which the scores need: "
                "hold out other photos or more of them, and check what white means in the masks."
            )
        if uniform:
            words.append(
                f"{len(uniform)} of {len(of_part)} {name} masks mark nothing or everything as blurred "
                f"({first_few(uniform)}): check that this is so; they are used as they are."
            )
    vote = poll(photos)
    if vote.white == "focus":
        words.append(
            f"The masks look inverted: the part that is marked as blurred has less detail in only {vote.blurred} of "
            f"{vote.photos} photos: check what white means (--white; `defusion data check`)."
        )
    return words


def estimate_seconds(
    network: DeFusionNet, photos: PhotoSet, recipe: Recipe, device: torch.device | str = "cpu", begun: int = 0
) -> float:
    """Estimate the seconds that the iterations of a recipe from `begun` on take, by a few iterations of each stage.

    The network stays as it is: a copy of it is trained, and thrown away.
    """
    seconds, end = 0.0, 0
    for iterations, size, batch in recipe.stages:
        end += iterations
        left = min(iterations, end - begun)
        if left <= 0:
            continue
        trial, times = replace(recipe, stages=((TRIALS, size, batch),)), []

        def record(history: History, times: list[float] = times) -> None:
            times.append(history.seconds)

        train(deepcopy(network), photos, trial, device, every=1, show=record)
        # The first iteration also waits for photos and for memory: the times are those after it.
        seconds += left * float(np.mean(np.diff(times)))
    return seconds


def held_out_scores(network: DeFusionNet, photos: PhotoSet, size: int) -> dict[str, tuple[float, float]]:
    """Score a network on photos it has not seen: {measure of `MEASURES`: (mean, standard error)}.

    The error is NaN for one photo. `size` is the side in pixels of what the network sees.
    """
    found = stress.score(photos, lambda photo: detect(photo.image, network, size))
    values = stress.results(found, "network")
    names = {measure: f"{photos.name}/network/{measure}" for measure in MEASURES}
    return {measure: (values[name], values.get(f"{name}-se", np.nan)) for measure, name in names.items()}


def duration(seconds: float) -> str:
    """Write seconds in words: "40 seconds", "25 minutes", "3.5 hours"."""
    for unit, length, limit in (("seconds", 1, 90), ("minutes", 60, 5400)):
        if seconds < limit:
            return f"{max(1, round(seconds / length))} {unit}"
    return f"{seconds / 3600:.1f} hours"


def weights_words(file: str | Path | None) -> str:
    """Say which first weights a run begins with."""
    if file is None:
        return "random weights"
    return "the shipped network" if Path(file) == SHIPPED else Path(file).name


def sets_behind(file: str | Path | None) -> list[Mapping]:
    """Return the data sets that the network in a file was trained on (`trained_on`); not known of files without a card.

    `file` is what `load_backbone` takes: neither ImageNet's VGG-16 nor random weights learnt from a set of this field.
    """
    try:
        sets = trained_on(read_card(resolve(str(file))))
    except (ValueError, OSError):
        return []
    return [each for i, each in enumerate(sets) if each not in sets[:i]]


def check_unlearnt(test: PhotoSet, learn: PhotoSet, first: str | Path | None) -> None:
    """Raise ValueError where `test` has photos of `learn`, or some that the first weights in a file learnt from."""
    check_unseen(test, {"data": [learn.provenance(), *sets_behind(first)]})


def has_seen(photos: PhotoSet, file: str | Path | None) -> bool:
    """Return whether the network in a file was trained on some of these photos, as far as `sets_behind` knows."""
    try:
        check_unseen(photos, {"data": sets_behind(file)})
    except ValueError:
        return True
    return False


def _draw(into: Path, card: Mapping[str, Any]) -> Path:
    changes = np.cumsum([stage[0] for stage in card["recipe"]["stages"]])[:-1]
    figure = plots.training_loss(card["loss"], 6 * card["switches"]["steps"] + 1, changes=changes.tolist())
    path = into / "curve.png"
    write_atomically(path, plots.as_png(figure))
    return path


def _write(into: Path, card: Mapping[str, Any], scores: Mapping[str, Mapping], size: int) -> Path:
    """Write the card in words."""
    recipe, last = card["recipe"], card["stretches"][-1]
    stages = "; ".join(f"{n:,} iterations of {batch} at {side} pixels" for n, side, batch in recipe["stages"])
    seconds = sum(stretch["seconds"] for stretch in card["stretches"])
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items() if version)
    rows = [
        f"| {name} | " + " | ".join(f"{mean:.3f} ± {error:.3f}" for mean, error in of_network.values()) + " |"
        for name, of_network in scores.items()
    ]
    held = card["held_out"]
    text = f"""# DeFusionNet trained on {card["data"]["name"]}

## Scores on the {held["photographs"]} photos held out

| network | {" | ".join(MEASURES.values())} |
|---|{"---|" * len(MEASURES)}
{chr(10).join(rows)}

± is the standard error over the photos. MAE: lower is better; the others: higher is better. The network sees photos at
{size} x {size} pixels; maps are scored at the photos' own size, as in notebook 04. Few photos make large errors:
compare networks on the same photos. The shipped network was trained on 544 of Shi's photos.

## How it was made

- Data: {card["data"]["name"]}, {card["data"]["photographs"]} photos to train on; a photo whose longer
  side has more than {LONGEST_SIDE} pixels is reduced to that.
- Held out: {", ".join(held["stems"])}.
- First weights: {card["begun_with"]}.
- Recipe: {stages}; {recipe["optimiser"]},
  learning rate {recipe["learning_rate"]:g}, {recipe["schedule"]} schedule,
  {recipe["frozen_blocks"]} frozen blocks of VGG-16, weight decay {recipe["weight_decay"]:g}.
- Seed: {recipe["seed"]}.
- Time: {duration(seconds)} on {last["device"]}, {last["threads"]} threads.
- Versions: {versions}; commit {last["commit"] or "unknown"}.

## Use

    defusion map my_photos --network {into / "network.safetensors"}

or in Python `defusion_lib.load_network("network.safetensors")`. The file holds this card too: `weights.read_card`.

![The loss of each iteration](curve.png)
"""
    path = into / "card.md"
    write_atomically(path, name_bytes(text))
    return path


# ------------------------------------------------------------------------------------- the trainings of notebooks


class Training(NamedTuple):
    """One training of a notebook, as its parameters describe it: what the result depends on, besides code and photos.

    file:       of the finished network, below `outputs/<profile>/`
    recipe:     how the network is trained
    switches:   of the network
    photos:     the arguments of `open_dataset` for the photos to train on
    backbone:   VGG-16's first weights, as a notebook's parameter names them: a file, imagenet, shipped or random
    begin_with: a network to go on from instead, a file or shipped; "" for none
    modules:    names of modules of the library with the network or its task, besides those that every training uses
    """

    file: str
    recipe: Recipe
    switches: Mapping[str, Any]
    photos: Mapping[str, Any]
    backbone: str
    begin_with: str = ""
    modules: tuple[str, ...] = ()

    def open_photos(self) -> PhotoSet:
        """Read the photos to train on."""
        return open_dataset(**self.photos).in_memory()

    def facts(self) -> dict:
        """Return these values for JSON."""
        return self._asdict() | {"recipe": asdict(self.recipe)}


def backbone_file(name: str) -> str | Path | None:
    """Return what `load_backbone` takes for a notebook's parameter `backbone`.

    Downloads "imagenet" where that was not done before; raises ConnectionError where that fails.
    """
    if name == "imagenet":
        _download_imagenet()
    return None if name == "random" else resolve(str(locate(name, "imagenet", "shipped")))


def _download_imagenet() -> None:
    entry = import_torchvision().models.VGG16_Weights.IMAGENET1K_FEATURES
    if Path(torch.hub.get_dir(), "checkpoints", Path(entry.url).name).is_file():
        return
    try:
        entry.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ConnectionError(
            f"{entry.url} could not be downloaded ({error}): connect to the internet, or give as backbone a file of "
            "these weights (params/README.md), shipped for those of the network in the package, or random."
        ) from error


def trainings(given: Any) -> dict[str, Training]:
    """Return the one training of notebook 03, {"network": training}, from its parameters (attributes)."""
    changes = ("stages", "learning_rate", "augmentation", "precision", "averaging", "seed")
    training = Training(
        "weights/03_training.safetensors",
        make_recipe(given.recipe, **{name: getattr(given, name) for name in changes}),
        {name: getattr(given, name) for name in ("heads", "steps", "cam", "fam", "ffrm", "fusion_stride")},
        {
            "name": given.dataset,
            "part": given.part,
            "root": given.data_root,
            "split": given.split,
            "count": given.count,
            "seed": given.seed,
            "white": given.masks_white,
        },
        given.backbone,
        given.begin_with,
    )
    return {"network": training}


def first_network(run: Run) -> tuple[DeFusionNet, str]:
    """Make the network of notebook 03 with its first weights, and return it and words for these weights.

    Notes in the run's stamp where they come from.
    """
    (training,) = trainings(run.parameters).values()
    torch.manual_seed(training.recipe.seed)
    network = DeFusionNet(**training.switches)
    if training.begin_with:
        file = resolve(str(locate(training.begin_with, "shipped")))
        network.load_state_dict(load_network(file).state_dict())
        run.note(begun_with={"weights_sha256": weights_hash(network), "card": read_card(file)})
        words = "that of the network it begins with"
    else:
        file = backbone_file(training.backbone)
        words = load_backbone(network.backbone, file)
        run.note(data_before=sets_behind(file))
    run.note(backbone=words)
    return network, words


def train_or_read(
    run: Run, network: DeFusionNet, photos: PhotoSet, every: int, show: Callable[[History], None] | None = None
) -> History:
    """Train the network of notebook 03 from its first weights and save it, or read it where that was done before.

    `network` is that of `first_network`, and ends with the trained weights. A checkpoint is written, and `show` called,
    every `every` iterations. A file with another recipe, other photos or other first weights is replaced. Returns the
    history of the training, and notes its stretches and the hash of its weights in the run's stamp. Raises what
    `training.train` raises, and ValueError where the file is damaged.
    """
    (training,) = trainings(run.parameters).values()
    path, checkpoint = run.path(training.file), run.path("checkpoints/03_training.pt")
    made = identity(network, photos, training.recipe)
    card = read_card(path) if path.is_file() else {}
    if card.get("identity") == made:
        network.load_state_dict(load_network(path).state_dict())
        network.to(run.device).eval()
        history, trained = History(card["loss"], card["training_stretches"]), card["weights_sha256"]
    else:
        # The card has the stretches and, once, what the network began with.
        stamp = {name: fact for name, fact in run.stamp.items() if name not in ("begun_with", "data_before")}
        history = train(network, photos, training.recipe, run.device, checkpoint, every, stamp, show)
        trained = weights_hash(network)
    run.note(training_stretches=history.stretches, weights_sha256=trained, data=[photos.provenance()])
    if card.get("identity") != made:
        save_network(network, path, run.stamp | {"identity": made, "loss": history.loss})
        checkpoint.unlink()
    return history


def train_one(run: Run, name: str, photos: PhotoSet) -> None:
    """Train the network of notebook 03, the only `name` in `trainings`, unless this profile has it already."""
    train_or_read(run, first_network(run)[0], photos, run.parameters.every)
