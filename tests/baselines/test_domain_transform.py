"""Edge-aware smoothing against the recursion written out pixel by pixel, and what the filter is for."""

import numpy as np
import pytest
from skimage.data import astronaut

from defusion_lib.baselines.domain_transform import domain_transform

RNG = np.random.default_rng(0)


def pixel_by_pixel(values, guide, sigma_s, sigma_r, iterations):
    """The recursive domain transform of one channel with loops over pixels."""
    result = np.array(values, np.float64)
    height, width = result.shape
    guide = np.atleast_3d(np.asarray(guide, np.float64))

    def feedback(a, b, sigma):
        return np.exp(-np.sqrt(2) / sigma) ** (1 + sigma_s / sigma_r * np.abs(a - b).sum())

    for turn in range(1, iterations + 1):
        sigma = sigma_s * np.sqrt(3) * 2 ** (iterations - turn) / np.sqrt(4**iterations - 1)
        for y in range(height):
            for x in range(1, width):
                a = feedback(guide[y, x], guide[y, x - 1], sigma)
                result[y, x] = (1 - a) * result[y, x] + a * result[y, x - 1]
            for x in range(width - 2, -1, -1):
                a = feedback(guide[y, x], guide[y, x + 1], sigma)
                result[y, x] = (1 - a) * result[y, x] + a * result[y, x + 1]
        for x in range(width):
            for y in range(1, height):
                a = feedback(guide[y, x], guide[y - 1, x], sigma)
                result[y, x] = (1 - a) * result[y, x] + a * result[y - 1, x]
            for y in range(height - 2, -1, -1):
                a = feedback(guide[y, x], guide[y + 1, x], sigma)
                result[y, x] = (1 - a) * result[y, x] + a * result[y + 1, x]
    return result


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("guide", [astronaut()[100:121, 200:233, 0] / 255, astronaut()[100:121, 200:233] / 255])
def test_recursion_as_written_out(guide, iterations):
    values = RNG.random((21, 33))
    ours = domain_transform(values, guide, 6, 0.3, iterations)
    np.testing.assert_allclose(ours, pixel_by_pixel(values, guide, 6, 0.3, iterations), rtol=0, atol=1e-12)


def test_channels_are_filtered_alone():
    values, guide = RNG.random((9, 14, 3)), RNG.random((9, 14))
    ours = domain_transform(values, guide, 4, 0.5)
    for channel in range(3):
        np.testing.assert_array_equal(ours[..., channel], domain_transform(values[..., channel], guide, 4, 0.5))


def test_edges_stop_the_smoothing():
    guide = np.zeros((20, 40))
    guide[:, 20:] = 1
    values = guide + RNG.normal(0, 0.1, guide.shape)
    kept = domain_transform(values, guide, 15, 0.05)
    assert kept[:, :20].std() < 0.02 and kept[:, 20:].std() < 0.02
    assert kept[:, 20:].mean() - kept[:, :20].mean() > 0.95
    mixed = domain_transform(values, guide, 15, np.inf)
    assert mixed[:, 20:].mean() - mixed[:, :20].mean() < 0.6


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2, 1), (1, 7, 2)])
def test_small_shapes_and_dtypes(shape):
    values = RNG.random(shape).astype(np.float32)
    smooth = domain_transform(values, values, 15, 0.25)
    assert smooth.shape == shape and smooth.dtype == np.float32
    assert values.min() - 1e-6 <= smooth.min() and smooth.max() <= values.max() + 1e-6
    assert domain_transform(np.full(shape, 7), values, 15, 0.25).dtype == np.float64


def test_what_is_given_stays_as_it_was():
    values, guide = RNG.random((8, 9)), RNG.random((8, 9))
    before = values.copy(), guide.copy()
    domain_transform(values, guide, 3, 0.2)
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(guide, before[1])


@pytest.mark.parametrize(
    "values, guide, sigma_s, sigma_r, words",
    [
        (np.zeros((4, 5)), np.zeros((5, 4)), 1, 1, "the same height and width"),
        (np.zeros(4), np.zeros(4), 1, 1, "the same height and width"),
        (np.zeros((4, 5)), np.zeros((4, 5)), 0, 1, "must be positive"),
        (np.zeros((4, 5)), np.zeros((4, 5)), 1, -1, "must be positive"),
        (np.full((4, 5), np.nan), np.zeros((4, 5)), 1, 1, "NaN or infinity"),
    ],
)
def test_bad_input_is_named(values, guide, sigma_s, sigma_r, words):
    with pytest.raises(ValueError, match=words):
        domain_transform(values, guide, sigma_s, sigma_r)
