"""Layered scenes photographed through a thin lens: the embedded data set, with exact masks.

The colours come from sharp photographs that lie inside the installed wheels of scikit-image and scikit-learn;
nothing is downloaded. Crops are taken only where those photographs are in focus and are never enlarged, so
that a layer at the focus distance is as sharp as the pixel grid allows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.camera import BLUR_THRESHOLD, Camera, Layer, Scene, render, slice_depth, to_linear

CHALLENGES = (
    "foreground-in-focus",
    "background-in-focus",
    "focus-swapped-pair",
    "same-class",
    "low-contrast-clutter",
)
"""The ordinary case, then the four challenging settings of the paper's section 4.1 in its order."""

SMALLEST_SIDE, LARGEST_SIDE = 48, 384
"""Limits of a picture's sides in pixels: above, the source photographs would have to be enlarged."""


# Sharp photographs

_SCIKIT_IMAGE, _SCIKIT_LEARN = ("skimage", "data"), ("sklearn", "datasets", "images")

# File, the folder of its wheel, and the part (left, top, right, bottom) that is in focus.
_PHOTOGRAPHS = {
    "pagoda": ("china.jpg", _SCIKIT_LEARN, (0, 0, 640, 427)),
    "trees": ("china.jpg", _SCIKIT_LEARN, (0, 170, 640, 427)),
    "garage": ("motorcycle_left.png", _SCIKIT_IMAGE, (0, 0, 741, 500)),
    "night": ("rocket.jpg", _SCIKIT_IMAGE, (0, 0, 640, 427)),
    "cafe": ("coffee.png", _SCIKIT_IMAGE, (0, 0, 600, 400)),
    "wood": ("coffee.png", _SCIKIT_IMAGE, (492, 200, 600, 400)),
    "meadow": ("camera.png", _SCIKIT_IMAGE, (0, 0, 512, 512)),
    "cat": ("chelsea.png", _SCIKIT_IMAGE, (60, 0, 340, 280)),
    "suit": ("astronaut.png", _SCIKIT_IMAGE, (30, 190, 320, 500)),
    "brick": ("brick.png", _SCIKIT_IMAGE, (0, 0, 512, 512)),
    "grass": ("grass.png", _SCIKIT_IMAGE, (0, 0, 512, 512)),
    "gravel": ("gravel.png", _SCIKIT_IMAGE, (0, 0, 512, 512)),
    "dahlia": ("flower.jpg", _SCIKIT_LEARN, (180, 70, 460, 370)),
    "saucer": ("coffee.png", _SCIKIT_IMAGE, (70, 0, 490, 380)),
    "coins": ("coins.png", _SCIKIT_IMAGE, (0, 0, 384, 303)),
}
_BACKDROPS = ("pagoda", "trees", "garage", "night", "cafe", "meadow", "brick", "grass", "gravel")
_CARDS = ("pagoda", "trees", "garage", "cafe", "cat", "suit", "meadow")

# The grey textures get a colour of their own, in linear light.
_TINTS = {
    "brick": ((1.6, 0.75, 0.5), (1.3, 1.05, 0.85), (1.0, 1.0, 1.05)),
    "grass": ((0.62, 1.0, 0.28), (0.85, 1.0, 0.35), (1.25, 0.9, 0.4)),
    "gravel": ((1.0, 1.0, 1.0), (1.25, 1.05, 0.8), (0.8, 0.95, 1.1)),
    "coins": ((1.6, 1.25, 0.75), (1.2, 1.2, 1.25), (1.6, 0.95, 0.65)),
}


def _wheel_file(name: str, folder: Sequence[str]) -> Path:
    spec = find_spec(folder[0])
    path = Path(spec.submodule_search_locations[0] if spec else folder[0]).joinpath(*folder[1:], name)
    if not path.is_file():
        raise FileNotFoundError(
            f"The photograph {name} of the package {folder[0]} is not at {path}; install "
            "the versions of scikit-image and scikit-learn that constraints.txt names."
        )
    return path


@lru_cache(maxsize=None)
def _photograph(name: str) -> np.ndarray:
    """The sharp part of a photograph in linear light, float32 (h, w, 3)."""
    file, folder, box = _PHOTOGRAPHS[name]
    with Image.open(_wheel_file(file, folder)) as image:
        return to_linear(np.asarray(image.convert("RGB").crop(box)))


def _resize(planes: np.ndarray, size: tuple[int, int], box=None) -> np.ndarray:
    """Area-weighted resampling of float32 (h, w, C), or of its box (left, top, right, bottom), to `size`."""
    channels = [
        Image.fromarray(np.ascontiguousarray(planes[..., c])).resize(
            size[::-1], Image.Resampling.HAMMING, box
        )
        for c in range(planes.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def _crop(rng, style, name: str, size: tuple[int, int]) -> np.ndarray:
    """A random part of a photograph at `size`, mirrored half of the time and never enlarged."""
    photograph = _photograph(name)
    # A texture smaller than the frame goes on in its mirror image; photographs of things come from _fitting.
    short = [max(0, math.ceil(want - have)) for want, have in zip(size, photograph.shape)]
    photograph = np.pad(photograph, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    height, width = photograph.shape[:2]
    largest = min(height / size[0], width / size[1])
    factor = max(1.0, largest * rng.uniform(0.6, 1.0))
    tall, wide = min(size[0] * factor, height), min(size[1] * factor, width)
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - tall)
    result = _resize(photograph, size, (left, top, min(left + wide, width), min(top + tall, height)))
    if rng.random() < 0.5:
        result = result[:, ::-1]
    return np.ascontiguousarray(result * _tint(style, name))


def _fitting(names: Sequence[str], size: tuple[int, int]) -> list[str]:
    """The photographs that fill a frame of `size` without being enlarged."""
    return [name for name in names if all(have >= want for have, want in zip(_photograph(name).shape, size))]


def _tint(style, name: str) -> np.ndarray:
    tints = _TINTS.get(name, ((1.0, 1.0, 1.0),))
    return np.float32(tints[style.integers(len(tints))])


@lru_cache(maxsize=None)
def _cut_outs(name: str) -> list[np.ndarray]:
    """The things cut out of a photograph, each float32 (h, w, 4), colour and matte."""
    colour = _photograph(name)
    if name == "saucer":
        # The saucer's rim is an ellipse; cup and spoon lie inside it but for the cup's upper rim.
        drawing = Image.new("L", (4 * colour.shape[1], 4 * colour.shape[0]))
        draw = ImageDraw.Draw(drawing)
        for box in ((8, 82, 412, 370), (104, 18, 336, 240)):
            draw.ellipse([4 * side for side in box], fill=255)
        inside = np.asarray(drawing.resize(colour.shape[1::-1], Image.Resampling.BOX)) > 127
    elif name == "dahlia":
        # Orange petals on blue-green leaves.
        inside = _largest(colour[..., 0] > 1.6 * colour[..., 2] + 0.04)
    else:
        bright = ndimage.gaussian_filter(colour[..., 0], 1.5)
        bright = bright > ndimage.gaussian_filter(colour[..., 0], 40) + 0.02
        parts, _ = ndimage.label(ndimage.binary_opening(ndimage.binary_fill_holes(bright), iterations=4))
        whole = []
        for index, box in enumerate(ndimage.find_objects(parts), 1):
            sides = [span.stop - span.start for span in box]
            if min(sides) >= 28 and max(sides) <= 75:
                box = tuple(slice(max(0, span.start - 2), span.stop + 2) for span in box)
                whole.append((colour[box], parts[box] == index))
        return [_with_matte(*coin) for coin in whole]
    return [_with_matte(colour, inside)]


def _with_matte(colour: np.ndarray, inside: np.ndarray) -> np.ndarray:
    # A pixel less all around, so that no rim of the old background comes along.
    matte = ndimage.gaussian_filter(ndimage.binary_erosion(inside).astype(np.float32), 0.7)
    return np.dstack([colour, matte])


def _largest(region: np.ndarray) -> np.ndarray:
    region = ndimage.binary_opening(ndimage.binary_fill_holes(region), iterations=2)
    parts, count = ndimage.label(region)
    return parts == 1 + np.argmax(ndimage.sum_labels(region, parts, np.arange(1, count + 1)))


@lru_cache(maxsize=None)
def _garage_depth() -> np.ndarray:
    """Distance in metres of every pixel of the garage, from the disparity map that comes with it.

    Its calibration is scikit-image's: focal length 994.978 px, baseline 0.193001 m, principal points 31.086
    px apart. Pixels without disparity lie beside nearer things that hide them from the other camera, so they
    take the distance of the further of their two neighbours in the row.
    """
    with np.load(_wheel_file("motorcycle_disp.npz", _SCIKIT_IMAGE)) as data:
        disparity = data["arr_0"].astype(np.float64)
    known = np.isfinite(disparity)
    column = np.arange(disparity.shape[1])
    for row, good in zip(disparity, known):
        before = np.maximum.accumulate(np.where(good, column, -1))
        after = np.minimum.accumulate(np.where(good, column, len(column))[::-1])[::-1]
        left = np.where(before >= 0, row[np.maximum(before, 0)], np.inf)
        right = np.where(after < len(column), row[np.minimum(after, len(column) - 1)], np.inf)
        row[:] = np.minimum(left, right)
    return 994.978 * 0.193001 / (disparity + 31.086)


# Things: each takes (rng, style, size, (y, x) of its centre in pixels, its extent in pixels) and gives the
# colour and the matte of a whole frame. `style` is a generator with the seed of the class, so that things of
# one class look alike.

_SAMPLES = 3


def _grid(size, centre):
    """Coordinates in pixels from the centre, on a grid of _SAMPLES x _SAMPLES points a pixel."""
    y, x = ((np.arange(n * _SAMPLES, dtype=np.float32) + 0.5) / _SAMPLES - c for n, c in zip(size, centre))
    return y[:, None], x[None, :]


def _average(fine: np.ndarray) -> np.ndarray:
    height, width = (n // _SAMPLES for n in fine.shape)
    return fine.reshape(height, _SAMPLES, width, _SAMPLES).mean((1, 3), dtype=np.float32)


def _leaves(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    matte = np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    shade = np.ones(matte.shape, np.float32)
    tint = style.uniform(0.8, 1.4)
    lean = float(rng.uniform(-1, 1))
    count = rng.integers(6, 11)
    for number in range(count):
        along = number / count - 0.5
        foot_y, foot_x = -along * extent * 1.3, lean * along * extent * 0.8
        angle = rng.uniform(0.2, 1.1) * (-1) ** number - lean * 0.5
        up, across = -math.cos(angle), math.sin(angle)
        length = extent * rng.uniform(0.5, 0.8)
        # Only the part of the frame that the leaf can reach: the whole frame takes nine times as long.
        rows = slice(*np.searchsorted(y[:, 0], (foot_y - length, foot_y + length)))
        columns = slice(*np.searchsorted(x[0], (foot_x - length, foot_x + length)))
        dy, dx = y[rows] - np.float32(foot_y), x[:, columns] - np.float32(foot_x)
        u, v = (dy * up + dx * across) / length, (dx * up - dy * across) / length
        half = 0.52 * np.sqrt(np.clip(u, 0, 1)) * np.clip(1 - u, 0, 1) ** 0.7
        leaf = np.abs(v) < half
        veins = 1 - 0.25 * (np.abs(np.sin(14 * (u - np.abs(v)))) < 0.12)
        halves, rib = np.where(v > 0, 1.15, 0.8), np.where(np.abs(v) < 0.015, 1.5, 1)
        look = rng.uniform(0.7, 1.3) * halves * veins * rib
        shade[rows, columns][leaf] = look[leaf]
        matte[rows, columns] |= leaf
    stem = (np.abs(x + lean * y * 0.6) < 0.02 * extent) & (np.abs(y) < 0.8 * extent)
    shade[stem & ~matte] = 0.6
    texture = _crop(rng, style, "grass", size)
    colour = (0.35 * texture.mean((0, 1)) + 0.65 * texture) * np.float32(tint)
    return colour * _average(shade)[..., None], _average(matte | stem)


def _stone(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    y = y * np.float32(rng.uniform(1.1, 1.6))
    turn = np.linspace(-math.pi, math.pi, 361)
    outline = np.ones_like(turn)
    for order in range(2, 7):
        outline *= 1 + 0.16 / order * np.cos(order * turn + rng.uniform(0, 2 * math.pi))
    edge = np.interp(np.arctan2(y, x), turn, 0.62 * extent * outline).astype(np.float32)
    depth = np.hypot(y, x) / edge
    height = np.sqrt(np.clip(1 - depth**2, 0, 1))
    light = np.clip(0.55 * height - 0.6 * y / edge - 0.45 * x / edge, 0, None) + 0.22
    texture = _crop(rng, style, style.choice(["gravel", "brick", "wood"]), size)
    colour = 0.5 * texture.mean((0, 1)) + 0.5 * texture
    return colour * _average(light)[..., None] * np.float32(1.5), _average(depth < 1)


def _fence(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    pitch, width = extent * rng.uniform(0.42, 0.6), extent * rng.uniform(0.16, 0.24)
    lean = np.float32(rng.uniform(-0.06, 0.06))
    offset = (x + lean * y + pitch / 2) % pitch - pitch / 2
    posts = (np.abs(offset) < width / 2) & (y > -0.75 * extent + np.abs(offset))
    rails = np.abs(np.abs(y - 0.3 * extent) - 0.55 * extent) < 0.4 * width
    shade = np.where(posts, 1.25 - 0.5 * np.abs(offset / width + 0.2), 0.7).astype(np.float32)
    texture = _crop(rng, style, "wood", size).mean(2, keepdims=True)
    paint = np.float32(style.choice([[1.0, 0.72, 0.5], [1.0, 0.97, 0.9], [0.5, 0.62, 0.65]]))
    colour = (0.05 + texture) * paint * np.float32(style.uniform(1, 2.5))
    return colour * _average(shade)[..., None], _average(posts | rails)


def _mesh(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    pitch, width = extent * rng.uniform(0.3, 0.42), extent * rng.uniform(0.07, 0.1)
    rising, falling = (
        np.abs(((x + slope * y) / math.hypot(1, slope) + pitch / 2) % pitch - pitch / 2)
        for slope in (-0.8, 0.8)
    )
    to_wire = np.minimum(rising, falling)
    matte = to_wire < width / 2
    shade = 1.3 - 1.6 * np.clip(to_wire / width, 0, 0.5)
    colour = _crop(rng, style, "gravel", size) * np.float32(0.4) + np.float32(0.16)
    return colour * _average(shade)[..., None], _average(matte)


_WORDS = ("OPEN", "CAFE", "EXIT", "7a", "LENS", "BOKEH", "Nr 42", "TAXI", "menu", "f/1.8", "ZOO", "hello")


def _letters(rng, style, size, centre, extent):
    word = _WORDS[rng.integers(len(_WORDS))]
    font = ImageFont.load_default(size=_SAMPLES * 100)
    scale = 2.0 * extent / max(font.getlength(word) / _SAMPLES, 130)
    font = ImageFont.load_default(size=_SAMPLES * 100 * scale)
    drawing = Image.new("L", (size[1] * _SAMPLES, size[0] * _SAMPLES))
    ImageDraw.Draw(drawing).text(
        (centre[1] * _SAMPLES, centre[0] * _SAMPLES),
        word,
        255,
        font,
        anchor="mm",
        stroke_width=_SAMPLES * extent * 0.03,
    )
    texture = _crop(rng, style, style.choice(["wood", "brick", "gravel"]), size)
    paints = [[0.8, 0.08, 0.06], [0.9, 0.85, 0.75], [0.08, 0.2, 0.6], [0.9, 0.6, 0.05]]
    paint = np.float32(style.choice(paints))
    colour = paint * (0.4 + 0.6 * texture.mean(2) / texture.mean())[..., None]
    return colour, _average(np.asarray(drawing, np.float32) / 255)


def _card(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    angle = rng.uniform(-0.35, 0.35)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    half = extent * np.array([rng.uniform(0.65, 0.9), rng.uniform(0.65, 0.9)])
    depth = np.maximum(np.abs(v) - half[0], np.abs(u) - half[1])
    names = _fitting(_CARDS, size)
    picture = _crop(rng, style, names[style.integers(len(names))], size)
    border = _average(depth > -0.07 * extent)[..., None]
    return picture * (1 - border) + np.float32(0.75) * border, _average(depth < 0)


def _pasted(name):
    def thing(rng, style, size, centre, extent):
        sources = _cut_outs(name)
        source = sources[rng.integers(len(sources))]
        # Never enlarged, so that it stays as sharp as its photograph.
        scale = min(1.0, 2 * extent / max(source.shape[:2]))
        if name == "coins":
            source = ndimage.rotate(source, rng.uniform(0, 360), reshape=False, order=1)
        shape = [max(2, round(n * scale)) for n in source.shape[:2]]
        matte = source[..., 3:]
        small = _resize(np.dstack([source[..., :3] * matte, matte]), shape)
        colour, matte = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
        top, left = (round(c - n / 2) for c, n in zip(centre, shape))
        y0, y1 = max(top, 0), min(top + shape[0], size[0])
        x0, x1 = max(left, 0), min(left + shape[1], size[1])
        if y0 < y1 and x0 < x1:
            part = small[y0 - top : y1 - top, x0 - left : x1 - left]
            matte[y0:y1, x0:x1] = np.clip(part[..., 3], 0, 1)
            colour[y0:y1, x0:x1] = np.clip(part[..., :3] / np.maximum(part[..., 3:], 1e-3), 0, 2)
        return colour * _tint(style, name), matte

    return thing


_THINGS = {
    "leaves": _leaves,
    "stone": _stone,
    "fence": _fence,
    "mesh": _mesh,
    "letters": _letters,
    "card": _card,
    "dahlia": _pasted("dahlia"),
    "saucer": _pasted("saucer"),
    "coins": _pasted("coins"),
}


# Scenes


def _thing(rng, kind, size, centre, extent, distance, style_seed=None) -> Layer:
    """A thing at `centre` (fractions of the frame), of `extent` (fraction of the shorter side)."""
    style = np.random.default_rng(rng.integers(2**32) if style_seed is None else style_seed)
    pixels = (centre[0] * size[0], centre[1] * size[1])
    colour, matte = _THINGS[kind](rng, style, size, pixels, extent * min(size))
    return Layer(colour.astype(np.float32), matte.astype(np.float32), float(distance), kind)


def _backdrop(rng, size, distance, names=_BACKDROPS) -> Layer:
    names = _fitting(names, size)
    name = names[rng.integers(len(names))]
    colour = _crop(rng, rng, name, size)
    if name == "night":
        # Lamps brighter than white: out of focus they become the discs that bokeh is known for.
        for _ in range(rng.integers(15, 40)):
            y, x = rng.uniform(0.45, 1) * size[0], rng.uniform(0, 1) * size[1]
            lamp = np.float32(rng.choice([[1, 0.75, 0.4], [1, 0.95, 0.85], [1, 0.25, 0.15], [0.5, 0.8, 1]]))
            colour[int(y) : int(y) + 2, int(x) : int(x) + 2] += lamp * np.float32(rng.uniform(3, 14))
    return Layer(colour, np.ones(size, np.float32), float(distance), "backdrop")


def _stage(rng, size, near, far) -> tuple[Scene, Callable]:
    """A floor that runs to a wall, and the distance of something whose foot stands on a given row of it."""
    height, width = size
    foot, bottom = rng.uniform(0.25, 0.45) * height, height
    horizon = (bottom * near - foot * far) / (near - far)
    wall = _backdrop(rng, size, far)
    rows = (np.arange(height * _SAMPLES) + 0.5) / _SAMPLES
    distance = np.where(rows > foot, near * (bottom - horizon) / np.maximum(rows - horizon, 1e-3), far)
    name = ("brick", "grass", "gravel")[rng.integers(3)]
    texture = _photograph(name)
    # At the front edge a picture pixel takes 1.1 texture pixels, and more towards the wall: never enlarged.
    across = (np.arange(width * _SAMPLES) + 0.5) / _SAMPLES - width / 2
    step = 1.1 * distance / near
    u = across * step[:, None] + rng.uniform(0, 500)
    v = 1.1 * (bottom - horizon) * distance / near + rng.uniform(0, 500)
    places = np.broadcast_arrays(v[:, None], u)
    floor = np.dstack(
        [_average(ndimage.map_coordinates(texture[..., c], places, order=1, mode="mirror")) for c in range(3)]
    ) * _tint(rng, name)
    on_floor = _average(np.broadcast_to((rows > foot)[:, None], (len(rows), len(across))).astype(np.float32))
    colour = floor * on_floor[..., None] + wall.colour * (1 - on_floor[..., None])
    depth = np.broadcast_to(distance.reshape(height, _SAMPLES).mean(1)[:, None], size)
    return slice_depth(colour, depth, 14), lambda row: float(near * (bottom - horizon) / (row - horizon))


def garage_scene(size: tuple[int, int], box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Scene:
    """The stereo motorcycle of scikit-image with its measured depth, in 24 slices.

    `box` (left, top, right, bottom) is the part of the photograph as fractions. The garage is scaled to a
    third of its size (0.7 m to 1.7 m): life-size, a lens of any usual aperture holds all of it nearly sharp.
    """
    _check_size(size)
    colour, depth = _photograph("garage"), _garage_depth().astype(np.float32)
    height, width = depth.shape
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    nearest = Image.fromarray(depth).resize(size[::-1], Image.Resampling.NEAREST, pixels)
    return slice_depth(_resize(colour, size, pixels), np.asarray(nearest) / 3, 24)


def _camera(rng, scene, focus, blur) -> Camera:
    """A camera focused at `focus` whose aperture gives the most blurred layer a radius of `blur` x width."""
    largest = max(Camera(focus, 1.0).blur_radius(d, scene.shape[1]) for d in scene.distances)
    noise = rng.uniform(0.004, 0.02)
    return Camera(focus, float(blur * scene.shape[1] / largest), shot_noise=noise, read_noise=noise / 5)


def _graded(rng, scene: Scene) -> Scene:
    """The scene under another exposure and white balance."""
    gain = np.float32(rng.uniform(0.75, 1.25) * rng.uniform([0.92, 0.97, 0.9], [1.08, 1.03, 1.1]))
    return Scene(tuple(replace(layer, colour=layer.colour * gain) for layer in scene.layers))


def _simple(rng, size) -> tuple[Scene, float, float]:
    """Something near before something far, and the two distances."""
    near, far = rng.uniform(0.8, 1.3), rng.uniform(2.5, 6.0)
    choice = rng.random()
    if choice < 0.2:
        zoom = rng.uniform(0.8, 1.0)
        wide = zoom * min(1.0, size[1] / size[0] * 500 / 741)
        tall = min(1.0, wide * 741 / 500 * size[0] / size[1])
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
        scene = garage_scene(size, (left, top, left + wide, top + tall))
        return scene, 0.75 + rng.uniform(0, 0.05), max(scene.distances)
    kinds = list(_THINGS)
    if choice < 0.5:
        stage, distance_at = _stage(rng, size, near, far)
        things = []
        for _ in range(rng.integers(1, 4)):
            kind = rng.choice(["stone", "leaves", "card", "letters", "dahlia", "saucer"])
            centre = rng.uniform(0.5, 0.6), rng.uniform(0.15, 0.85)
            thing = _thing(rng, kind, size, centre, rng.uniform(0.22, 0.36), near)
            foot = np.flatnonzero(thing.matte.max(1) > 0.5)
            things.append(replace(thing, distance=distance_at(foot[-1] + 1 if len(foot) else size[0])))
        return Scene((*stage.layers, *things)), things[0].distance, far
    things = []
    for _ in range(rng.integers(1, 4)):
        centre = rng.uniform(0.25, 0.8), rng.uniform(0.15, 0.85)
        things.append(_thing(rng, rng.choice(kinds), size, centre, rng.uniform(0.25, 0.5), near))
    return Scene((_backdrop(rng, size, far), *things)), near, far


def _same_class(rng, size) -> tuple[Scene, float]:
    kind = rng.choice(["leaves", "stone", "dahlia", "coins", "saucer", "card", "letters"])
    distances = np.sort(rng.uniform([0.8, 1.25, 2.0], [0.95, 1.5, 2.8]))
    style_seed = int(rng.integers(2**32))
    layers = [_backdrop(rng, size, 5.0)]
    columns = rng.permutation(6)
    for number in range(6):
        distance = distances[number % 3]
        centre = (rng.uniform(0.2, 0.85), (columns[number] + 0.5) / 6)
        layers.append(_thing(rng, kind, size, centre, 0.3 / distance**0.6, distance, style_seed))
    return Scene(tuple(layers)), float(rng.choice(distances))


# Standard deviation over mean of linear light; a whole photograph has 0.5 to 1.
_LOW_CONTRAST = 0.15


def _clutter(rng, size) -> tuple[Scene, float]:
    focus = rng.uniform(1.0, 1.3)
    backdrop = _backdrop(rng, size, 5.0, ("trees", "garage", "grass", "gravel", "cafe"))
    layers = [backdrop]
    for _ in range(6):
        centre = rng.uniform(0, 1), rng.uniform(0, 1)
        layers.append(
            _thing(
                rng, rng.choice(list(_THINGS)), size, centre, rng.uniform(0.12, 0.26), rng.uniform(1.8, 4.0)
            )
        )
    kind = rng.choice(["stone", "leaves", "card", "dahlia", "saucer"])
    sharp = _thing(rng, kind, size, rng.uniform(0.35, 0.65, 2), rng.uniform(0.38, 0.5), focus)
    weight = sharp.matte / sharp.matte.sum()
    own = (sharp.colour * weight[..., None]).sum((0, 1))
    mean = 0.6 * own + 0.4 * backdrop.colour.mean((0, 1))
    spread = math.sqrt(((sharp.colour - own).mean(2) ** 2 * weight).sum())
    contrast = min(0.5, _LOW_CONTRAST * mean.mean() / max(spread, 1e-6))
    colour = np.clip(mean + contrast * (sharp.colour - own), 0, None).astype(np.float32)
    layers.append(replace(sharp, colour=colour, kind="low-contrast"))
    return Scene(tuple(layers)), focus


def _blurred_share(scene: Scene, camera: Camera) -> float:
    """Share of the frame that shows a blurred layer, before the blur itself moves the borders."""
    visible, blurred = np.ones(scene.shape, np.float32), 0.0
    for layer in sorted(scene.layers, key=lambda layer: layer.distance):
        if camera.blur_radius(layer.distance, scene.shape[1]) > BLUR_THRESHOLD:
            blurred += float((visible * layer.matte).mean())
        visible = visible * (1 - layer.matte)
    return blurred


def make_scene(
    challenge: str, index: int = 0, size: tuple[int, int] = (128, 128), seed: int = 0
) -> tuple[Scene, Camera]:
    """The scene and the camera of one photograph of the synthetic set.

    `challenge` is one of `CHALLENGES`; `size` is (height, width) in pixels, 48 to 384 a side and at most 2:1.
    Photographs 2k and 2k + 1 of "focus-swapped-pair" are the pair k of section 4.1: one scene, focused first
    in front and then behind. Scenes whose blurred share lies outside 0.2 to 0.85 are drawn again. Raises
    ValueError for a bad argument, RuntimeError where no such scene is found.
    """
    _check_size(size)
    _check_challenges([challenge])
    pair = challenge == "focus-swapped-pair"
    rng = np.random.default_rng([seed, CHALLENGES.index(challenge), index // 2 if pair else index])
    size = tuple(int(side) for side in size)
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
        f"make_scene: none of 100 scenes for {challenge} {index}, size {size} and seed {seed} "
        "has a blurred share of 0.2 to 0.85; take another seed or a squarer size."
    )


def open_synthetic(
    count: int, size: tuple[int, int] = (128, 128), seed: int = 0, challenges: Sequence[str] | None = None
) -> PhotoSet:
    """The synthetic set: `count` photographs that cycle through `challenges` (all of `CHALLENGES` if None).

    `size` is (height, width) in pixels, 48 to 384 a side and at most 2:1. Photographs are rendered when asked
    for, named "foreground-in-focus-000" and so on, and bit-identical for the same seed, size and name,
    whatever the other arguments. Masks are float32, 1 = blurred by a radius above `BLUR_THRESHOLD`. Raises
    ValueError for a bad argument.
    """
    challenges = CHALLENGES if challenges is None else tuple(challenges)
    _check_size(size)
    _check_challenges(challenges)
    if count < 1:
        raise ValueError(f"open_synthetic: count is {count}; give a number of photographs of 1 or more.")
    stems = [f"{challenges[i % len(challenges)]}-{i // len(challenges):03d}" for i in range(count)]

    def read(stem: str) -> Photo:
        challenge, index = stem.rsplit("-", 1)
        scene, camera = make_scene(challenge, int(index), size, seed)
        rendering = render(scene, camera, [seed, CHALLENGES.index(challenge), int(index)])
        return Photo(stem, rendering.image, rendering.mask)

    return PhotoSet("synthetic", stems, read)


def _check_size(size) -> None:
    fits = len(size) == 2 and all(SMALLEST_SIDE <= n <= LARGEST_SIDE and n == int(n) for n in size)
    if not fits or max(size) > 2 * min(size):
        raise ValueError(
            f"Synthetic photographs: size is {tuple(size)}; give (height, width) in whole "
            f"pixels from {SMALLEST_SIDE} to {LARGEST_SIDE}, neither above twice the other."
        )


def _check_challenges(challenges) -> None:
    unknown = [name for name in challenges if name not in CHALLENGES]
    if unknown or not challenges:
        raise ValueError(
            f"Synthetic photographs: found challenges {unknown or list(challenges)}; give one "
            f"or more of {', '.join(CHALLENGES)}."
        )
