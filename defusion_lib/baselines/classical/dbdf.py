"""DBDF: four features that separate blurred from sharp windows, a naive Bayes classifier and three scales.

Shi, Xu and Jia, "Discriminative Blur Detection Features" (CVPR 2014). In a window of each scale: the weight of the
gradients' tails (kurtosis), the width of the wider part of their distribution (the span of a mixture of two
Gaussians), the power of high frequencies (averaged power-spectrum slope), and the responses of filters learnt from
sharp and blurred patches. The likelihood of each feature in either class is a histogram; inference on a graph over
the three scales gives one labelling.

Our reading, because we did not have the text: windows of 11, 21 and 31 pixels whose centres lie `STEP` pixels apart;
the gradients are differences of neighbouring grey levels; the mixture has means of 0 and is fitted, by expectation
maximisation, to a histogram of gradient magnitudes; the spectrum excludes the constant, averages rings of 0.2 in the
logarithm of frequency, and its mean over the image is subtracted. The paper finds its filters by linear discriminant
analysis. As patches of both classes have the same mean, 0, our filters are those whose mean squares differ most
between the classes (a generalised eigenproblem of two covariances), and discriminant analysis then weights the
logarithms of their mean squares within the window. These are taken relative to the span: naive Bayes requires
independent features, and the span already measures contrast. (With the contrast included, maps are closer to the
masks and less close to the authors' maps.) Both classes have the same prior probability, and the map is the mean of
the three layers. The maps that circulate as DBDF's repeat their borders over 10 pixels and are grainy: they resemble
those of one scale, windows of 21 pixels, without the inference.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit

from defusion_lib.baselines.belief_propagation import propagate
from defusion_lib.baselines.fitted import SPLIT, load_fitted
from defusion_lib.baselines.images import luma
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.data import PhotoSet
from defusion_lib.inference import resize_map
from defusion_lib.progress import tqdm
from defusion_lib.stopping import tick

SCALES = (11, 21, 31)  # pixels: sides of the windows
STEP = 3  # pixels between the centres of neighbouring windows
FEATURES = 4
SIDE = 7  # pixels: side of the learnt filters
FILTERS = 6
ROUNDING = 1 / 12  # variance that rounding to whole grey levels adds to each pixel
ROUNDS = 15  # of expectation maximisation
# Gradient magnitudes are counted in bins of a quarter octave of 1 + magnitude, up to 255 * sqrt(2).
BINS = round(4 * np.log2(1 + 255 * 2**0.5)) + 1
MAGNITUDES = 2 ** (np.arange(BINS) / 4) - 1
TRAINING_PHOTOS = 150  # the last ones of the set
SAMPLES = 500  # windows of each class and photo
LEVELS = 40  # bins of each likelihood
MARGIN = SCALES[-1] // 2


@classical_method
def detect(image, progress, split=SPLIT):
    """Compute DBDF's defocus map: the belief in blur after inference over three scales."""
    parts = load_fitted("dbdf", split)
    found = features(grey_levels(image), parts["filters"], progress)
    evidence = np.stack([posterior(found[s], parts, s) for s in range(len(SCALES))])
    belief = propagate(evidence.astype(np.float32)).mean(0)
    height, width = image.shape[:2]
    rows, columns = belief.shape
    return resize_map(belief, (rows * STEP, columns * STEP))[:height, :width]


def grey_levels(image: np.ndarray) -> np.ndarray:
    """Convert uint8 RGB (H, W, 3) to luma, rounded to integers 0..255: float64 (H, W)."""
    return np.rint(luma(image))


def posterior(found: np.ndarray, parts: dict[str, np.ndarray], scale: int) -> np.ndarray:
    """Compute the naive Bayes probability of blur at one scale: features (3 + FILTERS, h, w) -> (h, w).

    The logarithm of a likelihood is interpolated between the centres of its bins.
    """
    values = np.concatenate([found[:3], np.tensordot(parts["direction"][scale], found[3:], 1)[None]])
    evidence = sum(
        np.interp(values[i], parts["centres"][scale, i], parts["evidence"][scale, i]) for i in range(FEATURES)
    )
    return expit(evidence)


def features(grey: np.ndarray, filters: np.ndarray, progress: bool = False) -> np.ndarray:
    """Compute the features of all windows of all scales.

    `grey` has grey levels (H, W), `filters` is (FILTERS, SIDE, SIDE). Returns (3, 3 + FILTERS, ceil(H / STEP),
    ceil(W / STEP)): kurtosis, span and slope, all logarithmic, and the logarithms of the filters' mean squares over the
    squared span, of windows centred in cells of STEP x STEP pixels.
    """
    size = [-(-n // STEP) for n in grey.shape]
    # Windows and filters extend beyond the border; the image is mirrored there.
    reach = MARGIN + SIDE // 2
    spare = [n * STEP - old for n, old in zip(size, grey.shape, strict=True)]
    grey = np.pad(grey, [(reach, reach + more) for more in spare], "symmetric")
    found = np.empty((len(SCALES), 3 + len(filters), *size))
    with tqdm(total=len(SCALES), desc="dbdf", disable=not progress, leave=False) as bar:
        across = np.diff(grey, axis=1, append=grey[:, -1:])
        down = np.diff(grey, axis=0, append=grey[-1:])
        found[:, 0] = kurtosis(across, down, size)
        counts = magnitude_counts(across, down, size)
        found[:, 3:] = filter_energies(grey, filters, size)
        for s, side in enumerate(SCALES):
            found[s, 1] = span(counts[s].reshape(-1, BINS)).reshape(size)
            found[s, 2] = slope(grey, side, size)
            found[s, 3:] -= 2 * found[s, 1]
            bar.update()
    return found


def window_sums(values: np.ndarray, size) -> np.ndarray:
    """Sum values (H, W) over the windows of all scales, (3, h, w); sums of integers are exact."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    first = (np.array(values.shape) - np.array(size) * STEP) // 2 + STEP // 2
    sums = []
    for side in SCALES:
        (up, left), half = first, side // 2
        rows = [slice(up + d, up + d + size[0] * STEP, STEP) for d in (-half, half + 1)]
        columns = [slice(left + d, left + d + size[1] * STEP, STEP) for d in (-half, half + 1)]
        (a, b), (c, d) = ([total[r, k] for k in columns] for r in rows)
        sums.append(d - b - c + a)
    return np.stack(sums)


def kurtosis(across: np.ndarray, down: np.ndarray, size) -> np.ndarray:
    """Compute ln of the smaller kurtosis of the two gradients in each window: (3, h, w), at least 0.

    A normal distribution has ln 3. Rounding is modelled as part of the variance, so flat windows have ln 3 too.
    """
    area = np.reshape([side * side for side in SCALES], (-1, 1, 1))
    both = []
    for gradient in (across, down):
        m1, m2, m3, m4 = (window_sums(gradient**power, size) / area for power in (1, 2, 3, 4))
        second = m2 - m1**2
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        # Moments of the gradient plus an independent normal variable with the variance of its rounding.
        noise = 2 * ROUNDING
        fourth = np.maximum(fourth, 0) + 6 * noise * second + 3 * noise**2
        both.append(fourth / (second + noise) ** 2)
    return np.log(np.minimum(*both))


def magnitude_counts(across: np.ndarray, down: np.ndarray, size) -> np.ndarray:
    """Count the gradients of each window with each of `MAGNITUDES`: (3, h, w, BINS)."""
    bins = np.rint(4 * np.log2(1 + np.hypot(across, down)))
    counts = np.empty((len(SCALES), *size, BINS))
    for i in range(BINS):
        tick()
        counts[..., i] = window_sums(bins == i, size)
    return counts


def span(counts: np.ndarray) -> np.ndarray:
    """Fit two Gaussians of mean 0 to histograms (n, BINS); return ln of the larger standard deviation: (n,)."""
    spread = np.empty(len(counts))
    squares = MAGNITUDES**2 + 2 * ROUNDING
    moments = np.stack([np.ones(BINS), squares], 1)
    for start in range(0, len(counts), 2048):
        tick()
        part = counts[start : start + 2048]
        total = part @ moments
        variance = total[:, 1] / total[:, 0]
        wide, narrow, share = 2 * variance, variance / 4, np.full(len(part), 0.5)
        for _ in range(ROUNDS):
            # The probability that a magnitude belongs to the wider Gaussian.
            odds = np.log(share / (1 - share)) + 0.5 * np.log(narrow / wide)
            belongs = (0.5 / narrow - 0.5 / wide)[:, None] * squares
            belongs += odds[:, None]
            expit(belongs, out=belongs)
            belongs *= part
            mine = belongs @ moments
            other = np.maximum(total - mine, 1e-9 * total)
            mine = np.maximum(mine, 1e-9 * total)
            share = mine[:, 0] / (mine[:, 0] + other[:, 0])
            wide, narrow = mine[:, 1] / mine[:, 0], other[:, 1] / other[:, 0]
        spread[start : start + 2048] = 0.5 * np.log(np.maximum(wide, narrow))
    return spread


def rings(side: int) -> np.ndarray:
    """Return the weight of each frequency in each ring: ((side // 2 + 1)^2, rings), columns that sum to 1.

    Rings are 0.2 wide in the logarithm of frequency (cycles per window) and end at the highest frequency of the axes;
    the constant belongs to no ring.
    """
    steps = np.arange(side // 2 + 1)
    frequency = np.hypot(steps[:, None], steps).ravel()
    ring = np.where(frequency > side // 2, -1, np.rint(np.log(np.maximum(frequency, 1)) / 0.2)).astype(int)
    ring[0] = -1
    members = np.stack([ring == r for r in np.unique(ring[ring >= 0])], 1).astype(float)
    return members / members.sum(0)


def slope(grey: np.ndarray, side: int, size) -> np.ndarray:
    """Compute the averaged power-spectrum slope of each window minus its mean over the image: (h, w).

    It is the mean over rings of ln of the mean power, of windows scaled to a sum of 1. The powers at (u, v) and
    (u, -v) are added.
    """
    half = side // 2
    rows, columns = size
    angle = 2 * np.pi / side * np.outer(np.arange(side), np.arange(half + 1))
    waves = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    up, left = ((n - m * STEP) // 2 + STEP // 2 - half for n, m in zip(grey.shape, size, strict=True))
    strips = np.lib.stride_tricks.sliding_window_view(grey, side, axis=1)[:, left::STEP][:, :columns]
    lines = np.moveaxis(strips @ waves, 0, 2)  # (columns, 2 (half + 1), rows of the image)
    member = rings(side)
    result = np.empty(size)
    for row in range(rows):
        tick()
        start = up + row * STEP
        # Four real sums give the power: cos and sin along columns times cos and sin along rows.
        parts = waves.T @ np.moveaxis(lines[..., start : start + side], 2, 1)
        power = (parts**2).reshape(columns, 2, half + 1, 2, half + 1).sum((1, 3)).reshape(columns, -1)
        total = np.maximum(parts[:, 0, 0], side**2)
        floor = side**2 * ROUNDING
        result[row] = np.log((power @ member + floor) / total[:, None] ** 2).mean(1)
    return result - result.mean()


def filter_energies(grey: np.ndarray, filters: np.ndarray, size) -> np.ndarray:
    """Compute ln of the mean squared response of each filter in each window: (3, FILTERS, h, w)."""
    area = np.reshape([side * side for side in SCALES], (-1, 1, 1))
    side = filters.shape[-1]
    responses = np.zeros((len(filters), *(n - side + 1 for n in grey.shape)))
    height, width = responses.shape[1:]
    for y in range(side):
        tick()
        for x in range(side):
            responses += filters[:, y, x, None, None] * grey[y : y + height, x : x + width]
    energies = [window_sums(response**2, size) / area for response in responses]
    noise = ROUNDING * (filters**2).sum((1, 2))
    return np.stack([np.log(np.maximum(e, 0) + n) for e, n in zip(energies, noise, strict=True)], 1)


def learn(photos: PhotoSet, seed: int = 0, progress: bool = True) -> dict[str, np.ndarray]:
    """Learn filters, discriminant directions and likelihoods from the last `TRAINING_PHOTOS` photos.

    The first photos remain unused, for comparisons with published maps. Returns `filters` (FILTERS, SIDE, SIDE);
    `direction` (3, FILTERS), the weights of their responses; for each scale and feature `centres` and `evidence`
    (3, 4, LEVELS), ln of the ratio of the likelihoods of blur and of sharpness; and `photographs`, the names. The same
    number of windows of each class is drawn with `seed` from a photo that has both.
    """
    photos = photos[-TRAINING_PHOTOS:]
    rng = np.random.default_rng(seed)
    # Sums over patches of patch patch^T, for sharp and for blurred ones, and the numbers of patches.
    scatter, count = np.zeros((2, SIDE**2, SIDE**2)), np.zeros(2)
    for photo in tqdm(photos, desc="dbdf: filters", disable=not progress, leave=False):
        grey, mask = grey_levels(photo.image), photo.mask > 0.5
        patches = np.lib.stride_tricks.sliding_window_view(grey, (SIDE, SIDE))
        inside = mask[SIDE // 2 : -(SIDE // 2), SIDE // 2 : -(SIDE // 2)]
        for label in (0, 1):
            rows, columns = np.nonzero(inside == label)
            chosen = rng.integers(len(rows), size=SAMPLES) if len(rows) else []
            some = patches[rows[chosen], columns[chosen]].reshape(-1, SIDE**2)
            some = some - some.mean(1, keepdims=True)
            scatter[label] += some.T @ some
            count[label] += len(some)
    # Without the mean, one direction has no scatter; the variance of rounding is added to both classes.
    sharp, blurred = scatter / count[:, None, None] + ROUNDING * np.eye(SIDE**2)
    vectors = eigh(sharp, blurred)[1][:, ::-1][:, :FILTERS]
    filters = vectors.T.reshape(-1, SIDE, SIDE)
    filters -= filters.mean((1, 2), keepdims=True)

    samples = [[], []]
    for photo in tqdm(photos, desc="dbdf: features", disable=not progress, leave=False):
        found = features(grey_levels(photo.image), filters)
        mask = photo.mask[STEP // 2 :: STEP, STEP // 2 :: STEP] > 0.5
        found = found[:, :, : mask.shape[0], : mask.shape[1]]
        for label in (0, 1):
            rows, columns = np.nonzero(mask == label)
            if len(rows):
                chosen = rng.integers(len(rows), size=SAMPLES)
                samples[label].append(found[:, :, rows[chosen], columns[chosen]])
    sharp, blurred = (np.concatenate(of_class, 2) for of_class in samples)

    direction = np.empty((len(SCALES), FILTERS))
    centres = np.empty((len(SCALES), FEATURES, LEVELS))
    evidence = np.empty_like(centres)
    for s in range(len(SCALES)):
        within = np.cov(sharp[s, 3:]) + np.cov(blurred[s, 3:])
        direction[s] = np.linalg.solve(within, blurred[s, 3:].mean(1) - sharp[s, 3:].mean(1))
        for i in range(FEATURES):
            values = [one[s, i] if i < 3 else direction[s] @ one[s, 3:] for one in (sharp, blurred)]
            low, high = np.quantile(np.concatenate(values), [0.001, 0.999])
            edges = np.linspace(low, high, LEVELS + 1)
            likelihood = [np.histogram(v.clip(low, high), edges)[0] + len(v) / 1000 for v in values]
            centres[s, i] = (edges[1:] + edges[:-1]) / 2
            evidence[s, i] = np.log(likelihood[1] / likelihood[1].sum()) - np.log(likelihood[0] / likelihood[0].sum())
    return {
        "filters": filters,
        "direction": direction,
        "centres": centres,
        "evidence": evidence,
        "photographs": np.array(photos.stems),
    }
