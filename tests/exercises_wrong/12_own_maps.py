"""Wrong answers to the exercises of notebook 12, and what they must be told."""

import numpy as np
from PIL import Image
from scipy import ndimage


def resized(values, height, width):
    image = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def with_corners_aligned(values, height, width):
    return ndimage.zoom(values, (height / values.shape[0], width / values.shape[1]), order=1)


def bicubic(values, height, width):
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))


def levels(values):
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


WRONG = [
    (1, lambda x, h, w: levels(resized(sigmoid(x), w, h)), "arrays are (height, width)"),
    (1, lambda x, h, w: levels(sigmoid(x)), "the shape (24, 24)"),
    (1, lambda x, h, w: resized(sigmoid(x), h, w), "an array of float32"),
    (1, lambda x, h, w: resized(sigmoid(x), h, w).astype(np.uint8), "0 and 1"),
    (1, lambda x, h, w: levels(resized(np.clip(x, 0, 1), h, w)), "apply the sigmoid"),
    (1, lambda x, h, w: levels(1 - resized(sigmoid(x), h, w)), "inverted"),
    (1, lambda x, h, w: levels(resized(sigmoid(x), h, w) > 0.5), "cut at one half"),
    (1, lambda x, h, w: levels(resized((sigmoid(x) - sigmoid(x).min()) / np.ptp(sigmoid(x)), h, w)), "stretched"),
    (1, lambda x, h, w: levels(resized(sigmoid(-0.2 * x), h, w)), "of 255 away"),
    (1, lambda x, h, w: levels(sigmoid(resized(x, h, w))), "The logits were resized"),
    (1, lambda x, h, w: levels(with_corners_aligned(sigmoid(x), h, w)), "corners' centres were aligned"),
    (1, lambda x, h, w: levels(bicubic(sigmoid(x), h, w)), "4 of 255 away from sigmoid and bilinear"),
    (2, 4, "without a correction"),
    (2, 1, "Bonferroni"),
    (2, 3, "0.06"),
    (2, 5, "0.3 is above"),
    (2, 0, "0 is not the number"),
]
