"""Shi, Xu, Jia (CVPR 2014, "CUHK"): 704 partly defocused photographs, masks white = blurred, two splits.

The field trains and tests on one of two splits of 604 and 100 photographs whose test parts share only 20:
results on one never compare with results on the other, and a network trained on one has seen 80 of the
other's test photographs. So the split is part of the set's name.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from defusion_lib.data import Photo, PhotoSet, some
from defusion_lib.data.files import read_image, read_mask, read_photo

Split = Literal["dutlab100", "last100"]
Part = Literal["train", "fit", "validation", "test"]
VALIDATED = 10  # every tenth training photograph is for validation: 60 of the 604
COUNT = 704
FIRST = 604
LAYOUTS = (("images", "masks"), ("image", "gt"))
WHERE = (
    "get the blur detection data set from its authors' page "
    "(http://www.cse.cuhk.edu.hk/leojia/projects/dblurdetect/dataset.html) and lay it out as "
    "images/out_of_focus0001.jpg ... 0704.jpg and masks/out_of_focus0001.png ... 0704.png "
    "(or in the folders image and gt, as released)"
)
# A mask belongs to a photograph; its white area says which way round it is, up to resampling at its borders.
SHARE_TOLERANCE = 0.02


def open_shi(
    root: str | Path, split: Split = "dutlab100", part: Part = "test", verify: bool = True
) -> PhotoSet:
    """Open a part of one split as the set "shi-dutlab100" or "shi-last100".

    `dutlab100` is the list of DUT's authors that most of the field uses; `last100` is the paper's text (the
    first 604 photographs train, the remaining 100 test). `part` is "train" (604), "test" (100), or what the training
    part is divided into wherever something is chosen: "validation" (60) and "fit" (544, the others). `root` holds images and masks, or image and gt.
    With `verify`, size and SHA-256 of every file of the part are compared with the manifest in this
    package. Raises FileNotFoundError for missing folders or files, ValueError for an unknown split or part
    and for files that differ or masks that are inverted, naming the first of them.
    """
    stems = split_stems(split, part)
    check_copy(root, stems, read_manifest() if verify else None)
    images, masks = _folders(Path(root))

    def read(stem: str) -> Photo:
        return read_photo(stem, images / f"{stem}.jpg", masks / f"{stem}.png", white="blurred")

    return PhotoSet(f"shi-{split}", stems, read)


def split_stems(split: Split, part: Part) -> list[str]:
    """Name the photographs of a part of a split in order; raises ValueError for an unknown split or part."""
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is not a part of a split: choose one of {', '.join(get_args(Part))}")
    if part in ("fit", "validation"):
        stems = split_stems(split, "train")
        validation = stems[VALIDATED // 2 :: VALIDATED]
        return validation if part == "validation" else [stem for stem in stems if stem not in validation]
    if split == "dutlab100":
        return _package_file(f"shi_dutlab100_{part}.txt").read_text(encoding="ascii").split()
    if split == "last100":
        numbers = range(1, FIRST + 1) if part == "train" else range(FIRST + 1, COUNT + 1)
        return [f"out_of_focus{number:04d}" for number in numbers]
    raise ValueError(f'split={split!r} is not a split of this set: say split="dutlab100" or split="last100"')


def check_copy(root: str | Path, stems: Sequence[str], manifest: dict | None = None) -> None:
    """Compare photographs of a copy with a manifest; without one, only look whether they are there.

    Raises FileNotFoundError for missing folders or files, ValueError for inverted masks (their white share
    is one minus the manifest's blurred share) and for files of another size or SHA-256; each names the
    first files.
    """
    root = Path(root)
    images, masks = _folders(root)
    paths = [(stem, images / f"{stem}.jpg", masks / f"{stem}.png") for stem in stems]
    missing = [str(path.relative_to(root)) for _, *pair in paths for path in pair if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root} lacks {some(missing)} (expected {len(stems)} photographs and their masks): complete the "
            f"copy, or {WHERE}"
        )
    if manifest is None:
        return
    inverted, differing = [], []
    for stem, image, mask in paths:
        entry = manifest["photographs"][stem]
        size = (entry["height"], entry["width"])
        if _sha256(image) != entry["image_sha256"]:
            differing.append(_difference(image, read_image(image).shape[:2], size))
        if _sha256(mask) != entry["mask_sha256"]:
            found = read_mask(mask, manifest["white"])
            if found.shape == size and _looks_inverted(float(found.mean()), entry["blurred_share"]):
                inverted.append(mask.name)
            else:
                differing.append(_difference(mask, found.shape, size))
    if inverted:
        raise ValueError(
            f"{masks}: masks are inverted: white = in focus found ({some(inverted)}; {len(inverted)} in "
            "all), expected white = blurred; invert them, bring the released ones, or use open_folder(..., "
            'white="focus")'
        )
    if differing:
        raise ValueError(
            f"{root}: {some(differing)} differ from the manifest (another SHA-256 than expected in "
            f"{len(differing)} of {2 * len(stems)} files): bring the released files, or open "
            "with verify=False if you know why they differ"
        )


def read_manifest(path: str | Path | None = None) -> dict:
    """Read a manifest, by default the one of the released 704 photographs.

    {"white": "blurred" or "focus", "photographs": {stem: {"width", "height" (pixels), "blurred_share"
    (0-1), "image_sha256", "mask_sha256"}}}.
    """
    source = _package_file("shi_manifest.json") if path is None else Path(path)
    content = json.loads(source.read_text(encoding="ascii"))
    columns = content["columns"]
    photographs = {stem: dict(zip(columns, row, strict=True)) for stem, row in content["photographs"].items()}
    return {"white": content["white"], "photographs": photographs}


def write_manifest(root: str | Path, path: str | Path) -> dict:
    """Write the manifest of a copy whose masks are white = blurred, and return it as `read_manifest` does.

    The committed manifest was made by this from one complete copy. Raises FileNotFoundError for missing
    folders, ValueError for files that cannot be read or masks whose size is not their photograph's.
    """
    images, masks = _folders(Path(root))
    columns = ["width", "height", "blurred_share", "image_sha256", "mask_sha256"]
    rows = {}
    for image in sorted(images.glob("out_of_focus*.jpg")):
        photo = read_photo(image.stem, image, masks / f"{image.stem}.png", white="blurred")
        height, width = photo.mask.shape
        rows[image.stem] = [
            width,
            height,
            round(float(photo.mask.mean()), 4),
            _sha256(image),
            _sha256(masks / f"{image.stem}.png"),
        ]
    lines = ",\n".join(f"{json.dumps(stem)}: {json.dumps(row)}" for stem, row in rows.items())
    text = f'{{"white": "blurred", "columns": {json.dumps(columns)}, "photographs": {{\n{lines}\n}}}}\n'
    path = Path(path)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="ascii")
    os.replace(unfinished, path)
    return read_manifest(path)


def _folders(root: Path) -> tuple[Path, Path]:
    for images, masks in LAYOUTS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return root / images, root / masks
    raise FileNotFoundError(f"{root} does not hold the Shi set: {WHERE}")


def _package_file(name: str):
    return resources.files("defusion_lib.data").joinpath(name)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks_inverted(found: float, expected: float) -> bool:
    return abs(found - (1 - expected)) < SHARE_TOLERANCE and abs(found - expected) > SHARE_TOLERANCE


def _difference(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> str:
    if found == expected:
        return path.name
    return f"{path.name} ({found[1]}x{found[0]} pixels, expected {expected[1]}x{expected[0]})"
