"""DHDE's features patch by patch and its joint filter pixel by pixel, as one would first write them."""

import numpy as np


def features(patch):
    """Stands for `defusion_lib.baselines.deep.dhde.features`, of one patch in [0, 1]: (120,)."""
    large = len(patch) == 27
    bins = 25 if large else 13
    result = []
    rings = spectrum(patch, 32 if large else 16, bins)
    for numbers in (rings, gradients(patch, bins), singular(patch, bins)):
        numbers = [np.log(1 + number) for number in numbers]
        total = sum(numbers)
        mine = [number / total if total > 0 else 0 for number in numbers] + [1]
        result += mine + [0] * 14 if large else [0] * 26 + mine
    return np.array(result)


def spectrum(patch, side, bins):
    """Mean magnitude of the cosine transform in rings that overlap by a tenth of their width."""
    padded = np.zeros((side, side))
    padded[: len(patch), : len(patch)] = patch
    y = np.arange(side)
    magnitude = np.zeros((side, side))
    for u in range(side):
        for v in range(side):
            down, across = np.cos(np.pi * (y + 0.5) * u / side), np.cos(np.pi * (y + 0.5) * v / side)
            scale = 2 / side * (0.5**0.5 if u == 0 else 1) * (0.5**0.5 if v == 0 else 1)
            magnitude[u, v] = abs(scale * np.sum(padded * down[:, None] * across))
    width = (side - 1) / bins
    found = []
    for ring in range(bins):
        values = [
            magnitude[u, v]
            for u in range(side)
            for v in range(side)
            if (ring - 0.1) * width <= np.hypot(u, v) <= (ring + 1.1) * width
        ]
        found.append(np.mean(values))
    return found


def gradients(patch, bins):
    """Counts of gradients in equal parts of [0, 1]; 1 is that of the largest steps along both axes."""
    counts = [0] * bins
    for y in range(len(patch) - 1):
        for x in range(len(patch) - 1):
            steps = patch[y, x + 1] - patch[y, x], patch[y + 1, x] - patch[y, x]
            counts[min(int(np.hypot(*steps) / 2**0.5 * bins), bins - 1)] += 1
    return counts


def singular(patch, bins):
    """The first singular values, by the eigenvalues of patch' patch."""
    squares = np.sort(np.linalg.eigvalsh(patch.T @ patch))[::-1]
    return np.sqrt(np.maximum(squares[:bins], 0))


def joint_filter(sigma, probability, guide):
    """Stands for `defusion_lib.baselines.deep.dhde.joint_filter`, with a range weight: guide (H, W, 3) in [0, 1]."""
    result = np.zeros(sigma.shape)
    for y, x in np.argwhere(sigma > 0):
        above = below = 0
        for v, u in np.argwhere(sigma > 0):
            if max(abs(v - y), abs(u - x)) <= 13:
                weight = np.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * 100**2))
                weight *= np.exp(-np.sum((guide[v, u] - guide[y, x]) ** 2) / (2 * 100**2))
                weight *= np.exp(-((1 - probability[v, u]) ** 2) / 2)
                above, below = above + weight * sigma[v, u], below + weight
        result[y, x] = above / below
    return result
