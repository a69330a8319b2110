"""Exercises of notebook 00: what the network sees, how wrong a map is, and which way round it is."""

import numpy as np

from defusion_lib.exercises import near

WIDTH, HEIGHT, TWIG, SEEN = 640, 427, 3, 128  # pixels: the photograph, an upright twig's width, `size`


def twig(answer) -> str:
    """How wide an upright twig is in the square that the network sees."""
    likely = {
        "An upright twig is shrunk with the photograph's width, not with its height.": SEEN / HEIGHT,
        "So it would be at size = 320: here size is 128.": 320 / WIDTH,
        "The network sees fewer pixels than the photograph has, so the twig gets thinner.": WIDTH / SEEN,
        "The whole photograph is squashed to 128 pixels a side, and the twig with it.": 1,
    }
    for sentence, factor in likely.items():
        if not near(answer, TWIG * factor, 0.005):
            return sentence
    return near(answer, TWIG * SEEN / WIDTH, 0.005, " pixels")


def error(answer) -> str:
    """The mean absolute error of a map."""
    rng = np.random.default_rng(0)
    for share in (0.3, 0.8):
        mask = (rng.random((12, 20)) < share).astype(np.float32)
        defocus = rng.random((12, 20)).astype(np.float32)
        found = answer(defocus.copy(), mask.copy())
        if np.ndim(found):
            return f"One number is wanted, the mean over all pixels: yours has the shape {np.shape(found)}."
        difference = defocus.astype(float) - mask
        right = np.abs(difference).mean()
        cancelled = np.copysign(difference.mean(), found)  # with or without an absolute value at the end
        likely = {
            "": right,
            "Too much and too little cancel out: take each pixel's absolute error, then the mean.": cancelled,
            "Those are the squares of the errors: MAE takes their absolute values.": (difference**2).mean(),
            "That is the root of the mean square: MAE takes absolute values.": (difference**2).mean() ** 0.5,
            "That is the sum: divide by the number of pixels.": np.abs(difference).sum(),
            "You cut the map at one half first: MAE takes its greys as they are.": (
                np.abs((defocus > 0.5) - mask).mean()
            ),
            "That is how much is right, not how much is wrong: 0 is perfect.": 1 - right,
        }
        named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-5 * max(1, wrong)]
        if sentence := [*named, near(found, right, 1e-5)][0]:
            return sentence
    return ""


def polarity(answer) -> str:
    """A map of another program, white where in focus, in this collection's convention."""
    picture = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    picture[0, :2] = 0, 255
    found = answer(picture.copy())
    found = np.asarray(found)
    if found.shape != picture.shape:
        return f"A picture of {picture.shape} became a map of {found.shape}: one number a pixel."
    shown = picture.astype(float) / 255
    likely = {
        "Still white where in focus: 1 must mean blurred.": shown,
        "Turned, but it still reaches to 255: a map lies in [0, 1].": 255 - 255 * shown,
        "The greys are gone: they say how sure the program was.": np.round(1 - shown),
        "White and black are 255 levels apart, not 256.": (255 - 255 * shown) / 256,
    }
    if not np.allclose(found, 1 - shown, rtol=0, atol=1e-6):
        named = [s for s, wrong in likely.items() if np.allclose(found, wrong, rtol=0, atol=1e-6)]
        at = f"Levels 0, 255 and {picture[1, 1]} became {found[0, 0]:g}, {found[0, 1]:g} and {found[1, 1]:g}"
        return [*named, f"{at}, but must become 1, 0 and {1 - shown[1, 1]:.3g}."][0]
    return "" if found.dtype == np.float32 else f"The numbers are right, but {found.dtype}: maps are float32."


CHECKS = [twig, error, polarity]
