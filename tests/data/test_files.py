"""The one door through which pictures and masks come in."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data.files import (
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


def test_a_mask_of_labels_is_refused(save):
    path = save(Image.fromarray(np.array([[0, 1]], np.uint8)), "m.png")
    with pytest.raises(ValueError, match=r"m\.png.*only the values 0 and 1, expected 0 and 255: multiply"):
        read_mask(path)


def test_an_unknown_polarity_is_refused(save):
    path = save(Image.new("L", (2, 2)), "m.png")
    with pytest.raises(ValueError, match="'sharp' is not a mask polarity"):
        read_mask(path, "sharp")


def test_a_mask_of_another_size_names_both_sizes(save, colours):
    image = save(Image.fromarray(colours), "a.png")
    mask = save(Image.new("L", (8, 6)), "m.png")
    with pytest.raises(ValueError, match=r"m\.png: the mask is 8x6 pixels but its photograph is 7x5"):
        read_photo("a", image, mask)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp"])
def test_a_truncated_file_is_named_in_one_sentence(save, rng, name):
    says = rf"{name} cannot be read as a picture \(.+\): expected a whole"
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = save(noise, name)
    whole = path.read_bytes()
    for part in (len(whole) * 2 // 3, 30):
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
    with pytest.raises(ValueError, match=r"a\.tif .*floating-point pixels have no agreed range"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.png"):
        read_image(tmp_path / "a.png")


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


def test_pictures_without_a_mask_are_named(tmp_path):
    (tmp_path / "2.png").touch()
    images = {str(number): tmp_path / f"{number}.jpg" for number in range(1, 7)}
    with pytest.raises(FileNotFoundError, match=r"no mask for 1, 3, 4 and 2 more \(5 of 6 photographs\)"):
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


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_reduced_picture_is_upright_and_so_is_its_shape(save, name):
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
