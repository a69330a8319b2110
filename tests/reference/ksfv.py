"""KSFV's features window by window, as one would first write them from the paper's idea."""

import functools

import numpy as np

from defusion_lib.baselines.classical.ksfv import ROUNDING, STEP, WINDOW, kernels

SIDE = 5


def features(grey):
    """Stands for defusion_lib.baselines.classical.ksfv.features: (H, W) -> (kernels, ceil(H / STEP), ceil(W / STEP))."""
    height, width = grey.shape
    rows, columns = -(-height // STEP), -(-width // STEP)
    reach = WINDOW // 2 + SIDE // 2
    padded = np.pad(grey, [(reach, reach + rows * STEP - height), (reach, reach + columns * STEP - width)], "symmetric")
    across, down = np.zeros_like(padded), np.zeros_like(padded)
    across[:, :-1] = padded[:, 1:] - padded[:, :-1]
    down[:-1] = padded[1:] - padded[:-1]
    bank = filters()
    answers = [(filtered(across, one), filtered(down, one)) for one in bank]
    of_kernel = kernel_variances()

    found = np.zeros((len(of_kernel), rows, columns))
    for row in range(rows):
        for column in range(columns):
            top = reach + row * STEP + STEP // 2 - WINDOW // 2
            left = reach + column * STEP + STEP // 2 - WINDOW // 2
            window = slice(top, top + WINDOW), slice(left, left + WINDOW)
            of_window = [np.var(x[window]) + np.var(y[window]) + 4 * ROUNDING for x, y in answers]
            for k in range(len(of_kernel)):
                products = [a * b for a, b in zip(of_kernel[k], of_window, strict=True)]
                found[k, row, column] = np.log(sum(products))
    return found


@functools.cache
def kernel_variances():
    return [[np.var(filtered(kernel, one)) for one in filters()] for kernel in kernels()]


def filters():
    """The cosine transform's two-dimensional waves of SIDE x SIDE pixels, but the constant."""
    waves = []
    for u in range(SIDE):
        scale = np.sqrt((1 if u == 0 else 2) / SIDE)
        waves.append([scale * np.cos(np.pi * (2 * i + 1) * u / (2 * SIDE)) for i in range(SIDE)])
    return [np.outer(waves[u], waves[v]) for u in range(SIDE) for v in range(SIDE) if u + v > 0]


def filtered(values, one):
    half = SIDE // 2
    around = np.pad(values, half)
    result = np.zeros_like(values)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            result[y, x] = np.sum(around[y : y + SIDE, x : x + SIDE] * one)
    return result
