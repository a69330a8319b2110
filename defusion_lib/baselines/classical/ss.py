"""SS: the spectrum says where, similar regions say the rest (Tang, Wu, Hou, Wang and Li, "A Spectral and
Spatial Approach of Coarse-to-Fine Blurred Image Region Detection", IEEE Signal Processing Letters 2016).

Blur takes high frequencies away, so the log averaged spectrum of a window loses little where the photograph
is blurred once more: this residual gives a coarse map. Regions of one look then agree on one blur: each
superpixel moves towards the mean of those that look like it and lie near it, again and again, first large
superpixels and then smaller ones. A smooth region in focus is so drawn towards the edges about it.

Neither code nor text was at hand, only the abstract; the rest is our reading. Most of all the residual: the
moving average that "spectral residual" stands for elsewhere hardly tells blurred from sharp (area under the
ROC curve at most 0.73 on twenty training photographs), the difference to a blurred copy does (0.92). Regions
are alike by mean colour, mean gradient and place. Sizes, reaches and rounds were chosen on Shi's training
photographs. The map is relative to the photograph: its sharpest place is 0, and a photograph without anything
sharp is stretched too.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.color import rgb2lab
from skimage.segmentation import slic
from tqdm.auto import tqdm

from defusion_lib.baselines.wrapper import detector

SIZE = 64  # pixels: the side of a window
STRIDE = 8  # pixels between windows
AGAIN = 1.0  # pixels: Gaussian sigma of the second blur
FAINT = 1e-3  # amplitude (grey 0-1) about which a frequency is lost in noise
LEAST = 0.1  # residual of the sharpest window in a photograph that shows anything
BLOCK = 256  # windows transformed together

REGIONS = 100, 200, 400  # superpixels, coarse to fine
SMALLEST = 64  # pixels of a superpixel
ROUNDS = 3  # of updates with each
COLOUR, GRADIENT, NEAR = 10, 0.01, 0.05  # how far alike ones differ: Lab, lightness (0-1) a pixel, diagonals
KEPT = 0.5  # of a region's own score in an update


@detector
def detect(image, progress):
    """SS's defocus map: spectrum residuals of windows, evened out among superpixels that look alike."""
    residuals = spectrum_residuals(np.asarray(Image.fromarray(image).convert("L")) / 255, progress=progress)
    blur = between(1 - residuals / max(residuals.max(), LEAST), image.shape[:2])
    marks = look(image)
    for count in REGIONS:
        blur = update(blur, superpixels(image, count), marks)
    return blur


def spectrum_residuals(grey: np.ndarray, progress: bool = False) -> np.ndarray:
    """What another blur takes from the log averaged spectrum about every eighth pixel of (H, W), on average.

    Windows have their mean taken off and a Hann weight; amplitudes are averaged over rings of one frequency,
    and the photograph goes on mirrored beyond its borders.
    """
    weight = np.hanning(SIZE + 2)[1:-1]
    weight = weight[:, None] * weight
    weight /= weight.sum()
    rings = ring_weights()
    windows = []
    for each in (grey, gaussian_filter(grey, AGAIN)):
        padded = np.pad(each, (SIZE // 2, SIZE // 2 - 1), mode="symmetric")
        windows.append(sliding_window_view(padded, (SIZE, SIZE))[::STRIDE, ::STRIDE])
    grid = windows[0].shape[:2]
    places = np.indices(grid).reshape(2, -1)
    residuals = np.empty(places.shape[1])
    starts = range(0, len(residuals), BLOCK)
    for start in tqdm(starts, desc="ss", disable=not progress, leave=False):
        now = slice(start, start + BLOCK)
        sharp, blurred = (log_spectra(each[*places[:, now]], weight, rings) for each in windows)
        residuals[now] = (sharp - blurred).mean(1)
    return residuals.reshape(grid)


def log_spectra(windows: np.ndarray, weight: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """The log of the amplitude averaged over each ring: windows (N, S, S) -> (N, S / 2)."""
    weighted = (windows - windows.mean((1, 2), keepdims=True)) * weight
    amplitudes = np.abs(fft.rfft2(weighted)).reshape(len(windows), -1)
    return np.log(amplitudes @ rings + FAINT)


def ring_weights() -> np.ndarray:
    """What each of the S (S / 2 + 1) frequencies of `rfft2` counts in the mean of each ring, (., S / 2)."""
    down, across = fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.arange(SIZE // 2 + 1)
    radius = np.rint(np.hypot(down, across)).ravel()
    rings = (radius[:, None] == np.arange(1, SIZE // 2 + 1)).astype(float)
    return rings / rings.sum(0)


def between(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values at the windows' centres as an image of the given (H, W), linear between them."""
    # An even window has its centre half a pixel before its pixel.
    centres = [(np.arange(size) + 0.5) / STRIDE for size in shape]
    return map_coordinates(values, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest")


def superpixels(image: np.ndarray, count: int) -> np.ndarray:
    """About `count` superpixels, fewer of a small image: int labels (H, W), 0 and up without a gap."""
    count = min(count, image.shape[0] * image.shape[1] // SMALLEST)
    if count < 2:
        return np.zeros(image.shape[:2], int)
    labels = slic(image, count, compactness=10, max_num_iter=5, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def look(image: np.ndarray) -> np.ndarray:
    """By what superpixels are compared, each in units of how far apart alike ones are: (6, H, W).

    Colour in Lab, strength of the gradient, place.
    """
    lab = rgb2lab(image)
    padded = np.pad(lab[..., 0] / 100, 1, mode="edge")
    down, across = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    place = np.indices(image.shape[:2]) / np.hypot(*image.shape[:2])
    gradient = np.hypot(down, across) / 2
    return np.stack([*(lab.transpose(2, 0, 1) / COLOUR), gradient / GRADIENT, *(place / NEAR)])


def update(blur: np.ndarray, labels: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The mean of a map in each superpixel, moved towards that of its like; the map's range stays, (H, W).

    labels as of `superpixels`, marks (C, H, W) as of `look`.
    """
    regions = np.stack([region_means(mark, labels) for mark in marks], axis=1)
    alike = np.exp(-((regions[:, None] - regions) ** 2).sum(2) / 2)
    np.fill_diagonal(alike, 0)
    alike /= np.maximum(alike.sum(1, keepdims=True), np.finfo(float).tiny)
    score = region_means(blur, labels)
    # A region with nobody like it keeps its score.
    kept = np.where(alike.any(1), KEPT, 1)
    for _ in range(ROUNDS):
        score = kept * score + (1 - kept) * (alike @ score)
    return stretched(score, blur.min(), blur.max())[labels]


def region_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of values (H, W) over each superpixel, (regions,)."""
    return np.bincount(labels.ravel(), values.ravel()) / np.bincount(labels.ravel())


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values brought to the range from low to high, where they differ at all."""
    extent = values.max() - values.min()
    return low + (values - values.min()) * ((high - low) / extent) if extent > 1e-9 else values
