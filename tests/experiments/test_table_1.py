"""Table 1: every baseline is a row of every table and figure, also one that somebody adds as the notebook says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from defusion_lib import metrics, plots, training
from defusion_lib.baselines import BASELINES, CLASSICAL
from defusion_lib.baselines.deep import dhde
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.shi import split_stems
from defusion_lib.evaluation.bootstrap import resampled_means
from defusion_lib.experiments import kept, table_1
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.paper.tables import METHODS, TABLE_1
from defusion_lib.runs.pictures import shrink
from defusion_lib.runs.run import Run
from defusion_lib.weights import weights_hash

ROOT = Path(__file__).resolve().parents[2]
SWITCHES = {"divide": 16, "encoder": "vgg16", "heads": "compact"}


def photo(stem):
    """A photo whose left part is blurred, more of it with each number."""
    rng = np.random.default_rng(int(stem))
    mask = np.zeros((32, 40), np.float32)
    mask[:, : 8 * int(stem)] = 1
    return Photo(stem, rng.integers(0, 256, (32, 40, 3), np.uint8), mask)


PHOTOS = PhotoSet("made-up", ["3", "1", "4", "2"], photo)


PARAMETERS = {
    "profile": "tiny", "seed": 3, "dataset": "synthetic", "part": "test", "data_root": "", "masks_white": "",
    "split": "dutlab100", "count": 2, "learn_from": "", "learn_root": "", "budget": "quick", "recipe": "cpu",
    "backbone": "random", "divide": 16, "encoder": "vgg16", "heads": "compact", "scenes": 2, "pictured": 1,
}  # fmt: skip


def begin(outputs, **changes):
    """Begin a run like that of notebook 07, whose networks take a second to train."""
    given = PARAMETERS | changes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFUSION_OUTPUTS", str(outputs))
        return Run("07_table_1", PARAMETERS, given)


def rival(network, **card):
    """A network as if it had been trained for the table."""
    return table_1.Rival(network, card, weights_hash(network), {})


def untrained(seed=0):
    torch.manual_seed(seed)
    return {name: rival(deep.build(**SWITCHES).eval()) for name, deep in table_1.TRAINED.items()}


@pytest.fixture(scope="module")
def rows():
    """All rows of the table, of networks that are not trained."""
    return table_1.methods(untrained(), "quick", DeFusionNet("compact", steps=1).eval(), 32)


def made_up_scores(names, count=20):
    """AUC of photos, higher for each next method."""
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 0.1, count)
    return {name: 0.5 + 0.02 * i + hardness + rng.normal(0, 0.01, count) for i, name in enumerate(names)}


@pytest.mark.slow
def test_rows_are_the_baselines_in_their_order_and_defusionnet(rows):
    names = [name.removesuffix("-compact") for name in rows]
    assert names == [*BASELINES, "defusionnet-compact+budget", "defusionnet-compact+step1"]
    assert len({row.state for row in rows.values()}) == len(rows)
    assert [row.in_paper for row in rows.values()] == [*BASELINES, "", "defusionnet"]
    assert [name for name, row in rows.items() if row.network is None] == list(CLASSICAL)


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "size"), [("cpu", 32), ("quick", 48)])
def test_the_state_of_a_network_names_its_size(rows, budget, size):
    rivals = {row.in_paper or "defusionnet": row.rival for row in rows.values() if row.rival}
    package = rows["defusionnet-compact+step1"].network
    states = {name: row.state for name, row in table_1.methods(rivals, budget, package, size).items()}
    changed = {name for name, row in rows.items() if states[name] != row.state}
    deep = {name for name, row in rows.items() if row.rival} - {"dhde"}  # patches of one size
    assert changed == (deep if budget == "cpu" else set()) | ({"defusionnet-compact+step1"} if size != 32 else set())


@pytest.mark.slow
def test_the_state_of_a_network_names_its_weights(rows):
    others = table_1.methods(untrained(seed=1), "quick", rows["defusionnet-compact+step1"].network, 32)
    assert {name for name in rows if others[name].state != rows[name].state} == {n for n in rows if rows[n].rival}
    hashes = table_1.weights_hashes(rows)
    assert hashes.keys() == {name for name, row in rows.items() if row.network} and len(set(hashes.values())) == 7
    assert hashes["dbm"] == weights_hash(rows["dbm"].network)


RED = table_1.Method("red", lambda image: image[..., 0] / np.float32(255), "state")


def test_a_method_is_tested_and_its_maps_come_in_order(tmp_path):
    run = begin(tmp_path)
    tested = RED.test(PHOTOS, run, [2, 0])
    errors = [np.abs(each.image[..., 0] / 255 - each.mask).mean() for each in PHOTOS]
    assert tested.scores().mae() == pytest.approx(np.mean(errors), abs=1e-7)
    for levels, i in zip(tested.maps, [2, 0], strict=True):
        assert np.array_equal(levels, PHOTOS[i].image[..., 0])
    found = run.folder / "maps/made-up/red"
    assert sorted(path.name for path in found.iterdir()) == [f"{i}.png" for i in range(1, 5)]
    assert not (run.folder / "results").exists()  # a classical method is computed anew anywhere


def test_diverse_photos_span_the_share_of_blurred_pixels():
    evaluation = table_1.all_blurred(PHOTOS)
    assert table_1.diverse(evaluation, 2) == [1, 2]  # photos 1 and 4
    assert table_1.diverse(evaluation, 9) == [1, 3, 0, 2]
    assert len(set(table_1.diverse(evaluation, 3))) == 3


def test_all_blurred_is_its_floor():
    evaluation = table_1.all_blurred(PHOTOS)
    assert evaluation.max_f("blur") == pytest.approx(evaluation.all_positive_f("blur")) and evaluation.auc() == 0.5


def test_auc_of_photos_is_that_of_each():
    evaluation, expected = Evaluation(), []
    for each in PHOTOS:
        defocus = metrics.quantise(np.random.default_rng(0).random(each.mask.shape) * 0.5 + each.mask * 0.3) / 255
        evaluation.add(defocus, each.mask)
        expected.append(roc_auc_score(each.mask.ravel(), defocus.ravel()))
    np.testing.assert_allclose(table_1.auc_of_photos(evaluation), expected)


@pytest.mark.parametrize(("learn", "backbone"), [("shi-dutlab100", "random"), ("synthetic", "shipped")])
def test_what_the_networks_or_their_first_weights_learnt_from_is_no_test(tmp_path, learn, backbone):
    last100, photos = (PhotoSet(name, ["1"], photo) for name in ("shi-last100", learn))
    with pytest.raises(ValueError, match="trained on shi-dutlab100, which holds most of the test photos"):
        table_1.train_one(begin(tmp_path, backbone=backbone), "dbm", photos, last100)


def test_photos_seen_in_training_are_counted():
    assert table_1.seen_in_training(PhotoSet("shi-dutlab100", split_stems("dutlab100", "test"), photo)) == 0
    seen = set(split_stems("last100", "test")) & set(split_stems("dutlab100", "train"))
    assert table_1.seen_in_training(PhotoSet("shi-last100", split_stems("last100", "test"), photo)) == len(seen) > 50


def test_every_notebook_gives_the_split_to_the_methods_that_learn():
    calls = re.findall(
        r"table_1\.methods\((.*?)\)\\n", "".join(p.read_text("utf-8") for p in ROOT.glob("notebooks/*.ipynb"))
    )
    assert len(calls) == 2 and all(call.endswith(", size, split") for call in calls)


def test_without_the_network_in_the_package_the_figures_show_the_others(rows):
    others = {name: row for name, row in rows.items() if row.in_paper != "defusionnet"}
    tested = {name: table_1.Tested(None, [photo.mask for photo in PHOTOS[:2]]) for name in others}
    drawing = table_1.figure_1(PHOTOS, [0, 1], tested, others)
    assert drawing.arrays["columns"] == ["Input", "LBP", "HiFST", "BTBNet", "GT"] and "package" not in drawing.caption


def test_numbers_stand_beside_those_of_the_paper(rows):
    values = table_1.all_blurred(PHOTOS).values()
    found = table_1.beside_paper("shi", dict.fromkeys(rows, values), rows)
    assert len(found) == 36 and found["btbnet, f"]["our metric"] == "max-f-focus"
    assert found["hifst, mae"]["difference"] == pytest.approx(values["mae"] - TABLE_1["shi", "mae", "hifst"])
    assert found["defusionnet, mae"]["row"] == "defusionnet-compact+step1"
    assert table_1.beside_paper("synthetic", dict.fromkeys(rows, values), rows) == {}


def test_quoted_numbers_stand_beside_ours(rows):
    values = {name: {"mae": 0.5, "f-half-blur": 0.25} for name in rows}
    found = table_1.beside_d_dffnet("shi-dutlab100", values, rows)
    assert table_1.beside_d_dffnet("shi-last100", values, rows) == {}
    assert found["hifst"] == {"MAE, quoted": 0.223, "MAE, here": 0.5, "F at 0.5, quoted": 0.803, "F at 0.5, here": 0.25}
    assert found["DD 2020"]["MAE, here"] == "not run"
    assert list(found)[-2:] == ["defusionnet-compact+budget", "defusionnet-compact+step1"]


def test_order_agreement():
    paper = {"a": 0.9, "b": 0.8, "c": 0.7}
    scores = made_up_scores("cab")
    tau, (low, high), pairs = table_1.order_agreement(scores, resampled_means(scores, 200), paper)
    assert tau == pytest.approx(kendalltau([1, 2, 0], [2, 1, 0]).statistic) and low <= tau <= high
    assert pairs == ["b over a"]


def test_the_papers_order_is_compared_on_its_photos_only():
    agreement = table_1.Agreement(0.5, np.array([0.25, 0.75]), [])
    assert table_1.describe_order({"a": 0.7, "b": 0.9}, agreement, "shi-dutlab100").splitlines() == [
        "the paper's order: b 0.90, a 0.70",
        "our order of these: tau 0.50, 95 % interval 0.25 to 0.75",
        "reversed here: no pair",
    ]
    _, last = table_1.describe_order({"a": 0.7}, None, "made-up").splitlines()
    assert last == "It is an order on Shi's photos, which cannot be compared with one on made-up."
    some = table_1.describe_order({"a": 0.7}, agreement._replace(reversed_pairs=["b over a", "c over a"]), "shi")
    assert some.endswith("reversed here: b over a, c over a")


def test_rows_are_ranked_with_their_intervals():
    scores = {"low": np.full(4, 0.6), "high": np.array([0.7, 0.8, 0.9, 1.0])}
    found = table_1.auc_rows(scores, resampled_means(scores, 200))
    assert list(found) == ["high", "low"] and found["low"] == pytest.approx({"AUC": 0.6, "low": 0.6, "high": 0.6})
    assert found["high"]["AUC"] == pytest.approx(0.85)
    assert found["high"]["low"] < 0.85 < found["high"]["high"]


def test_results_have_their_keys():
    agreement = table_1.Agreement(0.5, np.array([0.25, 0.75]), [])
    given = ("made-up", {"red": {"mae": 0.25}}, {"red": 2.0}, {"red": np.array([0.5, 0.7])})
    expected = {"made-up/red/mae": 0.25, "made-up/red/seconds": 2.0, "made-up/red/auc-std": pytest.approx(0.1)}
    assert table_1.score_results(*given, None) == expected
    assert table_1.score_results(*given, agreement) == expected | {"made-up/all-classics/kendall-tau": 0.5}


def test_all_methods_are_evaluated_and_two_more_rows(tmp_path):
    methods = {
        "dmenet": table_1.Method("dmenet", lambda image: image[..., 0] / np.float32(510), "state"),
        "red": RED,
    }
    tested, shown = table_1.test_all(methods, PHOTOS, begin(tmp_path), 2)
    evaluations = table_1.evaluate(tested, PHOTOS)
    assert list(evaluations) == ["dmenet", "red", "dmenet+stretched", "all-blurred"] and shown == [1, 2]
    for i, levels in zip(shown, tested["red"].maps, strict=True):
        assert np.array_equal(levels, PHOTOS[i].image[..., 0])
    assert evaluations["all-blurred"].values() == table_1.all_blurred(PHOTOS).values()
    halves = {name: evaluation.values()["f-half-blur"] for name, evaluation in evaluations.items()}
    assert halves["dmenet+stretched"] == pytest.approx(halves["red"], abs=0.01) and halves["dmenet"] < 0.1


def test_methods_are_timed_in_turns():
    calls = []
    methods = {name: table_1.Method(name, lambda image, name=name: calls.append(name), "state") for name in "ab"}
    found = table_1.median_seconds(methods, PHOTOS[0].image, 3, torch.device("cpu"))
    assert list(found) == ["a", "b"] and "".join(calls).count("ab") >= 3


def test_the_time_of_a_method_is_the_median_of_its_repeats(monkeypatch):
    timings = {"a": SimpleNamespace(seconds=[9, 1, 2]), "b": SimpleNamespace(seconds=[4, 4, 1])}
    monkeypatch.setattr(table_1, "benchmark", lambda calls, repeats, device: timings)
    assert table_1.median_seconds({}, PHOTOS[0].image, 3, torch.device("cpu")) == {"a": 2, "b": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, its photos, and DBM, trained and tested in it."""
    run = begin(tmp_path_factory.mktemp("outputs"))
    photos = table_1.trainings(run.parameters)["dbm"].open_photos()
    return run, photos, table_1.train_one(run, "dbm", photos)


def copied(finished, tmp_path, **changes):
    """The files that are kept of the finished network, on another machine."""
    other = begin(tmp_path, **changes)
    for name in ("dbm", "dbm@synthetic"):
        file = f"results/07_table_1/{name}.npz"
        other.path(file).write_bytes(finished[0].path(file).read_bytes())
    return other


def test_what_is_kept_of_a_network_is_read_where_its_weights_are_gone(finished, tmp_path, monkeypatch):
    run, photos, trained = finished
    other, test = copied(finished, tmp_path), table_1.open_test(run.parameters)
    monkeypatch.setattr(training, "train", None)
    found = table_1.train_one(other, "dbm", photos)
    assert not found.is_loaded and trained.is_loaded and weights_hash(found.network) != found.sha256
    assert found.card == trained.card and found.sha256 == trained.sha256 == weights_hash(trained.network)
    assert found.card["stretches"][-1]["to"] == len(found.card["loss"]) == 4
    method, expected = (table_1.rival_method("dbm", each, "quick") for each in (found, trained))
    tested, computed = method.test(test, other, [0]), expected._test(test, run, [0])
    assert np.array_equal(tested.counts, computed.counts) and tested.counts.dtype == np.int64
    assert np.array_equal(tested.maps[0], shrink(computed.maps[0]))
    assert tested.scores().values() == pytest.approx(Evaluation.values(evaluated(expected, test)), abs=1e-7)
    assert kept.read(run.path("results/07_table_1/dbm@synthetic.npz"))["stamp"]["profile"] == "tiny"


def evaluated(method, photos):
    evaluation = Evaluation()
    for each in photos:
        evaluation.add(metrics.quantise(method.detect(each.image)) / 255, each.mask)
    return evaluation


def test_a_network_without_weights_maps_no_photo(finished, tmp_path, monkeypatch):
    other, photos = copied(finished, tmp_path), finished[1]
    method = table_1.rival_method("dbm", table_1.train_one(other, "dbm", photos), "quick")
    with pytest.raises(ValueError, match="The weights of dbm are not here, and nothing is kept of its maps of these 4"):
        method.test(PHOTOS, other)
    assert table_1.median_seconds({"dbm": method}, PHOTOS[0].image, 1, torch.device("cpu"))["dbm"] > 0


def test_weights_of_another_training_are_not_those_of_what_is_kept(finished, tmp_path):
    other = copied(finished, tmp_path)
    weights = other.path("weights/07_table_1/dbm.safetensors")
    weights.write_bytes(finished[0].path("weights/07_table_1/dbm.safetensors").read_bytes())
    file = other.path("results/07_table_1/dbm.npz")
    assert table_1.read_rival("dbm", file, weights).is_loaded
    words = {key: each for key, each in kept.read(file).items() if not isinstance(each, np.ndarray)}
    kept.write(file, words | {"sha256": "0"}, {})
    assert not table_1.read_rival("dbm", file, weights).is_loaded


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [dict(seed=4), dict(count=3), dict(scenes=3), dict(recipe="frozen"), dict(divide=8)],
)
def test_what_was_made_in_another_way_is_trained_again(finished, tmp_path, changes, capsys):
    other = copied(finished, tmp_path, **changes)
    photos = table_1.trainings(other.parameters)["dbm"].open_photos()
    found = table_1.train_one(other, "dbm", photos)
    assert found.is_loaded and "dbm.npz was made in another way" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("changes", [dict(pictured=2), dict(size=48)])
def test_maps_of_another_test_are_computed_again(finished, tmp_path, changes, monkeypatch):
    run, _, trained = finished
    other, test = copied(finished, tmp_path), table_1.open_test(run.parameters)
    method = table_1.rival_method("dbm", trained, "quick")
    monkeypatch.setattr(table_1.Method, "_test", lambda *given: pytest.fail("computes", pytrace=False))
    method.test(test, other, [0])
    with pytest.raises(pytest.fail.Exception, match="computes"):
        method._replace(size=changes.get("size", method.size)).test(test, other, range(changes.get("pictured", 1)))


@pytest.mark.slow
def test_sigmas_and_pixels_are_kept_too(tmp_path):
    run = begin(tmp_path)
    photos = table_1.trainings(run.parameters)["dbm"].open_photos()
    test = table_1.open_test(run.parameters)
    for name, look, shape in (("dhde", "confusion", (11, 11)), ("dmenet", "amount_error", (2,))):
        found = table_1.train_one(run, name, photos, test)
        again = table_1.look_inside(name, found.network, test, run.parameters)
        assert list(found.looks) == [look] and found.looks[look].shape == shape
        np.testing.assert_allclose(found.looks[look], again[look], rtol=1e-6)


def test_a_budget_holds_photos_out_of_what_the_networks_learn_from():
    photos = PhotoSet("shi-dutlab100", split_stems("dutlab100", "train"), photo)
    assert [len(part) for part in table_1.learnt(photos, "cpu")] == [544, 60]
    assert table_1.learnt(photos, "quick") == [photos]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, {"name": "folder", "root": "mine", "white": "focus"}),
        ({"learn_root": "other"}, {"name": "folder", "root": "other", "white": "focus"}),
        ({"learn_from": "shi"}, {"name": "shi", "root": "", "white": ""}),
        ({"learn_from": "shi", "learn_root": "other"}, {"name": "shi", "root": "other", "white": ""}),
    ],
)
def test_networks_learn_from_the_photos_that_the_parameters_name(given, read):
    mine = PARAMETERS | {"dataset": "folder", "data_root": "mine", "masks_white": "focus"}
    found = table_1.trainings(SimpleNamespace(**mine | given))
    assert list(found) == list(table_1.TRAINED)
    more = {"part": "train", "split": "dutlab100", "count": 2, "seed": 3}
    assert all(training.photos == read | more for training in found.values())
    assert found["dhde"].recipe.stages == ((60, 8, 32),) and found["dhde"].recipe.seed == 3
    assert found["dhde"].modules[0] == "defusion_lib.baselines.deep.dhde"


def test_layers_without_loaded_weights_learn_in_full():
    changed = {"encoder": "vgg19", "recipe": "cpu"}
    found = table_1.trainings(SimpleNamespace(**PARAMETERS | changed))
    steps = {name: (each.recipe.frozen_blocks, each.recipe.backbone_factor) for name, each in found.items()}
    assert steps["dmenet"] == (0, 1.0) and steps["dbm"] == (2, 0.1)


def test_the_papers_order_is_of_the_classical_methods():
    paper = table_1.paper_order()
    assert list(paper) == [method for method in CLASSICAL if method in METHODS] and max(paper, key=paper.get) == "hifst"


def test_maps_of_a_published_method_and_of_an_unknown_one(tmp_path, monkeypatch):
    method = table_1.Method("red", lambda image: image[..., 0] / np.float32(255), "state", "hifst")
    maps = type("Maps", (), {"read": lambda self, photo: photo.image[..., 0] / 255, "stems": PHOTOS.stems})()
    monkeypatch.setattr(table_1, "photographs", lambda published, root: PHOTOS)
    monkeypatch.setattr(table_1, "crop_correlation", lambda detect, published, photos: 0.75)
    results, found, sets = table_1.beside_published({"red": method}, {"hifst": maps, "mine": maps}, "", tmp_path)
    assert results["made-up/red/correlation"] == pytest.approx(1) and results["shi-crops/red/correlation"] == 0.75
    assert results["made-up/red/mae"] == pytest.approx(results["made-up/red+published/mae"])
    assert results["made-up/red/mean-difference"] == pytest.approx(0, abs=1e-7)
    assert sets == [PHOTOS] and found["hifst"]["photos"] == 4 and "no method of this name" in found["mine"]["note"]


def test_sigma_scores_are_those_of_single_patches():
    confusion = np.random.default_rng(0).integers(0, 9, (11, 11))
    patches = [(i, j) for i in range(11) for j in range(11) for _ in range(confusion[i, j])]
    true, predicted = np.array(patches).T
    apart = np.abs(np.array(dhde.SIGMAS)[true] - np.array(dhde.SIGMAS)[predicted])
    found = table_1.sigma_scores(confusion)
    assert found["sigma-accuracy"] == pytest.approx(np.mean(true == predicted))
    assert found["sigma-neighbours"] == pytest.approx(np.mean(np.abs(true - predicted) <= 1))
    assert found["sigma-error"] == pytest.approx(apart.mean())
    constants = [np.abs(np.array(dhde.SIGMAS)[true] - sigma).mean() for sigma in dhde.SIGMAS]
    assert table_1.best_constant_error(confusion) == pytest.approx(min(constants))


@pytest.mark.slow
def test_budgets_and_costs_are_of_every_network(rows):
    rivals = dict(zip(table_1.TRAINED, [row.rival for row in rows.values() if row.rival]))
    found = table_1.budget_rows(rivals, "cpu", "quick")
    assert list(found) == list(table_1.TRAINED) and found["dhde"]["samples"] == 60 * 32
    assert "GMAC" not in found["dhde"] and found["btbnet"]["trained at, pixels"] == "48"
    costs = table_1.full_costs(32)
    assert costs.keys() == table_1.TRAINED.keys() - {"dhde"} | {"defusionnet-compact"}
    assert table_1.cost_rows(costs)["defusionnet"]["x DeFusionNet"] == 1
    card = {"stretches": [{"seconds": 2.0}, {"seconds": 3.5}]}
    rivals = {name: each._replace(card=card) for name, each in rivals.items()}
    results = table_1.training_results("made-up", rivals, costs)
    assert results["made-up/cvpr19-compact/training-seconds"] == 5.5
    assert results["full/dbm/parameters"] == 14715201 and "full/defusionnet/gmac" not in results


def test_the_ending_of_a_training_is_told():
    rule = {
        "stretches": [{"seconds": 90.0, "device": "A", "threads": 1, "precision": "fp32"}],
        "recipe": {"stages": [[1500, 32, 4], [500, 64, 4]]},
    }
    held_out = [[500, 0.5], [1000, 0.25], [1500, 0.375], [2000, 0.3]]
    cards = {
        "dbm": {"loss": [1.0] * 2000, "held_out": held_out, "kept": 1} | rule,
        "btbnet": {"loss": [1.0] * 1500, "held_out": held_out[:3], "kept": 1} | rule,
        "dhde": {"loss": [1.0] * 2000} | rule,
    }
    rivals = {name: rival(table_1.TRAINED[name].build(divide=16), **card) for name, card in cards.items()}
    found = table_1.training_times(rivals)
    assert found["dbm"] == {
        "minutes": 1.5, "where": "A, threads: 1, fp32", "iterations": "2,000 of 2,000", "ended because": "the time was over",
        "weights of iteration": "1,000", "their held-out loss": "0.250",
    }  # fmt: skip
    assert found["btbnet"]["iterations"] == "1,500 of 2,000"
    assert found["btbnet"]["ended because"] == "the held-out loss had stopped falling"
    assert found["dhde"].keys() == {"minutes", "where"}
    results = table_1.training_results("made-up", rivals, {})
    lowest = {"iterations": 1500, "iterations-kept": 1000, "held-out-loss": 0.25}
    assert {name: results[f"made-up/btbnet/{name}"] for name in lowest} == lowest
    assert "made-up/dhde/iterations" not in results
    drawing = table_1.losses(rivals)
    above, below = drawing.figure.axes
    assert [line.get_label() for line in above.lines] == list(cards)
    assert [round(max(line.get_xdata())) for line in above.lines] == [100, 75, 100]
    curves = [line for line in below.lines if len(line.get_xdata()) > 1]
    assert [line.get_label() for line in curves] == ["dbm", "btbnet"]
    assert curves[1].get_xdata().tolist() == [25, 50, 75] and curves[1].get_ydata().tolist() == [0.5, 0.25, 0.375]
    dots = [(*line.get_xdata(), *line.get_ydata()) for line in below.lines if len(line.get_xdata()) == 1]
    assert dots == [(50, 0.25)] * 2
    assert drawing.arrays["dbm_held_out"].tolist() == [0.5, 0.25, 0.375, 0.3]


def legend(figure):
    """The names in the legends of a figure."""
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    return {text.get_text() for each in legends for text in each.get_texts()}


def labels(figure):
    """The words below the last row of a sheet, each in one line."""
    return [axis.get_xlabel().replace("-\n", "-").replace("\n", " ") for axis in figure.axes if axis.get_xlabel()]


def test_rows_have_the_names_and_the_order_of_the_paper(rows):
    names = table_1.paper_names(rows | {"mine": rows["jnb"]._replace(name="mine", in_paper="mine")})
    words = list(names.values())
    assert words[: len(METHODS)] == list(METHODS.values()) and "same budget" in words and words[-1] == "mine"
    assert names["cvpr19-compact"] == "CVPR19" and names["defusionnet-compact+budget"] == "same budget"


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        (("dbm", "btbnet", "+budget"), "DBM and BTBNet were trained here with one budget, and so was DeFusionNet once more"),
        (("dbm", "btbnet", "cvpr19"), "DBM, BTBNet and CVPR19 were trained here with one budget."),
        (("btbnet", "+budget"), "BTBNet was trained here with one budget, and so was DeFusionNet once more"),
        (("btbnet",), "BTBNet was trained here with one budget."),
        ((), ""),
    ],
)  # fmt: skip
def test_a_caption_names_the_networks_that_were_trained(rows, trained, words):
    few = {name: row for name, row in rows.items() if not row.rival or any(part in name for part in trained)}
    drawing = table_1.curves(dict.fromkeys(few, table_1.all_blurred(PHOTOS)), few, "lbp", "made-up")
    same_budget = ', as "same budget".' if "+budget" in trained else ""
    end = f" {words}{same_budget}" if words else ""
    few_photos = " It is drawn from 4 photos, too few to compare methods."
    assert drawing.caption.endswith(f"LBP is bold. DeFusionNet is the network in the package.{end}{few_photos}")


@pytest.mark.slow
def test_figures_1_and_11_have_the_paper_s_columns(rows):
    """Each map is in the column of its method, and the caption lists what stands below the columns."""
    chosen = [1, 2]
    maps = {name: [np.full((32, 40), 12 * place, np.uint8)] * 2 for place, name in enumerate(rows)}
    tested = {name: table_1.Tested(None, of_row) for name, of_row in maps.items()}
    first, sheet = (draw(PHOTOS, chosen, tested, rows) for draw in (table_1.figure_1, table_1.map_sheet))
    assert labels(first.figure) == [
        *("(a) Input", "(b) LBP", "(c) HiFST", "(d) BTBNet", "(e) DeFusionNet", "(f) GT"),
    ]
    assert labels(sheet.figure)[:3] == ["(a) Input", "(b) GT", "(c) JNB"]
    assert labels(sheet.figure)[13] == "(n) DeFusionNet" and labels(sheet.figure)[-1].endswith("same budget")
    for drawing, number in ((first, 1), (sheet, 11)):
        assert f"Figure {number} of the paper: {', '.join(labels(drawing.figure))}. " in drawing.caption
    assert "DHDE, DBM, DMENet, BTBNet and CVPR19 were trained here" in sheet.caption
    shown = [axis.images[0].get_array() for axis in first.figure.axes]
    assert len(shown) == 2 * 6 and np.array_equal(shown[6], photo("4").image)
    assert np.array_equal(shown[11], photo("4").mask)
    expected = [maps[name][0].mean() for name in ("lbp", "hifst", "btbnet", "defusionnet-compact+step1")]
    assert [each.mean() for each in shown[1:5]] == pytest.approx(expected)
    wide = [axis.images[0].get_array().mean() for axis in sheet.figure.axes][2 : 2 + len(rows)]
    assert wide == pytest.approx([maps[name][0].mean() for name in table_1.paper_names(rows)])


def test_every_row_is_in_every_figure(rows):
    """Also where there are more rows than markers and styles."""
    rows = rows | {f"extra{i}": rows["jnb"]._replace(name=f"extra{i}") for i in range(5)}
    assert len(rows) > max(len(plots.STYLES), len(plots.MARKERS))
    evaluation = table_1.all_blurred(PHOTOS)
    chosen = table_1.diverse(evaluation, 2)
    trained = dict.fromkeys(rows, rival(rows["dbm"].network, loss=[1.0, 0.5]))
    scores = made_up_scores(rows)
    drawings = [
        table_1.losses(trained),
        table_1.quality_and_cost(rows, dict.fromkeys(rows, evaluation.values()), dict.fromkeys(rows, 1.0), "made-up"),
    ]
    for drawing in drawings:
        assert legend(drawing.figure) >= rows.keys(), drawing.name
    drawing = table_1.curves(dict.fromkeys(rows, evaluation), rows, "dbm", "made-up")
    assert legend(drawing.figure) >= set(table_1.paper_names(rows).values())
    bold = {line.get_label() for axis in drawing.figure.axes for line in axis.lines if line.get_linewidth() == 3}
    assert bold == {"DBM"} and {f"{name}_blur_f" for name in rows} < drawing.arrays.keys()
    masks = table_1.Tested(None, [plots.as_levels(PHOTOS[i].mask) for i in chosen])
    sheet = table_1.map_sheet(PHOTOS, chosen, dict.fromkeys(rows, masks), rows)
    assert sheet.arrays["names"] == ["1", "4"] and np.array_equal(sheet.arrays["jnb_1"], 255 * photo("4").mask)
    assert labels(sheet.figure) == plots.lettered(["Input", "GT", *table_1.paper_names(rows).values()])
    ranked = table_1.order(scores, resampled_means(scores, 100), {"jnb": 0.6}, "made-up")
    ticks = [text.get_text() for text in ranked.figure.axes[0].get_yticklabels()]
    assert ticks == list(rows) and "paper, converted" in legend(ranked.figure)


def test_a_confusion_matrix_shows_shares_of_rows():
    drawing = table_1.confusion_matrix(np.diag(np.arange(1, 12)), "made-up")
    shown = np.asarray(drawing.figure.axes[0].collections[0].get_array()).reshape(11, 11)
    np.testing.assert_array_equal(shown, np.eye(11))
    assert drawing.figure.axes[0].get_title() == "66 patches of made-up"


# -------------------------------------------------------------------------- add a method, as the notebook says

ADDED = """
import json
import torch
from defusion_lib.baselines import BASELINES
from defusion_lib.data.datasets import open_dataset
from defusion_lib.evaluation.tables import table
from defusion_lib.experiments import table_1
from defusion_lib.network import DeFusionNet
from defusion_lib.paper import claims
from defusion_lib.runs.run import Run
from defusion_lib.weights import weights_hash

networks = {name: deep.build(divide=16, encoder="vgg16", heads="compact").eval() for name, deep in table_1.TRAINED.items()}
rivals = {name: table_1.Rival(network, {}, weights_hash(network), {}) for name, network in networks.items()}
rows = table_1.methods(rivals, "quick", DeFusionNet("compact", steps=1).eval(), 64)
photos = open_dataset("synthetic", "test", count=2)
run = Run("07_table_1", *[{"profile": "added", "seed": 0}] * 2)
scored = {name: rows[name].test(photos, run).scores().values() for name in ("little-detail", "little-deep")}
counts = {key: value for key, value in claims.counts().items() if "/compared-" in key}
budgets = table_1.budget_rows(rivals, "cpu", "quick")
said = {"baselines": list(BASELINES), "rows": list(rows), "counts": counts, "budgets": list(budgets)}
print(json.dumps(said | {"scored": scored, "table": list(table(scored).index)}))
"""


def steps():
    """What the notebook says: the file of the method, the import, its line, and the line of a network."""
    cells = nbformat.read(ROOT / "notebooks/07_table_1.ipynb", as_version=4).cells
    (text,) = [cell.source for cell in cells if cell.id == "add-a-method"]
    (function,) = [cell.source for cell in cells if cell.source.startswith("@classical_method")]
    head, line = re.findall(r"```python\n(.*?)\n\s*```", text, re.DOTALL)
    unindented = "\n".join(each.removeprefix("   ") for each in head.splitlines())
    (imported,) = re.findall(r"`(from [\w.]+ import little_detail)`", text)
    (path,) = re.findall(r"`(defusion_lib/baselines/classical/\w+\.py)`", text)
    (network,) = re.findall(r'`("name": Deep\(Class\))`', text)
    assert len(function.splitlines()) + len(unindented.splitlines()) + 2 < 20
    return path, f"{unindented}\n\n\n{function}\n", imported, line.removeprefix("   "), network


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with a method and a network added, exactly as the notebook says."""
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(
        ROOT / "defusion_lib", folder / "defusion_lib", ignore=shutil.ignore_patterns("__pycache__", "shipped")
    )
    (folder / "defusion_lib/shipped").symlink_to(ROOT / "defusion_lib/shipped")
    (folder / "tests").symlink_to(ROOT / "tests")
    path, source, imported, line, network = steps()
    (folder / path).write_text(source, encoding="utf-8")
    registry = folder / "defusion_lib/baselines/__init__.py"
    before = registry.read_text(encoding="utf-8")
    beside = "from defusion_lib.baselines.deep import "
    last = '    "cvpr19": '
    assert before.count(beside) >= 1 and before.count(last) == 1
    network = f"    {network},".replace("name", "little-deep").replace("Class", "DBM")
    after = before.replace(beside, f"{imported}\n{beside}", 1).replace(last, f"{line}\n{network}\n{last}")
    registry.write_text(after, encoding="utf-8")
    return folder


def in_copy(copy, *command):
    environment = os.environ | {"PYTHONPATH": str(copy), "DEFUSION_OUTPUTS": str(copy / "outputs")}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_an_added_method_and_network_are_in_the_tables(copy):
    said = json.loads(in_copy(copy, "-c", ADDED).splitlines()[-1])
    assert said["rows"].index("little-detail") == said["rows"].index("btbnet") + 1
    assert [name for name in said["baselines"] if name not in BASELINES] == ["little-detail", "little-deep"]
    assert {"little-detail", "little-deep"} <= set(said["rows"]) and "little-deep" in said["budgets"]
    assert said["table"] == ["little-detail", "little-deep"] and said["scored"]["little-detail"]["auc"] > 0.6
    counts = {key.removeprefix("library/count/compared-"): value for key, value in said["counts"].items()}
    assert counts == {"methods": 11, "deep": 5, "classic": 6}


@pytest.mark.slow
def test_an_added_method_passes_the_tests_of_classical_methods(copy):
    passed = in_copy(
        copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/baselines/test_baselines.py", "-k", "little-detail"
    )
    assert re.search(r"[1-9]\d* passed", passed) and "failed" not in passed
