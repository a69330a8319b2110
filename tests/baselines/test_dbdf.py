"""DBDF: against the plain version, in what it finds, and beside its authors' maps."""

import numpy as np
import pytest
from PIL import Image
from reference import dbdf as plain
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from defusion_lib.baselines.classical import dbdf
from defusion_lib.baselines.fitted import load_fitted
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import read_photo

temple, flower = load_sample_images().images


def random_filters(count=2):
    filters = np.random.default_rng(0).normal(size=(count, dbdf.SIDE, dbdf.SIDE))
    return filters - filters.mean((1, 2), keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "crop",
    [temple[200:240, 300:349], flower[100:128, 200:232], temple[:1, :5], np.zeros((8, 20, 3), np.uint8)],
)
def test_features_are_those_of_the_plain_version(crop):
    grey, filters = dbdf.grey_levels(crop), random_filters()
    np.testing.assert_allclose(dbdf.features(grey, filters), plain.features(grey, filters), atol=1e-5)


def test_probabilities_are_those_of_the_plain_version():
    parts = load_fitted("dbdf")
    found = dbdf.features(dbdf.grey_levels(temple[200:260, 300:390]), parts["filters"])
    for scale in range(len(dbdf.SCALES)):
        answers = np.tensordot(parts["direction"][scale], found[scale, 3:], 1)
        values = np.concatenate([found[scale, :3], answers[None]])
        expected = [
            plain.posterior(window, parts["centres"][scale], parts["evidence"][scale])
            for window in values.reshape(dbdf.FEATURES, -1).T
        ]
        np.testing.assert_allclose(dbdf.posterior(found[scale], parts, scale).ravel(), expected, atol=1e-5)


def test_span_is_the_wider_deviation_of_what_two_gaussians_were_drawn_from():
    rng = np.random.default_rng(0)
    wide = rng.random(100_000) < 0.4
    drawn = rng.normal(size=wide.size) * np.where(wide, 40, 3)
    counts = plain_counts(np.abs(drawn))
    assert np.exp(dbdf.span(counts[None]))[0] == pytest.approx(40, rel=0.1)


def plain_counts(magnitudes):
    nearest = np.abs(np.log2(1 + magnitudes)[:, None] - np.log2(1 + dbdf.MAGNITUDES)).argmin(1)
    return np.bincount(nearest, minlength=dbdf.BINS).astype(float)


def test_slope_falls_with_the_power_law_of_the_spectrum():
    rng = np.random.default_rng(0)
    spectrum = np.fft.fft2(rng.normal(size=(96, 96)))
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96))
    found = []
    # The left half has amplitudes 1 / f, the right half 1 / f^2 and the same spread.
    for power in (1, 2):
        field = np.fft.ifft2(spectrum / np.maximum(frequency, 1 / 96) ** power).real
        found.append(field / field.std() * 30 + 128)
    both = np.concatenate([found[0][:, :48], found[1][:, :48]], 1)
    slope = dbdf.features(both, random_filters(1))[1, 2]
    assert slope[:, :10].mean() > slope[:, -10:].mean() + 1


def test_likelihoods_are_of_windows_of_either_class():
    # Two classes of made-up photographs: white noise, and the same smoothed, side by side.
    def read(stem):
        noise = np.random.default_rng(int(stem)).normal(128, 40, (60, 90))
        soft = gaussian_filter(noise, 2)
        mask = np.zeros((60, 90), np.float32)
        mask[:, 45:] = 1
        both = np.where(mask, (soft - 128) * 6 + 128, noise).clip(0, 255).astype(np.uint8)
        return Photo(stem, np.repeat(both[..., None], 3, 2), mask)

    parts = dbdf.learn(PhotoSet("made-up", ["1", "2"], read), 0, False)
    assert parts["filters"].shape == (dbdf.FILTERS, dbdf.SIDE, dbdf.SIDE)
    found = dbdf.features(dbdf.grey_levels(read("3").image), parts["filters"])
    for scale in range(len(dbdf.SCALES)):
        blur = dbdf.posterior(found[scale], parts, scale)
        assert blur[:, :10].mean() < 0.1 and blur[:, -10:].mean() > 0.9
    again = dbdf.learn(PhotoSet("made-up", ["1", "2"], read), 0, False)
    for name, array in parts.items():
        np.testing.assert_array_equal(array, again[name])


def test_no_photograph_for_testing_was_learnt_from(reference_maps):
    seen = set(load_fitted("dbdf")["photographs"].tolist())
    assert not seen & {path.stem for path in (reference_maps / "dbdf").iterdir()}


# The best one and one beside the median of the 48 with a published map: 0.970 and 0.781 were measured.
@pytest.mark.slow
@pytest.mark.parametrize(("stem", "correlation"), [("out_of_focus0005", 0.95), ("out_of_focus0089", 0.76)])
def test_it_resembles_the_authors_map(shi_root, reference_maps, stem, correlation):
    photo = read_photo(stem, shi_root / f"images/{stem}.jpg", shi_root / f"masks/{stem}.png", white="blurred")
    with Image.open(reference_maps / f"dbdf/{stem}.jpg") as file:
        theirs = np.asarray(file.convert("L"), float)
    found = dbdf.detect(photo.image)
    assert np.corrcoef(found.ravel(), theirs.ravel())[0, 1] > correlation
