"""KSFV: against the plain version and scikit-learn, and in what it finds."""

import numpy as np
import pytest
from reference import ksfv as plain
from scipy.ndimage import gaussian_filter
from sklearn import svm
from sklearn.datasets import load_sample_images
from sklearn.svm import LinearSVC

from defusion_lib.baselines.classical import ksfv
from defusion_lib.baselines.images import luma
from defusion_lib.data import Photo, PhotoSet

temple, flower = load_sample_images().images


@pytest.mark.slow
@pytest.mark.parametrize(
    "crop",
    [temple[200:232, 300:345], flower[100:128, 200:232], temple[:1, :5], np.zeros((8, 20, 3), np.uint8)],
)
def test_features_are_those_of_the_plain_version(crop):
    grey = luma(crop)
    np.testing.assert_allclose(ksfv.features(grey), plain.features(grey), atol=1e-5)


def test_kernels_spread_as_their_size_says():
    pool = ksfv.kernels()
    np.testing.assert_allclose(pool.sum((1, 2)), 1)
    y, x = np.mgrid[: ksfv.SUPPORT, : ksfv.SUPPORT] - ksfv.SUPPORT // 2
    # A disk of radius r has a mean square of r^2 / 2, a path of length l one of l^2 / 12; a pixel adds some.
    spread = (pool * (y**2 + x**2)).sum((1, 2))
    disks, motions = spread[:5], spread[5:17].reshape(3, 4)
    np.testing.assert_allclose(disks, np.square(ksfv.RADII) / 2, atol=0.5)
    paths = np.square(ksfv.LENGTHS)[:, None] / 12 * np.ones(4)
    np.testing.assert_allclose(motions, paths, rtol=0.1, atol=0.5)
    np.testing.assert_allclose(spread[17:], motions[1] + disks[1], rtol=0.01)


def made_up(stem):
    """White noise on the left, the same smoothed to as strong a contrast on the right."""
    noise = np.random.default_rng(int(stem)).normal(128, 30, (60, 90))
    soft = gaussian_filter(noise, 2)
    mask = np.zeros((60, 90), np.float32)
    mask[:, 45:] = 1
    both = np.where(mask, (soft - 128) * 6 + 128, noise).clip(0, 255).astype(np.uint8)
    return Photo(stem, np.repeat(both[..., None], 3, 2), mask)


def test_decisions_are_those_of_scikit_learn(monkeypatch):
    fitted = []
    monkeypatch.setattr(svm, "LinearSVC", lambda **given: fitted.append(LinearSVC(**given)) or fitted[0])
    photos = PhotoSet("made-up", ["1", "2"], made_up)
    machine = ksfv.learn(photos, 0, False)
    found = ksfv.features(luma(made_up("3").image))
    # The scale that the machine was fitted in, from features drawn as learn draws them.
    rng = np.random.default_rng(0)
    drawn = []
    for photo in photos:
        of_photo = ksfv.features(luma(photo.image))
        for label in (0, 1):
            rows, columns = np.nonzero((photo.mask[1::3, 1::3] > 0.5) == label)
            chosen = rng.integers(len(rows), size=ksfv.SAMPLES)
            drawn.append(of_photo[:, rows[chosen], columns[chosen]].T)
    drawn = np.concatenate(drawn)
    scaled = (found.reshape(len(found), -1).T - drawn.mean(0)) / drawn.std(0)
    theirs = fitted[0].decision_function(scaled).reshape(found.shape[1:])
    ours = ksfv.window_decisions(found, machine)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (ours[:, :10] < 0).all() and (ours[:, -10:] > 0).all()
