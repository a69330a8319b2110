"""Disturb photos: blur, noise, compression, loss of resolution, tone.

Every function takes and returns uint8 RGB (H, W, 3).
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

Seed = int | Sequence[int] | np.random.Generator


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur a photo as a lens that spreads every point over a disc of `radius` pixels, in linear light."""
    # Imported here, because the camera needs SciPy, and a bundle (tools/bundle.py) trains without it.
    from defusion_lib.data.camera import blur, to_linear, to_srgb

    opaque = np.ones((*image.shape[:2], 1), np.float32)
    return to_srgb(blur(np.dstack([to_linear(image), opaque]), radius)[..., :3])


def noisy(image: np.ndarray, deviation: float, seed: Seed, shot: float = 0.0) -> np.ndarray:
    """Add Gaussian noise with a standard deviation in levels of 255; the same for the same `seed`.

    `shot` in [0, 1] is the share of the variance that grows with the level, as the noise of photons does; the
    rest is the same everywhere. `seed` is what `numpy.random.default_rng` takes.
    """
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    level = deviation if shot == 0 else deviation * np.sqrt(1 - shot + shot * np.float32(image) / 128)
    return to_levels(image + level * noise)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Store a photo as JPEG of a quality from 1 to 95, and read it again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def rescaled(image: np.ndarray, factor: float) -> np.ndarray:
    """Shrink a photo by a factor in (0, 1] and enlarge it to its size again, bilinearly."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (max(1, round(factor * width)), max(1, round(factor * height))), Image.Resampling.BILINEAR
    )
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def toned(image: np.ndarray, gamma: float, gain: float) -> np.ndarray:
    """Raise a photo's levels, as shares of white, to the power `gamma` and multiply them by `gain`."""
    table = to_levels(255 * gain * (np.arange(256) / 255) ** gamma)
    return table[image]


def darkened(image: np.ndarray, stops: float) -> np.ndarray:
    """Expose a photo `stops` less: each stop halves the light."""
    from defusion_lib.data.camera import to_linear, to_srgb

    return to_srgb(to_linear(image) * np.float32(2.0**-stops))


def grey(image: np.ndarray) -> np.ndarray:
    """Replace colours by their luma (ITU-R 601), repeated in three channels."""
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)


def to_levels(values: np.ndarray) -> np.ndarray:
    """Round values to uint8, clipped to 0 ... 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
