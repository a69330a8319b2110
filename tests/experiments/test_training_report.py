"""The figures of notebook 03 show the training that they are given."""

import matplotlib.pyplot as plt
import numpy as np

from defusion_lib.data import Photo
from defusion_lib.experiments import training_report
from defusion_lib.training import History, make_recipe

RECIPE = make_recipe("cpu", stages=[[3, 64, 2], [2, 96, 2], [4, 128, 1]])
HISTORY = History([2.0] * 5 + [1.0] * 4)


def test_the_size_changes_where_a_stage_begins():
    assert training_report.size_changes(RECIPE) == [3, 5]
    assert training_report.size_changes(make_recipe("cpu", stages=[[3, 64, 2]])) == []


def test_the_loss_is_that_of_the_history():
    drawing = training_report.loss(HISTORY, RECIPE, maps=2)
    assert (drawing.arrays["loss"], drawing.arrays["maps"]) == (HISTORY.loss, 2)
    assert drawing.arrays["size_changes"].tolist() == [3, 5]
    np.testing.assert_allclose(drawing.figure.axes[0].lines[0].get_ydata(), np.array(HISTORY.loss) / 2)


def test_the_display_replaces_itself_and_closes_its_figures(monkeypatch):
    displayed, updated = [], []

    class Handle:
        def update(self, figure, metadata):
            updated.append((figure.axes[0].lines[0].get_ydata().tolist(), metadata))

    def display(shown, **words):
        displayed.append((shown, words))
        return Handle()

    monkeypatch.setattr(training_report, "display", display)
    draw = training_report.LossDisplay(RECIPE, maps=2)
    draw(HISTORY)
    words = {"image/png": {"alt": draw.CAPTION}}
    (_, given), (text, _) = displayed
    assert given == {"display_id": True, "metadata": words}
    assert text.data == f"*Picture:* {draw.CAPTION}"
    assert updated == [([loss / 2 for loss in HISTORY.loss], words)]
    assert plt.get_fignums() == []


def test_maps_stand_before_and_after():
    photos = [Photo(name, np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.float32)) for name in "ab"]
    before, after = [np.full((4, 6), 0.2)] * 2, [np.full((4, 6), 0.8)] * 2
    drawing = training_report.before_and_after(photos, before, after)
    levels = {name: array.mean() for name, array in drawing.arrays.items() if name != "names"}
    assert levels == {"before_0": 51, "before_1": 51, "after_0": 204, "after_1": 204}
    assert [axis.get_title() for axis in drawing.figure.axes[2:4]] == ["before training", "after training"]
