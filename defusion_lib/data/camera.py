"""Render scenes made of layers with a thin lens: photos whose blur is known exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage

BLUR_THRESHOLD = 1.0
"""Radius in pixels above which a pixel counts as blurred: a disc of radius 1 px gives most
of a pixel's light to its neighbours, one of radius 0.5 px stays inside the pixel."""
OVERLAP = 0.1  # of slices of depth, as a share of the image's width


@dataclass(frozen=True)
class Camera:
    """A thin lens focused at one distance, in front of a sensor with noise.

    `focus_distance` in metres; `aperture`, the lens's diameter, `focal_length` and `sensor_width` in
    millimetres (an aperture of 0 is a pinhole, which keeps everything sharp). `shot_noise` is the standard deviation of
    the photon noise at white and `read_noise` that of the sensor's floor, both as fractions of white in
    linear light. Raises ValueError for a negative or non-finite value or a focus inside the focal length.
    """

    focus_distance: float
    aperture: float = 40.0
    focal_length: float = 85.0
    sensor_width: float = 36.0
    shot_noise: float = 0.01
    read_noise: float = 0.002

    def __post_init__(self):
        for name in ("aperture", "shot_noise", "read_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"Camera: {name} is {getattr(self, name)}, expected 0 or more.")
        for name in ("focal_length", "sensor_width"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"Camera: {name} is {getattr(self, name)} mm, expected more than 0.")
        if not self.focal_length / 1000 < self.focus_distance < math.inf:
            raise ValueError(
                f"Camera: focus_distance is {self.focus_distance} m, expected a distance beyond the focal length of "
                f"{self.focal_length} mm."
            )

    def blur_radius(self, distance: float, width: int) -> float:
        """Return the radius in pixels of the circle of confusion of a point, in an image `width` pixels wide.

        `distance` in metres, infinity allowed. Half of the thin lens's blur diameter
        c = A f |d - s| / (d (s - f)), for aperture A, focal length f, focus distance s and distance d.
        """
        focal_length = self.focal_length / 1000
        diameter = (
            self.aperture
            * focal_length
            / (self.focus_distance - focal_length)
            * abs(1 - self.focus_distance / distance)
        )
        return diameter / 2 / self.sensor_width * width


@dataclass(frozen=True)
class Layer:
    """A flat cut-out that faces the camera.

    `colour` is float32 (H, W, 3) in linear light, 1 = white, defined also where the matte is 0 or another
    layer hides it; `matte` is float32 (H, W) in [0, 1], 1 = opaque; `distance` in metres; `kind` says what it
    shows.
    """

    colour: np.ndarray
    matte: np.ndarray
    distance: float
    kind: str

    def __post_init__(self):
        if self.matte.ndim != 2 or self.colour.shape != (*self.matte.shape, 3):
            raise ValueError(
                f"Layer {self.kind}: colour has shape {self.colour.shape} and matte {self.matte.shape}, expected "
                "(H, W, 3) and (H, W)."
            )
        if not self.distance > 0:
            raise ValueError(f"Layer {self.kind}: distance is {self.distance} m, expected more than 0.")


@dataclass(frozen=True)
class Scene:
    """Layers of one size, in any order; the one furthest away should fill the frame."""

    layers: tuple[Layer, ...]

    def __post_init__(self):
        shapes = {layer.matte.shape for layer in self.layers}
        if len(shapes) != 1:
            raise ValueError(
                f"Scene: found layers of {len(shapes)} sizes {sorted(shapes)}, expected one or more layers of one size."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.layers[0].matte.shape

    @property
    def distances(self) -> tuple[float, ...]:
        """Distance of every layer in metres, in the layers' order."""
        return tuple(layer.distance for layer in self.layers)

    def at(self, distances: Sequence[float]) -> "Scene":
        """Return the same layers at other distances in metres; raise ValueError unless each layer has one."""
        if len(distances) != len(self.layers):
            raise ValueError(f"Scene: found {len(distances)} distances, expected {len(self.layers)}, one per layer.")
        return Scene(tuple(replace(layer, distance=d) for layer, d in zip(self.layers, distances)))


class Rendering(NamedTuple):
    """A rendered photo of a scene and its exact blur.

    `image` uint8 (H, W, 3) sRGB; `radius` float32 (H, W), the blur radius in pixels; `mask` float32 (H, W),
    1 = blurred, that is `radius > BLUR_THRESHOLD`.
    """

    image: np.ndarray
    radius: np.ndarray
    mask: np.ndarray


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Convert sRGB values in uint8 to linear light, float32 with 1 = white (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    table = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[srgb]


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Convert linear light, clipped to [0, 1] as a sensor saturates, to sRGB values in uint8 (IEC 61966-2-1)."""
    light = np.clip(linear, 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * value).astype(np.uint8)


def disc(radius: float) -> np.ndarray:
    """Compute the kernel of a disc of `radius` pixels: each pixel's share of the disc's area, float32, sum 1.

    A disc of at most half a pixel lies inside one pixel, so its kernel is 1x1.
    """
    reach = max(0, math.ceil(radius - 0.5))
    samples = 8
    axis = (np.arange((2 * reach + 1) * samples) + 0.5) / samples - reach - 0.5
    inside = axis[:, None] ** 2 + axis**2 <= max(radius, 0.5) ** 2
    area = inside.reshape(2 * reach + 1, samples, 2 * reach + 1, samples).sum((1, 3)).astype(np.float64)
    return (area / area.sum()).astype(np.float32)


def render(scene: Scene, camera: Camera, seed: int | Sequence[int] = 0) -> Rendering:
    """Render a photo of a scene: blur every layer by its disc and composite from back to front.

    Premultiplied colour and matte of a layer are blurred together, in linear light: a blurred foreground spills over
    what is behind it, and a blurred background takes no light from a sharp foreground because its colour continues
    underneath. What lies outside the frame is its mirror image. Noise is added before the sRGB curve and is the same
    for the same `seed`. The radius of a pixel is the weighted median over the layers that it shows: at least half of
    its light comes from layers blurred no more, and half from no less.
    """
    radii: list[float] = []
    weights: list[np.ndarray] = []
    light = np.zeros((*scene.shape, 3), np.float32)
    for layer in sorted(scene.layers, key=lambda layer: -layer.distance):
        radius = camera.blur_radius(layer.distance, scene.shape[1])
        blurred = blur(np.dstack([layer.colour * layer.matte[..., None], layer.matte]), radius)
        matte = np.clip(blurred[..., 3], 0, 1)
        behind = 1 - matte
        light = light * behind[..., None] + blurred[..., :3]
        weights = [weight * behind for weight in weights] + [matte]
        radii.append(radius)
    total = np.maximum(sum(weights), 1e-6)
    light = light / total[..., None]
    light += _noise(light, camera, seed)
    median = _weighted_median(radii, weights, total)
    return Rendering(to_srgb(light), median, (median > BLUR_THRESHOLD).astype(np.float32))


def blur(planes: np.ndarray, radius: float) -> np.ndarray:
    """Convolve (H, W, C) with a disc; the last plane, the matte, is 0 where nothing is to be blurred."""
    kernel = disc(radius)
    reach = len(kernel) // 2
    if reach == 0:
        return planes
    height, width = planes.shape[:2]
    padded = np.pad(planes, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    rows, columns = (np.flatnonzero(padded[..., -1].any(axis)) for axis in (1, 0))
    result = np.zeros_like(planes)
    if len(rows) == 0:
        return result
    top, left = rows[0], columns[0]
    piece = padded[top : rows[-1] + 1, left : columns[-1] + 1]
    full = [piece.shape[0] + 2 * reach, piece.shape[1] + 2 * reach]
    fast = [fft.next_fast_len(n, real=True) for n in full]
    spectrum = fft.rfft2(np.moveaxis(piece, 2, 0), fast) * fft.rfft2(kernel, fast)
    spread = np.moveaxis(fft.irfft2(spectrum, fast)[:, : full[0], : full[1]], 0, 2)
    # Row i of `spread` is row top - 2 * reach + i of the image: padding and kernel add `reach` each.
    first_row, first_column = top - 2 * reach, left - 2 * reach
    y0, y1 = max(0, first_row), min(height, first_row + full[0])
    x0, x1 = max(0, first_column), min(width, first_column + full[1])
    result[y0:y1, x0:x1] = spread[y0 - first_row : y1 - first_row, x0 - first_column : x1 - first_column]
    return result


def _noise(light: np.ndarray, camera: Camera, seed: int | Sequence[int]) -> np.ndarray:
    """Draw Gaussian sensor noise: variance grows with the light (photons) above a constant floor (read-out)."""
    rng = np.random.default_rng(seed)
    deviation = np.sqrt(camera.shot_noise**2 * np.clip(light, 0, 1) + camera.read_noise**2)
    return deviation * rng.standard_normal(light.shape, dtype=np.float32)


def _weighted_median(radii: Sequence[float], weights: Sequence[np.ndarray], total: np.ndarray) -> np.ndarray:
    result = np.zeros(total.shape, np.float32)
    below = np.zeros_like(total)
    for index in np.argsort(radii):
        result[below < total / 2] = radii[index]
        below = below + weights[index]
    return result


def slice_depth(colour: np.ndarray, distance: np.ndarray, slices: int) -> Scene:
    """Cut an image with a depth map into layers, evenly in 1 / distance because blur is linear in it.

    `colour` float32 (H, W, 3) in linear light, `distance` float (H, W) in metres. Every slice continues behind nearer
    ones for `OVERLAP` times the image's width in the colour of its nearest pixel, so that neighbouring slices of one
    surface meet without a gap. A layer's distance is the harmonic mean of its pixels'. Raises ValueError for no slices,
    other shapes or a distance that is not positive.
    """
    if slices < 1 or distance.shape != colour.shape[:2] or not np.all(distance > 0):
        raise ValueError(
            f"Slices of depth: found {slices} slices, colour {colour.shape} and distance {distance.shape}, expected at "
            "least 1 slice and a positive distance for every pixel."
        )
    nearness = 1 / distance
    edges = np.linspace(nearness.min(), nearness.max(), slices + 1)
    index = np.clip(np.digitize(nearness, edges) - 1, 0, slices - 1)
    layers = []
    for number in np.unique(index):
        own = index == number
        gap, (y, x) = ndimage.distance_transform_edt(~own, return_indices=True)
        matte = own | ((index > number) & (gap <= OVERLAP * colour.shape[1]))
        layers.append(Layer(colour[y, x], matte.astype(np.float32), float(1 / nearness[own].mean()), "slice"))
    return Scene(tuple(layers))
