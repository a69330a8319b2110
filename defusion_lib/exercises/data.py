"""Check the exercises of notebook 01: the same augmentation for photo and mask, and the radius of a blur disc."""

import numpy as np

from defusion_lib.data.camera import Camera
from defusion_lib.exercises import near

VARIANTS = ((0, False), (0, True), (1, False), (2, False), (3, False), (1, True), (2, True))
# Distance and focus in metres, the other lengths in millimetres, the width in pixels.
LENSES = (
    (6.0, 2.0, 40.0, 85.0, 36.0, 640),
    (1.5, 2.0, 25.0, 50.0, 36.0, 480),
    (2.0, 2.0, 40.0, 85.0, 36.0, 640),
)


def augment(answer) -> str:
    """Check a function that rotates and then flips a photo and its mask."""
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 256, (6, 9, 3), np.uint8), (rng.random((6, 9)) < 0.5).astype(np.float32)
    for turns, flip in VARIANTS:
        found = answer(image.copy(), mask.copy(), turns, flip)
        if not isinstance(found, tuple | list) or len(found) != 2:
            return "Return two things: the photo and its mask."
        for name, given, made in zip(("photo", "mask"), (image, mask), found):
            if wrong := _misplaced(given, np.asarray(made), turns, flip):
                return f"With turns={turns}, flip={flip} the {name} {wrong}."
    return ""


def _misplaced(given: np.ndarray, made: np.ndarray, turns: int, flip: bool) -> str:
    """Return what happened to an image instead of `turns` quarter turns and a flip; "" if it is right."""
    turned = np.rot90(given, turns)
    likely = {
        "": turned[:, ::-1] if flip else turned,
        "is unchanged: photo and mask need the same transformation": given,
        "was rotated clockwise": np.rot90(given, -turns),
        "was rotated and not flipped": turned,
        "was flipped and not rotated": given[:, ::-1],
        "was flipped first and then rotated": np.rot90(given[:, ::-1] if flip else given, turns),
        "was flipped upside down": turned[::-1],
        "was flipped, and should not be": turned[:, ::-1],
        "has its colours reversed: left to right is the second axis, colours are the third": (turned[..., ::-1]),
    }
    for sentence, wrong in likely.items():
        if np.array_equal(made, wrong):
            return sentence
    return f"of shape {given.shape} became something else, of shape {made.shape}"


def infinity(answer) -> str:
    """Check the growth of a disc from twice the focus distance to infinity."""
    camera = Camera(2.0)
    near_by, middle, far = (camera.blur_radius(distance, 640) for distance in (4.0, 8.0, np.inf))
    if answer == np.inf:
        return "The disc does not grow without limit: |d - s| / d approaches 1 for large d."
    if not near(answer, 1, 0.005):
        return "That is no growth: insert d = 2 s into the formula, then a d much larger than s."
    if not near(answer, near_by / far, 0.005):
        return "That is the smaller disc divided by the larger one."
    if not near(answer, middle / near_by, 0.005):
        return "That is for four times the focus distance: the question is about infinity."
    return near(answer, far / near_by, 0.005, " times")


def radius(answer) -> str:
    """Check a function that computes the blur radius of a point in pixels."""
    for distance, focus, aperture, focal_length, sensor_width, width in LENSES:
        found = answer(distance, focus, aperture, focal_length, sensor_width, width)
        right = Camera(focus, aperture, focal_length, sensor_width).blur_radius(distance, width)
        # The formula with the focal length in millimetres instead of metres.
        mixed = aperture * focal_length * abs(distance - focus) / (distance * (focus - focal_length)) / 2
        scale = width / sensor_width
        likely = {
            "": right,
            "That is the diameter: return half of it.": 2 * right,
            "Points nearer than the focus get a negative radius: use |d - s|.": -right,
            "That is in millimetres on the sensor: convert it, `width` pixels cover `sensor_width`.": right / scale,
            "That is the diameter, and in millimetres on the sensor.": 2 * right / scale,
            "The lens is in millimetres, the distances are in metres: convert them to one unit.": mixed * scale,
        }
        named = [sentence for sentence, wrong in likely.items() if abs(found - wrong) <= 1e-6 * abs(wrong)]
        if sentence := [*named, near(found, right, 1e-6, " pixels")][0]:
            lens = f"A lens of {focal_length:g} mm and {aperture:g} mm aperture, focused at {focus:g} m"
            return f"{lens}, a point at {distance:g} m: {found:g} is wrong. {sentence}"
    return ""


CHECKS = [augment, infinity, radius]
