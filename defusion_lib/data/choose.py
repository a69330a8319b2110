"""A set of photographs by its name, as notebooks and their parameters speak of it."""

from functools import cache
from pathlib import Path

from defusion_lib.data import PhotoSet
from defusion_lib.data.ctcug import open_ctcug
from defusion_lib.data.dut import open_dut
from defusion_lib.data.folder import open_folder
from defusion_lib.data.shi import open_shi
from defusion_lib.data.synthetic import open_synthetic
from defusion_lib.data.szu import open_szu

DATA_SETS = ("synthetic", "shi", "dut", "ctcug", "szu", "folder")
SYNTHETIC_SIZE = (160, 160)


def choose(
    dataset: str, part: str, root: str = "", split: str = "dutlab100", count: int = 16, seed: int = 0
) -> PhotoSet:
    """Open the "train" or "test" part of a data set.

    dataset: one of `DATA_SETS`; root: its folder (`data/<dataset>` where empty); split: which hundred photographs
    of Shi's set are for testing; count, seed: of the synthetic set, whose two parts share no scene. CTCUG and folders have one
    part, and a folder's masks lie in its subfolder masks/. Raises ValueError
    for an unknown name and what the readers raise.
    """
    folder = Path(root or f"data/{dataset}")
    if dataset == "synthetic":
        # Seeds of the two parts never meet: even ones train, odd ones test.
        photos = open_synthetic(count, SYNTHETIC_SIZE, seed=2 * seed + (part == "test"))
        # Rendering takes longer than reading: each photograph is rendered once and kept.
        return PhotoSet(photos.name, photos.stems, cache(photos.read))
    if dataset == "shi":
        return open_shi(folder, split=split, part=part)
    if dataset == "dut":
        return open_dut(folder, part)
    if dataset == "ctcug":
        return open_ctcug(folder)
    if dataset == "szu":
        return open_szu(folder, part)
    if dataset == "folder":
        masks = folder / "masks"
        return open_folder(folder, masks=masks if masks.is_dir() else None)
    raise ValueError(f"dataset={dataset!r} does not exist: choose one of {', '.join(DATA_SETS)}.")
