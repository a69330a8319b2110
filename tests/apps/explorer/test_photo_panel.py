"""The panel of photos, without a browser; the browser's part is in tests/browser/check_explorer.py."""

import threading
from datetime import datetime

import numpy as np
import pytest
from explorer_reading import FIRST, OTHER, SIZE, levels, pictures, png
from PIL import Image

from defusion_lib.apps.explorer import analysis, markup, panels
from defusion_lib.baselines.classical import hifst
from defusion_lib.plots import COLOURS


@pytest.fixture
def panel(network, classics, runs_of):
    panel = panels.PhotoPanel(network, SIZE, 0, OTHER)
    panel.wait()
    yield panel
    panel.wait()
    assert panel.callbacks.problems.outputs == ()


def test_a_panel_begins_with_its_photo(panel):
    assert panel.analysis.photo.name == OTHER
    assert list(pictures(panel.image.value)) == [f"photo {OTHER}"]
    assert f"{OTHER}, 288 x 192 pixels" in panel.image.value
    ((_, mask),) = pictures(panel.mask.value).items()
    np.testing.assert_array_equal(mask, levels(panel.analysis.photo.mask))


def test_a_panel_opens_on_a_channel_that_shows_something(panel):
    def shown():
        return panel.analysis.channels[panel.step.value, panel.group.value].levels[panel.channel.value - 1]

    assert panel.channel.value - 1 == panel.analysis.channels[1, "shallow"].most_varied()
    assert shown().any() and "zero everywhere" not in panel.channel_picture.value
    panel.group.value = "deep"
    assert panel.channel.value - 1 == panel.analysis.channels[1, "deep"].most_varied()
    assert shown().any()


@pytest.mark.slow
def test_the_chosen_channel_stays_when_photo_or_step_change(panel):
    panel.channel.value = 5
    panel.step.value = 2
    for name in (FIRST, OTHER, FIRST):
        panel.photo.value = name
        panel.wait()
    assert panel.channel.value == panel.number.value == 5


def test_choosing_the_shown_photo_again_keeps_the_channel(panel, slow):
    panel.channel.value = 5
    panel.photo.value = OTHER
    slow.set()
    panel.wait()
    assert panel.channel.value == 5


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
        np.testing.assert_array_equal(found, panel.analysis.stages[stage])
        sides = pictures(panel.sides.value)
        assert list(sides) == [f"side output {i} of step {step}" for i in range(1, 7)]
        shrunk = Image.fromarray(panel.analysis.sides[step - 1][3])
        shrunk.thumbnail((2 * panels.SMALL, 4 * panels.SMALL))
        np.testing.assert_array_equal(sides[f"side output 4 of step {step}"], shrunk)


def test_the_threshold_cuts_both_maps(panel):
    panel.opacity.value = 1
    for threshold, count in ((0.2, 1.0), (0.3, 0.0)):
        panel.threshold.value = threshold
        for side, found in (("left", panel.analysis.stages["fused"]), ("right", np.full(analysis.SCENE_SHAPE, 64))):
            scores = analysis.score_map(found, panel.analysis.photo.mask, threshold)
            assert markup.describe_scores(scores, threshold) in panel.maps[side].value
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


def test_attention_follows_step_group_channel_and_photo(panel):
    panel.step.value, panel.group.value, panel.channel.value = 2, "deep", 40
    weights = panel.analysis.channels[2, "deep"].weights
    assert markup.draw_weight_bars(weights, "deep", 39) in panel.bars.value
    assert f"channel 40 from conv5_3, weight {weights[39]:.2f}" in panel.channel_picture.value
    panel.photo.value = FIRST
    panel.wait()
    after = panel.analysis.channels[2, "deep"].weights
    assert markup.draw_weight_bars(after, "deep", 39, weights) in panel.bars.value
    assert f"{OTHER}, shown before" in panel.bars.value


@pytest.mark.slow
def test_network_and_baselines_run_once_per_photo(panel, classics, runs_of):
    for name in (FIRST, OTHER, FIRST):
        panel.photo.value = name
        panel.wait()
        assert panel.analysis.photo.name == name
    assert len(runs_of) == 2 and classics == ["jnb", "jnb"]
    panel.left.value = "lbp"
    panel.wait()
    panel.right.value = "the network"
    panel.right.value = "lbp"
    panel.wait()
    assert classics == ["jnb", "jnb", "lbp"]
    for side in panel.maps.values():
        assert (pictures(side.value)[f"defocus map of {FIRST} by lbp"] == 191).all()


@pytest.mark.slow
def test_a_stop_ends_the_method(panel, monkeypatch):
    """HiFST is stopped while its strips are transformed: no later step runs."""
    begun, go_on, later = threading.Event(), threading.Event(), []
    transform = hifst.sorted_coefficients

    def wait_and_transform(*arguments, **options):
        begun.set()
        assert go_on.wait(60)
        transform(*arguments, **options)
        later.append("transformed")

    monkeypatch.setattr(hifst, "sorted_coefficients", wait_and_transform)
    monkeypatch.setattr(hifst, "domain_transform", lambda *_, **__: later.append("smoothed"))
    panel.left.value = "hifst"
    assert begun.wait(60)
    panel.comparing.stop_button.click()
    go_on.set()
    panel.wait()
    assert later == [] and panel.callbacks.problems.outputs == ()
    assert panel.left.value == "the network" and "Stopped" in panel.comparing.status.value


@pytest.mark.slow
def test_a_stop_puts_the_controls_back(panel):
    panel.left.value = "hifst"
    panel.comparing.stop_button.click()
    panel.wait()
    assert panel.left.value == "the network" and panel.right.value == "jnb"
    assert (OTHER, "hifst") not in panel._maps
    assert "Stopped" in panel.comparing.status.value
    panel.photo.value = FIRST
    panel.analysing.stop_button.click()
    panel.wait()
    assert panel.photo.value == panel.analysis.photo.name == OTHER


@pytest.fixture
def slow(panel):
    """Choosing `FIRST` takes until this event is set."""
    go, read = threading.Event(), panel.photos[FIRST]
    panel.photos[FIRST] = lambda: go.wait(60) and read()
    panel.photo.value = FIRST
    return go


def test_going_back_while_the_network_runs_drops_its_result(panel, slow):
    panel.left.value = "lbp"
    panel.photo.value = OTHER
    slow.set()
    panel.wait()
    assert panel.analysis.photo.name == OTHER and "by lbp" in panel.maps["left"].value


def test_a_baseline_chosen_while_the_network_runs_maps_the_new_photo_too(panel, slow):
    panel.left.value = "lbp"
    slow.set()
    panel.wait()
    assert panel.analysis.photo.name == FIRST
    assert f"defocus map of {FIRST} by lbp" in panel.maps["left"].value


def file(name, content):
    """A file as the upload widget gives it."""
    facts = {"name": name, "type": "", "size": len(content), "last_modified": datetime(2020, 1, 1)}
    return facts | {"content": memoryview(content)}


def test_an_upload_is_analysed(panel, photo, runs_of, classics):
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.wait()
    assert panel.photo.value == panel.analysis.photo.name == panels.OWN
    np.testing.assert_array_equal(panel.analysis.photo.image, photo.image)
    assert "No mask" in panel.mask.value
    panel.upload.value = (file("other.png", png(255 - photo.image)),)
    panel.wait()
    np.testing.assert_array_equal(panel.analysis.photo.image, 255 - photo.image)
    assert len(runs_of) == 3 and classics == ["jnb"] * 3


def test_the_same_file_can_be_uploaded_again(panel, photo, runs_of):
    """The widget tells only of values that differ, so it must not keep the last one."""
    for _ in range(2):
        panel.upload.value = (file("me.png", png(photo.image)),)
        panel.wait()
        assert panel.analysis.photo.name == panels.OWN and panel.upload.value == ()
        panel.photo.value = OTHER
        panel.wait()
    assert len(runs_of) == 3
    panel.photo.value = panels.OWN
    panel.wait()
    np.testing.assert_array_equal(panel.analysis.photo.image, photo.image)
    assert len(runs_of) == 3


def test_of_two_quick_uploads_the_last_one_counts(panel, photo, classics):
    classics.clear()
    for pixels in (photo.image, 255 - photo.image, photo.image[:20]):
        panel.upload.value = (file("me.png", png(pixels)),)
    panel.wait()
    np.testing.assert_array_equal(panel.analysis.photo.image, photo.image[:20])
    assert panel.maps["right"].value.count("by jnb") == 2 and classics == ["jnb"]


@pytest.fixture
def slow_upload(monkeypatch):
    """An upload named slow.png is read only when this event is set."""
    go, read = threading.Event(), panels.read_upload

    def read_slowly(name, content):
        if name == "slow.png":
            go.wait(60)
        return read(name, content)

    monkeypatch.setattr(panels, "read_upload", read_slowly)
    return go


def test_a_baseline_chosen_during_an_upload_maps_it(panel, photo, slow_upload):
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.wait()
    panel.upload.value = (file("slow.png", png(255 - photo.image)),)
    panel.left.value = "lbp"
    slow_upload.set()
    panel.wait()
    np.testing.assert_array_equal(panel.analysis.photo.image, 255 - photo.image)
    assert "defocus map of your own photo by lbp" in panel.maps["left"].value


def test_a_map_of_the_upload_before_never_appears(panel, photo, monkeypatch):
    """Both photos have the same name, so only the order of the uploads tells their maps apart."""
    begun, go = threading.Event(), threading.Event()

    def slow(image):
        if len(image) == len(photo.image):
            begun.set()
            go.wait(60)
        return image[..., 0] / 255

    monkeypatch.setitem(panels.CLASSICAL, "lbp", slow)
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.wait()
    panel.left.value = "lbp"
    assert begun.wait(60)
    panel.upload.value = (file("me.png", png(photo.image[:20])),)
    panel.analysing.wait()
    go.set()
    panel.wait()
    (found,) = [v for k, v in pictures(panel.maps["left"].value).items() if k.startswith("defocus map")]
    np.testing.assert_array_equal(found, photo.image[:20, :, 0])


def test_a_stopped_upload_leaves_the_one_before(panel, photo, slow_upload, monkeypatch):
    """With its maps: a method that is chosen later works on what is shown, and so does the network."""
    monkeypatch.setitem(panels.CLASSICAL, "lbp", lambda image: image[..., 0] / 255)
    panel.upload.value = (file("me.png", png(photo.image)),)
    panel.wait()
    panel.upload.value = (file("slow.png", png(photo.image[:20])),)
    panel.analysing.stop_button.click()
    slow_upload.set()
    panel.wait()
    panel.left.value = "lbp"
    panel.wait()
    for name in (OTHER, panels.OWN):
        panel.photo.value = name
        panel.wait()
    np.testing.assert_array_equal(panel.analysis.photo.image, photo.image)
    (found,) = [v for k, v in pictures(panel.maps["left"].value).items() if k.startswith("defocus map")]
    np.testing.assert_array_equal(found, photo.image[..., 0])


@pytest.mark.parametrize("content", [b"no picture", b"", png(np.zeros((50, 50), np.uint8))[:60]])
def test_a_broken_upload_changes_nothing_but_the_sentence(panel, content):
    panel.photo.value = panels.OWN
    assert "upload one first" in panel.analysing.status.value
    panel.photo.value = OTHER
    panel.upload.value = (file("<broken>.jpg", content),)
    panel.wait()
    assert "&lt;broken&gt;.jpg cannot be read as a picture" in panel.refusal.value
    assert panel.photo.value == panel.analysis.photo.name == OTHER and panel.right.value == "jnb"
    panel.photo.value = FIRST
    assert panel.refusal.value == ""


@pytest.mark.slow
def test_a_broken_upload_does_not_end_other_work(panel, slow):
    """The network's run begins again, a baseline goes on."""
    panel.upload.value = (file("broken.jpg", b"no picture"),)
    slow.set()
    panel.wait()
    assert panel.analysis.photo.name == FIRST and "by jnb" in panel.maps["right"].value
    panel.left.value = "lbp"
    panel.upload.value = (file("broken.jpg", b"no picture"),)
    panel.wait()
    assert "by lbp" in panel.maps["left"].value and "broken.jpg" in panel.refusal.value
    assert panel.before.photo.name == OTHER


def test_a_path_is_analysed(panel, photo, tmp_path):
    (tmp_path / "me.png").write_bytes(png(photo.image))
    for _ in range(2):
        panel.path.value = f"{tmp_path}/me.png"
        panel.wait()
        assert panel.photo.value == panel.analysis.photo.name == panels.OWN
        np.testing.assert_array_equal(panel.analysis.photo.image, photo.image)
        assert panel.path.value == "" and panel.refusal.value == ""
        panel.photo.value = OTHER


def test_a_wrong_path_stays_to_be_mended(panel, photo, tmp_path):
    for typed, words in ((f"{tmp_path}/me.png", "There is no file"), (str(tmp_path), "is a folder")):
        panel.path.value = typed
        panel.wait()
        assert words in panel.refusal.value and panel.path.value == typed
        assert panel.photo.value == panel.analysis.photo.name == OTHER
    (tmp_path / "me.png").write_bytes(png(photo.image))
    panel.path.value = f"{tmp_path}/me.png"
    panel.wait()
    assert panel.refusal.value == "" and panel.analysis.photo.name == panels.OWN
    panel.path.value = "   "
    assert panel.analysing.busy == ""


@pytest.mark.slow
def test_the_panel_says_how_large_an_upload_may_be(network, classics, monkeypatch):
    for told, words in ((None, "up to about 9 MB"), ("", "up to about 9 MB"), ("64 MB", "up to 64 MB")):
        monkeypatch.delenv("DEFUSION_UPLOAD", raising=False)
        if told is not None:
            monkeypatch.setenv("DEFUSION_UPLOAD", told)
        panel = panels.PhotoPanel(network, SIZE, 0, OTHER)
        assert panel.limit.value.startswith(words) and "by its path" in panel.limit.value
        assert panel.upload.description == "upload a photo"
        panel.wait()
