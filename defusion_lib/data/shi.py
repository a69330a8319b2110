"""Shi, Xu, Jia (CVPR 2014, "CUHK"): 704 partly defocused photos, masks white = blurred, two splits.

The field trains and tests on one of two splits of 604 and 100 photos whose test parts share only 20: results on one
never compare with results on the other, and a network trained on one has seen 80 of the other's test photos. So the
split is part of the set's name.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from defusion_lib.data import Photo, PhotoSet, first_few
from defusion_lib.data.files import read_image, read_mask, read_photo

Split = Literal["dutlab100", "last100"]
Part = Literal["train", "fit", "validation", "test"]
VALIDATION_STEP = 10  # every tenth training photo is for validation: 60 of the 604
COUNT = 704
TRAINING_COUNT = 604
LAYOUTS = (("images", "masks"), ("image", "gt"))
WHERE = (
    "get the blur detection data set from its authors' page "
    "(http://www.cse.cuhk.edu.hk/leojia/projects/dblurdetect/dataset.html) and lay it out as "
    "images/out_of_focus0001.jpg ... 0704.jpg and masks/out_of_focus0001.png ... 0704.png "
    "(or in the folders image and gt, as released)"
)
# A mask belongs to a photo; its white share tells whether it is inverted, up to resampling at its borders.
SHARE_TOLERANCE = 0.02


def open_shi(root: str | Path, split: Split = "dutlab100", part: Part = "test") -> PhotoSet:
    """Open a part of one split as the set "shi-dutlab100" or "shi-last100".

    `dutlab100` is the list of DUT's authors that most of the field uses; `last100` is the paper's text (the first 604
    photos train, the remaining 100 test). `part` is "train" (604), "test" (100), or a part of the training photos for
    choosing between networks: "validation" (60) and "fit" (the other 544). `root` holds images and masks, or image and
    gt. Size and SHA-256 of every file of the part are compared with the manifest in this package. Raises
    FileNotFoundError for missing folders or files, ValueError for an unknown split or part and for files that differ or
    masks that are inverted, naming the first of them.
    """
    stems = split_stems(split, part)
    check_copy(root, stems, read_manifest())
    images, masks = find_folders(Path(root))

    def read(stem: str) -> Photo:
        return read_photo(stem, images / f"{stem}.jpg", masks / f"{stem}.png", white="blurred")

    return PhotoSet(f"shi-{split}", stems, read)


def split_stems(split: Split, part: Part) -> list[str]:
    """Return the names of a part of a split in order; raise ValueError for an unknown split or part."""
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is not a part of a split: choose one of {', '.join(get_args(Part))}.")
    if part in ("fit", "validation"):
        stems = split_stems(split, "train")
        validation = stems[VALIDATION_STEP // 2 :: VALIDATION_STEP]
        return validation if part == "validation" else [stem for stem in stems if stem not in validation]
    if split == "dutlab100":
        return _package_file(f"shi_dutlab100_{part}.txt").read_text(encoding="ascii").split()
    if split == "last100":
        numbers = range(1, TRAINING_COUNT + 1) if part == "train" else range(TRAINING_COUNT + 1, COUNT + 1)
        return [f"out_of_focus{number:04d}" for number in numbers]
    raise ValueError(f'split={split!r} is not a split of this set: choose split="dutlab100" or split="last100".')


def check_copy(root: str | Path, stems: Sequence[str], manifest: dict) -> None:
    """Compare photos and masks of a copy with a manifest.

    Raises FileNotFoundError for missing folders or files, ValueError for inverted masks (their white share is one minus
    the manifest's blurred share) and for files of another size or SHA-256; each names the first files.
    """
    root = Path(root)
    images, masks = find_folders(root)
    paths = [(stem, images / f"{stem}.jpg", masks / f"{stem}.png") for stem in stems]
    missing = [str(path.relative_to(root)) for _, *pair in paths for path in pair if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root} lacks {first_few(missing)} (expected {len(stems)} photos and their masks): complete the "
            f"copy, or {WHERE}."
        )
    inverted, differing = [], []
    for stem, image, mask in paths:
        entry = manifest["photographs"][stem]
        size = (entry["height"], entry["width"])
        if sha256_of(image) != entry["image_sha256"]:
            differing.append(_difference(image, read_image(image).shape[:2], size))
        if sha256_of(mask) != entry["mask_sha256"]:
            found = read_mask(mask, manifest["white"])
            if found.shape == size and _looks_inverted(float(found.mean()), entry["blurred_share"]):
                inverted.append(mask.name)
            else:
                differing.append(_difference(mask, found.shape, size))
    if inverted:
        raise ValueError(
            f"{masks}: masks are inverted: white = in focus found ({first_few(inverted)}; {len(inverted)} in all), "
            "expected white = blurred: invert them, use the released ones, or read the copy as "
            'dataset="folder" with white="focus".'
        )
    if differing:
        raise ValueError(
            f"{root}: {first_few(differing)} differ from the manifest (another SHA-256 than expected in "
            f"{len(differing)} of {2 * len(stems)} files): use the released files, or read the copy as "
            'dataset="folder" if you know why they differ.'
        )


def read_manifest(path: str | Path | None = None) -> dict:
    """Read a manifest, by default the one of the released 704 photos.

    Returns {"white": "blurred" or "focus", "photographs": {stem: {"width", "height" (pixels), "blurred_share" (0-1),
    "image_sha256", "mask_sha256"}}}. `tools/shi_manifest.py` makes such files.
    """
    source = _package_file("shi_manifest.json") if path is None else Path(path)
    content = json.loads(source.read_text(encoding="ascii"))
    columns = content["columns"]
    photographs = {stem: dict(zip(columns, row, strict=True)) for stem, row in content["photographs"].items()}
    return {"white": content["white"], "photographs": photographs}


def find_folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of photos and masks of a copy; raise FileNotFoundError where there are none."""
    for images, masks in LAYOUTS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return root / images, root / masks
    raise FileNotFoundError(f"{root} does not hold the Shi set: {WHERE}.")


def _package_file(name: str):
    return resources.files("defusion_lib.data").joinpath(name)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks_inverted(found: float, expected: float) -> bool:
    return abs(found - (1 - expected)) < SHARE_TOLERANCE and abs(found - expected) > SHARE_TOLERANCE


def _difference(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> str:
    if found == expected:
        return path.name
    return f"{path.name} ({found[1]}x{found[0]} pixels, expected {expected[1]}x{expected[0]})"
