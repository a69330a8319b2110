"""Figures show what they are given, under names that a reader understands."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from skimage.color import deltaE_ciede2000, rgb2lab

from defusion_lib import metrics, plots
from defusion_lib.data import Photo
from defusion_lib.metrics import Evaluation
from defusion_lib.paper.tables import METHODS


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


def smallest_text(figure):
    """The size in points of the smallest text that a figure shows."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return min(text.get_fontsize() for text in texts)


def drawn(figure):
    """The array in each panel that has one, row by row."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_sheet_shows_every_picture_and_leaves_gaps_empty():
    white, black = np.ones((4, 6)), np.zeros((4, 6))
    figure = plots.sheet({"a": [white, None], "b": [black]}, ["left", "right"])
    assert [picture.mean() for picture in drawn(figure)] == [1, 0]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["left", "right"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["a", "", "b", ""]


def test_maps_keep_their_grey_and_photographs_their_colours():
    figure = plots.sheet({"": [np.full((4, 6), 0.3), np.full((4, 6), 100, np.uint8)]})
    limits = [axis.images[0].get_clim() for axis in figure.axes]
    assert limits == [(0, 1), (0, 255)]  # not stretched to what is in the picture


def test_comparison_puts_methods_beside_the_mask():
    given = photos()
    maps = {"ours": [np.full((20, 30), 0.25)] * 3, "theirs": [np.full((20, 30), 0.75)] * 3}
    panels = drawn(plots.comparison(given, maps))
    assert len(panels) == 3 * 4
    assert np.array_equal(panels[4], given[1].image) and np.array_equal(panels[5], given[1].mask)
    assert panels[6].mean() == 0.25 and panels[7].mean() == 0.75


def test_examples_show_photographs_above_masks():
    given = photos()
    panels = drawn(plots.examples(given))
    assert np.array_equal(panels[2], given[2].image) and np.array_equal(panels[5], given[2].mask)


def test_a_lettered_sheet_has_a_letter_and_a_name_below_each_column():
    wide, high = np.zeros((20, 30)), np.ones((30, 20))
    figure = plots.lettered_sheet({"Input": [wide, high], "GT": [wide, "not trained"]})
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "(a) Input", "(b) GT"]
    assert plots.lettered(["Input", "GT"]) == ["(a) Input", "(b) GT"]
    figure.canvas.draw()
    boxes = [axis.get_window_extent() for axis in figure.axes]
    assert [round(box.height / box.width, 2) for box in boxes] == [0.67, 0.67, 1.5, 1.5]  # those of the images
    assert boxes[0].width == pytest.approx(boxes[2].width, rel=0.02)
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == ["not trained"]


@pytest.mark.slow
def test_names_below_the_paper_s_widest_sheet_can_be_read():
    names = ["Input", "GT", *METHODS.values(), "same budget"]
    figure = plots.lettered_sheet({name: [np.ones((60, 60))] for name in names})
    plots.make_legible(figure)
    assert smallest_text(figure) == plots.text_size(figure.get_figwidth())
    labels = [axis.xaxis.label for axis in figure.axes]
    assert [label.get_text().replace("\n", " ") for label in labels] == plots.lettered(names)
    assert {label.get_text()[3] for label in labels} == {"\n"}  # every letter is in a line above its name
    boxes = [label.get_window_extent() for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_overlay_tints_the_blurred_part_alone():
    image = np.full((4, 6, 3), 100, np.uint8)
    defocus = np.zeros((4, 6))
    defocus[:, 3:] = 1
    tinted = plots.overlay(image, defocus, strength=1)
    assert np.array_equal(tinted[:, :3], image[:, :3])
    assert np.array_equal(tinted[0, 5], np.uint8(np.round(255 * np.array(plots.COLOURS[1]))))


def test_training_loss_is_a_map_and_has_its_running_mean():
    loss = 19 * np.linspace(0.9, 0.1, 200) ** 2
    figure = plots.training_loss(loss, maps=19, changes=[100])
    lines = {line.get_label(): line.get_data() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["each iteration"], [range(200), loss / 19])
    means = [loss[end - 49 : end + 1].mean() / 19 for end in range(49, 200)]
    np.testing.assert_allclose(lines["mean of the last 50"], [range(49, 200), means])
    assert list(lines["larger photos from here"][0]) == [100, 100]


def test_curves_are_those_of_each_class_and_end_where_they_should():
    evaluation = Evaluation()
    rng = np.random.default_rng(0)
    for photo in photos():
        evaluation.add(np.clip(photo.mask * 0.5 + rng.random((20, 30)) * 0.5, 0, 1), photo.mask)
    figure = plots.curves({"one": {"blur": evaluation.curves("blur"), "focus": evaluation.curves("focus")}})
    assert [axis.get_title() for axis in figure.axes] == [
        f"{name}, positive: {positive}"
        for positive in ("blurred", "in focus")
        for name in ("precision-recall", "F", "ROC")
    ]
    for positive, (precision_recall, f, roc) in zip(("blur", "focus"), (figure.axes[:3], figure.axes[3:])):
        found = evaluation.curves(positive)
        marked = found.recall > 0
        np.testing.assert_array_equal(
            precision_recall.lines[0].get_data(), [found.recall[marked], found.precision[marked]]
        )
        np.testing.assert_array_equal(f.lines[0].get_data(), [found.threshold, found.f])
        x, y = roc.lines[0].get_data()
        np.testing.assert_array_equal([x[1:], y[1:]], [found.fpr, found.tpr])
        assert (x[0], y[0]) == (1, 1) and (x[-1], y[-1]) == (0, 0)


@pytest.mark.slow
def test_one_method_is_bold_where_the_legend_has_thin_lines():
    evaluation = Evaluation()
    evaluation.add(photos()[0].mask, photos()[0].mask)
    figure = plots.curves(dict.fromkeys(["one", "two"], {"blur": evaluation.curves("blur")}), "two")
    for axis in figure.axes:
        thick = [line.get_label() for line in axis.lines if line.get_linewidth() == 3]
        assert thick == ["two"]
    assert len({line.get_linewidth() for line in figure.legends[0].get_lines()}) == 1


def test_a_map_of_one_value_is_a_point_of_precision_and_recall():
    """Below the lowest threshold everything is marked, above the highest nothing, which has no precision."""
    evaluation = Evaluation()
    for photo in photos():
        evaluation.add(np.ones_like(photo.mask), photo.mask)
    figure = plots.curves({"all": {"blur": evaluation.curves("blur"), "focus": evaluation.curves("focus")}})
    blurred, in_focus = (axis.lines[0] for axis in figure.axes[::3])
    assert set(blurred.get_xdata()) == {1} and blurred.get_marker() == "o"
    assert blurred.get_ydata() == pytest.approx(np.mean([photo.mask.mean() for photo in photos()]))
    assert len(in_focus.get_xdata()) == 0


def test_arrays_of_curves_have_the_names_of_method_class_and_axis():
    evaluation = Evaluation()
    evaluation.add(photos()[0].mask, photos()[0].mask)
    methods = {"one": {positive: evaluation.curves(positive) for positive in ("blur", "focus")}}
    assert list(plots.curve_arrays(methods)) == [
        f"one_{positive}_{axis}" for positive in ("blur", "focus") for axis in ("f", "recall", "fpr")
    ]
    found = plots.curve_arrays(methods, ("precision",))
    np.testing.assert_array_equal(found["one_focus_precision"], evaluation.curves("focus").precision)


def test_every_row_has_its_curves():
    """Also where there are more rows than styles."""
    evaluation = Evaluation()
    evaluation.add(photos()[0].mask, photos()[0].mask)
    names = [f"row {number}" for number in range(len(plots.STYLES) + 2)]
    figure = plots.curves(dict.fromkeys(names, {"blur": evaluation.curves("blur")}))
    for axis in figure.axes:
        assert [line.get_label() for line in axis.lines if line.get_label() != "chance"] == names
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*names, "chance"]


def test_histogram_counts_every_photograph():
    figure = plots.blurred_shares({"set": [0.1, 0.5, 0.9]})
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3


def test_levels_of_a_map():
    assert plots.as_levels(np.array([0, 0.25, 1, 1.2])).tolist() == [0, 64, 255, 255]


# What colours become for whoever lacks one kind of cone, in linear sRGB (Machado et al. 2009, severity 1).
VISION = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", VISION)
def test_lines_can_be_told_apart_by_whoever_sees_few_colours(vision):
    """Lines of one dash have colours that differ by 20 (CIEDE2000; 1 is just seen); all have a contrast of 3 to white."""
    colours = np.array([to_rgb(style["color"]) for style in plots.STYLES])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert (1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)).min() > 3
    linear = np.clip(linear @ np.transpose(VISION[vision]), 0, 1)
    seen = rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
    for i, j in combinations(range(len(plots.STYLES)), 2):
        if plots.STYLES[i]["linestyle"] == plots.STYLES[j]["linestyle"]:
            assert deltaE_ciede2000(seen[i], seen[j]) > 20, (i, j)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 3, 9])
def test_names_of_a_sheet_can_be_read_and_stay_inside(columns):
    title, name = "defusionnet-compact", "out of focus, background-in-focus-000"
    figure = plots.sheet({name: [np.ones((60, 60))] * columns}, [title] * columns)
    assert smallest_text(figure) == plots.text_size(figure.get_figwidth())
    words = [figure.axes[0].yaxis.label, *(axis.title for axis in figure.axes)]
    boxes = [text.get_window_extent() for text in words]
    whole = figure.bbox
    assert all(box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize("width", [4, 20])
def test_small_text_is_enlarged_and_large_text_is_not(width):
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, 4))
    left.plot([0, 1], label="a line")
    left.legend(fontsize=5)
    left.tick_params(labelsize=6)
    left.set_title("small", fontsize=7)
    right.set_title("large", fontsize=30)
    right.tick_params(labelsize=25)
    figure.suptitle("tiny", fontsize=2)
    plots.make_legible(figure)
    left.set_xticks(np.linspace(0, 1, 20))  # as drawing does where there is room for more
    assert smallest_text(figure) == plots.text_size(width) == {4: 9, 20: 17.6}[width]
    assert right.title.get_fontsize() == 30 and right.get_xticklabels()[0].get_fontsize() == 25


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    of_class = {"blur": metrics.curves(np.ones((2, 2, 256), int), "blur")}
    figure = plots.curves({"_mine": of_class, "jnb": of_class}, bold="_mine")
    (legend,) = figure.legends
    assert [text.get_text().strip("\u200b") for text in legend.get_texts()] == ["_mine", "jnb", "chance"]
    assert figure.axes[0].lines[0].get_linewidth() == 3
