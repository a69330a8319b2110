"""The synthetic set keeps what it promises."""

import importlib.metadata
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_camera import QUIET, camera_for, plain

from defusion_lib.data import bundled
from defusion_lib.data.camera import Camera, Layer, Scene, blur, render, slice_depth, to_linear
from defusion_lib.data.synthetic import CHALLENGES, garage_scene, make_scene, open_synthetic
from defusion_lib.data.synthetic.sources import SOURCES, random_crop


@pytest.mark.slow
def test_same_seed_same_bits_other_seed_other_pictures():
    first, again, other = (open_synthetic(10, (64, 64), seed) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other):
        assert a.image.tobytes() == b.image.tobytes() and a.mask.tobytes() == b.mask.tobytes()
        # The masks know nothing of the noise, so it is the scenes that differ.
        assert not np.array_equal(a.mask, c.mask)
    assert len({photo.image.tobytes() for photo in first}) == 10
    # A photograph does not depend on which others are asked for.
    alone = open_synthetic(2, (64, 64), 0, challenges=["same-class"])[1]
    assert alone.name == first[8].name == "same-class-001"
    assert np.array_equal(alone.image, first[8].image)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(48, 48), (48, 96), (384, 192), (384, 384)])
def test_smallest_and_largest_sizes(size):
    for photo in open_synthetic(5, size, seed=3):
        assert photo.image.shape == (*size, 3) and 0.15 <= photo.mask.mean() <= 0.9


@pytest.mark.slow
def test_names_shapes_and_shares():
    photos = open_synthetic(60, (64, 72))
    assert photos.name == "synthetic"
    assert photos.stems[:6] == [f"{challenge}-000" for challenge in CHALLENGES] + ["foreground-in-focus-001"]
    shares = []
    for photo in photos:
        assert photo.image.shape == (64, 72, 3) and photo.mask.shape == (64, 72)
        shares.append(photo.mask.mean())
    assert 0.15 <= min(shares) < 0.4 and 0.75 < max(shares) <= 0.9


def radii(scene, camera):
    return np.array([camera.blur_radius(layer.distance, scene.shape[1]) for layer in scene.layers])


@pytest.mark.slow
def test_foreground_or_background_in_focus():
    for index in range(8):
        scene, camera = make_scene("foreground-in-focus", index)
        blur, distances = radii(scene, camera), np.array(scene.distances)
        assert blur[distances.argmax()] > 1 and camera.focus_distance < 0.7 * distances.max()
        scene, camera = make_scene("background-in-focus", index)
        blur, distances = radii(scene, camera), np.array(scene.distances)
        assert blur[distances.argmax()] <= 1 < blur[distances.argmin()]


@pytest.mark.slow
def test_pairs_show_one_scene_with_the_focus_swapped():
    for pair in range(4):
        (scene, front), (same, back) = (make_scene("focus-swapped-pair", 2 * pair + k) for k in (0, 1))
        for a, b in zip(scene.layers, same.layers, strict=True):
            assert np.array_equal(a.colour, b.colour) and np.array_equal(a.matte, b.matte)
        assert front.focus_distance < back.focus_distance
        blur = np.stack([radii(scene, front), radii(same, back)])
        # No layer is in focus in both. (A pixel can be: a thin wire gives way to what is behind as it blurs.)
        assert blur.max(0).min() > 1 and (blur.min(1) <= 1).all()
        masks = [render(scene, front).mask, render(same, back).mask]
        assert (masks[0] != masks[1]).sum() > (masks[0] + masks[1] == 0).sum()


@pytest.mark.slow
def test_same_class_has_one_kind_in_and_out_of_focus():
    for index in range(8):
        scene, camera = make_scene("same-class", index)
        things = [layer for layer in scene.layers if layer.kind != "backdrop"]
        blur = radii(Scene(tuple(things)), camera)
        assert len({layer.kind for layer in things}) == 1 and len(things) > 2
        assert (blur <= 1).any() and (blur > 1).any()


def test_low_contrast_in_focus_before_clutter():
    for index in range(8):
        scene, camera = make_scene("low-contrast-clutter", index)
        blur = radii(scene, camera)
        sharp = [layer for layer, radius in zip(scene.layers, blur) if radius <= 1]
        assert [layer.kind for layer in sharp] == ["low-contrast"]
        assert len(set(blur[blur > 1])) >= 5

        grey = sharp[0].colour.mean(2)[sharp[0].matte > 0.9]
        everything = render(scene, replace(camera, aperture=0.0, **QUIET)).image
        everything = to_linear(everything).mean(2)
        # RMS contrast; the limit of 0.15 holds before the white balance and with the matte's soft border.
        assert grey.std() / grey.mean() < 0.16
        assert everything.std() / everything.mean() > 2 * grey.std() / grey.mean()


def test_garage_is_the_stereo_pair_with_its_depth():
    scene = garage_scene((100, 148))
    assert len(scene.layers) > 16
    # Disparities of 7.2 to 59.9 px make 5.02 m to 2.11 m by hand, shown at a third of the size; a slice of 24
    # stands at most its own depth from the end.
    thick = (3 / 2.11 - 3 / 5.02) / 24
    assert 3 / 2.11 >= 1 / min(scene.distances) >= 3 / 2.11 - 1.05 * thick
    assert 3 / 5.02 <= 1 / max(scene.distances) <= 3 / 5.02 + 1.05 * thick
    render_front = render(scene, Camera(0.75, 60.0, **QUIET))
    # The engine in the middle is near, the shelf at the top right is far.
    assert render_front.radius[60, 70] < render_front.radius[10, 120]


def test_sources_are_sharp():
    # A picture that was already blurred by a disc of 1.5 px loses little more detail to one of 1 px.
    rng = np.random.default_rng(0)

    def detail(picture):
        return np.abs(np.diff(picture[..., 1], n=2)).mean()

    def loss(picture):
        blurred = render(
            Scene((replace(plain(0, 5.0, picture.shape[:2]), colour=picture),)),
            camera_for(1.0, 5.0, picture.shape[1]),
        ).image
        return detail(picture) / detail(to_linear(blurred))

    for name in SOURCES:
        picture = random_crop(rng, rng, name, (96, 96))
        already = blur(np.dstack([picture, np.ones((96, 96), np.float32)]), 1.5)[..., :3]
        assert loss(picture) > 1.3 * loss(already), (name, loss(picture), loss(already))


@pytest.mark.slow
def test_photographs_come_from_the_wheels_and_nothing_from_a_network():
    distributions = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
    shipped = {
        package: {str(file) for file in importlib.metadata.files(distributions[package])} for package in distributions
    }
    used = {photo for photo, _ in SOURCES.values()}
    assert used <= set(bundled.EMBEDDED)
    for name in used:
        package = name.partition("-")[0]
        assert f"{package}/{bundled.FOLDERS[package]}/{bundled.EMBEDDED[name][0]}" in shipped[package]
    code = """if True:
        import sys
        def stop(event, arguments):
            if event.startswith(("socket.", "urllib.", "ftplib.", "subprocess.")):
                raise SystemExit(f"network touched: {event}")
        sys.addaudithook(stop)
        from defusion_lib.data.synthetic import garage_scene, open_synthetic, sources
        for photo in open_synthetic(10, (64, 64)): pass
        garage_scene((64, 64))
        for name in sources.SOURCES: sources.read_source(name)
        assert "sklearn" not in sys.modules and "skimage" not in sys.modules
        print("done")
    """
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.parametrize(
    "action, words",
    [
        (lambda: Camera(2.0, aperture=-1.0), ["aperture is -1.0"]),
        (lambda: Camera(2.0, shot_noise=math.nan), ["shot_noise is nan"]),
        (lambda: Camera(2.0, sensor_width=0), ["sensor_width is 0"]),
        (lambda: Camera(0.05), ["focus_distance is 0.05 m", "85.0 mm"]),
        (lambda: Layer(np.zeros((4, 4, 3)), np.zeros((4, 5)), 1.0, "leaf"), ["leaf", "(4, 4, 3)", "(4, 5)"]),
        (lambda: plain(0.5, 0.0), ["distance is 0.0 m"]),
        (lambda: Scene(()), ["layers of 0 sizes"]),
        (lambda: Scene((plain(0.5, 1.0), plain(0.5, 1.0, (5, 5)))), ["layers of 2 sizes"]),
        (lambda: Scene((plain(0.5, 1.0),)).at([1.0, 2.0]), ["2 distances", "expected 1"]),
        (lambda: slice_depth(np.zeros((4, 4, 3)), np.zeros((4, 4)), 20), ["positive distance"]),
        (lambda: open_synthetic(0), ["count is 0"]),
        (lambda: open_synthetic(2, size=(0, 64)), ["size is (0, 64)", "48 to 384"]),
        (lambda: open_synthetic(2, size=(64, 500)), ["size is (64, 500)", "48 to 384"]),
        (lambda: open_synthetic(2, size=(64, 200)), ["size is (64, 200)", "twice"]),
        (lambda: open_synthetic(2, challenges=["fog"]), ["fog", *CHALLENGES]),
        (lambda: open_synthetic(2, challenges=[]), [*CHALLENGES]),
        (lambda: make_scene("fog"), ["fog", *CHALLENGES]),
    ],
)
def test_bad_arguments_give_one_sentence(action, words):
    with pytest.raises(ValueError) as error:
        action()
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and message.endswith(".")


@pytest.mark.parametrize("package", ["skimage", "sklearn"])
def test_missing_photograph_is_named(package):
    with pytest.raises(
        FileNotFoundError, match=rf"absent\.png of the package {package} is not at .*that constraints.txt names"
    ):
        bundled.wheel_file(package, "absent.png")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda package: None)
    with pytest.raises(FileNotFoundError, match="of the package skimage is not at skimage/data/brick.png: install"):
        bundled.wheel_file("skimage", "brick.png")
