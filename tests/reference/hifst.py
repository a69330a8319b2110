"""HiFST's core as it is written first: every block's whole DCT, every coefficient sorted."""

import numpy as np
import scipy.fft

BLOCKS = (7, 15, 31, 63)
LAYERS = 117


def sharpness(magnitude):
    """Stands for `defusion_lib.baselines.classical.hifst.sharpness`: magnitudes (H, W) in, (H, W) in [0, 1] out."""
    height, width = magnitude.shape
    padded = np.pad(magnitude, 31)
    layers = np.empty((height, width, LAYERS))
    for y in range(height):
        found = []
        for size in BLOCKS:
            margin = 31 - size // 2
            rows = padded[y + margin : y + margin + size, margin : margin + width + size - 1]
            blocks = np.lib.stride_tricks.sliding_window_view(rows, (size, size))[0]
            spectra = scipy.fft.dctn(blocks, axes=(1, 2), norm="ortho")
            i, j = np.indices((size, size))
            found.append(np.abs(spectra[:, i + j >= size]))
        layers[y] = np.sort(np.concatenate(found, axis=1), axis=1)[:, :LAYERS]
    result = np.zeros((height, width))
    for layer in range(LAYERS):
        low, high = layers[..., layer].min(), layers[..., layer].max()
        if high > low:
            result = np.maximum(result, (layers[..., layer] - low) / (high - low))
    return result
