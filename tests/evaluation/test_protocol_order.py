"""How often the order of methods depends on the protocol, and their ranks."""

import numpy as np

from defusion_lib.evaluation import protocol_order
from defusion_lib.evaluation.protocol_order import F_METRICS, RANKED, count_disputed, disputed, plot_ranks, ranks

METHODS = {
    "a": {"x": 0.9, "y": 0.50},
    "b": {"x": 0.8, "y": 0.60},
    "c": {"x": 0.7, "y": 0.505},
}


def test_a_pair_is_disputed_where_each_is_better_once():
    assert disputed(METHODS, ["x", "y"]) == [("a", "b")]
    assert disputed(METHODS, ["x"]) == []


def test_differences_up_to_the_margin_do_not_count(monkeypatch):
    monkeypatch.setattr(protocol_order, "MARGIN", 0.004)
    assert disputed(METHODS, ["x", "y"]) == [("a", "b"), ("a", "c")]


def test_disputed_pairs_are_counted_by_class():
    rows = {name: dict.fromkeys(sum(F_METRICS.values(), []), 0.5) for name in "abc"}
    rows["a"] |= {"max-f-blur": 0.9, "mean-f-blur": 0.1}
    rows["b"] |= {"max-f-focus": 0.9}
    rows["c"] |= {"max-f-blur": 0.8}
    assert count_disputed(rows) == {"pairs": 3, "disputed, blur": 2, "disputed, focus": 0, "disputed, either": 3}


def values(**changed):
    return {**dict.fromkeys(RANKED, 0.5), **changed}


def test_ranks_begin_with_the_best_and_equal_scores_share_one():
    found = ranks({"a": values(auc=0.9, mae=0.1), "b": values(auc=0.2, mae=0.3), "c": values(auc=0.203, mae=0.2)})
    assert found.shape == (len(RANKED), 3)
    assert found[RANKED.index("auc")].tolist() == [1, 2.5, 2.5]
    assert found[RANKED.index("mae")].tolist() == [1, 3, 2]
    assert (found[RANKED.index("max-f-blur")] == 2).all()


def test_the_plot_has_one_line_per_method():
    methods = {"a": values(), "b": values(auc=0.9), "c": values(auc=0.1)}
    drawing = plot_ranks({"made-up": methods}, "made-up")
    assert drawing.name == "ranks_made-up" and [line.get_label() for line in drawing.figure.axes[0].lines] == list(
        "abc"
    )
    np.testing.assert_array_equal(drawing.arrays["ranks"], ranks(methods))
    assert drawing.arrays["methods"] == list("abc") and list(drawing.arrays["metrics"]) == list(RANKED)


def test_a_method_has_one_style_in_the_plots_of_all_data_sets():
    of_dataset = {"one": {name: values() for name in "abc"}, "two": {name: values() for name in "dca"}}

    def colours(dataset):
        lines = plot_ranks(of_dataset, dataset).figure.axes[0].lines
        return {line.get_label(): line.get_color() for line in lines}

    one, two = colours("one"), colours("two")
    assert one["a"] == two["a"] and one["c"] == two["c"] and len({*one.values(), two["d"]}) == 4
