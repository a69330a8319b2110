"""KSFV: the responses of a window to a pool of blur kernels, and a support vector machine.

Pang, Zhu, Li and Li, "Classifying Discriminative Features for Blur Detection" (IEEE Transactions on
Cybernetics 2016). For a kernel, the feature of a window is made of products: the variance of the kernel after
a filter times the variance of the window's gradients after the same filter. From the features of a pool of kernels
(motion, defocus, both) a support vector machine classifies the window as blurred or sharp.

Only the paper's idea was available to us, so the rest is our reading. The filters are those of the two-dimensional
cosine transform of 5x5 pixels without the constant. A kernel's products are summed over the filters: separate
products would contain the kernel only as a scale, which does not change the classifier. So each feature measures how
well the spectrum of the gradients fits that of a kernel; the logarithm turns contrast into a common offset. The
machine is linear, its decisions are smoothed over neighbouring windows, and a logistic curve maps them to 0..1.
"""

import numpy as np
from scipy.fft import dct
from scipy.ndimage import correlate1d, gaussian_filter, uniform_filter
from scipy.signal import fftconvolve
from scipy.special import expit

from defusion_lib.baselines.fitted import SPLIT, load_fitted
from defusion_lib.baselines.images import luma
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.data import PhotoSet
from defusion_lib.inference import resize_map
from defusion_lib.progress import tqdm
from defusion_lib.stopping import tick

WINDOW = 21  # pixels: side of a window
STEP = 3  # pixels between the centres of neighbouring windows
SMOOTHING = 2  # windows: standard deviation of the smoothing of decisions
WAVES = dct(np.eye(5), norm="ortho", axis=0)  # one wave of the cosine transform per row
SUPPORT = 31  # pixels: side of a kernel's array
LENGTHS = (5, 11, 17)  # pixels of motion, in each of four directions
RADII = (1, 2, 3, 4.5, 6)  # pixels of defocus
ROUNDING = 1 / 12  # variance of rounding to whole levels: a floor under that of a flat window
TRAINING_PHOTOS = 150  # the last ones of the set
SAMPLES = 200  # windows of each class and photo


@classical_method
def detect(image, progress, split=SPLIT):
    """Compute KSFV's defocus map: the smoothed decisions of the support vector machine, mapped to 0..1."""
    decision = window_decisions(features(luma(image), progress), load_fitted("ksfv", split))
    # Beyond the border the nearest window is repeated.
    smooth = expit(gaussian_filter(decision, SMOOTHING, mode="nearest"))
    height, width = image.shape[:2]
    rows, columns = smooth.shape
    return resize_map(smooth, (rows * STEP, columns * STEP))[:height, :width]


def window_decisions(found: np.ndarray, machine: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the linear machine's decisions for features (kernels, h, w): (h, w), above 0 = blurred."""
    return np.tensordot(machine["weights"], found, 1) + machine["offset"]


def kernels() -> np.ndarray:
    """Return the pool of blur kernels, each of sum 1: (kernels, SUPPORT, SUPPORT)."""
    y, x = np.mgrid[:SUPPORT, :SUPPORT] - SUPPORT // 2
    disks = [np.clip(radius + 0.5 - np.hypot(y, x), 0, 1) for radius in RADII]
    motions = {}
    for length in LENGTHS:
        for degrees in (0, 45, 90, 135):
            cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            # Distance along and across the path, whose ends and sides fade over one pixel.
            along, across = np.abs(x * cos - y * sin), np.abs(x * sin + y * cos)
            motions[length, degrees] = np.clip((length + 1) / 2 - along, 0, 1) * np.clip(1 - across, 0, 1)
    both = [fftconvolve(motions[LENGTHS[1], degrees], disks[1], "same") for degrees in (0, 45, 90, 135)]
    pool = np.stack([*disks, *motions.values(), *both])
    return pool / pool.sum((1, 2), keepdims=True)


def kernel_variances() -> np.ndarray:
    """Compute the variance of each kernel after each filter: (kernels, 24)."""
    responses = [_filtered(kernel, u, v) for kernel in kernels() for u, v in _filters()]
    return np.var(responses, (1, 2)).reshape(-1, len(_filters()))


def features(grey: np.ndarray, progress: bool = False) -> np.ndarray:
    """Compute the logarithms of the kernel-specific features of all windows.

    `grey` has grey levels 0..255, (H, W). Returns (kernels, ceil(H / STEP), ceil(W / STEP)), of windows centred in
    cells of STEP x STEP pixels.
    """
    size = [-(-n // STEP) for n in grey.shape]
    # Windows and filters extend beyond the border; the image is mirrored there.
    reach = WINDOW // 2 + len(WAVES) // 2
    spare = [n * STEP - old for n, old in zip(size, grey.shape, strict=True)]
    grey = np.pad(grey, [(reach, reach + more) for more in spare], "symmetric")
    gradients = np.diff(grey, axis=1, append=grey[:, -1:]), np.diff(grey, axis=0, append=grey[-1:])
    centres = tuple(slice(reach + STEP // 2, reach + n * STEP, STEP) for n in size)
    variances = np.empty((len(_filters()), *size))
    for i, (u, v) in enumerate(tqdm(_filters(), desc="ksfv", disable=not progress, leave=False)):
        tick()
        responses = [_filtered(gradient, u, v) for gradient in gradients]
        square = sum(uniform_filter(response**2, WINDOW)[centres] for response in responses)
        variances[i] = square - sum(uniform_filter(response, WINDOW)[centres] ** 2 for response in responses)
    # A gradient is the difference of two levels, and there are two directions.
    return np.log(np.tensordot(kernel_variances(), np.maximum(variances, 0) + 4 * ROUNDING, 1))


def _filters() -> list[tuple[int, int]]:
    return [(u, v) for u in range(len(WAVES)) for v in range(len(WAVES)) if u or v]


def _filtered(values: np.ndarray, u: int, v: int) -> np.ndarray:
    """Filter values (H, W) by wave u along columns and wave v along rows; 0 beyond the border."""
    return correlate1d(correlate1d(values, WAVES[u], 0, mode="constant"), WAVES[v], 1, mode="constant")


def learn(photos: PhotoSet, seed: int = 0, progress: bool = True) -> dict[str, np.ndarray]:
    """Train the support vector machine on windows of the last `TRAINING_PHOTOS` photos.

    Returns `weights` (kernels,) and `offset` () of the decision, and `photographs`, the names. The same number of
    windows of each class is drawn with `seed` from a photo that has both.
    """
    # Imported here because it takes seconds and only learning needs it.
    from sklearn.svm import LinearSVC

    photos = photos[-TRAINING_PHOTOS:]
    rng = np.random.default_rng(seed)
    samples, labels = [], []
    for photo in tqdm(photos, desc="ksfv: features", disable=not progress, leave=False):
        found = features(luma(photo.image))
        mask = photo.mask[STEP // 2 :: STEP, STEP // 2 :: STEP] > 0.5
        for label in (0, 1):
            rows, columns = np.nonzero(mask == label)
            if len(rows):
                chosen = rng.integers(len(rows), size=SAMPLES)
                samples.append(found[:, rows[chosen], columns[chosen]].T)
                labels.append(np.full(SAMPLES, label))
    samples, labels = np.concatenate(samples), np.concatenate(labels)
    mean, spread = samples.mean(0), samples.std(0) + 1e-9
    machine = LinearSVC(dual=False, tol=1e-6, max_iter=10_000).fit((samples - mean) / spread, labels)
    weights = machine.coef_[0] / spread
    return {
        "weights": weights,
        "offset": machine.intercept_[0] - weights @ mean,
        "photographs": np.array(photos.stems),
    }
