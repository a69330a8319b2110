"""Exercises of notebook 01: photograph and mask in the same hands, and how large a disc a lens makes."""

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
    """A photograph and its mask, turned and then flipped."""
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 256, (6, 9, 3), np.uint8), (rng.random((6, 9)) < 0.5).astype(np.float32)
    for turns, flip in VARIANTS:
        found = answer(image.copy(), mask.copy(), turns, flip)
        if not isinstance(found, tuple | list) or len(found) != 2:
            return "Return two things: the photograph, and its mask."
        for name, given, made in zip(("photograph", "mask"), (image, mask), found):
            if wrong := _misplaced(given, np.asarray(made), turns, flip):
                return f"With turns={turns}, flip={flip} the {name} {wrong}."
    return ""


def _misplaced(given: np.ndarray, made: np.ndarray, turns: int, flip: bool) -> str:
    """What was done to a picture instead of `turns` quarter turns and a flip, "" if that was."""
    turned = np.rot90(given, turns)
    likely = {
        "": turned[:, ::-1] if flip else turned,
        "is as it was: what happens to one of the two happens to both": given,
        "was turned clockwise": np.rot90(given, -turns),
        "was turned and not flipped": turned,
        "was flipped and not turned": given[:, ::-1],
        "was flipped first and turned then": np.rot90(given[:, ::-1] if flip else given, turns),
        "was flipped upside down": turned[::-1],
        "was flipped, and should not be": turned[:, ::-1],
        "has its colours reversed: left to right is the second axis, colours are the third": (
            turned[..., ::-1]
        ),
    }
    for sentence, wrong in likely.items():
        if np.array_equal(made, wrong):
            return sentence
    return f"of shape {given.shape} became something else, of shape {made.shape}"


def infinity(answer) -> str:
    """How much a disc grows from twice the distance of the focus to infinity."""
    camera = Camera(2.0)
    near_by, middle, far = (camera.blur_radius(distance, 640) for distance in (4.0, 8.0, np.inf))
    if answer == np.inf:
        return "The disc does not grow without end: |d - s| / d comes near to 1 when d is very large."
    if not near(answer, 1, 0.005):
        return "That is no growth: put d = 2 s into the formula, then let d be much larger than s."
    if not near(answer, near_by / far, 0.005):
        return "That is the smaller disc over the larger one."
    if not near(answer, middle / near_by, 0.005):
        return "That is four times the distance of the focus: go on to infinity."
    return near(answer, far / near_by, 0.005, " times")


def radius(answer) -> str:
    """The blur radius in pixels of a point."""
    for distance, focus, aperture, focal_length, sensor_width, width in LENSES:
        found = answer(distance, focus, aperture, focal_length, sensor_width, width)
        right = Camera(focus, aperture, focal_length, sensor_width).blur_radius(distance, width)
        # The formula with the focal length of 85 mm taken for 85 m.
        mixed = aperture * focal_length * abs(distance - focus) / (distance * (focus - focal_length)) / 2
        scale = width / sensor_width
        likely = {
            "": right,
            "That is the diameter: half of it is wanted.": 2 * right,
            "What is nearer than the focus has a radius below 0: take |d - s|.": -right,
            "That is in millimetres on the sensor: `width` pixels share its `sensor_width`.": right / scale,
            "That is the diameter, and in millimetres on the sensor.": 2 * right / scale,
            "The lens is in millimetres, the distances are in metres: bring them to one unit.": mixed * scale,
        }
        for sentence, wrong in likely.items():
            if abs(found - wrong) <= 1e-6 * abs(wrong):
                break
        else:
            sentence = near(found, right, 1e-6, " pixels")
        if sentence:
            lens = f"A lens of {focal_length:g} mm and {aperture:g} mm aperture, focused at {focus:g} m"
            return f"{lens}, a point at {distance:g} m: {found:g} is not it. {sentence}"
    return ""


CHECKS = [augment, infinity, radius]
