"""Wrong answers to the exercises of notebook 00, and words that the message on each must contain."""

import numpy as np

WRONG = [
    (1, 0.9, "with the photo's width"),
    (1, 1.5, "at size = 320"),
    (1, 15, "gets thinner"),
    (1, 3, "and the twig with it"),
    (1, 0.4, "0.4 pixels is too small"),
    (2, lambda defocus, mask: None, "write its body"),
    (2, lambda defocus, mask: (defocus - mask).mean(), "cancel out"),
    (2, lambda defocus, mask: (mask - defocus).mean(), "cancel out"),
    (2, lambda defocus, mask: abs((defocus - mask).mean()), "cancel out"),
    (2, lambda defocus, mask: ((defocus - mask) ** 2).mean(), "squares"),
    (2, lambda defocus, mask: ((defocus - mask) ** 2).mean() ** 0.5, "root"),
    (2, lambda defocus, mask: np.abs(defocus - mask).sum(), "divide by the number of pixels"),
    (2, lambda defocus, mask: ((defocus > 0.5) != mask).mean(), "thresholded the map"),
    (2, lambda defocus, mask: 1 - np.abs(defocus - mask).mean(), "1 minus the error"),
    (2, lambda defocus, mask: np.abs(defocus - mask), "shape (12, 20)"),
    (2, lambda defocus, mask: 0.3 if mask.mean() < 0.5 else 2.0, "0.3 is too small"),
    (3, lambda picture: None, "write its body"),
    (3, lambda picture: np.float32(picture) / 255, "still white where in focus"),
    (3, lambda picture: 255 - picture, "largest value is 255"),
    (3, lambda picture: np.float32(picture < 128), "grey values are lost"),
    (3, lambda picture: (255 - np.float32(picture)) / 256, "Divide by 255"),
    (3, lambda picture: 1 - picture / 255, "of type float64: maps are float32"),
    (3, lambda picture: np.float32(1 - picture), "expected 1, 0 and"),
    (3, lambda picture: 1 - picture[:1] / 255, "one number per pixel"),
]
