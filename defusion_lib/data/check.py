"""Check a copy of a data set: which one it is, whether it is whole, and what white means in its masks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from scipy import ndimage

from defusion_lib.data import PhotoSet, ctcug, dut, folder, shi, szu
from defusion_lib.data.datasets import DATASETS
from defusion_lib.data.files import Polarity, list_images, read_photo
from defusion_lib.progress import tqdm

VOTERS = 100  # photos whose content is compared with their masks
FEWEST_VOTERS = 5
AGREEMENT = 0.8  # the share of voters that settles what white means; 0.97 to 1 where it was measured
MARGIN = 3  # pixels on either side of a mask's border that are left out
CLEAR = 50  # pixels of both classes that a photo needs to vote
MISSING = "is missing"


@dataclass
class Check:
    """What was found out about one data set in a folder.

    dataset: its name in `DATASETS`; title: in words; photos: how many were found; expected: how many it has, None for a
    folder; parts: {part, of Shi's set with its split: photos in it}; white: "blurred", "focus", or an empty text where
    that is not clear; evidence: how that is known; problems: {file or folder, relative: what is wrong}; notes:
    sentences about what is left out.
    """

    dataset: str
    title: str
    photos: int = 0
    expected: int | None = None
    parts: dict[str, int] = field(default_factory=dict)
    white: str = ""
    evidence: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, broken or different."""
        return not self.problems


class Vote(NamedTuple):
    """For how many photos of those compared the white part of the mask holds less detail than the black part.

    `uniform` is the number of masks that mark nothing or everything.
    """

    blurred: int
    photos: int
    uniform: int = 0

    @property
    def white(self) -> str:
        """What white means, an empty text where the photos do not agree."""
        focus = self.photos - self.blurred
        if self.photos < FEWEST_VOTERS or max(self.blurred, focus) < AGREEMENT * self.photos:
            return ""
        return "blurred" if self.blurred > focus else "focus"

    def __str__(self):
        return f"the white part has less detail in {self.blurred} of {self.photos} photos"


def check_data(root: str | Path) -> list[Check]:
    """Recognise and check the data sets in a folder: one, or both of a clone of the public repository.

    Every file is read. Raises FileNotFoundError and ValueError as the reader of a folder does where there is no data
    set, and for two pictures of one name.
    """
    root = Path(root)
    return [CHECKS[name](root) for name in _recognise(root)]


def white_is_blurred(image: np.ndarray, white: np.ndarray) -> bool | None:
    """Return whether the white part of a mask holds less detail of its photo than the black part.

    `image` is uint8 (H, W, 3), `white` bool (H, W). Detail is the mean magnitude of the Laplacian, away from the mask's
    border. None where one of the parts has too few pixels. On every third of Shi's photos it is right for 99.6 %, on
    every second of SZU-BD's for 97 %.
    """
    detail = np.abs(ndimage.laplace(image.astype(np.float32).mean(2)))
    inside, outside = (ndimage.binary_erosion(part, iterations=MARGIN) for part in (white, ~white))
    if min(inside.sum(), outside.sum()) < CLEAR:
        return None
    return bool(detail[inside].mean() < detail[outside].mean())


def poll(photos: PhotoSet) -> Vote:
    """Compare masks with the content of some photos, where a mask's 1 (blurred) counts as white."""
    some = (photos[i] for i in range(0, len(photos), max(1, len(photos) // VOTERS)))
    return _count([white_is_blurred(photo.image, photo.mask > 0.5) for photo in some if photo.mask is not None])


def _count(votes: list[bool | None], uniform: int = 0) -> Vote:
    return Vote(votes.count(True), len(votes) - votes.count(None), uniform)


def _recognise(root: Path) -> list[str]:
    """Return the names of the data sets in a folder: by its folders, and by the names of photos where these agree."""
    names = []
    plain = _stems(root / "images") if (root / "masks").is_dir() else set()
    try:
        layout = shi.find_folders(root)[0][0].relative_to(root).as_posix()
        if layout != "images" or _mostly(plain, set(shi.read_manifest()["photographs"])):
            names.append("shi")
    except FileNotFoundError:
        pass
    others = [pair for pair in (*szu.LAYOUTS, *szu.MOTION_LAYOUTS) if pair[0] != "images"]
    if any((root / of_photos).is_dir() for of_photos, _ in others) or _mostly(plain, set(szu.listed_stems())):
        names.append("szu")
    if any(_dut_folders(root, part) for part in get_args(dut.Part)):
        names.append("dut")
    annotated = plain and not _stems(root / "masks") and ctcug.find_annotators(root / "masks")
    if (root / "CTCUG_images").is_dir() or (root / "CTCUG").is_dir() or annotated:
        names.append("ctcug")
    return names or ["folder"]


def _stems(path: Path) -> set[str]:
    """Return the names of the pictures in a folder; none where there is no such folder."""
    try:
        return set(list_images(path))
    except (FileNotFoundError, ValueError):
        return set()


def _mostly(stems: set[str], known: set[str]) -> bool:
    return len(stems) >= FEWEST_VOTERS and len(stems & known) > len(stems) / 2


def _dut_folders(root: Path, part: dut.Part) -> tuple[Path, Path] | None:
    """Return DUT's folders of a part; those called as anybody would only where they hold as many photos as DUT."""
    try:
        images, masks = dut.find_folders(root, part)
    except FileNotFoundError:
        return None
    return (images, masks) if "DUT" in images.name or len(_stems(images)) == dut.COUNTS[part] else None


def _check_shi(root: Path) -> Check:
    manifest = shi.read_manifest()
    stems = list(manifest["photographs"])
    found = shi.compare_copy(root, stems, manifest)
    check = _new("shi", shi.COUNT)
    for path in found.missing:
        check.problems[_relative(path, root)] = MISSING
    for path, problem in found.broken.items():
        check.problems[_relative(path, root)] = problem
    for path, sizes in found.differing.items():
        check.problems[_relative(path, root)] = "differs from the manifest" + (sizes and f" ({sizes})")
    for path in found.inverted:
        check.problems[_relative(path, root)] = "is inverted: white = in focus, expected white = blurred"
    files = shi.find_files(root, stems)
    whole = [stem for stem in stems if not set(files[stem]) & set(found.missing)]
    check.photos = len(whole)
    for split in shi.SPLITS:
        for part in ("train", "test"):
            check.parts[f"{split} {part}"] = len(set(shi.split_stems(split, part)) & set(whole))
    masks = [files[stem][1] for stem in whole]
    known = [path for path in masks if _relative(path, root) not in check.problems]
    if known or found.inverted:
        check.white = "blurred" if len(known) >= len(found.inverted) else "focus"
        check.evidence = f"by the manifest, for {max(len(known), len(found.inverted))} of {len(masks)} masks"
    else:
        others = {stem: files[stem] for stem in whole if not set(files[stem]) & set(found.broken)}
        _settle_white(check, _read_all(check, root, others), "blurred")
    return check


def _check_szu(root: Path) -> Check:
    check = _new("szu", len(szu.listed_stems()))
    for part in get_args(szu.Part):
        try:
            of_photos, of_masks = szu.find_folders(root, part)
        except FileNotFoundError:
            if part == "test":
                check.problems[part] = f"{MISSING}: there are no folders of SZU-BD's defocus part"
            continue
        images, masks = list_images(of_photos), list_images(of_masks)
        names = szu.listed_stems() if part == "test" else list(images)
        pairs = _pair(check, root, names, images, masks, (of_photos, of_masks))
        check.parts[part] = len(pairs)
        vote = _read_all(check, root, pairs)
        if part == "test":
            check.photos = len(pairs)
            _settle_white(check, vote, "blurred")
            if unlisted := len(set(images) - set(names)):
                check.notes.append(
                    f"{unlisted} more photos in {_relative(of_photos, root)} are not in the list, because nobody "
                    "examined whether they are also Shi's: they are skipped."
                )
        else:
            _check_count(check, _relative(of_photos, root), len(images), szu.MOTION_COUNT)
    return check


def _check_dut(root: Path) -> Check:
    check = _new("dut", sum(dut.COUNTS.values()))
    for part in get_args(dut.Part):
        folders = _dut_folders(root, part)
        if folders is None:
            check.problems[part] = f"{MISSING}: there are no folders of DUT's {part} part"
            continue
        images, masks = map(list_images, folders)
        pairs = _pair(check, root, list(images), images, masks, folders)
        check.parts[part] = len(pairs)
        _check_count(check, _relative(folders[0], root), len(images), dut.COUNTS[part])
        _settle_white(check, _read_all(check, root, pairs), "focus")
    check.photos = sum(check.parts.values())
    return check


def _check_ctcug(root: Path) -> Check:
    of_photos, of_masks = ctcug.find_folders(root)
    check = _new("ctcug", ctcug.COUNT)
    images, annotators = list_images(of_photos), ctcug.find_annotators(of_masks)
    for place in annotators or [of_masks]:
        pairs = _pair(check, root, list(images), images, list_images(place), (of_photos, place))
        _settle_white(check, _read_all(check, root, pairs, grey=not annotators), "blurred")
    if annotators and len(annotators) != ctcug.ANNOTATORS:
        found = f"has masks of {len(annotators)} annotators, expected {ctcug.ANNOTATORS}"
        check.problems[_relative(of_masks, root)] = found
    check.photos = check.parts["test"] = len(images)
    _check_count(check, _relative(of_photos, root), len(images), ctcug.COUNT)
    return check


def _check_folder(root: Path) -> Check:
    check = _new("folder", None)
    divided = folder.is_divided(root)
    everything: folder.Pairs = {}
    for place in [root / "train", root / "test"] if divided else [root]:
        of_photos, of_masks = folder.find_folders(place)
        images, masks = list_images(of_photos), list_images(of_masks)
        pairs = _pair(check, root, list(images), images, masks, (of_photos, of_masks))
        everything |= {f"{place.name}/{stem}": pair for stem, pair in pairs.items()}
    check.photos = len(everything)
    vote = _read_all(check, root, everything)
    check.white, check.evidence = vote.white, str(vote)
    if everything and vote.uniform == len(everything):
        check.problems["masks"] = "mark nothing or everything as blurred, all of them: a training needs masks with both"
    if vote.white == "focus":
        check.notes.append('Read this folder with white="focus" (--white focus).')
    if MISSING not in check.problems.values():
        try:
            check.parts = {part: len(folder.open_folder(root, part)) for part in ("train", "test")}  # type: ignore[arg-type]
        except ValueError as error:
            check.problems[root.resolve().name] = str(error)
    return check


CHECKS: Mapping[str, Callable[[Path], Check]] = {
    "shi": _check_shi,
    "szu": _check_szu,
    "dut": _check_dut,
    "ctcug": _check_ctcug,
    "folder": _check_folder,
}


def _new(dataset: str, expected: int | None) -> Check:
    return Check(dataset, DATASETS[dataset].title, expected=expected)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _pair(
    check: Check,
    root: Path,
    names: list[str],
    images: dict[str, Path],
    masks: dict[str, Path],
    folders: tuple[Path, Path],
) -> folder.Pairs:
    """Pair the photos and masks that are there, and add the missing ones to the problems."""
    for name in names:
        for present, place in zip((images, masks), folders):
            if name not in present:
                check.problems[_relative(place / name, root)] = MISSING
    return {name: (images[name], masks[name]) for name in names if name in images and name in masks}


def _read_all(check: Check, root: Path, pairs: folder.Pairs, grey: bool = False) -> Vote:
    """Read every pair, add what cannot be read or does not fit to the problems, and let some photos vote."""
    voters = set(list(pairs)[:: max(1, len(pairs) // VOTERS)])
    votes: list[bool | None] = []
    uniform = 0
    for name, (image, mask) in tqdm(pairs.items(), "checking", leave=False):
        try:
            photo = read_photo(name, image, mask, grey=grey)
        except (ValueError, OSError) as error:
            wrong = mask if str(error).startswith(str(mask)) else image
            check.problems[_relative(wrong, root)] = str(error).removeprefix(str(wrong)).lstrip(": ")
            continue
        uniform += photo.mask is not None and bool(photo.mask.min() == photo.mask.max())
        if name in voters and photo.mask is not None:
            votes.append(white_is_blurred(photo.image, photo.mask > 0.5))
    return _count(votes, uniform)


def _settle_white(check: Check, vote: Vote, expected: Polarity) -> None:
    """Note what white means by the content, and a problem where the set is known to have it the other way round."""
    check.white, check.evidence = vote.white, str(vote)
    if vote.white not in ("", expected):
        check.problems["masks"] = f"are inverted: {vote}, expected white = {expected} in this data set"


def _check_count(check: Check, place: str, found: int, expected: int) -> None:
    if found != expected:
        check.problems[place] = f"holds {found} photos, expected {expected}"
