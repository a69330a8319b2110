"""The thin-lens renderer against hand formulas and slow loops, and the synthetic set's promises."""

import importlib.metadata
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defusion_lib.data import synthetic
from defusion_lib.data.synthetic import CHALLENGES, Camera, Layer, Scene, make_scene, open_synthetic, render

QUIET = {"shot_noise": 0.0, "read_noise": 0.0}


def camera_for(radius, distance, width, focus=2.0):
    """A noiseless camera that blurs a point at `distance` by `radius` pixels."""
    unit = Camera(focus, 1.0, **QUIET)
    return replace(unit, aperture=radius / unit.blur_radius(distance, width))


def plain(colour, distance, shape=(64, 64)):
    """A layer of one colour that fills the frame."""
    return Layer(np.full((*shape, 3), colour, np.float32), np.ones(shape, np.float32), distance, "plain")


def textured(distance, shape=(64, 64), seed=0):
    """A layer of random colours whose 8-bit values are known."""
    colour = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Layer(synthetic.to_linear(colour), np.ones(shape, np.float32), distance, "texture"), colour


# Camera

def test_circle_of_confusion_against_a_ray_through_the_lens():
    # Similar triangles, without the closed formula: the image of the point lies at v, the sensor at v_s.
    focus, aperture, focal, sensor, width, distance = 1.5, 0.030, 0.085, 0.036, 320, 4.0
    v, v_s = 1 / (1 / focal - 1 / distance), 1 / (1 / focal - 1 / focus)
    diameter = aperture * abs(v_s - v) / v
    camera = Camera(focus, aperture * 1000, focal * 1000, sensor * 1000)
    assert camera.blur_radius(distance, width) == pytest.approx(diameter / 2 * width / sensor, rel=1e-12)
    assert camera.blur_radius(focus, width) == 0
    far = aperture * focal / (focus - focal) / 2 * width / sensor
    assert camera.blur_radius(math.inf, width) == pytest.approx(far, rel=1e-12)
    assert camera.blur_radius(0.7, width) > camera.blur_radius(1.0, width) > 0
    assert replace(camera, aperture=0).blur_radius(distance, width) == 0


def test_srgb_curve_both_ways():
    grey = np.arange(256, dtype=np.uint8)
    assert np.array_equal(synthetic.to_srgb(synthetic.to_linear(grey)), grey)
    # The curve's standard value: middle grey of 18 % reflectance is 118 in 8 bits.
    assert synthetic.to_srgb(np.float32(0.18)) == 118


# Renderer

@pytest.mark.parametrize("radius", [2.0, 4.3, 7.5])
def test_point_light_becomes_a_disc_that_keeps_its_light(radius):
    shape, light = (65, 65), 0.5 * math.pi * radius ** 2
    point = plain(0.0, 5.0, shape)
    point.colour[32, 32] = light
    picture = synthetic.to_linear(render(Scene((point,)), camera_for(radius, 5.0, 65)).image)[..., 0]
    y, x = np.mgrid[:65, :65] - 32
    distance = np.hypot(y, x)
    # Half the diagonal of a pixel inside the disc everything is evenly lit, as far outside nothing is.
    inside, outside = distance < radius - 0.71, distance > radius + 0.71
    assert np.allclose(picture[inside], 0.5, atol=0.02)
    assert not picture[outside].any()
    # 8 bits hold a light of 0.5 to 0.3 %; 8 x 8 samples a pixel give the disc's area to 1 %.
    assert picture.sum() == pytest.approx(light, rel=0.01)


def test_focus_plane_keeps_every_8_bit_value():
    layer, colour = textured(2.0)
    rendering = render(Scene((layer,)), Camera(2.0, 60.0, **QUIET))
    assert np.array_equal(rendering.image, colour)
    assert not rendering.radius.any() and not rendering.mask.any()


def test_sharp_foreground_neither_darkens_nor_takes_part_in_the_blur_behind_it():
    behind, _ = textured(8.0, seed=1)
    front, colour = textured(2.0, seed=2)
    matte = np.zeros((64, 64), np.float32)
    matte[20:44, 16:40] = 1
    front = replace(front, matte=matte)
    camera = camera_for(5.0, 8.0, 64)
    both, alone = render(Scene((front, behind)), camera), render(Scene((behind,)), camera)
    inside = matte == 1
    assert np.array_equal(both.image[inside], colour[inside])
    assert np.array_equal(both.image[~inside], alone.image[~inside])
    assert np.array_equal(both.mask, 1 - matte)


def test_blurred_straight_edge_has_the_analytic_profile():
    radius, shape = 8.0, (64, 64)
    matte = np.zeros(shape, np.float32)
    matte[:, 32:] = 1
    front = replace(plain(1.0, 0.8, shape), matte=matte)
    rendering = render(Scene((plain(0.0, 2.0, shape), front)), camera_for(radius, 0.8, 64))
    row = synthetic.to_linear(rendering.image)[30, :, 0]
    # Share of a disc on one side of a line at distance t (in radii) from its centre.
    t = np.clip((np.arange(64) + 0.5 - 32) / radius, -1, 1)
    share = 0.5 + (t * np.sqrt(1 - t ** 2) + np.arcsin(t)) / math.pi
    # Pixel area against point value, and 8 bits (0.9 % at white).
    assert np.allclose(row[16:48], share[16:48], atol=0.008)
    assert (row[31] + row[32]) / 2 == pytest.approx(0.5, abs=0.004)
    # Half of the light at the edge is where the blurred foreground takes over.
    assert np.array_equal(rendering.mask[30, 16:48], np.arange(16, 48) >= 32)


def covered(radius, dy, dx, columns=400):
    """Area of the unit square at offset (dy, dx) inside a disc, by the lengths of the disc's chords."""
    x = dx - 0.5 + (np.arange(columns) + 0.5) / columns
    half = np.sqrt(np.clip(radius ** 2 - x ** 2, 0, None))
    return np.clip(np.minimum(half, dy + 0.5) - np.maximum(-half, dy - 0.5), 0, None).mean()


def test_against_a_slow_renderer_that_scatters_every_pixel():
    shape, radius = (22, 19), 3.4
    back, back_colour = textured(2.0, shape, seed=3)
    front, _ = textured(0.9, shape, seed=4)
    y, x = np.mgrid[:22, :19]
    # Cut by the frame's edge, with soft and hard parts.
    front = replace(front, matte=np.float32(np.clip(7 - np.hypot(y - 8, x - 3), 0, 1)))
    fast = render(Scene((back, front)), camera_for(radius, 0.9, 19))

    reach = 5
    share = np.array([[covered(radius, dy, dx) for dx in range(-reach, reach + 1)]
                      for dy in range(-reach, reach + 1)])
    share /= share.sum()
    light, alpha = np.zeros((*shape, 3)), np.zeros(shape)
    for sy in range(-reach, 22 + reach):
        for sx in range(-reach, 19 + reach):
            # Outside the frame the picture goes on as its mirror image.
            my, mx = (-1 - sy if sy < 0 else 43 - sy if sy > 21 else sy), (-1 - sx if sx < 0 else
                                                                          37 - sx if sx > 18 else sx)
            opaque = float(front.matte[my, mx])
            if opaque == 0:
                continue
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    ty, tx = sy + dy, sx + dx
                    if 0 <= ty < 22 and 0 <= tx < 19:
                        alpha[ty, tx] += share[dy + reach, dx + reach] * opaque
                        light[ty, tx] += share[dy + reach, dx + reach] * opaque * front.colour[my, mx]
    slow = synthetic.to_srgb(light + (1 - alpha[..., None]) * back.colour)
    # A weight of the kernel differs by its sampling, at most 1/64 of a pixel in 36: under two 8-bit steps.
    assert np.abs(fast.image.astype(int) - slow).max() <= 2
    clear = np.abs(alpha - 0.5) > 0.01
    assert np.array_equal(fast.mask[clear], (alpha > 0.5)[clear])
    assert np.array_equal(fast.image[alpha == 0], back_colour[alpha == 0])


def test_mask_is_the_radius_over_the_threshold():
    seen = set()
    for index, challenge in enumerate(CHALLENGES):
        scene, camera = make_scene(challenge, index, (64, 80), 5)
        rendering = render(scene, camera)
        assert rendering.image.shape == (64, 80, 3) and rendering.image.dtype == np.uint8
        assert rendering.mask.dtype == rendering.radius.dtype == np.float32
        assert np.array_equal(rendering.mask, np.float32(rendering.radius > synthetic.BLUR_THRESHOLD))
        radii = np.float32([camera.blur_radius(layer.distance, 80) for layer in scene.layers])
        assert set(np.unique(rendering.radius)) <= set(radii)
        seen |= set(np.unique(rendering.mask))
    assert seen == {0.0, 1.0}
    # Exactly the threshold is still sharp, a little above is blurred.
    for factor, expected in ((0.999, 0), (1.001, 1)):
        camera = camera_for(factor * synthetic.BLUR_THRESHOLD, 5.0, 64)
        assert (render(Scene((plain(0.5, 5.0),)), camera).mask == expected).all()


def test_radius_is_that_of_the_layers_that_give_half_of_the_light():
    # Three half-transparent veils before a sharp wall: it keeps 0.7^3 = 34 %, two of them pass one half.
    veils = [replace(plain(0.5, d), matte=np.full((64, 64), 0.3, np.float32)) for d in (0.8, 1.0, 1.2)]
    camera = Camera(2.0, 60.0, **QUIET)
    rendering = render(Scene((*veils, plain(0.2, 2.0))), camera)
    # Weights by radius: wall 0.343 (0), 1.2 m 0.147, 1.0 m 0.21 -> 0.70 > 0.5.
    assert np.allclose(rendering.radius, camera.blur_radius(1.0, 64))


def test_noise_has_the_stated_spread():
    camera = Camera(2.0, 10.0, shot_noise=0.05, read_noise=0.02)
    scene = Scene((plain(0.4, 2.0, (200, 200)),))
    light = synthetic.to_linear(render(scene, camera, 1).image)
    # 120,000 samples give the spread to 0.2 %, the 8-bit steps of about 0.005 add 0.1 %.
    assert light.std() == pytest.approx(math.sqrt(0.05 ** 2 * 0.4 + 0.02 ** 2), rel=0.01)
    assert light.mean() == pytest.approx(0.4, abs=0.001)


def test_slices_of_one_surface_meet_without_showing_what_is_behind():
    height, width = 64, 96
    distance = np.broadcast_to(np.linspace(1.0, 4.0, width), (height, width)).copy()
    distance[:16] = 8.0
    colour = np.full((height, width, 3), 0.5, np.float32)
    colour[:16] = 0.0
    scene = synthetic.slice_depth(colour, distance, 16)
    scene = Scene((plain(0.0, 20.0, (height, width)), *scene.layers))
    image = render(scene, camera_for(6.0, 1.0, width, focus=2.5)).image
    # Further than the blur from the dark wall, the surface keeps its 8-bit value of 188.
    assert np.abs(image[25:].astype(int) - 188).max() <= 1
    assert all(1.0 <= distance <= 8.0 for distance in scene.distances[1:])


def test_two_slices_render_like_two_layers():
    rng = np.random.default_rng(0)
    colour = rng.random((64, 64, 3), dtype=np.float32)
    distance = np.full((64, 64), 4.0)
    distance[:, 32:] = 1.0
    scene = synthetic.slice_depth(colour, distance, 20, reach=1.0)
    assert sorted(scene.distances) == pytest.approx([1.0, 4.0])
    matte = np.float32(distance == 1.0)
    filled = colour.copy()
    filled[:, 32:] = colour[:, 31:32]
    layers = Scene((Layer(filled, np.ones_like(matte), 4.0, "back"), Layer(colour, matte, 1.0, "front")))
    for focus in (1.0, 4.0):
        camera = Camera(focus, 30.0, **QUIET)
        assert np.array_equal(render(scene, camera).image, render(layers, camera).image)


# The set

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


@pytest.mark.parametrize("size", [(48, 48), (48, 96), (384, 192), (384, 384)])
def test_smallest_and_largest_sizes(size):
    for photo in open_synthetic(5, size, seed=3):
        assert photo.image.shape == (*size, 3) and 0.15 <= photo.mask.mean() <= 0.9


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


def test_foreground_or_background_in_focus():
    for index in range(8):
        scene, camera = make_scene("foreground-in-focus", index)
        blur, distances = radii(scene, camera), np.array(scene.distances)
        assert blur[distances.argmax()] > 1 and camera.focus_distance < 0.7 * distances.max()
        scene, camera = make_scene("background-in-focus", index)
        blur, distances = radii(scene, camera), np.array(scene.distances)
        assert blur[distances.argmax()] <= 1 < blur[distances.argmin()]


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
        everything = synthetic.to_linear(everything).mean(2)
        # RMS contrast; the limit of 0.15 holds before the white balance and with the matte's soft border.
        assert grey.std() / grey.mean() < 0.16
        assert everything.std() / everything.mean() > 2 * grey.std() / grey.mean()


def test_garage_is_the_stereo_pair_with_its_depth():
    scene = synthetic.garage_scene((100, 148))
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
        blurred = render(Scene((replace(plain(0, 5.0, picture.shape[:2]), colour=picture),)),
                         camera_for(1.0, 5.0, picture.shape[1])).image
        return detail(picture) / detail(synthetic.to_linear(blurred))

    for name in synthetic._PHOTOGRAPHS:
        picture = synthetic._crop(rng, rng, name, (96, 96))
        already = synthetic._blur(np.dstack([picture, np.ones((96, 96), np.float32)]), 1.5)[..., :3]
        assert loss(picture) > 1.3 * loss(already), (name, loss(picture), loss(already))


def test_photographs_come_from_the_wheels_and_nothing_from_a_network():
    wheels = {"scikit-image": synthetic._SCIKIT_IMAGE, "scikit-learn": synthetic._SCIKIT_LEARN}
    for package, folder in wheels.items():
        shipped = {str(file) for file in importlib.metadata.files(package)}
        files = [file for file, place, _ in synthetic._PHOTOGRAPHS.values() if place == folder]
        assert files and shipped >= {"/".join((*folder, file)) for file in files}
    code = """if True:
        import sys
        def stop(event, arguments):
            if event.startswith(("socket.", "urllib.", "ftplib.", "subprocess.")):
                raise SystemExit(f"network touched: {event}")
        sys.addaudithook(stop)
        from defusion_lib.data import synthetic
        for photo in synthetic.open_synthetic(10, (64, 64)): pass
        synthetic.garage_scene((64, 64))
        for name in synthetic._PHOTOGRAPHS: synthetic._photograph(name)
        print("done")
    """
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.parametrize("action, words", [
    (lambda: Camera(2.0, aperture=-1.0), ["aperture is -1.0"]),
    (lambda: Camera(2.0, shot_noise=math.nan), ["shot_noise is nan"]),
    (lambda: Camera(2.0, sensor_width=0), ["sensor_width is 0"]),
    (lambda: Camera(0.05), ["focus_distance is 0.05 m", "85.0 mm"]),
    (lambda: Layer(np.zeros((4, 4, 3)), np.zeros((4, 5)), 1.0, "leaf"), ["leaf", "(4, 4, 3)", "(4, 5)"]),
    (lambda: plain(0.5, 0.0), ["distance is 0.0 m"]),
    (lambda: Scene(()), ["layers of 0 sizes"]),
    (lambda: Scene((plain(0.5, 1.0), plain(0.5, 1.0, (5, 5)))), ["layers of 2 sizes"]),
    (lambda: Scene((plain(0.5, 1.0),)).at([1.0, 2.0]), ["2 distances", "give 1"]),
    (lambda: synthetic.slice_depth(np.zeros((4, 4, 3)), np.zeros((4, 4))), ["positive distance"]),
    (lambda: open_synthetic(0), ["count is 0"]),
    (lambda: open_synthetic(2, size=(0, 64)), ["size is (0, 64)", "48 to 384"]),
    (lambda: open_synthetic(2, size=(64, 500)), ["size is (64, 500)", "48 to 384"]),
    (lambda: open_synthetic(2, size=(64, 200)), ["size is (64, 200)", "twice"]),
    (lambda: open_synthetic(2, challenges=["fog"]), ["fog", *CHALLENGES]),
    (lambda: open_synthetic(2, challenges=[]), [*CHALLENGES]),
    (lambda: make_scene("fog"), ["fog", *CHALLENGES]),
])
def test_bad_arguments_give_one_sentence(action, words):
    with pytest.raises(ValueError) as error:
        action()
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and message.endswith(".")


def test_missing_photograph_is_named():
    with pytest.raises(FileNotFoundError, match="scikit-image and scikit-learn that constraints.txt names"):
        synthetic._wheel_file("absent.png", synthetic._SCIKIT_IMAGE)
