"""Your method's row beside others: what is scored, stored and written, and published maps that give known numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defusion_lib.baselines import CLASSICAL
from defusion_lib.baselines.classical import ksfv
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.shi import split_stems
from defusion_lib.experiments import own_row
from defusion_lib.metrics import Evaluation, quantise
from defusion_lib.weights import load_network, result_name

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "outputs/cpu/results/07_table_1.json"


@pytest.fixture(scope="module")
def photos():
    found = open_dataset("synthetic", "test", count=3)
    # Small ones, so that methods are fast.
    kept = {photo.name: Photo(photo.name, photo.image[:64, :80], photo.mask[:64, :80]) for photo in found}
    return PhotoSet("synthetic", list(kept), kept.get)


@pytest.fixture
def folder(photos, tmp_path):
    folder = tmp_path / "my_net"
    folder.mkdir()
    for photo in photos:
        levels = np.round(40 + 150 * photo.mask + 60 * np.random.default_rng(0).random(photo.mask.shape))
        Image.fromarray(levels.astype(np.uint8)).save(folder / f"{photo.name}.png")
    return folder


@pytest.mark.slow
def test_the_other_methods_are_scored_on_the_same_photos_from_stored_maps(photos, folder, outputs):
    row = own_row.score_maps(folder, photos, against=["jnb", "ksfv"], draws=50)
    assert list(row.comparison.values) == ["my_net", "jnb", "ksfv"] and row.notes == row.missing == []
    expected = Evaluation()
    for photo in photos:
        stored = np.asarray(Image.open(outputs / f"cpu/maps/synthetic/jnb/{photo.name}.png"))
        expected.add(stored / 255, photo.mask)
        assert np.abs(stored - 255 * CLASSICAL["jnb"](photo.image)).max() <= 0.5001
    found = row.comparison.values["jnb"]
    assert {metric: found[metric] for metric in found} == pytest.approx(
        {metric: expected.values()[metric] for metric in found}, abs=1e-12
    )
    assert set(found) == {"mae", "max-f-blur", "max-f-focus", "f-half-blur", "auc"}


@pytest.mark.slow
def test_the_network_in_the_package_is_a_row(photos, folder):
    row = own_row.score_maps(folder, photos, against=["defusionnet"], size=64, draws=10)
    name = result_name(load_network())
    assert list(row.scores) == ["my_net", name]
    assert list(row.stamp["weights_sha256"]) == [name]


def test_on_the_split_of_the_text_nothing_was_trained_on_the_photos(photos, folder):
    """The network in the package is left out, and the classical methods use the fit of the other training photos."""
    stems = sorted(set(split_stems("last100", "test")) & set(split_stems("dutlab100", "train")))[:2]
    of = {stem: photo._replace(name=stem) for stem, photo in zip(stems, photos)}
    for stem, photo in zip(stems, photos):
        (folder / f"{photo.name}.png").rename(folder / f"{stem}.png")
    row = own_row.score_maps(folder, PhotoSet("shi-last100", stems, of.get), against=["defusionnet", "ksfv"], draws=10)
    assert list(row.scores) == ["my_net", "ksfv"] and row.stamp["weights_sha256"] == {}
    assert "DeFusionNet was trained on 2 of these photos and is left out." in row.notes
    first = of[stems[0]]
    assert np.array_equal(row.maps_of(first, "ksfv"), quantise(ksfv.detect(first.image, split="last100")))
    assert not np.array_equal(row.maps_of(first, "ksfv"), quantise(ksfv.detect(first.image)))


def test_missing_and_further_maps_and_inverted_ones_are_named(photos, folder):
    (folder / f"{photos.stems[1]}.png").rename(folder / "other.png")
    with pytest.raises(FileNotFoundError, match=f"no map for 1 of the 3 photos of synthetic .{photos.stems[1]}"):
        own_row.score_maps(folder, photos, against=[])
    row = own_row.score_maps(folder, photos, "mine", ["jnb"], invert=True, allow_missing=True, draws=50)
    assert row.missing == [photos.stems[1]] and own_row.title(row) == "synthetic, 2 of 3 photos"
    assert list(row.comparison.values) == ["mine", "jnb"]
    words = " ".join(row.notes)
    for note in ("look inverted", "1 of 3 photos have no map of mine", "1 maps have the name of no photo"):
        assert note in words


def test_the_size_of_maps_is_named(photos, folder):
    Image.fromarray(np.full((9, 9), 100, np.uint8)).save(folder / f"{photos.stems[0]}.png")
    row = own_row.score_maps(folder, photos, against=[], draws=10)
    assert row.notes == ["1 of 3 maps were resized bilinearly to the size of their photo."]
    levels = np.asarray(Image.open(folder / f"{photos.stems[1]}.png"))
    Image.fromarray(levels.T.copy()).save(folder / f"{photos.stems[1]}.png")
    row = own_row.score_maps(folder, photos, against=[], draws=50)
    assert f"1 of 3 maps have the width and height of their photo exchanged ({photos.stems[1]})" in row.notes[1]
    alone = own_row.score_maps(folder, photos[2:], against=[], draws=50)
    assert alone.notes[0] == "One photo was scored: a score of one photo has no standard error."
    uniform = PhotoSet("mine", photos.stems[:2], lambda stem: _blurred(photos.read(stem), stem == photos.stems[0]))
    notes = own_row.score_maps(folder, uniform, against=[], draws=50).notes
    assert "One mask has both classes: only the mean absolute error has a standard error." in notes


def _blurred(photo, everywhere):
    return photo._replace(mask=np.ones_like(photo.mask)) if everywhere else photo


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"against": ["dbm"]}, "no method 'dbm'.*hifst.*must be trained"),
        ({"against": ["jnb"], "name": "jnb"}, "the name of another method, jnb"),
        ({"against": ["jnb"], "name": "JNB"}, "the name of another method, JNB"),
        ({"protocol": "best"}, "no protocol 'best': choose one of main, d-dffnet, all"),
    ],
)
def test_wrong_choices_get_a_sentence(photos, folder, given, words):
    with pytest.raises(ValueError, match=words):
        own_row.score_maps(folder, photos, **{"against": []} | given)


@pytest.mark.slow
def test_everything_is_written(photos, folder, tmp_path):
    row = own_row.score_maps(folder, photos, "My Net", ["jnb"], "all", draws=20)
    files = own_row.write_row(row, tmp_path / "results")
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "results").iterdir())
    kept = json.loads((tmp_path / "results/scores.json").read_text())
    assert kept["values"]["synthetic/my-net/mae"] == row.comparison.values["My Net"]["mae"]
    assert kept["values"]["synthetic/my-net/mae-std"] == row.comparison.errors["My Net"]["mae"]
    assert kept["stamp"]["data"][0]["photographs"] == 3 and "commit" in kept["stamp"]
    assert kept["differences"]["auc"]["jnb"]["larger than chance"] == "too few photos"
    text = (tmp_path / "results/rows.md").read_text()
    assert text.startswith("| synthetic, 3 photos | mae ↓ | max-f-blur ↑ |") and "| weighted-f-focus ↑ |" in text
    assert "\nMy Net & " in (tmp_path / "results/rows.tex").read_text()
    with Image.open(tmp_path / "results/own_extremes.png") as picture:
        assert picture.width > 300


@pytest.mark.slow
def test_alone_there_are_no_differences(photos, folder, tmp_path):
    row = own_row.score_maps(folder, photos, against=[], protocol="d-dffnet", draws=20)
    names = {path.name for path in own_row.write_row(row, tmp_path / "results")}
    assert names == {"scores.json", "scores.csv", "rows.md", "rows.tex", "own_curves.png"}
    assert (tmp_path / "results/rows.md").read_text().startswith("| synthetic, 3 photos | mae ↓ | f-half-blur ↑ |")


# ------------------------------------------------------------------------------------------------ published maps


@pytest.mark.slow
def test_hifsts_published_maps_have_the_scores_of_notebook_07(shi_root, reference_maps):
    stored = json.loads(STORED.read_text())["values"]
    folder = reference_maps / "hifst"
    parts = [open_dataset("shi", part, shi_root) for part in ("train", "test")]
    part_of = {stem: part for part in parts for stem in part.stems}
    photos = PhotoSet(
        "shi-maps61", sorted(path.stem for path in folder.iterdir()), lambda stem: part_of[stem].read(stem)
    )
    row = own_row.score_maps(folder, photos, against=[], invert=True, draws=100)
    found = row.comparison.values["hifst"]
    for metric in ("mae", "max-f-blur", "max-f-focus", "auc"):
        assert found[metric] == pytest.approx(stored[f"shi-maps61/hifst+published/{metric}"], abs=1e-7), metric
    upside_down = own_row.score_maps(folder, photos, against=[], draws=100)
    assert "look inverted: their AUC is 0.091" in upside_down.notes[0]


def hifst_maps_of_dutlab100():
    """A folder of HiFST's maps of the 100 test photos, and whether white means in focus in them; or a skip."""
    published = Path(ROOT.parent / "shared/data/reference_maps/hifst_dutlab100")
    ours = ROOT / "outputs/cpu/maps/shi-dutlab100/hifst"
    for folder, invert in ((published, True), (ours, False)):
        if folder.is_dir():
            return folder, invert
    pytest.skip(
        "no maps of HiFST for the 100 test photos of dutlab100: its authors' go into shared/data/reference_maps/"
        "hifst_dutlab100, or make run PROFILE=cpu computes them"
    )


@pytest.mark.slow
def test_hifst_has_the_scores_that_d_dffnet_quotes(shi_root):
    folder, invert = hifst_maps_of_dutlab100()
    photos = open_dataset("shi", "test", shi_root)
    row = own_row.score_maps(folder, photos, "hifst-maps", [], "d-dffnet", invert, draws=100)
    found = row.comparison.values["hifst-maps"]
    assert (round(found["mae"], 3), round(found["f-half-blur"], 3)) == (0.223, 0.803)
