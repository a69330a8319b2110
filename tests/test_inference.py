"""A photograph of any size in, a defocus map of that size out."""

import numpy as np
import pytest
import torch
from PIL import Image

from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.inference import detect, predict_maps, resize_map
from defusion_lib.network import DeFusionNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DeFusionNet("compact", steps=1)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (45, 70), (97, 31)])
@pytest.mark.parametrize("size", [32, None])
def test_map_has_the_shape_of_the_photograph(network, shape, size):
    defocus = detect(photo(*shape), network, size)
    assert defocus.shape == shape and defocus.dtype == np.float32
    assert 0 <= defocus.min() and defocus.max() <= 1


def test_native_size_is_the_network_itself(network):
    image = photo(40, 56)
    with torch.no_grad():
        logits = network(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]).final
    np.testing.assert_allclose(detect(image, network, size=None), torch.sigmoid(logits)[0, 0].numpy(), atol=1e-6)


def test_the_network_sees_the_photograph_squashed(network):
    image = photo(50, 70)
    seen = resize_to_square(Image.fromarray(image), 32)
    expected = resize_map(detect(seen, network, size=None), (50, 70))
    np.testing.assert_allclose(detect(image, network, 32), expected, atol=1e-6)


def test_grey_is_its_own_colour(network):
    grey = photo(40, 40)[..., 0]
    assert np.array_equal(detect(grey, network, 32), detect(np.stack([grey] * 3, axis=-1), network, 32))


def test_all_maps_are_the_final_one_and_every_side(network):
    maps = predict_maps(photo(50, 60), network, 32)
    assert maps.final.shape == (1, 1, 32, 32) and len(maps.sides) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros(8, np.uint8),
        np.zeros((2, 2, 2, 3), "u1"),
    ],
)
def test_what_is_no_photograph_is_refused_in_one_sentence(network, wrong):
    with pytest.raises(ValueError, match=r"Found an array of .* expected a photo: uint8"):
        detect(wrong, network)


def test_photograph_without_pixels(network):
    with pytest.raises(ValueError, match="without pixels"):
        detect(np.zeros((0, 5, 3), np.uint8), network)


def test_a_resized_map_stays_in_range_and_keeps_the_mean():
    checks = (np.indices((8, 8)).sum(0) % 2).astype(np.float32)
    larger = resize_map(checks, (80, 80))
    assert larger.min() >= 0 and larger.max() <= 1
    assert larger.mean() == pytest.approx(0.5, abs=0.01)
