"""Open a data set by its name: one entry of `DATASETS` adds one."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

from defusion_lib.data import PhotoSet, ctcug, dut, first_few, folder, shi, szu
from defusion_lib.data.files import Polarity, check_polarity
from defusion_lib.data.synthetic import open_synthetic
from defusion_lib.paths import locate

SYNTHETIC_SIZE = (160, 160)
POLARITIES = ("", *get_args(Polarity))  # what white may mean in masks, "" where the data set knows it


class Dataset(NamedTuple):
    """A data set.

    `open` takes the set's folder, `part`, and by name those of `split`, `count`, `seed`, `white` and `held_out` that
    `options` names; `parts` are the parts that it has; `where` says how to get a copy, as a clause for error messages
    ("get it from ..."), and is empty for a set without a folder.
    """

    title: str
    open: Callable[..., PhotoSet]
    parts: tuple[str, ...]
    where: str = ""
    options: tuple[str, ...] = ()


def _open_synthetic(part: str, count: int, seed: int) -> PhotoSet:
    # Seeds of the two parts never meet: even ones train, odd ones test.
    photos = open_synthetic(count, SYNTHETIC_SIZE, seed=2 * seed + (part == "test"))
    # Rendering takes longer than reading: each photo is rendered once and kept.
    return PhotoSet(photos.name, photos.stems, cache(photos.read))


DATASETS = {
    "synthetic": Dataset("Rendered photos", _open_synthetic, ("train", "test"), options=("count", "seed")),
    "shi": Dataset("Shi: 704 photos with masks", shi.open_shi, get_args(shi.Part), shi.WHERE, ("split",)),
    "dut": Dataset("DUT: 500 photos with masks", dut.open_dut, get_args(dut.Part), dut.WHERE),
    "ctcug": Dataset("CTCUG: 150 photos with masks", lambda root, part: ctcug.open_ctcug(root), ("test",), ctcug.WHERE),
    "szu": Dataset("SZU-BD: 347 photos with masks", szu.open_szu, get_args(szu.Part), szu.WHERE),
    "folder": Dataset(
        "A folder of your own",
        lambda root, part, white, held_out: folder.open_folder(root, part, white or "blurred", held_out),
        get_args(folder.Part),
        folder.WHERE,
        ("white", "held_out"),
    ),
}


def names_with(*parts: str) -> tuple[str, ...]:
    """Return the names of the data sets that have all of these parts."""
    return tuple(name for name, dataset in DATASETS.items() if {*parts} <= {*dataset.parts})


def open_dataset(
    name: str,
    part: str,
    root: str | Path = "",
    split: str = "dutlab100",
    count: int = 16,
    seed: int = 0,
    white: str = "",
    held_out: float | int | None = None,
) -> PhotoSet:
    """Open a part of a data set of `DATASETS`.

    root: its folder, found as `paths.locate` says (`data/<name>` where empty); split: which hundred photos of Shi's set
    are for testing; count, seed: of the synthetic set, whose two parts share no scene; white: what white means in the
    masks of a folder of your own, "blurred" (or empty) or "focus"; held_out: the share or the number of photos of such
    a folder that are for testing (`folder.open_folder`). Raises ValueError for an unknown name or part and for a root,
    split, white or held_out that the data set does not use, FileNotFoundError where there is no such folder, and what
    the readers raise.
    """
    _check(name, part, root, split, white)
    dataset = DATASETS[name]
    if held_out is not None and "held_out" not in dataset.options:
        raise ValueError(f"dataset={name!r} comes divided into parts: leave out held_out={held_out}.")
    given = {"split": split, "count": count, "seed": seed, "white": white, "held_out": held_out}
    options = {option: given[option] for option in dataset.options}
    if not dataset.where:
        return dataset.open(part=part, **options)
    try:
        path = locate(root or f"data/{name}")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} Or {dataset.where}.") from None
    return dataset.open(path, part=part, **options)


def trained_on(card: Mapping) -> list[Mapping]:
    """Return the data sets that a network with this card was trained on, then those that its first weights learnt from.

    Each is {"name": ..., and more of `PhotoSet.provenance`}. Of the first weights, the card has to hold their sets
    (`data_before`) or the card of the network that they were; where it holds a name, their sets are not among them.
    """
    data, begun = card.get("data", []), card.get("begun_with")
    own = [data] if isinstance(data, Mapping) else list(data)
    return own + card.get("data_before", []) + (trained_on(begun["card"]) if isinstance(begun, Mapping) else [])


def check_unseen(photos: PhotoSet, card: Mapping) -> None:
    """Raise ValueError where a network with this card was trained on `photos`, or on some of them.

    The card says on which sets it, and the network it began with, were trained (`trained_on`): `photos` may not be of
    the other split of Shi's set, not be all of a folder that it saw a part of, and not hold one of the stems that a
    card names.
    """
    for trained in trained_on(card):
        splits = {photos.name, trained["name"]}
        if len(splits) == 2 and all(name.startswith("shi-") for name in splits):
            raise ValueError(
                f"The network was trained on {trained['name']}, which holds most of the test photos of {photos.name}: "
                "evaluate it on the split that it was trained with."
            )
        if photos.name == f"{trained['name']}-all":
            raise ValueError(
                f"The network was trained on photos of {photos.name.removesuffix('-all')}, so all of them are no "
                'test: evaluate it with part = "test".'
            )
        seen = sorted(set(photos.stems) & set(trained.get("stems", ()))) if photos.name == trained["name"] else []
        if seen:
            raise ValueError(
                f"The network was trained on {first_few(seen)} of {photos.name}, so these {len(photos)} photos are no "
                "test: evaluate it on those that were held out, which its card names."
            )


def _check(name: str, part: str, root: str | Path, split: str, white: str) -> None:
    if name not in DATASETS:
        raise ValueError(f"dataset={name!r} does not exist: choose one of {', '.join(DATASETS)}.")
    dataset = DATASETS[name]
    if part not in dataset.parts:
        raise ValueError(f"dataset={name!r} has no part {part!r}: choose one of {', '.join(dataset.parts)}.")
    if white:
        check_polarity(white)
    if white and "white" not in dataset.options:
        raise ValueError(
            f"dataset={name!r} has masks of one known polarity: leave white={white!r} (parameter masks_white) empty."
        )
    if split != "dutlab100" and "split" not in dataset.options:
        raise ValueError(f"dataset={name!r} has no split {split!r}: leave split at 'dutlab100', it is for Shi's set.")
    if root and not dataset.where:
        raise ValueError(f"dataset={name!r} is rendered and has no folder: leave data_root empty, or choose a dataset.")
