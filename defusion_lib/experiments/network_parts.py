"""Show the parts of a network: their code, and what they compute for one photo."""

import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from defusion_lib.backbone import TAPS
from defusion_lib.evaluation.tables import table
from defusion_lib.network import DeFusionNet, Maps, count_parameters
from defusion_lib.plots import Drawing, as_levels, sheet

SHOWN_LAYER, SHOWN_FUSED = 3, 5  # channels that are shown of each layer, and of FSHF and FSEF


def source_code(*parts: type) -> Markdown:
    """Return the source of classes as Markdown, which a notebook displays as highlighted Python."""
    source = "\n\n\n".join(inspect.getsource(part).rstrip() for part in parts)
    return Markdown(f"```python\n{source}\n```")


def most_varying(features: torch.Tensor, count: int) -> np.ndarray:
    """Select the channels (count, H, W) of (1, C, H, W) with the largest standard deviation, each scaled to [0, 1]."""
    channels = features[0].float().cpu().numpy()
    order = np.argsort(-channels.std(axis=(1, 2)))[:count]
    return np.stack([(channels[i] - channels[i].min()) / (np.ptp(channels[i]) + 1e-9) for i in order])


def draw_taps(seen: np.ndarray, taps: Sequence[torch.Tensor]) -> Drawing:
    """Draw the network's input, uint8 (H, W, 3), and the most varying channel of each tap (1, C, h, w)."""
    channels = [most_varying(tap, 1)[0] for tap in taps]
    return Drawing(
        "taps",
        sheet({"most varying channel": [seen, *channels]}, ["photo", *TAPS]),
        "The photo as the network sees it, and the channel that varies most at each of the six taps: from edges and "
        "texture at conv1_2 to a few coarse squares at pool5.",
        {name: as_levels(channel) for name, channel in zip(TAPS, channels)},
    )


def draw_layers(layers: Sequence[torch.Tensor]) -> Drawing:
    """Draw the most varying channels of each of the six layers (1, C, H, W), one column per layer."""
    channels = [most_varying(layer, SHOWN_LAYER) for layer in layers]
    return Drawing(
        "layers",
        sheet(
            {f"channel {i + 1}": [of_layer[i] for of_layer in channels] for i in range(SHOWN_LAYER)},
            [f"$F_{i + 1}^0$ ({name})" for i, name in enumerate(TAPS)],
        ),
        "The three channels that vary most in each of the six layers, one column per layer, all of the same size: "
        "fine texture on the left, whole regions on the right.",
        {f"layer{i + 1}": as_levels(of_layer) for i, of_layer in enumerate(channels)},
    )


def draw_fused(fshf: torch.Tensor, fsef: torch.Tensor, weights: Mapping[str, np.ndarray]) -> Drawing:
    """Draw the most varying channels of FSHF and FSEF (1, C, H, W); `weights` are the CAM weights (C,) by group."""
    rows = {"FSHF": most_varying(fshf, SHOWN_FUSED), "FSEF": most_varying(fsef, SHOWN_FUSED)}
    return Drawing(
        "fused",
        sheet(rows, [f"channel {i + 1}" for i in range(SHOWN_FUSED)]),
        "The five channels that vary most in FSHF (upper row) and FSEF (lower row), each scaled from black to white.",
        {name.lower(): as_levels(row) for name, row in rows.items()}
        | {f"cam_{group}": of_group for group, of_group in weights.items()},
    )


def weight_table(weights: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Make a table of CAM weights (C,) by group: how many, their mean, the lowest and the highest."""
    return table(
        {
            group: {
                "channels": len(of_group),
                "mean weight": of_group.mean(),
                "lowest": of_group.min(),
                "highest": of_group.max(),
            }
            for group, of_group in weights.items()
        },
        digits=2,
    )


def side_outputs(maps: Maps) -> np.ndarray:
    """Return the side outputs of an image as probabilities (steps, 6, H, W)."""
    sides = torch.stack([torch.sigmoid(side)[0, 0] for side in maps.sides]).cpu().numpy()
    return sides.reshape(-1, len(TAPS), *sides.shape[1:])


def draw_side_outputs(seen: np.ndarray, maps: Maps) -> Drawing:
    """Draw the side outputs of an image, one row per step, and its final map beside the input, uint8 (H, W, 3)."""
    steps, final = side_outputs(maps), torch.sigmoid(maps.final)[0, 0].cpu().numpy()
    rows = {f"step {j + 1}": list(sides) for j, sides in enumerate(steps)} | {"in and out": [seen, final]}
    return Drawing(
        "side_outputs",
        sheet(rows, [f"B{i + 1} ({name})" for i, name in enumerate(TAPS)]),
        "The six side outputs of each step, one row per step and one column per layer, white = blurred; in the last "
        "row the photo and the final map, which is fused from the six of the last step.",
        {"sides": as_levels(steps.reshape(-1, *final.shape)), "final": as_levels(final)},
    )


def change_table(maps: Maps) -> pd.DataFrame:
    """Make a table of the mean absolute change of side outputs between steps, in grey levels from 0 to 255."""
    steps = 255 * side_outputs(maps)
    return table(
        {
            f"step {j + 1} to {j + 2}": {
                f"B{i + 1} ({name})": np.abs(steps[j + 1, i] - steps[j, i]).mean() for i, name in enumerate(TAPS)
            }
            for j in range(len(steps) - 1)
        },
        digits=1,
    )


def switch_table(networks: Mapping[str, DeFusionNet]) -> pd.DataFrame:
    """Make a table of networks by name: the switches and the number of parameters that differ from the first one's."""
    first = next(iter(networks.values()))
    rows = {}
    for name, network in networks.items():
        changed = {key: value for key, value in network.config.items() if value != first.config[key]}
        rows[name] = {
            "switches": ", ".join(f"{key}={value!r}" for key, value in changed.items()),
            "parameters": f"{count_parameters(network):,}",
            "difference": f"{count_parameters(network) - count_parameters(first):+,}",
        }
    return table(rows)
