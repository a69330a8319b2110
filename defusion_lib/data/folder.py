"""Anybody's photographs, with or without masks."""

import filecmp
import re
import unicodedata
from hashlib import sha256
from pathlib import Path
from typing import Literal

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import White, list_images, list_paths, pair_masks, read_photo

Part = Literal["train", "test", "all"]
HELD_OUT = 0.2  # share of names whose photographs are for testing
WHERE = (
    "name a folder that holds photographs and a folder masks, with each mask under its photograph's name; "
    "for photographs without masks, use notebook 13"
)


def open_folder(root: str | Path, masks: str | Path | None = None, white: White = "blurred") -> PhotoSet:
    """Open the pictures that lie directly in `root` as a set of the folder's name.

    `masks` is a folder with one mask a photograph under the photograph's name (any picture format), `white`
    what white means in them; without it every `Photo.mask` is None. Raises FileNotFoundError for a missing
    or empty folder and for missing masks, ValueError for two pictures of one name or an unknown `white`; a
    broken file or a mask of another size raises ValueError when its photograph is read.
    """
    images = list_images(root)
    paired = dict.fromkeys(images) if masks is None else pair_masks(images, masks)
    return _photo_set(Path(root).resolve().name, {stem: (images[stem], paired[stem]) for stem in images}, white)


def open_part(root: str | Path, part: Part = "test", white: White = "blurred") -> PhotoSet:
    """Open the training or the test part of a folder of photographs with masks, or all of it.

    Such a folder holds pictures and the folder masks, or the folders images and masks. Where `root` has the folders
    train and test, each of them is such a folder, and a part. Otherwise the test part is the photographs whose
    names have a hash in the lowest fifth, and the training part the others; where one of them would be empty, the
    lowest hash is for testing and the highest for training. So a photograph keeps its part when others are added,
    except in a folder of very few.

    The set is called folder-<name of the folder>, with -all behind it for all of it; `white` is what white means in
    the masks. Raises what `open_folder` raises; FileNotFoundError where there are no masks, or one of train and test;
    ValueError for an unknown part, pictures outside of the folders that hold them, one photograph that would have to
    be divided, and a picture that is in both parts.
    """
    if part not in ("train", "test", "all"):
        raise ValueError(f'part={part!r} is not a part of a folder: say part="train", part="test" or part="all"')
    root = Path(root)
    parts = _parts(root, divide=part != "all")
    if part == "all":
        pairs = {}
        for of_part in parts.values():
            if twice := sorted(set(pairs) & set(of_part)):
                raise ValueError(f"{root} holds {twice[0]} in both train and test: rename one, or use one part alone")
            pairs |= of_part
    else:
        _refuse_copies(parts)
        pairs = parts[part]
    name = unicodedata.normalize("NFKD", root.resolve().name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(["folder", *re.findall("[a-z0-9]+", name), *(["all"] if part == "all" else [])])
    return _photo_set(slug, pairs, white)


def _photo_set(name: str, pairs: dict[str, tuple[Path, Path | None]], white: White) -> PhotoSet:
    """A set of pairs of photograph and mask."""
    if white not in ("blurred", "focus"):
        raise ValueError(f'white={white!r} is not a mask polarity: say white="blurred" or white="focus"')

    def read(stem: str) -> Photo:
        return read_photo(stem, *pairs[stem], white)

    return PhotoSet(name, list(pairs), read)


def _parts(root: Path, divide: bool) -> dict[str, dict[str, tuple[Path, Path]]]:
    """The pairs of each part by stem; without `divide`, a folder that does not come divided is one part."""
    present = [name for name in ("train", "test") if (root / name).is_dir()]
    if len(present) == 2:
        _refuse_pictures(root, "train and test")
        return {name: _pairs(root / name) for name in present}
    if present:
        raise FileNotFoundError(
            f"{root} holds a folder {present[0]} but not its counterpart: expected both train and test, or neither, "
            "so add or rename one"
        )
    pairs = _pairs(root)
    if not divide:
        return {"all": pairs}
    if len(pairs) < 2:
        raise ValueError(
            f"{root} holds a single photograph, which cannot be divided into training and test: add photographs, or "
            'use part="all" where nothing is trained'
        )
    order = sorted(pairs, key=_hash)
    test = {stem for stem in order[:-1] if _hash(stem) < HELD_OUT} | {order[0]}
    return {
        "train": {stem: pair for stem, pair in pairs.items() if stem not in test},
        "test": {stem: pair for stem, pair in pairs.items() if stem in test},
    }


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The photographs of a folder with their masks, by stem."""
    inside = (folder / "images").is_dir()
    if inside:
        _refuse_pictures(folder, "images")
    images = list_images(folder / "images" if inside else folder)
    if not (folder / "masks").is_dir():
        raise FileNotFoundError(f"{folder} holds photographs but no folder masks: {WHERE}")
    masks = pair_masks(images, folder / "masks")
    return {stem: (images[stem], masks[stem]) for stem in images}


def _refuse_pictures(folder: Path, expected: str) -> None:
    try:
        first = list_paths(folder)[0]
    except FileNotFoundError:
        return
    raise ValueError(f"{folder} holds {first.name} beside {expected}: expected all photographs in there, so move it")


def _refuse_copies(parts: dict[str, dict[str, tuple[Path, Path]]]) -> None:
    """Raise ValueError where a file of one part has the bytes of one of the other."""
    by_size = {}
    for image, _ in parts["train"].values():
        by_size.setdefault(image.stat().st_size, []).append(image)
    for image, _ in parts["test"].values():
        for other in by_size.get(image.stat().st_size, []):
            if filecmp.cmp(image, other, shallow=False):
                raise ValueError(
                    f"{image} and {other} are the same picture, one for testing and one for training: remove one"
                )


def _hash(stem: str) -> float:
    """A number in [0, 1) that a name always gets, whichever Unicode form its file system gives it."""
    name = unicodedata.normalize("NFC", stem).encode("utf-8", "surrogateescape")
    return int.from_bytes(sha256(name).digest()[:4]) / 2**32
