"""LBP: its parts against plain loops and scikit-image, its maps against what the authors published."""

import numpy as np
import pytest
from reference import lbp as plain
from scipy import ndimage
from skimage.feature import local_binary_pattern
from sklearn.datasets import load_sample_image

from defusion_lib.baselines.classical import lbp
from defusion_lib.data.files import read_image, read_mask
from defusion_lib.metrics import Evaluation


@pytest.fixture(scope="module")
def photograph():
    return load_sample_image("china.jpg")


@pytest.mark.parametrize("shape", [(48, 64), (37, 51), (1, 9), (2, 2)])
def test_codes_are_those_of_the_plain_loop(photograph, shape):
    noise = np.random.default_rng(0).integers(90, 110, shape)
    view = lbp.grey(photograph[200 : 200 + shape[0], 300 : 300 + shape[1]])
    for levels in (noise, view):
        np.testing.assert_array_equal(lbp.codes(levels), plain.codes(levels))


def test_codes_are_scikit_images_where_a_neighbour_counts_from_no_difference_on(monkeypatch):
    # There a neighbour counts when it is not darker; for whole numbers, and diagonals rounded down, that is
    # to be brighter by more than -0.5. Beyond the border scikit-image sees black, so the border is left out.
    levels = np.random.default_rng(1).integers(0, 256, (60, 70)).astype(np.uint8)
    monkeypatch.setattr(lbp, "THRESHOLD", -0.5)
    expected = local_binary_pattern(levels, 8, 1, method="uniform")
    np.testing.assert_array_equal(lbp.codes(levels)[1:-1, 1:-1], expected[1:-1, 1:-1])
    assert set(np.unique(expected)) == set(range(10))


def test_a_neighbour_counts_from_five_levels_on():
    levels = np.full((3, 5), 100)
    levels[:, 3] = 104
    assert (lbp.codes(levels) == 0).all()
    levels[:, 3] = 105
    # Beside the edge one neighbour is brighter; the diagonals, interpolated and rounded down, are not.
    np.testing.assert_array_equal(lbp.codes(levels)[1], [0, 0, 1, 0, 1])
    levels[:, 3] = 120
    np.testing.assert_array_equal(lbp.codes(levels)[1], [0, 0, 3, 0, 3])
    dark = np.full((3, 3), 120)
    dark[1, 1] = 100
    assert lbp.codes(dark)[1, 1] == 8


@pytest.mark.parametrize("shape", [(48, 64), (37, 51), (5, 3)])
def test_sharpness_is_that_of_the_plain_loop(photograph, shape):
    image = photograph[150 : 150 + shape[0], 200 : 200 + shape[1]]
    np.testing.assert_allclose(lbp.sharpness(image), plain.core(image), atol=1e-12)
    assert lbp.sharpness(image).max() == 1


@pytest.mark.slow
@pytest.mark.parametrize(("row", "column", "spread"), [(210, 380, 0.8), (60, 300, 0)])
def test_map_is_that_of_the_plain_parts_together(photograph, row, column, spread):
    image = photograph[row : row + 17, column : column + 19]
    expected = plain.detect(image)
    assert np.ptp(expected) > spread
    # float32 messages, and beliefs near an undecided point, take a digit or two.
    np.testing.assert_allclose(lbp.detect(image), expected, atol=1e-5)


def test_an_image_without_any_pattern_is_blurred():
    slope = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))
    for image in (np.full((60, 80, 3), 200, np.uint8), slope):
        assert lbp.detect(image).min() > 0.9


def test_blurring_a_half_raises_its_map(photograph):
    image = photograph[150:310, 160:400].copy()
    image[:, 120:] = ndimage.gaussian_filter(image, (3, 3, 0))[:, 120:]
    found = lbp.detect(image)
    left, right = found[:, :110].mean(), found[:, 130:].mean()
    assert right - left > 0.8  # measured: 0.04 and 0.96


@pytest.mark.parametrize("stem", ["out_of_focus0085"])
def test_map_agrees_with_the_published_one(stem, shi_root, reference_maps):
    # Over the 48 photographs with published maps: correlation 0.955 (worst 0.861), MAE and F 0.002 apart.
    image = read_image(shi_root / "images" / f"{stem}.jpg")
    mask = read_mask(shi_root / "masks" / f"{stem}.png")
    published = read_mask(reference_maps / "lbp" / f"{stem}.png", white="blurred", grey=True)
    found = lbp.detect(image)
    assert np.corrcoef(found.ravel(), published.ravel())[0, 1] > 0.96
    scores = []
    for defocus in (found, published):
        evaluation = Evaluation()
        evaluation.add(defocus, mask)
        scores.append((evaluation.mae(), evaluation.max_f("blur")))
    np.testing.assert_allclose(*scores, atol=0.02)
