"""LBP: sharp neighbourhoods have corners and specks, blurred ones only slopes (Yi and Eramian, TIP 2016).

A local binary pattern says which of a pixel's eight neighbours are clearly brighter than the pixel. Rotated
alike and counted by their bright neighbours, the patterns with six or more (and those that change more than
twice around the ring) become rare wherever a lens has blurred: a straight edge or slope has five at most. So

1. sharpness is the share of such patterns in a window of 11, 15 and 21 pixels, stretched to [0, 1];
2. where it is high or next to nothing it is believed, and matting spreads it over the rest, per window;
3. a graph of the three layers, 4-neighbours in each and one link up and down, decides by belief propagation.

Parameters are those of the authors' public code (github.com/xinario/defocus_segmentation): a neighbour
counts from 0.016 of the grey range on, sharpness above 0.3 is sharp and below 0.01 blurred, matting runs at a
quarter of the photograph's side, the evidence of all layers is standardised together, and the map is the
coarsest layer's belief. Our readings: how an image is halved and enlarged in the matting (binomial weights,
every second pixel from the first), that evidence of one class only is not standardised, and messages sent all
at once instead of in turn.
"""

import numpy as np
from scipy import ndimage
from tqdm.auto import tqdm

from defusion_lib.baselines.belief_propagation import three_layers
from defusion_lib.baselines.matting import coarse_to_fine
from defusion_lib.baselines.wrapper import detector

WINDOWS = (11, 15, 21)
THRESHOLD = 0.016 * 255  # grey levels by which a neighbour is clearly brighter
SHARP_CODE = 6
SHARP, BLURRED = 0.3, 0.01
ALPHA = 0.5
DIAGONAL = np.sqrt(0.5)
# Right, then against the clock: (rows down, columns right).
RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


@detector
def detect(image, progress):
    """LBP's defocus map: sharpness by local binary patterns, matting, three-layer inference.

    The map keeps off both ends, [0.038, 0.962]: what a belief can reach on this graph.
    """
    layers = []
    for score in tqdm(sharpness(image), desc="lbp", disable=not progress, leave=False):
        sharp = score > SHARP
        layers.append(coarse_to_fine(image / 255, sharp | (score < BLURRED), sharp))
    evidence = np.stack(layers)
    spread = evidence.std()
    # Below the solver's accuracy a spread is noise: one class fills the photograph.
    if spread > 1e-4:
        evidence = (evidence - evidence.mean()) / spread
    belief = three_layers(evidence.astype(np.float32), ALPHA)
    return 1 - belief[-1]


def sharpness(image: np.ndarray) -> np.ndarray:
    """The share of sharp patterns around every pixel for each window, each map stretched to [0, 1].

    uint8 RGB (H, W, 3) to float64 (3, H, W), the smallest window first, 1 = sharp; a map without any
    difference is 0 (Eq. 15).
    """
    sharp = (codes(grey(image)) >= SHARP_CODE).astype(float)
    maps = np.empty((len(WINDOWS), *sharp.shape))
    for scores, window in zip(maps, WINDOWS, strict=True):
        # The filter's running sum drifts in its last bits; what it counts are whole pixels.
        count = np.round(ndimage.uniform_filter(sharp, window, mode="nearest") * window**2)
        count -= count.min()
        scores[:] = count / max(count.max(), 1)
    return maps


def grey(image: np.ndarray) -> np.ndarray:
    """The grey levels of uint8 RGB (H, W, 3) as whole numbers, int64 (H, W)."""
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    return (299 * red + 587 * green + 114 * blue + 500) // 1000


def codes(levels: np.ndarray) -> np.ndarray:
    """The pattern of every pixel: 0 to 8 bright neighbours, 9 where the ring changes more than twice.

    Grey levels (H, W) in [0, 255] to integers (H, W). Neighbours lie on a circle of one pixel, those on the
    diagonals interpolated and rounded down; borders are continued by their last pixel.
    """
    height, width = levels.shape
    padded = np.pad(levels.astype(float), 1, mode="edge")

    def moved(down, right):
        return padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    far, near = DIAGONAL, 1 - DIAGONAL
    bright = np.empty((8, height, width), bool)
    for which, (down, right) in zip(bright, RING, strict=True):
        neighbour = moved(down, right)
        if down and right:
            level_row = near * moved(0, 0) + far * moved(0, right)
            neighbour = np.floor(near * level_row + far * (near * moved(down, 0) + far * neighbour))
        which[:] = neighbour - moved(0, 0) > THRESHOLD
    changes = (bright != np.roll(bright, 1, axis=0)).sum(0)
    return np.where(changes <= 2, bright.sum(0), 9)
