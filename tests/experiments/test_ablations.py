"""Tables 2 and 3: the rows are the paper's, a trained row is kept, and differences have their intervals."""

import json
import re
from math import sqrt
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training import MADE_UP

from defusion_lib import training
from defusion_lib.data import PhotoSet
from defusion_lib.evaluation.bootstrap import holm
from defusion_lib.evaluation.statistics import contrast, detectable_difference, paired_contrast, residual_spread
from defusion_lib.evaluation.tables import MEASURES
from defusion_lib.experiments import ablations, kept
from defusion_lib.experiments.ablations import GATE_ROWS, PAPER_ROWS, STRIDE_ROWS
from defusion_lib.experiments.result_keys import result_keys
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.paper.claims import RESULT_NAMES
from defusion_lib.paper.tables import TABLE_2, TABLE_3
from defusion_lib.plots import as_levels
from defusion_lib.runs.pictures import shrink
from defusion_lib.runs.run import Run
from defusion_lib.sources import bare_code
from defusion_lib.training import make_recipe
from defusion_lib.weights import load_network, read_card, result_name, weights_hash

# {row: {metric: one value per seed}}: a row with two seeds that is clearly worse in MAE, and one with a single seed.
SCORES = {
    "full": {"mae": [0.100, 0.102], "max-f-focus": [0.80, 0.82], "auc-paper-focus": [0.700, 0.701]},
    "noffrm": {"mae": [0.200, 0.202], "max-f-focus": [0.79, 0.84], "auc-paper-focus": [0.710, 0.711]},
    "stride2": {"mae": [0.090], "max-f-focus": [0.81], "auc-paper-focus": [0.70]},
}


def begin(outputs, **changes):
    """Begin a run like that of notebook 08, whose networks take a second to train."""
    given = dict(
        profile="tiny", seed=0, dataset="synthetic", data_root="", split="dutlab100", count=2, rows=("step2", "noffrm"),
        rows_once=("step1",), seeds=(0, 1), heads="compact", backbone="random", stages=((2, 32, 2),), fusion_stride=1,
        recipe="frozen", size=32, shipped_size=32, examples=1,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFUSION_OUTPUTS", str(outputs))
        return Run("08_ablations", given, given | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, its photos, and what is kept of its first network."""
    run = begin(tmp_path_factory.mktemp("outputs"))
    photos = ablations.trainings(run.parameters)["step2@seed0"].open_photos()
    return run, photos, ablations.train_one(run, "step2@seed0", photos)


@pytest.fixture(scope="module")
def network(finished):
    """The network of the finished training."""
    return load_network(finished[0].path("weights/08_ablations/step2@seed0.safetensors"))


@pytest.mark.slow
def test_rows_are_those_of_the_tables():
    """Every network of Tables 2 and 3 is a row, under its name in result files; O1 to O6 are views of one."""
    with torch.device("meta"):
        ours = {result_name(DeFusionNet(**switches)): row for row, switches in PAPER_ROWS.items()}
    paper = {RESULT_NAMES.get(method, method) for *_, method in TABLE_2 | TABLE_3}
    assert set(ours) | {"defusionnet+nogap", "defusionnet+nogmp"} == set(ours)  # drawn in Figure 14
    assert paper - {f"defusionnet+o{i}" for i in range(1, 7)} == set(ours) - {"defusionnet+nogap", "defusionnet+nogmp"}
    assert all(name == f"defusionnet+{row}" for name, row in ours.items() if row != "full")
    with torch.device("meta"):
        added = {row: result_name(DeFusionNet(**switches)) for row, switches in (GATE_ROWS | STRIDE_ROWS).items()}
    assert added.pop("stride1") == "defusionnet"  # where the other rows have another stride
    assert added == {row: f"defusionnet+{row}" for row in added}


def test_rows_are_different_networks():
    ablations.check_rows([*PAPER_ROWS, "constant-gate", "stride1", "stride4"], fusion_stride=2)
    with pytest.raises(ValueError, match="full and stride2 are the same network at fusion_stride=2: leave one"):
        ablations.check_rows(["full", "stride2"], fusion_stride=2)
    with pytest.raises(ValueError, match="noffrm and noffrm are the same"):
        ablations.check_rows(["noffrm", "full", "noffrm"])


def test_a_seed_counts_once(tmp_path):
    with pytest.raises(ValueError, match=r"seeds=\[0, 1, 1\] holds a seed twice"):
        ablations.seeds_of_rows(begin(tmp_path, seeds=(0, 1, 1)).parameters)


@pytest.mark.slow
def test_the_fusion_stride_is_that_of_every_row_but_those_about_it(tmp_path):
    run = begin(tmp_path, rows=("full", "constant-gate", "stride1", "stride4"), fusion_stride=2, seeds=(0,))
    with torch.device("meta"):
        found = {
            name.partition("@")[0]: DeFusionNet(**training.switches).config["fusion_stride"]
            for name, training in ablations.trainings(run.parameters).items()
        }
    assert found == {"full": 2, "constant-gate": 2, "stride1": 1, "stride4": 4, "step1": 2}


def test_a_training_for_each_row_and_seed():
    given = SimpleNamespace(
        rows=("full", "nocam+nofam"), rows_once=("step1",), seeds=(4, 9), dataset="shi", data_root="mine", split="last100",
        count=3, seed=1, heads="radf", fusion_stride=2,
        backbone="imagenet", stages=((2, 32, 1),), recipe="frozen",
    )  # fmt: skip
    assert ablations.seeds_of_rows(given) == {"full": (4, 9), "nocam+nofam": (4, 9), "step1": (4,)}
    found = ablations.trainings(given)
    assert list(found) == ["full@seed4", "full@seed9", "nocam+nofam@seed4", "nocam+nofam@seed9", "step1@seed4"]
    training = found["nocam+nofam@seed9"]
    assert Path(training.file) == Path("weights/08_ablations/nocam+nofam@seed9.safetensors")
    assert training.switches == {"heads": "radf", "fusion_stride": 2, "cam": "off", "fam": False}
    assert training.recipe == make_recipe("frozen", stages=[[2, 32, 1]], seed=9) and training.backbone == "imagenet"
    photos = {"name": "shi", "part": "train", "root": "mine", "split": "last100", "count": 3, "seed": 1}
    assert training.photos == photos


def test_what_is_kept_of_a_network_is_read_where_its_file_is_gone(finished, network, monkeypatch):
    """On another machine the networks are missing, and the small files are enough."""
    run, photos, tested = finished
    path = run.path("weights/08_ablations/step2@seed0.safetensors")
    away = path.rename(path.with_suffix(".away"))
    monkeypatch.setattr(training, "train", None)
    try:
        again = ablations.train_one(run, "step2@seed0", photos)
    finally:
        away.rename(path)
    assert again.method == tested.method == result_name(network) and again.scores == tested.scores
    assert np.array_equal(again.loss, tested.loss)
    assert len(again.maps) == 1 and np.array_equal(again.maps[0], tested.maps[0])
    assert again.stretches == tested.stretches and again.stretches[-1]["to"] == len(again.loss)


def test_what_is_kept_of_a_network_is_what_it_scores(finished, network):
    run, _, tested = finished
    test = ablations.open_test(run.parameters)
    assert tested.scores == ablations.score_network(network, test, 32, ablations.view_names(network))
    expected = as_levels(detect(ablations.pictured(test, 1)[0].image, network, 32))
    assert np.array_equal(tested.maps[0], shrink(expected))
    with np.load(run.path("results/08_ablations/step2@seed0.npz")) as kept:
        stamp = json.loads(str(kept["stamp"]))
    assert stamp["profile"] == "tiny" and stamp["training_stretches"][0]["precision"] == "fp32"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        dict(size=64),
        dict(count=3),
        dict(examples=2),
        dict(stages=((1, 32, 2),)),
        dict(backbone="shipped"),
        dict(rows=("noffrm", "step2")),  # the first row has every view
        dict(seeds=(1, 0)),  # the first seed has maps
    ],
)
def test_what_was_made_in_another_way_is_not_read(finished, changes, tmp_path, monkeypatch):
    run, _, _ = finished
    other = begin(tmp_path, **changes)
    kept = "results/08_ablations/step2@seed0.npz"
    other.path(kept).write_bytes(run.path(kept).read_bytes())
    monkeypatch.setattr(ablations, "train_or_load", lambda *given: pytest.fail("trains", pytrace=False))
    photos = ablations.trainings(other.parameters)["step2@seed0"].open_photos()
    with pytest.raises(pytest.fail.Exception, match="trains"):
        ablations.train_one(other, "step2@seed0", photos)


def test_other_test_photos_of_the_same_names_are_noticed(finished, monkeypatch):
    run, photos, _ = finished
    test = ablations.open_test(run.parameters)
    darker = PhotoSet(test.name, test.stems, lambda stem: test.read(stem)._replace(image=test.read(stem).image // 2))
    monkeypatch.setattr(ablations, "open_test", lambda parameters: darker)
    monkeypatch.setattr(ablations, "train_or_load", lambda *given: pytest.fail("trains", pytrace=False))
    with pytest.raises(pytest.fail.Exception, match="trains"):
        ablations.train_one(run, "step2@seed0", photos)


@pytest.mark.slow
def test_photos_that_the_backbone_learnt_from_are_no_test(finished, monkeypatch):
    run, photos, _ = finished
    test = ablations.open_test(run.parameters)
    monkeypatch.setattr(ablations, "open_test", lambda parameters: PhotoSet("shi-last100", test.stems, test.read))
    monkeypatch.setattr(ablations, "train_or_load", lambda *given: pytest.fail("trains", pytrace=False))
    with pytest.raises(pytest.fail.Exception, match="trains"):
        ablations.train_one(run, "step2@seed0", photos)
    with pytest.raises(ValueError, match="trained on shi-dutlab100, which holds most of the test photos"):
        ablations.train_one(begin(run.folder.parent, backbone="shipped"), "step2@seed0", photos)


def test_the_package_is_said_to_know_most_photos_of_the_other_split(finished):
    test = ablations.open_test(finished[0].parameters)
    words = [
        ablations.describe_package(PhotoSet(name, test.stems, test.read), 96) for name in (test.name, "shi-last100")
    ]
    assert words[0] == "the network in the package, tested at 96 pixels"
    assert words[1].startswith(f"{words[0]}. It was trained on most of these test photos")


def scratched(content):
    """Damage what is compressed, which zlib notices."""
    return content[:200] + bytes(255 - value for value in content[200:260]) + content[260:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [lambda content: content[:500], lambda content: b"", lambda content: b"PK" * 50, scratched]
)
def test_a_damaged_file_is_named(finished, damage, tmp_path):
    run, photos, _ = finished
    other = begin(tmp_path)
    kept = "results/08_ablations/step2@seed0.npz"
    other.path(kept).write_bytes(damage(run.path(kept).read_bytes()))
    with pytest.raises(ValueError, match=r"step2@seed0.npz is damaged \(.*: restore it, or delete it to train"):
        ablations.train_one(other, "step2@seed0", photos)


def test_scores_of_other_metrics_are_not_read(finished, monkeypatch):
    run, photos, _ = finished
    monkeypatch.setattr(kept, "bare_code", lambda source: f"{bare_code(source)} and another line")
    monkeypatch.setattr(ablations, "train_or_load", lambda *given: pytest.fail("trains", pytrace=False))
    with pytest.raises(pytest.fail.Exception, match="trains"):
        ablations.train_one(run, "step2@seed0", photos)


@pytest.mark.slow
def test_only_the_first_row_has_every_view_and_the_first_seed_maps(finished):
    run, photos, tested = finished
    assert set(tested.scores) == {"fused", "o1", "o2", "o3", "o4", "o5", "o6", "after1", "after2"}
    second = ablations.train_one(run, "step2@seed1", photos)
    assert set(second.scores) == set(tested.scores) and second.maps == []
    once = ablations.train_one(run, "step1@seed0", photos)
    assert list(once.scores) == ["fused"] and len(once.maps) == 1


@pytest.mark.slow
def test_a_trained_network_is_loaded_not_trained_again(finished, tmp_path, monkeypatch):
    run, photos, tested = finished
    other, file = begin(tmp_path), "weights/08_ablations/step2@seed0.safetensors"
    other.path(file).write_bytes(run.path(file).read_bytes())
    monkeypatch.setattr(training, "train", None)
    again = ablations.train_one(other, "step2@seed0", photos)
    assert again.scores == tested.scores and np.array_equal(again.loss, tested.loss)
    assert [path.name for path in other.path(file).parent.iterdir()] == ["step2@seed0.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("changes", [dict(recipe="blocks-4-5"), dict(heads="radf"), dict(backbone="shipped")])
def test_a_network_trained_in_another_way_raises(finished, changes, capsys):
    run, photos, _ = finished
    other = begin(run.folder.parent, **changes)
    with pytest.raises(ValueError, match="made in another way.*delete the file"):
        ablations.train_one(other, "step2@seed0", photos)
    assert "step2@seed0.npz was made in another way" in capsys.readouterr().out


@pytest.mark.slow
def test_the_seed_determines_the_network(finished, network, tmp_path):
    _, photos, tested = finished
    run = begin(tmp_path)
    assert ablations.train_one(run, "step2@seed0", photos).scores == tested.scores
    assert ablations.train_one(run, "step2@seed1", photos).scores != tested.scores
    again, other = (load_network(run.path(f"weights/08_ablations/step2@seed{n}.safetensors")) for n in (0, 1))
    assert weights_hash(again) == weights_hash(network) != weights_hash(other)


def test_losses_are_per_map(finished):
    """The loss of an untrained map is about ln 2; a network of two steps has thirteen maps."""
    run, _, tested = finished
    assert len(tested.loss) == 2 and tested.loss[0] == pytest.approx(np.log(2), abs=0.3)
    card = read_card(run.path("weights/08_ablations/step2@seed0.safetensors"))
    assert tested.loss == pytest.approx(np.array(card["loss"]) / 13)


@pytest.mark.slow
def test_views_are_the_network_s_outputs(finished, network):
    path = finished[0].path("weights/08_ablations/step2@seed0.safetensors")
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        maps = network(image)
        found = maps.intermediate()
        for i in range(1, 7):
            assert torch.equal(found[f"o{i}"], load_network(path, output=f"o{i}")(image).final)
    assert torch.equal(found["fused"], maps.final)
    assert tuple(found) == ablations.view_names(network)
    assert list(found) == ["fused", "o1", "o2", "o3", "o4", "o5", "o6", "after1", "after2"]
    plain = sum(side.double() for side in maps.sides[:6]) / 6
    assert (found["after1"].double() - plain).abs().max() < 1e-5 * plain.abs().max()
    plain = sum(found[f"o{i}"].double() for i in range(1, 7)) / 6
    assert (found["after2"].double() - plain).abs().max() < 1e-5 * plain.abs().max()


@pytest.mark.slow
def test_evaluate_scores_the_detected_maps(finished, network):
    side = load_network(finished[0].path("weights/08_ablations/step2@seed0.safetensors"), output="o3")
    found = ablations.evaluate(network, MADE_UP, 32, ("fused", "o3"))
    for name, single in (("fused", network), ("o3", side)):
        expected = Evaluation()
        for photo in MADE_UP:
            expected.add(detect(photo.image, single, 32), photo.mask)
        assert found[name].values() == pytest.approx(expected.values(), abs=1e-6)


@pytest.mark.slow
def test_scores_of_seeds_are_joined_to_one_value_per_network(network):
    torch.manual_seed(1)
    other = DeFusionNet("compact", steps=1).eval()
    expected = [ablations.evaluate(each, MADE_UP, 32)["fused"] for each in (network, other)]
    found = ablations.over_seeds(ablations.score_network(each, MADE_UP, 32) for each in (network, other))
    assert list(found) == ["fused"]
    assert found["fused"]["mae"] == [each.mae() for each in expected]
    assert found["fused"]["mae-border"] == [each.border_mae() for each in expected]
    views = ablations.score_network(network, MADE_UP, 32, ablations.view_names(network))
    assert tuple(views) == ablations.view_names(network)
    assert views["fused"]["mae"] == found["fused"]["mae"][0]
    assert [view for view, row in views.items() if "mae-border" in row] == ["fused"]


def test_contrast_is_welchs_interval():
    """By hand, with t(0.975) of 3.2 degrees of freedom from a table: 3.05 to the precision of the comparison."""
    ours, theirs = [0.10, 0.13, 0.10], [0.20, 0.21, 0.22]
    error = sqrt(0.0003 / 3 + 0.0001 / 3)
    freedom = (0.0001 + 0.0001 / 3) ** 2 / (0.0001**2 / 2 + (0.0001 / 3) ** 2 / 2)
    assert freedom == pytest.approx(3.2, abs=1e-9)
    quantile = 3.182 + (2.776 - 3.182) * 0.2 / 1  # between the tabled values of 3 and 4 degrees
    difference, low, high = contrast(ours, theirs)
    assert difference == pytest.approx(-0.1)
    assert [low, high] == pytest.approx([-0.1 - quantile * error, -0.1 + quantile * error], abs=6e-4)


def test_one_seed_has_no_interval():
    difference, low, high = contrast([0.2], [0.1, 0.1])
    assert difference == pytest.approx(0.1) and np.isnan([low, high]).all()


def test_seed_table_shows_mean_spread_and_interval():
    found = ablations.seed_table(SCORES, "full")
    _, low, high = contrast(SCORES["noffrm"]["mae"], SCORES["full"]["mae"])
    assert found["seeds"].tolist() == [2, 2, 1]
    # The standard deviation divides by n - 1: 0.002 / sqrt(2), not 0.001.
    assert found["MAE ↓"].tolist() == ["0.101 ± 0.001", "0.201 ± 0.001", "0.090"]
    assert found.loc["noffrm", "max F, in focus ↑"] == "0.815 ± 0.035"
    assert found["MAE ↓: difference"].tolist() == ["", f"+0.100 [{low:+.3f}, {high:+.3f}]", "-0.010"]
    assert list(ablations.seed_table(SCORES, "full", ["mae"])) == ["seeds", "MAE ↓", "MAE ↓: difference"]


def test_both_tables_compare_a_row_of_one_seed_on_that_seed():
    (text,) = ablations.seed_table(SCORES, "full").loc[["stride2"], "MAE ↓: difference"]
    assert float(text) == pytest.approx(ablations.contrasts(SCORES, "full", "mae")["stride2"].difference)


def test_the_decision_table_takes_every_metric():
    scores = {row: {"mae-border": of_row["mae"]} for row, of_row in SCORES.items()}
    assert ablations.decision_table(scores, "full", "mae-border").columns.name == "MAE near borders ↓"


# {row: {metric: one value per seed}}: three rows of three seeds, which move all rows alike, and one of one seed.
SHIFT = np.array([0.0, 0.03, -0.02])
DESIGN = {
    "full": {metric: (0.1 + SHIFT).tolist() for metric in ablations.METRICS},
    "noffrm": {metric: (0.2 + SHIFT + [0.001, 0, 0]).tolist() for metric in ablations.METRICS},
    "step1": {metric: (0.1 + SHIFT + [0, 0.001, 0]).tolist() for metric in ablations.METRICS},
    "constant-gate": {metric: [0.15] for metric in ablations.METRICS},
}


def test_contrasts_are_paired_by_seed_and_corrected():
    spread, freedom = residual_spread([DESIGN[row]["mae"] for row in ("full", "noffrm", "step1")])
    found = ablations.contrasts(DESIGN, "full", "mae")
    assert list(found) == ["noffrm", "step1", "constant-gate"] and freedom == 4 and spread < 0.001
    alone = [paired_contrast(DESIGN[row]["mae"], DESIGN["full"]["mae"], spread, freedom) for row in found]
    assert [each[:3] for each in found.values()] == [each[:3] for each in alone]
    assert [each.p for each in found.values()] == pytest.approx(holm([each.p for each in alone]))
    assert [each.decided for each in found.values()] == [True, False, True]
    assert contrast(DESIGN["noffrm"]["mae"], DESIGN["full"]["mae"])[1] < 0.05  # unpaired, it is barely above zero
    detectable = [detectable_difference(spread, seeds, 4, 0.05 / 3) for seeds in (3, 3, 1)]
    assert [each.detectable for each in found.values()] == pytest.approx(detectable)


def test_nothing_is_decided_without_a_spread():
    found = ablations.contrasts({"full": {"mae": [0.1, 0.2]}, "step1": {"mae": [0.9]}}, "full", "mae")["step1"]
    assert not found.decided and found.difference == pytest.approx(0.8) and np.isnan(found.p)


def test_the_decision_table_has_a_verdict_per_contrast():
    found = ablations.decision_table(DESIGN, "full", "max-f-focus")
    assert list(found.index) == ["noffrm - full", "step1 - full", "constant-gate - full"]
    assert found["verdict"].tolist() == ["decided", "undecided", "decided"] and found["seeds"].tolist() == [3, 3, 1]
    assert list(found) == ["seeds", "difference", "low", "high", "p, corrected", "detectable", "verdict"]
    assert found.columns.name == "max F, in focus ↑"


def pilot_file(folder, rows):
    """A result file with some rows of DESIGN, and a view that is no row."""
    values = {
        f"shi/ours+{row}/{metric}@seed{seed}": value
        for row in rows
        for metric, of_row in DESIGN[row].items()
        for seed, value in enumerate(of_row)
    }
    values |= {f"shi/ours+o3/mae@seed{seed}": 9.0 * seed for seed in range(3)} | {"shi/ours/mae": 0.1}
    values |= {f"shi/ours+after2/mae@seed{seed}": 9.0 * seed for seed in range(3)} | {"shi/ours/mae-border@seed0": 0.1}
    path = folder / "08_ablations.json"
    path.write_text(json.dumps({"stamp": {}, "values": values}), encoding="utf-8")
    return path


def test_a_pilot_is_read_by_row_and_seed(tmp_path):
    found = ablations.read_seeds(pilot_file(tmp_path, DESIGN))
    assert found.keys() == ablations.METRICS.keys()
    np.testing.assert_array_equal(found["mae"], [DESIGN[row]["mae"] for row in ("full", "noffrm", "step1")])
    with pytest.raises(ValueError, match="08_ablations.json holds no two rows with two or more seeds"):
        ablations.read_seeds(pilot_file(tmp_path, ["full", "constant-gate"]))


def test_power_is_stated_for_the_design_not_for_the_pilot(tmp_path):
    pilot = pilot_file(tmp_path, DESIGN)
    spread, _ = residual_spread([DESIGN[row]["mae"] for row in ("full", "noffrm", "step1")])
    found = ablations.power_table(pilot, ["full", "noffrm"], ["nofam", "constant-gate"], [0, 1])
    row = found.loc["MAE ↓"]
    assert row["spread in the pilot"] == f"{spread:.4f}" and row["contrasts"] == 3
    least = [detectable_difference(spread, seeds, 1, 0.05 / 3) for seeds in (2, 1)]
    assert [row["detectable, 2 seeds"], row["detectable, 1 seed"]] == [f"{each:.4f}" for each in least]
    # The paper's differences of MAE: 0.050 without FFRM, 0.003 without FAM, and no row with a constant gate.
    assert least[0] < 0.050 and least[1] > 0.003 and row["as large in the paper"] == "1 of 2"


def test_direction_table_has_a_direction_where_a_difference_is_decided():
    found = ablations.direction_table(DESIGN, "full")
    assert list(found.index) == ["noffrm", "step1", "constant-gate"]
    assert found.loc["noffrm"].to_dict() == {
        "MAE ↓: paper": "worse",
        "MAE ↓: here": "worse",
        "max F, in focus ↑: paper": "worse",
        "max F, in focus ↑: here": "better",
        "AUC on the paper's axis, in focus ↑: paper": "worse",
        "AUC on the paper's axis, in focus ↑: here": "better",
    }
    assert found.loc["step1", "MAE ↓: here"] == "undecided"
    assert found.loc["constant-gate", "MAE ↓: paper"] == "not in the tables"


def test_direction_in_the_paper_uses_the_names_of_its_tables():
    """The network of CVPR 2019 is `nocam+nofam`, and a lower MAE is better."""
    swapped = {"full": DESIGN["noffrm"], "nocam+nofam": DESIGN["full"], "step5": DESIGN["full"]}
    found = ablations.direction_table(swapped, "full")
    assert found.loc["nocam+nofam", "MAE ↓: paper"] == "worse"
    assert TABLE_2["shi", "mae", "cvpr19"] > TABLE_2["shi", "mae", "defusionnet"]
    assert found.loc["nocam+nofam", "MAE ↓: here"] == "better"
    change = TABLE_3["shi", "mae", "defusionnet+step5"] - TABLE_2["shi", "mae", "defusionnet"]
    assert found.loc["step5", "MAE ↓: paper"] == ("worse" if change > 0 else "better" if change < 0 else "the same")


def test_the_plot_of_scores_shows_every_seed_and_the_band_of_the_reference():
    drawing = ablations.plot_seed_scores(SCORES, [0, 1], "full")
    assert drawing.name == "ablations" and "'full'" in drawing.caption
    assert drawing.arrays["rows"] == list(SCORES) and drawing.arrays["seeds"] == [0, 1]
    assert drawing.arrays["noffrm_auc-paper-focus"] == [0.710, 0.711]
    assert len(drawing.arrays) == 2 + 3 * 3
    axis = drawing.figure.axes[0]
    dots = [sorted(line.get_xdata()) for line in axis.lines if line.get_marker() == "o"]
    assert dots == [sorted(row["mae"]) for row in SCORES.values()]
    strokes = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "|"]
    assert strokes == pytest.approx([0.101, 0.201, 0.09])
    band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert [band.x0, band.x1] == pytest.approx([0.100, 0.102])
    assert [text.get_text() for text in axis.get_yticklabels()] == list(SCORES) and axis.yaxis_inverted()


def test_parts_are_drawn_as_in_figures_13_and_14():
    photos = [MADE_UP[0], MADE_UP[1]]
    full, nocam = (np.random.default_rng(seed).integers(0, 256, (2, 32, 32), np.uint8) for seed in (0, 1))
    rows = {"full": full, "step2": full, "noffrm": full, "nocam": nocam, "nogap": nocam}
    tested = {row: ablations.Tested(row, {}, np.zeros(0), maps, []) for row, maps in rows.items()}
    (other,) = ablations.plot_parts(tested, photos, 32, "full")
    assert ablations.describe_missing(tested) == "Figure 13 needs CVPR19, which this run did not train."
    tested["nocam+nofam"] = tested["nocam"]
    drawing, other = ablations.plot_parts(tested, photos, 32, "full")
    assert "above" in ablations.describe_missing(tested)
    assert [drawing.name, other.name] == ["figure_13", "figure_14"]
    assert drawing.arrays["columns"] == ["nocam+nofam", "full", "nocam", "noffrm"]
    assert other.arrays["columns"] == ["nogap", "full"]
    assert np.array_equal(drawing.arrays["map_2_1"], nocam[1])
    assert np.array_equal(drawing.arrays["map_1_0"], full[0])
    assert labels(drawing) == ["(a) Input", "(b) GT", "(c) CVPR19", "(d) DeFusionNet", "(e) wFAMwoCAM", "(f) woFFRM"]
    assert drawing.caption.endswith("the paper does not show wFAMwoCAM and woFFRM.")
    assert other.caption.endswith("this run did not train noGMP.")
    assert labels(other) == ["(a) Input", "(b) GT", "(c) noGAP", "(d) noGMP", "(e) DeFusionNet"]
    for each, missing in ((drawing, []), (other, [3, 8])):
        words = {
            place: axis.texts[0].get_text().replace("\n", " ")
            for place, axis in enumerate(each.figure.axes)
            if axis.texts
        }
        assert words == dict.fromkeys(missing, "not trained in this run")


def test_the_trainings_of_each_seed_are_summed_up():
    """Stretches on two machines are both named, and their time is added."""
    here = {"precision": "fp32", "device": "a processor", "threads": 1, "seconds": 60.0}
    there = here | {"precision": "bf16", "device": "another one", "seconds": 30.0}
    stretches = {"full": [[here], [there]], "step1": [[here, here]]}
    tested = {
        row: [ablations.Tested(row, {}, np.zeros(0), [], each) for each in networks]
        for row, networks in stretches.items()
    }
    found = ablations.training_table(tested, {"full": (0, 4), "step1": (4,)})
    assert found.to_dict("index") == {
        "seed 0": {"networks": 1, "precision": "fp32", "trained on": "a processor, threads: 1", "minutes each": "1.0"},
        "seed 4": {
            "networks": 2,
            "precision": "bf16, fp32",
            "trained on": "a processor, threads: 1; another one, threads: 1",
            "minutes each": "1.2",
        },
    }


def labels(drawing):
    """The words below the columns of a figure of the paper; its caption lists them."""
    found = [axis.get_xlabel().replace("\n", " ") for axis in drawing.figure.axes if axis.get_xlabel()]
    assert f"{drawing.name.replace('figure_', 'Figure ')} of the paper: {', '.join(found)}. " in drawing.caption
    return found


def test_the_map_after_each_step_is_drawn(network):
    drawing = ablations.plot_steps(network, [MADE_UP[0]], 32)
    assert drawing.name == "figure_15"
    assert drawing.arrays["columns"] == ["after step 1", "after step 2", "fused"]
    assert labels(drawing) == ["(a) Input", "(b) GT", "(c) step 1", "(d) step 2", "(e) fused"]
    expected = ablations.predict_views(MADE_UP[0].image, network, 32, ["after1", "fused"])
    assert np.array_equal(drawing.arrays["map_0_0"], as_levels(expected["after1"]))
    assert np.array_equal(drawing.arrays["map_2_0"], as_levels(expected["fused"]))


def test_seeds_are_summarised_under_their_keys():
    found = ablations.summarise_seeds({"mae": [0.1, 0.3], "mae-border": [0.5, 0.7]}, [4, 9])
    assert found == pytest.approx(
        {
            "mae@seed4": 0.1,
            "mae@seed9": 0.3,
            "mae": 0.2,
            "mae-std": sqrt(0.02),
            "mae-border@seed4": 0.5,
            "mae-border@seed9": 0.7,
            "mae-border": 0.6,
        }
    )
    assert "mae-std" not in ablations.summarise_seeds({"mae": [0.1]}, [4, 9])


def test_results_have_a_key_per_method_and_metric():
    loss = np.arange(20.0)
    tested = ablations.Tested("ours+step2", {"fused": {"mae": 0.1}, "o3": {"mae": 0.2}}, loss, [], [])
    assert result_keys("shi", ablations.method_values({"step2": [tested]}, [0])) == {
        "shi/ours+step2/mae@seed0": 0.1,
        "shi/ours+step2/mae": 0.1,
        "shi/ours+step2/loss-last": 14.5,
        "shi/ours+step2+o3/mae@seed0": 0.2,
        "shi/ours+step2+o3/mae": 0.2,
    }


def two_views():
    """Evaluate two views of eight photos: "o3" is off by 0.2 more than "fused" everywhere, but in one photo."""
    evaluations = {"fused": Evaluation(), "o3": Evaluation()}
    for n in range(8):
        mask = np.zeros((4, 6), np.float32)
        mask[:, : 1 + n % 5] = 1
        error = np.float32(0.05 * n)
        for view, more in (("fused", 0.0), ("o3", 0.2 if n else 0.0)):
            evaluations[view].add(np.abs(mask - error - np.float32(more)), mask)
    return evaluations


def test_the_views_of_one_network_have_their_standard_errors():
    values = result_keys("shi", ablations.shipped_values(two_views(), "ours"))
    errors = 0.05 * np.arange(8)
    assert values["shi/ours/shipped-mae"] == pytest.approx(errors.mean(), abs=0.002)
    assert values["shi/ours/shipped-mae-se"] == pytest.approx(errors.std() / sqrt(8), rel=0.1)
    assert values["shi/ours+o3/shipped-mae"] == pytest.approx(errors.mean() + 0.2 * 7 / 8, abs=0.002)


def test_the_views_of_one_network_are_compared_photo_by_photo():
    """The difference is 0 or 0.2 in a photo: its interval is far narrower than that of the errors themselves."""
    shown = ablations.photo_table(two_views())
    title = MEASURES["mae"]
    assert shown.loc["fused", f"{title}: difference"] == "" and shown.loc["o3", title] == "0.350"
    difference, low, high = map(float, re.findall("[+-][0-9.]+", shown.loc["o3", f"{title}: difference"]))
    assert difference == pytest.approx(0.175, abs=0.002) and 0.1 <= low <= 0.15 and 0.195 <= high <= 0.205
