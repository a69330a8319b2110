"""Results that stand beside the paper's numbers: those of the other split, and small networks."""

import pytest

from defusion_lib.baselines import CLASSICAL
from defusion_lib.paper import beside, claims
from defusion_lib.paper.tables import METHODS, METRICS, TABLE_1, TABLE_2, TABLE_3

RECORDS = claims.load()
LAST100, DUTLAB100 = ("cpu-last100", "07b_other_photos"), ("cpu", "07_table_1")


def test_the_split_of_the_text_stands_before_the_other():
    results = {
        (*LAST100, "shi-last100/lbp/max-f-blur"): 0.875,
        (*DUTLAB100, "shi-dutlab100/lbp/max-f-blur"): 0.922,
        (*DUTLAB100, "shi-dutlab100/lbp/max-f-focus"): 0.1,
        (*DUTLAB100, "shi-dutlab100/jnb/mae"): 0.3,
    }
    rows = beside.both_splits(RECORDS, results)
    in_paper = [method for method in CLASSICAL if method in METHODS]
    assert list(rows) == [f"{method}, {metric}" for method in in_paper for metric in METRICS]
    row = rows["lbp, f"]
    assert [row["paper"], row["shi-last100"], row["shi-dutlab100"]] == [0.866, 0.875, 0.922]
    assert row["difference"] == pytest.approx(0.009) and row["its difference"] == pytest.approx(0.056)
    assert row["status"] == claims.assigned(RECORDS)["table-1/shi/f/lbp"].status and row["tolerance"] == 0.01
    assert rows["jnb, mae"]["shi-last100"] == rows["jnb, mae"]["difference"] == "not stored"
    assert rows["jnb, mae"]["its difference"] == pytest.approx(0.3 - TABLE_1["shi", "mae", "jnb"])


def test_small_networks_stand_below_the_paper():
    where, key = "04_evaluation", "shi-dutlab100/defusionnet-compact"
    results = {
        ("box", where, f"{key}+stride2/mae"): 0.05,
        ("box", where, f"{key}+stride2/mae-se"): 0.004,
        ("cpu", where, f"{key}/mae"): 0.07,
        ("cpu", where, "shi-dutlab100/all-blurred/max-f-focus"): 0.0,
    }
    rows = beside.small_networks(results)
    assert list(rows) == [
        "the paper, its text: last100", "all-blurred, dutlab100", "profile box, dutlab100", "profile cpu, dutlab100",
        "all-blurred, last100", "profile cpu-last100, last100",
    ]  # fmt: skip
    assert rows["the paper, its text: last100"]["MAE ↓"] == TABLE_1["shi", "mae", "defusionnet"]
    assert rows["profile box, dutlab100"]["MAE ↓"] == "0.050 ± 0.004"
    assert rows["profile cpu, dutlab100"]["MAE ↓"] == 0.07
    assert rows["all-blurred, dutlab100"]["max F, in focus ↑"] == 0.0
    assert set(rows["profile cpu-last100, last100"].values()) == {"not stored"}


def test_small_networks_are_those_of_fusion_stride_2():
    where = ("cpu", "08_ablations")
    results = {
        (*where, "shi-dutlab100/defusionnet-compact+noffrm/mae"): 0.2,
        (*where, "shi-dutlab100/defusionnet-compact+noffrm+stride2/mae"): 0.1,
        (*where, "shi-dutlab100/defusionnet-compact+nocam+nofam/mae"): 0.5,
        (*where, "shi-dutlab100/defusionnet-compact+nocam+nofam+stride2/mae"): 0.3,
        (*where, "shi-dutlab100/defusionnet-compact+stride2+o3/max-f-focus"): 0.8,
        ("cpu-pilot", "08_ablations", "shi-dutlab100/defusionnet-compact+nofam/mae"): 0.4,
    }
    rows = beside.small_ablations(results)
    assert rows.keys() == {method for *_, method in TABLE_2 | TABLE_3}
    assert rows["defusionnet+noffrm"] == {
        "MAE ↓: paper": TABLE_2["shi", "mae", "defusionnet+noffrm"],
        "MAE ↓: profile cpu": 0.1,
        "max F, in focus ↑: paper": TABLE_2["shi", "f", "defusionnet+noffrm"],
        "max F, in focus ↑: profile cpu": "not stored",
    }
    assert (
        rows["cvpr19"]["MAE ↓: profile cpu"] == 0.3 and rows["defusionnet+o3"]["max F, in focus ↑: profile cpu"] == 0.8
    )
    assert rows["defusionnet+nofam"]["MAE ↓: profile cpu"] == "not stored"
