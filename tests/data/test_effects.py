"""What happens to a photograph on its way, each effect against its definition."""

import numpy as np
import pytest

from defusion_lib.data import bundled, effects


def test_noise_has_its_deviation():
    grey = np.full((100, 100, 3), 128, np.uint8)
    added = effects.noisy(grey, 10, 0).astype(float) - 128
    # 30,000 samples: the deviation is off by 10 / sqrt(60,000) = 0.04 at one sigma; rounding adds 0.004.
    assert abs(added.std() - 10) < 0.2 and abs(added.mean()) < 0.3
    assert np.array_equal(effects.noisy(grey, 10, 0), effects.noisy(grey, 10, 0))
    assert not np.array_equal(effects.noisy(grey, 10, 0), effects.noisy(grey, 10, 1))
    ends = effects.noisy(np.array([[[0, 255, 0]]] * 50, np.uint8), 40, 0)
    assert (ends[..., 0] < 128).all() and (ends[..., 1] > 127).all()


def test_jpeg_loses_more_at_lower_quality():
    image = bundled.embedded("skimage-grass")[:64, :64]
    lost = [np.abs(effects.jpeg(image, quality).astype(float) - image).mean() for quality in (95, 50, 5)]
    assert 0 < lost[0] < lost[1] < lost[2] and lost[0] < 3


@pytest.mark.parametrize("stops", [1, 3])
def test_each_stop_halves_the_light(stops):
    image = np.full((2, 2, 3), 255, np.uint8)
    srgb = 1.055 * 0.5 ** (stops / 2.4) - 0.055
    assert np.array_equal(effects.darkened(image, stops), np.full((2, 2, 3), round(255 * srgb)))
    assert np.array_equal(effects.darkened(image, 0), image)


def test_shot_noise_grows_with_the_level():
    ramp = np.repeat(np.array([[16, 64, 144]], np.uint8), 30_000, axis=0)[..., None].repeat(3, 2)
    spread = (effects.noisy(ramp, 8, 0, shot=1.0).astype(float) - ramp).std(axis=(0, 2))
    # The variance is 8^2 x level / 128; 90,000 samples, and rounding adds a variance of 1/12.
    np.testing.assert_allclose(spread**2, 64 * np.array([16, 64, 144]) / 128 + 1 / 12, rtol=0.03)


def test_rescaling_keeps_size_and_flat_areas_and_loses_detail():
    rng = np.random.default_rng(0)
    flat, noise = np.full((30, 41, 3), 77, np.uint8), rng.integers(0, 256, (30, 41, 3), np.uint8)
    assert np.array_equal(effects.rescaled(flat, 0.4), flat)
    assert np.array_equal(effects.rescaled(noise, 1.0), noise)
    spreads = [effects.rescaled(noise, factor).astype(float).std() for factor in (1.0, 0.7, 0.4)]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("gamma, gain", [(1, 1), (0.5, 1), (2.2, 0.6), (1, 1.2)])
def test_tone_is_a_power_and_a_factor(gamma, gain):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    expected = np.clip(255 * gain * (levels / 255.0) ** gamma, 0, 255)
    assert np.abs(effects.toned(levels, gamma, gain) - expected).max() <= 0.5


def test_grey_is_luma():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    np.testing.assert_allclose(effects.grey(colours)[0], np.array([[76] * 3, [150] * 3, [29] * 3, [9] * 3]), atol=1)
