"""Shi's 704 photographs: splits, manifest, and what is said about a copy that differs."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from defusion_lib.data import decoding, shi
from defusion_lib.data.shi import check_copy, find_files, open_shi, read_manifest, split_stems
from tools.shi_manifest import write_manifest

STEMS = [f"out_of_focus{number:04d}" for number in range(1, 6)]


@pytest.fixture
def copy(tmp_path):
    """Five small photographs of 20x10 pixels; number k is blurred in its first k + 2 of 20 columns."""
    root = tmp_path / "shi"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number, stem in enumerate(STEMS, start=1):
        Image.fromarray(np.full((10, 20, 3), 40 * number, np.uint8)).save(root / f"images/{stem}.jpg")
        mask = np.zeros((10, 20), np.uint8)
        mask[:, : number + 2] = 255
        Image.fromarray(mask).save(root / f"masks/{stem}.png")
    return root


@pytest.fixture
def manifest(copy, tmp_path):
    write_manifest(copy, tmp_path / "manifest.json")
    return read_manifest(tmp_path / "manifest.json")


def test_a_manifest_tells_what_is_in_a_folder(copy, manifest, tmp_path):
    assert list(manifest["photographs"]) == STEMS
    assert manifest["white"] == "blurred"
    entry = manifest["photographs"]["out_of_focus0002"]
    assert (entry["width"], entry["height"], entry["blurred_share"]) == (20, 10, 0.2)
    for kind, suffix, column in (("images", "jpg", "image_sha256"), ("masks", "png", "mask_sha256")):
        content = (copy / kind / f"out_of_focus0002.{suffix}").read_bytes()
        assert entry[column] == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "shi"]


def test_a_faithful_copy_passes_in_either_layout(copy, manifest):
    check_copy(copy, STEMS, manifest)
    (copy / "images").rename(copy / "image")
    (copy / "masks").rename(copy / "gt")
    check_copy(copy, STEMS, manifest)


def as_clone(copy, root, test=("out_of_focus0004", "out_of_focus0005"), capitals=("out_of_focus0002",)):
    """Lay a copy out as the public repository does, beside photos of motion blur; return the clone's folder."""
    for stem, (image, mask) in find_files(copy).items():
        folder = root / "CUHK" / ("shi200test" if stem in test else "shi800train")
        for path, place, suffix in (
            (image, folder, ".JPG" if stem in capitals else ".jpg"),
            (mask, folder.with_name(f"{folder.name}-gt"), ".png"),
        ):
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / f"{stem}{suffix}")
            shutil.copy(path, place / f"motion0001{suffix}")
    return root


def test_a_clone_of_the_public_repository_is_a_copy(copy, manifest, tmp_path, monkeypatch):
    clone = as_clone(copy, tmp_path / "BD_EFPN")
    monkeypatch.setattr("defusion_lib.data.shi.read_manifest", lambda: manifest)
    monkeypatch.setattr("defusion_lib.data.shi.split_stems", lambda split, part: STEMS)
    for root in (clone, clone / "CUHK"):
        assert list(find_files(root)) == STEMS
        photos = open_shi(root)
        assert [photo.mask.mean() for photo in photos] == pytest.approx([0.15, 0.2, 0.25, 0.3, 0.35])
        assert photos[1].image.max() == 80
    (clone / "CUHK/shi800train/out_of_focus0002.JPG").unlink()
    (clone / "CUHK/shi200test-gt/out_of_focus0005.png").unlink()
    lacks = r"lacks CUHK/shi800train/out_of_focus0002\.jpg, CUHK/shi200test-gt/out_of_focus0005\.png"
    with pytest.raises(FileNotFoundError, match=lacks):
        open_shi(clone)


def test_missing_files_are_named(copy, manifest):
    (copy / "images/out_of_focus0003.jpg").unlink()
    (copy / "masks/out_of_focus0005.png").unlink()
    lacks = r"lacks images/out_of_focus0003\.jpg, masks/out_of_focus0005\.png"
    with pytest.raises(FileNotFoundError, match=lacks):
        check_copy(copy, STEMS, manifest)
    check_copy(copy, STEMS[:2], manifest)


def test_files_that_differ_are_named(copy, manifest):
    Image.new("RGB", (20, 10)).save(copy / "images/out_of_focus0002.jpg")
    Image.new("RGB", (16, 8)).save(copy / "images/out_of_focus0003.jpg")
    Image.new("L", (20, 10)).save(copy / "masks/out_of_focus0004.png")
    with pytest.raises(ValueError) as error:
        check_copy(copy, STEMS, manifest)
    assert (
        "out_of_focus0002.jpg, out_of_focus0003.jpg (16x8 pixels, expected 20x10), out_of_focus0004.png "
        "differ from the manifest (another SHA-256 than expected in 3 of 10 files)"
    ) in str(error.value)


def test_a_broken_photograph_is_named(copy, manifest):
    path = copy / "images/out_of_focus0002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"out_of_focus0002\.jpg cannot be read as a picture"):
        check_copy(copy, STEMS, manifest)


def test_a_photograph_that_may_not_be_read_is_named(copy, manifest, monkeypatch):
    def refuse(path, *given):
        if Path(path).name == "out_of_focus0002.jpg":
            raise PermissionError(13, "Permission denied")
        return open_file(path, *given)

    open_file = open
    for module in (shi, decoding):
        monkeypatch.setattr(module, "open", refuse, raising=False)
    with pytest.raises(ValueError, match=r"out_of_focus0002\.jpg may not be read \(Permission denied\)"):
        check_copy(copy, STEMS, manifest)


def test_inverted_masks_are_recognised(copy, manifest):
    for stem in STEMS:
        path = copy / f"masks/{stem}.png"
        ImageOps.invert(Image.open(path)).save(path)
    with pytest.raises(ValueError) as error:
        check_copy(copy, STEMS, manifest)
    message = str(error.value)
    assert "masks are inverted: white = in focus found (out_of_focus0001.png, " in message
    assert "5 in all), expected white = blurred: invert them" in message


def test_a_copy_is_verified(tmp_path):
    stems = split_stems("last100", "test")
    for kind, suffix, mode in (("images", "jpg", "RGB"), ("masks", "png", "L")):
        (tmp_path / kind).mkdir()
        for stem in stems:
            Image.new(mode, (4, 3), "white").save(tmp_path / f"{kind}/{stem}.{suffix}")
    with pytest.raises(ValueError, match=r"out_of_focus0605\.jpg \(4x3 pixels, expected 640x427\)"):
        open_shi(tmp_path, "last100", "test")


def test_a_missing_folder_says_where_to_get_the_data(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not hold the Shi set: clone .*BD_EFPN.*cse\.cuhk\.edu\.hk.*images/"):
        open_shi(tmp_path / "nowhere")


def test_unknown_splits_and_parts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'xu100' is not a split of this set: choose one of last100, dutlab100"):
        open_shi(tmp_path, split="xu100")
    with pytest.raises(ValueError, match="'val' is not a part"):
        open_shi(tmp_path, part="val")


def test_the_two_splits():
    everything = [f"out_of_focus{number:04d}" for number in range(1, 705)]
    for split in ("dutlab100", "last100"):
        train, test = split_stems(split, "train"), split_stems(split, "test")
        assert (len(train), len(test)) == (604, 100)
        assert sorted(train + test) == everything
    assert split_stems("last100", "test")[0] == "out_of_focus0605"
    # Why the splits must never be mixed: they share a fifth of their test photographs.
    assert len(set(split_stems("dutlab100", "test")) & set(split_stems("last100", "test"))) == 20


def test_the_committed_manifest_knows_all_704():
    manifest = read_manifest()
    assert sorted(manifest["photographs"]) == [f"out_of_focus{number:04d}" for number in range(1, 705)]
    shares = [entry["blurred_share"] for entry in manifest["photographs"].values()]
    # Counted from the masks without this reader: white pixels over all pixels.
    assert np.mean(shares) == pytest.approx(0.666, abs=5e-4)
    assert (min(shares), max(shares)) == pytest.approx((0.130, 0.983), abs=5e-4)


def test_the_released_photographs(shi_root):
    photos = open_shi(shi_root)
    assert (photos.name, len(photos)) == ("shi-dutlab100", 100)
    photo = photos[0]
    stored = np.array(Image.open(shi_root / f"masks/{photo.name}.png").convert("L"))
    assert photo.image.shape == (*stored.shape, 3)
    assert np.array_equal(photo.mask, (stored > 127).astype(np.float32))
    assert open_shi(shi_root, "last100", "train").stems[-1] == "out_of_focus0604"


@pytest.mark.slow
def test_the_released_photographs_as_a_clone(shi_root, tmp_path):
    test = [f"out_of_focus{number:04d}" for number in range(1, 105)]
    clone = as_clone(shi_root, tmp_path, test, split_stems("last100", "test")[:42])
    assert len(open_shi(clone, "dutlab100", "train")) == 604
    first, cloned = open_shi(shi_root, "last100")[0], open_shi(clone, "last100")[0]
    assert np.array_equal(first.image, cloned.image) and np.array_equal(first.mask, cloned.mask)


def test_the_committed_manifest_is_what_the_released_photographs_give(shi_root, tmp_path):
    few = tmp_path / "few"
    stems = ["out_of_focus0001", "out_of_focus0352", "out_of_focus0704"]
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (few / kind).mkdir(parents=True)
        for stem in stems:
            shutil.copy(shi_root / kind / f"{stem}.{suffix}", few / kind)
    write_manifest(few, tmp_path / "few.json")
    made = read_manifest(tmp_path / "few.json")["photographs"]
    known = read_manifest()["photographs"]
    assert json.dumps(made) == json.dumps({stem: known[stem] for stem in stems})
