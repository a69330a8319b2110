"""Maps follow the edges of the photo; a photo computed in parts gives the same map."""

import tracemalloc

import numpy as np
import pytest

from defusion_lib import refinement
from defusion_lib.inference import resize_map
from defusion_lib.refinement import linear_functions, refine


def edge(height=200, width=300, at=150):
    """A photo with one edge, its mask, and the mask as a map of 60 pixels a side would have it."""
    rng = np.random.default_rng(0)
    mask = np.zeros((height, width), np.float32)
    mask[:, at:] = 1
    image = np.clip(80 + 90 * mask[..., None] + rng.normal(0, 3, (height, width, 3)), 0, 255).astype(np.uint8)
    return image, mask, resize_map(mask, (60, 60))


def naive(defocus, guide, radius, epsilon):
    """Eq. 19-21 of He et al. by a least-squares fit in every window."""
    height, width = defocus.shape
    padded_p, padded_i = (
        np.pad(defocus, radius, "edge"),
        np.pad(guide, ((radius, radius), (radius, radius), (0, 0)), "edge"),
    )
    functions = np.empty((height, width, 4))
    for y, x in np.ndindex(height, width):
        window = np.s_[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        colours, values = padded_i[window].reshape(-1, 3), padded_p[window].ravel()
        apart = colours - colours.mean(0)
        slope = np.linalg.solve(apart.T @ apart / len(apart) + epsilon * np.eye(3), apart.T @ values / len(apart))
        functions[y, x] = *slope, values.mean() - slope @ colours.mean(0)
    padded = np.pad(functions, ((radius, radius), (radius, radius), (0, 0)), "edge")
    size = 2 * radius + 1
    mean = np.array([[padded[y : y + size, x : x + size].mean((0, 1)) for x in range(width)] for y in range(height)])
    return mean[..., :3], mean[..., 3]


def test_the_linear_functions_are_those_of_the_paper():
    rng = np.random.default_rng(1)
    defocus, guide = rng.random((9, 11)), rng.random((9, 11, 3))
    for ours, theirs in zip(linear_functions(defocus, guide, 2, 1e-3), naive(defocus, guide, 2, 1e-3)):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_a_map_follows_the_edge_of_the_photo():
    image, mask, seen = edge()
    band = np.s_[:, 144:156]
    smooth, sharp = (np.abs(each - mask)[band].mean() for each in (resize_map(seen, mask.shape), refine(seen, image)))
    assert sharp < 0.4 * smooth


def test_where_the_photo_has_no_edge_the_map_stays():
    grey = np.full((120, 90, 3), 128, np.uint8)
    defocus = resize_map(np.array([[0.2, 0.4], [0.6, 0.9]], np.float32), (120, 90))
    np.testing.assert_allclose(refine(defocus, grey, side=120), defocus, atol=1e-5)
    np.testing.assert_allclose(refine(np.full((5, 7), 0.3), grey), 0.3, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 17, 64])
def test_in_parts_as_in_one_piece(rows, monkeypatch):
    image, _, seen = edge(90, 130, 70)
    image, seen = image.swapaxes(0, 1).copy(), seen.T  # an edge across the parts
    monkeypatch.setattr(refinement, "ROWS", 1000)
    whole = refine(seen, image, side=50)
    monkeypatch.setattr(refinement, "ROWS", rows)
    # Measured: 2.4e-6 for 1000 x 1250 pixels, for Pillow rounds where a row lies in single precision.
    np.testing.assert_allclose(refine(seen, image, side=50), whole, atol=1e-5)


@pytest.mark.slow
def test_memory_is_that_of_some_rows(monkeypatch):
    """Every array beside photo and map is of the small copy's size or of ROWS rows."""
    monkeypatch.setattr(refinement, "ROWS", 32)
    image, _, seen = edge(6000, 400, 200)
    tracemalloc.start()
    refined = refine(seen, image, side=50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Measured: twice the map, while it is enlarged. A copy of the photo in single precision is as large as three.
    assert peak < 2.5 * refined.nbytes


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (50, 2)])
def test_photos_of_every_shape(shape):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    refined = refine(np.random.default_rng(3).random((20, 20)), image)
    assert refined.shape == shape and refined.dtype == np.float32
    assert 0 <= refined.min() and refined.max() <= 1
    assert np.array_equal(refine(np.eye(4), image[..., 0]), refine(np.eye(4), np.stack([image[..., 0]] * 3, axis=2)))


def test_a_grey_photo_is_refined_like_a_coloured_one():
    image, mask, seen = edge()
    grey = np.repeat(image[..., :1], 3, axis=2)
    colour = grey // 2 + np.uint8([0, 40, 90])
    assert np.abs(refine(seen, grey, epsilon=1e-9) - refine(seen, colour, epsilon=1e-9)).max() < 0.05


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 1)), np.zeros((0, 4)), np.full((4, 4), np.nan)])
def test_what_is_no_map_is_refused_in_one_sentence(wrong):
    with pytest.raises(ValueError, match="Found a map of shape .* give the map that detect computed"):
        refine(wrong, np.zeros((8, 8, 3), np.uint8))
