"""The paper's equations written out slowly, in float64 NumPy with loops: what the network is held against."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, weight, bias):
    """Zero-padded convolution of (C, H, W) with (O, C, k, k), a pixel at a time."""
    out, _, k, _ = weight.shape
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    result = np.empty((out, height, width))
    for i in range(height):
        for j in range(width):
            for o in range(out):
                result[o, i, j] = (weight[o] * padded[:, i : i + k, j : j + k]).sum() + bias[o]
    return result


def max_pool(x):
    """2x2 maximum of (C, H, W)."""
    channels, height, width = x.shape
    result = np.empty((channels, height // 2, width // 2))
    for i in range(height // 2):
        for j in range(width // 2):
            result[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return result


def average3(x):
    """3x3 average of (C, H, W) over the pixels that exist."""
    _, height, width = x.shape
    result = np.empty_like(x)
    for i in range(height):
        for j in range(width):
            result[:, i, j] = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean(axis=(1, 2))
    return result


def upsample(x, scale):
    """Bilinear up-sampling of (C, H, W) with pixel centres aligned: pixel i sits at (i + 1/2) / scale - 1/2."""
    channels, height, width = x.shape
    result = np.zeros((channels, height * scale, width * scale))
    for i in range(height * scale):
        for j in range(width * scale):
            y = min(max((i + 0.5) / scale - 0.5, 0), height - 1)
            z = min(max((j + 0.5) / scale - 0.5, 0), width - 1)
            top, left = int(y), int(z)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = y - top, z - left
            result[:, i, j] = (1 - a) * ((1 - b) * x[:, top, left] + b * x[:, top, right]) + a * (
                (1 - b) * x[:, bottom, left] + b * x[:, bottom, right]
            )
    return result


def gap(x):
    """Eq. 4."""
    channels, height, width = x.shape
    return np.array([sum(x[c, i, j] for i in range(height) for j in range(width)) / (height * width)
                     for c in range(channels)])  # fmt: skip


def gmp(x):
    """Eq. 5."""
    return np.array([max(x[c].ravel()) for c in range(len(x))])


def cam_weights(x, down, up, average=True, maximum=True):
    """Eq. 6."""
    squeezed = np.zeros(len(down))
    if average:
        squeezed += relu(down @ gap(x))
    if maximum:
        squeezed += relu(down @ gmp(x))
    return sigmoid(up @ squeezed)


def cam(x, down, up, **switches):
    """Eq. 7."""
    w = cam_weights(x, down, up, **switches)
    return np.stack([w[c] * x[c] for c in range(len(x))])


def fam(x, extract, weigh):
    """Fig. 6; `extract` and `weigh` are (weight, bias)."""
    m = sigmoid(convolve(relu(convolve(x, *extract)), *weigh))
    return x + x * m


def cross_entropy(logits, mask):
    """Eq. 9 divided by the number of pixels."""
    total = 0.0
    for logit, blurred in zip(logits.ravel(), mask.ravel()):
        probability = sigmoid(logit)
        total -= blurred * np.log(probability) + (1 - blurred) * np.log(1 - probability)
    return total / logits.size
