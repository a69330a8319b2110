"""What headers say is honoured or refused, size has a limit of ours, and metadata costs no pixels."""

import io
import struct
import threading
import zlib

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, PngImagePlugin, TiffImagePlugin

from defusion_lib.data import decoding
from defusion_lib.data.files import read_image, read_mask, read_reduced

TURNED = 6


@pytest.fixture
def colours():
    blocks = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


@pytest.fixture
def exif():
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = TURNED
    return exif


def upright(pixels):
    return np.rot90(pixels, -1)


def write_tiff(path, bits, photometric, pixels, **more):
    """Write a TIFF of one strip and one row a sample group, with tags given by number as t281=..."""
    bits = bits if isinstance(bits, tuple) else (bits,)
    width = more.pop("width")
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 277: len(bits), 278: 1, 279: len(pixels)}
    tags |= {int(name[1:]): value for name, value in more.items()}
    tags = {tag: value if isinstance(value, tuple) else (value,) for tag, value in tags.items() if value is not None}
    start, outside = 8 + 2 + 12 * (len(tags) + 1) + 4, b""
    for tag, value in tags.items():
        packed = struct.pack(f"<{len(value)}H", *value)
        if len(packed) > 4:
            outside, packed = outside + packed, struct.pack("<I", start + len(outside))
        tags[tag] = struct.pack("<HHI", tag, 3, len(value)) + packed.ljust(4, b"\0")
    tags[273] = struct.pack("<HHII", 273, 4, 1, start + len(outside))
    entries = b"".join(tags[tag] for tag in sorted(tags))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + outside + pixels)
    return path


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_planes_of_a_tiff_are_put_together(tmp_path, colours, kind, compression, tile):
    scale = np.iinfo(kind).max // 255
    alpha = np.full((40, 64, 1), 255, np.uint8)
    alpha[:8] = 0
    shown = np.where(alpha == 0, 255, colours)
    grey = np.repeat(shown[..., :1], 3, 2)
    ink = np.concatenate([colours, np.zeros_like(alpha)], 2)
    for pixels, photometric, extra, expected in (
        (colours, "rgb", None, colours),
        (np.concatenate([colours, alpha], 2), "rgb", ["unassalpha"], shown),
        (np.concatenate([colours[..., :1], alpha], 2), "minisblack", ["unassalpha"], grey),
        (ink, "separated", None, 255 - colours),
    ):
        stored = (pixels.astype(kind) * scale).transpose(2, 0, 1).copy()
        options = {"photometric": photometric, "planarconfig": "separate", "compression": compression, "tile": tile}
        tifffile.imwrite(tmp_path / "a.tif", stored, extrasamples=extra, **options)
        assert np.array_equal(read_image(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize(("photometric", "kind"), [("rgb", "uint8"), ("rgb", "uint16"), ("minisblack", "uint8")])
def test_colours_multiplied_by_their_opacity_are_divided_by_it(tmp_path, colours, photometric, kind, planes, order):
    scale = np.iinfo(kind).max // 255
    channels = colours if photometric == "rgb" else colours[..., :1]
    opacity = np.full((40, 64, 1), 0.5)
    multiplied = np.concatenate([channels * opacity, opacity * 255], 2) * scale
    stored = np.rint(multiplied).astype(kind)
    if planes == "separate":
        stored = stored.transpose(2, 0, 1).copy()
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, planarconfig=planes, extrasamples=["assocalpha"],
        byteorder=order,
    )  # fmt: skip
    assert np.abs(read_image(tmp_path / "a.tif") - (channels * 0.5 + 127.5)).max() < 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_tiff_whose_0_is_white_is_inverted(tmp_path, colours, kind, order):
    grey = colours[..., 0].astype(kind) * (np.iinfo(kind).max // 255)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite", byteorder=order)
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 1], 255 - colours[..., 0])
    mask = np.where(colours[..., 0] > 127, np.iinfo(kind).max, 0).astype(kind)
    tifffile.imwrite(tmp_path / "m.tif", mask, photometric="miniswhite", byteorder=order)
    assert np.array_equal(read_mask(tmp_path / "m.tif"), mask == 0)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_than_their_container_are_scaled_where_the_header_says_so(tmp_path, bits):
    full = 2**bits - 1
    values = np.array([0, full // 2, full, 100], np.uint16)
    expected = np.rint(values / full * 255).astype(int).tolist()
    grey = write_tiff(tmp_path / "a.tif", 16, 1, values.tobytes(), width=4, t281=full)
    assert read_image(grey)[0, :, 0].tolist() == expected
    rgb = write_tiff(tmp_path / "b.tif", (16,) * 3, 2, values.repeat(3).tobytes(), width=4, t281=(full,) * 3)
    assert read_image(rgb)[0, :, 2].tolist() == expected
    png = write_png(tmp_path / "a.png", values, sBIT=bytes([bits]))
    assert read_image(png)[0, :, 0].tolist() == expected


def test_12_bits_packed_are_scaled(tmp_path):
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x64])  # 0, 2048, 4095, 100
    path = write_tiff(tmp_path / "a.tif", 12, 1, packed, width=4)
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255, 6]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", [3, 4])
def test_truncated_planes_are_refused(tmp_path, compression, planes):
    noise = np.random.default_rng(0).integers(0, 65536, (planes, 40, 64)).astype(np.uint16)
    extra = ["unassalpha"] * (planes - 3)
    options = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": extra, "rowsperstrip": 8}
    tifffile.imwrite(tmp_path / "a.tif", noise, compression=compression, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        counts = tiff.pages[0].tags["StripByteCounts"]
    whole = (tmp_path / "a.tif").read_bytes()
    size = counts.valuebytecount // counts.count
    empty = whole[: counts.valueoffset] + bytes(size) + whole[counts.valueoffset + size :]
    for content in (whole[:-9], whole[: len(whole) * 2 // 3], empty):
        (tmp_path / "a.tif").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.tif cannot be read as a picture \(.+\)"):
            read_image(tmp_path / "a.tif")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_header_of_planes_ends_in_a_sentence(tmp_path, colours):
    tifffile.imwrite(tmp_path / "a.tif", colours.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
    whole = (tmp_path / "a.tif").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[random.integers(250)] = random.integers(256)
        (tmp_path / "a.tif").write_bytes(damaged)
        try:
            assert read_image(tmp_path / "a.tif").dtype == np.uint8
        except ValueError as error:
            refused += 1
            assert "a.tif" in str(error) and "\n" not in str(error)
    assert 20 < refused < 180


def test_a_largest_value_that_is_no_depth_scales_nothing(tmp_path):
    values = np.array([0, 30000, 65535, 257 * 8], np.uint16)
    for largest in (30000, 4095):  # a statistic, and a depth that the pixels exceed
        path = write_tiff(tmp_path / "a.tif", 16, 1, values.tobytes(), width=4, t281=largest)
        assert read_image(path)[0, :, 0].tolist() == [0, 117, 255, 8]
    # A PNG's significant bits are scaled to 16 by whoever wrote it.
    dark = np.array([0, 16 * 200, 16 * 3, 0], np.uint16)
    assert read_image(write_png(tmp_path / "a.png", dark, sBIT=b"\x0c"))[0, :, 0].tolist() == [0, 12, 0, 0]


def write_png(path, values, turn=None, **chunks):
    """Write a 16-bit PNG of one row: grey (W,) or RGB (W, 3)."""
    kind = 2 if values.ndim == 2 else 0
    head = struct.pack(">IIBBBBB", len(values), 1, 16, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *((name.encode(), content) for name, content in chunks.items())]
    parts += [(b"IDAT", zlib.compress(b"\0" + values.astype(">u2").tobytes())), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


@pytest.mark.parametrize(("bits", "levels"), [(2, [0, 1, 3, 1]), (4, [0, 7, 15, 7])])
def test_a_transparent_grey_of_few_bits_is_white(tmp_path, bits, levels):
    row = sum(level << bits * place for place, level in enumerate(reversed(levels))).to_bytes(bits // 2, "big")
    head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"tRNS", struct.pack(">H", levels[1])), (b"IDAT", zlib.compress(b"\0" + row)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b""))))
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 255, 255, 255]


@pytest.mark.parametrize("alpha", [(0, 0), (0, 255)])
def test_an_empty_transparency_of_a_bmp_is_none(tmp_path, alpha):
    """Windows' header of 108 bytes can name four channels; programs without transparency leave the fourth at 0."""
    colour = 200, 20, 10
    pixels = b"".join(bytes((*colour[::-1], value)) for value in alpha)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks + b"sRGB"[::-1]
    start = 14 + 108
    file = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head.ljust(108, b"\0") + pixels
    (tmp_path / "a.bmp").write_bytes(file)
    hidden = [255, 255, 255] if any(alpha) else list(colour)
    assert read_image(tmp_path / "a.bmp")[0].tolist() == [hidden, list(colour)]


def test_an_orientation_in_xmp_turns_nothing(tmp_path, colours):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for name, given in (("a.jpg", {"xmp": xmp}), ("a.webp", {"xmp": xmp, "lossless": True})):
        Image.fromarray(colours).save(tmp_path / name, **given)
        assert Image.open(tmp_path / name).getexif().get(0x0112) == TURNED
        assert read_image(tmp_path / name).shape == colours.shape


def chunk(kind, content, wrong=0):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) ^ wrong)


def test_16_bit_colours_that_cannot_be_read_for_certain_are_refused(tmp_path):
    small = np.array([[100, 2000, 4095]] * 3, np.uint16)
    with pytest.raises(ValueError, match=r"a\.png holds 16-bit colours with 12 significant bits or one transp"):
        read_image(write_png(tmp_path / "a.png", small, sBIT=b"\x0c\x0c\x0c"))
    with pytest.raises(ValueError, match=r"a\.png holds 16-bit colours .* save it with 8 bits"):
        read_image(write_png(tmp_path / "a.png", small * 9, tRNS=struct.pack(">3H", 900, 18000, 36855)))


def test_a_transparent_16_bit_grey_is_white(tmp_path):
    values = np.array([0, 771, 800, 65535], np.uint16)
    path = write_png(tmp_path / "a.png", values, tRNS=struct.pack(">H", 771))
    assert read_image(path)[0, :, 0].tolist() == [0, 255, 3, 255]
    assert read_reduced(path, 1)[0][0, :, 0].tolist() == [0, 255, 3, 255]


def test_8_bit_colour_maps_and_lab_are_honoured(tmp_path):
    colour_map = np.zeros((3, 256), int)
    colour_map[:, 1], colour_map[:, 2] = (200, 100, 50), (90, 0, 0)
    for scale in (1, 257):  # as old programs wrote it, and as it should be
        path = write_tiff(tmp_path / "a.tif", 8, 3, bytes([1, 2, 0]), width=3, t320=tuple(colour_map.ravel() * scale))
        assert read_image(path)[0].tolist() == [[200, 100, 50], [90, 0, 0], [0, 0, 0]]
    lab = write_tiff(tmp_path / "lab.tif", (8, 8, 8), 8, bytes([128, 0, 0, 255, 0, 0]), width=2)
    assert np.abs(read_image(lab)[0].astype(int) - [[119] * 3, [255] * 3]).max() <= 1


WORDS = np.array([0, 2048, 4095, 100], np.uint16).tobytes()
REFUSED = {
    "signed": ((16, 1, WORDS), {"width": 4, "t339": 2}, "signed or undefined numbers"),
    "signed bytes": ((8, 1, WORDS), {"width": 8, "t339": 2}, "signed or undefined numbers"),
    "half floats": ((16, 1, WORDS), {"width": 4, "t339": 3}, "floating-point pixels, which have no agreed range"),
    "32 bits": ((32, 1, WORDS), {"width": 2}, "whole numbers of 32 bits"),
    "no photometric": ((8, None, WORDS), {"width": 8}, "whether 0 is black or white"),
    "preview": ((8, 1, WORDS), {"width": 8, "t254": 1}, "a preview"),
    "transparency mask": ((8, 1, WORDS), {"width": 8, "t254": 4}, "a transparency mask"),
    "other inks": (((8,) * 4, 5, WORDS), {"width": 2, "t332": 2}, "inks other than"),
    "subsampled": (((8,) * 3, 6, WORDS), {"width": 2}, "at a part of its resolution"),
    "fourth channel": (((8,) * 4, 2, WORDS), {"width": 2}, "a fourth channel that its header does not explain"),
    "16-bit Lab": (((16,) * 3, 8, WORDS), {"width": 1}, "unknown pixel mode"),
    "sensor values": ((16, 32803, WORDS), {"width": 4}, "unknown pixel mode"),
    "10 bits packed": ((10, 1, WORDS), {"width": 4}, "unknown pixel mode"),
    "planes of Lab": (((8,) * 3, 8, WORDS), {"width": 2, "t284": 2}, "planes whose colours no decoder here tells"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tiff_that_leaves_its_pixels_open_is_refused_in_one_sentence(tmp_path, name):
    layout, more, says = REFUSED[name]
    path = write_tiff(tmp_path / "a.tif", *layout, **more)
    with pytest.raises(ValueError, match=rf"a\.tif .*({says})") as error:
        read_image(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp", "a.gif", "a.avif"])
def test_a_picture_above_pillows_limit_is_read(tmp_path, monkeypatch, colours, name):
    if name == "a.avif" and not decoding.HAS_AVIF:
        pytest.skip("this Pillow has no AVIF")
    Image.fromarray(colours).save(tmp_path / name, **({"compression": "tiff_lzw"} if name == "a.tif" else {}))
    expected = read_image(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(read_image(tmp_path / name), expected)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillows_limit_is_back_after_a_failure_and_holds_for_small_pictures(tmp_path, monkeypatch, colours):
    Image.fromarray(colours).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-900])
    Image.fromarray(colours).resize((4, 4)).save(tmp_path / "b.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"a\.tif cannot be read"):
        read_image(tmp_path / "a.tif")
    assert Image.MAX_IMAGE_PIXELS == 100
    seen = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: seen.append(Image.MAX_IMAGE_PIXELS) or load(image))
    read_image(tmp_path / "b.tif")
    assert set(seen) == {100}


def test_pillows_limit_survives_threads(tmp_path, monkeypatch, colours):
    Image.fromarray(colours).save(tmp_path / "a.tif", compression="tiff_lzw")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    found = []
    prepare = TiffImagePlugin.TiffImageFile.load_prepare

    def slow(image):
        threading.Event().wait(0.01)  # so that others finish meanwhile
        prepare(image)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load_prepare", slow)
    threads = [threading.Thread(target=lambda: found.append(read_image(tmp_path / "a.tif"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(np.array_equal(image, colours) for image in found)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_our_limit_says_how_to_change_it(tmp_path, monkeypatch, colours):
    for name, options in (("a.png", {}), ("a.tif", {}), ("a.jpg", {}), ("p.jpg", {"progressive": True})):
        Image.fromarray(colours).resize((640, 400)).save(tmp_path / name, **options)
    tifffile.imwrite(tmp_path / "planes.tif", np.zeros((3, 400, 640), np.uint8), photometric="rgb")
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 0.1)
    says = r"640x400 pixels, 0 megapixels, more than the limit of 0\.1: make .*decoding\.MAX_MEGAPIXELS where"
    for name in ("a.png", "a.tif", "a.jpg", "p.jpg", "planes.tif"):
        with pytest.raises(ValueError, match=says):
            read_image(tmp_path / name)
    # Only a JPEG that is not progressive never exists as a whole when it is read at a fraction.
    image, shape = read_reduced(tmp_path / "a.jpg", 100)
    assert image.shape == (100, 160, 3) and shape == (400, 640)
    for name in ("a.png", "p.jpg"):
        with pytest.raises(ValueError, match=says):
            read_reduced(tmp_path / name, 100)
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 0.3)
    assert read_image(tmp_path / "a.png").shape == (400, 640, 3)


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_memory_is(tmp_path):
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") * 2)
    with pytest.raises(ValueError, match="60000x60000 pixels, 3600 megapixels, more than the limit of 500"):
        read_image(tmp_path / "a.png")


LONG = b"a" * 2_000_000
PNG_METADATA = {
    "compressed text": [(b"zTXt", b"x\0\0" + zlib.compress(LONG))],
    "international text": [(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(LONG))],
    "profile": [(b"iCCP", b"x\0\0" + zlib.compress(LONG))],
    "many texts": [(b"zTXt", b"k%d\0\0" % number + zlib.compress(LONG[:1_000_000], 1)) for number in range(70)],
    "unknown compression": [(b"zTXt", b"x\0\7abc")],
    "short profile": [(b"iCCP", b"x")],
    "short resolution": [(b"pHYs", b"a")],
    "empty gamma": [(b"gAMA", b"")],
    "animation": [(b"acTL", b"1"), (b"fcTL", b"1" * 26)],
    "unknown": [(b"caBX", LONG)],
}


@pytest.mark.parametrize("where", ["before", "behind", "damaged"])
@pytest.mark.parametrize("name", PNG_METADATA)
def test_metadata_of_a_png_costs_neither_pixels_nor_orientation(tmp_path, colours, exif, name, where):
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "png", exif=exif)
    whole = buffer.getvalue()
    more = b"".join(chunk(*part, wrong=where == "damaged") for part in PNG_METADATA[name])
    cut = len(whole) - 12 if where == "behind" else 33
    (tmp_path / "a.png").write_bytes(whole[:cut] + more + whole[cut:])
    assert np.array_equal(read_image(tmp_path / "a.png"), upright(colours))


def test_pillows_limits_of_text_stay(tmp_path, colours):
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    info = PngImagePlugin.PngInfo()
    info.add_text("x", "a" * 2_000_000, zip=True)
    Image.fromarray(colours).save(tmp_path / "a.png", pnginfo=info)
    assert np.array_equal(read_image(tmp_path / "a.png"), colours)
    assert (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY) == before


def test_a_png_damaged_where_its_pixels_are_is_still_refused(tmp_path, colours):
    image = Image.fromarray(colours[..., 0])
    image.save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    tail = chunk(b"tRNS", b"\0\5", wrong=1) + whole[33:]
    text = chunk(b"zTXt", b"x\0\7")
    # A row more than the picture has: Pillow stops reading before the end of the stream, where zlib's checksum stands.
    flat = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in [*colours[..., 0], bytes(64)]), 0))
    longer = whole[:33] + flat[:40] + bytes([flat[40] ^ 1]) + flat[41:] + chunk(b"IEND", b"")
    for content in (whole[:60] + b"#" * 9 + whole[69:], whole[:33] + tail, whole[:33] + text + tail, longer):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture \(.+\)"):
            read_image(tmp_path / "a.png")


JPEG_METADATA = {
    "half a profile": (0xE2, b"ICC_PROFILE\0"),
    "short JFIF": (0xE0, b"JFIF"),
    "broken resources": (0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\xff"),
    "short Adobe": (0xEE, b"Adob"),
    "XMP that is no text": (0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe"),
    "several pictures": (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "comment": (0xFE, b"\xff" * 60000),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", JPEG_METADATA)
def test_metadata_of_a_jpeg_costs_neither_pixels_nor_orientation(tmp_path, colours, exif, name):
    marker, content = JPEG_METADATA[name]
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "jpeg", quality=100, subsampling=0, exif=exif)
    more = b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:2] + more + buffer.getvalue()[2:])
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - upright(colours)).mean() < 1
    assert read_reduced(tmp_path / "a.jpg", 20)[1] == (64, 40)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_damage_in_exif_behind_the_orientation_costs_neither(tmp_path, colours, exif, name):
    exif[0x0131] = "software" * 4
    options = {"lossless": True} if name == "a.webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(colours).save(tmp_path / name, exif=exif, **options)
    whole = (tmp_path / name).read_bytes()
    order = "little" if name == "a.tif" else "big"
    for kind in (0x0131, 0x010F):
        # The entry's type, count and place: more bytes than there are.
        place = whole.index(kind.to_bytes(2, order) + (2).to_bytes(2, order))
        for damage in (b"\xff" * 10, (2).to_bytes(2, order) + b"\xff" * 8, (5).to_bytes(2, order) + b"\0\1" * 4):
            (tmp_path / name).write_bytes(whole[: place + 2] + damage + whole[place + 12 :])
            found = read_image(tmp_path / name).astype(int)
            assert np.abs(found - upright(colours)).mean() < 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tag", [269, 270, 271])
def test_a_broken_description_of_a_tiff_costs_no_pixels(tmp_path, tag):
    colour_map = tuple(np.arange(768) % 256 * 257)
    text = {f"t{tag}": (1, 2, 3)}
    path = write_tiff(tmp_path / "a.tif", 8, 3, bytes([5, 200]), width=2, t320=colour_map, **text)
    whole = path.read_bytes()
    entry = whole.index(struct.pack("<HHI", tag, 3, 3))
    # The text fills the file, more than Pillow reads beside the map of colours.
    broken = struct.pack("<HHII", tag, 2, len(whole) - 8, 8)
    path.write_bytes(whole[:entry] + broken + whole[entry + 12 :])
    assert read_image(path)[0, :, 0].tolist() == [5, 200]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"no EXIF at all"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_that_cannot_be_read_turns_nothing(tmp_path, colours, name, block):
    options = {"lossless": True} if name == "a.webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(colours).save(tmp_path / name, exif=b"Exif\0\0" + block, **options)
    assert np.abs(read_image(tmp_path / name).astype(int) - colours).mean() < 1


@pytest.mark.parametrize("function", ["_orientation", "_check_size", "to_8_bits", "_tiff_full"])
def test_an_error_of_ours_is_not_called_a_broken_file(tmp_path, monkeypatch, function):
    def fail(*arguments):
        raise AttributeError("ours")

    write_png(tmp_path / "a.png", np.arange(4, dtype=np.uint16), tRNS=b"\0\1")
    write_tiff(tmp_path / "a.tif", 16, 1, WORDS, width=4)
    monkeypatch.setattr(decoding, function, fail)
    with pytest.raises(AttributeError, match="ours"):
        read_image(tmp_path / ("a.tif" if function == "_tiff_full" else "a.png"))


@pytest.mark.parametrize("error", [OSError, SyntaxError, struct.error, EOFError, zlib.error, KeyError, MemoryError])
def test_an_error_of_the_decoder_is_a_broken_file(tmp_path, monkeypatch, colours, error):
    def fail(image):
        raise error("damaged")

    Image.fromarray(colours).save(tmp_path / "a.bmp")
    monkeypatch.setattr(Image.Image, "load", fail)
    with pytest.raises(ValueError, match=r"a\.bmp cannot be read as a picture \((.*damaged.*|memory does .*)\)"):
        read_image(tmp_path / "a.bmp")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_names_the_package_that_reads_it(tmp_path, monkeypatch, brand):
    content = struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1heic" + bytes(100)
    (tmp_path / "a.heic").write_bytes(content)
    monkeypatch.setattr(decoding, "HAS_HEIF", False)
    with pytest.raises(ValueError, match=r"a\.heic is a HEIC picture, which needs the package pillow-heif: install it"):
        read_image(tmp_path / "a.heic")


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("mode, levels", [("RGB", 1), ("RGB;16", 257), ("L", 1), ("L;16", 257)])
def test_heic_is_read_upright(tmp_path, colours, exif, mode, levels, orientation):
    pixels = colours if mode.startswith("RGB") else colours[..., 0]
    height, width = pixels.shape[:2]
    content = (pixels.astype(np.uint16 if levels > 1 else np.uint8) * levels).tobytes()
    exif[0x0112] = orientation
    picture = pillow_heif.from_bytes(mode, (width, height), content)
    picture.save(tmp_path / "a.heic", quality=-1, chroma="444", exif=exif.tobytes())
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    expected = np.rot90(expected, {1: 0, 3: 2, 6: 3}[orientation])
    # Without loss but for the conversion to luminance and chroma: the largest difference was 1 level.
    np.testing.assert_allclose(read_image(tmp_path / "a.heic"), expected, atol=2)


def test_a_damaged_heic_is_one_clear_error(tmp_path, colours):
    pillow_heif.from_pillow(Image.fromarray(colours)).save(tmp_path / "a.heic")
    content = (tmp_path / "a.heic").read_bytes()
    for length in range(40, len(content), len(content) // 7):
        (tmp_path / "a.heic").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"a\.heic cannot be read as a picture \(.*\S\): expected a whole JPEG"):
            read_image(tmp_path / "a.heic")
