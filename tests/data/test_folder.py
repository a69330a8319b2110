"""A folder of your own photos."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from defusion_lib.data.folder import open_folder


def fill(folder, *names, drawn=None, level=0):
    """A folder of photographs that all differ, and masks of their left halves in its folder masks."""
    left = np.zeros((4, 6), np.uint8)
    left[:, :3] = 255
    images, masks = drawn or (folder, folder / "masks")
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        picture = np.full((4, 6, 3), level, np.uint8)
        picture[0, 0] = divmod(number, 256) + (0,)
        Image.fromarray(picture).save(images / f"{name}.png")
        Image.fromarray(left).save(masks / f"{name}.png")
    return folder


def parts(folder):
    """The stems of the training and of the test part."""
    return [set(open_folder(folder, part).stems) for part in ("train", "test")]


@pytest.mark.slow
def test_a_part_of_a_folder_is_held_out_by_name(tmp_path):
    names = [f"DSC_{number:04d}" for number in range(300)]
    train, test = parts(fill(tmp_path / "holiday", *names))
    assert not train & test and train | test == set(names)
    assert 40 < len(test) < 80
    assert set(open_folder(tmp_path / "holiday", "all").stems) == set(names)


def test_a_photograph_keeps_its_part_when_others_are_added(tmp_path):
    few = [f"IMG_{number}" for number in range(0, 120, 3)]
    before = parts(fill(tmp_path / "a", *few))
    after = parts(fill(tmp_path / "b", *reversed([f"IMG_{number}" for number in range(120)])))
    assert before[0] <= after[0] and before[1] <= after[1]


def test_no_part_of_a_small_folder_is_empty(tmp_path):
    for first in range(40):  # one of them in five is for testing by its hash, one pair in 25 both
        train, test = parts(fill(tmp_path / str(first), f"{first}a", f"{first}b"))
        assert len(train) == len(test) == 1


def test_the_unicode_form_of_a_name_decides_nothing(tmp_path):
    names = [f"Ä{number}é" for number in range(60)]
    composed, apart = ([unicodedata.normalize(form, name) for name in names] for form in ("NFC", "NFD"))
    assert composed != apart
    test = parts(fill(tmp_path / "a", *composed))[1]
    assert {unicodedata.normalize("NFC", stem) for stem in parts(fill(tmp_path / "b", *apart))[1]} == test


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    fill(tmp_path, "a", "b", os.fsdecode(b"caf\xe9"))
    photos = open_folder(tmp_path, "all")
    assert len(photos.in_memory()) == photos.provenance()["photographs"] == 3
    fill(tmp_path / "other", "a", "b", os.fsdecode(b"caf\xea"))
    assert open_folder(tmp_path / "other", "all").provenance()["stems_sha256"] != photos.provenance()["stems_sha256"]


@pytest.mark.parametrize("inside", [False, True])
def test_folders_train_and_test_are_the_parts(tmp_path, inside):
    for level, part in enumerate(("train", "test")):
        folder = tmp_path / part
        drawn = (folder / "images", folder / "masks") if inside else None
        fill(folder, f"{part}1", f"{part}2", drawn=drawn, level=50 + level)
    train, test = (open_folder(tmp_path, part) for part in ("train", "test"))
    assert (train.stems, test.stems) == (["train1", "train2"], ["test1", "test2"])
    assert train[0].image.max() == 50 and test[0].image.max() == 51
    assert test[0].mask[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert open_folder(tmp_path, "all").stems == ["train1", "train2", "test1", "test2"]


def test_masks_of_a_part_may_be_white_in_focus(tmp_path):
    folder = fill(tmp_path / "x", "a", "b", drawn=(tmp_path / "x/images", tmp_path / "x/masks"))
    for part in ("train", "test", "all"):
        assert open_folder(folder, part, "focus")[0].mask[0].tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="'sharp' is not a mask polarity"):
        open_folder(folder, "test", "sharp")


def test_what_is_missing_is_said_when_opening(tmp_path):
    (fill(tmp_path / "holiday", "beach9", "beach10") / "masks/beach9.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"masks has no mask for beach9 \(1 of 2 photos\)"):
        open_folder(tmp_path / "holiday")
    with pytest.raises(FileNotFoundError, match="absent is not a folder"):
        open_folder(tmp_path / "absent")


def test_a_broken_photograph_is_named_when_it_is_read(tmp_path):
    (fill(tmp_path / "holiday", "beach9", "beach10") / "beach9.png").write_bytes(b"nothing")
    photos = open_folder(tmp_path / "holiday", "all")
    assert photos.stems == ["beach9", "beach10"] and photos[1].name == "beach10"
    with pytest.raises(ValueError, match=r"beach9\.png cannot be read as a picture"):
        photos[0]


@pytest.mark.parametrize(
    ("folder", "part", "name"),
    [
        ("Urlaub 2024", "test", "folder-urlaub-2024"),
        ("Ärger_über.Öl", "train", "folder-arger-uber-ol"),
        ("写真", "test", "folder"),
        ("dut", "all", "folder-dut-all"),
    ],
)
def test_a_set_is_named_so_that_results_can_be(tmp_path, folder, part, name):
    assert open_folder(fill(tmp_path / folder, "a", "b"), part).name == name


def test_a_folder_of_another_layout_is_refused(tmp_path):
    def refused(folder, error, sentence, part="test"):
        with pytest.raises(error, match=sentence) as caught:
            open_folder(folder, part)
        assert "\n" not in str(caught.value)

    one = fill(tmp_path / "one", "a")
    refused(one, ValueError, 'one holds a single photo.*use part="all"')
    refused(one, ValueError, "single photo", "train")
    assert open_folder(one, "all").stems == ["a"]
    refused(one, ValueError, "part='val' is not a part", "val")
    shutil.rmtree(one / "masks")
    refused(one, FileNotFoundError, "one holds photos but no folder masks: .*notebook 13", "all")

    half = fill(tmp_path / "half", "a", "b")
    fill(half / "test", "c")
    for part in ("train", "test", "all"):
        refused(half, FileNotFoundError, "half holds a folder test but not its counterpart", part)
    fill(half / "train", "d")
    refused(half, ValueError, r"half holds a\.png beside train and test")

    beside = fill(tmp_path / "beside", "a", "b", drawn=(tmp_path / "beside/images", tmp_path / "beside/masks"))
    shutil.copy(beside / "images/a.png", beside / "forgotten.png")
    refused(beside, ValueError, r"beside holds forgotten\.png beside images")


def test_a_picture_in_both_parts_is_refused(tmp_path):
    fill(tmp_path / "train", "a", "b", level=1)
    fill(tmp_path / "test", "c", "d", level=2)
    assert len(open_folder(tmp_path, "test")) == 2
    shutil.copy(tmp_path / "train/b.png", tmp_path / "test/c.png")
    for part in ("train", "test"):
        with pytest.raises(ValueError, match=r"test/c\.png and .*train/b\.png are the same picture"):
            open_folder(tmp_path, part)
    assert len(open_folder(tmp_path, "all")) == 4


def test_all_of_two_parts_needs_different_names(tmp_path):
    for level, part in enumerate(("train", "test")):
        fill(tmp_path / part, "0001", level=level)
    assert open_folder(tmp_path, "test").stems == ["0001"]
    with pytest.raises(ValueError, match="holds 0001 in both train and test"):
        open_folder(tmp_path, "all")


def test_another_part_is_held_out(tmp_path):
    names = [f"photo{number}" for number in range(60)]
    folder = fill(tmp_path / "mine", *names)
    tenth, fifth, half = (set(open_folder(folder, "test", held_out=each).stems) for each in (0.1, None, 0.5))
    assert len(tenth) < len(fifth) < len(half) and tenth < fifth < half
    for number in (1, 59):
        train, test = (open_folder(folder, part, held_out=number) for part in ("train", "test"))
        assert len(test) == number and sorted(train.stems + test.stems) == sorted(names)
    assert tenth == set(open_folder(folder, "test", held_out=len(tenth)).stems)


@pytest.mark.parametrize(
    ("held_out", "sentence"),
    [
        (0, "held_out=0 of the 2 photos in .* leaves none for testing.* from 1 to 1"),
        (2, "held_out=2 of the 2 photos"),
        (1.0, "held_out=1.0 is no share"),
        (0.0, "held_out=0.0 is no share"),
    ],
)
def test_a_held_out_part_without_photos_is_refused(held_out, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        open_folder(fill(tmp_path / "mine", "a", "b"), "train", held_out=held_out)


@pytest.mark.parametrize("held_out", [3, 0.5])
def test_a_number_held_out_of_all_is_refused(held_out, tmp_path):
    folder = fill(tmp_path / "mine", *"abcd")
    with pytest.raises(ValueError, match=f'^held_out={held_out} has no effect on part="all", which holds every photo'):
        open_folder(folder, "all", held_out=held_out)


def test_a_divided_folder_has_its_parts(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / part, f"{part}1")
    with pytest.raises(ValueError, match="held_out=1 has no effect on .* whose folders train and test are the parts"):
        open_folder(tmp_path, "train", held_out=1)
