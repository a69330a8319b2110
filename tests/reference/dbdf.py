"""DBDF's features window by window, as one would first write them from the paper."""

import numpy as np

from defusion_lib.baselines.classical.dbdf import BINS, ROUNDING, ROUNDS, SCALES, SIDE, STEP


def features(grey, filters):
    """Stands for defusion_lib.baselines.classical.dbdf.features: (H, W) -> (3, 3 + filters, h, w)."""
    height, width = grey.shape
    rows, columns = -(-height // STEP), -(-width // STEP)
    reach = max(SCALES) // 2 + SIDE // 2
    padded = np.pad(grey, [(reach, reach + rows * STEP - height), (reach, reach + columns * STEP - width)], "symmetric")
    across, down = np.zeros_like(padded), np.zeros_like(padded)
    across[:, :-1] = padded[:, 1:] - padded[:, :-1]
    down[:-1] = padded[1:] - padded[:-1]
    answers = [answer(padded, one) for one in filters]
    noise = [ROUNDING * np.sum(one**2) for one in filters]

    found = np.zeros((len(SCALES), 3 + len(filters), rows, columns))
    for s, side in enumerate(SCALES):
        for row in range(rows):
            for column in range(columns):
                top = reach + row * STEP + STEP // 2 - side // 2
                left = reach + column * STEP + STEP // 2 - side // 2
                window = slice(top, top + side), slice(left, left + side)
                found[s, 0, row, column] = kurtosis(across[window], down[window])
                found[s, 1, row, column] = span(across[window], down[window])
                found[s, 2, row, column] = slope(padded[window])
                for i in range(len(filters)):
                    energy = np.mean(answers[i][window] ** 2) + noise[i]
                    found[s, 3 + i, row, column] = np.log(energy / np.exp(found[s, 1, row, column]) ** 2)
        found[s, 2] -= found[s, 2].mean()
    return found


def kurtosis(across, down):
    both = []
    for gradient in (across, down):
        deviation = gradient - gradient.mean()
        second, fourth = np.mean(deviation**2), np.mean(deviation**4)
        noise = 2 * ROUNDING
        both.append((fourth + 6 * noise * second + 3 * noise**2) / (second + noise) ** 2)
    return np.log(min(both))


def span(across, down):
    counts = np.zeros(BINS)
    for x, y in zip(across.ravel(), down.ravel(), strict=True):
        counts[round(4 * np.log2(1 + np.hypot(x, y)))] += 1
    squares = np.array([(2 ** (i / 4) - 1) ** 2 + 2 * ROUNDING for i in range(BINS)])
    variance = np.sum(counts * squares) / np.sum(counts)
    wide, narrow, share = 2 * variance, variance / 4, 0.5
    for _ in range(ROUNDS):
        # Densities up to a factor that both have; logarithms, for the far tails of the narrower one.
        first = np.log(share) - 0.5 * np.log(wide) - squares / (2 * wide)
        second = np.log(1 - share) - 0.5 * np.log(narrow) - squares / (2 * narrow)
        belongs = np.exp(first - np.logaddexp(first, second))
        of_wide, of_narrow = counts * belongs, counts * (1 - belongs)
        least = 1e-9 * np.sum(counts)
        least_square = 1e-9 * np.sum(counts * squares)
        wide_count, narrow_count = max(of_wide.sum(), least), max(of_narrow.sum(), least)
        wide = max(np.sum(of_wide * squares), least_square) / wide_count
        narrow = max(np.sum(of_narrow * squares), least_square) / narrow_count
        share = wide_count / (wide_count + narrow_count)
    return np.log(np.sqrt(max(wide, narrow)))


def slope(window):
    side = len(window)
    half = side // 2
    power = np.abs(np.fft.fft2(window)) ** 2
    rings = {}
    for u in range(half + 1):
        for v in range(half + 1):
            frequency = np.hypot(u, v)
            if 0 < frequency <= half:
                ring = round(np.log(frequency) / 0.2)
                rings.setdefault(ring, []).append((power[u, v] + power[u, -v]) / 2)
    floor = side**2 * ROUNDING
    total = max(window.sum(), side**2)
    return np.mean([np.log((np.mean(values) + floor) / total**2) for values in rings.values()])


def answer(image, one):
    """What one filter answers at every pixel; 0 where it reaches over the border."""
    half = len(one) // 2
    result = np.zeros_like(image)
    for y in range(half, image.shape[0] - half):
        for x in range(half, image.shape[1] - half):
            result[y, x] = np.sum(image[y - half : y + half + 1, x - half : x + half + 1] * one)
    return result


def posterior(values, centres, evidence):
    """What `defusion_lib.baselines.classical.dbdf.posterior` says, of the four features of one window."""
    ratios = 1
    for value, where, logarithm in zip(values, centres, evidence, strict=True):
        if value <= where[0]:
            ratios *= np.exp(logarithm[0])
        elif value >= where[-1]:
            ratios *= np.exp(logarithm[-1])
        else:
            i = max(k for k in range(len(where)) if where[k] <= value)
            part = (value - where[i]) / (where[i + 1] - where[i])
            ratios *= np.exp((1 - part) * logarithm[i] + part * logarithm[i + 1])
    return ratios / (ratios + 1)
