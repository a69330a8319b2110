"""HiFST against the plain version of its core, against its authors' maps, and on what is no photograph."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from reference import hifst as plain
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut
from sklearn.datasets import load_sample_image

from defusion_lib.baselines.classical import hifst

RNG = np.random.default_rng(0)
# Crops that are wide, tall, of odd sides, of several strips.
CROPS = {
    "wide": astronaut()[100:148, 200:264],
    "tall": load_sample_image("china.jpg")[150:191, 300:337],
    "strips": astronaut()[60:193, 170:199],
}


@pytest.mark.slow
@pytest.mark.parametrize("crop", CROPS)
def test_same_numbers_as_the_plain_core(crop):
    magnitude = hifst.gradient_magnitude(CROPS[crop])
    ours = hifst.sharpness(magnitude)
    np.testing.assert_allclose(ours, plain.sharpness(magnitude), rtol=0, atol=1e-6)
    assert ours.max() == pytest.approx(1)


def test_entropy_as_its_sum():
    values = RNG.random((11, 14)) ** 3
    levels = np.pad(np.round(values * 255).astype(int), 3, mode="symmetric")
    wanted = np.empty((11, 14))
    for y, x in np.ndindex(11, 14):
        shares = np.array(list(Counter(levels[y : y + 7, x : x + 7].ravel()).values())) / 49
        wanted[y, x] = -(shares * np.log2(shares)).sum()
    np.testing.assert_allclose(hifst.local_entropy(values), wanted, rtol=0, atol=1e-9)


def test_gradients_of_a_step():
    image = np.zeros((9, 12, 3), np.uint8)
    image[:, 6:] = 100
    # The Gaussian of sigma 0.5 on three pixels gives a neighbour 0.1065, so grey runs 0, 11, 89, 100 across
    # the step; Sobel sums 1 + 2 + 1 rows of the difference over two pixels.
    across = np.array([0, 0, 0, 0, 11, 89, 89, 11, 0, 0, 0, 0]) * 4.0
    np.testing.assert_array_equal(hifst.gradient_magnitude(image), np.tile(across, (9, 1)))


def test_a_single_row_is_blurred():
    line = astronaut()[100:101, 200:290]
    # A single row between zeros has no odd vertical frequencies: all of the smallest coefficients vanish.
    assert (hifst.detect(line) == 1).all()


def test_same_map_with_any_number_of_threads():
    threads = torch.get_num_threads()
    photograph = astronaut()[:140, 150:220]
    try:
        torch.set_num_threads(1)
        alone = hifst.detect(photograph)
        torch.set_num_threads(3)
        np.testing.assert_array_equal(hifst.detect(photograph, progress=True), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_blurring_half_raises_the_map_there():
    roof = load_sample_image("china.jpg")[100:180, 200:280]
    photograph = np.hstack([roof, roof[:, ::-1]])
    blurred = photograph.copy()
    blurred[:, 80:] = gaussian_filter(photograph.astype(float), (3, 3, 0))[:, 80:]
    before, after = hifst.detect(photograph), hifst.detect(blurred)
    # Measured: from 0.47 to 0.97 there, and from 0.47 to 0.21 beyond the reach of the blurred half.
    assert after[:, 95:].mean() > before[:, 95:].mean() + 0.4
    assert after[:, :65].mean() < before[:, :65].mean() - 0.2


@pytest.mark.slow
def test_authors_map(shi_root, reference_maps):
    stem = "out_of_focus0045"
    photograph = np.asarray(Image.open(shi_root / "images" / f"{stem}.jpg"))
    # White is sharp in the authors' files.
    theirs = 1 - np.asarray(Image.open(reference_maps / "hifst" / f"{stem}.png")) / 255
    ours = hifst.detect(photograph)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert np.abs(ours - theirs).mean() < 0.01
