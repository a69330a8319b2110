import numpy as np
import pytest
from PIL import Image
from reference import ss as plain
from scipy.ndimage import gaussian_filter
from skimage import data

from defusion_lib.baselines.classical import ss
from defusion_lib.baselines.images import interpolate_windows
from defusion_lib.metrics import Evaluation


@pytest.fixture(scope="module")
def cat():
    return data.chelsea()[40:151, 60:221]  # odd sizes


def grey_of(image):
    return np.asarray(Image.fromarray(image).convert("L")) / 255


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(48, 64), (37, 51), (9, 70), (1, 1), (1, 30)])
def test_residuals_are_those_of_the_plain_version(cat, shape):
    grey = grey_of(cat)[: shape[0], : shape[1]]
    np.testing.assert_allclose(ss.spectrum_residuals(grey), plain.spectrum_residuals(grey), atol=1e-9)


def test_residual_of_a_wave_is_what_the_second_blur_takes_from_it():
    # cos(2 pi x / 4) through a Gaussian of sigma 1 is left with exp(-(2 pi / 4)^2 / 2) of its height.
    across = np.arange(192)
    grey = 0.5 + 0.4 * np.cos(np.pi / 2 * (across + 0.5))[None].repeat(192, 0)
    rings = ss.ring_weights()
    weight = np.hanning(66)[1:-1, None] * np.hanning(66)[1:-1]
    windows = [each[None, 64:128, 64:128] for each in (grey, gaussian_filter(grey, 1, truncate=8))]
    sharp, blurred = (ss.log_spectra(window, weight / weight.sum(), rings)[0] for window in windows)
    assert sharp.argmax() == 15  # the 16th of 64 cycles
    lost = (np.exp(blurred[15]) - ss.NOISE_AMPLITUDE) / (np.exp(sharp[15]) - ss.NOISE_AMPLITUDE)
    assert lost == pytest.approx(np.exp(-((np.pi / 2) ** 2) / 2), rel=0.01)


def test_update_is_that_of_the_plain_version(cat):
    labels = ss.superpixels(cat, 30)
    assert 15 < labels.max() + 1 == len(np.unique(labels))
    blur = np.random.default_rng(0).random(labels.shape)
    marks = ss.appearance(cat)
    expected = plain.smooth_regions(blur, labels, marks)
    np.testing.assert_allclose(ss.smooth_regions(blur, labels, marks), expected, atol=1e-9)


def test_update_draws_a_region_to_its_like_and_leaves_one_without():
    labels = np.arange(4)[None].repeat(2, 0)
    blur = np.array([0.0, 1.0, 0.2, 1.0])[labels]
    # The second looks like the first and the third, the last like nobody.
    marks = np.array([0.0, 0.5, 0.0, 100.0])[labels][None]
    found = ss.smooth_regions(blur, labels, marks)[0]
    assert found[0] < found[1] < 0.6 and found[3] == 1 and found.min() == 0


def test_appearance_has_colour_gradient_and_position():
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 20:] = 255
    light, _, _, gradient, down, across = ss.appearance(image)
    assert light[0, 30] == pytest.approx(100 / ss.COLOUR, rel=1e-3) and light[0, 0] == 0
    assert gradient[5, 19] == pytest.approx(0.5 / ss.GRADIENT, rel=1e-3) and gradient[5, 10] == 0
    assert down[10, 3] == pytest.approx(10 / 50 / ss.DISTANCE)
    assert across[10, 3] == pytest.approx(3 / 50 / ss.DISTANCE)


def test_values_between_windows_are_linear():
    found = interpolate_windows(np.arange(12.0)[None].repeat(9, 0), ss.STRIDE, (72, 96))
    np.testing.assert_allclose(found[:, :88], ((np.arange(88) + 0.5) / 8)[None].repeat(72, 0), atol=1e-12)


def test_blurring_a_half_raises_the_map_there():
    image = data.gravel()[:200, :300]
    half = image.copy()
    half[:, 150:] = gaussian_filter(image.astype(float), 3)[:, 150:].round().astype(np.uint8)
    whole, found = ss.detect(image), ss.detect(half)
    assert (found[:, 160:] - whole[:, 160:]).mean() > 0.3
    assert found[:, 160:].mean() > found[:, :140].mean() + 0.5


def test_map_tells_blurred_from_sharp_on_a_photograph(shi_root):
    stem = "out_of_focus0035"
    evaluation = Evaluation()
    mask = np.asarray(Image.open(shi_root / f"masks/{stem}.png").convert("L")) > 127
    evaluation.add(ss.detect(np.asarray(Image.open(shi_root / f"images/{stem}.jpg").convert("RGB"))), mask)
    assert evaluation.auc() > 0.9
