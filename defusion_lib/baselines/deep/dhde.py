"""DHDE: the blur of edges, told by a small network from deep and hand-crafted features, and spread.

Park, Tai, Cho and Kweon, "A Unified Approach of Multi-scale Deep and Hand-crafted Features for Defocus
Estimation" (CVPR 2017). Patches are cut at edges, small ones at strong edges and large ones at weak ones.
A classifier sees three hand-crafted features of each (spectrum, gradients, singular values) beside a
convolutional one, and names one of eleven standard deviations of a Gaussian blur. It learns from sharp
photographs that are blurred on purpose. A filter that trusts probable answers more cleans the sparse map,
and the matting Laplacian makes it dense.

Sizes, thresholds and constants are those of the authors' released model. In focus is a blur of 0.5 pixels
or less; from 2 pixels on all blur looks alike. What differs from theirs:
- Training patches are sharp parts of photographs with masks, cut at edges of the blurred photograph,
  found as in detection. The authors take the edges of the sharp photograph, found with twice the
  thresholds.
- There is no dropout, whose chance a resumed run would have to repeat, and no rectifier behind the last
  layer.
- The range weight of the joint filter (100, on colours in 0..1) is above 0.9998 everywhere, and so left
  out. The rolling guidance filter (1.5 pixels; 1.5 in colours) hardly sees edges either: we smooth by a
  Gaussian.
- Propagation is solved at half the size, and the weighted median filter behind it is left out.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from scipy import sparse
from scipy.fft import dct
from scipy.ndimage import correlate1d, gaussian_filter, maximum_filter, sobel
from scipy.sparse.linalg import splu
from skimage.feature import canny
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from defusion_lib.backbone import initialise
from defusion_lib.baselines.matting import enlarge, halve, laplacian
from defusion_lib.baselines.wrapper import detector
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.training import Recipe, Task

SIGMAS = np.arange(0.5, 2.01, 0.15)  # pixels: the classes
SIDES = (27, 15)  # pixels: patches at weak and at strong edges
THRESHOLDS = ((0.117, 0.176), (0.234, 0.351))  # of the strongest gradient, low and high: weak, strong edges
SMOOTHING = 2**0.5  # pixels: before gradients are taken
SPECTRA = {27: 32, 15: 16}  # side of a patch -> side of its cosine transform
BINS = {27: 25, 15: 13}  # side of a patch -> numbers in each of its features
OVERLAP = 0.1  # of a ring's width, to either side
NUMBERS = 3 * sum(bins + 1 for bins in BINS.values())  # of all hand-crafted features
RADIUS, SPREAD = 13, 100.0  # pixels: of the joint filter
TRUST = 1.0  # its spread of probabilities
GUIDE = 1.5  # pixels: smoothing of the photograph that guides the propagation
HELD = 0.005  # lambda: weight of an edge pixel's answer
EPSILON = 1e-5
FREE = 1e-7  # what pulls every pixel to the middle: decides only where no edge reaches
PAIRS = 1812  # photographs times sigmas to learn from: 3 sigmas for each of 604 photographs
TESTED = 64  # patches of a photograph and a sigma in `confusion`
CHUNK = 2048  # patches looked at together


class DHDE(nn.Module):
    """The classifier: a convolutional feature beside the hand-crafted ones, and three layers on top.

    Takes colour patches (N, 3, 27, 27) in [0, 1] and their `features` (N, 120), gives logits (N, 11) of
    `SIGMAS`. 126,436 parameters. Shapes in comments are those of one patch.
    """

    def __init__(self):
        super().__init__()
        self.switches = {}
        self.deep = nn.Sequential(
            nn.Conv2d(3, 25, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, ceil_mode=True),  # (25, 9, 9)
            nn.Conv2d(25, 50, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, ceil_mode=True),  # (50, 3, 3)
            nn.Conv2d(50, 50, 3), nn.ReLU(inplace=True),  # (50, 1, 1)
            nn.Conv2d(50, 25, 1), nn.ReLU(inplace=True), nn.Flatten(),  # (25,)
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(25 + NUMBERS, 300), nn.ReLU(inplace=True),
            nn.Linear(300, 150), nn.ReLU(inplace=True),
            nn.Linear(150, len(SIGMAS)),
        )  # fmt: skip
        initialise(self, nn.Conv2d, nn.Linear)

    def score_layers(self) -> list[nn.Module]:
        """Return the layer right under the loss."""
        return [self.classifier[-1]]

    def forward(self, patch: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.cat((features, self.deep(patch)), dim=1))


def edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weak and strong edge pixels of a photograph (H, W, 3) uint8: two bool (H, W), no pixel in both.

    By Canny at two pairs of thresholds, which are shares of the photograph's strongest gradient.
    """
    smooth = gaussian_filter(_grey(image), SMOOTHING, mode="nearest")
    strongest = np.hypot(sobel(smooth, 0), sobel(smooth, 1)).max()
    weak, strong = (
        canny(smooth, 0, low * strongest, high * strongest, mode="nearest") for low, high in THRESHOLDS
    )
    return weak & ~strong, strong


def features(patches: np.ndarray) -> np.ndarray:
    """The hand-crafted features of grey patches (N, 27, 27) or (N, 15, 15) in [0, 1]: float32 (N, 120).

    Each of the three is 25 numbers and a 1 for large patches, then 13 and a 1 for small ones; those of
    the size that a patch does not have are 0. The numbers are logarithms ln(1 + x), scaled to the sum 1.
    x is
    - the mean magnitude of the cosine transform in a ring of frequencies (the patch filled up by zeros),
    - how many pixels have a gradient in an interval of [0, 1],
    - a singular value of the patch, largest first.
    """
    side = patches.shape[1]
    bins = BINS[side]
    waves = dct(np.eye(SPECTRA[side]), norm="ortho", axis=0)[:, :side]  # where the patch ends, zeros begin
    cosines = np.abs(waves @ patches @ waves.T)
    found = (
        cosines.reshape(len(patches), len(waves) ** 2) @ _rings(side),
        _gradient_counts(patches, bins),
        np.linalg.svd(patches, compute_uv=False)[:, :bins],
    )
    result = np.zeros((len(patches), 3, NUMBERS // 3), np.float32)
    begin = 0 if side == SIDES[0] else BINS[SIDES[0]] + 1
    for i, numbers in enumerate(found):
        numbers = np.log1p(numbers)
        result[:, i, begin : begin + bins] = numbers / np.maximum(numbers.sum(1, keepdims=True), 1e-9)
        result[:, i, begin + bins] = 1
    return result.reshape(len(patches), NUMBERS)


@cache
def _rings(side: int) -> np.ndarray:
    """Weights that take means over overlapping rings of the cosine transform: (side of it squared, bins)."""
    last, bins = SPECTRA[side] - 1, BINS[side]
    frequency = np.hypot(*np.mgrid[: last + 1, : last + 1]).reshape(-1, 1)
    width = last / bins
    inner = np.arange(bins) * width
    inside = (frequency >= inner - OVERLAP * width) & (frequency <= inner + (1 + OVERLAP) * width)
    return inside / inside.sum(0)


def _gradient_counts(patches: np.ndarray, bins: int) -> np.ndarray:
    """How many pixels of patches (N, S, S) in [0, 1] have a gradient in each part of [0, 1]: (N, bins)."""
    across, down = np.diff(patches, axis=2)[:, :-1], np.diff(patches, axis=1)[:, :, :-1]
    gradient = np.hypot(across, down).reshape(len(patches), (patches.shape[1] - 1) ** 2) / 2**0.5
    interval = np.minimum((gradient * bins).astype(int), bins - 1)
    interval += np.arange(len(patches))[:, None] * bins  # each patch counts in a row of its own
    return np.bincount(interval.ravel(), minlength=len(patches) * bins).reshape(len(patches), bins)


def cut(image: np.ndarray, at: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches uint8 (N, 27, 27, 3) of a photograph (H, W, 3) uint8, and their `features` (N, 120).

    `at` (N, 2) holds rows and columns of their centres, `side` is 27 or 15. Beyond the photograph's
    border and around a patch of 15x15 the last pixel is repeated.
    """
    reach, missing = side // 2, (SIDES[0] - side) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    patches = windows[at[:, 0], at[:, 1]].transpose(0, 2, 3, 1)
    around = (0, 0), (missing, missing), (missing, missing), (0, 0)
    return np.pad(patches, around, "edge"), features(_grey(patches))


def _grey(image: np.ndarray) -> np.ndarray:
    """The value of HSV, in [0, 1]: (..., 3) uint8 -> (...) float64."""
    return image.max(-1) / 255


class Patches(Sequence):
    """Patches of known blur to learn from: `size` of each photograph and sigma, half of each scale.

    Gives (patch (3, 27, 27) float32 in [0, 1], features (120,) float32, class () int64). They are cut
    where the mask calls the whole patch sharp, after the photograph was blurred by a Gaussian and rounded
    to grey levels again. A photograph is blurred by some of `SIGMAS` in turn, so that all come equally
    often and there are about `PAIRS` pairs of photograph and sigma in all; where there are fewer edges
    than wanted, all are taken. All is prepared at once, and depends on the photographs, `size` and the
    recipe's seed alone. Raises ValueError for a photograph without a mask and where nothing is sharp.
    """

    def __init__(self, photos: PhotoSet, size: int, recipe: Recipe):
        classes = int(np.clip(PAIRS // max(1, len(photos)), 1, len(SIGMAS)))
        found = []
        for index, photo in enumerate(tqdm(photos, desc="dhde: patches", leave=False)):
            labels = (index * classes + np.arange(classes)) % len(SIGMAS)
            found += _of_photo(photo, labels, size, np.random.default_rng((recipe.seed, index)))
        if not any(len(labels) for _, _, labels in found):
            raise ValueError(f"No photograph of {photos.name} has an edge in focus: DHDE learns from those.")
        self.patches, self.features, self.labels = map(np.concatenate, zip(*found))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features, label = torch.from_numpy(self.features[index]), torch.tensor(self.labels[index])
        return _as_input(self.patches[index]), features, label


def _of_photo(
    photo: Photo, labels: np.ndarray, size: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Patches, features and labels of one photograph, for each of the labels and either scale."""
    if photo.mask is None:
        raise ValueError(f"{photo.name} has no mask, and DHDE learns from what masks call sharp.")
    sharp = [maximum_filter(photo.mask, side, mode="nearest") == 0 for side in SIDES]
    found = []
    for label in labels:
        image = blurred(photo.image, SIGMAS[label])
        for side, edge, allowed in zip(SIDES, edges(image), sharp):
            at = np.argwhere(edge & allowed)
            at = at[rng.permutation(len(at))[: size // 2]]
            found.append((*cut(image, at, side), np.full(len(at), label)))
    return found


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A photograph (H, W, 3) uint8 blurred by a Gaussian of `sigma` pixels, rounded to uint8 again."""
    smooth = gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


def _as_input(patches: np.ndarray) -> torch.Tensor:
    """Patches (..., 27, 27, 3) uint8 as the network takes them: (..., 3, 27, 27) float32 in [0, 1]."""
    return torch.from_numpy(patches).movedim(-1, -3).float() / 255


def _loss(network: DHDE, patch: torch.Tensor, features: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(network(patch, features).float(), label)


# Its samples are patches of its own, and it has no VGG-16.
IGNORED = ("rotations", "scales", "augmentation", "backbone_factor", "frozen_blocks")
TASK = Task(Patches, _loss, ignores=IGNORED)


def classify(network: DHDE, patches: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The probability of each of `SIGMAS`, float32 (N, 11), for patches and features as `cut` gives them."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        logits = network(_as_input(patches).to(device), torch.from_numpy(features).to(device))
        return torch.softmax(logits, 1).cpu().numpy()


def confusion(network: DHDE, photos: PhotoSet, seed: int = 0) -> np.ndarray:
    """How often a sigma is taken for which: int (11, 11), true ones in rows, estimated ones in columns.

    Over patches of photographs with masks, which should not be those that the network learnt from. Raises
    what `Patches` raises.
    """
    patches = Patches(photos, TESTED, Recipe(seed=seed))
    counts = np.zeros((len(SIGMAS), len(SIGMAS)), int)
    for begin in range(0, len(patches), CHUNK):
        part = slice(begin, begin + CHUNK)
        estimated = classify(network, patches.patches[part], patches.features[part]).argmax(1)
        np.add.at(counts, (patches.labels[part], estimated), 1)
    return counts


def detect(image: np.ndarray, network: DHDE, progress: bool = False) -> np.ndarray:
    """The defocus map of a photograph, float32 (H, W) in [0, 1], 1 = blurred: sigma from 0.5 to 2 pixels.

    `image` is uint8, RGB (H, W, 3) or grey (H, W). An edge counts with its most probable sigma. A
    photograph without any edge is 0.5 everywhere: nothing is known of it. Raises ValueError for anything
    that is no photograph.
    """

    def core(seen: np.ndarray, progress: bool) -> np.ndarray:
        sigma, probability = sparse_map(seen, network, progress)
        sigma = propagate(seen, sigma > 0, joint_filter(sigma, probability))
        return (sigma - SIGMAS[0]) / (SIGMAS[-1] - SIGMAS[0])

    return detector(core)(image, progress)


def sparse_map(image: np.ndarray, network: DHDE, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The most probable sigma at a photograph's edges, and its probability: (H, W) both, 0 elsewhere."""
    sigma, probability = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for side, edge in zip(SIDES, edges(image)):
        at = np.argwhere(edge)
        parts = np.split(at, range(CHUNK, len(at), CHUNK))
        for part in tqdm(parts, desc=f"dhde: {side}x{side}", disable=not progress, leave=False):
            said = classify(network, *cut(image, part, side))
            sigma[tuple(part.T)] = SIGMAS[said.argmax(1)]
            probability[tuple(part.T)] = said.max(1)
    return sigma, probability


def joint_filter(sigma: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """A sparse map of sigmas (H, W), 0 where unknown, smoothed: of known pixels, probable ones count more.

    The probability-joint bilateral filter, less its range weight: each known pixel becomes a mean over
    the known pixels of its 27x27 window. Unknown pixels stay 0.
    """
    near = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SPREAD**2))
    known = sigma > 0
    weight = known * np.exp(-((1 - probability) ** 2) / (2 * TRUST**2))

    def around(values):
        return correlate1d(correlate1d(values, near, 0, mode="constant"), near, 1, mode="constant")

    return np.divide(around(weight * sigma), around(weight), out=np.zeros_like(sigma), where=known)


def propagate(image: np.ndarray, known: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """A sigma for every pixel of a photograph (H, W, 3) uint8, from those of the pixels `known`, (H, W) both.

    Minimises x' L x + lambda (sum over known pixels of (x - sigma)^2), with the matting Laplacian L of
    the smoothed photograph, at half the size; there a pixel is pulled by up to four known ones. It comes
    back to the full size by linear functions of colour. Where no known pixel reaches, it is the middle of
    `SIGMAS`.
    """
    guide = gaussian_filter(image / 255, (GUIDE, GUIDE, 0), mode="nearest")
    small = halve(guide)
    pull = HELD * _four(known)
    matrix = (laplacian(small, EPSILON) + sparse.diags_array((pull + FREE).ravel())).tocsc()
    right = HELD * _four(known * sigma) + FREE * SIGMAS.mean()
    # Positive definite: no pivot is needed, and rows and columns may be ordered alike.
    symmetric = {"SymmetricMode": True}
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
    solved = factors.solve(right.ravel()).reshape(small.shape[:2])
    return enlarge(solved, small, guide, EPSILON)


def _four(values: np.ndarray) -> np.ndarray:
    """The sums of two by two pixels, at half the size, rounded up: (H, W) -> (h, w)."""
    values = np.pad(values, [(0, n % 2) for n in values.shape])
    return values[::2, ::2] * 1.0 + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
