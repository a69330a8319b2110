"""CTCUG's reader on made-up folders: five annotators, and one averaged mask."""

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data import ctcug
from defusion_lib.data.ctcug import open_ctcug

# Column k of a photograph is called blurred by k of the five.
VOTES = np.arange(6)


def make_photographs(folder, stems):
    folder.mkdir(parents=True)
    for stem in stems:
        Image.fromarray(np.full((2, 6, 3), 50, np.uint8)).save(folder / f"{stem}.jpg")


def make_five(root, stems):
    make_photographs(root / "images", stems)
    for annotator in range(5):
        folder = root / "masks" / f"annotator{annotator + 1}"
        folder.mkdir(parents=True)
        # An edge as resampling leaves it: black still for less than half of white.
        mask = np.where(VOTES > annotator, 255, 0).astype(np.uint8)
        mask[annotator] = 20
        if annotator >= 2:  # together 3 x 120 would be as much as a vote and a half
            mask[2] = 120
        for stem in stems:
            Image.fromarray(np.stack([mask, mask])).save(folder / f"{stem}.png")


def make_averaged(root, stems, names=("images", "masks")):
    make_photographs(root / names[0], stems)
    (root / names[1]).mkdir()
    levels = (51 * VOTES).astype(np.uint8)
    for stem in stems:
        Image.fromarray(np.stack([levels, levels])).save(root / names[1] / f"{stem}.png")


@pytest.mark.parametrize("make", [make_five, make_averaged])
def test_both_layouts_give_the_same(tmp_path, make, monkeypatch):
    monkeypatch.setattr(ctcug, "COUNT", 2)
    make(tmp_path, ["a2", "a10"])
    photos = open_ctcug(tmp_path)
    assert (photos.name, photos.stems) == ("ctcug", ["a2", "a10"])
    assert photos[0].mask.dtype == np.float32
    assert photos[0].mask.tolist() == [[0, 0, 0, 1, 1, 1]] * 2


def test_the_names_of_published_code(tmp_path, monkeypatch):
    monkeypatch.setattr(ctcug, "COUNT", 1)
    make_averaged(tmp_path / "CTCUG", ["1"], names=("CTCUG_images", "CTCUG_gt"))
    assert open_ctcug(tmp_path)[0].mask[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_incomplete_copies_are_refused(tmp_path, monkeypatch):
    make_five(tmp_path, ["1", "2"])
    with pytest.raises(ValueError, match="holds 2 photos, expected 150 in CTCUG"):
        open_ctcug(tmp_path)
    monkeypatch.setattr(ctcug, "COUNT", 2)
    (tmp_path / "masks/annotator3/2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"annotator3 has no mask for 2 \(1 of 2"):
        open_ctcug(tmp_path)
    (tmp_path / "masks/annotator3/1.png").unlink()
    (tmp_path / "masks/annotator3").rmdir()
    with pytest.raises(ValueError, match="has 4 subfolders, expected 5, one for each annotator"):
        open_ctcug(tmp_path)


def test_a_missing_folder_says_where_to_get_the_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not hold CTCUG: ask for CTCUG"):
        open_ctcug(tmp_path)
