"""LBP: local binary patterns of corners and specks are frequent in sharp areas and rare in blurred ones.

Yi and Eramian (TIP 2016). A local binary pattern marks which of a pixel's eight neighbours are clearly brighter than
the pixel. Patterns are grouped regardless of rotation, by the number of bright neighbours. Those with six or more
(and those that change more than twice around the ring) become rare in defocused areas, because a straight edge or
slope has five at most. So

1. sharpness is the share of such patterns in a window of 11, 15 and 21 pixels, stretched to [0, 1];
2. pixels of high or almost no sharpness are taken as known, and matting propagates them to the rest, per window;
3. belief propagation decides on a graph of the three layers, with 4 neighbours in each and one link up and down.

Parameters are those of the authors' public code (github.com/xinario/defocus_segmentation): a neighbour is brighter
from 0.016 of the grey range on, sharpness above 0.3 is sharp and below 0.01 blurred, matting runs at a quarter of the
image's sides, the evidence of all layers is standardised together, and the map is the coarsest layer's belief. Our
readings: how an image is halved and enlarged in the matting (binomial weights, every second pixel from the first),
that evidence of one class only is not standardised, and that all messages are sent at once instead of in turn.
"""

import numpy as np
from scipy import ndimage

from defusion_lib.baselines.belief_propagation import propagate
from defusion_lib.baselines.matting import coarse_to_fine
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.progress import tqdm

WINDOWS = (11, 15, 21)
THRESHOLD = 0.016 * 255  # grey levels by which a neighbour is clearly brighter
SHARP_CODE = 6
SHARP, BLURRED = 0.3, 0.01
ALPHA = 0.5
DIAGONAL = np.sqrt(0.5)
# (rows down, columns right) of the neighbours, counterclockwise from the right one.
RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


@classical_method
def detect(image, progress):
    """Compute LBP's defocus map: sharpness by local binary patterns, matting, three-layer inference.

    Its values lie in [0.038, 0.962], the range of beliefs on this graph.
    """
    layers = []
    for score in tqdm(sharpness(image), desc="lbp", disable=not progress, leave=False):
        sharp = score > SHARP
        layers.append(coarse_to_fine(image / 255, sharp | (score < BLURRED), sharp))
    evidence = np.stack(layers)
    spread = evidence.std()
    # A spread below the solver's accuracy is noise: the photo has one class only.
    if spread > 1e-4:
        evidence = (evidence - evidence.mean()) / spread
    belief = propagate(evidence.astype(np.float32), ALPHA)
    return 1 - belief[-1]


def sharpness(image: np.ndarray) -> np.ndarray:
    """Compute the share of sharp patterns around every pixel for each window, each map stretched to [0, 1].

    uint8 RGB (H, W, 3) -> float64 (3, H, W), the smallest window first, 1 = sharp; a constant map becomes 0 (Eq. 15).
    """
    sharp = (codes(grey(image)) >= SHARP_CODE).astype(float)
    maps = np.empty((len(WINDOWS), *sharp.shape))
    for scores, window in zip(maps, WINDOWS, strict=True):
        # The filter's running sum has rounding errors, but counts of pixels are integers.
        count = np.round(ndimage.uniform_filter(sharp, window, mode="nearest") * window**2)
        count -= count.min()
        scores[:] = count / max(count.max(), 1)
    return maps


def grey(image: np.ndarray) -> np.ndarray:
    """Convert uint8 RGB (H, W, 3) to integer grey levels, int64 (H, W); exact halves are rounded up.

    Floating-point luma rounds some exact halves down, which changes patterns.
    """
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    return (299 * red + 587 * green + 114 * blue + 500) // 1000


def codes(levels: np.ndarray) -> np.ndarray:
    """Compute the pattern of every pixel: 0 to 8 bright neighbours, or 9 if the ring changes more than twice.

    Grey levels (H, W) in [0, 255] -> integers (H, W). Neighbours lie on a circle of radius 1; those on the diagonals
    are interpolated and rounded down. Border pixels are repeated outside the image.
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
