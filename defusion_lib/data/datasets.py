"""A set of photographs by its name, as notebooks and their parameters speak of it."""

from collections.abc import Mapping
from functools import cache
from typing import get_args

from defusion_lib.data import PhotoSet, ctcug, dut, shi, szu
from defusion_lib.data import folder as own
from defusion_lib.data.synthetic import open_synthetic
from defusion_lib.paths import locate

# Each data set by its name, and its parts.
PARTS = {
    "synthetic": ("train", "test"),
    "shi": get_args(shi.Part),
    "dut": ("train", "test"),
    "ctcug": ("test",),
    "szu": ("test",),
    "folder": ("train", "test", "all"),
}
DATA_SETS = tuple(PARTS)
WHITES = ("", "blurred", "focus")
SYNTHETIC_SIZE = (160, 160)
WHERE = {"shi": shi.WHERE, "dut": dut.WHERE, "ctcug": ctcug.WHERE, "szu": szu.WHERE, "folder": own.WHERE}


def choose(
    dataset: str,
    part: str,
    root: str = "",
    split: str = "dutlab100",
    count: int = 16,
    seed: int = 0,
    white: str = "",
) -> PhotoSet:
    """Open a part of a data set, one of its `PARTS`; "all" is the whole of a folder of one's own.

    dataset: one of `DATA_SETS`; root: its folder, found as `runs.locate` says (`data/<dataset>` where empty); split: which
    hundred photographs of Shi's set are for testing; count, seed: of the synthetic set, whose two parts share no scene;
    white: what white means in the masks of a folder of one's own, "blurred" (or empty) or "focus". Raises
    ValueError for an unknown name or part and for a root, split or white that the data set has no use for, FileNotFoundError where there is no such folder, and what the readers raise.
    """
    _check(dataset, part, root, split, white)
    if dataset == "synthetic":
        # Seeds of the two parts never meet: even ones train, odd ones test.
        photos = open_synthetic(count, SYNTHETIC_SIZE, seed=2 * seed + (part == "test"))
        # Rendering takes longer than reading: each photograph is rendered once and kept.
        return PhotoSet(photos.name, photos.stems, cache(photos.read))
    try:
        folder = locate(root or f"data/{dataset}")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} Or {WHERE[dataset]}.") from None
    if dataset == "shi":
        return shi.open_shi(folder, split=split, part=part)
    if dataset == "dut":
        return dut.open_dut(folder, part)
    if dataset == "ctcug":
        return ctcug.open_ctcug(folder)
    if dataset == "szu":
        return szu.open_szu(folder, part)
    return own.open_part(folder, part, white or "blurred")


def check_unseen(photos: PhotoSet, card: Mapping) -> None:
    """Raise ValueError where `photos` are all of a folder that a network with this card was trained on a part of."""
    if any(photos.name == f"{learnt['name']}-all" for learnt in card.get("data", [])):
        raise ValueError(
            f"The network was trained on photographs of {photos.name.removesuffix('-all')}, so all of them are no test: "
            'evaluate it with part = "test".'
        )


def _check(dataset, part, root, split, white):
    if dataset not in DATA_SETS:
        raise ValueError(f"dataset={dataset!r} does not exist: choose one of {', '.join(DATA_SETS)}.")
    if part not in PARTS[dataset]:
        raise ValueError(f"dataset={dataset!r} has no part {part!r}: choose one of {', '.join(PARTS[dataset])}.")
    if white not in WHITES:
        raise ValueError(f'white={white!r} is not a mask polarity: choose "blurred" or "focus".')
    if white and dataset != "folder":
        raise ValueError(
            f"dataset={dataset!r} has masks of one known polarity: leave white={white!r} (parameter masks_white) empty."
        )
    if split != "dutlab100" and dataset != "shi":
        raise ValueError(f"dataset={dataset!r} has no split {split!r}: leave split at 'dutlab100', it is for Shi's set.")
    if root and dataset == "synthetic":
        raise ValueError("dataset='synthetic' is rendered and has no folder: leave data_root empty, or choose a dataset.")
