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
from typing import Literal, NamedTuple, get_args

from defusion_lib.data import Photo, PhotoSet, first_few
from defusion_lib.data.files import read_image, read_mask, read_photo

Split = Literal["last100", "dutlab100"]  # that of the paper's text comes first
Part = Literal["train", "fit", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
COUNT = 704
TRAINING_COUNT = 604
_CLONE = (("shi800train", "shi800train-gt"), ("shi200test", "shi200test-gt"))
# Folders of photos and of masks. The last two are the layout of the public repository: its folder CUHK, and beside it.
LAYOUTS = (
    (("images", "masks"),),
    (("image", "gt"),),
    _CLONE,
    tuple((f"CUHK/{images}", f"CUHK/{masks}") for images, masks in _CLONE),
)
WHERE = (
    "clone the GitHub repository mathxlsun/BD_EFPN and give its folder (its folder CUHK holds the set), or get the "
    "blur detection data set from its authors' page "
    "(http://www.cse.cuhk.edu.hk/leojia/projects/dblurdetect/dataset.html, which may be gone) and lay it out as "
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
    gt, or is a clone of the public repository (GitHub, mathxlsun/BD_EFPN) or its folder CUHK; photos of motion blur are
    skipped. Size and SHA-256 of every file of the part are compared with the manifest in this package. Raises
    FileNotFoundError for missing folders or files, ValueError for an unknown split or part and for files that differ or
    masks that are inverted, naming the first of them.
    """
    stems = split_stems(split, part)
    check_copy(root, stems, read_manifest())
    files = find_files(root, stems)

    def read(stem: str) -> Photo:
        return read_photo(stem, *files[stem], white="blurred")

    return PhotoSet(f"shi-{split}", stems, read)


def split_stems(split: Split, part: Part) -> list[str]:
    """Return the names of a part of a split in order; raise ValueError for an unknown split or part."""
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is not a part of a split: choose one of {', '.join(get_args(Part))}.")
    if part in ("fit", "validation"):
        fit, validation = every_tenth(split_stems(split, "train"))
        return validation if part == "validation" else fit
    if split == "dutlab100":
        return _package_file(f"shi_dutlab100_{part}.txt").read_text(encoding="ascii").split()
    if split == "last100":
        numbers = range(1, TRAINING_COUNT + 1) if part == "train" else range(TRAINING_COUNT + 1, COUNT + 1)
        return [f"out_of_focus{number:04d}" for number in numbers]
    raise ValueError(f"split={split!r} is not a split of this set: choose one of {', '.join(SPLITS)}.")


def every_tenth(stems: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the names of training photos: those to learn from, and every tenth, for choosing between networks."""
    tenth = list(stems[5::10])
    return [stem for stem in stems if stem not in tenth], tenth


class Differences(NamedTuple):
    """What differs between a copy and a manifest.

    missing: paths in the copy; broken: {path: what reading it raises}; inverted: masks with white = in focus;
    differing: {path: its size and the expected one, or an empty text} for files of another SHA-256.
    """

    missing: list[Path]
    broken: dict[Path, str]
    inverted: list[Path]
    differing: dict[Path, str]


def compare_copy(root: str | Path, stems: Sequence[str], manifest: dict) -> Differences:
    """Compare photos and masks of a copy with a manifest, by size and SHA-256.

    A mask is inverted where its white share is one minus the manifest's blurred share. Raises FileNotFoundError for
    missing folders.
    """
    found = Differences([], {}, [], {})
    for stem, (image, mask) in find_files(root, stems).items():
        entry = manifest["photographs"][stem]
        size = (entry["height"], entry["width"])
        for path, expected in ((image, entry["image_sha256"]), (mask, entry["mask_sha256"])):
            if not path.is_file():
                found.missing.append(path)
                continue
            try:
                if sha256_of(path) == expected:
                    continue
            except OSError:
                pass  # a file that cannot be read, which the next lines say in a sentence
            try:
                pixels = read_image(path) if path is image else read_mask(path, manifest["white"])
            except ValueError as error:
                found.broken[path] = str(error)
                continue
            same_size = pixels.shape[:2] == size
            if path is mask and same_size and _looks_inverted(float(pixels.mean()), entry["blurred_share"]):
                found.inverted.append(path)
            else:
                found.differing[path] = "" if same_size else _sizes(pixels.shape[:2], size)
    return found


def check_copy(root: str | Path, stems: Sequence[str], manifest: dict) -> None:
    """Raise an error where a copy differs from a manifest (`compare_copy`), naming the first files.

    It is FileNotFoundError for missing folders or files, ValueError for files that are broken, inverted or of another
    size or SHA-256.
    """
    root = Path(root)
    found = compare_copy(root, stems, manifest)
    if found.missing:
        missing = [path.relative_to(root).as_posix() for path in found.missing]
        raise FileNotFoundError(
            f"{root} lacks {first_few(missing)} (expected {len(stems)} photos and their masks): complete the "
            f"copy, or {WHERE}."
        )
    for problem in found.broken.values():
        raise ValueError(problem)
    if found.inverted:
        masks = [path.name for path in found.inverted]
        raise ValueError(
            f"{found.inverted[0].parent}: masks are inverted: white = in focus found ({first_few(masks)}; {len(masks)} "
            "in all), expected white = blurred: invert them, use the released ones, or read the copy as "
            'dataset="folder" with white="focus".'
        )
    if found.differing:
        differing = [f"{path.name}{sizes and f' ({sizes})'}" for path, sizes in found.differing.items()]
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


def find_folders(root: str | Path) -> list[tuple[Path, Path]]:
    """Return the folders of photos and of masks of a copy; raise FileNotFoundError where there are none."""
    root = Path(root)
    for layout in LAYOUTS:
        pairs = [(root / images, root / masks) for images, masks in layout]
        if all(folder.is_dir() for pair in pairs for folder in pair):
            return pairs
    raise FileNotFoundError(f"{root} does not hold the Shi set: {WHERE}.")


def find_files(root: str | Path, stems: Sequence[str] | None = None) -> dict[str, tuple[Path, Path]]:
    """Find the photo and the mask of each stem in a copy, by default of each photo there called out_of_focus*.

    The path of a file that is missing is where it belongs. Raises FileNotFoundError for missing folders.
    """
    folders = find_folders(root)
    # 42 photos of the public repository are named .JPG, on a file system that may tell the cases apart.
    images = {path.stem: path for of_photos, _ in folders for path in _files(of_photos, ".jpg")}
    masks = {path.stem: path for _, of_masks in folders for path in _files(of_masks, ".png")}
    if stems is None:
        stems = sorted(stem for stem in images if stem.startswith("out_of_focus"))
    found = {}
    for stem in stems:
        present = {path.parent for path in (images.get(stem), masks.get(stem)) if path is not None}
        of_photos, of_masks = next((pair for pair in folders if present & set(pair)), folders[0])
        found[stem] = images.get(stem, of_photos / f"{stem}.jpg"), masks.get(stem, of_masks / f"{stem}.png")
    return found


def _files(folder: Path, suffix: str) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() == suffix]


def _package_file(name: str):
    return resources.files("defusion_lib.data").joinpath(name)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks_inverted(found: float, expected: float) -> bool:
    return abs(found - (1 - expected)) < SHARE_TOLERANCE and abs(found - expected) > SHARE_TOLERANCE


def _sizes(found: tuple[int, ...], expected: tuple[int, int]) -> str:
    return f"{found[1]}x{found[0]} pixels, expected {expected[1]}x{expected[0]}"
