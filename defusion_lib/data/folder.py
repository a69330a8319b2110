"""A folder of your own photos with masks."""

import filecmp
import re
import unicodedata
from hashlib import sha256
from pathlib import Path
from typing import Literal

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import Polarity, check_polarity, list_images, list_paths, pair_masks, read_photo

Part = Literal["train", "test", "all"]
TEST_SHARE = 0.2  # of names, whose photos are for testing
Pairs = dict[str, tuple[Path, Path]]  # {stem: (photo, mask)}
WHERE = (
    "name a folder that holds photos and a folder masks, with each mask under its photo's name; "
    "map photos without masks with `defusion map` (notebook 13)"
)


def open_folder(
    root: str | Path, part: Part = "test", white: Polarity = "blurred", held_out: float | int | None = None
) -> PhotoSet:
    """Open the training or the test part of a folder of photos with masks, or all of it.

    Such a folder holds photos and the folder masks, or the folders images and masks, with each mask under its photo's
    name. Where `root` has the folders train and test, each of them is such a folder, and a part. Otherwise the test
    part is the photos whose names have a hash in the lowest fifth, and the training part the others; where one of them
    would be empty, the lowest hash is for testing and the highest for training. So a photo keeps its part when others
    are added, except in a folder of very few. `held_out` is another share than a fifth (a float below 1), or the number
    of photos with the lowest hashes (an int).

    The set is called folder-<name of the folder>, with -all behind it for all of it; `white` is what white means in the
    masks. Raises FileNotFoundError for a missing or empty folder, missing masks, and one of train and test without the
    other; ValueError for an unknown part or `white`, `held_out` that leaves a part empty or is given for a divided
    folder or with part="all", two photos of one name, photos outside of the folders that hold them, one photo that
    would have to be divided, and a photo that is in both parts. A broken file or a mask of another size raises
    ValueError when its photo is read.
    """
    if part not in ("train", "test", "all"):
        raise ValueError(f'part={part!r} is not a part of a folder: choose part="train", part="test" or part="all".')
    check_polarity(white)
    if part == "all" and held_out is not None:
        raise ValueError(f'held_out={held_out} has no effect on part="all", which holds every photo: leave it out.')
    root = Path(root)
    parts = _parts(root, part != "all", held_out)
    if part == "all":
        pairs: Pairs = {}
        for of_part in parts.values():
            if twice := sorted(set(pairs) & set(of_part)):
                raise ValueError(f"{root} holds {twice[0]} in both train and test: rename one, or use one part alone.")
            pairs |= of_part
    else:
        _refuse_copies(parts)
        pairs = parts[part]
    name = unicodedata.normalize("NFKD", root.resolve().name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(["folder", *re.findall("[a-z0-9]+", name), *(["all"] if part == "all" else [])])

    def read(stem: str) -> Photo:
        return read_photo(stem, *pairs[stem], white)

    return PhotoSet(slug, list(pairs), read)


def is_divided(root: Path) -> bool:
    """Return whether a folder has the folders train and test; raise FileNotFoundError where it has one of them."""
    present = [name for name in ("train", "test") if (root / name).is_dir()]
    if len(present) == 1:
        raise FileNotFoundError(
            f"{root} holds a folder {present[0]} but not its counterpart: expected both train and test, or neither, "
            "so add or rename one."
        )
    return bool(present)


def _parts(root: Path, divide: bool, held_out: float | int | None) -> dict[str, Pairs]:
    """Find the pairs of each part; without `divide`, a folder that does not come divided is one part."""
    if is_divided(root):
        _refuse_pictures(root, "train and test")
        if held_out is not None:
            raise ValueError(
                f"held_out={held_out} has no effect on {root}, whose folders train and test are the parts: "
                "leave it out."
            )
        return {name: _pairs(root / name) for name in ("train", "test")}
    pairs = _pairs(root)
    if not divide:
        return {"all": pairs}
    if len(pairs) < 2:
        raise ValueError(
            f"{root} holds a single photo, which cannot be divided into training and test: add photos, or "
            'use part="all" where nothing is trained.'
        )
    order = sorted(pairs, key=_hash)
    if isinstance(held_out, int):
        if not 0 < held_out < len(order):
            raise ValueError(
                f"held_out={held_out} of the {len(order)} photos in {root} leaves none for testing or none for "
                f"training: give a number from 1 to {len(order) - 1}."
            )
        test = set(order[:held_out])
    else:
        share = TEST_SHARE if held_out is None else held_out
        if not 0 < share < 1:
            raise ValueError(f"held_out={share} is no share of photos: give one between 0 and 1, or a whole number.")
        test = {stem for stem in order[:-1] if _hash(stem) < share} | {order[0]}
    return {
        "train": {stem: pair for stem, pair in pairs.items() if stem not in test},
        "test": {stem: pair for stem, pair in pairs.items() if stem in test},
    }


def find_folders(folder: Path) -> tuple[Path, Path]:
    """Return where the photos and the masks of a folder, or of one of its parts train and test, lie.

    Raises FileNotFoundError where there are no masks, and ValueError for photos beside the folder that holds them.
    """
    inside = (folder / "images").is_dir()
    if inside:
        _refuse_pictures(folder, "images")
    images = folder / "images" if inside else folder
    list_paths(images)  # a folder without photos has another problem than its masks
    if not (folder / "masks").is_dir():
        raise FileNotFoundError(f"{folder} holds photos but no folder masks: {WHERE}.")
    return images, folder / "masks"


def _pairs(folder: Path) -> Pairs:
    """Find the photos of a folder and their masks."""
    of_photos, of_masks = find_folders(folder)
    images = list_images(of_photos)
    masks = pair_masks(images, of_masks)
    return {stem: (images[stem], masks[stem]) for stem in images}


def _refuse_pictures(folder: Path, expected: str) -> None:
    try:
        first = list_paths(folder)[0]
    except FileNotFoundError:
        return
    raise ValueError(f"{folder} holds {first.name} beside {expected}: expected all photos in there, so move it.")


def _refuse_copies(parts: dict[str, Pairs]) -> None:
    """Raise ValueError where a file of one part has the bytes of one of the other."""
    by_size: dict[int, list[Path]] = {}
    for image, _ in parts["train"].values():
        by_size.setdefault(image.stat().st_size, []).append(image)
    for image, _ in parts["test"].values():
        for other in by_size.get(image.stat().st_size, []):
            if filecmp.cmp(image, other, shallow=False):
                raise ValueError(
                    f"{image} and {other} are the same picture, one for testing and one for training: remove one."
                )


def _hash(stem: str) -> float:
    """Map a name to a number in [0, 1), the same in whichever Unicode form its file system gives it."""
    name = unicodedata.normalize("NFC", stem).encode("utf-8", "surrogateescape")
    return int.from_bytes(sha256(name).digest()[:4]) / 2**32
