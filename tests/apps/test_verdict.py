"""A verdict is about the sharpest place of a photograph, however small a part of it that is."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.apps import verdict
from defusion_lib.data import Photo, PhotoSet
from tools import verdict_error


def flower(height=60, width=80, top=20, left=30, side=0.2, inside=0.0, outside=1.0):
    """A map that is `inside` in one rectangle and `outside` elsewhere."""
    defocus = np.full((height, width), outside, np.float32)
    defocus[top : top + round(side * height), left : left + round(side * width)] = inside
    return defocus


IN_FOCUS = {
    "all sharp": flower(inside=0, outside=0),
    "a small flower": flower(side=0.12),
    "in a corner": flower(top=0, left=0, side=0.12),
    "at the lower right": flower(top=48, left=64),
    "a large photograph": flower(1200, 1600, 400, 700, 0.1),
    "a small photograph": flower(10, 12, 4, 4),
    "wide": flower(20, 900, 4, 300),
    "less than certain": flower(inside=0.15),
    "hardly any contrast": flower(inside=0.1, outside=0.3),
}
OUT_OF_FOCUS = {
    "all blurred": flower(inside=1),
    "half": flower(inside=0.5, outside=0.5),
    "a speck": flower(side=0.05),
    "specks": np.where(np.random.default_rng(0).random((60, 80)) < 0.3, 0, 1).astype(np.float32),
    "soft everywhere": flower(inside=0.7, outside=0.9),
    "a thin line": flower(1000, 1000, 0, 500, 0.02, inside=1, outside=1) * (np.arange(1000) != 500).astype(np.float32),
}


@pytest.mark.parametrize("name", IN_FOCUS)
def test_a_sharp_place_is_in_focus(name):
    assert verdict.verdict(verdict.score(IN_FOCUS[name])) == "in focus"


@pytest.mark.parametrize("name", OUT_OF_FOCUS)
def test_without_one_it_is_out_of_focus(name):
    assert verdict.verdict(verdict.score(OUT_OF_FOCUS[name])) == "out of focus"


def test_the_score_is_the_largest_mean_of_a_window():
    defocus = np.random.default_rng(1).random((100, 100), np.float32)
    defocus[40:70] *= 0.5
    plain = max(1 - defocus[y : y + 10, x : x + 10].mean() for y in range(91) for x in range(91))
    assert verdict.score(defocus) == pytest.approx(plain, abs=1e-5)
    levels = np.uint8(np.rint(255 * defocus))
    assert verdict.score(levels) == pytest.approx(plain, abs=0.5 / 255)
    # The same map at another size.
    twice = np.asarray(Image.fromarray(defocus).resize((300, 200), Image.Resampling.NEAREST))
    assert verdict.score(twice) == pytest.approx(plain, abs=1e-5)


def test_sharper_scores_higher():
    scores = [verdict.score(flower(inside=inside)) for inside in (1, 0.8, 0.5, 0.2, 0)]
    assert scores == sorted(scores) and scores[0] == 0 and scores[-1] == 1


@pytest.mark.parametrize(
    "found, least, word", [(0.3, 0.3, "in focus"), (0.29, 0.3, "out of focus"), (1, 1, "in focus")]
)
def test_verdict(found, least, word):
    assert verdict.verdict(found, least) == word


def test_threshold():
    assert verdict.threshold([0.8] * 19 + [0], [0.2] * 9 + [1]) == pytest.approx(0.5, abs=0.05)
    assert verdict.threshold([1, 1], [0, 0]) == 0.5
    with pytest.raises(ValueError, match="No score separates these photos: 5% of the sharp ones are below 0.30"):
        verdict.threshold([0.3] * 20, [0.6] * 20)


def test_share():
    found, error = verdict.share_with_error(np.arange(100) < 20)
    assert found == 0.2 and error == pytest.approx(np.sqrt(0.2 * 0.8 / 100), rel=0.05)
    assert verdict.share_with_error(np.zeros(50, bool))[1] > 0
    # Versions of one photograph say no more than one photograph.
    assert verdict.share_with_error(np.ones((9, 7), bool)) == verdict.share_with_error(np.ones(9, bool))
    assert verdict.share_with_error([[True, False], [True, True]])[0] == 0.75


def test_masks_of_training_photographs_are_in_focus(shi_root):
    """Every photograph of the set has a sharp subject; a few of these are thinner than the window."""
    photos = verdict_error.open_dataset("shi", "train", str(shi_root))[::20]
    called = [verdict.verdict(verdict.score(photo.mask)) for photo in photos]
    assert called.count("out of focus") <= verdict.ERROR_AIMS[0] * len(called)


def test_the_measurement_counts_what_is_called_out_of_focus(monkeypatch):
    """With a detector that finds an edge sharp: photographs with one are in focus until they are blurred."""

    def edges(image, network, size):
        steps = np.abs(np.diff(image[..., 0].astype(float), axis=1, append=image[:, -1:, 0]))
        return np.where(steps > 60, 0, 1).astype(np.float32)

    stripes = np.repeat((np.arange(320) % 2 * 255).astype(np.uint8)[None, :, None], 320, 0).repeat(3, 2)
    grey = np.full_like(stripes, 128)
    images = {f"{i}": stripes if i < 3 else grey for i in range(4)}
    photos = PhotoSet("few", list(images), lambda stem: Photo(stem, images[stem], flower()))
    monkeypatch.setattr(verdict_error, "detect", edges)
    monkeypatch.setattr(verdict_error, "result_name", lambda network: "edges")
    monkeypatch.setattr(verdict_error.bundled, "EMBEDDED", {"skimage-brick": ("brick.png", "all of it")})
    values = verdict_error.measure(photos, None)
    assert values["few/masks/out-of-focus"] == 0
    assert values["few/edges/out-of-focus"] == 0.25
    assert values["few-blurred/edges/out-of-focus"] == 1
    assert values["embedded-blurred/edges/out-of-focus"] == 1
    assert all(values[f"{key}-standard-error"] > 0 for key in values if not key.endswith("error"))
    sharp, blurred = verdict_error.calibrate(photos, None)
    assert (sharp, blurred) == ([1.0] * 3 + [0.0], [0.0] * 4)
