"""The figures of notebook 04 show the scores and maps that they are given."""

import numpy as np
import pytest

from defusion_lib.data import Photo
from defusion_lib.experiments import evaluation_figures
from defusion_lib.metrics import Evaluation
from defusion_lib.plots import lettered


def photo(name):
    rng = np.random.default_rng(len(name))
    return Photo(name, rng.integers(0, 256, (20, 30, 3), np.uint8), (rng.random((20, 30)) > 0.5) * np.float32(1))


def test_the_curves_of_every_method_are_drawn_and_kept():
    evaluation = Evaluation()
    evaluation.add(photo("a").mask * 0.5, photo("a").mask)
    drawing = evaluation_figures.curves({"ours": evaluation, "other": evaluation}, "made-up")
    assert drawing.name == "curves" and "Figures 8-10 of the paper" in drawing.caption and "made-up" in drawing.caption
    np.testing.assert_array_equal(drawing.arrays["other_focus_f"], evaluation.curves("focus").f)
    assert [name for name in drawing.arrays if name.startswith("ours_blur_")] == [
        f"ours_blur_{axis}" for axis in ("threshold", "precision", "recall", "f", "fpr")
    ]
    assert [line.get_label() for line in drawing.figure.axes[0].lines] == ["ours", "other"]


def test_extreme_photos_are_above_one_another():
    photos = [photo("a"), photo("bb")]
    maps = [np.full((20, 30), 0.2), np.full((20, 30), 0.4)]
    drawing = evaluation_figures.extremes("worst", photos, maps, [0.5, 0.25])
    assert drawing.name == "worst_photographs" and drawing.arrays["names"] == ["a", "bb"]
    assert drawing.arrays["errors"].tolist() == [0.5, 0.25] and (drawing.arrays["map_1"] == 102).all()
    shown = [axis.images[0].get_array() for axis in drawing.figure.axes]
    np.testing.assert_array_equal(shown[3], photos[1].image)
    assert shown[4].mean() == photos[1].mask.mean() and shown[5].mean() == pytest.approx(0.4)
    found = [axis.get_xlabel() for axis in drawing.figure.axes if axis.get_xlabel()]
    assert found == lettered(["Input", "GT", "our map"]) and ", ".join(found) in drawing.caption
