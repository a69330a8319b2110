"""The door of the compared methods: any photograph in, a defocus map of its size out."""

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from defusion_lib.inference import as_rgb, to_shape

LARGEST = 1_500_000  # pixels: what keeps every method under 2 GB


def detector(core: Callable[[np.ndarray, bool], np.ndarray]) -> Callable[..., np.ndarray]:
    """Make the common call `detect(image, progress=False) -> map` of a method's `core(image, progress)`.

    The core sees uint8 RGB (H, W, 3) and returns (H, W), 1 = blurred. Photographs of more than `LARGEST` pixels
    are shrunk to that for it: the methods look at patches of some tens of pixels, which hold nothing at full
    size. The call takes what `defusion_lib.inference.detect` takes, raises ValueError for anything else, and
    returns float32 (H, W) in [0, 1] at the photograph's own size.
    """

    @functools.wraps(core)
    def detect(image: np.ndarray, progress: bool = False) -> np.ndarray:
        image = as_rgb(image)
        height, width = image.shape[:2]
        scale = (LARGEST / (height * width)) ** 0.5
        seen = image
        if scale < 1:
            size = max(1, int(width * scale)), max(1, int(height * scale))
            seen = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        # Small products by several threads take longer than by one, and methods bring threads of their own.
        with threadpool_limits(1, user_api="blas"):
            defocus = core(seen, progress)
        if scale < 1:
            return to_shape(defocus, (height, width))
        return np.clip(defocus, 0, 1).astype(np.float32)

    return detect
