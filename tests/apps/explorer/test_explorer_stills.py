"""The still figures show the analyses that they are given, and what the notebook opens with shows something."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from explorer_reading import FIRST, OTHER, SIZE

from defusion_lib.apps.explorer import analysis, stills
from defusion_lib.data.synthetic import make_scene
from defusion_lib.runs.parameters import read_parameters

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks/14_explorer.ipynb"


@pytest.fixture(scope="module")
def analyses(network):
    choices = analysis.photo_choices(0)
    return {name: analysis.analyse(choices[name](), network, SIZE) for name in (OTHER, FIRST)}


def images(drawing):
    """Return the images of a drawing's panels, row by row; None where a panel is empty."""
    found = [axis.images[0].get_array() if axis.images else None for axis in drawing.figure.axes]
    plt.close(drawing.figure)
    return found


def test_stages_are_drawn_in_their_order(analyses):
    drawing = stills.draw_stages(analyses)
    order = ["after1", "after2", "after3", "fused"]
    assert list(stills.stage_names(analyses[OTHER])) == order
    found = images(drawing)
    assert found[7] is None  # no mask
    for array, row, each in zip(("first", "second"), (found[:6], found[6:]), analyses.values()):
        np.testing.assert_array_equal(row[0], each.photo.image)
        for i, stage in enumerate(order):
            np.testing.assert_array_equal(row[2 + i], each.stages[stage])
            np.testing.assert_array_equal(drawing.arrays[array][i], each.stages[stage])


def test_side_outputs_are_those_of_the_last_step(analyses):
    drawing = stills.draw_side_outputs(analyses)
    found = images(drawing)
    for array, row, each in zip(("first", "second"), (found[:6], found[6:]), analyses.values()):
        for i in range(6):
            np.testing.assert_array_equal(row[i], each.sides[2][i])
            np.testing.assert_array_equal(drawing.arrays[array][i], each.sides[2][i])


def test_weights_are_bars_and_strokes(analyses):
    drawing = stills.draw_weights(analyses, (2, "deep"))
    (axis,) = drawing.figure.axes
    first, second = (each.channels[2, "deep"].weights for each in analyses.values())
    np.testing.assert_allclose([bar.get_height() for bar in axis.patches], first)
    np.testing.assert_allclose(axis.lines[0].get_ydata(), second)
    np.testing.assert_array_equal(drawing.arrays["first"], first)
    np.testing.assert_array_equal(drawing.arrays["second"], second)
    plt.close(drawing.figure)


def test_captures_are_drawn_one_aperture_per_row(network):
    scene, camera = make_scene("same-class", 0, (64, 64), 0)
    captures = {aperture: analysis.capture(scene, camera, network, SIZE, aperture) for aperture in (1, 2)}
    drawing = stills.draw_captures(captures)
    found = images(drawing)
    for i, capture in enumerate(captures.values()):
        np.testing.assert_array_equal(found[4 * i], capture.rendering.image)
        np.testing.assert_array_equal(found[4 * i + 3], capture.levels)
        np.testing.assert_array_equal(drawing.arrays["radii"][i], analysis.radius_levels(capture.rendering.radius))
        np.testing.assert_array_equal(drawing.arrays["maps"][i], capture.levels)


@pytest.mark.slow
def test_the_map_of_the_photo_that_the_notebook_opens_with_changes_from_step_to_step(network):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    given = read_parameters(cell.source)
    found = analysis.analyse(analysis.photo_choices(given["seed"])[given["photo"]](), network, given["size"])
    change = np.abs(found.stages["fused"].astype(int) - found.stages["after1"])
    assert change.mean() > 10  # of 255 levels; with most photos it is 2 to 6
