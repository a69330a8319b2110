"""Tables 2 and 3: the rows are the paper's, a finished row is kept, and differences come with honest intervals."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from test_training import MADE_UP, SHORT

from defusion_lib import training
from defusion_lib.evaluation.statistics import contrast
from defusion_lib.experiments.ablations import ROWS, STRIDES, losses, score, train_row
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.paper.claims import RESULT_NAMES
from defusion_lib.paper.tables import TABLE_2, TABLE_3
from defusion_lib.weights import load_network, result_name, weights_hash

RECIPE = replace(SHORT, stages=((2, 32, 2),), frozen_blocks=5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A row that was trained, and the folder that holds it."""
    folder = tmp_path_factory.mktemp("rows")
    return train_row("step2", RECIPE, MADE_UP, folder), folder


def test_rows_are_those_of_the_tables():
    """Every network of Tables 2 and 3 is a row, under its name in result files; O1 to O6 are views of one."""
    with torch.device("meta"):
        ours = {result_name(DeFusionNet(**switches)): row for row, switches in ROWS.items()}
    paper = {RESULT_NAMES.get(method, method) for *_, method in TABLE_2 | TABLE_3}
    assert set(ours) | {"defusionnet+nogap", "defusionnet+nogmp"} == set(ours)  # drawn in Figure 14
    assert paper - {f"defusionnet+o{i}" for i in range(1, 7)} == set(ours) - {"defusionnet+nogap", "defusionnet+nogmp"}
    assert all(name == f"defusionnet+{row}" for name, row in ours.items() if row != "full")
    with torch.device("meta"):
        assert {result_name(DeFusionNet(**switches)): row for row, switches in STRIDES.items()} == {
            f"defusionnet+{row}": row for row in STRIDES
        }


def test_a_finished_row_is_read_not_trained(finished, monkeypatch):
    network, folder = finished
    monkeypatch.setattr(training, "train", None)
    assert weights_hash(train_row("step2", RECIPE, MADE_UP, folder)) == weights_hash(network)
    assert [path.name for path in folder.iterdir()] == ["step2@seed0.safetensors"]


@pytest.mark.parametrize(
    "other", [dict(recipe=replace(RECIPE, learning_rate=0.1)), dict(heads="radf"), dict(backbone="shipped")]
)
def test_a_row_made_in_another_way_is_named(finished, other):
    from defusion_lib.weights import SHIPPED

    _, folder = finished
    given = dict(row="step2", recipe=RECIPE, photos=MADE_UP, folder=folder)
    other = {name: SHIPPED if value == "shipped" else value for name, value in other.items()}
    with pytest.raises(ValueError, match="made in another way.*delete the file"):
        train_row(**given | other)


def test_a_seed_says_all(finished, tmp_path):
    network, _ = finished
    assert weights_hash(train_row("step2", RECIPE, MADE_UP, tmp_path)) == weights_hash(network)
    assert weights_hash(train_row("step2", replace(RECIPE, seed=1), MADE_UP, tmp_path)) != weights_hash(network)


def test_losses_are_a_map(finished):
    """Untrained maps cost about ln 2 each, thirteen of them in a network of two steps."""
    _, folder = finished
    found = losses("step2", 0, folder)
    assert len(found) == 2 and found[0] == pytest.approx(np.log(2), abs=0.3)


def test_views_are_what_the_network_says(finished):
    network, folder = finished
    path = folder / "step2@seed0.safetensors"
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        maps = network(photo)
        found = maps.intermediate()
        for i in range(1, 7):
            assert torch.equal(found[f"o{i}"], load_network(path, output=f"o{i}")(photo).final)
    assert torch.equal(found["fused"], maps.final)
    assert set(found) == {"fused", "o1", "o2", "o3", "o4", "o5", "o6", "after1", "after2"}
    plain = sum(side.double() for side in maps.sides[:6]) / 6
    assert (found["after1"].double() - plain).abs().max() < 1e-5 * plain.abs().max()
    plain = sum(found[f"o{i}"].double() for i in range(1, 7)) / 6
    assert (found["after2"].double() - plain).abs().max() < 1e-5 * plain.abs().max()


def test_score_is_that_of_the_detected_maps(finished):
    network, folder = finished
    side = load_network(folder / "step2@seed0.safetensors", output="o3")
    found = score(network, MADE_UP, 32, ("fused", "o3"))
    for name, single in (("fused", network), ("o3", side)):
        expected = Evaluation()
        for photo in MADE_UP:
            expected.add(detect(photo.image, single, 32), photo.mask)
        assert found[name].values() == pytest.approx(expected.values(), abs=1e-6)


def test_contrast_is_welchs_interval():
    """By hand, with t(0.975) of 2.4074 degrees of freedom from a table: 3.7 to the precision asked for."""
    ours, theirs = [0.10, 0.13, 0.10], [0.20, 0.21, 0.22]
    error = sqrt(0.0003 / 3 + 0.0001 / 3)
    freedom = (0.0001 + 0.0001 / 3) ** 2 / (0.0001**2 / 2 + (0.0001 / 3) ** 2 / 2)
    assert freedom == pytest.approx(3.2, abs=1e-9)
    quantile = 3.182 + (2.776 - 3.182) * 0.2 / 1  # between the tabled values of 3 and 4 degrees
    apart, low, high = contrast(ours, theirs)
    assert apart == pytest.approx(-0.1)
    assert [low, high] == pytest.approx([-0.1 - quantile * error, -0.1 + quantile * error], abs=6e-4)


def test_one_seed_knows_no_spread():
    apart, low, high = contrast([0.2], [0.1, 0.1])
    assert apart == pytest.approx(0.1) and np.isnan([low, high]).all()
