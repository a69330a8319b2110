"""What is found out about copies of data sets: which set, whole or not, and what white means."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from defusion_lib.data import check, dut, shi, szu
from defusion_lib.data.check import Vote, check_data, white_is_blurred
from tools.shi_manifest import write_manifest

SHARP = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
BLURRED = np.zeros((24, 32), bool)
BLURRED[:, 16:] = True


def fill(folder, names, images="images", masks="masks", white="blurred", suffix="jpg"):
    """Photos whose left half is noise and whose right half is plain, each with another level, and their masks."""
    for level, name in enumerate(names):
        photo = np.where(BLURRED[..., None], 60 + level, SHARP).astype(np.uint8)
        for place, content, end in (
            (images, photo, suffix),
            (masks, (255 * (BLURRED == (white == "blurred"))).astype(np.uint8), "png"),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / place / f"{name}.{end}")
    return folder


NAMES = [f"photo{number}" for number in range(8)]


def test_content_tells_what_white_means():
    image = np.where(BLURRED[..., None], 60, SHARP).astype(np.uint8)
    assert white_is_blurred(image, BLURRED) is True and white_is_blurred(image, ~BLURRED) is False
    assert white_is_blurred(image, np.ones_like(BLURRED)) is None


def test_photos_that_do_not_agree_settle_nothing():
    votes = [Vote(8, 10), Vote(7, 10), Vote(3, 10), Vote(2, 10), Vote(4, 4)]
    assert [vote.white for vote in votes] == ["blurred", "", "", "focus", ""]


@pytest.mark.parametrize("white", ["blurred", "focus"])
def test_a_folder_of_your_own(tmp_path, white):
    (found,) = check_data(fill(tmp_path, NAMES, white=white))
    assert (found.dataset, found.photos, found.expected, found.white) == ("folder", 8, None, white)
    assert found.whole and sum(found.parts.values()) == 8 and min(found.parts.values()) > 0
    assert found.notes == (['Read this folder with white="focus" (--white focus).'] if white == "focus" else [])


def test_a_divided_folder(tmp_path):
    fill(tmp_path / "train", NAMES[:6])
    fill(tmp_path / "test", NAMES[6:])
    (found,) = check_data(tmp_path)
    # The photos of the parts are not the same pictures: their levels differ only within one part.
    assert "are the same picture" in found.problems[tmp_path.name]
    fill(tmp_path / "test", ["other0", "other1"], suffix="png")
    for name in NAMES[6:]:
        (tmp_path / f"test/images/{name}.jpg").unlink()
    (found,) = check_data(tmp_path)
    assert found.whole and found.parts == {"train": 6, "test": 2} and found.white == "blurred"


def test_half_of_a_divided_folder_is_named_so(tmp_path):
    fill(tmp_path / "test", NAMES)
    with pytest.raises(FileNotFoundError, match="holds a folder test but not its counterpart"):
        check_data(tmp_path)


@pytest.mark.parametrize("names", [[], NAMES[:1]])
def test_a_folder_beside_masks_makes_no_annotators(tmp_path, names):
    fill(tmp_path, NAMES)
    (tmp_path / "masks/old").mkdir()
    fill(tmp_path, names, masks="masks/old")
    (found,) = check_data(tmp_path)
    assert (found.dataset, found.whole) == ("folder", True)


def test_a_folder_whose_masks_all_mark_everything_cannot_be_trained_on(tmp_path):
    fill(tmp_path, NAMES)
    for name in NAMES:
        Image.new("L", (32, 24), 255).save(tmp_path / f"masks/{name}.png")
    (found,) = check_data(tmp_path)
    assert list(found.problems) == ["masks"] and "mark nothing or everything" in found.problems["masks"]


def test_what_is_wrong_in_a_folder_is_named(tmp_path):
    fill(tmp_path, NAMES)
    (tmp_path / "masks/photo1.png").unlink()
    (tmp_path / "images/photo2.jpg").write_bytes(b"not a picture")
    Image.new("L", (9, 9), 255).save(tmp_path / "masks/photo3.png")
    (found,) = check_data(tmp_path)
    assert not found.whole and list(found.problems) == ["masks/photo1", "images/photo2.jpg", "masks/photo3.png"]
    assert found.problems["masks/photo1"] == "is missing"
    assert found.problems["images/photo2.jpg"].startswith("cannot be read")
    assert found.problems["masks/photo3.png"].startswith("the mask is 9x9 pixels but its photo is 32x24")


def test_where_there_is_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        check_data(tmp_path)


STEMS = [f"out_of_focus{number:04d}" for number in range(1, 9)]


@pytest.fixture
def small_shi(tmp_path, monkeypatch):
    """A copy of eight photos, called by eight names of Shi's, and the manifest of it."""
    copy = fill(tmp_path / "shi", STEMS)
    write_manifest(copy, tmp_path / "manifest.json")
    manifest = shi.read_manifest(tmp_path / "manifest.json")
    monkeypatch.setattr(shi, "read_manifest", lambda: manifest)
    monkeypatch.setattr(shi, "COUNT", 8)
    return copy


def test_shis_set(small_shi):
    (found,) = check_data(small_shi)
    assert (found.dataset, found.photos, found.expected, found.white, found.whole) == ("shi", 8, 8, "blurred", True)
    assert found.parts["last100 train"] == 8 and found.parts["last100 test"] == 0
    assert found.parts["dutlab100 train"] + found.parts["dutlab100 test"] == 8
    assert found.evidence == "by the manifest, for 8 of 8 masks"


def test_what_differs_in_shis_set_is_named(small_shi):
    for place in ("images", "masks"):
        (small_shi / place).rename(small_shi / {"images": "image", "masks": "gt"}[place])
    (small_shi / "image/out_of_focus0001.jpg").unlink()
    (small_shi / "image/out_of_focus0002.jpg").write_bytes(b"not a picture")
    Image.fromarray(SHARP[:9]).save(small_shi / "image/out_of_focus0003.jpg")
    Image.fromarray(SHARP).save(small_shi / "image/out_of_focus0004.jpg")
    path = small_shi / "gt/out_of_focus0005.png"
    # Half of a mask is blurred here; its white share tells an inverted one only where it is another.
    Image.fromarray((255 * (np.arange(32) < 24) * np.ones((24, 1))).astype(np.uint8)).save(path)
    shi.read_manifest()["photographs"]["out_of_focus0005"]["blurred_share"] = 0.25
    (found,) = check_data(small_shi)
    assert found.photos == 7 and found.white == "blurred"
    assert list(found.problems) == [
        "image/out_of_focus0001.jpg",
        "image/out_of_focus0002.jpg",
        "image/out_of_focus0003.jpg",
        "image/out_of_focus0004.jpg",
        "gt/out_of_focus0005.png",
    ]
    missing, broken, size, content, inverted = found.problems.values()
    assert missing == "is missing" and "out_of_focus0002.jpg cannot be read" in broken
    assert size == "differs from the manifest (32x9 pixels, expected 32x24)" and content == "differs from the manifest"
    assert inverted == "is inverted: white = in focus, expected white = blurred"


def test_a_copy_that_was_saved_again_is_judged_by_its_content(small_shi):
    for path in (small_shi / "masks").iterdir():
        Image.fromarray(np.asarray(ImageOps.invert(Image.open(path)))[:, :31]).resize((32, 24)).save(path)
    (found,) = check_data(small_shi)
    assert found.white == "focus" and "detail in 0 of 8 photos" in found.problems["masks"]


def test_a_clone_holds_two_sets(small_shi, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    for part in ("shi800train", "shi200test"):
        for suffix, source in (("", "images"), ("-gt", "masks")):
            place = clone / f"CUHK/{part}{suffix}"
            place.mkdir(parents=True)
            for path in sorted((small_shi / source).iterdir())[:5]:
                path.rename(place / path.name)
    monkeypatch.setattr(szu, "listed_stems", lambda: NAMES[:6])
    monkeypatch.setattr(szu, "MOTION_COUNT", 3)
    fill(clone / "SZU-BD", NAMES, "img/out-of-focus", "gt")
    fill(clone / "SZU-BD", ["moving1", "moving2"], "img/motion", "gt")
    of_shi, of_szu = check_data(clone)
    assert of_shi.dataset == "shi" and of_shi.whole and of_shi.photos == 8
    assert (of_szu.dataset, of_szu.photos, of_szu.white) == ("szu", 6, "blurred")
    assert of_szu.parts == {"test": 6, "motion": 2}
    assert of_szu.problems == {"SZU-BD/img/motion": "holds 2 photos, expected 3"}
    assert of_szu.notes[0].startswith("2 more photos in SZU-BD/img/out-of-focus are not in the list")


def test_a_copy_of_szu_without_its_test_part_is_not_whole(tmp_path):
    fill(tmp_path, ["moving1", "moving2"], "img/motion", "gt")
    (found,) = check_data(tmp_path)
    assert found.dataset == "szu" and found.photos == 0 and not found.whole
    assert found.problems["test"] == "is missing: there are no folders of SZU-BD's defocus part"


def test_dut_and_its_polarity(tmp_path, monkeypatch):
    monkeypatch.setattr(dut, "COUNTS", {"train": 600, "test": 8})
    fill(tmp_path, NAMES, "test/images", "test/masks", "focus")
    (found,) = check_data(tmp_path)
    assert (found.dataset, found.parts, found.white) == ("dut", {"test": 8}, "focus")
    assert found.problems == {"train": "is missing: there are no folders of DUT's train part"}
    fill(tmp_path, NAMES, "test/images", "test/masks", "blurred")
    (found,) = check_data(tmp_path)
    assert "expected white = focus in this data set" in found.problems["masks"]


def test_ctcug(tmp_path):
    fill(tmp_path, NAMES, "CTCUG_images", "CTCUG_gt")
    (found,) = check_data(tmp_path)
    assert (found.dataset, found.photos, found.white) == ("ctcug", 8, "blurred")
    assert found.problems == {"CTCUG_images": "holds 8 photos, expected 150"}
    for annotator in "ab":
        fill(tmp_path / "five", NAMES, "images", f"masks/{annotator}")
    (found,) = check_data(tmp_path / "five")
    assert found.problems == {
        "masks": "has masks of 2 annotators, expected 5",
        "images": "holds 8 photos, expected 150",
    }


def test_every_check_is_of_a_data_set_with_a_folder():
    """A data set without a check of its own is checked like a folder."""
    assert set(check.CHECKS) <= {name for name, dataset in check.DATASETS.items() if dataset.where}


@pytest.mark.slow
def test_the_released_sets(shi_root, szu_root):
    (of_shi,), (of_szu,) = check_data(shi_root), check_data(szu_root)
    assert of_shi.whole and of_shi.photos == 704 and of_shi.white == "blurred"
    assert of_szu.whole and of_szu.photos == 347 and of_szu.white == "blurred"
