"""Check the exercises of notebook 00: the network's input, the error of a map, and its polarity."""

import numpy as np

from defusion_lib.exercises import diagnose, near

WIDTH, HEIGHT, TWIG, SEEN = 640, 427, 3, 128  # pixels: of the photo, the width of a vertical twig, `size`


def twig(answer) -> str:
    """Check the width of a vertical twig in the network's square input."""
    likely = {
        "A vertical twig shrinks with the photo's width, not with its height.": TWIG * SEEN / HEIGHT,
        "That is the width at size = 320: here size is 128.": TWIG * 320 / WIDTH,
        "The network's input has fewer pixels than the photo, so the twig gets thinner.": TWIG * WIDTH / SEEN,
        "The photo is resized to 128 x 128 pixels, and the twig with it.": TWIG,
    }
    return diagnose(answer, TWIG * SEEN / WIDTH, 0.005, likely, " pixels")


def error(answer) -> str:
    """Check a function that computes the mean absolute error of a map."""
    rng = np.random.default_rng(0)
    for share in (0.3, 0.8):
        mask = (rng.random((12, 20)) < share).astype(np.float32)
        defocus = rng.random((12, 20)).astype(np.float32)
        found = answer(defocus.copy(), mask.copy())
        if np.ndim(found):
            return f"Return one number, the mean over all pixels: yours has the shape {np.shape(found)}."
        difference = defocus.astype(float) - mask
        right = np.abs(difference).mean()
        cancelled = np.copysign(difference.mean(), found)  # with or without an absolute value at the end
        likely = {
            "": right,
            "Positive and negative errors cancel out: take each pixel's absolute error, then the mean.": cancelled,
            "Those are the squares of the errors: MAE takes their absolute values.": (difference**2).mean(),
            "That is the root of the mean square: MAE takes absolute values.": (difference**2).mean() ** 0.5,
            "That is the sum: divide by the number of pixels.": np.abs(difference).sum(),
            "You thresholded the map at 0.5 first: MAE uses its grey values unchanged.": (
                np.abs((defocus > 0.5) - mask).mean()
            ),
            "That is 1 minus the error: a perfect map has the error 0.": 1 - right,
        }
        named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-5 * max(1, wrong)]
        if sentence := [*named, near(found, right, 1e-5)][0]:
            return sentence
    return ""


def polarity(answer) -> str:
    """Check a function that converts a picture, white where in focus, to a map of this collection."""
    picture = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    picture[0, :2] = 0, 255
    found = answer(picture.copy())
    found = np.asarray(found)
    if found.shape != picture.shape:
        return f"A picture of {picture.shape} became a map of {found.shape}: return one number per pixel."
    shown = picture.astype(float) / 255
    likely = {
        "Your map is still white where in focus: 1 must mean blurred.": shown,
        "The polarity is right, but the largest value is 255: a map lies in [0, 1].": 255 - 255 * shown,
        "The grey values are lost: they show how certain the program was.": np.round(1 - shown),
        "Divide by 255: white is 255, not 256.": (255 - 255 * shown) / 256,
    }
    if not np.allclose(found, 1 - shown, rtol=0, atol=1e-6):
        named = [s for s, wrong in likely.items() if np.allclose(found, wrong, rtol=0, atol=1e-6)]
        at = f"Levels 0, 255 and {picture[1, 1]} became {found[0, 0]:g}, {found[0, 1]:g} and {found[1, 1]:g}"
        return [*named, f"{at}, expected 1, 0 and {1 - shown[1, 1]:.3g}."][0]
    return "" if found.dtype == np.float32 else f"The numbers are right, but of type {found.dtype}: maps are float32."


CHECKS = [twig, error, polarity]
