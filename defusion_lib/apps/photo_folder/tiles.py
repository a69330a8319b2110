"""Compare ways to map a photo in tiles with its map in one piece."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from defusion_lib.experiments import attention
from defusion_lib.inference import detect
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS, Drawing, as_levels
from defusion_lib.tiling import detect_tiles

FULL, RESIZED, ALONE = "weights of the full strip", "weights of the resized strip", "each tile separately"
ARRAYS = {FULL: "weights_of_the_whole", RESIZED: "weights_of_the_squashed", ALONE: "each_tile_on_its_own"}


class TileComparison(NamedTuple):
    """The map in one piece, the maps in tiles by `FULL`, `RESIZED` and `ALONE`, and how far they differ from it."""

    whole: np.ndarray
    ways: dict[str, np.ndarray]
    apart: dict[str, np.ndarray]


def compare_tiles(strip: np.ndarray, network: DeFusionNet, tile: int, size: int) -> TileComparison:
    """Map a strip of a photo, uint8 (H, W, 3), in one piece, and in tiles of `tile` pixels in three ways.

    The CAM weights are those of the full strip, or of the strip resized to `size`, or each tile has its own.
    """
    resized = {each.key: each.weights for each in attention.record(strip, network, size)}
    whole = detect(strip, network, None)
    alone = [detect(strip[:, left : left + tile], network, None) for left in range(0, strip.shape[1], tile)]
    ways = {
        FULL: detect_tiles(strip, network, tile),
        RESIZED: detect_tiles(strip, network, tile, resized),
        ALONE: np.concatenate(alone, axis=1),
    }
    return TileComparison(whole, ways, {way: np.abs(defocus - whole) for way, defocus in ways.items()})


def draw_tiles(strip: np.ndarray, found: TileComparison, tile: int) -> Drawing:
    """Draw a strip, its map, and where maps in tiles differ from it."""
    rows = {"photo": (strip, 255), "map of the full strip: white = blurred": (found.whole, 1)}
    rows |= {f"difference, {way}: white = 0.2 or more": (apart, 0.2) for way, apart in found.apart.items()}
    figure = Figure(figsize=(8, 0.85 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True)
    for axis, (name, (picture, top)) in zip(axes, rows.items()):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=top)
        axis.set_yticks([])
        axis.set_title(name, fontsize=10)
        for left in range(tile, strip.shape[1], tile):
            axis.axvline(left - 0.5, color=COLOURS[1], linestyle="--", linewidth=1)
    axes[-1].set_xlabel("pixels; dashed: where tiles meet")
    caption = (
        "A photo, its map, and how far maps made in tiles differ from it (white = 0.2 or more); separate tiles are in "
        "the last row."
    )
    arrays = {"whole": as_levels(found.whole)} | {ARRAYS[way]: as_levels(each) for way, each in found.ways.items()}
    return Drawing("tiles", figure, caption, arrays)
