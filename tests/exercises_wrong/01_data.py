"""Wrong answers to the exercises of notebook 01, and words that the message on each must contain."""

import numpy as np


def augment(image, mask, turns, flip, of_image=True, of_mask=True, second_axis=1):
    """The right answer, unless one of the two is left out, or another axis is flipped."""
    made = []
    for array, wanted in ((image, of_image), (mask, of_mask)):
        turned = np.rot90(array, turns) if wanted else array
        made.append(np.flip(turned, second_axis) if flip and wanted else turned)
    return tuple(made)


def colours(image, mask, turns, flip):
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    return (image[..., ::-1], mask[..., ::-1]) if flip else (image, mask)


def flipped_first(image, mask, turns, flip):
    return tuple(np.rot90(array[:, ::-1] if flip else array, turns) for array in (image, mask))


def radius(distance, focus, aperture, focal_length, sensor_width, width, metres=1000):
    """The right answer, but for the sign of what is nearer than the focus."""
    f = focal_length / metres
    return aperture * f * (distance - focus) / (distance * (focus - f)) / 2 / sensor_width * width


WRONG = [
    (1, lambda *given: None, "write its body"),
    (1, lambda image, mask, turns, flip: image, "Return two things"),
    (1, lambda *given: augment(*given, of_mask=False), "the mask is unchanged"),
    (1, lambda *given: augment(*given, of_image=False), "the photo is unchanged"),
    (1, lambda *given: augment(*given, second_axis=0), "upside down"),
    (1, colours, "colours reversed"),
    (1, flipped_first, "flipped first and then rotated"),
    (1, lambda i, m, turns, flip: augment(i, m, -turns, flip), "rotated clockwise"),
    (1, lambda i, m, turns, flip: augment(i, m, turns, False), "flip=True the photo is unchanged"),
    (1, lambda i, m, turns, flip: augment(i, m, 0, flip), "turns=1, flip=False the photo is unchanged"),
    (1, lambda i, m, turns, flip: augment(i, m, turns, True), "flip=False the photo was flipped"),
    (1, lambda i, m, turns, flip: augment(i, m, turns, flip or turns), "flipped, and should not be"),
    (1, lambda i, m, turns, flip: augment(i, m, turns, flip and not turns), "rotated and not flipped"),
    (1, lambda i, m, turns, flip: augment(i, m, 0 if flip else turns, flip), "flipped and not rotated"),
    (1, lambda image, mask, turns, flip: (image[1:], mask), "became something else, of shape (5, 9, 3)"),
    (2, float("inf"), "does not grow without limit"),
    (2, 1, "no growth"),
    (2, 0.5, "smaller disc divided by the larger"),
    (2, 1.5, "about infinity"),
    (2, 4, "4 times is too large"),
    (3, lambda *given: None, "write its body"),
    (3, lambda *given: 2 * abs(radius(*given)), "That is the diameter: return half"),
    (3, radius, "focused at 2 m, a point at 1.5 m"),
    (3, radius, "use |d - s|"),
    (3, lambda *given: abs(radius(*given)) * 36 / given[-1], "in millimetres on the sensor: convert it"),
    (3, lambda *given: 2 * abs(radius(*given)) * 36 / given[-1], "the diameter, and in millimetres"),
    (3, lambda d, s, *rest: radius(d, s, *rest, metres=1) * (1 if d > s else -1), "convert them to one unit"),
    (3, lambda *given: 1000.0, "1000 pixels is too large"),
]
