"""The plain version of SS's core: one window, one ring and one pair of regions at a time."""

import numpy as np
from scipy.ndimage import gaussian_filter


def spectrum_residuals(grey, size=64, stride=8, again=1.0, faint=1e-3):
    """Stands for `defusion_lib.baselines.classical.ss.spectrum_residuals`: two spectra for every window."""
    weight = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1])
    height, width = grey.shape
    blurred = gaussian_filter(grey, again)
    residuals = []
    for row in range(0, height, stride):
        residuals.append([])
        for column in range(0, width, stride):
            spectra = []
            for photograph in (grey, blurred):
                rows = [mirrored(row + i - size // 2, height) for i in range(size)]
                columns = [mirrored(column + j - size // 2, width) for j in range(size)]
                window = photograph[rows][:, columns]
                amplitude = np.abs(np.fft.fft2((window - window.mean()) * weight)) / weight.sum()
                spectra.append(log_averaged(amplitude, faint))
            residuals[-1].append(np.mean(spectra[0] - spectra[1]))
    return np.array(residuals)


def log_averaged(amplitude, faint):
    """One side of the spectrum: the other mirrors it, but for its own axes, which count on both."""
    size = len(amplitude)
    rings = [[] for _ in range(size)]
    for i in range(size):
        for j in range(size // 2 + 1):
            radius = np.hypot(min(i, size - i), j)
            rings[int(np.rint(radius))].append(amplitude[i, j])
    return np.array([np.log(np.mean(ring) + faint) for ring in rings[1 : size // 2 + 1]])


def mirrored(position, size):
    while not 0 <= position < size:
        position = -1 - position if position < 0 else 2 * size - 1 - position
    return position


def smooth_regions(blur, labels, features, rounds=3, kept=0.5):
    """Stands for `defusion_lib.baselines.classical.ss.smooth_regions`: every region asks every other."""
    count = labels.max() + 1
    regions = [[mark[labels == label].mean() for mark in features] for label in range(count)]
    score = [blur[labels == label].mean() for label in range(count)]
    for _ in range(rounds):
        moved = []
        for label in range(count):
            total = weighted = 0
            for other in range(count):
                if other != label:
                    apart = sum((a - b) ** 2 for a, b in zip(regions[label], regions[other]))
                    total += np.exp(-apart / 2)
                    weighted += np.exp(-apart / 2) * score[other]
            moved.append(kept * score[label] + (1 - kept) * weighted / total if total else score[label])
        score = moved
    lowest, highest = min(score), max(score)
    found = np.zeros(labels.shape)
    for label in range(count):
        share = (score[label] - lowest) / (highest - lowest) if highest > lowest else 0
        found[labels == label] = blur.min() + share * (blur.max() - blur.min())
    return found
