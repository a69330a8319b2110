"""The figures of notebook 01 show the photos and samples that they are given."""

import numpy as np
import pytest

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import EFFECTS, STEPS, Augmented
from defusion_lib.data.synthetic import CHALLENGES
from defusion_lib.experiments import data_figures


def photo(stem="0", size=(48, 64)):
    """A photo whose left half is blurred, and the rest in focus."""
    rng = np.random.default_rng(int(stem))
    mask = np.zeros(size, np.float32)
    mask[:, : size[1] // 2] = 1
    return Photo(stem, rng.integers(0, 256, (*size, 3), np.uint8), mask)


def panels(figure):
    """The array in each panel that has one, row by row."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


@pytest.mark.slow
def test_contact_sheets_hold_ten_photos_each():
    photos = [photo(str(number)) for number in range(12)]
    first, second = data_figures.contact_sheets(photos, "made-up")
    assert [first.name, second.name] == ["contact_sheet_1", "contact_sheet_2"]
    assert [*first.arrays["names"], *second.arrays["names"]] == [str(number) for number in range(12)]
    assert second.arrays["blurred_share"] == [0.5, 0.5]
    np.testing.assert_array_equal(panels(second.figure)[1], photos[11].image)


def test_rendered_photos_are_in_the_order_of_figure_7():
    """Both photos of a scene with the focus swapped are side by side."""
    names = [f"{challenge}-{number:03d}" for number in range(2) for challenge in CHALLENGES]
    (sheet,) = data_figures.contact_sheets([photo("1")._replace(name=name) for name in names], "synthetic")
    assert sheet.arrays["names"] == [f"{challenge}-{number:03d}" for challenge in CHALLENGES for number in range(2)]


def test_variants_are_the_first_eight_samples():
    samples = Augmented(PhotoSet("made-up", ["0"], photo), 32, seed=0)
    drawing = data_figures.variants(samples)
    assert [len(array) for array in drawing.arrays.values()] == [8, 8]
    assert len(panels(drawing.figure)) == 16
    for number in (0, 7):
        image, mask = samples[number]
        np.testing.assert_array_equal(drawing.arrays["photographs"][number], np.uint8(255 * image.permute(1, 2, 0)))
        np.testing.assert_allclose(drawing.arrays["masks"][number] / 255, mask[0], atol=1 / 255)
    assert [axis.get_title() for axis in drawing.figure.axes[:2]] == ["0°, x1.0", "0°, x1.0,\nflipped"]


@pytest.mark.slow
def test_random_steps_are_those_of_the_augmentation():
    drawings = list(data_figures.random_steps(photo(size=(160, 256)), seed=0))
    names = [name for drawing in drawings for name in drawing.arrays["names"]]
    assert [name.partition(",")[0] for name in names] == ["original", *STEPS]
    images, masks = (np.concatenate([drawing.arrays[key] for drawing in drawings]) for key in ("after", "masks"))
    of = dict(zip(["original", *STEPS], zip(images, masks)))
    assert (of["sharp-square"][1] == 0).all() and (of["blurred-square"][1] == 255).all()
    np.testing.assert_array_equal(of["grey"][1], of["original"][1])
    # half-blur, too: it is applied to a square that is in focus, and leaves other images as they are.
    for name in EFFECTS:
        assert not np.array_equal(of[name][0], of["original"][0]), name
