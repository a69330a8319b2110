"""The explorer: pictures and numbers against independent computation, and its panels without a browser.

The browser's part is in tests/browser/check_explorer.py.
"""

import ast
import base64
import io
import re
import shlex
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from defusion_lib.apps import explorer
from defusion_lib.baselines.classical import hifst
from defusion_lib.data import Photo
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.synthetic import make_scene
from defusion_lib.experiments.attention import record
from defusion_lib.inference import all_maps, detect
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS
from defusion_lib.weights import load_network

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32
FIRST = "skimage: coffee"
OTHER = "rendered: low-contrast-clutter"


@pytest.fixture(scope="module")
def network():
    return load_network()


@pytest.fixture
def photo():
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    mask = np.zeros((40, 56), np.float32)
    mask[:, 30:] = 1
    return Photo("noise", image, mask)


@pytest.fixture
def runs_of(network):
    """Counts the forward passes of the network."""
    counted = []
    hook = network.register_forward_hook(lambda *_: counted.append(1))
    yield counted
    hook.remove()


def levels(array):
    return np.rint(255 * np.clip(array, 0, 1))


def far_apart(first, second):
    """By how many levels two pictures differ at most."""
    return np.abs(np.asarray(first, int) - np.asarray(second, int)).max()


def pictures(markup):
    """The pictures of HTML: {alternative text: pixels}."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', markup)
    return {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for content, alt in found}


# -------------------------------------------------------------------------------------- pictures and numbers


def test_one_look_holds_what_the_network_says(network, photo, runs_of):
    seen = explorer.look(photo, network, None)
    assert len(runs_of) == 1
    maps = all_maps(photo.image, network, None)
    sides = [side[0, 0].numpy() for side in maps.sides]
    assert list(seen.stages) == ["fused", "after1", "after2", "after3"]
    assert far_apart(seen.stages["fused"], levels(torch.sigmoid(maps.final)[0, 0].numpy())) <= 1
    for step in range(3):
        mean = np.mean(sides[6 * step : 6 * step + 6], axis=0)
        assert far_apart(seen.stages[f"after{step + 1}"], levels(1 / (1 + np.exp(-mean)))) <= 1
        for i in range(6):
            assert far_apart(seen.sides[step][i], levels(1 / (1 + np.exp(-sides[6 * step + i])))) <= 1


def test_channels_are_those_of_the_cam(network, photo):
    seen = explorer.look(photo, network, 64)
    for each in record(photo.image, network, 64):
        found = seen.channels[each.place]
        np.testing.assert_array_equal(found.weights, each.weights)
        # At 64 pixels a side nothing is averaged.
        np.testing.assert_array_equal(found.peaks, each.features.max((1, 2)))
        alive = found.peaks > 0
        features = each.features[alive]
        assert far_apart(found.levels[alive], levels(features / features.max((1, 2), keepdims=True))) <= 1
        assert not found.levels[~alive].any()


def test_two_looks_at_once_do_not_mix(network, photo):
    alone = explorer.look(photo, network, SIZE)
    found = []

    def look():
        found.append(explorer.look(photo, network, SIZE))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for seen in found:
        assert far_apart(seen.stages["fused"], alone.stages["fused"]) <= 1
        assert set(seen.channels) == set(alone.channels)


def test_a_network_without_cam_is_refused(photo):
    with pytest.raises(ValueError, match="has no CAM"):
        explorer.look(photo, DeFusionNet("compact", steps=1, cam="off"), SIZE)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_scores_count_pixels(threshold):
    rng = np.random.default_rng(1)
    found, mask = rng.integers(0, 256, (30, 20), np.uint8), (rng.random((30, 20)) < 0.3).astype(np.float32)
    marked, blurred = found / 255 > threshold, mask == 1
    right = (marked & blurred).sum()
    precision, recall = right / marked.sum(), right / blurred.sum()
    scores = explorer.scores(found, mask, threshold)
    assert scores["share"] == marked.mean()
    assert scores["precision"] == pytest.approx(precision)
    assert scores["recall"] == pytest.approx(recall)
    assert scores["f"] == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert scores["mae"] == pytest.approx(np.abs(found / 255 - mask).mean())


def test_scores_leave_out_what_is_undefined():
    found = np.full((4, 4), 200, np.uint8)
    assert explorer.scores(found, None, 0.5) == {"share": 1}
    one_class = explorer.scores(found, np.zeros((4, 4), np.float32), 0.5)
    assert set(one_class) == {"share", "mae"}
    assert "one class only" in explorer.in_words(one_class, 0.5)
    assert explorer.in_words({"share": 0.25}, 0.3) == "25% of the pixels are above 0.30"


def test_only_pixels_above_the_threshold_are_tinted(photo):
    found = np.tile(np.arange(0, 224, 4, dtype=np.uint8), (40, 1))
    tinted = explorer.tinted(photo.image, found, 0.4, 1.0)
    above = found / 255 > 0.4
    assert (tinted[above] == np.rint(255 * np.array(COLOURS[1]))).all()
    assert (tinted[~above] == photo.image[~above]).all()
    assert (explorer.tinted(photo.image, found, 0.4, 0) == photo.image).all()


def test_depth_is_stretched_from_the_nearest_layer_on():
    scene, _ = make_scene("same-class", 0, (64, 64), 0)
    near, far = min(scene.distances), max(scene.distances)
    assert explorer.stretched(scene, 1).distances == pytest.approx(scene.distances)
    assert explorer.stretched(scene, 0).distances == pytest.approx([near] * len(scene.distances))
    assert max(explorer.stretched(scene, 2).distances) == pytest.approx(far * far / near)


def test_a_shot_is_rendered_and_looked_at(network):
    scene, camera = make_scene("same-class", 0, (64, 64), 0)
    shot = explorer.shoot(scene, camera, network, SIZE, seed=3)
    np.testing.assert_array_equal(shot.rendering.image, render(scene, camera, 3).image)
    assert far_apart(shot.levels, levels(detect(shot.rendering.image, network, SIZE))) <= 1
    assert not explorer.shoot(scene, Camera(1.0, aperture=0), network, SIZE).rendering.mask.any()


def test_radii_are_drawn_up_to_the_white_one():
    radii = np.array([[0.0, explorer.WHITE_RADIUS / 2, explorer.WHITE_RADIUS, 100.0]])
    assert explorer.radius_levels(radii).tolist() == [[0, 128, 255, 255]]


def test_rendered_photographs_have_masks_and_the_others_none():
    found = explorer.photographs(0)
    assert found[OTHER]().mask.shape == explorer.SCENE
    assert found[FIRST]().mask is None
    assert np.array_equal(found[OTHER]().image, explorer.photographs(0)[OTHER]().image)
    assert not np.array_equal(found[OTHER]().image, explorer.photographs(2)[OTHER]().image)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_uploads_are_read_and_shrunk(photo):
    assert np.array_equal(explorer.uploaded("me.png", png(photo.image)).image, photo.image)
    large = explorer.uploaded("large.png", png(np.zeros((1000, 400), np.uint8)))
    assert large.image.shape == (640, 256, 3) and large.mask is None


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_broken_upload_is_one_sentence(content):
    with pytest.raises(ValueError, match=r"^me\.jpg cannot be read as a picture .*again\.$") as caught:
        explorer.uploaded("me.jpg", content)
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
        found = explorer.opened(typed)
        assert found.mask is None
        np.testing.assert_array_equal(found.image, photo.image)
    content = bitmap(30_000_000)
    assert len(content) > 29_900_000
    (tmp_path / "large.bmp").write_bytes(content)
    large = explorer.opened("~/large.bmp").image
    assert large.shape == (400, 640, 3)
    np.testing.assert_array_equal(large, explorer.uploaded("large.bmp", memoryview(content)).image)


@pytest.mark.parametrize("typed", ["missing.jpg", "~/missing.jpg", "~nobody-of-this-name/me.jpg", "x" * 5000, "a\0b"])
def test_a_path_without_a_file_is_one_sentence(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="^there is no file /.*so check the path$") as caught:
        explorer.opened(typed)
    assert f"{tmp_path}/{typed.removeprefix('~/')} on the computer" in str(caught.value)


@pytest.mark.parametrize("typed", [".", "~", "photos.jpg"])
def test_a_path_of_a_folder_is_one_sentence(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.jpg").mkdir()
    with pytest.raises(ValueError, match=rf"^{tmp_path}\S* is a folder: expected a photograph, so add"):
        explorer.opened(typed)


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_path_of_a_broken_file_is_one_sentence(content, tmp_path):
    (tmp_path / "me.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/me\.jpg cannot be read as a picture .*again\.$"):
        explorer.opened(f"{tmp_path}/me.jpg")


MEMORY = """
import resource, sys
from pathlib import Path
from PIL import Image
from defusion_lib.apps import explorer

Image.MAX_IMAGE_PIXELS = None  # this is about memory, not about what Pillow refuses
content = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(explorer.uploaded("phone.jpg", content).image.shape, explorer.opened(sys.argv[1]).image.shape)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives the largest memory in kilobytes")
def test_a_photo_of_200_megapixels_is_never_in_memory_as_a_whole(tmp_path):
    Image.new("L", (16320, 12240), 128).save(tmp_path / "phone.jpg", quality=30)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "phone.jpg")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr[-2000:]
    shapes, kilobytes = ran.stdout.splitlines()
    assert shapes == "(480, 640, 3) (480, 640, 3)"
    assert int(kilobytes) < 100_000  # the whole photo has 200 megabytes in grey, 600 in colours


# ---------------------------------------------------------------------------------------------------- markup


def test_a_picture_is_its_pixels_with_a_text(photo):
    ((alt, pixels),) = pictures(explorer.picture(photo.image, 'a "quoted" one', 56)).items()
    assert alt == "a &quot;quoted&quot; one"
    np.testing.assert_array_equal(pixels, photo.image)
    ((_, small),) = pictures(explorer.picture(np.zeros((900, 600), np.uint8), "large", 100)).items()
    assert small.shape == (300, 200)


def test_bars_are_as_high_as_the_weights():
    weights, before = np.linspace(0.1, 0.9, 96), np.linspace(0.9, 0.1, 96)
    svg = ElementTree.fromstring(explorer.bars(weights, "deep", 5, before))
    rectangles = svg.findall("rect")
    heights = np.array([float(each.get("height")) for each in rectangles])
    np.testing.assert_allclose(heights / 120, weights, atol=0.05 / 120 + 1e-9)
    bottoms = {round(float(each.get("y")) + float(each.get("height")), 0) for each in rectangles}
    assert bottoms == {126}
    coloured = [i for i, each in enumerate(rectangles) if each.get("fill") == to_hex(COLOURS[1])]
    assert coloured == [5]
    strokes = [float(each.get("y1")) for each in svg.findall("line") if each.get("stroke") == "currentColor"]
    np.testing.assert_allclose(126 - np.array(strokes), 120 * before, atol=0.051)
    assert {"conv4_3", "conv5_3", "pool5"} <= {each.text for each in svg.findall("text")}
    assert "channel 6" in svg.get("aria-label")


# ------------------------------------------------------------------------------------------- work and errors


def test_work_tells_its_result_and_an_error():
    desk, told = explorer.Desk(lambda: None), []
    desk.work("adding", lambda: 1 + 1, told.append)
    desk.wait()
    assert told == [2] and desk.busy == "" and desk.problems.outputs == ()
    desk.work("dividing", lambda: 1 / 0, told.append)
    desk.wait()
    assert told == [2]
    assert "ZeroDivisionError" in desk.problems.outputs[0]["text"]
    assert "That failed" in desk.status.value


def test_the_newest_work_wins():
    desk, told, go = explorer.Desk(lambda: None), [], threading.Event()
    desk.work("first", lambda: go.wait(60) and "first", told.append)
    desk.work("second", lambda: "second", told.append)
    assert desk.busy == "second"
    go.set()
    desk.wait()
    assert told == ["second"]


def test_long_work_says_so_and_short_work_does_not(monkeypatch):
    monkeypatch.setattr(explorer, "PATIENCE", 0.01)
    desk, go, said = explorer.Desk(lambda: None), threading.Event(), threading.Event()
    desk.status.observe(lambda change: "<progress>" in change["new"] and said.set(), "value")
    desk.work("long work", lambda: go.wait(60), lambda _: None)
    assert said.wait(60)
    assert "long work" in desk.status.value and not desk.button.disabled
    go.set()
    desk.wait()
    assert desk.status.value == "" and desk.button.disabled
    monkeypatch.setattr(explorer, "PATIENCE", 60)
    said.clear()
    desk.work("short work", lambda: None, lambda _: None)
    desk.wait()
    assert not said.is_set()


@pytest.mark.parametrize("name", ["hifst", "jnb", "the network"])
def test_work_in_the_library_can_be_stopped(network, name):
    image = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    desk, told, begun = explorer.Desk(lambda: told.append("stopped")), [], threading.Event()

    def compute():
        begun.set()
        return detect(image, network, 640) if name == "the network" else explorer.by_method(name, image)

    desk.work(name, compute, lambda _: told.append("done"))
    begun.wait(60)
    desk.button.click()
    assert "Stopped" in desk.status.value
    desk.wait()
    assert told == ["stopped"] and desk.problems.outputs == ()
    # What comes later is not stopped with it.
    desk.work("short", lambda: explorer.by_method("jnb", image[:64, :64]), lambda _: told.append("done"))
    desk.wait()
    assert told == ["stopped", "done"]


def test_stopping_ends_the_threads_of_a_method_too(monkeypatch):
    stop, finished = threading.Event(), []

    def strip(top, bottom):
        time.sleep(0.1)  # a strip takes a while, so that the others can be called off
        if top > 0:
            stop.set()
        hifst.to_grey(np.zeros((1, 1, 3)))
        finished.append(top)

    monkeypatch.setitem(explorer.CLASSICAL, "hifst", lambda image: hifst.in_strips(strip, len(image)))
    with pytest.raises(explorer.Stopped), explorer.stoppable(stop):
        explorer.by_method("hifst", np.zeros((640, 8)))
    assert len(finished) < 9
    assert threading.getprofile() is sys.getprofile() is None


def test_an_error_in_a_callback_can_be_seen():
    desk = explorer.Desk(lambda: None)
    desk.handler(lambda: 1 / 0)("a change")
    (output,) = desk.problems.outputs
    assert output["name"] == "stderr" and "ZeroDivisionError" in output["text"]


# ---------------------------------------------------------------------------------- with and without somebody


def front_end(monkeypatch, allow_stdin):
    message = {"content": {"allow_stdin": allow_stdin}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: message))
    monkeypatch.setattr(explorer, "get_ipython", lambda: shell)


def test_nobody_watches_a_batch_run(monkeypatch, capsys):
    made = []
    explorer.show(made.append, 1)
    front_end(monkeypatch, allow_stdin=False)
    explorer.show(made.append, 2)
    assert made == []
    assert capsys.readouterr().out.count("Nobody is at the notebook") == 2


def test_a_front_end_and_voila_are_watched(monkeypatch):
    shown = []
    monkeypatch.setattr(explorer, "display", shown.append)
    front_end(monkeypatch, allow_stdin=True)
    explorer.show(lambda box: SimpleNamespace(box=box), "in a front end")
    front_end(monkeypatch, allow_stdin=False)
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://localhost/")
    explorer.show(lambda box: SimpleNamespace(box=box), "in Voila")
    assert shown == ["in a front end", "in Voila"]


# ------------------------------------------------------------------------------------- panel one: photographs


@pytest.fixture
def classics(monkeypatch):
    """Quick stand-ins for two classics; says how often each was asked."""
    asked = []

    def stand_in(name, value):
        def method(image):
            asked.append(name)
            return np.full(image.shape[:2], value, np.float32)

        monkeypatch.setitem(explorer.CLASSICAL, name, method)

    stand_in("jnb", 0.25)
    stand_in("lbp", 0.75)
    return asked


@pytest.fixture
def panel(network, classics, runs_of):
    panel = explorer.PhotographPanel(network, SIZE, 0, OTHER)
    panel.desk.wait()
    yield panel
    panel.desk.wait()
    assert panel.desk.problems.outputs == ()


def test_a_panel_begins_with_its_photograph(panel):
    assert panel.seen.photo.name == OTHER
    assert list(pictures(panel.photo.value)) == [f"photograph {OTHER}"]
    assert f"{OTHER}, 288 x 192 pixels" in panel.photo.value
    ((_, mask),) = pictures(panel.mask.value).items()
    np.testing.assert_array_equal(mask, levels(panel.seen.photo.mask))


def test_sliders_only_draw(panel, runs_of):
    def drawn():
        return [each.value for each in (panel.maps["left"], panel.sides, panel.bars, panel.channel_picture)]

    everything = {"stage": "after1", "threshold": 0.3, "opacity": 0.2}
    everything |= {"step": 2, "group": "deep", "channel": 7}
    for name, value in everything.items():
        before = drawn()
        getattr(panel, name).value = value
        assert drawn() != before, name
    assert len(runs_of) == 1


def test_the_stage_shows_its_map_and_its_side_outputs(panel):
    for stage, step, words in (("fused", 3, "final map (Eq. 8)"), ("after2", 2, "after step 2")):
        panel.stage.value = stage
        found = pictures(panel.maps["left"].value)[f"defocus map of {OTHER} by the network, {words}"]
        np.testing.assert_array_equal(found, panel.seen.stages[stage])
        sides = pictures(panel.sides.value)
        assert list(sides) == [f"side output {i} of step {step}" for i in range(1, 7)]
        shrunk = Image.fromarray(panel.seen.sides[step - 1][3])
        shrunk.thumbnail((240, 240))
        np.testing.assert_array_equal(sides[f"side output 4 of step {step}"], shrunk)


def test_the_threshold_cuts_both_maps(panel):
    panel.opacity.value = 1
    for threshold, count in ((0.2, 1.0), (0.3, 0.0)):
        panel.threshold.value = threshold
        for side, found in (("left", panel.seen.stages["fused"]), ("right", np.full(explorer.SCENE, 64))):
            scores = explorer.scores(found, panel.seen.photo.mask, threshold)
            assert explorer.in_words(scores, threshold) in panel.maps[side].value
        tinted = pictures(panel.maps["right"].value)[f"{OTHER}, tinted by jnb"]
        share = (tinted == np.rint(255 * np.array(COLOURS[1]))).all(-1).mean()
        assert share == count


def test_a_channel_can_be_given_by_its_number(panel):
    """As a click on a bar does."""
    panel.number.value = 70
    assert panel.channel.value == 70 and "channel 70 from conv3_3" in panel.channel_picture.value
    panel.channel.value = 3
    assert panel.number.value == 3
    panel.number.value = 1000
    assert panel.number.value == panel.channel.value == 96


def test_attention_follows_step_group_channel_and_photograph(panel):
    panel.step.value, panel.group.value, panel.channel.value = 2, "deep", 40
    weights = panel.seen.channels[2, "deep"].weights
    assert explorer.bars(weights, "deep", 39) in panel.bars.value
    assert f"channel 40 from conv5_3, weight {weights[39]:.2f}" in panel.channel_picture.value
    panel.photograph.value = FIRST
    panel.desk.wait()
    after = panel.seen.channels[2, "deep"].weights
    assert explorer.bars(after, "deep", 39, weights) in panel.bars.value
    assert f"{OTHER}, looked at before" in panel.bars.value


def test_network_and_classics_work_once_a_photograph(panel, classics, runs_of):
    for name in (FIRST, OTHER, FIRST):
        panel.photograph.value = name
        panel.desk.wait()
        assert panel.seen.photo.name == name
    assert len(runs_of) == 2 and classics == ["jnb", "jnb"]
    panel.left.value = "lbp"
    panel.desk.wait()
    panel.right.value = "the network"
    panel.right.value = "lbp"
    panel.desk.wait()
    assert classics == ["jnb", "jnb", "lbp"]
    for side in panel.maps.values():
        assert (pictures(side.value)[f"defocus map of {FIRST} by lbp"] == 191).all()


def test_a_stop_puts_the_controls_back(panel):
    panel.left.value = "hifst"
    panel.desk.button.click()
    panel.desk.wait()
    assert panel.left.value == "the network" and panel.right.value == "jnb"
    assert (OTHER, "hifst") not in panel._maps
    assert "Stopped" in panel.desk.status.value
    panel.photograph.value = FIRST
    panel.desk.button.click()
    panel.desk.wait()
    assert panel.photograph.value == panel.seen.photo.name == OTHER


@pytest.fixture
def slow(panel):
    """Choosing `FIRST` takes until this event is set."""
    go, read = threading.Event(), panel.photographs[FIRST]
    panel.photographs[FIRST] = lambda: go.wait(60) and read()
    panel.photograph.value = FIRST
    return go


def test_going_back_while_the_network_looks_drops_the_look(panel, slow):
    panel.left.value = "lbp"  # waits for the photograph that was chosen
    panel.photograph.value = OTHER
    slow.set()
    panel.desk.wait()
    assert panel.seen.photo.name == OTHER and "by lbp" in panel.maps["left"].value


def test_a_method_chosen_while_the_network_looks_waits_for_the_photograph(panel, slow):
    panel.left.value = "lbp"
    slow.set()
    panel.desk.wait()
    assert panel.seen.photo.name == FIRST
    assert f"defocus map of {FIRST} by lbp" in panel.maps["left"].value


def file(name, content):
    """A file as the upload widget gives it."""
    facts = {"name": name, "type": "", "size": len(content), "last_modified": datetime(2020, 1, 1)}
    return facts | {"content": memoryview(content)}


def test_an_upload_is_looked_at(panel, photo, runs_of, classics):
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.desk.wait()
    assert panel.photograph.value == panel.seen.photo.name == explorer.OWN
    np.testing.assert_array_equal(panel.seen.photo.image, photo.image)
    assert "No mask" in panel.mask.value
    panel.upload.value = (file("other.png", png(255 - photo.image)),)
    panel.desk.wait()
    np.testing.assert_array_equal(panel.seen.photo.image, 255 - photo.image)
    assert len(runs_of) == 3 and classics == ["jnb"] * 3


def test_the_same_file_can_be_uploaded_again(panel, photo, runs_of):
    """The widget tells only of values that differ, so it must not keep the last one."""
    for _ in range(2):
        panel.upload.value = (file("me.png", png(photo.image)),)
        panel.desk.wait()
        assert panel.seen.photo.name == explorer.OWN and panel.upload.value == ()
        panel.photograph.value = OTHER
        panel.desk.wait()
    assert len(runs_of) == 3
    panel.photograph.value = explorer.OWN
    panel.desk.wait()
    np.testing.assert_array_equal(panel.seen.photo.image, photo.image)
    assert len(runs_of) == 3


def test_of_two_quick_uploads_the_last_one_counts(panel, photo, classics):
    classics.clear()
    for pixels in (photo.image, 255 - photo.image, photo.image[:20]):
        panel.upload.value = (file("me.png", png(pixels)),)
    panel.desk.wait()
    np.testing.assert_array_equal(panel.seen.photo.image, photo.image[:20])
    assert panel.maps["right"].value.count("by jnb") == 2 and classics == ["jnb"]


@pytest.fixture
def slow_upload(monkeypatch):
    """An upload named slow.png is read only when this event is set."""
    go, read = threading.Event(), explorer.uploaded

    def uploaded(name, content):
        if name == "slow.png":
            go.wait(60)
        return read(name, content)

    monkeypatch.setattr(explorer, "uploaded", uploaded)
    return go


def test_a_method_chosen_during_an_upload_waits_for_it(panel, photo, slow_upload):
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.desk.wait()
    panel.upload.value = (file("slow.png", png(255 - photo.image)),)
    panel.left.value = "lbp"
    slow_upload.set()
    panel.desk.wait()
    np.testing.assert_array_equal(panel.seen.photo.image, 255 - photo.image)
    assert "defocus map of your own (upload it) by lbp" in panel.maps["left"].value


def test_a_stopped_upload_leaves_the_one_before(panel, photo, slow_upload, monkeypatch):
    """With its maps: a method that is chosen later works on what is shown, and so does the network."""
    monkeypatch.setitem(explorer.CLASSICAL, "lbp", lambda image: image[..., 0] / 255)
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.desk.wait()
    panel.upload.value = (file("slow.png", png(photo.image[:20])),)
    panel.desk.button.click()
    slow_upload.set()
    panel.desk.wait()
    panel.left.value = "lbp"
    panel.desk.wait()
    for name in (OTHER, explorer.OWN):
        panel.photograph.value = name
        panel.desk.wait()
    np.testing.assert_array_equal(panel.seen.photo.image, photo.image)
    (found,) = [v for k, v in pictures(panel.maps["left"].value).items() if k.startswith("defocus map")]
    np.testing.assert_array_equal(found, photo.image[..., 0])


@pytest.mark.parametrize("content", [b"no picture", b"", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_broken_upload_changes_nothing_but_the_sentence(panel, content):
    panel.photograph.value = explorer.OWN
    assert "upload one first" in panel.desk.status.value
    panel.photograph.value = OTHER
    panel.upload.value = (file("<broken>.jpg", content),)
    panel.desk.wait()
    assert "&lt;broken&gt;.jpg cannot be read as a picture" in panel.refusal.value
    assert panel.photograph.value == panel.seen.photo.name == OTHER and panel.right.value == "jnb"
    panel.photograph.value = FIRST
    assert panel.refusal.value == ""


def test_a_broken_upload_does_not_end_other_work(panel, slow):
    """The network looks at a photograph, or a method works: both begin again."""
    panel.upload.value = (file("broken.jpg", b"no picture"),)
    slow.set()
    panel.desk.wait()
    assert panel.seen.photo.name == FIRST and "by jnb" in panel.maps["right"].value
    panel.left.value = "lbp"
    panel.upload.value = (file("broken.jpg", b"no picture"),)
    panel.desk.wait()
    assert "by lbp" in panel.maps["left"].value and "broken.jpg" in panel.refusal.value
    assert panel.before.photo.name == OTHER


def test_a_path_is_looked_at(panel, photo, tmp_path):
    (tmp_path / "me.png").write_bytes(png(photo.image))
    for _ in range(2):
        panel.path.value = f"{tmp_path}/me.png"
        panel.desk.wait()
        assert panel.photograph.value == panel.seen.photo.name == explorer.OWN
        np.testing.assert_array_equal(panel.seen.photo.image, photo.image)
        assert panel.path.value == "" and panel.refusal.value == ""
        panel.photograph.value = OTHER


def test_a_wrong_path_stays_to_be_mended(panel, photo, tmp_path):
    for typed, words in ((f"{tmp_path}/me.png", "there is no file"), (str(tmp_path), "is a folder")):
        panel.path.value = typed
        panel.desk.wait()
        assert words in panel.refusal.value and panel.path.value == typed
        assert panel.photograph.value == panel.seen.photo.name == OTHER
    (tmp_path / "me.png").write_bytes(png(photo.image))
    panel.path.value = f"{tmp_path}/me.png"
    panel.desk.wait()
    assert panel.refusal.value == "" and panel.seen.photo.name == explorer.OWN
    panel.path.value = "   "
    assert panel.desk.busy == ""


# ------------------------------------------------------------------------------------------ limits of servers


def test_the_panel_says_how_large_an_upload_may_be(network, classics, monkeypatch):
    for told, words in ((None, "up to about 9 MB"), ("", "up to about 9 MB"), ("64 MB", "up to 64 MB")):
        monkeypatch.delenv("DEFUSION_UPLOAD", raising=False)
        if told is not None:
            monkeypatch.setenv("DEFUSION_UPLOAD", told)
        panel = explorer.PhotographPanel(network, SIZE, 0, OTHER)
        assert panel.limit.value.startswith(words) and "by its path" in panel.limit.value
        assert panel.upload.description == "upload a photograph"
        panel.desk.wait()


@pytest.mark.parametrize("target, option", [("lab", "ServerApp"), ("explorer", "Voila")])
def test_a_server_of_the_makefile_lets_through_what_it_says(target, option):
    command = ["make", "-n", "--no-print-directory", target]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(asked.stdout.splitlines()[-1])
    (said,) = [word for word in words if word.startswith("DEFUSION_UPLOAD=")]
    (given,) = [word for word in words if word.startswith(f"--{option}.tornado_settings=")]
    limit = ast.literal_eval(given.split("=", 1)[1])["websocket_max_message_size"]
    megabytes = int(re.fullmatch("DEFUSION_UPLOAD=([0-9]+) MB", said)[1])
    # Programs mean 1000 or 1024 kilobytes; some kilobytes more are the rest of the message.
    assert 64 <= megabytes and megabytes * 2**20 + 2**16 < limit


# ---------------------------------------------------------------------------------------- panel two: a camera


@pytest.fixture
def camera(network):
    panel = explorer.CameraPanel(network, SIZE, 0, "same-class")
    panel.desk.wait()
    yield panel
    panel.desk.wait()
    assert panel.desk.problems.outputs == ()


def shown(panel):
    found = pictures(panel.pictures.value)
    return [found[alt] for alt in ("rendered photograph", "true blur radius", "detected defocus map")]


def test_a_camera_begins_as_its_scene_was_taken(camera, network):
    for name in ("same-class", "low-contrast-clutter"):
        camera.scene.value = name
        camera.desk.wait()
        scene, own = make_scene(name, 0, explorer.SCENE, 0)
        assert camera.focus.value == own.focus_distance and camera.aperture.value == own.aperture
        rendering = render(scene, own, 0)
        image, radius, found = shown(camera)
        np.testing.assert_array_equal(image, rendering.image)
        assert far_apart(radius, levels(rendering.radius / explorer.WHITE_RADIUS)) <= 1
        assert far_apart(found, levels(detect(rendering.image, network, SIZE))) <= 1


def test_every_ring_turns_all_pictures(camera):
    before = shown(camera)
    for ring, value in (("focus", 2.0), ("aperture", 20.0), ("depth", 1.5), ("noise", 0.15)):
        getattr(camera, ring).value = value
        camera.desk.wait()
        now = shown(camera)
        changed = [not np.array_equal(*pair) for pair in zip(before, now)]
        assert changed == [True, ring != "noise", True], ring
        before = now
    assert "focused at 2.00 m, aperture 20 mm" in camera.pictures.value
    rendering = camera.shot.rendering
    scene = explorer.stretched(make_scene("same-class", 0, explorer.SCENE, 0)[0], 1.5)
    again = render(scene, Camera(2.0, 20.0, shot_noise=0.15, read_noise=0.03), 0)
    np.testing.assert_array_equal(rendering.image, again.image)


def test_a_pinhole_sees_no_blur(camera):
    camera.aperture.value = 0
    camera.desk.wait()
    assert not shown(camera)[1].any()
    assert "one class only" in camera.pictures.value
    assert "0% of the pixels are blurred" in camera.pictures.value


def test_a_ring_turned_before_the_scene_is_built_builds_it(camera):
    camera.scene.value = "low-contrast-clutter"
    camera.desk.button.click()
    camera.desk.wait()
    camera._scenes.pop("low-contrast-clutter", None)
    camera.aperture.value = 3
    camera.desk.wait()
    own = make_scene("low-contrast-clutter", 0, explorer.SCENE, 0)[1]
    assert camera.aperture.value == own.aperture
    assert f"aperture {own.aperture:.0f} mm" in camera.pictures.value
