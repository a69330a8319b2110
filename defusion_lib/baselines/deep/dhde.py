"""DHDE: blur at edges, estimated by a small network from deep and hand-crafted features, and propagated.

Park, Tai, Cho and Kweon, "A Unified Approach of Multi-scale Deep and Hand-crafted Features for Defocus
Estimation" (CVPR 2017). Patches are cut at edges, small ones at strong edges and large ones at weak ones. From three
hand-crafted features of each (spectrum, gradients, singular values) and a convolutional one, a classifier predicts one
of eleven standard deviations of a Gaussian blur. It is trained on sharp photos blurred by known amounts. A filter
weighted by the probabilities cleans the sparse map, and the matting Laplacian makes it dense.

Sizes, thresholds and constants are those of the authors' released model. A blur of 0.5 pixels or less is in focus;
blurs of 2 pixels and more are one class. Differences from the authors' model:
- Training patches are sharp parts of photos with masks, cut at edges of the blurred photo, found as in detection. The
  authors use the edges of the sharp photo, found with twice the thresholds.
- The last class is trained with blurs of 2 to 8 pixels, log-uniformly, not of 2 alone. Out-of-focus areas of photos
  are blurred that much, and a classifier that has never seen it predicts small sigmas there.
- Noise and JPEG are added after the blur, because out-of-focus areas of photos have both.
- Weights are selected on held-out photos by their masks, not by Gaussian blur: the longer the classifier learns
  Gaussian blur, the smaller are the sigmas that it predicts in out-of-focus areas.
- There is no dropout, because a resumed run would have to repeat its random numbers, and no ReLU after the last layer.
- The range weight of the joint filter (100, on colours in 0..1) is above 0.9998 everywhere, and so omitted. The rolling
  guidance filter (1.5 pixels; 1.5 in colours) hardly preserves edges either: we smooth by a Gaussian.
- Propagation is solved at half the size, and the weighted median filter after it is omitted.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from scipy import sparse
from scipy.fft import dct
from scipy.ndimage import correlate1d, gaussian_filter, maximum_filter, sobel
from skimage.feature import canny
from torch import nn
from torch.nn import functional as F

from defusion_lib.backbone import initialise
from defusion_lib.baselines.matting import enlarge, halve, laplacian, solve_positive
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.effects import jpeg, noisy
from defusion_lib.progress import tqdm
from defusion_lib.training import Recipe, Task

SIGMAS = np.arange(0.5, 2.01, 0.15)  # pixels: the classes
LARGEST = 8.0  # pixels: the strongest blur of the last class in training
SIDES = (27, 15)  # pixels: patches at weak and at strong edges
THRESHOLDS = ((0.117, 0.176), (0.234, 0.351))  # of the strongest gradient, (low, high): weak, strong edges
SMOOTHING = 2**0.5  # pixels: before gradients are computed
SPECTRA = {27: 32, 15: 16}  # side of a patch -> side of its cosine transform
BINS = {27: 25, 15: 13}  # side of a patch -> length of each of its features
OVERLAP = 0.1  # of a ring's width, on either side
NUMBERS = 3 * sum(bins + 1 for bins in BINS.values())  # of all hand-crafted features
RADIUS, SPREAD = 13, 100.0  # pixels: of the joint filter
PROBABILITY_SPREAD = 1.0  # of the joint filter
GUIDE_SIGMA = 1.5  # pixels: smoothing of the image that guides the propagation
KNOWN_WEIGHT = 0.005  # lambda: weight of an edge pixel's sigma
EPSILON = 1e-5
PRIOR_WEIGHT = 1e-7  # of the mean of `SIGMAS` at every pixel: decides only where no edge reaches
NOISE = 1.5  # levels of 255: the highest standard deviation of noise in training
QUALITIES = (75, 96)  # of JPEG in training: from the first, below the second
PAIRS = 6644  # of photo and sigma in training: all 11 sigmas for each of 604 photos
TEST_PATCHES = 64  # per photo and sigma in `confusion`
CHUNK = 2048  # patches classified together


class DHDE(nn.Module):
    """The classifier: a convolutional feature, the hand-crafted ones, and three layers on top.

    Takes colour patches (N, 3, 27, 27) in [0, 1] and their `features` (N, 120), returns logits (N, 11) of `SIGMAS`.
    126,436 parameters. Shapes in comments are those of one patch.
    """

    def __init__(self):
        super().__init__()
        self.config = {}
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
        """Return the layer whose output enters the loss."""
        return [self.classifier[-1]]

    def forward(self, patch: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Compute the logits (N, 11) of patches and their features."""
        return self.classifier(torch.cat((features, self.deep(patch)), dim=1))


def edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find weak and strong edge pixels of an image (H, W, 3) uint8: two bool (H, W), no pixel in both.

    Runs Canny at two pairs of thresholds, which are relative to the strongest gradient of the image.
    """
    smooth = gaussian_filter(_grey(image), SMOOTHING, mode="nearest")
    strongest = np.hypot(sobel(smooth, 0), sobel(smooth, 1)).max()
    weak, strong = (canny(smooth, 0, low * strongest, high * strongest, mode="nearest") for low, high in THRESHOLDS)
    return weak & ~strong, strong


def features(patches: np.ndarray) -> np.ndarray:
    """Compute the hand-crafted features of grey patches (N, 27, 27) or (N, 15, 15) in [0, 1]: float32 (N, 120).

    Each of the three features has 25 numbers and a 1 for large patches, then 13 numbers and a 1 for small ones; the
    part of the other size is 0. The numbers are logarithms ln(1 + x), scaled to the sum 1. x is
    - the mean magnitude of the cosine transform in a ring of frequencies (the patch is padded with zeros),
    - the number of pixels with a gradient in an interval of [0, 1],
    - a singular value of the patch, largest first.
    """
    side = patches.shape[1]
    bins = BINS[side]
    waves = dct(np.eye(SPECTRA[side]), norm="ortho", axis=0)[:, :side]  # the zeros beyond the patch contribute nothing
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
    """Return weights for means over overlapping rings of the cosine transform: (its side squared, bins)."""
    last, bins = SPECTRA[side] - 1, BINS[side]
    frequency = np.hypot(*np.mgrid[: last + 1, : last + 1]).reshape(-1, 1)
    width = last / bins
    inner = np.arange(bins) * width
    inside = (frequency >= inner - OVERLAP * width) & (frequency <= inner + (1 + OVERLAP) * width)
    return inside / inside.sum(0)


def _gradient_counts(patches: np.ndarray, bins: int) -> np.ndarray:
    """Count the pixels of patches (N, S, S) in [0, 1] with a gradient in each interval of [0, 1]: (N, bins)."""
    across, down = np.diff(patches, axis=2)[:, :-1], np.diff(patches, axis=1)[:, :, :-1]
    gradient = np.hypot(across, down).reshape(len(patches), (patches.shape[1] - 1) ** 2) / 2**0.5
    interval = np.minimum((gradient * bins).astype(int), bins - 1)
    interval += np.arange(len(patches))[:, None] * bins  # each patch has separate bins
    return np.bincount(interval.ravel(), minlength=len(patches) * bins).reshape(len(patches), bins)


def cut_patches(image: np.ndarray, at: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut patches uint8 (N, 27, 27, 3) from an image (H, W, 3) uint8; return them and their `features` (N, 120).

    `at` (N, 2) has the rows and columns of their centres, `side` is 27 or 15. Border pixels are repeated beyond the
    image and around patches of 15x15.
    """
    reach, missing = side // 2, (SIDES[0] - side) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    patches = windows[at[:, 0], at[:, 1]].transpose(0, 2, 3, 1)
    around = (0, 0), (missing, missing), (missing, missing), (0, 0)
    return np.pad(patches, around, "edge"), features(_grey(patches))


def _grey(image: np.ndarray) -> np.ndarray:
    """Compute the value of HSV in [0, 1]: (..., 3) uint8 -> (...) float64."""
    return image.max(-1) / 255


class Patches(Sequence):
    """Patches with labels, from parts (patches (N, 27, 27, 3) uint8, features (N, 120), labels (N,)).

    An item is (patch (3, 27, 27) float32 in [0, 1], features (120,) float32, label ()).
    """

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]):
        self.patches, self.features, self.labels = map(np.concatenate, zip(*parts))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features, label = torch.from_numpy(self.features[index]), torch.tensor(self.labels[index])
        return _as_input(self.patches[index]), features, label


def blurred_patches(photos: PhotoSet, size: int, recipe: Recipe) -> Patches:
    """Cut patches of known blur: `size` per photo and sigma, half of each scale; labels are classes, int64.

    Patches are cut where the mask is sharp in every pixel of the patch, after the photo was blurred by a Gaussian of
    the class (the last one has 2 to `LARGEST` pixels), rounded to uint8, and stored with noise (`as_taken`). Each photo
    is blurred by some of `SIGMAS`, so that all are equally frequent and there are about `PAIRS` pairs of photo and
    sigma; if there are fewer edges than `size`, all are used. The patches depend only on the photos, `size` and the
    recipe's seed. Raises ValueError for a photo without a mask and if no photo has a sharp edge.
    """
    classes = int(np.clip(PAIRS // max(1, len(photos)), 1, len(SIGMAS)))
    found = []
    for index, photo in enumerate(tqdm(photos, desc="dhde: patches", leave=False)):
        labels = (index * classes + np.arange(classes)) % len(SIGMAS)
        found += _photo_patches(photo, labels, size, np.random.default_rng((recipe.seed, index)))
    if not any(len(labels) for _, _, labels in found):
        raise ValueError(f"No photo of {photos.name} has an edge in focus: DHDE needs them, use other photos.")
    return Patches(found)


def photo_edges(photos: PhotoSet, size: int, recipe: Recipe) -> Patches:
    """Cut patches of photos as they are, at edges; the label is the mask at the edge, float32, 1 = blurred.

    Of each photo and scale there are up to `size` / 2 patches in focus and as many out of focus. The patches depend
    only on the photos, `size` and the recipe's seed. Raises ValueError for a photo without a mask and if no photo has
    edges of both kinds.
    """
    found = []
    for index, photo in enumerate(photos):
        mask, rng = _mask(photo), np.random.default_rng((recipe.seed, index))
        for side, edge in zip(SIDES, edges(photo.image)):
            kinds = [np.argwhere(edge & (mask == label)) for label in (0, 1)]
            count = min(size // 2, *map(len, kinds))
            for label, at in enumerate(kinds):
                at = at[rng.permutation(len(at))[:count]]
                found.append((*cut_patches(photo.image, at, side), np.full(count, label, np.float32)))
    if not any(len(labels) for _, _, labels in found):
        raise ValueError(
            f"No photo of {photos.name} has edges in focus and edges out of focus: DHDE needs both in held-out photos, "
            "use other ones."
        )
    return Patches(found)


def _photo_patches(
    photo: Photo, labels: np.ndarray, size: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return patches, features and labels of one photo, for each of the labels and both scales."""
    sharp = [maximum_filter(_mask(photo), side, mode="nearest") == 0 for side in SIDES]
    found = []
    for label in labels:
        is_last = label == len(SIGMAS) - 1
        sigma = SIGMAS[-1] * (LARGEST / SIGMAS[-1]) ** rng.random() if is_last else SIGMAS[label]
        image = as_taken(blur(photo.image, sigma), rng)
        for side, edge, allowed in zip(SIDES, edges(image), sharp):
            at = np.argwhere(edge & allowed)
            at = at[rng.permutation(len(at))[: size // 2]]
            found.append((*cut_patches(image, at, side), np.full(len(at), label)))
    return found


def _mask(photo: Photo) -> np.ndarray:
    if photo.mask is None:
        raise ValueError(f"{photo.name} has no mask: DHDE is trained on the sharp areas of masks.")
    return photo.mask


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image (H, W, 3) uint8 by a Gaussian of `sigma` pixels and round it to uint8."""
    smooth = gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


def as_taken(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise and JPEG of random strengths (up to `NOISE`, of `QUALITIES`) to an image (H, W, 3) uint8."""
    return jpeg(noisy(image, rng.uniform(0, NOISE), rng.integers(2**32)), int(rng.integers(*QUALITIES)))


def _as_input(patches: np.ndarray) -> torch.Tensor:
    """Convert patches (..., 27, 27, 3) uint8 to the network's input: (..., 3, 27, 27) float32 in [0, 1]."""
    return torch.from_numpy(patches).movedim(-1, -3).float() / 255


def _loss(network: DHDE, patch: torch.Tensor, features: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(network(patch, features).float(), label)


def _map_error(network: DHDE, patch: torch.Tensor, features: torch.Tensor, is_blurred: torch.Tensor) -> torch.Tensor:
    """Compute the mean absolute error of the map at edges; the mean of all sigmas varies less than the likeliest."""
    sigma = torch.softmax(network(patch, features).float(), 1) @ torch.from_numpy(SIGMAS).float().to(patch.device)
    return ((sigma - SIGMAS[0]) / (SIGMAS[-1] - SIGMAS[0]) - is_blurred).abs().mean()


# DHDE cuts its own samples and has no VGG-16.
IGNORED = ("rotations", "scales", "augmentation", "backbone_factor", "frozen_blocks")
TASK = Task(blurred_patches, _loss, ignores=IGNORED, held_out=photo_edges, held_out_loss=_map_error)


def classify(network: DHDE, patches: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Predict the probability of each of `SIGMAS`, float32 (N, 11), from the results of `cut_patches`."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        logits = network(_as_input(patches).to(device), torch.from_numpy(features).to(device))
        return torch.softmax(logits, 1).cpu().numpy()


def confusion(network: DHDE, photos: PhotoSet, seed: int = 0) -> np.ndarray:
    """Compute the confusion matrix of sigmas: int (11, 11), true ones in rows, estimated ones in columns.

    Uses patches of photos with masks, which should not be training photos. Raises what `blurred_patches` raises.
    """
    patches = blurred_patches(photos, TEST_PATCHES, Recipe(seed=seed))
    counts = np.zeros((len(SIGMAS), len(SIGMAS)), int)
    for begin in range(0, len(patches), CHUNK):
        part = slice(begin, begin + CHUNK)
        estimated = classify(network, patches.patches[part], patches.features[part]).argmax(1)
        np.add.at(counts, (patches.labels[part], estimated), 1)
    return counts


def detect(image: np.ndarray, network: DHDE, progress: bool = False) -> np.ndarray:
    """Compute a defocus map, float32 (H, W) in [0, 1], 1 = blurred: sigma from 0.5 to 2 pixels.

    `image` is uint8, RGB (H, W, 3) or grey (H, W). Each edge pixel gets its most probable sigma. An image without any
    edge is 0.5 everywhere. Raises ValueError for any other input.
    """

    def core(seen: np.ndarray, progress: bool) -> np.ndarray:
        sigma, probability = sparse_map(seen, network, progress)
        sigma = propagate(seen, sigma > 0, joint_filter(sigma, probability))
        return (sigma - SIGMAS[0]) / (SIGMAS[-1] - SIGMAS[0])

    return classical_method(core)(image, progress)


def sparse_map(image: np.ndarray, network: DHDE, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Predict the most probable sigma at the edges of an image, and its probability: (H, W) both, 0 elsewhere."""
    sigma, probability = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for side, edge in zip(SIDES, edges(image)):
        at = np.argwhere(edge)
        parts = np.split(at, range(CHUNK, len(at), CHUNK))
        for part in tqdm(parts, desc=f"dhde: {side}x{side}", disable=not progress, leave=False):
            predicted = classify(network, *cut_patches(image, part, side))
            sigma[tuple(part.T)] = SIGMAS[predicted.argmax(1)]
            probability[tuple(part.T)] = predicted.max(1)
    return sigma, probability


def joint_filter(sigma: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Smooth a sparse map of sigmas (H, W), 0 where unknown, weighted by probability (H, W).

    This is the probability-joint bilateral filter without its range weight: each known pixel becomes a weighted mean of
    the known pixels of its 27x27 window. Unknown pixels stay 0.
    """
    near = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SPREAD**2))
    known = sigma > 0
    weight = known * np.exp(-((1 - probability) ** 2) / (2 * PROBABILITY_SPREAD**2))

    def around(values):
        return correlate1d(correlate1d(values, near, 0, mode="constant"), near, 1, mode="constant")

    return np.divide(around(weight * sigma), around(weight), out=np.zeros_like(sigma), where=known)


def propagate(image: np.ndarray, known: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Propagate sigma (H, W) from the pixels `known`, bool (H, W), to every pixel of an image (H, W, 3) uint8.

    Minimises x' L x + lambda (sum over known pixels of (x - sigma)^2) with the matting Laplacian L of the smoothed
    image, at half the size, where up to four known pixels act on one. Linear functions of colour bring the result to
    full size. Where no known pixel reaches, it is the mean of `SIGMAS`.
    """
    guide = gaussian_filter(image / 255, (GUIDE_SIGMA, GUIDE_SIGMA, 0), mode="nearest")
    small = halve(guide)
    weight = KNOWN_WEIGHT * _block_sums(known)
    matrix = (laplacian(small, EPSILON) + sparse.diags_array((weight + PRIOR_WEIGHT).ravel())).tocsc()
    right = KNOWN_WEIGHT * _block_sums(known * sigma) + PRIOR_WEIGHT * SIGMAS.mean()
    solved = solve_positive(matrix, right.ravel()).reshape(small.shape[:2])
    return enlarge(solved, small, guide, EPSILON)


def _block_sums(values: np.ndarray) -> np.ndarray:
    """Sum blocks of two by two pixels: (H, W) -> (h, w), half the size, rounded up."""
    values = np.pad(values, [(0, n % 2) for n in values.shape])
    return values[::2, ::2] * 1.0 + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
