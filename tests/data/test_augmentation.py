"""604 photographs make 9,664 samples, and the masks follow."""

import numpy as np
import pytest
import torch

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import (
    DRAWS,
    EFFECTS,
    MIN_SQUARE,
    STEPS,
    VIEWS,
    Augmented,
    Step,
    resize_to_square,
    to_tensor,
)


def photo_set(count=2, height=40, width=60):
    """Photographs whose red channel is the mask, so that the two can be compared."""

    def read(stem):
        rng = np.random.default_rng(int(stem))
        corner = rng.random((4, 6)) > 0.5
        mask = np.kron(corner, np.ones((height // 4, width // 6))).astype(np.float32)
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = 255 * mask
        return Photo(stem, image, mask)

    return PhotoSet("made-up", [str(i) for i in range(count)], read)


def test_604_photographs_make_9664_samples():
    assert len(Augmented(photo_set(604), size=32)) == 9_664


def test_the_sixteen_variants_of_a_photograph_are_all_different():
    samples = Augmented(photo_set(), size=32)
    variants = [samples.variant(i) for i in range(16)]
    assert {which for which, _ in variants} == {0}
    assert len({variant for _, variant in variants}) == 16
    pictures = torch.stack([samples[i][0] for i in range(16)]).flatten(1)
    distances = torch.cdist(pictures, pictures) + torch.eye(16) * 99
    assert distances.min() > 1


def test_masks_follow_their_photographs():
    samples = Augmented(photo_set(), size=32)
    for index in range(len(samples)):
        image, mask = samples[index]
        assert image.shape == (3, 32, 32) and mask.shape == (1, 32, 32)
        assert image.dtype == mask.dtype == torch.float32
        # One passes through 8 bits and the other does not: they agree to one level.
        assert (image[0] - mask[0]).abs().max() <= 1 / 255


def test_quarter_turns_and_flips_are_exact():
    samples = Augmented(photo_set(), size=32, scales=(1.0,))
    images = {samples.variant(i)[1]: samples[i][0] for i in range(8)}
    plain = images[0, 1.0, False]
    for degrees in (0, 90, 180, 270):
        turned = torch.rot90(plain, degrees // 90, dims=(1, 2))
        assert torch.equal(images[degrees, 1.0, False], turned)
        assert torch.equal(images[degrees, 1.0, True], turned.flip(2))


def test_a_sample_depends_on_its_index_and_the_seed_alone():
    photos = photo_set()
    enlarged = [i for i in range(16) if Augmented(photos, 32).variant(i)[1][1] > 1]
    for index in enlarged:
        assert torch.equal(Augmented(photos, 32)[index][0], Augmented(photos, 32)[index][0])
    others = [not torch.equal(Augmented(photos, 32)[i][0], Augmented(photos, 32, seed=1)[i][0]) for i in enlarged]
    assert all(others)


def test_enlarged_window_stays_inside_and_has_its_size():
    samples = Augmented(photo_set(), 32)
    for index in range(200):
        left, top, right, bottom = samples._window(index, (40, 60), 1.25)
        assert 0 <= left and right <= 60 and 0 <= top and bottom <= 40
        assert right - left == pytest.approx(60 / 1.25) and bottom - top == pytest.approx(40 / 1.25)


def test_resizing_averages_instead_of_skipping_pixels():
    from PIL import Image

    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    inner = resize_to_square(Image.fromarray(stripes), 16)[:, 2:-2]
    assert np.abs(inner.astype(float) - 100).max() <= 2


def test_to_tensor_keeps_channels_and_scale():
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = (255, 0, 51)
    assert to_tensor(image)[:, 1, 2].tolist() == pytest.approx([1, 0, 0.2])


def test_photograph_without_a_mask_and_index_out_of_range():
    bare = PhotoSet("bare", ["a"], lambda stem: Photo(stem, np.zeros((8, 8, 3), np.uint8), None))
    with pytest.raises(ValueError, match="a of bare has no mask"):
        Augmented(bare, 32)[0]
    with pytest.raises(IndexError, match="Sample 16 of 16"):
        Augmented(bare, 32)[16]


@pytest.mark.parametrize("rotation", [45, 360, -90, 0.5])
def test_only_quarter_turns_are_made(rotation):
    with pytest.raises(ValueError, match="cannot be used: expected quarter turns, of"):
        Augmented(photo_set(), 32, (0, rotation))


# Random steps


def always(monkeypatch, *names):
    """Let these steps happen to every sample."""
    for name in names:
        group = VIEWS if name in VIEWS else EFFECTS
        monkeypatch.setitem(group, name, Step(1.0, group[name].apply))


def samples_with(*names, size=96, count=2, photos=None):
    photos = photos or photo_set(count, 400, 600)
    samples = Augmented(photos, size, steps=names)
    samples.variants = [(0, 1.0, False)]
    return [samples[i % len(samples)] for i in range(8)]


def test_each_variant_comes_with_many_draws():
    samples = Augmented(photo_set(3), 32, steps=("noise",))
    assert len(samples) == 3 * 16 * DRAWS
    assert samples.variant(5) == samples.variant(5 + 48) == (0, samples.variants[5])
    assert not torch.equal(samples[5][0], samples[5 + 48][0]) or not torch.equal(samples[5][0], samples[5 + 96][0])


@pytest.mark.parametrize("name", ["crop", "turn", "rescale", "grey", "tone", "noise", "jpeg"])
def test_the_mask_shows_what_the_photograph_shows(monkeypatch, name):
    """The red channel is the mask: after any of these steps they still agree where both are even."""
    always(monkeypatch, name)
    plain = samples_with()
    for (image, mask), (before, _) in zip(samples_with(name), plain):
        assert image.shape == (3, 96, 96) and mask.shape == (1, 96, 96)
        even = torch.nn.functional.avg_pool2d((mask > 0.5).float()[None], 15, 1, 7)[0]
        red = image[0][(even == 1)[0]], image[0][(even == 0)[0]]
        assert red[0].median() > red[1].median() + 0.1
        assert not torch.equal(image, before)


@pytest.mark.parametrize("name, value", [("sharp-square", 0), ("blurred-square", 1)])
def test_a_square_is_uniform_and_large(monkeypatch, name, value):
    always(monkeypatch, name)
    for image, mask in samples_with(name):
        assert (mask == value).all() and (image[0] == value).all()
    step = VIEWS[name].apply
    photo = photo_set(1, 400, 600)[0]
    image, mask = step(photo.image, photo.mask, np.random.default_rng(0))
    assert mask.shape[0] == mask.shape[1] >= MIN_SQUARE - 1
    other = np.full_like(photo.mask, 1 - value)
    assert step(photo.image, other, np.random.default_rng(0))[1] is other  # there is no such square


def textured(mask_value):
    """A photograph of noise with a uniform mask."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    return PhotoSet("noise", ["0"], lambda stem: Photo(stem, noise, np.full((96, 96), mask_value, np.float32)))


def test_half_a_sharp_picture_is_blurred_and_its_mask_says_where(monkeypatch):
    always(monkeypatch, "half-blur")
    shares = set()
    plain = textured(0)[0].image
    for image, mask in samples_with("half-blur", photos=textured(0)):
        behind = mask[0].numpy() == 1
        shares.add(round(float(behind.mean()), 3))
        picture = np.uint8(255 * image.permute(1, 2, 0).numpy() + 0.5)
        np.testing.assert_array_equal(picture[~behind], plain[~behind])
        assert picture[behind].std() < 0.8 * plain[behind].std()
        assert set(np.unique(mask)) == {0, 1}
    assert len(shares) > 2 and all(0.1 < share < 0.9 for share in shares)
    image, mask = samples_with("half-blur", photos=textured(1))[0]  # what is blurred is left alone
    assert (mask == 1).all() and torch.equal(image, to_tensor(plain))


def test_a_blurred_picture_is_blurred_everywhere(monkeypatch):
    always(monkeypatch, "blur")
    for image, mask in samples_with("blur", photos=textured(0)):
        assert (mask == 1).all() and image.std() < 0.8 * to_tensor(textured(0)[0].image).std()


def test_a_rendered_scene_takes_the_place_of_the_photograph(monkeypatch):
    always(monkeypatch, "rendered")
    found = samples_with("rendered", size=64)
    assert all(set(np.unique(mask)) <= {0, 1} and 0.1 < mask.mean() < 0.95 for _, mask in found)
    assert len({float(image.sum()) for image, _ in found}) == 8


def test_a_step_draws_the_same_whatever_the_others_are(monkeypatch):
    always(monkeypatch, "tone", "turn")
    alone, both = samples_with("turn"), samples_with("tone", "turn")
    assert all(torch.equal(mask, other) for (_, mask), (_, other) in zip(alone, both))
    again = samples_with("tone", "turn")
    assert all(torch.equal(image, other) for (image, _), (other, _) in zip(both, again))


@pytest.mark.slow
def test_steps_happen_as_often_as_they_should_and_follow_the_seed(monkeypatch):
    happened = {}  # {(seed, name of the step): indices of the samples}
    for steps in (VIEWS, EFFECTS):
        for name, step in steps.items():

            def record(image, mask, rng, name=name):
                happened.setdefault((samples.seed, name), []).append(index)
                return image, mask

            monkeypatch.setitem(steps, name, Step(step.probability, record))
    for seed in (0, 1):
        samples = Augmented(photo_set(1, 8, 12), 8, seed=seed, steps=tuple(STEPS))
        for index in range(2000):
            for steps in (VIEWS, EFFECTS):
                samples._apply(steps, index, None, None)
    # Three standard errors of a share over 2,000 draws are 0.034 at most.
    assert all(abs(len(happened[0, name]) / 2000 - step.probability) < 0.034 for name, step in STEPS.items())
    assert all(happened[0, name] != happened[1, name] for name in STEPS)
