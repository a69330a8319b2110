"""The thin-lens camera against hand formulas and slow loops."""

import math
from dataclasses import replace

import numpy as np
import pytest

from defusion_lib.data import camera as lens
from defusion_lib.data.camera import Camera, Layer, Scene, render
from defusion_lib.data.synthetic import CHALLENGES, make_scene

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
    return Layer(lens.to_linear(colour), np.ones(shape, np.float32), distance, "texture"), colour


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
    assert np.array_equal(lens.to_srgb(lens.to_linear(grey)), grey)
    # The curve's standard value: middle grey of 18 % reflectance is 118 in 8 bits.
    assert lens.to_srgb(np.float32(0.18)) == 118


@pytest.mark.parametrize("radius", [2.0, 4.3, 7.5])
def test_point_light_becomes_a_disc_that_keeps_its_light(radius):
    shape, light = (65, 65), 0.5 * math.pi * radius**2
    point = plain(0.0, 5.0, shape)
    point.colour[32, 32] = light
    picture = lens.to_linear(render(Scene((point,)), camera_for(radius, 5.0, 65)).image)[..., 0]
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
    row = lens.to_linear(rendering.image)[30, :, 0]
    # Share of a disc on one side of a line at distance t (in radii) from its centre.
    t = np.clip((np.arange(64) + 0.5 - 32) / radius, -1, 1)
    share = 0.5 + (t * np.sqrt(1 - t**2) + np.arcsin(t)) / math.pi
    # Pixel area against point value, and 8 bits (0.9 % at white).
    assert np.allclose(row[16:48], share[16:48], atol=0.008)
    assert (row[31] + row[32]) / 2 == pytest.approx(0.5, abs=0.004)
    # Half of the light at the edge is where the blurred foreground takes over.
    assert np.array_equal(rendering.mask[30, 16:48], np.arange(16, 48) >= 32)


def covered(radius, dy, dx, columns=400):
    """Area of the unit square at offset (dy, dx) inside a disc, by the lengths of the disc's chords."""
    x = dx - 0.5 + (np.arange(columns) + 0.5) / columns
    half = np.sqrt(np.clip(radius**2 - x**2, 0, None))
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
    share = np.array([[covered(radius, dy, dx) for dx in range(-reach, reach + 1)] for dy in range(-reach, reach + 1)])
    share /= share.sum()
    light, alpha = np.zeros((*shape, 3)), np.zeros(shape)
    for sy in range(-reach, 22 + reach):
        for sx in range(-reach, 19 + reach):
            # Outside the frame the picture goes on as its mirror image.
            my, mx = (
                (-1 - sy if sy < 0 else 43 - sy if sy > 21 else sy),
                (-1 - sx if sx < 0 else 37 - sx if sx > 18 else sx),
            )
            opaque = float(front.matte[my, mx])
            if opaque == 0:
                continue
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    ty, tx = sy + dy, sx + dx
                    if 0 <= ty < 22 and 0 <= tx < 19:
                        alpha[ty, tx] += share[dy + reach, dx + reach] * opaque
                        light[ty, tx] += share[dy + reach, dx + reach] * opaque * front.colour[my, mx]
    slow = lens.to_srgb(light + (1 - alpha[..., None]) * back.colour)
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
        assert np.array_equal(rendering.mask, np.float32(rendering.radius > lens.BLUR_THRESHOLD))
        radii = np.float32([camera.blur_radius(layer.distance, 80) for layer in scene.layers])
        assert set(np.unique(rendering.radius)) <= set(radii)
        seen |= set(np.unique(rendering.mask))
    assert seen == {0.0, 1.0}
    # Exactly the threshold is still sharp, a little above is blurred.
    for factor, expected in ((0.999, 0), (1.001, 1)):
        camera = camera_for(factor * lens.BLUR_THRESHOLD, 5.0, 64)
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
    light = lens.to_linear(render(scene, camera, 1).image)
    # 120,000 samples give the spread to 0.2 %, the 8-bit steps of about 0.005 add 0.1 %.
    assert light.std() == pytest.approx(math.sqrt(0.05**2 * 0.4 + 0.02**2), rel=0.01)
    assert light.mean() == pytest.approx(0.4, abs=0.001)


def test_slices_of_one_surface_meet_without_showing_what_is_behind():
    height, width = 64, 96
    distance = np.broadcast_to(np.linspace(1.0, 4.0, width), (height, width)).copy()
    distance[:16] = 8.0
    colour = np.full((height, width, 3), 0.5, np.float32)
    colour[:16] = 0.0
    scene = lens.slice_depth(colour, distance, 16)
    scene = Scene((plain(0.0, 20.0, (height, width)), *scene.layers))
    image = render(scene, camera_for(6.0, 1.0, width, focus=2.5)).image
    # Further than the blur from the dark wall, the surface keeps its 8-bit value of 188.
    assert np.abs(image[25:].astype(int) - 188).max() <= 1
    assert all(1.0 <= distance <= 8.0 for distance in scene.distances[1:])


def test_two_slices_render_like_two_layers(monkeypatch):
    monkeypatch.setattr(lens, "OVERLAP", 1.0)
    rng = np.random.default_rng(0)
    colour = rng.random((64, 64, 3), dtype=np.float32)
    distance = np.full((64, 64), 4.0)
    distance[:, 32:] = 1.0
    scene = lens.slice_depth(colour, distance, 20)
    assert sorted(scene.distances) == pytest.approx([1.0, 4.0])
    matte = np.float32(distance == 1.0)
    filled = colour.copy()
    filled[:, 32:] = colour[:, 31:32]
    layers = Scene((Layer(filled, np.ones_like(matte), 4.0, "back"), Layer(colour, matte, 1.0, "front")))
    for focus in (1.0, 4.0):
        camera = Camera(focus, 30.0, **QUIET)
        assert np.array_equal(render(scene, camera).image, render(layers, camera).image)
