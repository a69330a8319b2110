"""Scenes of the synthetic set: what stands where, and the camera that takes the picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy import ndimage

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.camera import BLUR_THRESHOLD, Camera, Layer, Scene, render, slice_depth
from defusion_lib.data.synthetic.objects import OBJECTS, SAMPLES, average
from defusion_lib.data.synthetic.sources import (
    BACKDROPS,
    fitting,
    garage_depth,
    random_crop,
    random_tint,
    read_source,
    resize,
)

CHALLENGES = (
    "foreground-in-focus",
    "background-in-focus",
    "focus-swapped-pair",
    "same-class",
    "low-contrast-clutter",
)
"""The ordinary case, then the four challenging settings of the paper's section 4.1 in its order."""

SMALLEST_SIDE, LARGEST_SIDE = 48, 384
"""Limits of an image's sides in pixels: above, the source photos would have to be enlarged."""

# Standard deviation over mean of linear light; a whole photo has 0.5 to 1.
_LOW_CONTRAST = 0.15

Size = tuple[int, int]


def make_scene(challenge: str, index: int = 0, size: Size = (128, 128), seed: int = 0) -> tuple[Scene, Camera]:
    """Make the scene and the camera of one photo of the synthetic set.

    `challenge` is one of `CHALLENGES`; `size` is (height, width) in pixels, 48 to 384 a side and at most 2:1. Photos 2k
    and 2k + 1 of "focus-swapped-pair" are the pair k of section 4.1: one scene, focused first in front and then behind.
    Scenes whose blurred share lies outside 0.2 to 0.85 are drawn again. Raises ValueError for a bad argument,
    RuntimeError where no such scene is found.
    """
    _check_size(size)
    _check_challenges([challenge])
    pair = challenge == "focus-swapped-pair"
    rng = np.random.default_rng([seed, CHALLENGES.index(challenge), index // 2 if pair else index])
    size = int(size[0]), int(size[1])
    for _ in range(100):
        if challenge == "same-class":
            scene, focus = _same_class(rng, size)
            focuses = [focus]
        elif challenge == "low-contrast-clutter":
            scene, focus = _clutter(rng, size)
            focuses = [focus]
        else:
            scene, near, far = _simple(rng, size)
            focuses = [near, far] if pair else [near] if challenge == "foreground-in-focus" else [far]
        scene = _graded(rng, scene)
        blur = rng.uniform(0.025, 0.05)
        cameras = [_camera(rng, scene, focus, blur) for focus in focuses]
        if all(0.2 <= _blurred_share(scene, camera) <= 0.85 for camera in cameras):
            return scene, cameras[index % len(cameras)]
    raise RuntimeError(
        f"None of 100 scenes for {challenge} {index}, size {size} and seed {seed} has a blurred share of 0.2 to 0.85: "
        "take another seed or a squarer size."
    )


def open_synthetic(
    count: int, size: Size = (128, 128), seed: int = 0, challenges: Sequence[str] = CHALLENGES
) -> PhotoSet:
    """Open the synthetic set: `count` photos that cycle through `challenges`.

    `size` is (height, width) in pixels, 48 to 384 a side and at most 2:1. Photos are rendered when they are read, named
    "foreground-in-focus-000" and so on, and bit-identical for the same seed, size and name, whatever the other
    arguments. Masks are float32, 1 = blurred by a radius above `BLUR_THRESHOLD`. Raises ValueError for a bad argument.
    """
    _check_size(size)
    _check_challenges(challenges)
    if count < 1:
        raise ValueError(f"Synthetic photos: count is {count}, expected 1 or more.")
    stems = [f"{challenges[i % len(challenges)]}-{i // len(challenges):03d}" for i in range(count)]

    def read(stem: str) -> Photo:
        challenge, index = stem.rsplit("-", 1)
        scene, camera = make_scene(challenge, int(index), size, seed)
        rendering = render(scene, camera, [seed, CHALLENGES.index(challenge), int(index)])
        return Photo(stem, rendering.image, rendering.mask)

    return PhotoSet("synthetic", stems, read)


def garage_scene(size: Size, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Scene:
    """Build a scene of scikit-image's stereo motorcycle with its measured depth, in 24 slices.

    `box` (left, top, right, bottom) is the part of the photo as fractions. The garage is scaled to a third of its size
    (0.7 m to 1.7 m): at life size, a lens of any usual aperture keeps nearly all of it sharp. Raises ValueError for a
    size that `make_scene` refuses.
    """
    _check_size(size)
    colour, depth = read_source("garage"), garage_depth().astype(np.float32)
    height, width = depth.shape
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    nearest = Image.fromarray(depth).resize(size[::-1], Image.Resampling.NEAREST, pixels)
    return slice_depth(resize(colour, size, pixels), np.asarray(nearest) / 3, 24)


def _object(
    rng: Generator,
    kind: str,
    size: Size,
    centre: Sequence[float] | np.ndarray,
    extent: float,
    distance: float,
    style_seed: int | None = None,
) -> Layer:
    """Paint an object at `centre` (fractions of the frame), of `extent` (fraction of the shorter side)."""
    style = np.random.default_rng(rng.integers(2**32) if style_seed is None else style_seed)
    pixels = (centre[0] * size[0], centre[1] * size[1])
    colour, matte = OBJECTS[kind](rng, style, size, pixels, extent * min(size))
    return Layer(colour.astype(np.float32), matte.astype(np.float32), float(distance), kind)


def _backdrop(rng: Generator, size: Size, distance: float, names: Sequence[str] = BACKDROPS) -> Layer:
    """Fill the frame with one of the sources."""
    names = fitting(names, size)
    name = names[rng.integers(len(names))]
    colour = random_crop(rng, rng, name, size)
    if name == "night":
        # Lamps brighter than white: out of focus they become the discs of bokeh.
        for _ in range(rng.integers(15, 40)):
            y, x = rng.uniform(0.45, 1) * size[0], rng.uniform(0, 1) * size[1]
            lamp = np.float32(rng.choice([[1, 0.75, 0.4], [1, 0.95, 0.85], [1, 0.25, 0.15], [0.5, 0.8, 1]]))
            colour[int(y) : int(y) + 2, int(x) : int(x) + 2] += lamp * np.float32(rng.uniform(3, 14))
    return Layer(colour, np.ones(size, np.float32), float(distance), "backdrop")


def _stage(rng: Generator, size: Size, near: float, far: float) -> tuple[Scene, Callable[[int], float]]:
    """Build a floor that runs to a wall; return it and the distance of an object that stands on a row of the image."""
    height, width = size
    foot, bottom = rng.uniform(0.25, 0.45) * height, height
    horizon = (bottom * near - foot * far) / (near - far)
    wall = _backdrop(rng, size, far)
    rows = (np.arange(height * SAMPLES) + 0.5) / SAMPLES
    distance = np.where(rows > foot, near * (bottom - horizon) / np.maximum(rows - horizon, 1e-3), far)
    name = ("brick", "grass", "gravel")[rng.integers(3)]
    texture = read_source(name)
    # At the front edge an image pixel takes 1.1 texture pixels, and more towards the wall: never enlarged.
    across = (np.arange(width * SAMPLES) + 0.5) / SAMPLES - width / 2
    step = 1.1 * distance / near
    u = across * step[:, None] + rng.uniform(0, 500)
    v = 1.1 * (bottom - horizon) * distance / near + rng.uniform(0, 500)
    places = np.broadcast_arrays(v[:, None], u)
    floor = np.dstack(
        [average(ndimage.map_coordinates(texture[..., c], places, order=1, mode="mirror")) for c in range(3)]
    ) * random_tint(rng, name)
    on_floor = average(np.broadcast_to((rows > foot)[:, None], (len(rows), len(across))).astype(np.float32))
    colour = floor * on_floor[..., None] + wall.colour * (1 - on_floor[..., None])
    depth = np.broadcast_to(distance.reshape(height, SAMPLES).mean(1)[:, None], size)
    return slice_depth(colour, depth, 14), lambda row: float(near * (bottom - horizon) / (row - horizon))


def _camera(rng: Generator, scene: Scene, focus: float, blur: float) -> Camera:
    """Make a camera focused at `focus` whose aperture gives the most blurred layer a radius of `blur` x width."""
    largest = max(Camera(focus, 1.0).blur_radius(d, scene.shape[1]) for d in scene.distances)
    noise = rng.uniform(0.004, 0.02)
    return Camera(focus, float(blur * scene.shape[1] / largest), shot_noise=noise, read_noise=noise / 5)


def _graded(rng: Generator, scene: Scene) -> Scene:
    """Draw another exposure and white balance for a scene."""
    gain = np.float32(rng.uniform(0.75, 1.25) * rng.uniform([0.92, 0.97, 0.9], [1.08, 1.03, 1.1]))
    return Scene(tuple(replace(layer, colour=layer.colour * gain) for layer in scene.layers))


def _simple(rng: Generator, size: Size) -> tuple[Scene, float, float]:
    """Build a scene with something near before something far; return it and the two distances."""
    near, far = rng.uniform(0.8, 1.3), rng.uniform(2.5, 6.0)
    choice = rng.random()
    if choice < 0.2:
        zoom = rng.uniform(0.8, 1.0)
        wide = zoom * min(1.0, size[1] / size[0] * 500 / 741)
        tall = min(1.0, wide * 741 / 500 * size[0] / size[1])
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
        scene = garage_scene(size, (left, top, left + wide, top + tall))
        return scene, 0.75 + rng.uniform(0, 0.05), max(scene.distances)
    kinds = list(OBJECTS)
    if choice < 0.5:
        stage, distance_at = _stage(rng, size, near, far)
        objects = []
        for _ in range(rng.integers(1, 4)):
            kind = rng.choice(["stone", "leaves", "card", "letters", "dahlia", "saucer"])
            centre = rng.uniform(0.5, 0.6), rng.uniform(0.15, 0.85)
            object_ = _object(rng, kind, size, centre, rng.uniform(0.22, 0.36), near)
            foot = np.flatnonzero(object_.matte.max(1) > 0.5)
            objects.append(replace(object_, distance=distance_at(foot[-1] + 1 if len(foot) else size[0])))
        return Scene((*stage.layers, *objects)), objects[0].distance, far
    objects = []
    for _ in range(rng.integers(1, 4)):
        centre = rng.uniform(0.25, 0.8), rng.uniform(0.15, 0.85)
        objects.append(_object(rng, rng.choice(kinds), size, centre, rng.uniform(0.25, 0.5), near))
    return Scene((_backdrop(rng, size, far), *objects)), near, far


def _same_class(rng: Generator, size: Size) -> tuple[Scene, float]:
    """Build a scene of objects of one class at three distances; return it and the distance in focus."""
    kind = rng.choice(["leaves", "stone", "dahlia", "coins", "saucer", "card", "letters"])
    distances = np.sort(rng.uniform([0.8, 1.25, 2.0], [0.95, 1.5, 2.8]))
    style_seed = int(rng.integers(2**32))
    layers = [_backdrop(rng, size, 5.0)]
    columns = rng.permutation(6)
    for number in range(6):
        distance = distances[number % 3]
        centre = (rng.uniform(0.2, 0.85), (columns[number] + 0.5) / 6)
        layers.append(_object(rng, kind, size, centre, 0.3 / distance**0.6, distance, style_seed))
    return Scene(tuple(layers)), float(rng.choice(distances))


def _clutter(rng: Generator, size: Size) -> tuple[Scene, float]:
    """Build a scene with one object of low contrast in focus before clutter; return it and the object's distance."""
    focus = rng.uniform(1.0, 1.3)
    backdrop = _backdrop(rng, size, 5.0, ("trees", "garage", "grass", "gravel", "cafe"))
    layers = [backdrop]
    for _ in range(6):
        centre = rng.uniform(0, 1), rng.uniform(0, 1)
        layers.append(
            _object(rng, rng.choice(list(OBJECTS)), size, centre, rng.uniform(0.12, 0.26), rng.uniform(1.8, 4.0))
        )
    kind = rng.choice(["stone", "leaves", "card", "dahlia", "saucer"])
    sharp = _object(rng, kind, size, rng.uniform(0.35, 0.65, 2), rng.uniform(0.38, 0.5), focus)
    weight = sharp.matte / sharp.matte.sum()
    own = (sharp.colour * weight[..., None]).sum((0, 1))
    mean = 0.6 * own + 0.4 * backdrop.colour.mean((0, 1))
    spread = math.sqrt(((sharp.colour - own).mean(2) ** 2 * weight).sum())
    contrast = min(0.5, _LOW_CONTRAST * mean.mean() / max(spread, 1e-6))
    colour = np.clip(mean + contrast * (sharp.colour - own), 0, None).astype(np.float32)
    layers.append(replace(sharp, colour=colour, kind="low-contrast"))
    return Scene(tuple(layers)), focus


def _blurred_share(scene: Scene, camera: Camera) -> float:
    """Return the share of the frame that shows a blurred layer, before the blur itself moves the borders."""
    visible, blurred = np.ones(scene.shape, np.float32), 0.0
    for layer in sorted(scene.layers, key=lambda layer: layer.distance):
        if camera.blur_radius(layer.distance, scene.shape[1]) > BLUR_THRESHOLD:
            blurred += float((visible * layer.matte).mean())
        visible = visible * (1 - layer.matte)
    return blurred


def _check_size(size: Sequence[float]) -> None:
    fits = len(size) == 2 and all(SMALLEST_SIDE <= n <= LARGEST_SIDE and n == int(n) for n in size)
    if not fits or max(size) > 2 * min(size):
        raise ValueError(
            f"Synthetic photos: size is {tuple(size)}, expected (height, width) in whole pixels from "
            f"{SMALLEST_SIDE} to {LARGEST_SIDE}, neither above twice the other."
        )


def _check_challenges(challenges: Sequence[str]) -> None:
    unknown = [name for name in challenges if name not in CHALLENGES]
    if unknown or not challenges:
        raise ValueError(
            f"Synthetic photos: challenges are {unknown or list(challenges)}, expected one or more of "
            f"{', '.join(CHALLENGES)}."
        )
