"""DUT's reader on made-up folders of the layouts that published code reads from."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data.dut import COUNTS, open_dut


def make(images, masks, count, white_columns=3):
    """`count` photographs of 10x10, white (in focus) in the first columns of their masks."""
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :white_columns] = 255
    for number in range(1, count + 1):
        Image.fromarray(np.full((10, 10, 3), number, np.uint8)).save(images / f"{number}.jpg")
        Image.fromarray(mask).save(masks / f"{number}.bmp")


@pytest.mark.parametrize(
    "part, images, masks",
    [
        ("test", "DUT500S-Testing", "DUT500GT-Testing"),
        ("train", "DUT-DBD_Dataset/DUT600S_Training", "DUT-DBD_Dataset/DUT600GT_Training"),
        ("test", "test/images", "test/masks"),
        ("train", "train/images", "train/masks"),
    ],
)
def test_both_layouts(tmp_path, part, images, masks, monkeypatch):
    monkeypatch.setitem(COUNTS, part, 11)
    make(tmp_path / images, tmp_path / masks, count=11)
    photos = open_dut(tmp_path, part)
    assert photos.name == "dut"
    assert photos.stems == [str(number) for number in range(1, 12)]
    assert photos[9].name == "10" and photos[9].image.max() == 10
    assert photos[0].mask[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


def test_an_incomplete_copy_is_refused(tmp_path):
    make(tmp_path / "test/images", tmp_path / "test/masks", count=3)
    with pytest.raises(ValueError, match="holds 3 photos, expected 500 in DUT's test part"):
        open_dut(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not hold DUT's train part: ask for DUT"):
        open_dut(tmp_path, "train")
    with pytest.raises(ValueError, match="'val' is not a part of DUT"):
        open_dut(tmp_path, "val")


def test_inverted_masks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(COUNTS, "test", 3)
    make(tmp_path / "test/images", tmp_path / "test/masks", count=3, white_columns=7)
    with pytest.raises(ValueError, match=r"inverted: white covers 0\.70 of the set, expected about 0\.31"):
        open_dut(tmp_path)
