"""From 604 photographs to 9,664 training samples (Sec. 3.5): rotated, resized and flipped, mask and all."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from defusion_lib.data import PhotoSet

ROTATIONS = (0, 90, 180, 270)  # degrees; quarter turns need no filling at the border
SCALES = (1.0, 1.25)  # an enlarged photograph is cut back to its own size
FLIPS = (False, True)


class Augmented(Sequence):
    """Every photograph of a set in every rotation, scale and flip: `len(photos)` x 16 samples by default.

    The paper names the three operations and the total of 9,664 = 604 x 16; how the sixteen are made up is our
    reading. Sample i is the same whenever and wherever it is asked for: the window cut from an enlarged
    photograph depends on `seed` and i alone. Gives (photograph (3, size, size), mask (1, size, size)), float32 in
    [0, 1], 1 = blurred. Raises ValueError for a photograph without a mask.
    """

    def __init__(
        self,
        photos: PhotoSet,
        size: int,
        rotations: Sequence[int] = ROTATIONS,
        scales: Sequence[float] = SCALES,
        flips: Sequence[bool] = FLIPS,
        seed: int = 0,
    ):
        self.photos, self.size, self.seed = photos, size, seed
        self.variants = [
            (rotation, scale, flip) for rotation in rotations for scale in scales for flip in flips
        ]

    def __len__(self) -> int:
        return len(self.photos) * len(self.variants)

    def variant(self, index: int) -> tuple[int, tuple[int, float, bool]]:
        """Which photograph sample `index` shows, and its (rotation in degrees, scale, flip)."""
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)} does not exist.")
        return index // len(self.variants), self.variants[index % len(self.variants)]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        which, (rotation, scale, flip) = self.variant(index)
        name, image, mask = self.photos[which]
        if mask is None:
            raise ValueError(
                f"{name} of {self.photos.name} has no mask, and training needs one for every photograph."
            )
        window = self._window(index, image.shape[:2], scale)
        image = squash(Image.fromarray(image), self.size, window)
        mask = squash(Image.fromarray(mask), self.size, window)
        image, mask = (np.rot90(array, rotation // 90, axes=(0, 1)) for array in (image, mask))
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return to_tensor(image), torch.from_numpy(np.array(mask, np.float32, order="C"))[None]

    def _window(self, index: int, shape: tuple[int, int], scale: float) -> tuple[float, float, float, float]:
        """What stays in view (left, top, right, bottom) when a photograph is enlarged and cut back."""
        height, width = shape
        if scale == 1:
            return 0, 0, width, height
        left, top = np.random.default_rng((self.seed, index)).random(2) * (1 - 1 / scale) * (width, height)
        return left, top, left + width / scale, top + height / scale


def squash(picture: Image.Image, size: int, window: tuple | None = None) -> np.ndarray:
    """A picture, or a window of it, resized to size x size whatever its proportions, without aliasing."""
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=window))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """A uint8 photograph (H, W, 3) as float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float() / 255
