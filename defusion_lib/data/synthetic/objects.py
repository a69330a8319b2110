"""Painters of the objects in rendered scenes.

Each takes (rng, style, size, (y, x) of the object's centre in pixels, its extent in pixels) and returns the colour, (H,
W, 3) in linear light, and the matte, (H, W), of a whole frame. `style` is a generator with the seed of the class, so
that objects of one class look alike.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from defusion_lib.data.synthetic.sources import CARDS, cut_outs, fitting, random_crop, random_tint, resize

Painter = Callable[..., tuple[np.ndarray, np.ndarray]]

SAMPLES = 3  # points per pixel in each direction


def _grid(size, centre):
    """Return coordinates in pixels from the centre, on a grid of SAMPLES x SAMPLES points per pixel."""
    y, x = ((np.arange(n * SAMPLES, dtype=np.float32) + 0.5) / SAMPLES - c for n, c in zip(size, centre))
    return y[:, None], x[None, :]


def average(fine: np.ndarray) -> np.ndarray:
    """Average the points of each pixel: (h * SAMPLES, w * SAMPLES) becomes float32 (h, w)."""
    height, width = (n // SAMPLES for n in fine.shape)
    return fine.reshape(height, SAMPLES, width, SAMPLES).mean((1, 3), dtype=np.float32)


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
    texture = random_crop(rng, style, "grass", size)
    colour = (0.35 * texture.mean((0, 1)) + 0.65 * texture) * np.float32(tint)
    return colour * average(shade)[..., None], average(matte | stem)


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
    texture = random_crop(rng, style, style.choice(["gravel", "brick", "wood"]), size)
    colour = 0.5 * texture.mean((0, 1)) + 0.5 * texture
    return colour * average(light)[..., None] * np.float32(1.5), average(depth < 1)


def _fence(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    pitch, width = extent * rng.uniform(0.42, 0.6), extent * rng.uniform(0.16, 0.24)
    lean = np.float32(rng.uniform(-0.06, 0.06))
    offset = (x + lean * y + pitch / 2) % pitch - pitch / 2
    posts = (np.abs(offset) < width / 2) & (y > -0.75 * extent + np.abs(offset))
    rails = np.abs(np.abs(y - 0.3 * extent) - 0.55 * extent) < 0.4 * width
    shade = np.where(posts, 1.25 - 0.5 * np.abs(offset / width + 0.2), 0.7).astype(np.float32)
    texture = random_crop(rng, style, "wood", size).mean(2, keepdims=True)
    paint = np.float32(style.choice([[1.0, 0.72, 0.5], [1.0, 0.97, 0.9], [0.5, 0.62, 0.65]]))
    colour = (0.05 + texture) * paint * np.float32(style.uniform(1, 2.5))
    return colour * average(shade)[..., None], average(posts | rails)


def _mesh(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    pitch, width = extent * rng.uniform(0.3, 0.42), extent * rng.uniform(0.07, 0.1)
    rising, falling = (
        np.abs(((x + slope * y) / math.hypot(1, slope) + pitch / 2) % pitch - pitch / 2) for slope in (-0.8, 0.8)
    )
    to_wire = np.minimum(rising, falling)
    matte = to_wire < width / 2
    shade = 1.3 - 1.6 * np.clip(to_wire / width, 0, 0.5)
    colour = random_crop(rng, style, "gravel", size) * np.float32(0.4) + np.float32(0.16)
    return colour * average(shade)[..., None], average(matte)


_WORDS = ("OPEN", "CAFE", "EXIT", "7a", "LENS", "BOKEH", "Nr 42", "TAXI", "menu", "f/1.8", "ZOO", "hello")


def _letters(rng, style, size, centre, extent):
    word = _WORDS[rng.integers(len(_WORDS))]
    font = ImageFont.load_default(size=SAMPLES * 100)
    scale = 2.0 * extent / max(font.getlength(word) / SAMPLES, 130)
    font = ImageFont.load_default(size=SAMPLES * 100 * scale)
    drawing = Image.new("L", (size[1] * SAMPLES, size[0] * SAMPLES))
    ImageDraw.Draw(drawing).text(
        (centre[1] * SAMPLES, centre[0] * SAMPLES),
        word,
        255,
        font,
        anchor="mm",
        stroke_width=SAMPLES * extent * 0.03,
    )
    texture = random_crop(rng, style, style.choice(["wood", "brick", "gravel"]), size)
    paints = [[0.8, 0.08, 0.06], [0.9, 0.85, 0.75], [0.08, 0.2, 0.6], [0.9, 0.6, 0.05]]
    paint = np.float32(style.choice(paints))
    colour = paint * (0.4 + 0.6 * texture.mean(2) / texture.mean())[..., None]
    return colour, average(np.asarray(drawing, np.float32) / 255)


def _card(rng, style, size, centre, extent):
    y, x = _grid(size, centre)
    angle = rng.uniform(-0.35, 0.35)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    half = extent * np.array([rng.uniform(0.65, 0.9), rng.uniform(0.65, 0.9)])
    depth = np.maximum(np.abs(v) - half[0], np.abs(u) - half[1])
    names = fitting(CARDS, size)
    picture = random_crop(rng, style, names[style.integers(len(names))], size)
    border = average(depth > -0.07 * extent)[..., None]
    return picture * (1 - border) + np.float32(0.75) * border, average(depth < 0)


def _pasted(name: str) -> Painter:
    def paint(rng, style, size, centre, extent):
        sources = cut_outs(name)
        source = sources[rng.integers(len(sources))]
        # Never enlarged, so that it stays as sharp as its photo.
        scale = min(1.0, 2 * extent / max(source.shape[:2]))
        if name == "coins":
            source = ndimage.rotate(source, rng.uniform(0, 360), reshape=False, order=1)
        shape = [max(2, round(n * scale)) for n in source.shape[:2]]
        matte = source[..., 3:]
        small = resize(np.dstack([source[..., :3] * matte, matte]), shape)
        colour, matte = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
        top, left = (round(c - n / 2) for c, n in zip(centre, shape))
        y0, y1 = max(top, 0), min(top + shape[0], size[0])
        x0, x1 = max(left, 0), min(left + shape[1], size[1])
        if y0 < y1 and x0 < x1:
            part = small[y0 - top : y1 - top, x0 - left : x1 - left]
            matte[y0:y1, x0:x1] = np.clip(part[..., 3], 0, 1)
            colour[y0:y1, x0:x1] = np.clip(part[..., :3] / np.maximum(part[..., 3:], 1e-3), 0, 2)
        return colour * random_tint(style, name), matte

    return paint


OBJECTS: dict[str, Painter] = {
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
