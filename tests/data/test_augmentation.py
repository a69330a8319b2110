"""604 photographs make 9,664 samples, and the masks follow."""

import numpy as np
import pytest
import torch

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import Augmented, squash, to_tensor


def photo_set(count=2, height=40, width=60):
    """Photographs whose red channel is the mask, so that one can be held against the other."""

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
    others = [
        not torch.equal(Augmented(photos, 32)[i][0], Augmented(photos, 32, seed=1)[i][0]) for i in enlarged
    ]
    assert all(others)


def test_enlarged_window_stays_inside_and_has_its_size():
    samples = Augmented(photo_set(), 32)
    for index in range(200):
        left, top, right, bottom = samples._window(index, (40, 60), 1.25)
        assert 0 <= left and right <= 60 and 0 <= top and bottom <= 40
        assert right - left == pytest.approx(60 / 1.25) and bottom - top == pytest.approx(40 / 1.25)


def test_squash_averages_instead_of_skipping_pixels():
    from PIL import Image

    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    inner = squash(Image.fromarray(stripes), 16)[:, 2:-2]
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
