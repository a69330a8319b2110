"""Table 1 converted: shares, positive classes, ceilings, and the comparison with published maps."""

import numpy as np
import pytest

from defusion_lib import metrics
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.shi import read_manifest, split_stems
from defusion_lib.evaluation.scoring import score
from defusion_lib.metrics import Evaluation
from defusion_lib.paper import conversion, tables


def test_shares_of_shis_set_are_measured(shi_root):
    from defusion_lib.data.shi import open_shi

    photos = open_shi(shi_root, "last100", "test")
    found = conversion.split_shares("last100")
    assert len(found) == 100
    assert found[:3] == pytest.approx([photo.mask.mean() for photo in photos[:3]], abs=1e-4)


def test_shares_and_floors():
    shares = conversion.blurred_shares()
    assert {name: round(share, 3) for name, share in shares.items()} == {
        "CUHK last100": 0.682,
        "CUHK dutlab100": 0.705,
        "DUT": 0.689,
        "CTCUG": 0.543,
    }
    assert metrics.all_positive_f(1 - shares["DUT"]) == pytest.approx(0.37)
    rows = conversion.floors()
    assert list(rows) == list(shares)
    for name, row in rows.items():
        assert row["F floor, blur"] == metrics.all_positive_f(shares[name]) and row[
            "F floor, focus"
        ] == metrics.all_positive_f(1 - shares[name])
        assert len(row["source"]) < 50  # pandas cuts longer text
    assert rows["CTCUG"]["F floor, blur"] == pytest.approx(tables.TABLE_1["ctcug", "f", "ksfv"])


def test_large_photos_count_more_in_the_share_of_pooled_pixels(monkeypatch):
    manifest = read_manifest()
    for number, photo in enumerate(manifest["photographs"].values()):
        photo["width"] *= 1 + number % 50
    monkeypatch.setattr(conversion, "read_manifest", lambda: manifest)
    rows = conversion.floors()
    for split in ("last100", "dutlab100"):
        tested = [manifest["photographs"][stem] for stem in split_stems(split, "test")]
        pixels = [each["width"] * each["height"] for each in tested]
        blurred = sum(each["blurred_share"] * count for each, count in zip(tested, pixels)) / sum(pixels)
        row = rows[f"CUHK {split}"]
        assert row["of pooled pixels"] == round(blurred, 3) != round(row["blurred"], 3)


def test_only_one_class_and_split_allows_the_last_three():
    rows = {part: list(row.values()) for part, row in conversion.possible().items()}
    assert rows.pop("Table 1, JNB ... DMENet") == [0.638] + ["possible"] * 4
    assert [row[0] for row in rows.values()] == [0.844, 0.844, 0.846]
    assert all(row[1:] == ["impossible"] * 3 + ["possible"] for row in rows.values())
    titles = list(conversion.possible()["Table 2, all ablations"])[1:]
    assert [title.partition(":")[0] for title in titles] == [
        "blur, last100",
        "blur, dutlab100",
        "focus, last100",
        "focus, dutlab100",
    ]


def test_every_auc_of_table_1_is_converted():
    converted, shares = conversion.convert(), conversion.blurred_shares()
    assert {(dataset, "auc", method) for dataset, method in converted} == {
        cell for cell in tables.TABLE_1 if cell[1] == "auc"
    }
    for (dataset, method), each in converted.items():
        printed = tables.TABLE_1[dataset, "auc", method]
        assert each.share / 2 + (1 - each.share) * each.auc == pytest.approx(printed)
        assert each.low < each.auc < each.high
        assert each.share + 0.02 == pytest.approx((printed - each.high) / (0.5 - each.high))
        focus = dataset == "shi" and method in tables.IN_FOCUS
        assert each.positive == ("focus" if focus else "blur")
    assert converted["shi", "jnb"].share == shares["CUHK last100"]
    assert converted["shi", "btbnet"].share == 1 - shares["CUHK dutlab100"]
    assert converted["ctcug", "btbnet"].share == shares["CTCUG"]


def test_rows_of_a_data_set():
    rows = conversion.conversion_rows("dut")
    assert list(rows) == [method for dataset, metric, method in tables.TABLE_1 if (dataset, metric) == ("dut", "f")]
    row = rows["defusionnet"]
    assert row["F"] == 0.952 and row["AUC, printed"] == 0.643 and row["ordinary AUC"] == pytest.approx(0.96, abs=1e-3)
    assert row["its ceiling"] == pytest.approx(1 - conversion.blurred_shares()["DUT"] / 2)
    assert row["if the share is 0.02 off"] == "0.93 to 0.99"


def test_published_maps_are_compared_on_the_largest_set():
    mask = np.eye(8)
    photos = PhotoSet("large", ["a", "b"], lambda stem: Photo(stem, np.zeros((8, 8, 3), np.uint8), mask))
    scored = [score(PhotoSet("small", ["a"], photos.read), {"jnb": [1 - mask], "other": [mask]}, Evaluation)]
    scored += [score(photos, {"jnb": [mask, mask], "all-blurred": [mask, mask]}, Evaluation)]
    rows = conversion.comparison_rows(scored)
    assert list(rows) == ["jnb"]
    assert rows["jnb"] == {
        "photos": "large",
        "max F, blur": 1,
        "F, printed": 0.797,
        "A, blur": pytest.approx(1 - 1 / 16),
        "AUC, printed": 0.594,
        "AUC": 1,
        "AUC, converted": conversion.convert()["shi", "jnb"].auc,
    }


def test_the_plot_shows_every_method():
    drawing = conversion.plot_converted()
    converted = conversion.convert()
    assert drawing.name == "table_1_converted" and len(drawing.arrays["methods"]) == 12
    for dataset in tables.DATASETS:
        for method, bounds in zip(drawing.arrays["methods"], drawing.arrays[dataset]):
            assert tuple(bounds) == converted[dataset, method][2:]
    assert [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()] == drawing.arrays["methods"]
