"""Methods on other photos: scores with intervals, beside published maps and beside results elsewhere."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from defusion_lib.baselines import CLASSICAL
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.shi import split_stems
from defusion_lib.evaluation.bootstrap import holm, interval
from defusion_lib.evaluation.map_scores import Mask
from defusion_lib.evaluation.published_maps import open_published
from defusion_lib.experiments import other_photos, table_1
from defusion_lib.experiments.kept import write
from defusion_lib.metrics import Evaluation, quantise
from defusion_lib.runs.run import Run
from defusion_lib.weights import load_network, save_network, weights_hash

DRAWS = 400


def read(stem):
    """A photo whose left part is blurred, and red where it is, with noise."""
    rng = np.random.default_rng(int(stem))
    mask = np.zeros((24, 30), np.float32)
    mask[:, : 4 + int(stem)] = 1
    image = rng.integers(0, 156, (24, 30, 3), np.uint8)
    image[..., 0] += (mask * rng.integers(40, 100)).astype(np.uint8)
    return Photo(stem, image, mask)


PHOTOS = PhotoSet("made-up", [str(n) for n in range(12)], read)
METHODS = {
    "red": table_1.Method("red", lambda image: image[..., 0] / np.float32(255), "red"),
    "green": table_1.Method("green", lambda image: image[..., 1] / np.float32(255), "green"),
}


@pytest.fixture
def maps(tmp_path):
    """Published maps: of half of the photos by the method red, half as bright; of all photos by another one."""
    for name, stems, channel in (("red", PHOTOS.stems[:6], 0), ("other", PHOTOS.stems, 2)):
        (tmp_path / name).mkdir()
        for stem in stems:
            Image.fromarray(PHOTOS.read(stem).image[..., channel] // 2).save(tmp_path / name / f"{stem}.png")
    return open_published(tmp_path)


@pytest.fixture
def run(outputs):
    given = {"profile": "tiny", "seed": 0}
    return Run("07b_other_photos", given, given)


@pytest.fixture
def tested(run):
    return table_1.test_all(METHODS, PHOTOS, run, 3)[0]


@pytest.fixture
def measured(maps, tested):
    return other_photos.measure(tested, maps, PHOTOS)


def evaluation(method, stems=PHOTOS.stems):
    found = Evaluation()
    for photo in map(PHOTOS.read, stems):
        found.add(quantise(METHODS[method].detect(photo.image)) / 255, photo.mask)
    return found


def test_scores_are_those_of_notebook_07(measured):
    assert list(measured) == ["red", "green", "other+published", "red+published", "all-blurred"]
    found = other_photos.results(PHOTOS, measured, DRAWS, 0)
    for metric, value in evaluation("red").values().items():
        assert found[f"made-up/red/{metric}"] == pytest.approx(value, abs=1e-9), metric
    for metric, value in evaluation("red", PHOTOS.stems[:6]).values().items():
        assert found[f"made-up-maps6/red/{metric}"] == pytest.approx(value, abs=1e-9), metric
    assert {key.rpartition("/")[0] for key in found} == {
        "made-up/red",
        "made-up/green",
        "made-up/other+published",
        "made-up/all-blurred",
        "made-up-maps6/red",
        "made-up-maps6/red+published",
    }
    assert found["made-up/all-blurred/auc"] == 0.5


def test_every_score_has_its_interval(measured):
    rows = other_photos.score_rows(measured, DRAWS, 0)
    assert list(rows)[0] in ("red", "red+published") and rows["red+published"]["photos"] == 6
    aucs = table_1.auc_of_photos(evaluation("red"))
    drawn = np.random.default_rng(0).integers(0, 12, (DRAWS, 12))
    low, high = interval(aucs[drawn].mean(1))
    assert rows["red"]["AUC ↑"] == f"{aucs.mean():.3f} [{low:.3f}, {high:.3f}]"


def test_few_published_maps_decide_nothing(maps, tested):
    one = {name: each._replace(counts=each.counts[:1]) for name, each in tested.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = other_photos.measure(one, {"red": maps["red"]}, PHOTOS[:1])
        rows = other_photos.published_rows(measured, "green", DRAWS, 0)
    assert {row["verdict"] for row in rows.values()} == {"too few photos"}


def test_published_maps_are_compared_on_their_photos(measured, monkeypatch):
    monkeypatch.setattr(other_photos, "FEW", 6)
    rows = other_photos.published_rows(measured, "green", DRAWS, 0)
    assert list(rows) == [
        f"{row}, {metric}"
        for row in ("green - other+published", "red - red+published", "green - red+published")
        for metric in ("AUC ↑", "MAE ↓")
    ]
    same = rows["red - red+published, AUC ↑"]
    assert same["photos"] == 6 and same["first"] == pytest.approx(evaluation("red", PHOTOS.stems[:6]).auc())
    assert abs(float(same["difference"])) < 0.01  # half as bright, in the same order
    assert -0.01 < float(same["low"]) <= float(same["high"]) < 0.01  # the same photos in each resample
    worse = rows["green - red+published, AUC ↑"]
    assert float(worse["high"]) < 0 and worse["verdict"] == "larger than chance" and worse["p, corrected"] < 0.05
    assert "not shown" == rows["green - other+published, AUC ↑"]["verdict"]
    assert other_photos.published_rows({"red": measured["red"]}, "green", DRAWS, 0) == {}
    assert list(other_photos.published_rows(measured, "", DRAWS, 0)) == [
        "red - red+published, AUC ↑",
        "red - red+published, MAE ↓",
    ]


def test_a_folder_without_a_map_of_these_photos_is_named(maps):
    with pytest.raises(ValueError, match="red.published has no map of a photo of others"):
        other_photos.measure({}, {"red": maps["red"]}, PhotoSet("others", ["9"], read))


def stored(folder, **auc):
    values = {f"shi-dutlab100/{row}/auc": value for row, (value, _) in auc.items()}
    values |= {f"shi-dutlab100/{row}/auc-std": error for row, (_, error) in auc.items()}
    path = folder / "07_table_1.json"
    path.write_text(json.dumps({"values": values | {"shi-maps48/red/auc": 0.5}}), encoding="utf-8")
    return path


def test_results_elsewhere_are_read(tmp_path):
    found = other_photos.read_elsewhere(stored(tmp_path, red=(0.9, 0.01), green=(0.8, 0.02)))
    assert found == ("shi-dutlab100", {"red": (0.9, 0.01), "green": (0.8, 0.02)})
    with pytest.raises(ValueError, match="07_table_1.json has an AUC with a standard error on 0 sets of photos"):
        other_photos.read_elsewhere(stored(tmp_path))


def test_two_sets_of_photos_are_independent_samples(measured, monkeypatch):
    monkeypatch.setattr(other_photos, "FEW", 12)
    red = evaluation("red").auc()
    elsewhere = other_photos.Elsewhere("shi", {"red": (red + 0.2, 0.03), "green": (0.5, 0.01), "absent": (0.9, 0.1)})
    rows = other_photos.carried_rows(measured, elsewhere, "made-up", DRAWS, 0)
    assert list(rows) == sorted(["red", "green"], key=lambda row: -elsewhere.auc[row][0])
    own = other_photos.results(PHOTOS, measured, DRAWS, 0)["made-up/red/auc-std"]
    both = np.sqrt(0.03**2 + own**2)
    assert rows["red"]["difference"] == pytest.approx(-0.2)
    assert rows["red"]["low"] == pytest.approx(-0.2 - 1.96 * both, abs=1e-4)
    p = {row: 2 * stats.norm.cdf(-abs(each["difference"]) / each_error(each)) for row, each in rows.items()}
    assert [row["p, corrected"] for row in rows.values()] == pytest.approx(holm(list(p.values())))
    assert rows["red"]["verdict"] == "changes" and rows["green"]["verdict"] == "no change shown"


def test_few_photos_show_no_change(measured):
    elsewhere = other_photos.Elsewhere("shi", {"red": (0.1, 0.001)})
    (row,) = other_photos.carried_rows(measured, elsewhere, "made-up", DRAWS, 0).values()
    assert row["p, corrected"] < 1e-9 and row["verdict"] == "too few photos"


def test_a_constant_map_is_not_compared_with_other_photos(measured):
    constant = {"all-blurred": {stem: Mask(PHOTOS.read(stem).mask).measure(np.ones((24, 30))) for stem in PHOTOS.stems}}
    elsewhere = other_photos.Elsewhere("shi", {"red": (0.9, 0.03), "all-blurred": (0.5, 0.0)})
    assert list(other_photos.carried_rows(measured | constant, elsewhere, "made-up", DRAWS, 0)) == ["red"]


def each_error(row):
    return (row["high"] - row["low"]) / 2 / stats.norm.ppf(0.975)


def test_the_order_is_compared_with_that_elsewhere(measured):
    elsewhere = other_photos.Elsewhere("shi", {"red": (0.6, 0.01), "green": (0.7, 0.01)})
    said = other_photos.describe_order(measured, elsewhere, DRAWS, 0)
    assert said.startswith("the order of 2 methods here and on shi: tau -1.00") and said.endswith(
        "resamples -1.00 to -1.00"
    )
    uncertain = elsewhere._replace(auc={"red": (0.6, 1.0), "green": (0.7, 0.01)})  # there, only
    assert other_photos.describe_order(measured, uncertain, DRAWS, 0).endswith("resamples -1.00 to 1.00")
    alone = elsewhere._replace(auc={"red": (0.6, 0.01)})
    assert "there is no order" in other_photos.describe_order(measured, alone, DRAWS, 0)


def test_both_sets_of_photos_are_drawn(measured):
    elsewhere = other_photos.Elsewhere("shi", {"red": (0.9, 0.01), "green": (0.5, 0.02), "absent": (0.7, 0.1)})
    drawing = other_photos.carried(measured, elsewhere, "made-up", DRAWS, 0)
    assert drawing.arrays["methods"] == ["green", "red"] and drawing.arrays["shi"][1][0] == 0.9
    assert drawing.arrays["shi"][1][1] == pytest.approx(0.9 - 1.96 * 0.01, abs=1e-5)
    assert drawing.arrays["made-up"][0][0] == pytest.approx(evaluation("green").auc())
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == ["green", "red"]


def test_a_sheet_has_the_maps_of_all_methods(run):
    drawing = table_1.map_sheet(PHOTOS, *reversed(table_1.test_all(METHODS, PHOTOS, run, 3)), METHODS)
    assert drawing.caption.endswith(").")  # no method was trained here
    assert drawing.arrays["names"][0] == "0" and drawing.arrays["names"][-1] == "11"
    last = METHODS["green"].detect(PHOTOS.read("11").image)
    assert np.array_equal(drawing.arrays["green_2"], quantise(last))


@pytest.mark.slow
def test_networks_come_from_the_run_of_another_profile(outputs):
    photos = PhotoSet("szu", ["0"], read)
    assert other_photos.read_rivals("", photos) == {}
    with pytest.raises(FileNotFoundError, match="holds no network of notebook 07: run it in that profile first"):
        other_photos.read_rivals("cpu", photos)
    torch.manual_seed(0)
    network = table_1.TRAINED["cvpr19"].build(heads="compact", steps=1)
    weights, file = (outputs / "cpu" / folder / "07_table_1" for folder in ("weights", "results"))
    weights.mkdir(parents=True)
    save_network(network, weights / "cvpr19.safetensors", {})
    sha256 = weights_hash(load_network(weights / "cvpr19.safetensors"))
    card = {"data": {"name": "shi-dutlab100", "stems": ["0"]}, "switches": network.config}
    write(file / "cvpr19.npz", {"card": card, "sha256": sha256}, {})
    (name, found), *others = other_photos.read_rivals("cpu", photos).items()
    assert name == "cvpr19" and not others and found.network.config == network.config and found.is_loaded
    with pytest.raises(ValueError, match="trained on 0 of shi-dutlab100"):
        other_photos.read_rivals("cpu", PhotoSet("shi-dutlab100", ["0"], read))
    with pytest.raises(FileNotFoundError, match="holds no network"):
        other_photos.read_rivals("cpu", photos, without=["cvpr19"])
    (weights / "cvpr19.safetensors").unlink()
    found = other_photos.read_rivals("cpu", photos)["cvpr19"]
    assert not found.is_loaded and found.network.config == network.config and found.sha256 == sha256


@pytest.mark.slow
def test_maps_of_a_network_are_kept_for_where_its_weights_are_gone(run):
    torch.manual_seed(0)
    network = table_1.TRAINED["cvpr19"].build(heads="compact", steps=1).eval()
    rival = table_1.Rival(network, {}, weights_hash(network), {})
    first, shown = table_1.test_all(table_1.methods({"cvpr19": rival}, "quick", None, 32), PHOTOS, run, 3)
    assert run.path("results/07b_other_photos/cvpr19-compact@made-up.npz").is_file()
    gone = rival._replace(is_loaded=False)
    method = table_1.rival_method("cvpr19", gone, "quick")
    again = method.test(PHOTOS, run, shown)
    assert np.array_equal(again.counts, first[method.name].counts)
    measured = other_photos.measure({method.name: again}, {}, PHOTOS)
    values = other_photos.results(PHOTOS, measured, DRAWS, 0)
    for metric, value in first[method.name].scores().values().items():
        assert values[f"made-up/{method.name}/{metric}"] == pytest.approx(value, abs=1e-9)


@pytest.mark.slow
def test_methods_without_networks_are_the_classical_ones_fitted_to_the_split():
    rows = table_1.methods({}, "quick", None, 32, "last100")
    assert list(rows) == list(CLASSICAL)
    default = table_1.methods({}, "quick", None, 32)
    changed = {name for name in rows if rows[name].state != default[name].state}
    assert changed == {"jnb", "dbdf", "ksfv"}


def test_the_other_split_was_seen_by_the_network_in_the_package():
    assert table_1.seen_in_training(PhotoSet("shi-last100", split_stems("last100", "test"), read)) == 80
