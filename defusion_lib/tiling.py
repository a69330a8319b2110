"""Compute a defocus map at an image's full resolution, tile by tile, equal to the map of the complete image.

A pixel of the map depends on far pixels in two ways. The convolutions reach a few hundred pixels, so each tile is
computed with that much around it (`receptive_field`). The CAMs depend on the complete image through the mean and the
maximum of each channel (Eq. 4-5), so their weights are computed for the complete image first (`global_cam_weights`).
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from defusion_lib.backbone import STRIDE, TAPS
from defusion_lib.cam_hooks import GROUP_TAPS, CamKey, constant_weights, fusion_modules, has_cam, intervene
from defusion_lib.data.augmentation import to_tensor
from defusion_lib.inference import to_rgb
from defusion_lib.network import DeFusionNet, upsample
from defusion_lib.progress import tqdm

TILE = 1024  # pixels a side of what is mapped at once

Weights = Mapping[CamKey, np.ndarray]  # of each CAM's channels, (C,)
Window = tuple[slice, slice]  # rows and columns


@torch.inference_mode()
def detect_tiles(
    image: np.ndarray,
    network: DeFusionNet,
    tile: int = TILE,
    weights: Weights | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Compute the defocus map of an image at full resolution, float32 (H, W) in [0, 1].

    `image` is uint8, RGB (H, W, 3) or grey (H, W); `tile` a multiple of 32. Up to rounding the map is that of
    `detect(image, network, size=None)`, in the memory of one tile and its surroundings. `weights` are those
    of the CAMs, by default `global_cam_weights`. Raises ValueError for any other array, and for another `tile`.
    """
    padded = _padded(image, tile)
    if weights is None:
        weights = global_cam_weights(image, network, tile, progress)
    defocus = np.empty(padded.shape[:2], np.float32)
    last: Any = network.steps[-1]
    with _fixed_cam_weights(network, weights):
        # Up-sampling to the photo's size mixes neighbours across a tile's border.
        border = 0 if network.config["fusion_stride"] == 1 else STRIDE
        for core, seen, features in _tiles(padded, network, tile, len(network.steps), border, progress):
            size = [span.stop - span.start for span in seen]
            scores = [upsample(score(feature), size) for score, feature in zip(last.score, features)]
            final = network.final(torch.cat(scores, dim=1)) if network.side < 0 else scores[network.side]
            defocus[core] = torch.sigmoid(final[..., *_within(core, seen)])[0, 0].cpu().numpy()
    height, width = image.shape[:2]
    return defocus[:height, :width]


@torch.inference_mode()
def global_cam_weights(
    image: np.ndarray, network: DeFusionNet, tile: int = TILE, progress: bool = False
) -> dict[CamKey, np.ndarray]:
    """Compute the CAM weights of a complete image at full resolution (Eq. 6), tile by tile.

    The CAMs of a step depend on the steps before it and their weights, so every step needs one pass over the tiles.
    Arguments and errors as in `detect_tiles`; empty for a network without CAM.
    """
    padded = _padded(image, tile)
    found: dict[CamKey, np.ndarray] = {}
    if not has_cam(network):
        return found
    for j in range(1, len(network.steps) + 1):
        with _fixed_cam_weights(network, found):
            mean, highest = _pooled(_tiles(padded, network, tile, j - 1, 0, progress))
        # Two pixels that have the photo's mean and maximum: all of it that a CAM looks at.
        pixels = torch.stack([highest, 2 * mean - highest], dim=-1)
        for (step, group), fusion in fusion_modules(network).items():
            if step == j:
                seen = torch.cat([pixels[TAPS.index(tap)] for tap in GROUP_TAPS[group]])
                found[step, group] = fusion.cam.weights(seen[None, :, None])[0].cpu().numpy()
    return found


def receptive_field(network: DeFusionNet, low: int, high: int) -> tuple[int, int]:
    """Return the first and last column that the map's columns `low` to `high` depend on, `high` included.

    It is the same for rows. Convolutions, pooling and up-sampling count, not the CAMs; columns start at 0 and
    go on beyond the border. Computed backwards from the sizes of the kernels.
    """
    blocks = [len(block) for block in network.backbone.blocks()]
    fusion = network.config["fusion_stride"]
    low, high = _sources(low, high, fusion)
    steps = sum(_radius(step) for step in network.steps)
    low, high = low - steps, high + steps
    firsts, lasts = [], []
    for level, head in enumerate(network.heads):
        first, last = _sources(low, high, max(1, 2**level // fusion))
        radius = _kernels(head)
        first, last = first - radius, last + radius
        finer = max(1, fusion >> level)
        first, last = finer * first, finer * last + finer - 1
        if level == len(blocks):  # pool5 is averaged over its neighbours
            first, last = first - 1, last + 1
        for block in range(level, -1, -1):
            if block < len(blocks):
                first, last = first - blocks[block], last + blocks[block]
            if block:
                first, last = 2 * first, 2 * last + 1
        firsts.append(first)
        lasts.append(last)
    return min(firsts), max(lasts)


def _sources(low: int, high: int, factor: int) -> tuple[int, int]:
    """Return the columns of a map that columns `low` to `high` depend on after up-sampling by a factor."""
    if factor == 1:
        return low, high
    # Up-sampling mixes the two pixels whose centres lie around.
    low, high = ((2 * end + 1 - factor) // (2 * factor) for end in (low, high))
    return low, high + 1


def _tiles(
    padded: np.ndarray, network: DeFusionNet, tile: int, steps: int, border: int, progress: bool
) -> Iterator[tuple[Window, Window, list[torch.Tensor]]]:
    """Yield each tile's window, that window with a border, and the layers' features there after so many steps.

    Features are six (1, 32, h, w), on the grid of the fusion; `border` is in pixels of the photo.
    """
    network.eval()
    device = next(network.parameters()).device
    fusion = network.config["fusion_stride"]
    first, last = receptive_field(network, 0, tile - 1)
    halo = _up(max(-first, last + 1 - tile))
    # Around a tile the steps need their own reach, and up-sampling half a pixel of pool5.
    margin = _up(STRIDE // 2 + fusion * sum(_radius(step) for step in network.steps) + border)
    height, width = padded.shape[:2]
    corners = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
    for top, left in tqdm(corners, desc="tiles", leave=False, disable=not progress):
        core = _widened((slice(top, top + tile), slice(left, left + tile)), 0, padded)
        seen, kept, wanted = (_widened(core, by, padded) for by in (halo, margin, border))
        features = _layers(network, to_tensor(padded[seen])[None].to(device), _within(kept, seen))
        for step in network.steps[:steps]:
            features, _ = step(features)
        rows, columns = (slice(span.start // fusion, span.stop // fusion) for span in _within(wanted, kept))
        yield core, wanted, [feature[..., rows, columns] for feature in features]


def _layers(network: DeFusionNet, photo: torch.Tensor, kept: Window) -> list[torch.Tensor]:
    """`network.project_features` of a part of the photo: up-sampling leaves out what the steps do not need."""
    features = []
    size = [(span.stop - span.start) // network.config["fusion_stride"] for span in kept]
    for level, tap in enumerate(network.backbone(photo)):
        scale = max(2**level, network.config["fusion_stride"])
        small = network.appended(level, tap)
        rows, columns = (slice(span.start // scale, span.stop // scale) for span in kept)
        features.append(upsample(small[..., rows, columns], size))
    return features


def _pooled(
    tiles: Iterator[tuple[Window, Window, list[torch.Tensor]]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (Eq. 4) and maximum (Eq. 5) over the photo of every channel of every layer, (6, 32) each."""
    sums, highest, count = [], [], 0
    for _, _, features in tiles:
        layers = torch.cat(features)
        sums.append(layers.sum(dim=(2, 3), dtype=torch.float64))  # in double precision: over millions of pixels
        highest.append(layers.amax(dim=(2, 3)))
        count += layers[0, 0].numel()
    total: Any = sum(sums)
    return (total / count).float(), torch.stack(highest).amax(0)


def _fixed_cam_weights(network: DeFusionNet, weights: Weights):
    """Make a context in which the CAMs have these weights."""
    return intervene(network, constant_weights(weights)) if has_cam(network) else nullcontext()


def _padded(image: np.ndarray, tile: int) -> np.ndarray:
    """Return the image as the network pads it, to multiples of 32."""
    if tile <= 0 or tile % STRIDE:
        raise ValueError(f"A tile of {tile} pixels does not fit the network: choose a multiple of {STRIDE}.")
    image = to_rgb(image)
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")


def _widened(window: Window, by: int, picture: np.ndarray) -> Window:
    rows, columns = (
        slice(max(0, span.start - by), min(length, span.stop + by)) for span, length in zip(window, picture.shape)
    )
    return rows, columns


def _within(window: Window, around: Window) -> Window:
    """Return a window in the coordinates of one around it."""
    rows, columns = (slice(span.start - outer.start, span.stop - outer.start) for span, outer in zip(window, around))
    return rows, columns


def _radius(step: Any) -> int:
    fusion = step.fshf if step.ffrm else step.fused
    return _kernels(fusion) + _kernels(step.refine[0])


def _kernels(module: nn.Module) -> int:
    """Sum the radii of successive convolutions, in their pixels."""
    return sum(conv.kernel_size[0] // 2 for conv in module.modules() if isinstance(conv, nn.Conv2d))


def _up(pixels: int) -> int:
    return -(-pixels // STRIDE) * STRIDE
