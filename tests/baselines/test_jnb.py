import numpy as np
import pytest
from PIL import Image
from reference import jnb as plain
from scipy.ndimage import gaussian_filter
from skimage import data
from sklearn.linear_model import orthogonal_mp

from defusion_lib.baselines.classical import jnb
from defusion_lib.baselines.fitted import load_fitted
from defusion_lib.baselines.images import interpolate_windows
from defusion_lib.data import Photo, PhotoSet


@pytest.fixture(scope="module")
def dictionary():
    return load_fitted("jnb")["dictionary"]


@pytest.fixture(scope="module")
def cat():
    return data.chelsea()[40:151, 60:221]  # odd sizes


def grey_of(image):
    return np.asarray(Image.fromarray(image).convert("L")) / 255


@pytest.mark.parametrize("shape", [(48, 64), (37, 51), (9, 5), (1, 1), (1, 30)])
def test_patches_are_those_of_the_plain_version(cat, shape):
    grey = grey_of(cat)[: shape[0], : shape[1]]
    patches, grid = jnb.patches_of(grey)
    expected, expected_grid = plain.patches_of(grey)
    assert grid == expected_grid
    np.testing.assert_allclose(patches, expected, atol=1e-12)


@pytest.mark.slow
def test_code_lengths_are_those_of_the_plain_version(cat, dictionary):
    patches, _ = jnb.patches_of(grey_of(cat)[:48, :64])
    lengths = jnb.code_lengths(patches, dictionary)
    assert len(np.unique(lengths)) > 20
    np.testing.assert_array_equal(lengths, plain.code_lengths(patches, dictionary.astype(float)))


def test_code_lengths_are_those_of_scikit_learn(cat, dictionary):
    patches, _ = jnb.patches_of(grey_of(cat)[:48, :64])
    lengths = jnb.code_lengths(patches, dictionary)
    # Its tolerance is the squared error of the whole patch; it knows no longest code beside one.
    some = np.flatnonzero((lengths > 0) & (lengths < 20))
    codes = orthogonal_mp(dictionary.astype(float), patches[some].T, tol=64 * (2.5 / 255) ** 2)
    np.testing.assert_array_equal(lengths[some], (codes != 0).sum(0))


def test_codes_of_atoms_are_as_long_as_there_are_atoms_in_them():
    # Orthogonal atoms: the greedy choice is the right one.
    atoms = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0]
    patches = np.stack([atoms[:, :count] @ np.linspace(1, 2, count) for count in (1, 2, 7, 40, 50)])
    np.testing.assert_array_equal(jnb.code_lengths(patches, atoms), [1, 2, 7, 40, 40])
    assert jnb.code_lengths(np.zeros((3, 64)), atoms).tolist() == [0, 0, 0]


def test_what_no_atom_can_make_is_sharp():
    atoms = np.eye(64)[:, :5]
    patches = np.stack([np.eye(64)[3], np.eye(64)[3] + np.eye(64)[60]])
    assert jnb.code_lengths(patches, atoms).tolist() == [1, 40]


def test_values_between_patches_are_linear():
    across = np.arange(12.0)[None].repeat(9, 0)
    full = interpolate_windows(across, jnb.STRIDE, (36, 48))
    # The centre of patch i is half a pixel before pixel 4 i.
    np.testing.assert_allclose(full[:, 3:44], (np.arange(3, 44) + 0.5)[None].repeat(36, 0) / 4, atol=1e-12)
    np.testing.assert_allclose(interpolate_windows(across.T, jnb.STRIDE, (48, 36)), full.T, atol=1e-12)


@pytest.mark.slow
def test_blurring_a_half_raises_the_map_there():
    image = data.gravel()[:200, :300]
    half = image.copy()
    half[:, 150:] = gaussian_filter(image.astype(float), 3)[:, 150:].round().astype(np.uint8)
    sharp, found = jnb.detect(image), jnb.detect(half)
    assert (found[:, 160:] - sharp[:, 160:]).mean() > 0.5
    np.testing.assert_allclose(found[:, :100], sharp[:, :100], atol=1e-4)


@pytest.mark.slow
def test_dictionary_is_learnt_the_same_each_time_and_looks_like_a_stored_one(monkeypatch, dictionary):
    photos = PhotoSet("two", ["cat", "coffee"], lambda stem: Photo(stem, getattr(data, NAMES[stem])(), None))
    monkeypatch.setattr(jnb, "PHOTO_STEP", 1)
    first, again = (jnb.learn(photos, seed=3, progress=False)["dictionary"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == dictionary.shape == (64, 64) and first.dtype == dictionary.dtype == np.float32
    for each in (first, dictionary):
        np.testing.assert_allclose(np.linalg.norm(each, axis=0), 1, atol=1e-5)


NAMES = {"cat": "chelsea", "coffee": "coffee"}


def test_map_agrees_with_the_published_one(shi_root, reference_maps):
    stem = "out_of_focus0035"
    published = np.asarray(Image.open(reference_maps / f"jnb/{stem}.jpg").convert("L")) / 255
    found = jnb.detect(np.asarray(Image.open(shi_root / f"images/{stem}.jpg").convert("RGB")))
    assert np.corrcoef(found.ravel(), published.ravel())[0, 1] > 0.97
    assert np.abs(found - published).mean() < 0.05
