"""Figures show what they are given, under names that a reader understands."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from defusion_lib import figures
from defusion_lib.data import Photo
from defusion_lib.metrics import Evaluation


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def photos(count=3):
    rng = np.random.default_rng(0)
    return [
        Photo(
            f"out_of_focus000{i}",
            rng.integers(0, 256, (20, 30, 3), np.uint8),
            (rng.random((20, 30)) > 0.5) * 1.0,
        )
        for i in range(count)
    ]


def drawn(figure):
    """The array in each panel that has one, row by row."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_sheet_shows_every_picture_and_leaves_gaps_empty():
    white, black = np.ones((4, 6)), np.zeros((4, 6))
    figure = figures.sheet({"a": [white, None], "b": [black]}, ["left", "right"])
    assert [picture.mean() for picture in drawn(figure)] == [1, 0]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["left", "right"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["a", "", "b", ""]


def test_maps_keep_their_grey_and_photographs_their_colours():
    figure = figures.sheet({"": [np.full((4, 6), 0.3), np.full((4, 6), 100, np.uint8)]})
    limits = [axis.images[0].get_clim() for axis in figure.axes]
    assert limits == [(0, 1), (0, 255)]  # not stretched to what is in the picture


def test_comparison_puts_methods_beside_the_mask():
    given = photos()
    maps = {"ours": [np.full((20, 30), 0.25)] * 3, "theirs": [np.full((20, 30), 0.75)] * 3}
    panels = drawn(figures.comparison(given, maps))
    assert len(panels) == 3 * 4
    assert np.array_equal(panels[4], given[1].image) and np.array_equal(panels[5], given[1].mask)
    assert panels[6].mean() == 0.25 and panels[7].mean() == 0.75


def test_examples_show_photographs_above_masks():
    given = photos()
    panels = drawn(figures.examples(given))
    assert np.array_equal(panels[2], given[2].image) and np.array_equal(panels[5], given[2].mask)


def test_overlay_tints_the_blurred_part_alone():
    image = np.full((4, 6, 3), 100, np.uint8)
    defocus = np.zeros((4, 6))
    defocus[:, 3:] = 1
    tinted = figures.overlay(image, defocus, strength=1)
    assert np.array_equal(tinted[:, :3], image[:, :3])
    assert np.array_equal(tinted[0, 5], np.uint8(np.round(255 * np.array(figures.COLOURS[1]))))


def test_training_loss_is_a_map_and_has_its_running_mean():
    figure = figures.training_loss(np.full(200, 19.0), maps=19, window=50, changes=[100])
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert np.allclose(lines["each iteration"], 1) and len(lines["mean of the last 50"]) == 151
    assert "larger photographs from here" in lines


def test_curves_end_where_they_should():
    evaluation = Evaluation()
    rng = np.random.default_rng(0)
    for photo in photos():
        evaluation.add(np.clip(photo.mask * 0.5 + rng.random((20, 30)) * 0.5, 0, 1), photo.mask)
    figure = figures.curves({"one": {"blur": evaluation.curves("blur"), "focus": evaluation.curves("focus")}})
    assert [axis.get_title() for axis in figure.axes] == [
        f"{name}, positive: {positive}" for positive in ("blur", "focus") for name in ("PR", "F", "ROC")
    ]
    x, y = figure.axes[2].lines[0].get_data()
    assert (x[0], y[0]) == (1, 1) and (x[-1], y[-1]) == (0, 0)


def test_histogram_counts_every_photograph():
    figure = figures.blurred_shares({"set": [0.1, 0.5, 0.9]})
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3


def test_levels_of_a_map():
    assert figures.as_levels(np.array([0, 0.25, 1, 1.2])).tolist() == [0, 64, 255, 255]
