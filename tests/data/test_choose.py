"""Sets of photographs by their names."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data.choose import choose


def test_synthetic_parts_share_no_scene():
    train, test = choose("synthetic", "train", count=4), choose("synthetic", "test", count=4)
    assert train.stems == test.stems and train.name == "synthetic"
    for one, other in zip(train, test):
        assert not np.array_equal(one.image, other.image)


def test_seeds_never_meet():
    images = [
        choose("synthetic", part, count=1, seed=seed)[0].image
        for seed in (0, 1)
        for part in ("train", "test")
    ]
    for i, one in enumerate(images):
        assert not any(np.array_equal(one, other) for other in images[i + 1 :])


def test_rendered_photographs_are_kept():
    photos = choose("synthetic", "train", count=1)
    assert photos[0] is photos[0]


def test_folder_takes_masks_that_lie_in_it(tmp_path):
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "one.png")
    assert choose("folder", "test", tmp_path)[0].mask is None
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(tmp_path / "masks" / "one.png")
    assert choose("folder", "test", tmp_path)[0].mask.min() == 1


def test_parts_of_shi_by_split(shi_root):
    assert choose("shi", "test", shi_root).name == "shi-dutlab100"
    assert len(choose("shi", "train", shi_root, split="last100")) == 604


def test_missing_folder_is_named_by_its_default_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="data/shi"):
        choose("shi", "test")


def test_unknown_set_names_the_valid_ones():
    with pytest.raises(ValueError, match="dataset='cuhk' does not exist: choose one of synthetic, shi, dut"):
        choose("cuhk", "test")
