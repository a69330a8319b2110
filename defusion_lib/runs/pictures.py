"""Make pictures and arrays of figures as small as a page shows them, so that storing them again costs little."""

import io

import numpy as np
from PIL import Image

WIDTH = 1125  # pixels, about a page's; a figure of 11 inches still fits
QUALITY = 80
COLOURS = 256
# Bytes of a map or photo behind a figure: 128 x 128 levels, about what a panel of a sheet is drawn with.
KEPT = 128 * 128


def for_screen(png: bytes) -> tuple[bytes, str]:
    """Encode a picture as a page shows it, at most `WIDTH` pixels wide; return it with its format, "jpeg" or "png".

    The smaller file wins: JPEG for photos and maps, for plots a PNG of 256 colours, which keeps letters sharp.
    """
    picture = _at_most_a_page_wide(png)
    photo = _encode(picture, "jpeg", quality=QUALITY, optimize=True, progressive=True)
    plot = _few_colours(picture)
    return (plot, "png") if len(plot) <= len(photo) else (photo, "jpeg")


def plot_for_screen(png: bytes) -> bytes:
    """Encode a plot as a page shows it: a PNG of at most `WIDTH` pixels a row and 256 colours."""
    return _few_colours(_at_most_a_page_wide(png))


def shrink(array: np.ndarray) -> np.ndarray:
    """Shrink maps and photos behind a figure to at most `KEPT` bytes each by averaging; return other arrays as given.

    Maps and photos are uint8 levels or float16, (..., H, W), or (..., H, W, 3) in colour.
    """
    if array.dtype not in (np.uint8, np.float16) or array.ndim < 2 or not array.size:
        return array
    inner = 3 if array.ndim > 2 and array.shape[-1] == 3 else 2
    height, width = array.shape[-inner:][:2]
    bytes_each = array.itemsize * int(np.prod(array.shape[-inner:]))
    if bytes_each <= KEPT:
        return array
    scale = (KEPT / bytes_each) ** 0.5
    size = max(1, int(width * scale)), max(1, int(height * scale))
    # Pillow averages levels in whole numbers, the same on every machine, and other numbers in single precision.
    images = array.reshape(-1, *array.shape[-inner:])
    images = images if array.dtype == np.uint8 else images.astype(np.float32)
    small = [Image.fromarray(image).resize(size, Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, array.dtype) for image in small]).reshape(
        *array.shape[:-inner], size[1], size[0], *array.shape[-inner:][2:]
    )


def _at_most_a_page_wide(png):
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    if picture.width <= WIDTH:
        return picture
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)


def _few_colours(picture):
    few = picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return _encode(few, "png", optimize=True)


def _encode(picture, kind, **settings):
    content = io.BytesIO()
    picture.save(content, kind, **settings)
    return content.getvalue()
