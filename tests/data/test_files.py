"""Pictures and masks from files, how they are listed and how they are paired."""

import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from defusion_lib.data.decoding import HAS_AVIF, HAS_HEIF
from defusion_lib.data.files import (
    SUFFIXES,
    list_images,
    list_paths,
    pair_masks,
    read_image,
    read_mask,
    read_photo,
    read_reduced,
)


@pytest.fixture
def save(tmp_path):
    def save(image, name, **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


@pytest.fixture
def colours(rng):
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_rgb_comes_back_as_stored(save, colours):
    image = read_image(save(Image.fromarray(colours), "a.png"))
    assert image.dtype == np.uint8
    assert np.array_equal(image, colours)


# What a viewer shows of a picture stored under each EXIF orientation, as NumPy steps on the stored pixels.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(save, colours, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(colours), "a.png", exif=exif)
    assert np.array_equal(read_image(path), UPRIGHT[orientation](colours))


def test_grey_is_repeated_in_three_channels(save, colours):
    grey = colours[..., 0]
    assert np.array_equal(read_image(save(Image.fromarray(grey), "a.png")), np.stack([grey] * 3, -1))


def test_16_bits_are_scaled(save, rng):
    values = rng.integers(0, 65536, (6, 5)).astype(np.uint16)
    expected = np.rint(values / 65535 * 255).astype(np.uint8)
    for name in ("a.png", "a.tif"):
        assert np.array_equal(read_image(save(Image.fromarray(values), name))[..., 1], expected)


def test_palette_is_looked_up(save):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert read_image(save(image, "a.png")).tolist() == [
        [[10, 20, 30], [200, 100, 50]],
        [[200, 100, 50], [10, 20, 30]],
    ]


def test_cmyk_becomes_rgb(save):
    # Ink subtracts: full cyan leaves no red, and no ink at all is white.
    image = Image.fromarray(np.array([[[255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255]]] * 16, np.uint8), "CMYK")
    image = image.resize((48, 16), Image.Resampling.NEAREST)
    found = read_image(save(image, "a.jpg", quality=100, subsampling=0)).astype(int)
    for column, expected in ((8, (0, 255, 255)), (24, (255, 255, 255)), (40, (0, 0, 0))):
        assert np.abs(found[8, column] - expected).max() <= 4  # what JPEG costs a flat area


def test_transparent_pixels_are_white_in_photographs_and_black_in_masks(save):
    pixels = np.array([[[255, 255, 255, 255], [255, 255, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)
    path = save(Image.fromarray(pixels), "a.png")
    assert read_image(path)[0, :, 0].tolist() == [255, 255, 255, 0]
    assert read_mask(path)[0].tolist() == [1, 0, 0, 0]


def test_masks_are_cut_at_half_and_follow_the_polarity(save):
    path = save(Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)), "m.png")
    assert read_mask(path).dtype == np.float32
    assert read_mask(path).tolist() == [[0, 0, 1, 1]]
    assert read_mask(path, "focus").tolist() == [[1, 1, 0, 0]]
    assert read_mask(path, grey=True) == pytest.approx(np.array([[0, 127, 128, 255]]) / 255, abs=1e-7)
    flipped = np.array([[255, 128, 127, 0]]) / 255
    assert read_mask(path, "focus", grey=True) == pytest.approx(flipped, abs=1e-7)


def test_16_bit_and_two_level_masks(save):
    deep = save(Image.fromarray(np.array([[0, 32767, 32768, 65535]], np.uint16)), "deep.png")
    assert read_mask(deep).tolist() == [[0, 0, 1, 1]]
    two_levels = save(Image.fromarray(np.array([[False, True]])), "two.png")
    assert read_mask(two_levels).tolist() == [[0, 1]]


# Most of a mask of 40x60 pixels; what is read of it as 1 = blurred was meant to be 2/3.
LEFT = np.zeros((40, 60), np.uint8)
LEFT[:, :40] = 1
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def palette(array, colours, name="m.png"):
    image = Image.fromarray(array, "P")
    image.putpalette(colours)
    return image


@pytest.mark.parametrize(
    "values",
    [(0, 1), (0, 2), (0, 100), (0, 128), (0, 200), (1, 2), (3, 255), (50, 255), (0, 15, 255), (0, 1, 2, 128, 255)],
)
@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif", "m.gif"])
def test_a_mask_of_labels_is_refused(save, values, name):
    array = np.full((40, 60), values[0], np.uint8)
    for number, value in enumerate(values[1:]):
        array[:, 20 * number // len(values) :] = value
        array[:3, :3] = values[0]
    found = " and ".join(map(str, values)) if len(values) == 2 else ", ".join(map(str, values))
    with pytest.raises(ValueError, match=rf"{name}: the mask holds only the values {found}, expected 0 and 255: save"):
        read_mask(save(Image.fromarray(array), name))


def test_small_labels_are_refused_too(save):
    array = LEFT * 255
    array[10:14, 10:14] = 2
    with pytest.raises(ValueError, match="only the values 0, 2, 255, expected 0 and 255"):
        read_mask(save(Image.fromarray(array), "m.png"))


@pytest.mark.parametrize("value", [3, 90, 180])
def test_labels_with_soft_edges_are_refused(save, value):
    array = LEFT * 255
    array[:, 36:44] = np.linspace(250, 5, 8)
    array[::2, 36:44] = np.linspace(240, 15, 8)
    array[:10, 44:] = value
    with pytest.raises(ValueError, match=r"the mask holds the values 0, .* and \d+ more, expected 0 and 255"):
        read_mask(save(Image.fromarray(array), "m.png"))


@pytest.mark.parametrize("highest", [90, 180, 249])
def test_greys_without_white_are_refused(save, highest):
    ramp = np.linspace(0, highest, 60).astype(np.uint8)
    with pytest.raises(ValueError, match=r"the mask holds the values 0, .* and \d+ more, expected 0 and 255"):
        read_mask(save(Image.fromarray(np.tile(ramp, (40, 1))), "m.png"))


@pytest.mark.parametrize("value", [1, 100, 255, 4095])
def test_labels_of_16_bits_are_refused(save, value):
    with pytest.raises(
        ValueError, match=rf"m\.png: the mask holds 16 bits with {value} of 65535 as its largest value,"
    ):
        read_mask(save(Image.fromarray(LEFT.astype(np.uint16) * value), "m.png"))


@pytest.mark.parametrize("value", [1, 2, 254])
def test_a_mask_of_one_label_is_refused_and_one_of_black_or_white_is_not(save, value):
    image = Image.new("L", (9, 7), value)
    if value < 250:
        with pytest.raises(ValueError, match=f"holds only the values {value}, expected 0 and 255"):
            read_mask(save(image, "m.png"))
    for level in (0, 255):
        for mode in ("1", "L", "RGB", "RGBA", "P"):
            name = f"{mode}{level}.png"
            assert np.unique(read_mask(save(Image.new("L", (9, 7), level).convert(mode), name))) == [level // 255]
    deep = np.full((7, 9), 65535, np.uint16)
    assert read_mask(save(Image.fromarray(deep), "deep.png")).min() == 1
    assert read_mask(save(Image.fromarray(deep * 0), "deep.png")).max() == 0


@pytest.mark.parametrize(
    "colours",
    [VOC, [0, 0, 0, 255, 0, 0], [0, 0, 255, 255, 255, 0], [10, 10, 60, 250, 250, 250], [68, 1, 84, 253, 231, 37]],
)
def test_a_mask_of_colours_is_refused(save, colours):
    picture = palette(LEFT, colours)
    for image, name in (
        (picture, "m.png"),
        (picture, "m.gif"),
        (picture.convert("RGB"), "rgb.bmp"),
        (picture.convert("RGBA"), "rgba.png"),
        (picture.convert("RGB"), "m.jpg"),
    ):
        says = rf"{name}: the mask holds colours such as \(\d+, \d+, \d+\), expected 0 and 255: save it"
        for grey in (False, True):
            with pytest.raises(ValueError, match=says):
                read_mask(save(image, name), grey=grey)


def test_masks_that_mean_black_and_white_for_certain_are_read(save):
    white = LEFT * 255
    channels = np.stack([white] * 3, 2)
    for image, name in (
        (palette(LEFT, [0, 0, 0, 255, 255, 255]), "palette.png"),
        (palette(1 - LEFT, [255, 255, 255, 0, 0, 0]), "swapped.gif"),
        (Image.fromarray(white).convert("1"), "two.tif"),
        (Image.fromarray(channels), "rgb.bmp"),
        (Image.fromarray(np.concatenate([channels, white[..., None]], 2)), "rgba.png"),
        (Image.fromarray(white.astype(np.uint16) * 257), "deep.tif"),
        (Image.fromarray(white), "m.jpg"),
        (Image.fromarray(channels), "rgb.jpg"),
        (Image.fromarray(white), "m.webp"),
    ):
        assert np.array_equal(read_mask(save(image, name)), LEFT), name


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_what_jpeg_and_resampling_leave_of_a_mask_is_read(save, quality):
    disc = (np.hypot(*(np.indices((120, 160)) - [[[60]], [[70]]])) < 40).astype(np.uint8)
    image = Image.fromarray(disc * 255)
    assert np.mean(read_mask(save(image, "m.jpg", quality=quality)) != disc) < 0.01
    for method in (Image.Resampling.BILINEAR, Image.Resampling.LANCZOS):
        for size in ((64, 48), (480, 360)):
            resized = read_mask(save(image.resize(size, method), "m.png"))
            assert abs(resized.mean() - disc.mean()) < 0.01


def test_a_mask_in_its_transparency_alone_is_refused(save):
    black = np.zeros((40, 60, 3), np.uint8)
    for image, name in (
        (Image.fromarray(np.concatenate([black, LEFT[..., None] * 255], 2)), "a.png"),
        (Image.fromarray(np.concatenate([black + 255, LEFT[..., None] * 0], 2)), "b.png"),
        (Image.fromarray(np.stack([LEFT * 0, LEFT * 255], 2), "LA"), "c.png"),
    ):
        with pytest.raises(ValueError, match=rf"{name}: the mask holds transparency but nothing visible except black"):
            read_mask(save(image, name))


@pytest.mark.parametrize("highest", [1, 5, 10])
def test_counted_votes_are_no_grey_mask(save, highest):
    votes = np.arange(60).reshape(6, 10) % (highest + 1)
    with pytest.raises(ValueError, match="the mask holds only the values 0"):
        read_mask(save(Image.fromarray(votes.astype(np.uint8)), "m.png"), grey=True)
    shares = save(Image.fromarray((votes * (255 // highest)).astype(np.uint8)), "m.png")
    assert read_mask(shares, grey=True) == pytest.approx(votes / highest, abs=0.02)
    dark = save(Image.fromarray(np.full((4, 4), 40, np.uint8)), "dark.png")
    assert read_mask(dark, grey=True) == pytest.approx(40 / 255, abs=1e-6)


def test_16_bit_colours_that_come_out_black_are_no_mask(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.stack([LEFT.astype(np.uint16) * 100] * 3, 2), photometric="rgb")
    with pytest.raises(ValueError, match=r"m\.tif: the mask holds 16-bit colours with nothing in their upper 8 bits"):
        read_mask(tmp_path / "m.tif")


def test_masks_of_published_sets_are_read_to_the_last_pixel(shi_root):
    for name, white in (("shi", "blurred"), ("szu", "blurred"), ("dut5", "focus")):
        masks = list_paths(shi_root.parent / name / "masks")
        # Of SZU the two with most greys, one of them drawn in uneven black.
        chosen = [path for path in masks if path.stem in ("132584", "94650")] + masks[:: max(len(masks) // 5, 1)]
        for path in chosen:
            with Image.open(path) as image:
                levels = np.asarray(image.convert("L"))
            assert np.array_equal(read_mask(path, white), (levels > 127) == (white == "blurred")), path


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_drawn_on_the_stored_pixels_is_turned_with_its_photograph(save, orientation, name):
    image = save(Image.fromarray(np.stack([LEFT * 255] * 3, 2)), name, exif=oriented(orientation))
    corner = LEFT.copy()
    corner[:20] = 0
    expected = UPRIGHT[orientation](corner)
    stored = save(Image.fromarray(corner * 255), "stored.png")
    drawn_upright = save(Image.fromarray(expected * 255), "upright.png")
    tagged = save(Image.fromarray(corner * 255), "tagged.png", exif=oriented(orientation))
    for mask in (stored, drawn_upright, tagged):
        photo = read_photo("a", image, mask)
        assert np.array_equal(photo.mask, expected), mask
        assert np.abs(photo.image[..., 0].astype(int) - UPRIGHT[orientation](LEFT) * 255).max() < 20


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_a_mask_that_fits_both_ways_is_refused(save, orientation):
    side = 40 if orientation == 6 else 60
    image = save(Image.new("RGB", (side, 40)), "a.jpg", exif=oriented(orientation))
    mask = Image.fromarray(LEFT[:, 20 : 20 + side] * 255) if side == 40 else Image.fromarray(LEFT * 255)
    with pytest.raises(ValueError, match=rf"m\.png: the mask fits its photo a\.jpg .* orientation {orientation}:"):
        read_photo("a", image, save(mask, "m.png"))
    stored = np.asarray(mask) // 255
    photo = read_photo("a", image, save(mask, "tagged.png", exif=oriented(orientation)))
    assert np.array_equal(photo.mask, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_that_turns_nothing_leaves_nothing_open(save, orientation, name):
    image = save(Image.new("RGB", (60, 40)), name, exif=oriented(orientation))
    assert np.array_equal(read_photo("a", image, save(Image.fromarray(LEFT * 255), "m.png")).mask, LEFT)


def test_a_turned_photograph_with_a_mask_of_another_size(save):
    image = save(Image.new("RGB", (60, 40)), "a.jpg", exif=oriented(6))
    with pytest.raises(ValueError, match=r"the mask is 61x40 pixels but its photo is 40x60"):
        read_photo("a", image, save(Image.new("L", (61, 40)), "m.png"))


def test_an_unknown_polarity_is_refused(save):
    path = save(Image.new("L", (2, 2)), "m.png")
    with pytest.raises(ValueError, match="'sharp' is not a mask polarity"):
        read_mask(path, "sharp")


def test_a_mask_of_another_size_names_both_sizes(save, colours):
    image = save(Image.fromarray(colours), "a.png")
    mask = save(Image.new("L", (8, 6)), "m.png")
    with pytest.raises(ValueError, match=r"m\.png: the mask is 8x6 pixels but its photo is 7x5"):
        read_photo("a", image, mask)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp"])
def test_a_truncated_file_is_named_in_one_sentence(save, rng, name):
    says = rf"{name} cannot be read as a picture \(.+\): expected a whole"
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = save(noise, name)
    whole = path.read_bytes()
    for part in (len(whole) * 2 // 3, 30, 5):
        path.write_bytes(whole[:part])
        with pytest.raises(ValueError, match=says) as error:
            read_image(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        read_image(path)


def test_pixels_without_a_range_are_refused(save):
    path = save(Image.fromarray(np.ones((2, 2), np.float32)), "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif holds floating-point pixels, which have no agreed range"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*a\.png"):
        read_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"is no regular file"):
        read_image(tmp_path)


ERRORS = [
    (errno.EACCES, r"a\.png may not be read \(Permission denied\): change its permissions\.$"),
    (errno.EIO, r"a\.png cannot be read \(Input/output error\): check its disk or network drive, and try again\.$"),
    (errno.EINVAL, r"a\.png cannot be read as a picture"),  # of a place that a broken header asks for
]


@pytest.mark.parametrize("number, words", ERRORS)
def test_an_error_of_the_system_is_no_broken_file(save, colours, monkeypatch, number, words):
    path = save(Image.fromarray(colours), "a.png")

    def fail(*given):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Image.Image, "load", fail)
    with pytest.raises(ValueError, match=words):
        read_image(path)
    monkeypatch.undo()
    monkeypatch.setattr("defusion_lib.data.decoding._check_file", fail)
    with pytest.raises(ValueError, match=words.partition(" as a")[0]):
        read_image(path)


def test_pictures_are_listed_in_the_order_people_count(tmp_path):
    for name in ("10.JPG", "2.jpg", "1.bmp", "b1.png", "._2.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path).values()] == ["1.bmp", "2.jpg", "10.JPG", "b1.png"]


def test_folders_that_cannot_be_listed(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        list_images(tmp_path)
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"holds both a\.jpg and a\.png"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".JPE", ".jfif", ".GIF", ".png", ".avif", ".heic"])
def test_the_suffixes_are_those_that_can_be_read(tmp_path, suffix):
    there = {".avif": HAS_AVIF, ".heic": HAS_HEIF}.get(suffix, True)
    assert (suffix.lower() in SUFFIXES) == there
    (tmp_path / f"a{suffix}").touch()
    (tmp_path / "b.png").touch()
    assert [path.name for path in list_paths(tmp_path)] == [f"a{suffix}"] * there + ["b.png"]


@pytest.mark.parametrize("name", ["a.jpe", "a.jfif", "a.gif"])
def test_the_further_suffixes_are_read(save, colours, name):
    kind = "gif" if name == "a.gif" else "jpeg"
    path = save(Image.fromarray(np.kron(colours, np.ones((8, 8, 1), np.uint8))), name, format=kind)
    assert np.abs(read_image(path).astype(int)[::8, ::8] - colours).mean() < 40


def test_a_folder_is_no_picture_and_folders_below_are_asked_for(tmp_path):
    for name in ("10/a.jpg", "2/b.png", "sub.jpg/c.gif", ".hidden/d.jpg", "2/.e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        list_paths(tmp_path)
    (tmp_path / "f.jpg").touch()
    assert [path.name for path in list_paths(tmp_path)] == ["f.jpg"]
    found = [str(path.relative_to(tmp_path)) for path in list_paths(tmp_path, recursive=True)]
    assert found == ["f.jpg", "2/b.png", "10/a.jpg", "sub.jpg/c.gif"]


def test_a_folder_that_cannot_be_listed_is_named_and_one_below_is_listed(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    scan, closed = os.scandir, tmp_path / "sub"

    def scandir(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list_paths(tmp_path, recursive=True) == [tmp_path / "a.jpg", closed]
    assert list_paths(tmp_path) == [tmp_path / "a.jpg"]
    closed = tmp_path
    with pytest.raises(OSError, match=r"cannot be listed \(Permission denied\): change its permissions\.$"):
        list_paths(tmp_path)


def test_a_link_to_nothing_is_listed_so_that_reading_says_it(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert [path.name for path in list_paths(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize("name", ["é", "Ångström 2", "한글", "ñandú"])
def test_unicode_forms_of_a_name_are_one_name(tmp_path, name):
    composed, split = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != split
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images" / f"{split}.jpg").touch()
    (tmp_path / "masks" / f"{composed}.png").touch()
    images = list_images(tmp_path / "images")
    assert list(images) == [composed]
    assert pair_masks(images, tmp_path / "masks")[composed].name == f"{composed}.png"
    assert list(pair_masks({split: images[composed]}, tmp_path / "masks")) == [split]
    (tmp_path / "masks" / f"{split}.png").touch()
    if len(list_paths(tmp_path / "masks")) == 2:
        with pytest.raises(ValueError, match=r"holds both .* \(names of two Unicode forms\): expected one picture"):
            pair_masks(images, tmp_path / "masks")


def test_pictures_without_a_mask_are_named(tmp_path):
    (tmp_path / "2.png").touch()
    images = {str(number): tmp_path / f"{number}.jpg" for number in range(1, 7)}
    with pytest.raises(FileNotFoundError, match=r"no mask for 1, 3, 4 and 2 more \(5 of 6 photos\)"):
        pair_masks(images, tmp_path)


def test_pictures_of_one_stem_are_both_listed(tmp_path):
    for name in ("10.png", "2.png", "2.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_paths(tmp_path)] == ["2.jpg", "2.png", "10.png"]


def test_a_reduced_picture_is_the_mean_of_its_pixels(save, rng):
    colours = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    means = colours.reshape(20, 3, 80, 3)[:, :, :78].reshape(20, 3, 26, 3, 3).mean((1, 3))
    image, shape = read_reduced(save(Image.fromarray(colours), "a.png"), 20)
    assert shape == (60, 80) and image.shape == (20, 27, 3) and image.dtype == np.uint8
    # Pillow rounds down where 4/9 and half of a level are left.
    assert np.abs(image[:, :26] - means).max() < 0.56
    deep = save(Image.fromarray(colours[..., 0].astype(np.uint16) * 257), "deep.png")
    assert np.abs(read_reduced(deep, 20)[0][:, :26, 1] - means[..., 0]).max() < 0.56


def test_a_jpeg_is_decoded_at_a_fraction_of_its_size(save, rng, monkeypatch):
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    path = save(coarse.resize((800, 600), Image.Resampling.BICUBIC), "a.jpg", quality=95)
    loaded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: loaded.append(image.size) or load(image))
    image, shape = read_reduced(path, 130)
    assert shape == (600, 800) and image.shape == (150, 200, 3)
    assert max(loaded) <= (200, 150)
    monkeypatch.undo()
    means = read_image(path).reshape(150, 4, 200, 4, 3).mean((1, 3))
    assert np.abs(image - means).mean() < 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.avif"])
def test_a_reduced_picture_is_upright_and_so_is_its_shape(save, name):
    if name == "a.avif" and not HAS_AVIF:
        pytest.skip("this Pillow has no AVIF")
    colours = np.zeros((400, 640, 3), np.uint8)
    colours[:, :320] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    image, shape = read_reduced(save(Image.fromarray(colours), name, exif=exif), 100)
    assert shape == (640, 400) and image.shape == (160, 100, 3)
    assert image[:75].min() > 250 and image[85:].max() < 5


def test_a_small_picture_is_not_reduced(save, colours):
    image, shape = read_reduced(save(Image.fromarray(colours), "a.png"), 4)
    assert shape == (5, 7) and np.array_equal(image, colours)


def test_reduced_colours_of_a_palette_and_of_glass(save):
    checks = np.indices((8, 8)).sum(0) % 2
    image = Image.fromarray(checks.astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    found = read_reduced(save(image, "a.png"), 4)[0]
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[105, 60, 40]]
    two = Image.fromarray(checks.astype(bool))
    assert np.unique(read_reduced(save(two, "two.png"), 4)[0]).tolist() == [128]
    # Half transparent: the colour of what is not, half of it on white.
    glass = np.zeros((8, 8, 4), np.uint8)
    glass[checks == 0] = 0, 100, 0, 255
    glass[checks == 1] = 255, 0, 255, 0
    found = read_reduced(save(Image.fromarray(glass), "glass.png"), 4)[0]
    assert np.abs(found - np.array([127.5, 177.5, 127.5])).max() <= 1.5


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_truncated_jpeg_is_found_at_a_fraction_of_its_size_too(save, rng):
    path = save(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "a.jpg")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as a picture \(.*truncated"):
        read_reduced(path, 8)


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif"])
def test_of_several_frames_the_first_counts(save, name):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("white", "black")]
    path = save(frames[0], name, save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert read_image(path).min() == 255
