"""Decode one image file: by Pillow, or by tifffile where Pillow does not follow a TIFF's header.

`decode` returns the pixels upright and in 8 bits. A file whose header does not define what its pixels mean, or asks for
something that no decoder here supports, raises ValueError with one sentence. Broken metadata (text, profiles, EXIF,
resolution) does not make an image unreadable.
"""

import contextlib
import errno
import importlib
import importlib.util
import io
import itertools
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin, features

MAX_MEGAPIXELS = 500  # larger images are refused; a photo takes about 10 bytes of memory per pixel

HAS_AVIF = "avif" in features.modules and bool(features.check("avif"))
HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None

# Pillow's other formats are left out: its pixels were not compared with what the headers of their files say.
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")
for _plugin in ("Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP", *["Avif"] * HAS_AVIF):
    importlib.import_module(f"PIL.{_plugin}ImagePlugin")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_LEVEL = {"L;2": 85, "L;4": 17}  # {how a PNG stores grey: levels of 8 bits from one of its levels to the next}

# Tags of a TIFF, and values of its photometric interpretation.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS = 254, 256, 257, 258, 259, 262, 273
_SAMPLES, _MAX_VALUE, _PLANES, _COLOURS, _INKS, _EXTRA, _FORMAT, _SUBSAMPLING = 277, 281, 284, 320, 332, 338, 339, 530
_TAGS = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _ORIENTATION, _SAMPLES, _MAX_VALUE}
_TAGS |= {_PLANES, _COLOURS, _INKS, _EXTRA, _FORMAT, _SUBSAMPLING}
# Beside these, where the pixels lie and how they are compressed.
_PIXEL_TAGS = _TAGS | {266, 278, 279, 292, 293, 317, 322, 323, 324, 325, 347, 529, 532} | set(range(512, 522))
_INVERTED, _GREY, _RGB, _CMYK, _YCBCR = (0,), (1,), (2,), (5,), (6,)


Tags = dict[int, tuple[int, ...]]  # of a TIFF: {number: values}


class Picture(NamedTuple):
    """A decoded image file.

    `image` is upright and has 8 bits per channel, or is grey in Pillow's mode "I;16", scaled to 0-65535; `shape` is the
    (height, width) of the full image, upright, also where `image` is a reduced one; `orientation` is the EXIF
    orientation (1-8) of the stored pixels; `deep` is True where a colour or transparent image of 16 bits was reduced to
    8.
    """

    image: Image.Image
    shape: tuple[int, int]
    orientation: int
    deep: bool


class _Broken(ValueError):
    """A file that its decoder cannot read."""


def decode(path: Path, min_side: int | None = None) -> Picture:
    """Decode an image file, a JPEG at 1/2, 1/4 or 1/8 of its size where both sides keep `min_side` pixels.

    Raises FileNotFoundError, or ValueError for a file that may not be read, is broken, larger than `MAX_MEGAPIXELS`, or
    whose header does not define what its pixels mean.
    """
    with _reading(path):
        _check_file(path)
        with open(path, "rb") as file:
            try:
                return _decode(path, file, min_side)
            except _Broken:
                bare = _without_metadata(file)
                if bare is None:
                    raise
                return _decode(path, bare, min_side)


def orient(image: Image.Image, orientation: int) -> Image.Image:
    """Turn stored pixels upright by EXIF's `orientation` (1-8)."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _decode(path: Path, file: BinaryIO, min_side: int | None) -> Picture:
    tags = _tiff_tags(path, file)
    if tags is not None:
        _check_tiff(path, tags)
        if _pillow_misreads(tags):
            return _decode_by_tifffile(path, file, tags)
    image = _open(path, file)
    shape = image.size[::-1]
    if min_side:
        with _decoding(path):
            image.draft(None, (min_side, min_side))  # what a JPEG decoder skips costs nothing
    # A progressive JPEG takes the memory of all its pixels even where it is decoded at a fraction.
    _check_size(path, *(shape if image.info.get("progressive") else image.size[::-1]))
    deep = image.mode[0] != "I" and any(";16" in str(tile[3]) for tile in image.tile)
    # Pillow scales the grey pixels of a PNG with fewer than 8 bits to 8, but not the level that is transparent.
    if image.format == "PNG" and image.tile and image.tile[0][3] in _LEVEL and "transparency" in image.info:
        image.info["transparency"] *= _LEVEL[image.tile[0][3]]
    with _decoding(path), _PILLOWS_LIMIT.lifted(image.size):
        image.load()
    if image.format == "PNG":
        _check_png(path, file)
    full = 65535
    if tags is None:
        orientation = left = _orientation(image)
        if image.format == "PNG" and (deep or image.mode[0] == "I"):
            full = _png_full(path, file, image)
        if left in (5, 6, 7, 8):
            shape = shape[::-1]
    else:
        # Pillow turns a TIFF while it loads it.
        orientation, left, shape = _tiff_orientation(tags), 1, image.size[::-1]
        full = 4095 if tags.get(_BITS) == (12,) else full
        _complete_tiff(path, image, tags)
    upright = orient(_grey_16_bits(_without_empty_alpha(image), full), left)
    return Picture(upright.convert("LA") if upright.mode == "La" else upright, shape, orientation, deep)


def _open(path: Path, file: BinaryIO) -> ImageFile.ImageFile:
    """Open a file by Pillow's registry: Image.open refuses by Pillow's own limit, which applies to all its users."""
    file.seek(0)
    start = file.read(64)
    name = getattr(file, "name", "")
    factory: Callable[..., ImageFile.ImageFile] | None = None
    problem = "its format is not recognised" if start else "it is empty"
    if start[4:8] == b"ftyp" and b"avi" not in start and any(brand in start for brand in _HEIF_BRANDS):
        if not HAS_HEIF:
            raise ValueError(
                f"{path} is a HEIC picture, which needs the package pillow-heif: install it "
                "(pip install pillow-heif), or convert the picture to JPEG."
            )
        from pillow_heif import HeifImageFile

        factory = HeifImageFile
    for kind in _FORMATS:
        if factory is None and kind in Image.OPEN:
            opener, accept = Image.OPEN[kind]
            accepted = accept is None or accept(start)
            if isinstance(accepted, str):  # Pillow was built without this format
                problem = accepted
            elif accepted:
                factory = cast(Callable[..., ImageFile.ImageFile], opener)
    file.seek(0)
    with _decoding(path):
        if factory is None:
            raise ValueError(problem)
        try:
            return factory(file, name)
        except Image.DecompressionBombError:  # WebP's decoder checks Pillow's limit itself
            file.seek(0)
            with _PILLOWS_LIMIT.lifted():
                return factory(file, name)


def _check_file(path: Path) -> None:
    """Raise FileNotFoundError where there is no regular file; to open a pipe would wait for ever."""
    if path.is_file():
        return
    if os.path.exists(path):
        raise FileNotFoundError(f"{path} is no regular file: expected a picture there, so check the path.")
    if path.is_symlink():
        raise FileNotFoundError(
            f"{path} is a broken link: expected a picture, so restore or correct its target, or remove it."
        )
    raise FileNotFoundError(f"There is no file {path}: expected a picture there, so check the path.")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the system's errors, whose text is a number and a path, into ValueError with one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        if isinstance(error, PermissionError):
            found, advice = "may not be read", "change its permissions"
        else:
            found, advice = "cannot be read", "check its disk or network drive, and try again"
        raise ValueError(f"{path} {found} ({error.strerror}): {advice}.") from error


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into `_Broken`, so only calls of decoders belong here."""
    try:
        yield
    except Exception as error:
        # The system's errors are no fault of the file, see `_reading`; but a broken header asks for invalid places.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> _Broken:
    said = " ".join(str(error).split()) or type(error).__name__
    reason = "memory does not suffice" if isinstance(error, MemoryError) else said
    return _Broken(
        f"{path} cannot be read as a picture ({reason}): expected a whole JPEG, PNG, BMP, TIFF, WebP, GIF, AVIF "
        "or HEIC file, so copy, download or convert it again."
    )


def _check_size(path: Path, height: int, width: int) -> None:
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ValueError(
            f"{path} has {width}x{height} pixels, {width * height / 1e6:.0f} megapixels, more than the limit of "
            f"{MAX_MEGAPIXELS}: make it smaller, or raise defusion_lib.data.decoding.MAX_MEGAPIXELS where memory "
            "suffices."
        )


class _PillowsLimit:
    """Pillow's limit, one number for all threads: lifted only while images above it are decoded."""

    def __init__(self):
        self._lock = threading.Lock()
        self._users = 0
        self._kept = None

    @contextlib.contextmanager
    def lifted(self, size: tuple[int, int] | None = None) -> Iterator[None]:
        """Lift the limit for an image of this (width, height); some decoders check it while they decode."""
        limit = Image.MAX_IMAGE_PIXELS
        if size is not None and limit is not None and size[0] * size[1] <= limit:
            yield
            return
        with self._lock:
            if not self._users:
                self._kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    Image.MAX_IMAGE_PIXELS = self._kept


_PILLOWS_LIMIT = _PillowsLimit()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image; 1 where EXIF cannot be read or holds another value."""
    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow looks there too, other programs do not
        image.info.pop(name, None)
    try:
        orientation = image.getexif().get(_ORIENTATION)
        return orientation if orientation in _TURNS else 1
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error):
        return 1


def _without_empty_alpha(image: Image.Image) -> Image.Image:
    """Drop the transparency of a BMP that is 0 everywhere: programs that have none leave it so."""
    empty = image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if empty else image


def _grey_16_bits(image: Image.Image, full: int) -> Image.Image:
    """Convert grey of more than 8 bits to "I;16", or to "LA" where one value is transparent; `full` is white."""
    if image.mode[0] != "I":
        return image
    transparent = image.info.get("transparency")
    if image.mode == "I;16" and full == 65535 and transparent is None:
        return image
    values = np.asarray(image)
    levels = ((values.astype(np.uint32) * 65535 + full // 2) // full).astype(np.uint16)
    if transparent is None:
        return Image.fromarray(levels)
    opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (to_8_bits(Image.fromarray(levels)), opaque))


def to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits to 8; Pillow's own convert("L") clips it at 255."""
    if image.mode != "I;16":
        return image
    levels = np.asarray(image).astype(np.int32)
    levels += 128
    levels //= 257
    return Image.fromarray(levels.astype(np.uint8))


def _tiff_tags(path: Path, file: BinaryIO) -> Tags | None:
    """Read the tags of a TIFF's first page that describe its pixels, {number: values}; None for other files."""
    file.seek(0)
    head = file.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    with _decoding(path):
        if b"+" in head[:4]:
            head += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        found: Tags = {}
        for tag in _TAGS.intersection(tags):
            value = tags[tag] if isinstance(tags[tag], tuple) else (tags[tag],)
            found[tag] = tuple(int(each) for each in value)
    return {tag: value for tag, value in found.items() if value}


def _check_tiff(path: Path, tags: Tags) -> None:
    """Raise ValueError for a TIFF whose pixels no decoder here supports, or whose header does not define them."""
    formats, bits, compression = set(tags.get(_FORMAT, (1,))), max(tags.get(_BITS, (1,))), tags.get(_COMPRESSION)
    problem = None
    if tags.get(_SUBFILE, (0,))[0] & 5:
        problem = "a preview or a transparency mask on its first page, not a picture"
    elif _PHOTOMETRIC not in tags and _STRIPS in tags and compression != (6,):
        problem = "grey without saying whether 0 is black or white"
    elif 3 in formats:
        problem = "floating-point pixels, which have no agreed range"
    elif formats != {1}:
        problem = "signed or undefined numbers, which have no agreed range"
    elif bits > 16:
        problem = f"whole numbers of {bits} bits, which have no agreed range"
    elif tags.get(_PHOTOMETRIC) == _CMYK and tags.get(_INKS, (1,)) != (1,):
        problem = "inks other than cyan, magenta, yellow and black"
    elif tags.get(_PHOTOMETRIC) == _YCBCR and compression in (None, (1,)):
        if tags.get(_SUBSAMPLING, (2, 2)) != (1, 1):
            problem = "colours at a part of its resolution without JPEG compression"
    if problem:
        raise ValueError(f"{path} holds {problem}: save it as RGB or grey with 8 or 16 bits.")


def _pillow_misreads(tags: Tags) -> bool:
    """Return whether Pillow refuses or misreads a layout that tifffile reads."""
    several = tags.get(_SAMPLES, (1,))[0] > 1
    grey = tags.get(_PHOTOMETRIC) in (_GREY, _INVERTED)
    if several and tags.get(_PLANES) == (2,) and (grey or tags.get(_COMPRESSION, (1,)) == (1,)):
        return True
    deep = max(tags.get(_BITS, (1,))) == 16
    return deep and (grey and several or tags.get(_PHOTOMETRIC) == _INVERTED or _tiff_full(tags) < 65535)


def _tiff_orientation(tags: Tags) -> int:
    orientation = tags.get(_ORIENTATION, (1,))[0]
    return orientation if orientation in _TURNS else 1


def _tiff_full(tags: Tags) -> int:
    """Return the value of white: a largest value of all ones in fewer bits tells how many of the 16 are in use."""
    largest = max(tags.get(_MAX_VALUE, (65535,)))
    return largest if largest in [2**bits - 1 for bits in range(8, 16)] else 65535


def _decode_by_tifffile(path: Path, file: BinaryIO, tags: Tags) -> Picture:
    import tifffile  # here, because it takes a part of a second and few files need it

    _check_size(path, *tags.get(_HEIGHT, (0,)), *tags.get(_WIDTH, (0,)))
    with _decoding(path):
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[0]
            if not all(page.databytecounts):  # tifffile reads such parts as 0
                raise ValueError("image file is incomplete")
            values = page.asarray()
    photometric, extra = tags.get(_PHOTOMETRIC, ()), tags.get(_EXTRA, ())
    channels: dict[tuple[int, ...], int] = {_GREY: 1, _INVERTED: 1, _RGB: 3, _CMYK: 4}
    count = channels.get(photometric)
    if values.ndim == 2:
        values = values[..., None]
    elif tags.get(_PLANES) == (2,) and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    if count is None or values.dtype not in (np.uint8, np.uint16) or values.shape[2:] != (count + len(extra),):
        raise ValueError(
            f"{path} holds {tags.get(_SAMPLES, (1,))[0]} channels in planes whose colours no decoder here tells apart: "
            "save it as RGB or grey with 8 or 16 bits."
        )
    full = 255 if values.dtype == np.uint8 else _tiff_full(tags)
    if values.max() > full:  # then the largest value was no depth
        full = 65535
    if photometric == _INVERTED:
        values[..., 0] = full - values[..., 0]
    orientation = _tiff_orientation(tags)
    if values.shape[2] == 1 and full > 255:
        image = _grey_16_bits(Image.fromarray(values[..., 0]), full)
    else:
        levels = values if full == 255 else ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)
        alpha = {1: "a", 2: "A"}.get(extra[0], "") if extra else ""
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[count] + (alpha if count < 4 else "")
        levels = np.ascontiguousarray(levels[..., : len(mode)] if mode != "L" else levels[..., 0])
        image = Image.frombytes(mode, levels.shape[1::-1], levels.tobytes())
        if alpha == "a":
            image = image.convert(mode[:-1] + "A")
    image = orient(image, orientation)
    return Picture(image, image.size[::-1], orientation, values.dtype == np.uint16 and image.mode != "I;16")


def _complete_tiff(path: Path, image: Image.Image, tags: Tags) -> None:
    """Correct what Pillow leaves out of a loaded TIFF."""
    if image.mode in ("P", "PA") and max(tags[_COLOURS]) < 256:
        # Old programs wrote 8 bits here where 16 belong.
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOURS]))
        image.load()
    if image.mode == "RGBA" and _EXTRA not in tags and image.getchannel("A").getextrema() != (255, 255):
        raise ValueError(
            f"{path} holds a fourth channel that its header does not explain, expected red, green and blue: save it "
            "without that channel."
        )


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each chunk of a PNG; each content ends with its checksum."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, file.read(length + 4)


def _check_png(path: Path, file: BinaryIO) -> None:
    """Raise ValueError for a PNG with a wrong checksum: Pillow does not check it, and fills rows with wrong pixels."""
    for kind, content in itertools.takewhile(lambda chunk: chunk[0] != b"IEND", _png_chunks(file)):
        checksum = zlib.crc32(kind + content[:-4])
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT") and checksum != int.from_bytes(content[-4:]):
            raise _broken(path, ValueError(f"wrong checksum of {kind.decode()}"))


def _png_full(path: Path, file: BinaryIO, image: Image.Image) -> int:
    """Return the value of white in a 16-bit PNG.

    A PNG of fewer significant bits must scale its values to 16, and most programs do; values that were not scaled are
    small and use their low bits.
    """
    head = itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", _png_chunks(file))
    bits = next((min(content[:-4]) for kind, content in head if kind == b"sBIT" and len(content) > 4), 16)
    if image.mode[0] != "I":
        extrema = cast(tuple[tuple[int, int], ...], image.getextrema())
        dark = max(high for _, high in extrema[:3]) < 2 ** max(bits - 8, 0)
        if bits < 16 and dark or image.mode == "RGB" and "transparency" in image.info:
            raise ValueError(
                f"{path} holds 16-bit colours with {bits} significant bits or one transparent colour, which cannot "
                "be read for certain: save it with 8 bits."
            )
        return 65535
    values = np.asarray(image).astype(np.int64)
    if not 1 < bits < 16 or values.max() >= 2**bits:
        return 65535
    high = values >> (16 - bits)
    scaled = np.abs(values - (high * 65535 + 2 ** (bits - 1)) // (2**bits - 1)) <= 1
    return 65535 if (scaled | (values == high << (16 - bits))).all() else 2**bits - 1


def _without_metadata(file: BinaryIO) -> io.BytesIO | None:
    """Copy a PNG, TIFF or JPEG without what its pixels and its orientation do not need; None for other files."""
    file.seek(0)
    start = file.read(8)
    if start == b"\x89PNG\r\n\x1a\n":
        return _bare_png(file)
    if start[:4] in (b"II*\0", b"MM\0*"):
        return _bare_tiff(file)
    return _bare_jpeg(file) if start[:3] == b"\xff\xd8\xff" else None


def _bare_png(file: BinaryIO) -> io.BytesIO:
    bare = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    bare.seek(8)
    for kind, content in _png_chunks(file):
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"sBIT", b"IDAT", b"IEND"):
            bare.write(struct.pack(">I", max(len(content) - 4, 0)) + kind + content)
        elif kind == b"eXIf":
            turn = _exif_turn(content[:-4])
            bare.write(struct.pack(">I", len(turn)) + kind + turn + struct.pack(">I", zlib.crc32(kind + turn)))
    bare.seek(0)
    return bare


def _bare_jpeg(file: BinaryIO) -> io.BytesIO:
    file.seek(2)
    bare = io.BytesIO(b"\xff\xd8")
    bare.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        content = file.read(max(int.from_bytes(head[2:]) - 2, 0))
        if head[1] == 0xE1 and content.startswith(b"Exif\0\0"):
            content = b"Exif\0\0" + _exif_turn(content[6:])
            head = head[:2] + (len(content) + 2).to_bytes(2)
        elif 0xE0 <= head[1] <= 0xEF and head[1] != 0xEE or head[1] == 0xFE:
            continue  # comments and profiles; Adobe's 0xEE says which colours are stored
        bare.write(head + content)
    bare.write(head + file.read())
    bare.seek(0)
    return bare


def _bare_tiff(file: BinaryIO) -> io.BytesIO | None:
    file.seek(0)
    content = bytearray(file.read())
    if len(content) < 8:
        return None
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    if start + 2 > len(content):
        return None
    (count,) = struct.unpack_from(f"{order}H", content, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(content) - 11), 12):
        if struct.unpack_from(f"{order}H", content, entry)[0] not in _PIXEL_TAGS:
            struct.pack_into(f"{order}HII", content, entry + 2, 1, 1, 0)  # one byte, 0, in the entry itself
    return io.BytesIO(content)


def _exif_turn(block: bytes) -> bytes:
    """Return an EXIF block that holds only the orientation of `block`."""
    exif, bare = Image.Exif(), Image.Exif()
    with contextlib.suppress(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error):
        exif.load(block)
        bare[_ORIENTATION] = int(exif.get(_ORIENTATION, 1))
    return bare.tobytes().removeprefix(b"Exif\0\0")
