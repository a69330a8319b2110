"""Stored results are compared by value: tolerances let nothing through that a defect of the library causes."""

import json

import numpy as np
import pytest
import torch

from defusion_lib import metrics, network
from defusion_lib.data import PhotoSet, augmentation, camera, shi
from defusion_lib.experiments import efficiency, training_run
from defusion_lib.paper import claims, tables
from tools import verify
from tools.run_cells import run_cells
from tools.verify import MEASURED, ROOT, STORED, difference, differences, problems, read, tolerances


def at_or_above(counts, above=metrics.count_above):
    return above(counts) + counts


def other_class(counts, positive, oriented=metrics.for_class):
    return oriented(counts, "focus" if positive == "blur" else "blur")


def without_sigmoid(cam, x):
    return cam.up(torch.relu(cam.down(x.mean(dim=(2, 3)))) + torch.relu(cam.down(x.amax(dim=(2, 3)))))


def inverted(photos, index, read=PhotoSet.__getitem__):
    photo = read(photos, index)
    return photo if isinstance(index, slice) else photo._replace(mask=1 - photo.mask)


def one_step_fewer(*given, steps=3, network=network.DeFusionNet, **switches):
    return network(*given, steps=max(1, steps - 1), **switches)


def other_shares(read=shi.read_manifest):
    manifest = read()
    for photograph in manifest["photographs"].values():
        photograph["blurred_share"] = 1 - photograph["blurred_share"]
    return manifest


def reversed_colours(image, to_tensor=augmentation.to_tensor):
    return to_tensor(image).flip(0)


def less_in_front(lens, distance, width, blur_radius=camera.Camera.blur_radius):
    return blur_radius(lens, distance, width) * (0.9 if distance < lens.focus_distance else 1.1)


ANOTHER = tables.TABLE_1 | {("shi", "auc", "defusionnet"): 0.843}
# Name: what is replaced, and by what.
DEFECTS = {
    "a threshold off by one": [(metrics, "count_above", at_or_above)],
    "the other class": [(metrics, "for_class", other_class)],
    "CAM without its sigmoid": [(network.CAM, "weights", without_sigmoid)],
    "masks inverted": [(PhotoSet, "__getitem__", inverted)],
    "one step fewer": [
        (network, "DeFusionNet", one_step_fewer),
        (claims, "DeFusionNet", one_step_fewer),
        (efficiency, "DeFusionNet", one_step_fewer),
        (training_run, "DeFusionNet", one_step_fewer),
    ],
    "colours reversed": [(augmentation, "to_tensor", reversed_colours)],
    "less blur in front": [(camera.Camera, "blur_radius", less_in_front)],
    "sharp shares for blurred": [(shi, "read_manifest", other_shares)],
    "another AUC in Table 1": [(tables, "TABLE_1", ANOTHER), (claims, "TABLE_1", ANOTHER)],
}
# The defect comes first, then the notebooks in whose results it must show.
CASES = [
    ("a threshold off by one", "04_evaluation"),
    ("the other class", "04_evaluation"),
    ("CAM without its sigmoid", "00_first_map"),
    ("CAM without its sigmoid", "02_network"),
    ("CAM without its sigmoid", "05a_protocols"),
    ("CAM without its sigmoid", "08_ablations"),
    ("CAM without its sigmoid", "09_channel_attention"),
    ("CAM without its sigmoid", "11_where_it_fails"),
    ("CAM without its sigmoid", "13_own_photographs"),
    ("CAM without its sigmoid", "14_explorer"),
    ("masks inverted", "00_first_map"),
    ("masks inverted", "01_data"),
    ("masks inverted", "04_evaluation"),
    ("masks inverted", "05a_protocols"),
    ("masks inverted", "05b_what_auc_means"),
    ("masks inverted", "07_table_1"),
    ("masks inverted", "07b_other_photos"),
    ("masks inverted", "12_own_maps"),
    ("one step fewer", "02_network"),
    ("one step fewer", "03_training"),
    ("one step fewer", "06_claims"),
    ("one step fewer", "10_efficiency"),
    ("colours reversed", "02_network"),
    ("less blur in front", "01_data"),
    ("sharp shares for blurred", "01_data"),
    ("another AUC in Table 1", "05c_table_1_converted"),
    ("another AUC in Table 1", "06_claims"),
]


@pytest.fixture(scope="module")
def stored():
    return read(STORED)


@pytest.fixture(scope="module")
def caught(stored, tmp_path_factory):
    """{(defect, notebook): the items that the defect moves beyond their tolerance}."""
    allowed, found = tolerances(stored), {}
    for defect, notebook in CASES:
        folder = tmp_path_factory.mktemp("defect")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEFUSION_OUTPUTS", str(folder))
            for place, name, replacement in DEFECTS[defect]:
                patch.setattr(place, name, replacement)
            run_cells(ROOT / f"notebooks/{notebook}.ipynb")
        fresh = read(folder / "quick")
        apart = differences({item: stored[item] for item in fresh}, fresh)
        found[defect, notebook] = {item for item in apart if max(apart[item].values(), default=0) > allowed[item]}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("defect, notebook", CASES)
def test_a_defect_shows_in_the_results(caught, defect, notebook):
    assert caught[defect, notebook]


@pytest.mark.slow
def test_every_tolerance_catches_a_defect(stored, caught):
    numeric = {item for item, arrays in stored.items() if any(array.dtype.kind in "fiub" for array in arrays.values())}
    assert not numeric - set().union(*caught.values())


def test_tolerance_of_training_is_far_below_what_another_seed_changes(stored):
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["values"]
    for item in ("03_training", "figures/training_loss"):
        assert tolerances(stored)[item] < measured[f"quick/another-seed/{verify.metric(item)}"] / 5


@pytest.mark.parametrize(
    "ours, theirs, apart",
    [
        (0.25, 0.5, 0.25),
        (100.0, 101.0, 0.01),
        ([1, 2], [1, 2], 0),
        (np.uint8([0, 255]), np.uint8([1, 255]), 1 / 255),
        ([1.0, np.nan], [1.0, np.nan], 0),
        ([1.0, np.nan], [np.nan, 1.0], np.inf),
        ([1.0, 2.0], [1.0], np.inf),
        ([1.0], ["1.0"], np.inf),
        (["a", "b"], ["a", "b"], 0),
        (["a", "b"], ["a", "c"], np.inf),
        ([], [], 0),
    ],
)
def test_difference(ours, theirs, apart):
    assert difference(np.asarray(ours), np.asarray(theirs)) == pytest.approx(apart)


def test_problems_name_what_is_wrong():
    stored = {"a": {"x": np.array(1.0), "gone": np.array(2.0)}, "b": {"y": np.zeros(3)}}
    fresh = {"a": {"x": np.array(1.1), "new": np.array(2.0)}, "b": {"y": np.zeros(2)}, "c": {"z": np.ones(1)}}
    lines = "\n".join(problems(stored, fresh, {"a": 0.01, "b": 0.01}))
    assert "a: gone is not a result of this run; so do 2 more" in lines
    assert "b: y has another shape, kind or text" in lines
    assert "c: z is not stored: store it (make store)" in lines
    (line,) = problems({"a": {"x": np.array(1.0)}}, {"a": {"x": np.array(1.1)}}, {"a": 0.01})
    assert line == "a: x differs by 1.0e-01, allowed are 1.0e-02"


def test_results_are_those_of_themselves(stored):
    assert problems(stored, stored, tolerances(stored)) == []


def test_a_folder_without_results_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "STORED", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no results"):
        verify.store(tmp_path / "empty")
    assert (tmp_path / "kept").is_dir()
