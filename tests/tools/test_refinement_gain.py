"""What refined maps gain: bands, controls and paired differences."""

import json
import math

import numpy as np
import pytest
from brightness import Brightness

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.inference import resize_map
from defusion_lib.refinement import refine
from tools import export_loss, refinement_gain
from tools.refinement_gain import border_width, choose, compare, enlarged, errors, results, steeper


def halves(name, at, height=90, width=120):
    mask = np.zeros((height, width), np.float32)
    mask[:, at:] = 1
    noise = np.random.default_rng(at).normal(0, 2, (height, width, 3))
    return Photo(name, np.clip(60 + 120 * mask[..., None] + noise, 0, 255).astype(np.uint8), mask)


@pytest.fixture
def photos():
    made = {"one": halves("one", 40), "two": halves("two", 70)}
    return PhotoSet("made", list(made), made.__getitem__)


def test_the_band_is_in_proportion_to_the_photo():
    assert [border_width(shape) for shape in ((1000, 1000), (427, 640), (3000, 4000), (9, 9))] == [8, 4, 28, 1]


def test_errors_by_hand():
    mask, defocus = np.array([[0, 0, 1, 1]], np.float32), np.array([[0, 0.6, 0.7, 1]], np.float32)
    band = np.array([[False, True, True, False]])
    found = errors(defocus, mask, band)
    assert found == pytest.approx({"mae": 0.9 / 4, "border-mae": 0.45, "border-wrong": 0.5})
    assert errors(defocus, mask, np.zeros_like(band)) == pytest.approx({"mae": 0.9 / 4})


def test_steeper_is_refined_with_the_map_as_its_guide():
    """The guided filter gives the map itself back where its guide is the map: windows without change are 0."""
    photo = halves("one", 60)
    seen = resize_map(photo.mask, (30, 30))
    bilinear = resize_map(seen, photo.mask.shape)
    own = np.repeat(np.rint(255 * bilinear)[..., None], 3, axis=2).astype(np.uint8)
    apart = np.abs(refine(bilinear, own, epsilon=1e-9) - steeper(bilinear))
    assert np.abs(steeper(bilinear) - bilinear).max() > 0.1 and apart.max() < 0.02


def test_an_enlarged_photo_has_its_mask(photos):
    photo = enlarged(photos[0], 0.0432)
    assert photo.image.shape == (180, 240, 3) and np.array_equal(photo.mask[:, :80], np.zeros((180, 80)))
    assert set(np.unique(photo.mask)) == {0, 1} and photo.mask.mean() == pytest.approx(80 / 120)


def test_differences_are_paired(photos):
    found = {}
    for photo in photos:
        compare(found, "made", resize_map(photo.mask, (30, 30)), photo)
    values = results(found)
    of = {method: list(found[f"made/{method}/border-mae"].values()) for method in ("bilinear", "refined", "steeper")}
    for reference in ("bilinear", "steeper"):
        apart = [ours - theirs for ours, theirs in zip(of["refined"], of[reference])]
        key = f"made/refined-less-{reference}/border-mae"
        assert values[key] == pytest.approx(sum(apart) / 2)
        assert values[f"{key}-se"] == pytest.approx(abs(apart[0] - apart[1]) / 2)
        assert values[key] < 0
    assert values["made/photos/count"] == 2 and values["made/refined/seconds"] > 0
    assert not [key for key in values if key.startswith("made/steeper-less") or "less-bilinear/seconds" in key]


def test_settings_are_compared_with_the_bilinear_map(photos):
    values = results(choose(Brightness(), photos, grid=[(60, 4, 1e-4)]))
    less = values["made-train/side60-radius4-epsilon1e-04-less-bilinear/mae"]
    both = [values[f"made-train/{method}/mae"] for method in ("side60-radius4-epsilon1e-04", "bilinear")]
    assert less == pytest.approx(both[0] - both[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", refinement_gain.OBJECTS_IN_FOCUS)
def test_scenes_are_sharp_where_their_mask_says_so(kind):
    photo = refinement_gain.scene(kind, "skimage-coffee", (300, 400))
    assert photo.image.shape == (300, 400, 3) and 0.2 < photo.mask.mean() < 0.98
    gradient = np.abs(np.diff(photo.image.astype(float).mean(2), axis=1))
    inside = photo.mask[:, 1:] == photo.mask[:, :-1]
    sharp, blurred = (gradient[inside & (photo.mask[:, 1:] == value)].mean() for value in (0, 1))
    assert sharp > 1.5 * blurred


@pytest.mark.slow
def test_the_program_writes_results_with_their_origin(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement_gain, "open_dataset", lambda *given: photos)
    monkeypatch.setattr(refinement_gain, "load_network", lambda file, device: Brightness())
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(refinement_gain, "MEGAPIXELS", {"1mp": 0.02, "12mp": 2.5})
    monkeypatch.setattr(
        refinement_gain, "measure", lambda *given, real=refinement_gain.measure: real(*given, size=(150, 200))
    )
    assert refinement_gain.main(["--large", "1"]) == 0
    written = json.loads((tmp_path / "box/results/refinement_gain.json").read_text())
    counts = {key: value for key, value in written["values"].items() if key.endswith("/count")}
    assert counts == {
        "made/photos/count": 2,
        "made-1mp/photos/count": 2,
        "made-12mp/photos/count": 1,
        "rendered-12mp/photos/count": 3,
        "rendered-12mp-perfect/photos/count": 3,
    }
    assert all(math.isfinite(value) for value in written["values"].values())
    assert written["stamp"]["data"][0]["photographs"] == 2 and {"commit", "started"} < written["stamp"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("tool", [refinement_gain, export_loss])
def test_wrong_input_is_one_sentence(tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(tmp_path))
    assert tool.main(["--root", str(tmp_path / "missing")]) == 1
    told = capsys.readouterr()
    assert "missing: check the path" in told.err and "Traceback" not in told.err and not any(tmp_path.iterdir())
