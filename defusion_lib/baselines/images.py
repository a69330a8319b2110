"""Image operations that several of the compared methods share."""

import numpy as np
from scipy.ndimage import map_coordinates

LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B (ITU-R BT.601)


def luma(image: np.ndarray, weights: tuple[float, float, float] = LUMA) -> np.ndarray:
    """Return the weighted sum of R, G and B, unrounded: (H, W, 3) of any type -> float64 (H, W)."""
    return image @ np.array(weights)


def stretch(values: np.ndarray) -> np.ndarray:
    """Shift and scale values to the range from 0 to 1; a constant array is returned unchanged."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values


def interpolate_windows(values: np.ndarray, stride: int, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate the values of windows linearly to all pixels: (rows, columns) -> (H, W), which is `shape`.

    The windows have an even side and lie `stride` pixels apart, from the image's upper left corner on. Beyond the
    outermost centres the nearest value is repeated.
    """
    # The centre of an even window lies half a pixel before the window's middle pixel.
    centres = [(np.arange(size) + 0.5) / stride for size in shape]
    return map_coordinates(values, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest")
