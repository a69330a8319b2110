"""Reads pictures and masks from files, and lists and pairs them.

Every photograph becomes uint8 RGB and every mask float32 in [0, 1] with 1 = blurred, however a file stores them and
whichever polarity its set uses.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from defusion_lib.data import Photo, some
from defusion_lib.data.decoding import HAS_AVIF, HAS_HEIF, Picture, decode, eight_bits, turned

SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"]
    + [".avif"] * HAS_AVIF
    + [".heic", ".heif"] * HAS_HEIF
)
White = Literal["blurred", "focus"]

# White of a mask may have lost this little to JPEG; the largest level below is a label, not white.
_NEARLY_WHITE = 250
# The share of a mask that even areas of grey may cover: 0.016 in one drawn by hand, more in masks of labels.
_EVEN_GREY = 0.02
# An even area of grey among so few levels is a label however small; edges make more levels than these.
_FEW_LEVELS = 16
# What the channels of a grey JPEG in colours may differ by.
_COLOURLESS = 16
# A grey mask counts no votes: its largest level is above this, or it is black.
_VOTES = 10


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3), turned upright as its EXIF orientation says.

    Grey, palette, CMYK and 16-bit files (scaled to 8 bits) are converted; what is transparent becomes
    white, as a viewer shows it; of several frames or pages the first counts. Raises FileNotFoundError, or
    ValueError for a file that is broken, not a picture, larger than `decoding.LARGEST` megapixels, or whose
    header leaves open what its pixels mean.
    """
    return np.array(_flattened(decode(Path(path)).image, "white").convert("RGB"))


def read_reduced(path: str | Path, least: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a picture like `read_image`, but smaller by a whole factor where both sides keep `least` pixels.

    Gives it as uint8 RGB, and the (height, width) of the whole one, upright. A JPEG is decoded at 1/2, 1/4 or
    1/8 of its size at once, for a fraction of the time and memory, and may be larger than `decoding.LARGEST`;
    what remains, and pictures in formats that cannot do so, are averaged. Raises what `read_image` raises.
    """
    picture = decode(Path(path), least)
    image = _flattened(_reduced(eight_bits(picture.image), least), "white").convert("RGB")
    return np.array(image), picture.shape


def read_mask(
    path: str | Path, white: White = "blurred", shape: tuple[int, int] | None = None, grey: bool = False
) -> np.ndarray:
    """Read a mask as float32 (H, W) with 1 = blurred.

    `white` says what white stands for in the file. Released masks hold greys from resampling, so values are
    cut at 0.5 (from 0.5 on counts as white; 8 and 16 bits hold no exact 0.5) unless `grey` asks for them as
    they are. What is transparent counts as black: nobody painted it. With `shape`, the (H, W) of the
    photograph, a mask of another size is refused. Raises FileNotFoundError, or ValueError for a file that
    is broken, of another size, or not a mask: colours, labels instead of 0 and 255, nothing but transparency.
    """
    _check_polarity(white)
    mask, _ = _levels(path, grey)
    _check_shape(path, mask, shape)
    return _as_mask(mask, white, grey)


def read_photo(
    name: str, image: str | Path, mask: str | Path | None = None, white: White = "blurred", grey: bool = False
) -> Photo:
    """Read a photograph and, where there is one, its mask of the same size into a `Photo` called `name`.

    A mask drawn on the stored pixels of a photograph that EXIF turns is turned likewise. Raises what
    `read_image` and `read_mask` raise, and ValueError where the sizes leave open on which of the two the mask
    was drawn.
    """
    _check_polarity(white)
    picture = decode(Path(image))
    pixels = np.array(_flattened(picture.image, "white").convert("RGB"))
    if mask is None:
        return Photo(name, pixels, None)
    levels, drawn = _levels(mask, grey)
    if picture.orientation != 1 and drawn == 1:
        levels = _turned_like(picture, levels, image, mask)
    _check_shape(mask, levels, pixels.shape[:2])
    return Photo(name, pixels, _as_mask(levels, white, grey))


def list_paths(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the pictures directly in a folder, or with `recursive` below it too, so that 2 comes before 10.

    Hidden files and folders and other kinds of file are passed over. Raises FileNotFoundError for a folder
    that is missing or holds no picture, and OSError for one below it that cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: expected a folder of pictures, so check the path")
    paths = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        paths += [Path(place, name) for name in names if not name.startswith(".")]
    paths = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not paths:
        kinds = ", ".join(sorted(SUFFIXES))
        raise FileNotFoundError(f"{folder} holds no picture (expected names ending in {kinds}): check it")
    return sorted(paths, key=lambda p: ([_natural(part) for part in p.parent.parts], _natural(p.stem), p.name))


def list_images(folder: str | Path) -> dict[str, Path]:
    """List the pictures directly in a folder as stem -> path, in the order of `list_paths`.

    Stems are in Unicode's form NFC, whichever form the file system gives. Raises FileNotFoundError as
    `list_paths` does, and ValueError for two pictures of one stem.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in list_paths(folder):
        stem = _composed(path.stem)
        if stem in found:
            forms = " (names of two Unicode forms)" if found[stem].stem != path.stem else ""
            raise ValueError(
                f"{folder} holds both {found[stem].name} and {path.name}{forms}: expected one picture a name, "
                "so remove or rename one of them"
            )
        found[stem] = path
    return found


def pair_masks(images: dict[str, Path], folder: str | Path) -> dict[str, Path]:
    """Find the mask of every picture in `images` by its stem; masks without a picture are passed over.

    Unicode's forms of one name count as the same. Raises FileNotFoundError naming the first pictures that
    have no mask, and what `list_images` raises.
    """
    masks = list_images(folder)
    missing = [stem for stem in images if _composed(stem) not in masks]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no mask for {some(missing)} ({len(missing)} of {len(images)} photographs): "
            "expected one mask a photograph under the photograph's name, so add or rename the masks"
        )
    return {stem: masks[_composed(stem)] for stem in images}


def _raise(error: OSError) -> None:
    raise error


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _natural(stem: str) -> list:
    pieces = [piece for piece in re.split(r"([0-9]+)", _composed(stem)) if piece]
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _flattened(image: Image.Image, backdrop: str) -> Image.Image:
    image = eight_bits(image)
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, backdrop), layer)


def _reduced(image: Image.Image, least: int) -> Image.Image:
    """The means of squares of pixels, as large as leaves both sides with at least `least`."""
    factor = min(image.size) // least
    if factor < 2:
        return image
    if image.mode in ("1", "P", "PA"):
        # Numbers of colours have no mean.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(factor)


def _check_polarity(white: str) -> None:
    if white not in ("blurred", "focus"):
        raise ValueError(f'white={white!r} is not a mask polarity: say white="blurred" or white="focus"')


def _check_shape(path: str | Path, levels: np.ndarray, shape: tuple[int, int] | None) -> None:
    if shape is not None and levels.shape != tuple(shape):
        raise ValueError(
            f"{path}: the mask is {levels.shape[1]}x{levels.shape[0]} pixels but its photograph is "
            f"{shape[1]}x{shape[0]}: expected the same size, so bring the mask drawn on this photograph"
        )


def _as_mask(levels: np.ndarray, white: White, grey: bool) -> np.ndarray:
    mask = levels.astype(np.float32) / 255
    if not grey:
        mask = (mask >= 0.5).astype(np.float32)
    return mask if white == "blurred" else 1 - mask


def _turned_like(picture: Picture, levels: np.ndarray, image: str | Path, mask: str | Path) -> np.ndarray:
    """The mask of a photograph that EXIF turns, as its size says: drawn upright, or on the stored pixels."""
    upright = picture.shape
    stored = upright[::-1] if picture.orientation in (5, 6, 7, 8) else upright
    if levels.shape == upright == stored:
        raise ValueError(
            f"{mask}: the mask fits its photograph {Path(image).name} both as it is stored and turned by its EXIF "
            f"orientation {picture.orientation}: expected one way, so save the photograph upright (without that "
            "orientation) or give the mask the same orientation"
        )
    if levels.shape == stored:
        return np.asarray(turned(Image.fromarray(levels), picture.orientation))
    return levels


def _levels(path: str | Path, grey: bool) -> tuple[np.ndarray, int]:
    """The levels of a mask, uint8 (H, W), and the EXIF orientation of its file."""
    picture = decode(Path(path))
    image = _flattened(picture.image, "black")
    if image.mode not in ("1", "L"):
        colours = np.asarray(image.convert("RGB"))
        if np.ptp(colours, axis=2).max(initial=0) > _COLOURLESS:
            coloured = colours[np.ptp(colours, axis=2) > _COLOURLESS][0]
            found = f"colours such as ({', '.join(str(value) for value in coloured)})"
            raise _no_mask(path, found)
    image = image.convert("L")
    levels = np.asarray(image)
    counts = np.array(image.histogram())
    highest = int(counts.nonzero()[0][-1])
    if highest == 0:
        _check_black(path, picture)
    elif grey and highest <= _VOTES or not grey and _has_labels(levels, counts):
        values = [str(value) for value in counts.nonzero()[0]]
        few = "only " if len(values) <= _FEW_LEVELS else ""
        raise _no_mask(path, f"{few}the values {' and '.join(values) if len(values) < 3 else some(values, 5)}")
    return levels, picture.orientation


def _check_black(path: str | Path, picture: Picture) -> None:
    """Refuse a mask that is black only because of how it was read."""
    if picture.image.convert("RGBA").getextrema()[3][0] < 255:
        raise _no_mask(path, "transparency but nothing visible except black")
    if picture.deep:
        raise _no_mask(path, "16-bit colours with nothing in their upper 8 bits")
    highest = picture.image.getextrema()[1] if picture.image.mode == "I;16" else 0
    if highest:
        raise _no_mask(path, f"16 bits with {highest} of 65535 as its largest value")


def _has_labels(levels: np.ndarray, counts: np.ndarray) -> bool:
    """Whether levels lack white, or hold even areas of grey, which no edge leaves behind."""
    if not counts[1:_NEARLY_WHITE].any():
        return False
    # Imported here: a bundle (tools/bundle.py) reads its masks without SciPy.
    from scipy.ndimage import maximum_filter, minimum_filter

    even = (minimum_filter(levels, 3) == maximum_filter(levels, 3)) & (levels > 0) & (levels < _NEARLY_WHITE)
    few = np.count_nonzero(counts) <= _FEW_LEVELS
    return not counts[_NEARLY_WHITE:].any() or even.mean() > _EVEN_GREY or bool(few and even.any())


def _no_mask(path: str | Path, found: str) -> ValueError:
    return ValueError(
        f"{path}: the mask holds {found}, expected 0 and 255: save it as black and white, 0 and 255 in 8 bits"
    )
