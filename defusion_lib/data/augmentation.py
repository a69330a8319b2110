"""Make 9,664 training samples of 604 photos (Sec. 3.5), with random steps beyond the paper's sixteen variants."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from defusion_lib.data import PhotoSet
from defusion_lib.data.effects import blurred, grey, jpeg, noisy, rescaled, toned

ROTATIONS = (0, 90, 180, 270)  # degrees; quarter turns need no filling at the border
SCALES = (1.0, 1.25)  # an enlarged photo is cut back to its own size
FLIPS = (False, True)

DRAWS = 32  # samples of one variant of a photo that differ in their random steps
MIN_SQUARE = 80  # pixels, twice the reach of the smallest uniform square that is cut out: its side has one pixel less
RADII = (1.25, 8.0)  # pixels, of added blur, in the image that the network sees

Pair = tuple[np.ndarray, np.ndarray]


class Step(NamedTuple):
    """A random step of the augmentation.

    It is applied with a probability; `apply(image, mask, rng)` takes and returns uint8 (H, W, 3) and float32 (H, W).
    """

    probability: float
    apply: Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


def _uniform_square(value: int) -> Callable[..., Pair]:
    """Make a step that cuts out a large square in which the mask is `value`; it does nothing where there is none."""

    def apply(image, mask, rng):
        # Imported here, because a bundle (tools/bundle.py) trains without SciPy.
        from scipy import ndimage

        # Distance to the nearest other pixel or border: a square of that reach fits around the pixel.
        reach = ndimage.distance_transform_cdt(np.pad(mask == value, 1), "chessboard")[1:-1, 1:-1]
        wanted = math.ceil(max(MIN_SQUARE / 2, rng.uniform(0.6, 1.0) * reach.max()))
        centres = np.argwhere(reach >= wanted)
        if not len(centres):
            return image, mask
        window = tuple(slice(at - wanted + 1, at + wanted) for at in rng.choice(centres))
        return image[window], mask[window]

    return apply


def _crop(image, mask, rng) -> Pair:
    """Cut out a window of 0.55 to 1 of each side; a uniform mask, which an earlier step may have cut, stays whole."""
    if mask.min() == mask.max():
        return image, mask
    sides = [math.ceil(share * side) for share, side in zip(rng.uniform(0.55, 1.0, 2), mask.shape)]
    corner = [rng.integers(whole - side + 1) for whole, side in zip(mask.shape, sides)]
    window = tuple(slice(at, at + side) for at, side in zip(corner, sides))
    return image[window], mask[window]


def _turn(image, mask, rng) -> Pair:
    turns = int(rng.integers(1, 4))
    return np.rot90(image, turns), np.rot90(mask, turns)


def _rendered(image, mask, rng) -> Pair:
    """Take a rendered scene instead. Even seeds train, odd ones test (`datasets.open_dataset`)."""
    # Imported here, because a bundle (tools/bundle.py) trains without SciPy, which both need.
    from defusion_lib.data.camera import render
    from defusion_lib.data.synthetic import CHALLENGES, SMALLEST_SIDE, make_scene

    size = max(SMALLEST_SIDE, mask.shape[0]), max(SMALLEST_SIDE, mask.shape[1])
    challenge, index = CHALLENGES[rng.integers(len(CHALLENGES))], int(rng.integers(2**31))
    scene, camera = make_scene(challenge, index, size, seed=0)
    found = render(scene, camera, [0, CHALLENGES.index(challenge), index])
    window = tuple(slice(side) for side in mask.shape)
    return found.image[window], found.mask[window]


def _radius(rng) -> float:
    low, high = np.log(RADII)
    return math.exp(rng.uniform(low, high))


def _half_blur(image, mask, rng) -> Pair:
    """Blur one side of a straight line through an image that is in focus; other images stay as they are."""
    if mask.any():
        return image, mask
    angle = rng.choice([0, 0.5, 1, 1.5, rng.uniform(0, 2)]) * math.pi
    rows, columns = (np.linspace(-1, 1, side) for side in mask.shape)
    behind = rows[:, None] * math.sin(angle) + columns * math.cos(angle) > rng.uniform(-0.5, 0.5)
    return np.where(behind[..., None], blurred(image, _radius(rng)), image), behind.astype(np.float32)


def _blur(image, mask, rng) -> Pair:
    return blurred(image, _radius(rng)), np.ones_like(mask)


def _tone(image, mask, rng) -> Pair:
    return toned(image, math.exp(rng.uniform(-0.5, 0.5)), rng.uniform(0.6, 1.2)), mask


def _noise(image, mask, rng) -> Pair:
    return noisy(image, rng.uniform(0, 24), rng, shot=rng.choice([0.0, rng.uniform()])), mask


# Steps on the photo at its own size, which select what is seen of it.
VIEWS = {
    "sharp-square": Step(0.15, _uniform_square(0)),
    "blurred-square": Step(0.03, _uniform_square(1)),
    "crop": Step(0.7, _crop),
    "turn": Step(0.15, _turn),
}
# Steps on the image that the network sees.
EFFECTS = {
    "rendered": Step(0.1, _rendered),
    "half-blur": Step(0.35, _half_blur),
    "blur": Step(0.05, _blur),
    "rescale": Step(0.1, lambda image, mask, rng: (rescaled(image, rng.uniform(0.6, 1)), mask)),
    "tone": Step(0.5, _tone),
    "grey": Step(0.1, lambda image, mask, rng: (grey(image), mask)),
    "noise": Step(0.4, _noise),
    "jpeg": Step(0.3, lambda image, mask, rng: (jpeg(image, int(rng.integers(15, 96))), mask)),
}
STEPS = VIEWS | EFFECTS


class Augmented(Sequence[tuple[torch.Tensor, torch.Tensor]]):
    """Every photo of a set in every rotation, scale and flip: `len(photos)` x 16 samples by default.

    The paper names the three operations and the total of 9,664 = 604 x 16; how the sixteen are made up is our reading.
    `steps` are names in `STEPS`, which act in the order of that dictionary, each with its probability; with any, each
    variant is drawn `DRAWS` times. Sample i is always the same: its random numbers depend on `seed` and i alone, and a
    step draws the same numbers whatever the others are. A sample is (photo (3, size, size), mask (1, size, size)),
    float32 in [0, 1], 1 = blurred. Raises ValueError for a rotation that is no quarter turn, and for a photo without a
    mask.
    """

    def __init__(
        self,
        photos: PhotoSet,
        size: int,
        rotations: Sequence[int] = ROTATIONS,
        scales: Sequence[float] = SCALES,
        seed: int = 0,
        steps: Sequence[str] = (),
    ):
        if not set(rotations) <= set(ROTATIONS):
            raise ValueError(f"rotations={tuple(rotations)} cannot be used: expected quarter turns, of {ROTATIONS}.")
        self.photos, self.size, self.seed, self.steps = photos, size, seed, steps
        self.variants = [(rotation, scale, flip) for rotation in rotations for scale in scales for flip in FLIPS]

    def __len__(self) -> int:
        return len(self.photos) * len(self.variants) * (DRAWS if self.steps else 1)

    def variant(self, index: int) -> tuple[int, tuple[int, float, bool]]:
        """Return which photo sample `index` shows, and its (rotation in degrees, scale, flip)."""
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)} does not exist.")
        which, variant = divmod(index, len(self.variants))
        return which % len(self.photos), self.variants[variant]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]  # no slices
        which, (rotation, scale, flip) = self.variant(index)
        name, image, mask = self.photos[which]
        if mask is None:
            raise ValueError(f"{name} of {self.photos.name} has no mask, and training needs one for every photo.")
        image, mask = self._apply(VIEWS, index, image, mask)
        window = self._window(index, image.shape[:2], scale)
        image = resize_to_square(Image.fromarray(image), self.size, window)
        mask = resize_to_square(Image.fromarray(mask), self.size, window)
        image, mask = self._apply(EFFECTS, index, image, mask)
        image, mask = (np.rot90(array, rotation // 90, axes=(0, 1)) for array in (image, mask))
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return to_tensor(image), torch.from_numpy(np.array(mask, np.float32, order="C"))[None]

    def _apply(self, steps: dict[str, Step], index: int, image: np.ndarray, mask: np.ndarray) -> Pair:
        """Apply those of the steps that are chosen and drawn to a photo and its mask."""
        for name, step in steps.items():
            if name in self.steps:
                rng = np.random.default_rng((self.seed, index, 1 + list(STEPS).index(name)))
                if rng.random() < step.probability:
                    image, mask = step.apply(image, mask, rng)
        return image, mask

    def _window(self, index: int, shape: tuple[int, int], scale: float) -> tuple[float, float, float, float]:
        """Draw what stays in view (left, top, right, bottom) when a photo is enlarged and cut back."""
        height, width = shape
        if scale == 1:
            return 0, 0, width, height
        left, top = np.random.default_rng((self.seed, index)).random(2) * (1 - 1 / scale) * (width, height)
        return left, top, left + width / scale, top + height / scale


def resize_to_square(image: Image.Image, size: int, window: tuple | None = None) -> np.ndarray:
    """Resize an image, or a window of it, to size x size whatever its proportions, without aliasing."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=window))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert a uint8 photo (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float() / 255
