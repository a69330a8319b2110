"""Images whose blur is known, and statistics of errors, against literal versions."""

import importlib.metadata
import math

import numpy as np
import pytest
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from defusion_lib.data import bundled, effects
from defusion_lib.data.camera import Camera, Layer, Scene, render, to_linear
from defusion_lib.data.synthetic import open_synthetic
from defusion_lib.evaluation import statistics
from defusion_lib.experiments import controlled_images


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ------------------------------------------------------------------------------------------------- pictures


def test_embedded_photographs_are_the_middle_squares_of_the_packages_own():
    assert np.array_equal(bundled.embedded("skimage-chelsea"), skimage.data.chelsea()[:, 75:375])
    assert np.array_equal(bundled.embedded("sklearn-china"), load_sample_image("china.jpg")[:, 106:533])
    page = bundled.embedded("skimage-page")
    assert np.array_equal(page, np.stack([skimage.data.page()[:, 96:287]] * 3, axis=2))


def test_embedded_photographs_all_come_with_the_wheels():
    places = {
        "skimage": ("scikit-image", "skimage/data"),
        "sklearn": ("scikit-learn", "sklearn/datasets/images"),
    }
    for name, (file, _) in bundled.EMBEDDED.items():
        package, folder = places[name.partition("-")[0]]
        assert f"{folder}/{file}" in {str(path) for path in importlib.metadata.files(package)}
        side, width, channels = bundled.embedded(name).shape
        assert side == width and channels == 3
    with pytest.raises(ValueError, match="no embedded photo 'skimage-dog'.*skimage-brick"):
        bundled.embedded("skimage-dog")


def test_enlarged_and_partly_blurred_photographs_are_not_sharp_throughout():
    assert len(bundled.embedded("skimage-page")) == 191
    names = ["skimage-grass", "skimage-page", "sklearn-flower"]
    assert bundled.sharp_throughout(names, 210) == ["skimage-grass", "skimage-page"]
    assert bundled.sharp_throughout(names, 211) == ["skimage-grass"]


def test_origin_is_shared_by_pictures_of_one_photograph():
    image = np.zeros((4, 4, 3), np.uint8)
    both = [controlled_images.half_and_half("skimage-page", image, 1, left).photo.name for left in (True, False)]
    assert [controlled_images.origin(name) for name in both] == ["skimage-page"] * 2
    stems = open_synthetic(20, (48, 48)).stems
    origins = [controlled_images.origin(name) for name in stems]
    assert len(set(origins)) == 18
    assert len({of for name, of in zip(stems, origins) if name.startswith("focus-swapped-pair")}) == 2


@pytest.mark.parametrize("blurred_share", [0.01, 0.1, 0.5])
def test_largest_sharp_square_is_that_of_an_exhaustive_search(rng, blurred_share):
    mask = (rng.random((14, 11)) < blurred_share).astype(np.float32)
    fits = [
        (side, -top, -left)
        for side in range(1, 12)
        for top in range(15 - side)
        for left in range(12 - side)
        if not mask[top : top + side, left : left + side].any()
    ]
    side, top, left = max(fits)
    rows, columns = controlled_images.largest_sharp_square(mask, least=side)
    assert (rows, columns) == (slice(-top, side - top), slice(-left, side - left))
    assert controlled_images.largest_sharp_square(mask, least=side + 1) is None


def test_largest_sharp_square_of_masks_of_one_class():
    assert controlled_images.largest_sharp_square(np.zeros((7, 9)), least=7) == (slice(0, 7), slice(0, 7))
    assert controlled_images.largest_sharp_square(np.ones((7, 9)), least=1) is None


def photographed(image, radius, in_front):
    """Render a sharp part of an image in front of all of it, blurred by `radius`."""
    layers = (
        Layer(to_linear(image), np.ones(image.shape[:2], np.float32), 4.0, "behind"),
        Layer(to_linear(image), in_front.astype(np.float32), 1.0, "in front"),
    )
    aperture = radius / Camera(1.0, 1.0).blur_radius(4.0, image.shape[1])
    return render(Scene(layers), Camera(1.0, aperture, shot_noise=0, read_noise=0))


@pytest.mark.parametrize("radius", [0.8, 2.5, 6])
def test_blurred_is_what_the_camera_sees(rng, radius):
    image = rng.integers(0, 256, (40, 40, 3), np.uint8)
    seen = photographed(image, radius, np.zeros((40, 40))).image
    # Light differs in the last bit of single precision: at most one level of 255.
    assert np.abs(effects.blurred(image, radius).astype(int) - seen).max() <= 1
    assert np.array_equal(effects.blurred(image, 0), image)


@pytest.mark.parametrize("sharp_left", [True, False])
def test_half_and_half_is_a_sharp_layer_before_a_blurred_one(rng, sharp_left):
    image = rng.integers(0, 256, (40, 40, 3), np.uint8)
    half = np.zeros((40, 40))
    half[:, :20] = 1
    seen = photographed(image, 3.0, half if sharp_left else 1 - half)
    known = controlled_images.half_and_half("noise", image, 3.0, sharp_left)
    assert np.abs(known.photo.image.astype(int) - seen.image).max() <= 1
    assert np.array_equal(known.photo.mask, seen.mask) and known.photo.mask.dtype == np.float32
    assert np.allclose(known.radius, seen.radius, atol=1e-5)
    assert np.array_equal(known.texture, controlled_images.texture(image))
    assert known.photo.name == ("noise-left-sharp" if sharp_left else "noise-right-sharp")


def test_both_halves_of_each_photo_are_sharp_once(rng):
    images = dict(zip("ab", rng.integers(0, 256, (2, 20, 20, 3), np.uint8)))
    made = controlled_images.both_halves(images, 2.0)
    assert [each.photo.name for each in made] == ["a-left-sharp", "a-right-sharp", "b-left-sharp", "b-right-sharp"]
    alone = controlled_images.half_and_half("b", images["b"], 2.0, False)
    assert np.array_equal(made[3].photo.image, alone.photo.image)


def test_embedded_squares_have_the_size_of_the_input():
    ((name, image),) = controlled_images.embedded_squares(["skimage-page"], 64).items()
    expected = Image.fromarray(bundled.embedded(name)).resize((64, 64), Image.Resampling.BILINEAR)
    assert name == "skimage-page" and np.array_equal(image, np.asarray(expected))


def test_blurred_share_counts_pixels_above_one_half():
    assert controlled_images.blurred_share(np.array([[0.5, 0.51], [1.0, 0.0]])) == 0.5


def test_rendered_photographs_are_those_of_the_synthetic_set():
    photos = open_synthetic(7, (64, 64), seed=3)
    for index, photo in enumerate(photos):
        known = controlled_images.rendered(index, 64, 3)
        assert known.photo.name == photo.name
        assert np.array_equal(known.photo.image, photo.image)
        assert np.array_equal(known.radius > 1, photo.mask == 1)


def test_texture_of_a_rendered_photograph_is_from_before_the_blur():
    for index in range(5):
        known = controlled_images.rendered(index, 128, 3)
        seen, far_out = controlled_images.texture(known.photo.image), known.radius > 2
        assert known.texture[far_out].mean() > 1.1 * seen[far_out].mean()


# -------------------------------------------------------------------------------------------------- numbers


def test_texture_is_the_standard_deviation_around_each_pixel(rng):
    image = rng.integers(0, 256, (12, 15, 3), np.uint8)
    image[:, :6] //= 8
    window = controlled_images.WINDOW
    padded = np.pad(image.mean(2) / 255, window // 2, mode="symmetric")
    literal = [[padded[y : y + window, x : x + window].std() for x in range(15)] for y in range(12)]
    assert np.allclose(controlled_images.texture(image), literal, atol=1e-7)
    for level in range(256):
        # A difference of squares near 1 keeps 16 digits, its root 8, and it may fall below 0.
        assert controlled_images.texture(np.full((9, 9, 3), level, np.uint8)).max() < 1e-7


@pytest.mark.parametrize(
    "shares, radius",
    [
        ([0.0, 0.2, 0.7, 1.0], 2.2),  # three fifths of the way from 1 to 3
        ([0.0, 0.5, 0.2, 1.0], 1.0),
        ([0.0, 0.8, 0.2, 1.0], 0.625),
        ([0.6, 0.2, 0.7, 1.0], 0.0),
        ([0.0, 0.1, 0.2, 0.4], math.inf),
    ],
)
def test_detection_radius(shares, radius):
    assert statistics.detection_radius([0, 1, 3, 4], shares) == pytest.approx(radius)


def test_quarters_go_from_smooth_to_textured(rng):
    texture, wrong = rng.permutation(40).reshape(5, 8), rng.random((5, 8)) < 0.4
    literal = [np.mean([wrong[texture == rank].item() for rank in range(q, q + 10)]) for q in (0, 10, 20, 30)]
    assert np.allclose(statistics.quarters(wrong, texture), literal)
    assert np.array_equal(statistics.quarters(texture < 10, texture), [1, 0, 0, 0])


def test_probability_of_superiority_counts_pairs(rng):
    values, chosen = rng.integers(0, 6, (6, 7)), rng.random((6, 7)) < 0.4
    literal = [(a > b) + (a == b) / 2 for a in values[chosen] for b in values[~chosen]]
    assert statistics.probability_of_superiority(values, chosen) == pytest.approx(np.mean(literal))
    with np.errstate(all="raise"):
        assert math.isnan(statistics.probability_of_superiority(values, chosen & False))
        assert math.isnan(statistics.probability_of_superiority(values, chosen | True))


def test_sign_test_counts_the_splits():
    first, second = [3, 3, 3, 3, 3, 1, 2], [1, 1, 1, 1, 1, 3, 2]
    # 5 of 6, or more uneven: 5, 6, 1 and 0 of 6.
    as_uneven = sum(math.comb(6, k) for k in (0, 1, 5, 6)) / 2**6
    assert statistics.sign_test(first, second) == (5, 6, pytest.approx(as_uneven))
    assert statistics.sign_test(second, first) == (1, 6, pytest.approx(as_uneven))
    assert statistics.sign_test(first, first) == (0, 0, 1.0)
