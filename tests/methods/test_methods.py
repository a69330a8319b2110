"""What the compared methods that are no networks have in common; each one's own tests are in its own file."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from defusion_lib.methods import METHODS

temple = load_sample_image("china.jpg")
ODD = {
    "1x1": temple[:1, :1],
    "16x16": temple[:16, :16],
    "odd sides": temple[100:133, :71],
    "a row": temple[:1, :400],
    "a column": temple[:400, :1],
    "grey": temple[:50, :61, 0],
    "black": np.zeros((40, 50), np.uint8),
}
# How much higher the map is where the photograph was blurred: a little less than measured.
HIGHER = {"jnb": 0.65, "dbdf": 0.75, "ss": 0.7, "lbp": 0.8, "ksfv": 0.4, "hifst": 0.3}


@pytest.mark.parametrize("image", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", METHODS)
def test_any_photograph_has_a_map(name, image):
    found = METHODS[name](image)
    assert found.dtype == np.float32 and found.shape == image.shape[:2]
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("name", METHODS)
def test_what_shows_nothing_is_blurred(name):
    assert METHODS[name](np.full((40, 50, 3), 200, np.uint8)).min() > 0.7


@pytest.mark.parametrize("name", METHODS)
def test_a_second_look_finds_the_same(name, capsys):
    image = temple[100:200, 200:310]
    before = image.copy()
    first = METHODS[name](image)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(METHODS[name](image, progress=True), first)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("half", [np.s_[:, :100], np.s_[:, 100:]], ids=["left", "right"])
@pytest.mark.parametrize("name", METHODS)
def test_the_blurred_half_is_marked(name, half):
    image = temple[180:340, 100:300].copy()
    image[half] = gaussian_filter(image, (3, 3, 0))[half]
    found = METHODS[name](image)
    blurred = np.zeros(found.shape, bool)
    blurred[half] = True
    assert found[blurred].mean() > found[~blurred].mean() + HIGHER[name]
