"""The one door through which pictures and masks come in from files.

Behind it every photograph is uint8 RGB and every mask float32 in [0, 1] with 1 = blurred, so no reader asks
how a file was stored or which polarity its set uses.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from defusion_lib.data import Photo

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
White = Literal["blurred", "focus"]


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3), turned upright as its EXIF orientation says.

    Grey, palette, CMYK and 16-bit files (scaled to 8 bits) are converted; what is transparent becomes
    white, as a viewer shows it; of several frames or pages the first counts. Raises FileNotFoundError, or
    ValueError for a file that is broken or not a picture.
    """
    return np.array(_load(path, "RGB", backdrop="white")[0])


def read_reduced(path: str | Path, least: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a picture like `read_image`, but smaller by a whole factor where both sides keep `least` pixels.

    Gives it as uint8 RGB, and the (height, width) of the whole one, upright. A JPEG is decoded at 1/2, 1/4 or
    1/8 of its size at once, for a fraction of the time and memory; what remains, and pictures in formats that
    cannot do so, are averaged. Raises what `read_image` raises.
    """
    image, shape = _load(path, "RGB", backdrop="white", least=least)
    return np.array(image), shape


def read_mask(
    path: str | Path, white: White = "blurred", shape: tuple[int, int] | None = None, grey: bool = False
) -> np.ndarray:
    """Read a mask as float32 (H, W) with 1 = blurred.

    `white` says what white stands for in the file. Released masks hold greys from resampling, so values are
    cut at 0.5 (from 0.5 on counts as white; 8 and 16 bits hold no exact 0.5) unless `grey` asks for them as
    they are. What is transparent counts as black: nobody painted it. With `shape`, the (H, W) of the
    photograph, a mask of another size is refused. Raises FileNotFoundError, or ValueError for a file that
    is broken, of another size, or holds labels 0 and 1 where 0 and 255 belong.
    """
    if white not in ("blurred", "focus"):
        raise ValueError(f'white={white!r} is not a mask polarity: say white="blurred" or white="focus"')
    levels = np.asarray(_load(path, "L", backdrop="black")[0])
    if shape is not None and levels.shape != tuple(shape):
        raise ValueError(
            f"{path}: the mask is {levels.shape[1]}x{levels.shape[0]} pixels but its photograph is "
            f"{shape[1]}x{shape[0]}: expected the same size, so bring the mask drawn on this photograph"
        )
    if levels.max() == 1:
        raise ValueError(
            f"{path}: the mask holds only the values 0 and 1, expected 0 and 255: multiply it by 255"
        )
    mask = levels.astype(np.float32) / 255
    if not grey:
        mask = (mask >= 0.5).astype(np.float32)
    return mask if white == "blurred" else 1 - mask


def read_photo(
    name: str, image: str | Path, mask: str | Path | None = None, white: White = "blurred"
) -> Photo:
    """Read a photograph and, where there is one, its mask of the same size into a `Photo` called `name`.

    Raises what `read_image` and `read_mask` raise.
    """
    pixels = read_image(image)
    return Photo(name, pixels, None if mask is None else read_mask(mask, white, pixels.shape[:2]))


def list_paths(folder: str | Path) -> list[Path]:
    """The pictures directly in a folder, ordered so that 2 comes before 10.

    Hidden files and other kinds of file are passed over. Raises FileNotFoundError for a folder that is
    missing or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: expected a folder of pictures, so check the path")
    paths = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not paths:
        kinds = ", ".join(sorted(SUFFIXES))
        raise FileNotFoundError(f"{folder} holds no picture (expected names ending in {kinds}): check it")
    return sorted(paths, key=lambda p: (_natural(p.stem), p.name))


def list_images(folder: str | Path) -> dict[str, Path]:
    """The pictures directly in a folder as stem -> path, in the order of `list_paths`.

    Raises FileNotFoundError as `list_paths` does, and ValueError for two pictures of one stem.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in list_paths(folder):
        if path.stem in found:
            raise ValueError(
                f"{folder} holds both {found[path.stem].name} and {path.name}: expected one picture a name, "
                "so remove or rename one of them"
            )
        found[path.stem] = path
    return found


def pair_masks(images: dict[str, Path], folder: str | Path) -> dict[str, Path]:
    """Find the mask of every picture in `images` by its stem; masks without a picture are passed over.

    Raises FileNotFoundError naming the first pictures that have no mask.
    """
    masks = list_images(folder)
    missing = [stem for stem in images if stem not in masks]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no mask for {some(missing)} ({len(missing)} of {len(images)} photographs): "
            "expected one mask a photograph under the photograph's name, so add or rename the masks"
        )
    return {stem: masks[stem] for stem in images}


def some(names: list[str], count: int = 3) -> str:
    """Write the first few of many names for a message: "a, b, c and 7 more"."""
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")


def _natural(stem: str) -> list:
    pieces = [piece for piece in re.split(r"([0-9]+)", stem) if piece]
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _load(
    path: str | Path, mode: str, backdrop: str, least: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """A picture in Pillow's `mode`, reduced where `least` is given, and the whole one's (height, width)."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: expected a picture there, so check the path")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if least:
                image.draft(None, (least, least))  # what a JPEG decoder skips costs nothing
            stored = image.size
            ImageOps.exif_transpose(image, in_place=True)
            if image.size != stored:
                width, height = height, width
            image.load()
            image = _eight_bits(image)
            if least:
                image = _reduce(image, least)
            return _flatten(image, backdrop).convert(mode), (height, width)
    # Pillow's decoders raise OSError, SyntaxError, struct.error and more, as the damage will have it.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a picture ({_reason(error)}): expected a whole JPEG, PNG, BMP, "
            "TIFF or WebP file, so copy, download or convert it again"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "its format is not recognised"
    return str(error) or type(error).__name__


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if not image.mode.startswith("I"):
        return image
    # Pillow's own convert("L") clips 16-bit values at 255 where they need scaling.
    values = np.asarray(image)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65535:
        raise ValueError(f"values from {lowest} to {highest} do not fit into 16 bits")
    levels = values.astype(np.int32)
    levels += 128
    levels //= 257
    return Image.fromarray(levels.astype(np.uint8))


def _reduce(image: Image.Image, least: int) -> Image.Image:
    """The means of squares of pixels, as large as leaves both sides with at least `least`."""
    factor = min(image.size) // least
    if factor < 2:
        return image
    if image.mode in ("1", "P", "PA"):
        # Numbers of colours have no mean.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(factor)


def _flatten(image: Image.Image, backdrop: str) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, backdrop), layer)
