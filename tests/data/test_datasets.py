"""Data sets by their names."""

import ast
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defusion_lib import data
from defusion_lib.data import Photo, PhotoSet, shi
from defusion_lib.data.datasets import DATASETS, Dataset, check_unseen, names_with, open_dataset, trained_on
from defusion_lib.runs.parameters import check_parameters, read_parameters

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.slow
def test_synthetic_parts_share_no_scene():
    train, test = open_dataset("synthetic", "train", count=4), open_dataset("synthetic", "test", count=4)
    assert train.stems == test.stems and train.name == "synthetic"
    for one, other in zip(train, test):
        assert not np.array_equal(one.image, other.image)


def test_seeds_never_meet():
    images = [
        open_dataset("synthetic", part, count=1, seed=seed)[0].image for seed in (0, 1) for part in ("train", "test")
    ]
    for i, one in enumerate(images):
        assert not any(np.array_equal(one, other) for other in images[i + 1 :])


def test_rendered_photographs_are_kept():
    photos = open_dataset("synthetic", "train", count=1)
    assert photos[0] is photos[0]


def own_folder(folder, *names):
    (folder / "masks").mkdir(parents=True)
    for level, name in enumerate(names):
        Image.fromarray(np.full((8, 9, 3), level, np.uint8)).save(folder / f"{name}.png")
        Image.fromarray(np.full((8, 9), 255, np.uint8)).save(folder / "masks" / f"{name}.png")
    return folder


def test_parts_of_a_folder_share_no_photograph(tmp_path):
    own_folder(tmp_path / "mine", "a", "b", "c", "d")
    train, test, everything = (open_dataset("folder", part, tmp_path / "mine") for part in ("train", "test", "all"))
    assert train.stems and test.stems and not set(train.stems) & set(test.stems)
    assert sorted(train.stems + test.stems) == everything.stems
    # Neither another seed nor another number moves a photograph into the other part.
    assert open_dataset("folder", "test", tmp_path / "mine", count=2, seed=7).stems == test.stems


def test_masks_of_a_folder_are_white_as_said(tmp_path):
    folder = own_folder(tmp_path / "mine", "a", "b")
    whites = ("", "blurred", "focus")
    shares = {white: open_dataset("folder", "all", folder, white=white)[0].mask.mean() for white in whites}
    assert shares == {"": 1, "blurred": 1, "focus": 0}


def test_all_of_a_folder_is_no_test_of_what_learnt_from_it(tmp_path):
    folder = own_folder(tmp_path / "mine", "a", "b")
    train, test, everything = (open_dataset("folder", part, folder) for part in ("train", "test", "all"))
    card = {"data": [train.provenance()]}
    check_unseen(test, card)
    for other in ({}, {"data": [{"name": "shi-dutlab100"}]}):
        check_unseen(everything, other)
    with pytest.raises(ValueError, match="trained on photos of folder-mine, so all of them are no test"):
        check_unseen(everything, card)


def test_photos_that_a_card_names_are_no_test(tmp_path):
    folder = own_folder(tmp_path / "mine", *"abcdefgh")
    train, test = (open_dataset("folder", part, folder, held_out=2) for part in ("train", "test"))
    card = {"data": train.provenance() | {"stems": train.stems}}
    check_unseen(test, card)
    check_unseen(PhotoSet("folder-other", train.stems, train.read), card)
    with pytest.raises(ValueError, match="trained on [a-h], [a-h] of folder-mine, so these 4 photos are no test"):
        check_unseen(open_dataset("folder", "test", folder, held_out=4), card)


def test_the_other_split_of_shis_photos_is_no_test():
    other, one = (PhotoSet(f"shi-{split}", shi.split_stems(split, "test"), None) for split in shi.SPLITS)
    fit = PhotoSet(one.name, shi.split_stems("dutlab100", "fit"), None).provenance()
    beside = PhotoSet("szu-bd", one.stems, None)
    for card in ({"data": [fit]}, {"data": fit}):
        for photos in (one, beside):
            check_unseen(photos, card)
        with pytest.raises(
            ValueError, match="trained on shi-dutlab100, which holds most of the test photos of shi-last"
        ):
            check_unseen(other, card)
    check_unseen(other, {"data": other.provenance()})


def test_what_the_network_before_was_trained_on_is_no_test(tmp_path):
    folder = own_folder(tmp_path / "mine", *"abcd")
    everything = open_dataset("folder", "all", folder)
    first = {"data": [{"name": "shi-dutlab100"}, {"name": "folder-mine"}]}
    later = {"data": {"name": "synthetic"}, "begun_with": {"card": {"data": [], "begun_with": {"card": first}}}}
    assert [each["name"] for each in trained_on(later)] == ["synthetic", "shi-dutlab100", "folder-mine"]
    for photos in (PhotoSet("shi-last100", shi.split_stems("last100", "test"), None), everything):
        with pytest.raises(ValueError, match="^The network was trained on"):
            check_unseen(photos, later)
        check_unseen(photos, {"data": {"name": "synthetic"}, "begun_with": "the shipped network"})
        with pytest.raises(ValueError, match="^The network was trained on"):
            check_unseen(photos, {"data": {"name": "synthetic"}, "data_before": trained_on(first)})


@pytest.mark.parametrize(
    ("dataset", "part", "given", "sentence"),
    [
        ("synthetic", "val", {}, "dataset='synthetic' has no part 'val': choose one of train, test"),
        ("folder", "", {}, "dataset='folder' has no part '': choose one of train, test, all"),
        ("shi", "all", {}, "dataset='shi' has no part 'all': choose one of train, fit, validation, test"),
        ("synthetic", "all", {}, "dataset='synthetic' has no part 'all'"),
        ("ctcug", "train", {}, "dataset='ctcug' has no part 'train': choose one of test"),
        ("dut", "test", {"white": "focus"}, "dataset='dut' has masks of one known polarity: leave .*masks_white"),
        ("shi", "test", {"white": "blurred"}, "dataset='shi' has masks of one known polarity"),
        ("synthetic", "test", {"white": "focus"}, "dataset='synthetic' has masks of one known polarity"),
        ("folder", "test", {"white": "sharp"}, "white='sharp' is not a mask polarity"),
        ("folder", "test", {"split": "last100"}, "dataset='folder' has no split 'last100'"),
        ("dut", "test", {"split": "last100"}, "dataset='dut' has no split"),
        ("shi", "test", {"held_out": 0.1}, "dataset='shi' comes divided into parts: leave out held_out=0.1"),
        ("synthetic", "test", {"root": "data/mine"}, "dataset='synthetic' is rendered and has no folder"),
    ],
)
def test_what_a_data_set_has_no_use_for_is_refused(dataset, part, given, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        open_dataset(dataset, part, **given)
    assert "\n" not in str(caught.value)


def test_parts_of_shi_by_split(shi_root):
    assert open_dataset("shi", "test", shi_root).name == "shi-dutlab100"
    assert len(open_dataset("shi", "train", shi_root, split="last100")) == 604


@pytest.mark.parametrize(
    ("dataset", "help"),
    [("shi", "authors' page"), ("dut", "Zhao et al."), ("ctcug", "authors of DeFusionNET"), ("folder", "folder masks")],
)
def test_a_missing_folder_is_named_with_both_places_and_what_belongs_there(dataset, help, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("defusion_lib.paths.project_root", lambda: tmp_path / "project")
    with pytest.raises(FileNotFoundError, match=f"data/{dataset} in the current folder and .*project's folder.*{help}"):
        open_dataset(dataset, "test")


def test_a_folder_is_found_in_the_checkout_from_elsewhere(tmp_path, monkeypatch):
    own_folder(tmp_path / "project/data/folder", "a", "b")
    (tmp_path / "project/notebooks").mkdir()
    monkeypatch.setattr("defusion_lib.paths.project_root", lambda: tmp_path / "project")
    for folder in ("project", "project/notebooks", "."):
        monkeypatch.chdir(tmp_path / folder)
        assert open_dataset("folder", "all").stems == open_dataset("folder", "all", "data/folder").stems == ["a", "b"]


def test_unknown_set_names_the_valid_ones():
    with pytest.raises(ValueError, match=f"dataset='cuhk' does not exist: choose one of {', '.join(DATASETS)}"):
        open_dataset("cuhk", "test")


@pytest.fixture
def tiny(monkeypatch):
    """One more entry of `DATASETS`: a data set of one photo, named after its folder and its split."""

    def open_tiny(root, part, split):
        photo = Photo(part, np.zeros((2, 3, 3), np.uint8), np.ones((2, 3), np.float32))
        return PhotoSet(f"tiny-{root.name}-{split}", [part], lambda stem: photo)

    monkeypatch.setitem(DATASETS, "tiny", Dataset("Tiny", open_tiny, ("train", "test"), "draw it", ("split",)))


def test_one_entry_adds_a_data_set(tiny, tmp_path):
    photos = open_dataset("tiny", "test", tmp_path, split="last100")
    assert (photos.name, photos[0].name, photos[0].mask.mean()) == (f"tiny-{tmp_path.name}-last100", "test", 1)
    with pytest.raises(ValueError, match="dataset='cuhk' does not exist: choose one of .*synthetic, .*tiny"):
        open_dataset("cuhk", "test")
    with pytest.raises(ValueError, match="dataset='tiny' has no part 'all': choose one of train, test"):
        open_dataset("tiny", "all", tmp_path)
    with pytest.raises(ValueError, match="dataset='tiny' has masks of one known polarity"):
        open_dataset("tiny", "test", tmp_path, white="focus")
    with pytest.raises(FileNotFoundError, match=r"data/tiny .* Or draw it\.$"):
        open_dataset("tiny", "test")


def code_cells(notebook):
    """Return the sources of a notebook's code cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def of_datasets(source):
    """Return the limit of the parameter `dataset` in the call of `runs.start` of a source."""
    for call in ast.walk(ast.parse(source)):
        for keyword in getattr(call, "keywords", ()):
            if keyword.arg == "limits":
                limits = dict(zip(map(ast.literal_eval, keyword.value.keys), keyword.value.values))
                return eval(ast.unparse(limits["dataset"]), {"DATASETS": DATASETS, "names_with": names_with})


@pytest.mark.parametrize("stem", ["03_training", "08_ablations"])
def test_notebooks_that_train_and_test_refuse_a_data_set_for_testing_only(stem):
    parameters, start = code_cells(FOLDER / f"{stem}.ipynb")[:2]
    limit = of_datasets(start)
    assert limit == names_with("train", "test")
    with pytest.raises(ValueError) as caught:
        check_parameters(read_parameters(parameters), {"dataset": "ctcug"}, {"dataset": limit}, where=stem)
    names = ", ".join(map(repr, limit))
    assert str(caught.value) == f"Parameter dataset of {stem} must be one of {names}, not 'ctcug'."


def test_data_sets_are_found_by_their_parts():
    assert (
        {"ctcug", "szu"} & {*names_with("train")}
        == set()
        == {"synthetic", "shi", "dut", "folder"} - {*names_with("train", "test")}
    )
    assert names_with("fit") == ("shi",) and names_with() == tuple(DATASETS)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_accept_every_data_set_and_list_none(tiny, notebook):
    parameters, start = code_cells(notebook)[:2]
    defaults = read_parameters(parameters)
    if "dataset" not in defaults:
        return
    checked = check_parameters(defaults, {"dataset": "tiny"}, {"dataset": of_datasets(start)})
    assert checked["dataset"] == "tiny"
    with pytest.raises(ValueError, match="dataset must be one of"):
        check_parameters(defaults, {"dataset": "cuhk"}, {"dataset": of_datasets(start)})
    (line,) = [line for line in parameters.splitlines() if line.startswith("dataset = ")]
    assert not set(DATASETS) & set(re.findall(r"\w+", line.partition("#")[2]))


def test_ctrl_c_ends_reading_without_the_photos_that_have_not_begun(monkeypatch):
    read = []

    def slow(stem):
        read.append(stem)
        time.sleep(0.02)
        return Photo(stem, np.zeros((2, 2, 3), np.uint8), None)

    def interrupted(pairs, *_, **__):
        for pair in pairs:
            yield pair
            raise KeyboardInterrupt

    monkeypatch.setattr(data, "tqdm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PhotoSet("many", [str(number) for number in range(100)], slow).in_memory()
    assert len(read) < 50
