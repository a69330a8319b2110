"""Maps that others published: read the right way round, and what is stored of our agreement with them."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defusion_lib import metrics
from defusion_lib.baselines import CLASSICAL
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation.published_maps import (
    CROPS,
    Published,
    crop_correlation,
    open_published,
    photographs,
    score_published,
)
from defusion_lib.evaluation.statistics import correlation
from defusion_lib.metrics import Evaluation

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "outputs/cpu/results/07_table_1.json"
# Published files are white where blurred, but for these.
WHITE_SHARP = ["hifst"]


def make(folder, levels, stem="a"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(folder / f"{stem}.png")


def test_maps_are_read_at_the_photographs_size_and_1_is_blurred(tmp_path):
    levels = np.repeat(np.uint8([[0, 255]]), 4, axis=0).repeat(10, axis=1)
    for method in ("one", "other"):
        make(tmp_path / method, levels)
    found = open_published(tmp_path, white_sharp=["other"])
    assert list(found) == ["one", "other"] and found["one"].stems == ["a"]
    photo = Photo("a", np.zeros((8, 40, 3), np.uint8), None)
    one, other = (found[method].read(photo) for method in found)
    assert one.shape == (8, 40) and one.dtype == np.float32
    assert (one[:, :15] == 0).all() and (one[:, -15:] == 1).all()
    np.testing.assert_allclose(other, 1 - one, atol=1e-6)


def test_no_maps(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no folder"):
        open_published(tmp_path)
    (tmp_path / "hifst").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        open_published(tmp_path)


def test_hidden_folders_are_no_methods(tmp_path):
    for name in (".git", "hifst"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4), 200).save(tmp_path / name / "a.png")
    assert list(open_published(tmp_path)) == ["hifst"]


def test_crops_without_a_published_map_are_left_out(tmp_path):
    Image.new("L", (4, 4), 200).save(tmp_path / "other.png")
    assert np.isnan(crop_correlation(lambda image: image, Published(tmp_path), PhotoSet("none", [], None)))


def test_correlation_is_numpys():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, 30, 40), np.float32)
    theirs += ours
    assert correlation(ours, theirs) == pytest.approx(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1], abs=1e-9)
    assert correlation(ours, 1 - ours) == pytest.approx(-1)
    assert correlation(ours, np.ones_like(ours)) == 0


@pytest.fixture(scope="module")
def published(reference_maps):
    return open_published(reference_maps, WHITE_SHARP)


@pytest.fixture(scope="module")
def photographs_of(shi_root):
    return cache(lambda maps: photographs(maps, shi_root))


def test_the_photographs_of_published_maps(published, photographs_of):
    photos = photographs_of(published["hifst"])
    assert photos.name == "shi-maps61" and len(photos) == 61
    assert set(CROPS) <= set.intersection(*(set(maps.stems) for maps in published.values()))


def test_a_map_of_no_photograph(tmp_path, shi_root):
    make(tmp_path / "hifst", np.zeros((8, 8), np.uint8), stem="holiday")
    with pytest.raises(ValueError, match="hold holiday, which is none of Shi's photos"):
        photographs(open_published(tmp_path)["hifst"], shi_root)


def test_methods_are_scored_on_the_photographs_that_they_share(tmp_path, shi_root):
    names = {"dbdf": ("0001", "0065"), "jnb": ("0001", "0065"), "hifst": ("0065", "0068")}
    names["lbp"] = ("0001", "0065", "0068")
    for method, numbers in names.items():
        (tmp_path / method).mkdir()
        for number in numbers:
            make(tmp_path / method, np.full((8, 8), 255, np.uint8), f"out_of_focus{number}")
    scored = score_published(tmp_path, WHITE_SHARP, shi_root, Evaluation)
    assert [(each.photos.name, list(each.methods)) for each in scored] == [
        ("shi-maps1", ["dbdf", "hifst", "jnb", "lbp", "all-blurred"]),
        ("shi-maps2", ["dbdf", "jnb", "lbp", "all-blurred"]),
        ("shi-maps2-2", ["hifst", "lbp", "all-blurred"]),
        ("shi-maps3", ["lbp", "all-blurred"]),
    ]
    assert [each.photos.stems[0][-4:] for each in scored] == ["0065", "0001", "0065", "0001"]
    for each in scored:
        shares = [photo.mask.mean() for photo in each.photos]
        assert each.methods["lbp" if "lbp" in each.methods else "hifst"].mae() == pytest.approx(1 - np.mean(shares))
        assert each.methods["all-blurred"].mae() == pytest.approx(1 - np.mean(shares))
    assert scored[0].methods["hifst"].mae() == pytest.approx(np.mean([photo.mask.mean() for photo in scored[0].photos]))


def test_maps_that_no_two_methods_share(tmp_path, shi_root):
    for method, number in (("dbdf", "0001"), ("jnb", "0065")):
        make(tmp_path / method, np.zeros((8, 8), np.uint8), f"out_of_focus{number}")
    scored = score_published(tmp_path, [], shi_root, Evaluation)
    assert [(each.photos.name, list(each.methods)) for each in scored] == [
        ("shi-maps1", ["dbdf", "all-blurred"]),
        ("shi-maps1-2", ["jnb", "all-blurred"]),
    ]


def test_published_maps_are_the_right_way_round(published, photographs_of):
    for method, maps in published.items():
        photo = photographs_of(maps).read("out_of_focus0001")
        assert metrics.auc(metrics.histogram(maps.read(photo), photo.mask)[None]) > 0.7, method


@pytest.mark.slow
@pytest.mark.parametrize("method", ["jnb", "dbdf", "lbp", "hifst"])
def test_stored_agreement_on_crops_is_what_the_methods_do(method, published, photographs_of):
    values = json.loads(STORED.read_text())["values"]
    found = crop_correlation(CLASSICAL[method], published[method], photographs_of(published[method]))
    # Kernels of another processor move a pixel here and there across a threshold.
    assert found == pytest.approx(values[f"shi-crops/{method}/correlation"], abs=0.005)
