"""DHDE: its features and its filter against the plain version, its samples, and what it learns and finds."""

import numpy as np
import pytest
import torch
from reference import dhde as plain
from sklearn.datasets import load_sample_images

from defusion_lib.baselines.deep import dhde
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.effects import jpeg
from defusion_lib.training import Recipe, train

temple, flower = load_sample_images().images
SHAPE = (160, 200)


def mosaic(seed, shape=SHAPE):
    """Crisp coloured tiles of 6 to 14 pixels: edges of all contrasts, everywhere."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.repeat(np.arange(n), rng.integers(6, 15, n))[:n] for n in shape)
    return rng.integers(0, 256, (shape[0], shape[1], 3), np.uint8)[rows[:, None], columns]


def sharp_photos(images):
    """A set of photographs that are sharp everywhere."""
    masks = {name: np.zeros(image.shape[:2], np.float32) for name, image in images.items()}
    return PhotoSet("sharp", list(images), lambda name: Photo(name, images[name], masks[name]))


# Features ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [27, 15])
def test_features_are_those_of_the_plain_version(side):
    rng = np.random.default_rng(side)
    natural = [temple[y : y + side, x : x + side].max(-1) / 255 for y, x in ((200, 300), (40, 500))]
    patches = np.stack([*natural, rng.random((side, side)), np.zeros((side, side))])
    found = dhde.features(patches)
    assert found.shape == (4, 120) and found.dtype == np.float32
    # Singular values of 0 have eigenvalues of up to 1e-13, whose roots are 3e-7.
    np.testing.assert_allclose(found, [plain.features(patch) for patch in patches], atol=1e-6)


def test_a_patch_and_its_surroundings():
    weak, _ = dhde.cut_patches(temple, np.array([[0, 0], [200, 300]]), 27)
    np.testing.assert_array_equal(weak[1], temple[187:214, 287:314])
    corner = np.clip(np.arange(-13, 14), 0, None)
    np.testing.assert_array_equal(weak[0], temple[corner][:, corner])
    small, found = dhde.cut_patches(temple, np.array([[200, 300]]), 15)
    inner = temple[193:208, 293:308]
    around = np.clip(np.arange(-6, 21), 0, 14)
    np.testing.assert_array_equal(small[0], inner[around][:, around])
    np.testing.assert_array_equal(found, dhde.features(inner[None].max(-1) / 255))


# The network ---------------------------------------------------------------------------------------


def test_layers_are_those_of_the_released_model():
    network = dhde.DHDE()
    weights = [tuple(p.shape) for name, p in network.named_parameters() if name.endswith("weight")]
    assert weights == [
        (25, 3, 3, 3), (50, 25, 3, 3), (50, 50, 3, 3), (25, 50, 1, 1), (300, 145), (150, 300), (11, 150)
    ]  # fmt: skip
    assert sum(np.prod(shape) for shape in weights) == 125_825
    assert sum(p.numel() for p in network.parameters()) == 126_436
    assert network(torch.rand(2, 3, 27, 27), torch.rand(2, 120)).shape == (2, 11)


def test_classes_are_half_a_pixel_to_two():
    np.testing.assert_allclose(dhde.SIGMAS, [0.5, 0.65, 0.8, 0.95, 1.1, 1.25, 1.4, 1.55, 1.7, 1.85, 2.0])


# Edges ---------------------------------------------------------------------------------------------


def test_steps_are_strong_or_weak_edges_by_their_height():
    image = np.zeros((60, 160, 3), np.uint8)
    for column, height in ((30, 200), (60, -90), (90, 50), (120, -20)):
        image[:, column:] += np.array(height).astype(np.uint8)
    weak, strong = dhde.edges(image)
    columns = np.arange(160)

    def near(*where):
        return np.any([np.abs(columns - column) <= 1 for column in where], axis=0)

    # Of the highest step, 0.45 is above 0.351, 0.25 between 0.176 and 0.351, 0.1 below both.
    assert strong[5:-5].any(0).tolist() == (strong.any(0) & near(30, 60)).tolist()
    assert weak[5:-5].any(0).tolist() == (weak.any(0) & near(90)).tolist()
    for found, column in ((strong, 30), (strong, 60), (weak, 90)):
        assert found[5:-5, column - 1 : column + 1].any(1).all()
    assert not (weak & strong).any()


def test_what_is_flat_has_no_edges():
    for image in (np.full((40, 50, 3), 77, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        assert not np.any(dhde.edges(image))


# Samples -------------------------------------------------------------------------------------------


def test_a_patch_is_blurred_by_the_sigma_of_its_class(monkeypatch):
    """By one sigma, and in the last class by one of 2 to 8 pixels."""
    monkeypatch.setattr(dhde, "as_taken", lambda image, rng: image)
    step = np.zeros((70, 80, 3), np.uint8)
    step[:, 40:] = 200
    photos = sharp_photos({str(i): step for i in range(5)})
    samples = dhde.blurred_patches(photos, 4, Recipe())
    assert set(samples.labels) == set(range(11))
    x, last = np.arange(-40, 41), []
    for patch, _, label in samples:
        found = patch[0, 13].numpy() * 255
        # A patch stands anywhere near the step: its profile is a part of the whole one, to rounding.
        errors = []
        sigmas = np.geomspace(2, 8, 100) if label == 10 else [dhde.SIGMAS[label]]
        for sigma in sigmas:
            kernel = np.exp(-(x**2) / (2 * sigma**2))
            profile = 200 * np.cumsum(kernel / kernel.sum())
            errors.append(min(np.abs(profile[at : at + 15] - found[6:21]).max() for at in range(len(profile) - 14)))
        assert min(errors) <= (0.51 if label < 10 else 1)
        if label == 10:
            last.append(sigmas[int(np.argmin(errors))])
    assert min(last) < 3 and max(last) > 4


def test_samples_are_balanced_and_the_same_again(monkeypatch):
    monkeypatch.setattr(dhde, "PAIRS", 22)
    photos = sharp_photos({str(i): mosaic(i, (60, 70)) for i in range(11)})
    first, again = (dhde.blurred_patches(photos, 6, Recipe(seed=3)) for _ in range(2))
    other = dhde.blurred_patches(photos, 6, Recipe(seed=4))
    assert np.bincount(first.labels).tolist() == [12] * 11  # two sigmas a photograph, 6 patches of each
    small = first.features[:, 0] == 0
    assert small.sum() == len(first) // 2
    np.testing.assert_array_equal(first.patches, again.patches)
    assert (first.patches != other.patches).any()
    patch, features, label = first[5]
    assert patch.shape == (3, 27, 27) and patch.dtype == torch.float32
    assert features.shape == (120,) and features.dtype == torch.float32
    assert label.shape == () and label.dtype == torch.int64
    np.testing.assert_array_equal((patch.permute(1, 2, 0) * 255).round().numpy(), first.patches[5])


def test_only_what_the_mask_calls_sharp_is_learnt_from(monkeypatch):
    monkeypatch.setattr(dhde, "as_taken", lambda image, rng: image)
    image, mask = mosaic(1), np.zeros(SHAPE, np.float32)
    image[..., 2] = 0
    # Blue marks what is blurred. The mask reaches 20 pixels further, as far as blur could carry the blue.
    image[:, 120:, 2] = 255
    mask[:, 100:] = 1
    samples = dhde.blurred_patches(PhotoSet("half", ["1"], lambda name: Photo(name, image, mask)), 40, Recipe())
    assert len(samples) and not samples.patches[..., 2].any()


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (temple[:60, :60], None, "no mask"),
        (temple[:60, :60], np.ones((60, 60), np.float32), "edge in focus"),
        (np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60), np.float32), "edge in focus"),
    ],
)
def test_nothing_to_learn_from_is_said(image, mask, words, monkeypatch):
    monkeypatch.setattr(dhde, "as_taken", lambda image, rng: image)  # noise has edges even on a flat photo
    with pytest.raises(ValueError, match=words):
        dhde.blurred_patches(PhotoSet("none", ["1"], lambda name: Photo(name, image, mask)), 4, Recipe())


def test_training_images_get_noise_and_then_jpeg(monkeypatch):
    flat, given = np.full((80, 80, 3), 128, np.uint8), []

    def recorded(image, quality):
        given.append((image.std(), quality))
        return jpeg(image, quality)

    monkeypatch.setattr(dhde, "jpeg", recorded)
    found = [dhde.as_taken(flat, np.random.default_rng(seed)) for seed in range(40)]
    noise, qualities = np.transpose(given)
    assert min(noise) < 0.3 and 1.2 < max(noise) < 1.6  # rounding adds a little
    assert 75 <= min(qualities) < 78 and 92 < max(qualities) < 96
    np.testing.assert_array_equal(found[7], dhde.as_taken(flat, np.random.default_rng(7)))
    assert np.mean([image.std() for image in found]) < noise.mean() / 2  # JPEG smoothes


def half_blurred(name):
    """A mosaic whose right part is blurred in the mask, and odd in red."""
    image, mask = mosaic(int(name)), np.zeros(SHAPE, np.float32)
    mask[:, 100:] = 1
    image[..., 0] = image[..., 0] // 2 * 2 + mask
    return Photo(name, image, mask)


def test_held_out_edges_are_labelled_by_the_mask_and_balanced():
    photos = PhotoSet("half", ["1", "2"], half_blurred)
    first, again = (dhde.photo_edges(photos, 8, Recipe(seed=3)) for _ in range(2))
    np.testing.assert_array_equal(first.patches, again.patches)
    assert np.bincount(first.labels.astype(int)).tolist() == [16, 16]  # two photographs, two scales, four patches
    assert ((first.features[:, 0] == 0).reshape(2, 2, 8) == [[False], [True]]).all()
    np.testing.assert_array_equal(first.patches[:, 13, 13, 0] % 2, first.labels)
    assert first[0][2].dtype == torch.float32
    few = dhde.photo_edges(photos, 10**6, Recipe())
    is_small = few.features[:, 0] == 0
    for small in (False, True):
        in_focus, blurred = np.bincount(few.labels[is_small == small].astype(int))
        assert in_focus == blurred > 4


def test_held_out_photos_without_edges_of_both_kinds_are_named():
    with pytest.raises(ValueError, match="No photo of sharp has edges in focus and edges out of focus"):
        dhde.photo_edges(sharp_photos({"1": mosaic(1)}), 8, Recipe())
    with pytest.raises(ValueError, match="1 has no mask"):
        dhde.photo_edges(PhotoSet("none", ["1"], lambda name: Photo(name, mosaic(1), None)), 8, Recipe())


def test_the_held_out_loss_is_the_error_of_the_map_at_edges():
    """Logits that are sure of one class: the loss is that class's distance from the mask."""

    def sure(of):
        return lambda patch, features: 100.0 * torch.nn.functional.one_hot(torch.tensor(of), 11)

    given = torch.zeros(2, 3, 27, 27), torch.zeros(2, 120)
    found = [dhde._map_error(sure(of), *given, torch.tensor([0.0, 1.0])).item() for of in ([0, 10], [10, 0], [5, 8])]
    np.testing.assert_allclose(found, [0, 1, (0.5 + 0.2) / 2], atol=1e-6)


# From edges to a map -------------------------------------------------------------------------------


def test_joint_filter_is_that_of_the_plain_version():
    rng = np.random.default_rng(0)
    sigma = np.where(rng.random((40, 45)) < 0.08, rng.choice(dhde.SIGMAS, (40, 45)), 0)
    probability = np.where(sigma > 0, rng.random((40, 45)), 0)
    expected = plain.joint_filter(sigma, probability, rng.random((40, 45, 3)))
    # The range weight is at least 1 - 1.5e-4, and sigmas differ by at most 1.5.
    np.testing.assert_allclose(dhde.joint_filter(sigma, probability), expected, atol=2.3e-4)


def test_answers_spread_within_a_colour():
    image = np.zeros((41, 62, 3), np.uint8) + np.uint8([200, 40, 40])
    image[:, 31:] = 40, 40, 200
    known, sigma = np.zeros((41, 62), bool), np.zeros((41, 62))
    known[:, 4::50] = True
    sigma[:, 4], sigma[:, 54] = 0.7, 1.9
    found = dhde.propagate(image, known, sigma)
    assert found.shape == (41, 62)
    # The guide is smoothed over five pixels to either side of the border.
    np.testing.assert_allclose(found[:, :25], 0.7, atol=0.02)
    np.testing.assert_allclose(found[:, 37:], 1.9, atol=0.02)


def test_answers_that_differ_within_a_colour_meet():
    known, sigma = np.zeros((41, 62), bool), np.zeros((41, 62))
    at = [20, 20, 9, 33], [4, 57, 30, 31]  # even and odd rows and columns
    known[at] = True
    sigma[at] = 0.5, 0.6, 0.9, 2.0
    # Against the lambda of single pixels, 0.005, a flat colour is stiff.
    found = dhde.propagate(np.full((41, 62, 3), 99, np.uint8), known, sigma)
    np.testing.assert_allclose(found, 1.0, atol=0.02)


def test_edges_that_agree_are_the_map():
    known = np.random.default_rng(0).random((50, 61)) < 0.1
    found = dhde.propagate(temple[100:150, 200:261], known, known * 0.8)
    np.testing.assert_allclose(found, 0.8, atol=1e-3)


# What it learns ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves():
    """Two photographs, each blurred by two pixels in one half: name -> (photograph, mask)."""
    result = {}
    for seed, half in ((1, np.s_[:, 100:]), (2, np.s_[:80])):
        image, mask = mosaic(seed), np.zeros(SHAPE, np.float32)
        mask[half] = 1
        image[half] = dhde.blur(image, 2.0)[half]
        result[str(seed)] = image, mask
    return result


@pytest.fixture(scope="module")
def photos(halves):
    return PhotoSet("halves", list(halves), lambda name: Photo(name, *halves[name]))


@pytest.fixture(scope="module")
def network(photos):
    torch.manual_seed(0)
    recipe = Recipe(stages=((250, 48, 64),), optimiser="adamw", learning_rate=2e-3, weight_decay=0.0, schedule="cosine")
    network = dhde.DHDE()
    train(network, photos, recipe, task=dhde.TASK)
    return network


@pytest.mark.slow
def test_it_learns_to_tell_sigmas(network, photos):
    counts = dhde.confusion(network, photos, seed=1)
    apart = np.abs(dhde.SIGMAS[:, None] - dhde.SIGMAS)
    assert counts.shape == (11, 11) and (counts.sum(1) > 0).all()
    assert (counts * apart).sum() / counts.sum() < apart.mean() / 3


@pytest.mark.slow
def test_halves_are_told_apart(network, halves):
    for image, mask in halves.values():
        found = dhde.detect(image, network)
        # Not by 1: patches at the border see both halves, and the filter mixes 13 pixels to either side.
        assert found[mask == 1].mean() > found[mask == 0].mean() + 0.6


@pytest.mark.parametrize(
    "image",
    [temple[:1, :1], temple[:16, :16], temple[:1, :80], temple[:90, :1], temple[:50, :61, 0]],
    ids=["1x1", "16x16", "1xN", "Nx1", "grey"],
)
def test_any_image_has_a_map(image):
    found = dhde.detect(image, dhde.DHDE())
    assert found.dtype == np.float32 and found.shape == image.shape[:2]
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_without_edges_nothing_is_known():
    np.testing.assert_allclose(dhde.detect(np.full((40, 50, 3), 200, np.uint8), dhde.DHDE()), 0.5, atol=1e-6)
