"""Read photos and masks from files, and list and pair them.

Every photo becomes uint8 RGB and every mask float32 in [0, 1] with 1 = blurred, however a file stores them and
whichever polarity its set uses.
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from defusion_lib.data import Photo, first_few
from defusion_lib.data.decoding import HAS_AVIF, HAS_HEIF, Picture, decode, orient, to_8_bits

SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"]
    + [".avif"] * HAS_AVIF
    + [".heic", ".heif"] * HAS_HEIF
)
Polarity = Literal["blurred", "focus"]  # what white means in a mask

# White of a mask may have lost this little to JPEG; the largest level below is a label, not white.
_NEARLY_WHITE = 250
# The share of a mask that even areas of grey may cover: 0.016 in one drawn by hand, more in masks of labels.
_EVEN_GREY = 0.02
# An even area of grey among so few levels is a label however small; edges make more levels than these.
_FEW_LEVELS = 16
# What the channels of a grey JPEG in colours may differ by.
COLOURLESS = 16
# A grey mask counts no votes: its largest level is above this, or it is black.
_VOTES = 10


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit files (scaled to 8 bits) are converted; transparent pixels become white, as a viewer
    shows them; of several frames or pages the first is read. Raises FileNotFoundError, or ValueError for a file that is
    broken, not an image, larger than `decoding.MAX_MEGAPIXELS`, or whose header does not define what its pixels mean.
    """
    return np.array(_flatten(decode(Path(path)).image, "white").convert("RGB"))


def read_reduced(path: str | Path, min_side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read an image like `read_image`, but smaller by a whole factor where both sides keep `min_side` pixels.

    Returns it as uint8 RGB, and the (height, width) of the full image, upright. A JPEG is decoded at 1/2, 1/4 or 1/8 of
    its size at once, for a fraction of the time and memory, and may be larger than `decoding.MAX_MEGAPIXELS`; other
    reductions are averages. Raises what `read_image` raises.
    """
    picture = decode(Path(path), min_side)
    image = _flatten(_reduce(to_8_bits(picture.image), min_side), "white").convert("RGB")
    return np.array(image), picture.shape


def read_mask(
    path: str | Path, white: Polarity = "blurred", shape: tuple[int, int] | None = None, grey: bool = False
) -> np.ndarray:
    """Read a mask as float32 (H, W) with 1 = blurred.

    `white` is what white means in the file. Released masks hold greys from resampling, so values are cut at 0.5 (0.5
    and above is white; 8 and 16 bits hold no exact 0.5) unless `grey` keeps them as they are. Transparent pixels are
    black: nobody painted them. With `shape`, the (H, W) of the photo, a mask of another size is refused. Raises
    FileNotFoundError, or ValueError for a file that is broken, of another size, or not a mask: colours, labels instead
    of 0 and 255, nothing but transparency.
    """
    check_polarity(white)
    mask, _ = _read_levels(path, grey)
    _check_shape(path, mask, shape)
    return _as_mask(mask, white, grey)


def read_photo(
    name: str, image: str | Path, mask: str | Path | None = None, white: Polarity = "blurred", grey: bool = False
) -> Photo:
    """Read a photo and, where there is one, its mask of the same size into a `Photo` called `name`.

    A mask drawn on the stored pixels of a photo that EXIF turns is turned likewise. Raises what `read_image` and
    `read_mask` raise, and ValueError where the sizes do not tell on which of the two the mask was drawn.
    """
    check_polarity(white)
    picture = decode(Path(image))
    pixels = np.array(_flatten(picture.image, "white").convert("RGB"))
    if mask is None:
        return Photo(name, pixels, None)
    levels, drawn = _read_levels(mask, grey)
    if picture.orientation != 1 and drawn == 1:
        levels = _orient_like(picture, levels, image, mask)
    _check_shape(mask, levels, pixels.shape[:2])
    return Photo(name, pixels, _as_mask(levels, white, grey))


def list_paths(folder: str | Path, recursive: bool = False, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """List the image files directly in a folder, or with `recursive` below it too, so that 2 comes before 10.

    Hidden files and folders, links to folders, and files whose ending is not among `suffixes`, are skipped. A folder
    below it that cannot be listed is in the list itself. Raises FileNotFoundError for a folder that is missing or holds
    no image, and OSError for one that cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: expected a folder of pictures, so check the path.")
    paths, unlisted = [], []

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise OSError(f"{folder} cannot be listed ({error.strerror}): change its permissions.") from error
        unlisted.append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        paths += [Path(place, name) for name in names if not name.startswith(".")]
    paths = unlisted + [path for path in paths if path.suffix.lower() in suffixes]
    if not paths:
        kinds = ", ".join(sorted(SUFFIXES))
        raise FileNotFoundError(f"{folder} holds no picture (expected names ending in {kinds}): check the path.")
    return sorted(paths, key=lambda p: ([_natural(part) for part in p.parent.parts], _natural(p.stem), p.name))


def list_images(folder: str | Path) -> dict[str, Path]:
    """List the image files directly in a folder as {stem: path}, in the order of `list_paths`.

    Stems are in Unicode's form NFC, whichever form the file system gives. Raises FileNotFoundError as `list_paths`
    does, and ValueError for two images of one stem.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in list_paths(folder):
        stem = composed(path.stem)
        if stem in found:
            forms = " (names of two Unicode forms)" if found[stem].stem != path.stem else ""
            raise ValueError(
                f"{folder} holds both {found[stem].name} and {path.name}{forms}: expected one picture "
                "of each name, so remove or rename one of them."
            )
        found[stem] = path
    return found


def pair_masks(images: dict[str, Path], folder: str | Path) -> dict[str, Path]:
    """Find the mask of every image in `images` by its stem; masks without an image are skipped.

    Unicode's forms of one name are the same. Raises FileNotFoundError that names the first images without a mask, and
    what `list_images` raises.
    """
    masks = list_images(folder)
    missing = [stem for stem in images if composed(stem) not in masks]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no mask for {first_few(missing)} ({len(missing)} of {len(images)} photos): "
            "expected one mask for each photo under the photo's name, so add or rename the masks."
        )
    return {stem: masks[composed(stem)] for stem in images}


def check_white(masks: Iterable[Path], name: str, white: Polarity, share: float) -> None:
    """Raise ValueError where the masks of a set are inverted, those of `name` being white = `white`.

    `share` is the set's mean share of white pixels, not one half; the masks are inverted where the mean of the given
    ones is on the other side of one half.
    """
    paths = list(masks)
    found = sum(float(read_mask(path).mean()) for path in paths) / len(paths)
    if (found - 0.5) * (share - 0.5) < 0:
        words = {"blurred": "blurred", "focus": "in focus"}[white]
        raise ValueError(
            f"{paths[0].parent}: masks are inverted: white covers {found:.2f} of the set, expected about {share}, for "
            f"white = {words} in {name}: invert them, or use the released ones."
        )


def composed(name: str) -> str:
    """Return a name in the form that one character for each letter has: systems store accents in two forms."""
    return unicodedata.normalize("NFC", name)


def _natural(stem: str) -> list:
    pieces = [piece for piece in re.split(r"([0-9]+)", composed(stem)) if piece]
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _flatten(image: Image.Image, backdrop: str) -> Image.Image:
    image = to_8_bits(image)
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, backdrop), layer)


def _reduce(image: Image.Image, min_side: int) -> Image.Image:
    """Average squares of pixels, the largest that leave both sides at least `min_side`."""
    factor = min(image.size) // min_side
    if factor < 2:
        return image
    if image.mode in ("1", "P", "PA"):
        # Indices of colours have no mean.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(factor)


def check_polarity(white: str) -> None:
    """Raise ValueError where `white` is no `Polarity`."""
    if white not in ("blurred", "focus"):
        raise ValueError(f'white={white!r} is not a mask polarity: choose white="blurred" or white="focus".')


def _check_shape(path: str | Path, levels: np.ndarray, shape: tuple[int, int] | None) -> None:
    if shape is not None and levels.shape != tuple(shape):
        raise ValueError(
            f"{path}: the mask is {levels.shape[1]}x{levels.shape[0]} pixels but its photo is "
            f"{shape[1]}x{shape[0]}: expected the same size, so use the mask drawn on this photo."
        )


def _as_mask(levels: np.ndarray, white: Polarity, grey: bool) -> np.ndarray:
    mask = levels.astype(np.float32) / 255
    if not grey:
        mask = (mask >= 0.5).astype(np.float32)
    return mask if white == "blurred" else 1 - mask


def _orient_like(picture: Picture, levels: np.ndarray, image: str | Path, mask: str | Path) -> np.ndarray:
    """Turn the mask of a photo that EXIF turns, unless its size shows that it was drawn upright."""
    upright = picture.shape
    stored = upright[::-1] if picture.orientation in (5, 6, 7, 8) else upright
    if levels.shape == upright == stored:
        raise ValueError(
            f"{mask}: the mask fits its photo {Path(image).name} both as it is stored and turned by its EXIF "
            f"orientation {picture.orientation}: expected one way, so save the photo upright (without that "
            "orientation) or give the mask the same orientation."
        )
    if levels.shape == stored:
        return np.asarray(orient(Image.fromarray(levels), picture.orientation))
    return levels


def _read_levels(path: str | Path, grey: bool) -> tuple[np.ndarray, int]:
    """Read the levels of a mask, uint8 (H, W), and the EXIF orientation of its file."""
    picture = decode(Path(path))
    image = _flatten(picture.image, "black")
    if image.mode not in ("1", "L"):
        colours = np.asarray(image.convert("RGB"))
        if np.ptp(colours, axis=2).max(initial=0) > COLOURLESS:
            coloured = colours[np.ptp(colours, axis=2) > COLOURLESS][0]
            found = f"colours such as ({', '.join(str(value) for value in coloured)})"
            raise _no_mask(path, found)
    image = image.convert("L")
    levels = np.asarray(image)
    counts = np.array(image.histogram())
    highest = int(counts.nonzero()[0][-1])
    if highest == 0:
        _check_black(path, picture)
    elif grey and highest <= _VOTES or not grey and _has_labels(levels, counts):
        if highest < _NEARLY_WHITE:
            _check_16_bits(path, picture)
        values = [str(value) for value in counts.nonzero()[0]]
        few = "only " if len(values) <= _FEW_LEVELS else ""
        raise _no_mask(path, f"{few}the values {' and '.join(values) if len(values) < 3 else first_few(values, 5)}")
    return levels, picture.orientation


def _check_black(path: str | Path, picture: Picture) -> None:
    """Raise ValueError for a mask that is black only because of how it was read."""
    if any(picture.image.convert("RGBA").getchannel("A").histogram()[:255]):
        raise _no_mask(path, "transparency but nothing visible except black")
    if picture.deep:
        raise _no_mask(path, "16-bit colours with nothing in their upper 8 bits")
    _check_16_bits(path, picture)


def _check_16_bits(path: str | Path, picture: Picture) -> None:
    """Raise ValueError for a mask of 16 bits that is dark and not black, with a value that its file holds."""
    highest = picture.image.getextrema()[1] if picture.image.mode == "I;16" else 0
    if highest:
        raise _no_mask(path, f"16 bits with {highest} of 65535 as its largest value")


def _has_labels(levels: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether levels lack white, or hold even areas of grey, which no resampled edge makes."""
    if not counts[1:_NEARLY_WHITE].any():
        return False
    # Imported here: a bundle (tools/bundle.py) reads its masks without SciPy.
    from scipy.ndimage import maximum_filter, minimum_filter

    even = (minimum_filter(levels, 3) == maximum_filter(levels, 3)) & (levels > 0) & (levels < _NEARLY_WHITE)
    few = np.count_nonzero(counts) <= _FEW_LEVELS
    return not counts[_NEARLY_WHITE:].any() or even.mean() > _EVEN_GREY or bool(few and even.any())


def _no_mask(path: str | Path, found: str) -> ValueError:
    return ValueError(
        f"{path}: the mask holds {found}, expected 0 and 255: save it as black and white, 0 and 255 in 8 bits."
    )
