"""Record and summarise the channel attention modules (CAM, Section 3.2, Eq. 4-7) of a network."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from defusion_lib.cam_hooks import GROUP_TAPS, CamKey, fusion_modules
from defusion_lib.data import Photo
from defusion_lib.evaluation.tables import table
from defusion_lib.inference import SIZE, predict_maps
from defusion_lib.network import CHANNELS, DeFusionNet

POOLED = {"gap": partial(torch.mean, dim=(2, 3)), "gmp": partial(torch.amax, dim=(2, 3))}  # Eq. 4, Eq. 5
SATURATED = 0.01, 0.99  # weights below or above: the sigmoid is saturated


class Attention(NamedTuple):
    """Input and output of one CAM for one image.

    `features` (C, H, W) are the concatenated maps before weighting, `weights` (C,) their weights. `branches` holds for
    "gap" and "gmp", as far as the network has them, the terms of the sum in Eq. 6, ReLU(W_D s), (C / 16,); `alone` the
    weights (C,) that each branch gives without the other.
    """

    key: CamKey
    features: np.ndarray
    weights: np.ndarray
    branches: dict[str, np.ndarray]
    alone: dict[str, np.ndarray]


class CollectedAttention(NamedTuple):
    """The weights of M CAMs with C channels for N images, without the feature maps.

    `weights` and `means` (the GAP of each channel, Eq. 4) are (N, M, C). `alive` (M, C) marks the channels that are
    above zero anywhere in any image. `branches` and `alone`, as in `Attention`, are (N, M, C / 16) and (N, M, C).
    """

    keys: list[CamKey]
    weights: np.ndarray
    means: np.ndarray
    alive: np.ndarray
    branches: dict[str, np.ndarray]
    alone: dict[str, np.ndarray]


class Branch(NamedTuple):
    """One branch (GAP or GMP) of M CAMs over N images.

    `term` (M,) is the mean of its term in Eq. 6, `active_units` (M,) the number of bottleneck units that are above zero
    for any image. `correlation` (M,) compares the weights that the branch gives alone with the full weights, NaN where
    one of them is constant; `overall_correlation` and `mean_difference` (absolute) do so for all CAMs together.
    """

    term: np.ndarray
    active_units: np.ndarray
    correlation: np.ndarray
    overall_correlation: float
    mean_difference: float


def record(image: np.ndarray, network: DeFusionNet, size: int | None = SIZE) -> list[Attention]:
    """Record the input and output of each CAM for one image, uint8 (H, W, 3), resized to `size` as in `detect`.

    Within `cam_hooks.intervene`, `weights` are the changed ones. Raises ValueError for a network without CAM.
    """
    records = []

    def keep(key, cam, inputs, _):
        (x,) = inputs
        terms = {name: F.relu(cam.down(POOLED[name](x))) for name in cam.pooling.split("+")}
        alone = {name: torch.sigmoid(cam.up(term)) for name, term in terms.items()}
        records.append(Attention(key, _array(x), _array(cam.weights(x)), _arrays(terms), _arrays(alone)))

    hooks = [module.cam.register_forward_hook(partial(keep, key)) for key, module in fusion_modules(network).items()]
    try:
        predict_maps(image, network, size)
    finally:
        for hook in hooks:
            hook.remove()
    return records


def collect(photos: Iterable[Photo], network: DeFusionNet, size: int | None = SIZE) -> CollectedAttention:
    """Call `record` for each photo and stack the results, without the feature maps."""
    kept: list[list[Attention]] = []
    means = []
    alive: Any = False
    for photo in photos:
        records = record(photo.image, network, size)
        means.append([each.features.mean((1, 2)) for each in records])
        alive = alive | np.array([each.features.max((1, 2)) > 0 for each in records])
        kept.append([each._replace(features=np.empty(0)) for each in records])
    first = kept[0][0]
    return CollectedAttention(
        [each.key for each in kept[0]],
        np.array([[each.weights for each in records] for records in kept]),
        np.array(means),
        alive,
        {name: np.array([[each.branches[name] for each in records] for records in kept]) for name in first.branches},
        {name: np.array([[each.alone[name] for each in records] for records in kept]) for name in first.alone},
    )


# -------------------------------------------------------------------------------------------------- statistics


def standard_deviations(weights: np.ndarray) -> tuple[float, float]:
    """Compute two standard deviations of weights (N, M, C): between images, and between channels.

    The first is that of one channel over the images, the second that of the channels' means over the channels of one
    CAM. Each is the root of the mean variance over all channels and CAMs.
    """
    between_images = np.sqrt(weights.var(axis=0).mean())
    between_channels = np.sqrt(weights.mean(axis=0).var(axis=1).mean())
    return float(between_images), float(between_channels)


def tap_means(collected: CollectedAttention) -> np.ndarray:
    """Compute the mean weight of each tap's channels in each CAM, (M, taps of a group)."""
    return collected.weights.mean(axis=0).reshape(len(collected.keys), -1, CHANNELS).mean(axis=2)


def saturated_shares(collected: CollectedAttention) -> np.ndarray:
    """Compute the share of weights of each CAM at which the sigmoid is saturated (`SATURATED`), (M,) in [0, 1]."""
    low, high = SATURATED
    return ((collected.weights < low) | (collected.weights > high)).mean(axis=(0, 2))


def summarise_branches(collected: CollectedAttention) -> dict[str, Branch]:
    """Compute the statistics of each branch, {"gap" or "gmp": `Branch`}."""
    return {
        name: Branch(
            terms.mean(axis=(0, 2)),
            (terms > 0).any(axis=0).sum(axis=1),
            np.array([_correlation(alone[:, i], collected.weights[:, i]) for i in range(len(collected.keys))]),
            _correlation(alone, collected.weights),
            float(np.abs(alone - collected.weights).mean()),
        )
        for (name, terms), alone in zip(collected.branches.items(), collected.alone.values())
    }


def inactive_cams(collected: CollectedAttention) -> list[CamKey]:
    """Return the CAMs without any active unit: their weights are always sigmoid(0) = 0.5."""
    active = np.any([(terms > 0).any(axis=(0, 2)) for terms in collected.branches.values()], axis=0)
    return [key for key, is_active in zip(collected.keys, active) if not is_active]


def channel_contributions(collected: CollectedAttention, network: DeFusionNet) -> np.ndarray:
    """Compute how much each channel contributes to the fused maps, (M, C) >= 0, mean over the images.

    The contribution is the weight times the mean of the map times the norm of the channel's column in the 1x1
    convolution of Eq. 1-2. The weight alone is ambiguous: twice the weight and half the column give the same output.
    """
    kernels = [module.fuse.weight.detach().cpu().numpy()[:, :, 0, 0] for module in fusion_modules(network).values()]
    return (collected.weights * collected.means).mean(axis=0) * np.linalg.norm(kernels, axis=1)


def top_channels(
    collected: CollectedAttention, scores: np.ndarray, count: int, step: int = 1
) -> dict[CamKey, np.ndarray]:
    """Return the `count` channels with the highest scores (M, C) in each CAM of a step, among those alive."""
    channels = {}
    for key, score, alive in zip(collected.keys, scores, collected.alive):
        if key[0] == step:
            ordered = np.argsort(-score, kind="stable")
            channels[key] = ordered[alive[ordered]][:count]
    return channels


def summary(collected: CollectedAttention) -> dict[str, float]:
    """Return the values of the attention for the result file, {metric: value}."""
    between_images, between_channels = standard_deviations(collected.weights)
    values = {
        "weights-std-between-images": between_images,
        "weights-std-between-channels": between_channels,
        "weights-saturated-share": float(saturated_shares(collected).mean()),
        "channels-always-zero-share": float((~collected.alive).mean()),
    }
    for name, branch in summarise_branches(collected).items():
        values[f"{name}-term"] = branch.term.mean()
        values[f"{name}-alone-correlation"] = branch.overall_correlation
    return values


# ------------------------------------------------------------------------------------------------------ tables


def weight_table(collected: CollectedAttention) -> pd.DataFrame:
    """Make a table of each CAM's weights, their standard deviations, and its channels that are always zero."""
    rows: dict[str, dict[str, object]] = {}
    for i, key in enumerate(collected.keys):
        weights = collected.weights[:, i]
        between_images, between_channels = standard_deviations(weights[:, None])
        rows[_title(key)] = {
            "lowest": weights.min(),
            "mean": weights.mean(),
            "highest": weights.max(),
            "std between photos": between_images,
            "std between channels": between_channels,
            "channels always zero": f"{(~collected.alive[i]).sum()} of {collected.alive.shape[1]}",
        }
    return table(rows)


def tap_table(collected: CollectedAttention) -> pd.DataFrame:
    """Make a table of the mean weight by CAM and tap."""
    means = tap_means(collected)
    return table({_title(key): dict(zip(GROUP_TAPS[key[1]], row)) for key, row in zip(collected.keys, means)})


def branch_table(collected: CollectedAttention) -> pd.DataFrame:
    """Make a table of each CAM's saturated weights and of its branches, see `Branch`; "-" is no correlation."""
    branches, saturated = summarise_branches(collected), saturated_shares(collected)
    rows: dict[str, dict[str, object]] = {}
    for i, key in enumerate(collected.keys):
        rows[_title(key)] = {"saturated": f"{saturated[i]:.1%}"}
        for name, branch in branches.items():
            rows[_title(key)] |= {
                f"{name}: mean term": branch.term[i],
                f"{name}: active units": branch.active_units[i],
                f"{name}: correlation": "-" if np.isnan(branch.correlation[i]) else branch.correlation[i],
            }
    return table(rows)


def _title(key: CamKey) -> str:
    return f"step {key[0]}, {key[1]}"


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Pearson's correlation of all entries of two arrays; NaN where one of them is constant."""
    return np.corrcoef(first.ravel(), second.ravel())[0, 1] if np.ptp(first) and np.ptp(second) else np.nan


def _array(batch: torch.Tensor) -> np.ndarray:
    return batch[0].detach().cpu().numpy()


def _arrays(batches: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: _array(batch) for name, batch in batches.items()}
