"""Anybody's photographs."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data.folder import open_folder


@pytest.fixture
def holiday(tmp_path):
    """Two photographs, and masks of their left halves."""
    images, masks = tmp_path / "holiday", tmp_path / "drawn"
    images.mkdir()
    masks.mkdir()
    left = np.zeros((4, 6), np.uint8)
    left[:, :3] = 255
    for level, stem in enumerate(("beach10", "beach9")):
        Image.fromarray(np.full((4, 6, 3), 100 * level, np.uint8)).save(images / f"{stem}.png")
        Image.fromarray(left).save(masks / f"{stem}.bmp")
    return images, masks


def test_photographs_without_masks(holiday):
    photos = open_folder(holiday[0])
    assert (photos.name, photos.stems) == ("holiday", ["beach9", "beach10"])
    assert photos[0].name == "beach9" and photos[0].mask is None
    assert photos[0].image.shape == (4, 6, 3) and photos[0].image.max() == 100


def test_masks_of_either_polarity(holiday):
    images, masks = holiday
    assert open_folder(images, masks)[1].mask[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert open_folder(images, masks, white="focus")[1].mask[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_what_is_wrong_is_said_when_opening(holiday, tmp_path):
    images, masks = holiday
    with pytest.raises(ValueError, match="'white' is not a mask polarity"):
        open_folder(images, masks, white="white")
    (masks / "beach9.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"drawn has no mask for beach9 \(1 of 2 photographs\)"):
        open_folder(images, masks)
    with pytest.raises(FileNotFoundError, match="absent is not a folder"):
        open_folder(tmp_path / "absent")


def test_a_broken_photograph_spoils_only_itself(holiday):
    images, _ = holiday
    (images / "beach9.png").write_bytes(b"nothing")
    photos = open_folder(images)
    assert photos[1].name == "beach10"
    with pytest.raises(ValueError, match=r"beach9\.png cannot be read as a picture"):
        photos[0]
