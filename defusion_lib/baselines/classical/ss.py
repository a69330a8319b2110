"""SS: a coarse map from local spectra, refined by averaging over similar regions.

Tang, Wu, Hou, Wang and Li, "A Spectral and Spatial Approach of Coarse-to-Fine Blurred Image Region Detection" (IEEE
Signal Processing Letters 2016). Blur removes high frequencies, so blurring an already blurred window again changes
its log averaged spectrum little: this residual gives a coarse map. Then the blur of similar regions is averaged: each
superpixel moves towards the mean of those that are similar and near, in several rounds, with large superpixels first
and smaller ones later. So the score of a smooth region in focus approaches that of the edges around it.

We had neither code nor text, only the abstract; the rest is our reading. Most important is the residual: the moving
average that "spectral residual" means elsewhere hardly separates blurred from sharp (area under the ROC curve at most
0.73 on twenty training photos), the difference from a blurred copy does (0.92). Similarity of regions is measured by
mean colour, mean gradient and position. Sizes, reaches and rounds were chosen on Shi's training photos. The map is
relative to the photo: its sharpest window is 0, and the map of a photo without any sharp window is stretched too.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab
from skimage.segmentation import slic

from defusion_lib.baselines.images import interpolate_windows
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.progress import tqdm
from defusion_lib.stopping import tick

SIZE = 64  # pixels: the side of a window
STRIDE = 8  # pixels between windows
REBLUR_SIGMA = 1.0  # pixels: Gaussian sigma of the second blur
NOISE_AMPLITUDE = 1e-3  # amplitude (grey 0-1) of the noise
MIN_RESIDUAL = 0.1  # residual of the sharpest window in a photo with any detail
BLOCK = 256  # windows transformed together

REGIONS = 100, 200, 400  # superpixels, coarse to fine
MIN_REGION = 64  # pixels of a superpixel
ROUNDS = 3  # of updates for each count of superpixels
# Differences between similar superpixels: in Lab units, lightness (0-1) per pixel, image diagonals.
COLOUR, GRADIENT, DISTANCE = 10, 0.01, 0.05
OWN_WEIGHT = 0.5  # of a region's previous score in an update


@classical_method
def detect(image, progress):
    """Compute SS's defocus map: spectrum residuals of windows, averaged over similar superpixels."""
    residuals = spectrum_residuals(np.asarray(Image.fromarray(image).convert("L")) / 255, progress=progress)
    blur = interpolate_windows(1 - residuals / max(residuals.max(), MIN_RESIDUAL), STRIDE, image.shape[:2])
    features = appearance(image)
    for count in REGIONS:
        tick()
        blur = smooth_regions(blur, superpixels(image, count), features)
    return blur


def spectrum_residuals(grey: np.ndarray, progress: bool = False) -> np.ndarray:
    """Compute how much a second blur lowers the log averaged spectrum around every eighth pixel, on average.

    `grey` (H, W) in [0, 1] -> (ceil(H / 8), ceil(W / 8)). Windows lose their mean and get a Hann weight; amplitudes are
    averaged over rings of equal frequency. The image is mirrored at its borders.
    """
    weight = np.hanning(SIZE + 2)[1:-1]
    weight = weight[:, None] * weight
    weight /= weight.sum()
    rings = ring_weights()
    windows = []
    for each in (grey, gaussian_filter(grey, REBLUR_SIGMA)):
        padded = np.pad(each, (SIZE // 2, SIZE // 2 - 1), mode="symmetric")
        windows.append(sliding_window_view(padded, (SIZE, SIZE))[::STRIDE, ::STRIDE])
    grid = windows[0].shape[:2]
    places = np.indices(grid).reshape(2, -1)
    residuals = np.empty(places.shape[1])
    starts = range(0, len(residuals), BLOCK)
    for start in tqdm(starts, desc="ss", disable=not progress, leave=False):
        tick()
        now = slice(start, start + BLOCK)
        sharp, blurred = (log_spectra(each[*places[:, now]], weight, rings) for each in windows)
        residuals[now] = (sharp - blurred).mean(1)
    return residuals.reshape(grid)


def log_spectra(windows: np.ndarray, weight: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Compute the log of the amplitude averaged over each ring: windows (N, S, S) -> (N, S / 2)."""
    weighted = (windows - windows.mean((1, 2), keepdims=True)) * weight
    amplitudes = np.abs(fft.rfft2(weighted)).reshape(len(windows), -1)
    return np.log(amplitudes @ rings + NOISE_AMPLITUDE)


def ring_weights() -> np.ndarray:
    """Return the weight of each frequency of `rfft2` in the mean of each ring, (S (S / 2 + 1), S / 2)."""
    down, across = fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.arange(SIZE // 2 + 1)
    radius = np.rint(np.hypot(down, across)).ravel()
    rings = (radius[:, None] == np.arange(1, SIZE // 2 + 1)).astype(float)
    return rings / rings.sum(0)


def superpixels(image: np.ndarray, count: int) -> np.ndarray:
    """Divide an image into about `count` superpixels, fewer if it is small: consecutive int labels (H, W) from 0."""
    count = min(count, image.shape[0] * image.shape[1] // MIN_REGION)
    if count < 2:
        return np.zeros(image.shape[:2], int)
    labels = slic(image, count, compactness=10, max_num_iter=5, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def appearance(image: np.ndarray) -> np.ndarray:
    """Compute the features by which superpixels are compared, (6, H, W): Lab colour, gradient strength, position.

    Each is in units of a difference between similar superpixels.
    """
    lab = rgb2lab(image)
    padded = np.pad(lab[..., 0] / 100, 1, mode="edge")
    down, across = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    place = np.indices(image.shape[:2]) / np.hypot(*image.shape[:2])
    gradient = np.hypot(down, across) / 2
    return np.stack([*(lab.transpose(2, 0, 1) / COLOUR), gradient / GRADIENT, *(place / DISTANCE)])


def smooth_regions(blur: np.ndarray, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Average a map (H, W) in each superpixel and move the mean towards that of similar ones; the range stays.

    `labels` as `superpixels` returns them, `features` (C, H, W) as `appearance` does.
    """
    regions = np.stack([region_means(feature, labels) for feature in features], axis=1)
    similarity = np.exp(-((regions[:, None] - regions) ** 2).sum(2) / 2)
    np.fill_diagonal(similarity, 0)
    similarity /= np.maximum(similarity.sum(1, keepdims=True), np.finfo(float).tiny)
    score = region_means(blur, labels)
    # A region without similar ones keeps its score.
    own = np.where(similarity.any(1), OWN_WEIGHT, 1)
    for _ in range(ROUNDS):
        score = own * score + (1 - own) * (similarity @ score)
    return rescale(score, blur.min(), blur.max())[labels]


def region_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute the mean of values (H, W) over each superpixel, (regions,)."""
    return np.bincount(labels.ravel(), values.ravel()) / np.bincount(labels.ravel())


def rescale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale values to the range from `low` to `high`; constant values are returned unchanged."""
    extent = values.max() - values.min()
    return low + (values - values.min()) * ((high - low) / extent) if extent > 1e-9 else values
