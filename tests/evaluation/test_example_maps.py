"""The example maps of notebook 05a: what each is made of, and what their plot shows."""

import numpy as np
import pytest
import torch

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation.example_maps import example_maps, gradient_energy, plot_maps
from defusion_lib.network import DeFusionNet

SIZE = 32


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(3)
    images = {f"p{i}": rng.integers(0, 256, (20, 24 + i, 3), np.uint8) for i in range(4)}
    return PhotoSet("made-up", images, lambda stem: Photo(stem, images[stem], np.ones(images[stem].shape[:2])))


@pytest.fixture(scope="module")
def maps(photos):
    torch.manual_seed(0)
    return example_maps(photos, DeFusionNet(heads="compact").eval(), SIZE, seed=7)


def test_mistakes_are_made_from_the_networks_maps(photos, maps):
    assert next(iter(maps)) == "defusionnet-compact"
    for i, photo in enumerate(photos):
        found = maps["defusionnet-compact"][i]
        assert found.shape == photo.mask.shape and np.ptp(found) > 0
        np.testing.assert_array_equal(maps["inverted"][i], 1 - found)
        np.testing.assert_allclose(maps["low-contrast"][i], 0.4 + found / 5, atol=1e-6)
        np.testing.assert_allclose(maps["dark"][i], found * 9 / 20, atol=1e-6)
        assert (maps["all-blurred"][i] == 1).all()


def test_random_maps_depend_on_the_seed_only(photos, maps):
    rng = np.random.default_rng(7)
    for found in maps["random"]:
        np.testing.assert_array_equal(found, rng.random(found.shape))


def test_gradient_energy_is_lower_where_there_is_detail():
    image = np.full((30, 40, 3), 128, np.uint8)
    image[:, :20] = np.random.default_rng(0).integers(0, 256, (30, 20, 3))
    found = gradient_energy(image)
    assert 0 <= found.min() and found.max() < 1
    assert found[:, :15].max() < found[:, 30:].min()


def test_the_plot_shows_the_first_photographs(photos, maps):
    drawing = plot_maps(
        photos[:4], {name: [found[:20, :24] for found in of_images] for name, of_images in maps.items()}
    )
    assert drawing.name == "protocol_maps" and list(drawing.arrays["names"]) == ["p0", "p1", "p2"]
    assert set(drawing.arrays) == {"names", *maps} - {"all-blurred", "random"}
    assert drawing.arrays["dark"].shape == (3, 20, 24) and drawing.arrays["dark"].dtype == np.uint8
    assert drawing.arrays["dark"].max() <= 115
