"""Faults that users of such programs reported in public, each the shortest way from a file to its right value or sentence."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, PngImagePlugin

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import Augmented
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.files import read_image, read_mask, read_reduced
from defusion_lib.network import DeFusionNet
from defusion_lib.training import Recipe, train

pytestmark = pytest.mark.usefixtures("one_thread")

BLURRED = np.zeros((40, 60), np.uint8)
BLURRED[:, :40] = 1  # a share of 0.667


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder, so that files have short names and nothing else is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def photos(name, count, seed):
    rng = np.random.default_rng(seed)

    def one(stem):
        return Photo(stem, rng.integers(0, 256, (40, 40, 3), np.uint8), (rng.random((40, 40)) > 0.5).astype(np.float32))

    kept = {f"{name}{number}": one(f"{name}{number}") for number in range(count)}
    return PhotoSet(name, list(kept), kept.__getitem__)


def fresh(seed=0):
    torch.manual_seed(seed)
    return DeFusionNet("compact", steps=1)


@pytest.mark.slow
def test_f1_half_a_run_goes_on_with_its_own_data_and_weights_only(here):
    recipe = Recipe(stages=((2, 32, 1),), optimiser="adamw", learning_rate=1e-4, schedule="cosine")
    data, checkpoint = photos("shi-dutlab100", 6, 0), here / "t.pt"

    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(), data, recipe, checkpoint=checkpoint, every=1, show=stop)
    before = checkpoint.read_bytes()
    for network, others, sentence in (
        (fresh(), photos("shi-last100", 3, 1), "data.name='shi-dutlab100' instead of 'shi-last100'"),
        # Names alike, of another number and of other pixels.
        (fresh(), photos("shi-dutlab100", 5, 0), "data.photographs=6 instead of 5"),
        (fresh(), photos("shi-dutlab100", 6, 1), "data.pixels_sha256="),
        (fresh(seed=1), data, "begun_with_sha256="),
    ):
        with pytest.raises(ValueError, match=f"^t.pt belongs to another run .*{sentence}.*: restore the old"):
            train(network, others, recipe, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before
    history = train(fresh(), data, recipe, checkpoint=checkpoint)
    assert [(stretch["from"], stretch["to"]) for stretch in history.stretches] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("palette", [None, [0, 0, 0, 128, 0, 0]], ids=["labels 0 and 2", "VOC palette"])
def test_f2_a_mask_in_another_code_is_not_read_as_nothing_blurred(palette):
    image = Image.fromarray(BLURRED if palette else BLURRED * 2)
    if palette:
        image.putpalette(palette)
    image.save("a.png")
    found = r"colours such as \(128, 0, 0\)" if palette else "only the values 0 and 2"
    with pytest.raises(ValueError, match=rf"^a\.png: the mask holds {found}, expected 0 and 255: save it as"):
        read_mask("a.png")
    Image.fromarray(BLURRED * 255).save("a.png")
    assert read_mask("a.png").mean() == pytest.approx(2 / 3)


@pytest.mark.slow
def test_f3_a_jpeg_of_200_megapixels_is_read():
    Image.new("L", (16320, 12240), 128).save("phone.jpg", quality=30)
    reduced, shape = read_reduced("phone.jpg", 1024)
    assert shape == (12240, 16320) and reduced.shape == (1530, 2040, 3) and np.unique(reduced).tolist() == [128]
    assert read_image("phone.jpg").shape == (12240, 16320, 3)


def test_f6_a_tiff_of_16_bits_in_planes_is_no_stripes(noise):
    planes = (noise.astype(np.uint16) * 257).transpose(2, 0, 1).copy()
    tifffile.imwrite("planar.tif", planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_image("planar.tif"), noise)


@pytest.mark.parametrize("rotations", [(45,), ()])
def test_f7_rotations_act_or_are_refused(rotations):
    with pytest.raises(ValueError, match=r"^rotations=.* cannot be used: expected one or more of \(0, 90"):
        Recipe(stages=((1, 32, 1),), rotations=rotations)
    data = photos("x", 1, 0)
    plain, turned = (Augmented(data, 32, (angle,), (1.0,))[0][0] for angle in (0, 90))
    assert not torch.equal(plain, turned)


def test_f8_a_folder_of_the_checkout_is_found_from_its_notebooks(here, monkeypatch):
    monkeypatch.setattr("defusion_lib.paths.project_root", lambda: here)
    for folder in ("notebooks", "data/shi/images", "data/shi/masks"):
        (here / folder).mkdir(parents=True)
    monkeypatch.chdir(here / "notebooks")
    # It is found, and is empty.
    with pytest.raises(FileNotFoundError, match=r"data/shi lacks images/out_of_focus.*\(expected 100 photos"):
        open_dataset("shi", "test")


def test_r_a_png_with_2_mb_of_text_is_read(noise):
    text = PngImagePlugin.PngInfo()
    text.add_text("x", "a" * 2_000_000, zip=True)
    Image.fromarray(noise).save("big_text.png", pnginfo=text)
    assert np.array_equal(read_image("big_text.png"), noise)


def test_r_masks_of_a_folder_that_are_white_in_focus(here, noise):
    (here / "fm/masks").mkdir(parents=True)
    for name in ("x", "y"):
        Image.fromarray(noise if name == "x" else 255 - noise).save(f"fm/{name}.png")
        Image.fromarray(255 - BLURRED * 255).save(f"fm/masks/{name}.png")
    shares = {
        white: open_dataset("folder", "train", "fm", white=white)[0].mask.mean() for white in ("focus", "blurred")
    }
    assert shares == pytest.approx({"focus": 2 / 3, "blurred": 1 / 3})
