"""The numbers of the explorer against independent computation, and the photos of users."""

import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from explorer_reading import FIRST, OTHER, SIZE, far_apart, levels, png
from PIL import Image

from defusion_lib.apps.explorer import analysis, markup
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.synthetic import make_scene
from defusion_lib.experiments.attention import record
from defusion_lib.inference import detect, predict_maps
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS

ROOT = Path(__file__).resolve().parents[3]


def test_one_forward_pass_gives_all_maps(network, photo, runs_of):
    analysed = analysis.analyse(photo, network, None)
    assert len(runs_of) == 1
    maps = predict_maps(photo.image, network, None)
    sides = [side[0, 0].numpy() for side in maps.sides]
    assert list(analysed.stages) == ["fused", "after1", "after2", "after3"]
    assert far_apart(analysed.stages["fused"], levels(torch.sigmoid(maps.final)[0, 0].numpy())) <= 1
    for step in range(3):
        mean = np.mean(sides[6 * step : 6 * step + 6], axis=0)
        assert far_apart(analysed.stages[f"after{step + 1}"], levels(1 / (1 + np.exp(-mean)))) <= 1
        for i in range(6):
            assert far_apart(analysed.sides[step][i], levels(1 / (1 + np.exp(-sides[6 * step + i])))) <= 1


@pytest.mark.slow
def test_channels_are_those_of_the_cam(network, photo):
    # The features are 64 pixels a side, so that nothing is averaged.
    size = 64 * network.config["fusion_stride"]
    analysed = analysis.analyse(photo, network, size)
    for each in record(photo.image, network, size):
        found = analysed.channels[each.key]
        np.testing.assert_array_equal(found.weights, each.weights)
        np.testing.assert_array_equal(found.peaks, each.features.max((1, 2)))
        alive = found.peaks > 0
        features = each.features[alive]
        assert far_apart(found.levels[alive], levels(features / features.max((1, 2), keepdims=True))) <= 1
        assert not found.levels[~alive].any()


@pytest.mark.slow
def test_the_most_varied_channel_shows_something(network):
    for name in (FIRST, OTHER):
        photo = analysis.photo_choices(0)[name]()
        analysed = analysis.analyse(photo, network, 64)
        for each in record(photo.image, network, 64):
            found = analysed.channels[each.key]
            spread = (each.weights[:, None, None] * each.features).std((1, 2))
            # In the levels of a picture a channel that is flat to a hundredth may be any.
            assert spread[found.most_varied()] >= 0.98 * spread.max()
            if each.features.any():
                assert found.levels[found.most_varied()].max() == 255 and found.levels[found.most_varied()].std() > 10


def test_analyses_at_once_do_not_mix(network, photo):
    alone = analysis.analyse(photo, network, SIZE)
    found = []

    def analyse():
        found.append(analysis.analyse(photo, network, SIZE))

    threads = [threading.Thread(target=analyse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for analysed in found:
        assert far_apart(analysed.stages["fused"], alone.stages["fused"]) <= 1
        assert set(analysed.channels) == set(alone.channels)


def test_a_network_without_cam_is_refused(photo):
    with pytest.raises(ValueError, match="has no CAM"):
        analysis.analyse(photo, DeFusionNet("compact", steps=1, cam="off"), SIZE)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_scores_count_pixels(threshold):
    rng = np.random.default_rng(1)
    found, mask = rng.integers(0, 256, (30, 20), np.uint8), (rng.random((30, 20)) < 0.3).astype(np.float32)
    marked, blurred = found / 255 > threshold, mask == 1
    right = (marked & blurred).sum()
    precision, recall = right / marked.sum(), right / blurred.sum()
    scores = analysis.score_map(found, mask, threshold)
    assert scores["share"] == marked.mean()
    assert scores["precision"] == pytest.approx(precision)
    assert scores["recall"] == pytest.approx(recall)
    assert scores["f"] == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert scores["mae"] == pytest.approx(np.abs(found / 255 - mask).mean())


def test_scores_leave_out_what_is_undefined():
    found = np.full((4, 4), 200, np.uint8)
    assert analysis.score_map(found, None, 0.5) == {"share": 1}
    one_class = analysis.score_map(found, np.zeros((4, 4), np.float32), 0.5)
    assert set(one_class) == {"share", "mae"}
    assert "one class only" in markup.describe_scores(one_class, 0.5)
    assert markup.describe_scores({"share": 0.25}, 0.3) == "25% of the pixels are above 0.30"


def test_only_pixels_above_the_threshold_are_tinted(photo):
    found = np.tile(np.arange(0, 224, 4, dtype=np.uint8), (40, 1))
    tinted = analysis.tint_blurred(photo.image, found, 0.4, 1.0)
    above = found / 255 > 0.4
    assert (tinted[above] == np.rint(255 * np.array(COLOURS[1]))).all()
    assert (tinted[~above] == photo.image[~above]).all()
    assert (analysis.tint_blurred(photo.image, found, 0.4, 0) == photo.image).all()


def test_depth_is_stretched_from_the_nearest_layer_on():
    scene, _ = make_scene("same-class", 0, (64, 64), 0)
    near, far = min(scene.distances), max(scene.distances)
    assert analysis.stretch_depth(scene, 1).distances == pytest.approx(scene.distances)
    assert analysis.stretch_depth(scene, 0).distances == pytest.approx([near] * len(scene.distances))
    assert max(analysis.stretch_depth(scene, 2).distances) == pytest.approx(far * far / near)


def test_a_capture_is_rendered_and_its_map_predicted(network):
    scene, camera = make_scene("same-class", 0, (64, 64), 0)
    captured = analysis.capture(scene, camera, network, SIZE, seed=3)
    np.testing.assert_array_equal(captured.rendering.image, render(scene, camera, 3).image)
    assert far_apart(captured.levels, levels(detect(captured.rendering.image, network, SIZE))) <= 1
    assert not analysis.capture(scene, Camera(1.0, aperture=0), network, SIZE).rendering.mask.any()


def test_radii_are_drawn_up_to_the_white_one():
    radii = np.array([[0.0, analysis.WHITE_RADIUS / 2, analysis.WHITE_RADIUS, 100.0]])
    assert analysis.radius_levels(radii).tolist() == [[0, 128, 255, 255]]


@pytest.mark.slow
def test_rendered_photos_have_masks_and_the_others_none():
    found = analysis.photo_choices(0)
    assert found[OTHER]().mask.shape == analysis.SCENE_SHAPE
    assert found[FIRST]().mask is None
    assert np.array_equal(found[OTHER]().image, analysis.photo_choices(0)[OTHER]().image)
    assert not np.array_equal(found[OTHER]().image, analysis.photo_choices(2)[OTHER]().image)


def test_uploads_are_read_and_shrunk(photo):
    assert np.array_equal(analysis.read_upload("me.png", png(photo.image)).image, photo.image)
    large = analysis.read_upload("large.png", png(np.zeros((1000, 400), np.uint8)))
    assert large.image.shape == (640, 256, 3) and large.mask is None


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_broken_upload_is_one_sentence(content):
    with pytest.raises(ValueError, match=r"^me\.jpg cannot be read as a picture .*again\.$") as caught:
        analysis.read_upload("me.jpg", content)
    assert "\n" not in str(caught.value)


def bitmap(size):
    """An uncompressed picture of at most so many bytes, as a BMP."""
    width = 4000
    pixels = np.zeros((size // (3 * width) - 1, width, 3), np.uint8)
    pixels[:, ::2] = 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def test_a_path_is_read_and_shrunk_as_an_upload_is(photo, tmp_path, monkeypatch):
    (tmp_path / "me.png").write_bytes(png(photo.image))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for typed in ("~/me.png", "me.png", f"  {tmp_path}/me.png ", f'"{tmp_path}/me.png"'):
        found = analysis.read_path(typed)
        assert found.mask is None
        np.testing.assert_array_equal(found.image, photo.image)
    content = bitmap(30_000_000)
    assert len(content) > 29_900_000
    (tmp_path / "large.bmp").write_bytes(content)
    large = analysis.read_path("~/large.bmp").image
    assert large.shape == (400, 640, 3)
    np.testing.assert_array_equal(large, analysis.read_upload("large.bmp", memoryview(content)).image)


@pytest.mark.parametrize("typed", ["missing.jpg", "~/missing.jpg", "~nobody-of-this-name/me.jpg", "x" * 5000, "a\0b"])
def test_a_path_without_a_file_is_one_sentence(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^There is no file /.*so check the path\.$") as caught:
        analysis.read_path(typed)
    assert f"{tmp_path}/{typed.removeprefix('~/')} on the computer" in str(caught.value)


@pytest.mark.parametrize("typed", [".", "~", "photos.jpg"])
def test_a_path_of_a_folder_is_one_sentence(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.jpg").mkdir()
    with pytest.raises(ValueError, match=rf"^{tmp_path}\S* is a folder: expected a photo, so add"):
        analysis.read_path(typed)


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_path_of_a_broken_file_is_one_sentence(content, tmp_path):
    (tmp_path / "me.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/me\.jpg cannot be read as a picture .*again\.$"):
        analysis.read_path(f"{tmp_path}/me.jpg")


MEMORY = """
import resource, sys
from pathlib import Path
from PIL import Image
from defusion_lib.apps.explorer import analysis

Image.MAX_IMAGE_PIXELS = None  # this is about memory, not about what Pillow refuses
content = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(analysis.read_upload("phone.jpg", content).image.shape, analysis.read_path(sys.argv[1]).image.shape)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives the largest memory in kilobytes")
def test_a_photo_of_200_megapixels_is_never_in_memory_as_a_whole(tmp_path):
    Image.new("L", (16320, 12240), 128).save(tmp_path / "phone.jpg", quality=30)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "phone.jpg")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr[-2000:]
    shapes, kilobytes = ran.stdout.splitlines()
    assert shapes == "(480, 640, 3) (480, 640, 3)"
    assert int(kilobytes) < 100_000  # the whole photo has 200 megabytes in grey, 600 in colours
