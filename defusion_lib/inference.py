"""Compute the defocus map of an image of any size."""

import numpy as np
import torch
from PIL import Image

from defusion_lib.data.augmentation import resize_to_square, to_tensor
from defusion_lib.network import DeFusionNet, Maps
from defusion_lib.precision import autocast, place, resolve_precision

SIZE = 320  # pixels: what the network sees, as in the paper's timing and in its last stage of training


def detect(image: np.ndarray, network: DeFusionNet, size: int | None = SIZE, precision: str = "fp32") -> np.ndarray:
    """Compute the defocus map of an image, float32 (H, W) in [0, 1], 1 = blurred.

    `image` is uint8, RGB (H, W, 3) or grey (H, W). The network sees it resized to `size` x `size` pixels, as in
    training, or unchanged where `size` is None; the map has the image's size. `precision` is "fp32",
    "bf16" or "auto". Raises ValueError for any other array, and for bf16 where it does not exist.
    """
    image = to_rgb(image)
    probability = torch.sigmoid(predict_maps(image, network, size, precision).final)[0, 0].cpu().numpy()
    return resize_map(probability, image.shape[:2])


def predict_maps(image: np.ndarray, network: DeFusionNet, size: int | None = SIZE, precision: str = "fp32") -> Maps:
    """Predict the final map and each side output of one image, as logits (1, 1, size, size) in float32."""
    seen = to_rgb(image) if size is None else resize_to_square(Image.fromarray(to_rgb(image)), size)
    device = next(network.parameters()).device
    precision = resolve_precision(precision, device)
    place(network, precision, device).eval()
    with torch.inference_mode(), autocast(precision, device):
        final, sides = network(to_tensor(seen)[None].to(device))
        return Maps(final.float(), [side.float() for side in sides])


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image as uint8 RGB (H, W, 3), grey repeated; raises ValueError for any other array."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(
            f"Found an array of {image.dtype} and shape {image.shape}, expected a photo: uint8 of shape "
            "(H, W, 3) or (H, W); open files with defusion_lib.read_image."
        )
    if image.size == 0:
        raise ValueError("Found a photo without pixels: open one that has at least one.")
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def resize_map(defocus: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a defocus map bilinearly to (height, width), clipped to [0, 1]."""
    height, width = shape
    resized = Image.fromarray(np.asarray(defocus, np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized), 0, 1)
