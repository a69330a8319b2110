"""Table 1 as text, and which of our measures stands beside which of the paper's."""

import numpy as np

from defusion_lib.evaluation.map_scores import with_errors
from defusion_lib.evaluation.tables import MEASURES, measure_rows, table
from defusion_lib.metrics import Evaluation
from defusion_lib.paper.tables import D_DFFNET, IN_FOCUS, TABLE_1, matching_metrics


def test_a_table_keeps_whole_numbers_and_the_order_and_leaves_gaps_empty():
    found = table({"b": {"mae": np.float32(0.1255), "n": 3}, "a": {"text": "x", "mae": 1.0}}, digits=2)
    assert found.index.tolist() == ["b", "a"] and found.columns.tolist() == ["mae", "n", "text"]
    assert found.values.tolist() == [["0.13", 3, ""], ["1.00", "", "x"]]


def test_a_p_value_is_never_shown_as_zero():
    rows = {"a": {"mae": 0.0001, "p, corrected": 0.0001}, "b": {"mae": 0.0, "p, corrected": 0.0006}}
    found = table(rows)
    assert found["p, corrected"].tolist() == ["< 0.001", "0.001"] and found["mae"].tolist() == ["0.000", "0.000"]
    assert table(rows, 4)["p, corrected"].tolist() == ["0.0001", "0.0006"]


def test_scores_stand_beside_their_errors_and_the_floor():
    rng = np.random.default_rng(0)
    evaluations = {"noise": Evaluation(), "truth": Evaluation()}
    for share in (0.3, 0.5, 0.8):
        mask = (rng.random((12, 10)) < share).astype(np.float32)
        evaluations["noise"].add(rng.random((12, 10)), mask)
        evaluations["truth"].add(mask, mask)
    rows = measure_rows(evaluations, {name: with_errors(each) for name, each in evaluations.items()})
    assert list(rows) == list(MEASURES.values()) and list(MEASURES) == list(evaluations["noise"].values())
    assert rows["MAE ↓"]["truth"] == "0.000 ± 0.000" and rows["AUC ↑"]["truth"] == "1.000 ± 0.000"
    errors = evaluations["noise"].errors
    assert rows["MAE ↓"]["noise"] == f"{errors.mean():.3f} ± {errors.std() / 3**0.5:.3f}"
    assert {title for title, row in rows.items() if "floor" in row} == {"max F, blur ↑", "max F, in focus ↑"}
    assert rows["max F, blur ↑"]["floor"] == f"{evaluations['noise'].all_positive_f('blur'):.3f}"


def test_matching_metrics_are_measures_that_an_evaluation_has():
    evaluation = Evaluation()
    evaluation.add(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    measures = set(evaluation.values())
    for dataset, column, method in TABLE_1:
        assert matching_metrics(dataset, method)[column] in measures


def test_only_rows_of_shi_have_the_other_positive_class():
    focus = {(d, m) for d, c, m in TABLE_1 if "focus" in matching_metrics(d, m)[c]}
    assert focus == {("shi", method) for method in IN_FOCUS}


def test_newer_methods_are_quoted_better_than_the_classics():
    """What is read off a table by hand is easily shifted by a row: the order of methods is known."""
    assert all(0 < mae < 0.4 and 0.6 < f < 1 for mae, f in D_DFFNET.values())
    assert min(D_DFFNET, key=lambda name: D_DFFNET[name].mae) == "D-DFFNet 2023"
    assert max(D_DFFNET[name].mae for name in ("lbp", "hifst", "dbdf")) == D_DFFNET["dbdf"].mae
