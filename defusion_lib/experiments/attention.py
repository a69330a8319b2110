"""Record and summarise what the channel attention modules (CAM, Section 3.2, Eq. 4-7) of a network do."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from defusion_lib.cam_hooks import Place, fusions
from defusion_lib.data import Photo
from defusion_lib.inference import SIZE, all_maps
from defusion_lib.network import DeFusionNet

POOLED = {"gap": partial(torch.mean, dim=(2, 3)), "gmp": partial(torch.amax, dim=(2, 3))}  # Eq. 4, Eq. 5


class Attention(NamedTuple):
    """What one CAM saw and said of one photograph.

    `features` (C, H, W) are the concatenated maps before they are weighted, `weights` (C,) their weights.
    `branches` holds for "gap" and "gmp", as far as the network has them, the terms of the sum in Eq. 6,
    ReLU(W_D s), (C / 16,); `alone` the weights (C,) that each would give if the other were left out.
    """

    place: Place
    features: np.ndarray
    weights: np.ndarray
    branches: dict[str, np.ndarray]
    alone: dict[str, np.ndarray]


class Survey(NamedTuple):
    """The weights of M CAMs with C channels for N photographs, without the feature maps.

    `weights` and `means` (the GAP of each channel, Eq. 4) are (N, M, C); `alive` (M, C) tells which channels
    are above zero anywhere in any photograph; `branches` and `alone`, as in `Attention`, are (N, M, C / 16)
    and (N, M, C).
    """

    places: list[Place]
    weights: np.ndarray
    means: np.ndarray
    alive: np.ndarray
    branches: dict[str, np.ndarray]
    alone: dict[str, np.ndarray]


def record(image: np.ndarray, network: DeFusionNet, size: int | None = SIZE) -> list[Attention]:
    """What each CAM sees and says of a photograph, uint8 (H, W, 3), squashed to `size` as in `detect`.

    Weights are the ones in use, also within `intervene`. ValueError for a network without CAM.
    """
    found = []

    def note(place, cam, inputs, _):
        (x,) = inputs
        terms = {name: F.relu(cam.down(POOLED[name](x))) for name in cam.pooling.split("+")}
        alone = {name: torch.sigmoid(cam.up(term)) for name, term in terms.items()}
        found.append(Attention(place, _array(x), _array(cam.weights(x)), _arrays(terms), _arrays(alone)))

    hooks = [
        fusion.cam.register_forward_hook(partial(note, place)) for place, fusion in fusions(network).items()
    ]
    try:
        all_maps(image, network, size)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def survey(photos: Iterable[Photo], network: DeFusionNet, size: int | None = SIZE) -> Survey:
    """`record` for every photograph, one after another, keeping all but the feature maps."""
    kept, means, alive = [], [], False
    for photo in photos:
        records = record(photo.image, network, size)
        means.append([each.features.mean((1, 2)) for each in records])
        alive = alive | np.array([each.features.max((1, 2)) > 0 for each in records])
        kept.append([each._replace(features=None) for each in records])

    def gathered(read):
        return np.array([[read(each) for each in records] for records in kept])

    first = kept[0][0]
    return Survey(
        [each.place for each in kept[0]],
        gathered(lambda each: each.weights),
        np.array(means),
        alive,
        {name: gathered(lambda each: each.branches[name]) for name in first.branches},
        {name: gathered(lambda each: each.alone[name]) for name in first.alone},
    )


def spreads(weights: np.ndarray) -> tuple[float, float]:
    """Two standard deviations of weights (N, M, C): between photographs, and between channels.

    The first is of one channel over the photographs, the second of the channels' means over the channels of
    one CAM; each is the root of its mean square, over all channels and over all CAMs.
    """
    between_photographs = np.sqrt(weights.var(axis=0).mean())
    between_channels = np.sqrt(weights.mean(axis=0).var(axis=1).mean())
    return float(between_photographs), float(between_channels)


def contributions(seen: Survey, network: DeFusionNet) -> np.ndarray:
    """How much each channel brings to the fused maps, (M, C) >= 0, mean over the photographs.

    It is the channel's weight, times the mean of its map, times the length of its column in the 1x1
    convolution of Eq. 1-2. A weight alone does not tell: twice the weight and half the column give the same.
    """
    kernels = [fusion.fuse.weight.detach().cpu().numpy()[:, :, 0, 0] for fusion in fusions(network).values()]
    return (seen.weights * seen.means).mean(axis=0) * np.linalg.norm(kernels, axis=1)


def first_channels(seen: Survey, scores: np.ndarray, count: int) -> dict[Place, np.ndarray]:
    """The `count` channels with the highest scores (M, C) in each CAM of the first step, of those alive."""
    found = {}
    for place, score, alive in zip(seen.places, scores, seen.alive):
        if place[0] == 1:
            ordered = np.argsort(-score, kind="stable")
            found[place] = ordered[alive[ordered]][:count]
    return found


def tiles(maps: np.ndarray, columns: int = 6, side: int = 48) -> np.ndarray:
    """Maps (n, H, W) in [0, 1] as one picture, `columns` a row, each side x side pixels, white between."""
    small = F.adaptive_avg_pool2d(torch.as_tensor(maps), side).numpy()
    framed = np.pad(small, ((0, -len(maps) % columns), (1, 1), (1, 1)), constant_values=1)
    rows = framed.reshape(-1, columns, side + 2, side + 2)
    return np.block([list(row) for row in rows])


def _array(batch: torch.Tensor) -> np.ndarray:
    return batch[0].detach().cpu().numpy()


def _arrays(batches: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: _array(batch) for name, batch in batches.items()}
