"""Wrapper shared by the classical methods: any image in, a defocus map of the same size out."""

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from defusion_lib.inference import resize_map, to_rgb

MAX_PIXELS = 1_500_000  # keeps the classical methods under 2 GB, and DHDE near 3


def classical_method(core: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Wrap a method's `core(image, progress)` as the common call `detect(image, progress=False) -> map`.

    The core receives uint8 RGB (H, W, 3), and by name what else the call is given, and returns (H, W), 1 = blurred.
    Images of more than `MAX_PIXELS` pixels are reduced to that size first: the methods analyse patches of some tens of
    pixels, which have little detail at full size. The wrapped call accepts the images that
    `defusion_lib.inference.detect` accepts, raises ValueError for any other, and returns float32 (H, W) in [0, 1] at
    the image's size.
    """

    @functools.wraps(core)
    def detect(image: np.ndarray, progress: bool = False, **given) -> np.ndarray:
        image = to_rgb(image)
        height, width = image.shape[:2]
        scale = (MAX_PIXELS / (height * width)) ** 0.5
        seen = image
        if scale < 1:
            size = max(1, int(width * scale)), max(1, int(height * scale))
            seen = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        # Several threads are slower than one for small matrix products, and some methods start threads themselves.
        with threadpool_limits(1, user_api="blas"):
            defocus = core(seen, progress, **given)
        if scale < 1:
            return resize_map(defocus, (height, width))
        return np.clip(defocus, 0, 1).astype(np.float32)

    return detect
