"""The common door: whatever photograph comes in, the method sees uint8 RGB of bearable size, and a map comes out."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from defusion_lib.baselines import wrapper
from defusion_lib.baselines.wrapper import MAX_PIXELS, classical_method


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def method():
    """A method that keeps what it saw, and says how dark the photograph is."""

    @classical_method
    def detect(image, progress):
        """How dark it is."""
        detect.seen = image
        detect.progress = progress
        return 1 - image.mean(axis=-1) / 255

    return detect


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (16, 16), (33, 47), (900, 1100)])
def test_small_photographs_reach_the_method_as_they_are(method, shape):
    image = photo(*shape)
    found = method(image)
    assert np.array_equal(method.seen, image)
    assert found.shape == shape and found.dtype == np.float32
    np.testing.assert_allclose(found, 1 - image.mean(axis=-1) / 255, atol=1e-6)


def test_grey_reaches_the_method_as_three_equal_channels(method):
    grey = photo(20, 30)[..., 0]
    assert np.array_equal(method(grey), method(np.stack([grey] * 3, axis=-1)))
    assert method.seen.shape == (20, 30, 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3651, 5477), (1201, 1250), (30, 60_000)])
def test_large_photographs_are_shrunk_for_the_method_only(method, shape):
    height, width = shape
    image = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[:, None], (height, width, 3))
    found = method(image)
    seen = method.seen.shape[0] * method.seen.shape[1]
    assert 0.9 * MAX_PIXELS < seen <= MAX_PIXELS
    assert abs(method.seen.shape[1] / method.seen.shape[0] / (width / height) - 1) < 0.1
    assert found.shape == shape and found.dtype == np.float32
    np.testing.assert_allclose(found, 1 - np.float32(image[..., 0]) / 255, atol=0.01)


def test_the_largest_size_itself_is_not_shrunk(method):
    method(np.zeros((1000, MAX_PIXELS // 1000, 3), np.uint8))
    assert method.seen.shape == (1000, 1500, 3)


def test_an_endless_strip_stays_one_pixel_high(method):
    assert method(np.zeros((1, MAX_PIXELS + 1, 3), np.uint8)).shape == (1, MAX_PIXELS + 1)
    assert method.seen.shape[0] == 1


def test_maps_stay_within_0_and_1():
    @classical_method
    def wide(image, progress):
        return np.linspace(-1, 2, image[..., 0].size).reshape(image.shape[:2])

    found = wide(photo(10, 10))
    assert found.min() == 0 and found.max() == 1
    found = wide(photo(1500, 1100))
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8), np.uint16),
        np.zeros((8, 8, 3), np.float32),
        np.full((8, 8, 3), np.nan),
        np.zeros((8, 8, 3), bool),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        None,
        "photo.jpg",
    ],
)
def test_what_is_no_photograph_is_refused_in_one_sentence(method, wrong):
    with pytest.raises(ValueError, match=r"^Found [^.]*\.") as raised:
        method(wrong)
    assert "\n" not in str(raised.value)
    assert not hasattr(method, "seen")


def test_matrix_products_take_one_thread_and_get_theirs_back():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    @classical_method
    def detect(image, progress):
        detect.seen = threads()
        return image[..., 0] / 255

    with threadpool_limits(2, user_api="blas"):
        detect(photo(8, 8))
        assert set(detect.seen) == {1} and set(threads()) == {2}


def test_the_photograph_is_left_alone(method):
    for shape in ((20, 30), (1300, 1300)):
        image = photo(*shape)
        before = image.copy()
        image.setflags(write=False)
        method(image)
        assert np.array_equal(image, before)


def test_progress_is_asked_for(method):
    method(photo(8, 8))
    assert method.progress is False
    method(photo(8, 8), progress=True)
    assert method.progress is True


def test_the_method_keeps_its_name_and_its_words(method):
    assert method.__name__ == "detect" and method.__doc__ == "How dark it is."
    assert method.__module__ == __name__ and wrapper.__name__ == "defusion_lib.baselines.wrapper"
