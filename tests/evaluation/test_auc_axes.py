"""The area on the paper's axis: its identity, its bound from F, and the other areas that somebody may call AUC."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from defusion_lib import metrics
from defusion_lib.evaluation import auc_axes
from defusion_lib.evaluation.protocols import auc_paper_ceiling

RNG = np.random.default_rng(6)
MASKS = [RNG.random((14, 20)) < share for share in (0.3, 0.55, 0.8)]
MAPS = [np.clip(0.5 * mask + 0.6 * RNG.random(mask.shape), 0, 1) for mask in MASKS]
COUNTS = np.stack([metrics.histogram(found, mask) for found, mask in zip(MAPS, MASKS)])
SHARES = np.array([mask.mean() for mask in MASKS])


def test_rates_are_scikit_learns():
    tpr, fpr, share_above = auc_axes.rates(COUNTS[0])
    levels = metrics.quantise(MAPS[0])
    x, y, _ = roc_curve(MASKS[0].ravel(), levels.ravel(), drop_intermediate=False)
    points = {*zip(x.round(9), y.round(9))}
    assert points <= {*zip(fpr.round(9), tpr.round(9))}
    np.testing.assert_allclose(share_above, [(levels > level).mean() for level in range(-1, 256)])


def test_the_identity_holds_and_can_fail(monkeypatch):
    for counts in COUNTS:
        for positive in ("blur", "focus"):
            assert auc_axes.identity_error(metrics.for_class(counts, positive)) < 1e-12
    monkeypatch.setattr(auc_axes, "rates", lambda counts: (np.linspace(1, 0, 257),) * 3)
    assert auc_axes.identity_error(COUNTS[0]) > 0.05


def test_the_bound_is_below_every_curve_with_this_f():
    for counts, share in zip(COUNTS, SHARES):
        one = counts[None]
        for f in metrics.curves(one, "blur").f:
            if metrics.all_positive_f(share) < f < 1:
                assert auc_axes.lowest_auc(f, share) <= metrics.auc(one)


@pytest.mark.parametrize("f, share", [(0.9, 0.6), (0.95, 0.9)])
def test_the_bound_is_the_rectangle_of_a_loop(f, share):
    areas = []
    for precision in np.linspace(0.5, 1, 2001):
        recall = 0.3 * f * precision / (1.3 * precision - f) if 1.3 * precision > f else np.inf
        if 0 <= recall <= 1:
            assert metrics.f_measure(precision, recall) == pytest.approx(f)
            areas.append(recall * (1 - min(recall * share / (1 - share) * (1 - precision) / precision, 1)))
    assert auc_axes.lowest_auc(f, share) == pytest.approx(min(areas), abs=1e-3)
    # DeFusionNet on DUT, whose printed AUC is 0.643.
    assert auc_axes.lowest_auc(0.952, 0.689) == pytest.approx(0.82, abs=0.005)


def test_the_share_comes_back_from_the_floor():
    for share in (0.1, 0.543, 0.9):
        assert auc_axes.share_of_floor(metrics.all_positive_f(share)) == pytest.approx(share)


def test_the_conversion_is_off_by_the_covariance():
    row = auc_axes.conversion(COUNTS)
    areas = np.array([metrics.auc(counts[None]) for counts in COUNTS])
    assert row["AUC"] == pytest.approx(areas.mean())
    assert row["A, blur"] == metrics.auc_paper(COUNTS, "blur") and row["A, focus"] == metrics.auc_paper(COUNTS, "focus")
    covariance = np.cov(SHARES, areas, bias=True)[0, 1]
    assert abs(covariance) > 1e-4
    assert row["AUC from A, blur"] - row["AUC"] == pytest.approx(-covariance / (1 - SHARES.mean()))
    assert row["AUC from A, focus"] - row["AUC"] == pytest.approx(covariance / SHARES.mean())


def test_a_photo_of_one_class_changes_no_conversion():
    counts = np.random.default_rng(0).integers(1, 50, (4, 2, 256))
    blurred = np.array(counts[:1])
    blurred[:, 0] = 0
    for rows in (auc_axes.conversion, auc_axes.ceilings, auc_axes.candidates):
        assert rows(np.concatenate([counts, blurred])) == rows(counts)


def test_ceilings_are_those_of_perfect_maps():
    perfect = np.stack([metrics.histogram(mask, mask) for mask in MASKS])
    found = auc_axes.ceilings(COUNTS)
    assert found == {key: pytest.approx(auc_axes.conversion(perfect)[key]) for key in found}
    assert found["A, blur"] == pytest.approx(auc_paper_ceiling(SHARES.mean()))


def test_candidates_of_a_perfect_map():
    perfect = np.stack([metrics.histogram(mask, mask) for mask in MASKS])
    found = list(auc_axes.candidates(perfect).values())
    blurred = SHARES.mean()
    assert found[:2] == [1, 0] and found[3] == 1 and found[4] > 0.99
    assert found[2] == pytest.approx(1 - blurred) and found[5] == pytest.approx(1 - blurred / 2)


def test_the_curve_without_end_points_is_a_sum_of_trapezoids():
    inner = [255 * k // 20 for k in range(1, 20)]
    curve, area = metrics.curves(COUNTS, "blur"), 0
    for low, high in zip(inner, inner[1:]):
        area += (curve.fpr[low] - curve.fpr[high]) * (curve.tpr[low] + curve.tpr[high]) / 2
    assert auc_axes.candidates(COUNTS)["ROC, 19 thresholds, no end points"] == pytest.approx(area)


def test_candidates_of_a_constant_map_are_at_chance():
    constant = np.stack([metrics.histogram(np.full(mask.shape, 0.5), mask) for mask in MASKS])
    found = auc_axes.candidates(constant)
    assert found["ordinary ROC"] == found["ROC, marked pixels / all pixels"] == 0.5


def test_the_plot_has_the_areas_in_its_legend():
    drawing = auc_axes.plot_two_axes(COUNTS[0], "made-up")
    labels = [[line.get_label() for line in axis.lines] for axis in drawing.figure.axes]
    one = COUNTS[:1]
    assert labels[0][0] == f"made-up: area {metrics.auc(one):.2f}"
    assert labels[1][0] == f"made-up: area {metrics.auc_paper(one, 'blur'):.2f}"
    assert labels[1][1] == f"perfect map: area {1 - SHARES[0] / 2:.2f}"
    assert {len(each) for each in drawing.arrays.values()} == {257}
