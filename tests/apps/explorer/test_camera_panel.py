"""The panel of the camera, without a browser; the browser's part is in tests/browser/check_explorer.py."""

import numpy as np
import pytest
from explorer_reading import SIZE, far_apart, levels, pictures

from defusion_lib.apps.explorer import analysis, panels
from defusion_lib.data.camera import Camera, render
from defusion_lib.data.synthetic import make_scene
from defusion_lib.inference import detect


@pytest.fixture
def camera(network):
    panel = panels.CameraPanel(network, SIZE, 0, "same-class")
    panel.wait()
    yield panel
    panel.wait()
    assert panel.callbacks.problems.outputs == ()


def shown(panel):
    found = pictures(panel.pictures.value)
    return [found[alt] for alt in ("rendered image", "true blur radius", "predicted defocus map")]


@pytest.mark.slow
def test_a_camera_begins_as_its_scene_was_taken(camera, network):
    for name in ("same-class", "low-contrast-clutter"):
        camera.scene.value = name
        camera.wait()
        scene, own = make_scene(name, 0, analysis.SCENE_SHAPE, 0)
        assert camera.focus.value == own.focus_distance and camera.aperture.value == own.aperture
        rendering = render(scene, own, 0)
        image, radius, found = shown(camera)
        np.testing.assert_array_equal(image, rendering.image)
        assert far_apart(radius, levels(rendering.radius / analysis.WHITE_RADIUS)) <= 1
        assert far_apart(found, levels(detect(rendering.image, network, SIZE))) <= 1


@pytest.mark.slow
def test_every_slider_changes_the_pictures(camera):
    before = shown(camera)
    for slider, value in (("focus", 2.0), ("aperture", 20.0), ("depth", 1.5), ("noise", 0.15)):
        getattr(camera, slider).value = value
        camera.wait()
        now = shown(camera)
        changed = [not np.array_equal(*pair) for pair in zip(before, now)]
        assert changed == [True, slider != "noise", True], slider
        before = now
    assert "focused at 2.00 m, aperture 20 mm" in camera.pictures.value
    rendering = camera.capture.rendering
    scene = analysis.stretch_depth(make_scene("same-class", 0, analysis.SCENE_SHAPE, 0)[0], 1.5)
    again = render(scene, Camera(2.0, 20.0, shot_noise=0.15, read_noise=0.03), 0)
    np.testing.assert_array_equal(rendering.image, again.image)


def test_a_pinhole_sees_no_blur(camera):
    camera.aperture.value = 0
    camera.wait()
    assert not shown(camera)[1].any()
    assert "one class only" in camera.pictures.value
    assert "0% of the pixels are blurred" in camera.pictures.value


@pytest.mark.parametrize("known", [False, True])
def test_a_slider_moved_before_a_scene_was_opened_opens_it_with_its_own_camera(camera, known):
    if known:
        for name in ("low-contrast-clutter", "same-class"):
            camera.scene.value = name
            camera.wait()
    with camera.callbacks._lock:  # nothing is opened before the click
        camera.scene.value = "low-contrast-clutter"
        camera.rendering.stop_button.click()
    camera.wait()
    own = make_scene("low-contrast-clutter", 0, analysis.SCENE_SHAPE, 0)[1]
    assert camera.aperture.value != own.aperture
    camera.aperture.value = 3
    camera.wait()
    assert camera.aperture.value == own.aperture
    assert f"aperture {own.aperture:.0f} mm" in camera.pictures.value
