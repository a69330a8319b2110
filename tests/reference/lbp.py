"""Plain loops of the LBP detector's parts, as somebody would first write them from the papers."""

from itertools import product
from math import exp, floor, sqrt

import numpy as np


def codes(levels):
    """Stands for `defusion_lib.baselines.classical.lbp.codes`: one pixel, one neighbour at a time."""
    height, width = levels.shape

    def at(row, column):
        return float(levels[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])

    found = np.zeros((height, width), int)
    for row, column in np.ndindex(height, width):
        centre, ring = at(row, column), []
        for down, right in ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)):
            neighbour = at(row + down, column + right)
            if down != 0 and right != 0:
                far = sqrt(0.5)
                across = (1 - far) * centre + far * at(row, column + right)
                along = (1 - far) * at(row + down, column) + far * neighbour
                neighbour = floor((1 - far) * across + far * along)
            ring.append(neighbour - centre > 0.016 * 255)
        changes = sum(ring[k] != ring[k - 1] for k in range(8))
        found[row, column] = sum(ring) if changes <= 2 else 9
    return found


def sharpness(image):
    """Stands for `defusion_lib.baselines.classical.lbp.sharpness`: counts every window anew."""
    height, width = image.shape[:2]
    levels = np.zeros((height, width), int)
    for row, column in np.ndindex(height, width):
        red, green, blue = (int(value) for value in image[row, column])
        levels[row, column] = (299 * red + 587 * green + 114 * blue + 500) // 1000
    found = codes(levels)
    maps = []
    for window in (11, 15, 21):
        padded = np.pad(found, window // 2, mode="edge")
        scores = np.zeros((height, width))
        for row, column in np.ndindex(height, width):
            patch = padded[row : row + window, column : column + window]
            scores[row, column] = (patch >= 6).sum() / window**2
        scores -= scores.min()
        maps.append(scores / scores.max() if scores.max() > 0 else scores)
    return np.stack(maps)


core = sharpness


def laplacian(image, epsilon=1e-7, windows=None):
    """Stands for `defusion_lib.baselines.matting.laplacian`: Levin's Eq. 12 into a dense matrix."""
    height, width, channels = image.shape
    matrix = np.zeros((height * width, height * width))
    for row, column in product(range(1, height - 1), range(1, width - 1)):
        if windows is not None and not windows[row - 1, column - 1]:
            continue
        members = [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        colours = np.array([image[member] for member in members])
        mean = colours.mean(0)
        covariance = np.cov(colours.T, bias=True).reshape(channels, channels)
        inverse = np.linalg.inv(covariance + epsilon / 9 * np.eye(channels))
        for i, j in np.ndindex(9, 9):
            affinity = (1 + (colours[i] - mean) @ inverse @ (colours[j] - mean)) / 9
            first, second = (y * width + x for y, x in (members[i], members[j]))
            matrix[first, second] += (i == j) - affinity
    return matrix


def solve(image, known, values, epsilon=1e-7):
    """Stands for `defusion_lib.baselines.matting.solve`: the whole system, dense."""
    height, width = known.shape
    windows = np.zeros((max(0, height - 2), max(0, width - 2)), bool)
    for row, column in np.ndindex(windows.shape):
        windows[row, column] = not known[row : row + 3, column : column + 3].all()
    held = 100.0 * known.ravel()
    matrix = laplacian(image, epsilon, windows) + np.diag(held + 1e-7)
    alpha = np.linalg.solve(matrix, held * values.ravel() + 0.5e-7)
    return np.clip(alpha.reshape(known.shape), 0, 1)


def halve(image):
    """Stands for `defusion_lib.baselines.matting.halve`: 5x5 binomial weights around every second pixel."""
    height, width = image.shape[:2]
    weights = [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]
    small = np.zeros(((height + 1) // 2, (width + 1) // 2, *image.shape[2:]))
    for row, column in np.ndindex(small.shape[:2]):
        for down, right in np.ndindex(5, 5):
            y = min(max(2 * row + down - 2, 0), height - 1)
            x = min(max(2 * column + right - 2, 0), width - 1)
            small[row, column] += weights[down] * weights[right] * image[y, x]
    return small


def enlarge(alpha, small, image, epsilon=1e-7):
    """Stands for `defusion_lib.baselines.matting.enlarge`: a ridge regression in every window."""
    height, width, channels = small.shape
    padded, padded_alpha = np.pad(small, ((1, 1), (1, 1), (0, 0)), mode="edge"), np.pad(alpha, 1, mode="edge")
    fits = np.zeros((height, width, channels + 1))
    for row, column in np.ndindex(height, width):
        colours = padded[row : row + 3, column : column + 3].reshape(9, channels)
        wanted = padded_alpha[row : row + 3, column : column + 3].ravel()
        design = np.zeros((9 + channels, channels + 1))
        design[:9, :channels], design[:9, channels] = colours, 1
        design[9:, :channels] = sqrt(epsilon) * np.eye(channels)
        fits[row, column] = np.linalg.lstsq(design, np.append(wanted, np.zeros(channels)), rcond=None)[0]
    large = np.zeros(image.shape[:2])
    for row, column in np.ndindex(large.shape):
        corners = [
            fits[min((row + down) // 2, height - 1), min((column + right) // 2, width - 1)]
            for down in (0, 1)
            for right in (0, 1)
        ]
        fit = sum(corners) / 4
        large[row, column] = fit[:channels] @ image[row, column] + fit[channels]
    return large


def propagate(evidence, alpha=0.5, iterations=100):
    """Stands for `defusion_lib.baselines.belief_propagation.propagate`: messages as pairs, one at a time."""
    nodes = list(np.ndindex(evidence.shape))
    own = {p: (exp(-abs(evidence[p])), exp(-abs(1 - evidence[p]))) for p in nodes}
    beside = {}
    for layer, row, column in nodes:
        around = [(layer - 1, row, column), (layer, row - 1, column), (layer, row, column - 1)]
        around += [(layer + 1, row, column), (layer, row + 1, column), (layer, row, column + 1)]
        beside[layer, row, column] = [q for q in around if q in own]
    messages = {(p, q): (0.5, 0.5) for p in nodes for q in beside[p]}
    for _ in range(iterations):
        new = {}
        for p, q in messages:
            zero, one = own[p]
            for other in beside[p]:
                if other != q:
                    zero, one = zero * messages[other, p][0], one * messages[other, p][1]
            to_zero, to_one = zero + exp(-alpha) * one, exp(-alpha) * zero + one
            new[p, q] = to_zero / (to_zero + to_one), to_one / (to_zero + to_one)
        messages = new
    belief = np.zeros(evidence.shape)
    for p in nodes:
        zero, one = own[p]
        for other in beside[p]:
            zero, one = zero * messages[other, p][0], one * messages[other, p][1]
        belief[p] = one / (zero + one)
    return belief


def detect(image):
    """Stands for `defusion_lib.baselines.classical.lbp.detect` on images of at least 12 pixels a side."""
    layers = []
    for score in sharpness(image):
        known, values = ((score > 0.3) | (score < 0.01)).astype(float), (score > 0.3).astype(float)
        pyramid = [image / 255]
        for _ in range(2):
            pyramid.append(halve(pyramid[-1]))
            known, values = np.round(halve(known) + 1e-9), np.round(halve(known * values) + 1e-9)
        alpha = solve(pyramid[2], known > 0, values)
        for small, large in ((pyramid[2], pyramid[1]), (pyramid[1], pyramid[0])):
            alpha = np.clip(enlarge(alpha, small, large), 0, 1)
        layers.append(alpha)
    evidence = np.stack(layers)
    if evidence.std() > 1e-4:
        evidence = (evidence - evidence.mean()) / evidence.std()
    return 1 - propagate(evidence)[2]
