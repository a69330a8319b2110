"""SZU-BD's reader on made-up folders of both layouts, and on the set itself."""

import shutil
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data import szu
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.shi import read_manifest
from defusion_lib.data.szu import LAYOUTS, open_szu


def make(root, layout, names, white_columns=7):
    """Photographs of 10x10, white (blurred) in the first columns of their masks."""
    images, masks = (root / folder for folder in layout)
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :white_columns] = 255
    for number, name in enumerate(names):
        Image.fromarray(np.full((10, 10, 3), number, np.uint8)).save(images / f"{name}.jpg")
        Image.fromarray(mask).save(masks / f"{name}.png")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout[0])
def test_every_layout_gives_the_listed_photographs(tmp_path, layout, monkeypatch):
    monkeypatch.setattr(szu, "listed_stems", lambda: ["0016", "451"])
    make(tmp_path, layout, ["0016", "0017", "451"])
    photos = open_szu(tmp_path)
    assert photos.name == "szu" and photos.stems == ["0016", "451"]
    assert photos[1].name == "451" and photos[1].image.max() == 2
    assert photos[0].mask[0].tolist() == [1] * 7 + [0] * 3


def test_a_copy_that_lacks_something_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="does not hold SZU-BD: clone the GitHub repository mathxlsun/BD_EFPN"):
        open_szu(tmp_path)
    make(tmp_path, LAYOUTS[0], ["0016", "451"])
    with pytest.raises(FileNotFoundError, match=r"images lacks 0042, 0076, 0129 and 342 more \(expected 347 photo"):
        open_szu(tmp_path)
    monkeypatch.setattr(szu, "listed_stems", lambda: ["0016", "451"])
    (tmp_path / "masks/451.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"masks lacks 451 \(expected 2 photos"):
        open_szu(tmp_path)


def test_inverted_masks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(szu, "listed_stems", lambda: ["1"])
    make(tmp_path, LAYOUTS[0], ["1"], white_columns=3)
    with pytest.raises(ValueError, match=r"inverted: white covers 0\.30 of the set, expected about 0\.75"):
        open_szu(tmp_path)


def test_the_motion_part_is_another_set(tmp_path, monkeypatch):
    monkeypatch.setattr(szu, "MOTION_COUNT", 2)
    for layout in szu.MOTION_LAYOUTS:
        make(tmp_path / layout[1], layout, ["1", "2"])
        photos = open_dataset("szu", "motion", str(tmp_path / layout[1]))
        assert photos.name == "szu-motion" and photos.stems == ["1", "2"]
        assert photos[0].mask[0].tolist() == [1] * 7 + [0] * 3
    with pytest.raises(FileNotFoundError, match="does not hold SZU-BD: clone"):
        open_szu(tmp_path / "gt")
    with pytest.raises(FileNotFoundError, match="does not hold its motion part: clone"):
        open_szu(tmp_path, "motion")
    (tmp_path / "gt/img/motion/1.jpg").unlink()
    with pytest.raises(ValueError, match="holds 1 photos, expected 2 in the motion part"):
        open_szu(tmp_path / "gt", "motion")
    with pytest.raises(ValueError, match='choose part="test" or part="motion"'):
        open_szu(tmp_path, "blurred")


def test_nobody_trains_on_it(tmp_path):
    with pytest.raises(ValueError, match="dataset='szu' has no part 'train': choose one of test, motion"):
        open_dataset("szu", "train", str(tmp_path))


def test_the_set_itself(szu_root):
    photos = open_dataset("szu", "test", str(szu_root))
    assert photos.name == "szu" and len(photos) == 347
    first = photos[0]
    assert first.image.shape[:2] == first.mask.shape and 0.3 < first.mask.mean() < 1
    shis = {entry["image_sha256"] for entry in read_manifest()["photographs"].values()}
    assert not shis & {sha256((szu_root / f"images/{stem}.jpg").read_bytes()).hexdigest() for stem in photos.stems}


@pytest.mark.slow
def test_the_set_itself_as_a_clone(szu_root, tmp_path):
    for name, layout in (("images", "img/out-of-focus"), ("masks", "gt")):
        shutil.copytree(szu_root / name, tmp_path / "SZU-BD" / layout)
    shutil.copy(szu_root / "images/0016.jpg", tmp_path / "SZU-BD/img/out-of-focus/unlisted.jpg")
    assert open_szu(tmp_path).stems == open_szu(tmp_path / "SZU-BD").stems == open_szu(szu_root).stems


def thumbnail(path):
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), float)
    grey -= grey.mean()
    return grey.ravel() / np.linalg.norm(grey)


@pytest.mark.slow
def test_none_of_the_set_is_a_photo_of_shis(szu_root, shi_root, tmp_path):
    shis = np.stack([thumbnail(path) for path in sorted((shi_root / "images").iterdir())])
    theirs = np.stack([thumbnail(szu_root / f"images/{stem}.jpg") for stem in szu.listed_stems()])
    assert (theirs @ shis.T).max() < 0.86
    with Image.open(shi_root / "images/out_of_focus0001.jpg") as image:
        image.resize((400, 267)).save(tmp_path / "small.jpg")
    assert (thumbnail(tmp_path / "small.jpg") @ shis.T).max() > 0.999
