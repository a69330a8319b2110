"""The stress suite, with a "network" whose map is the brightness of the photo, so that results can be computed."""

import json
from datetime import datetime

import numpy as np
import pytest
from brightness import Brightness
from PIL import Image

from defusion_lib.data import Photo, PhotoSet, bundled, effects
from defusion_lib.data.synthetic import CHALLENGES, open_synthetic
from defusion_lib.experiments import controlled_images, stress
from defusion_lib.metrics import Evaluation, max_f
from defusion_lib.runs import run
from defusion_lib.weights import load_network, result_name

SIZE = 48


def grey(image):
    return image.mean(2) / 255


def resized(picture, width, height):
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def error_after(image, mask):
    """Compute the MAE of the brightness of an image that is resized to SIZE and back to the size of the mask."""
    seen = grey(resized(image, SIZE, SIZE)).astype(np.float32)
    return np.abs(resized(resized(seen, *image.shape[1::-1]), *mask.shape[::-1]) - mask).mean()


@pytest.fixture(scope="module")
def photos():
    """Make two photos; the first has an entirely sharp square of 100 pixels a side, the second only one of 60."""
    rng = np.random.default_rng(3)
    made = {}
    for name, sharp in (("one", 100), ("two", 60)):
        mask = np.ones((120, 150), np.float32)
        mask[10 : 10 + sharp, 20 : 20 + sharp] = 0
        image = rng.integers(0, 128, (120, 150, 3), np.uint8) + np.uint8(90 * mask[..., None])
        made[name] = Photo(name, image, mask)
    return PhotoSet("made", list(made), made.__getitem__)


@pytest.fixture(scope="module")
def found(photos):
    names = ["skimage-grass", "skimage-page", "sklearn-flower"]
    return stress.measure(Brightness(), photos, SIZE, seed=5, names=names, scenes=7)


def test_plain_photos_are_scored_as_everywhere(photos, found):
    evaluation = Evaluation()
    for photo in photos:
        seen = grey(resized(photo.image, SIZE, SIZE)).astype(np.float32)
        evaluation.add(resized(seen, 150, 120), photo.mask)
    values = stress.results(found, "bright")
    for metric in ("mae", "max-f-blur", "max-f-focus", "auc"):
        assert values[f"made/bright/{metric}"] == pytest.approx(evaluation.values()[metric], abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "disturb"),
    [
        *((f"noise-{sigma}", lambda image, i, s=sigma: effects.noisy(image, s, [5, i])) for sigma in (5, 10, 20)),
        *((f"jpeg-{quality}", lambda image, i, q=quality: effects.jpeg(image, q)) for quality in (90, 70, 50, 30, 20)),
        ("half-size", lambda image, i: resized(image, 75, 60)),
        ("double-size", lambda image, i: resized(image, 300, 240)),
    ],
)
def test_disturbed_photos(photos, found, kind, disturb):
    expected = [error_after(disturb(photo.image, i), photo.mask) for i, photo in enumerate(photos)]
    assert found[f"made/mae-{kind}"] == pytest.approx(dict(zip(photos.stems, expected)), abs=1e-5)


def test_wholly_sharp_square_is_cut_out_and_photos_without_one_are_left_out(photos, found):
    square = photos[0].image[10:110, 20:120]
    share = (resized(grey(resized(square, SIZE, SIZE)).astype(np.float32), 100, 100) > 0.5).mean()
    assert found["made/blurred-share-sharp-square"] == {"one": pytest.approx(share, abs=1e-3)}
    values = stress.results(found, "bright")
    assert values["made/bright/sharp-squares"] == 1
    assert "made/bright/blurred-share-sharp-square-se" not in values


def test_no_photo_with_a_wholly_sharp_square_is_counted_as_well(photos, tmp_path):
    found = stress.measure(Brightness(), photos[1:], SIZE, names=["skimage-grass"], scenes=1)
    values = stress.results(found, "bright")
    assert values["made/bright/sharp-squares"] == 0 and np.isfinite(list(values.values())).all()
    assert "made/bright/blurred-share-sharp-square" not in values
    assert stress.table(found).loc[("made", "blurred-share-sharp-square"), "number"] == 0
    stress.draw(found)
    stress.save(found, tmp_path / "found.npz")
    again = stress.read(tmp_path / "found.npz")
    assert again["made/blurred-share-sharp-square"] == {}
    assert np.isnan(stress.differences(found, again).loc["made/blurred-share-sharp-square", "difference"])


@pytest.mark.parametrize("radius", [1, 2, 4, 8])
def test_photos_are_blurred_as_a_whole_at_the_size_that_is_seen(photos, found, radius):
    shares = {
        photo.name: (grey(effects.blurred(resized(photo.image, SIZE, SIZE), radius)) > 0.5).mean() for photo in photos
    }
    assert found[f"made/blurred-share-disc-{radius}"] == pytest.approx(shares, abs=1e-3)


def test_embedded_photos(found):
    squares = {name: resized(bundled.embedded(name), SIZE, SIZE) for name in ("skimage-grass", "skimage-page")}
    shares = {name: (grey(image) > 0.5).mean() for name, image in squares.items()}
    assert found["sharp/blurred-share"] == pytest.approx(shares, abs=1e-3)
    textured = {name: (grey(image) > 0.5)[controlled_images.texture(image) >= 0.03] for name, image in squares.items()}
    expected = {name: values.mean() for name, values in textured.items()}
    assert found["sharp/blurred-share-textured"] == pytest.approx(expected, abs=1e-3)
    plain, noisy = {}, {}
    for i, (name, image) in enumerate(squares.items()):
        both = [controlled_images.half_and_half(name, image, 3.0, left).photo for left in (True, False)]
        for j, each in enumerate(both):
            plain[each.name] = np.abs(grey(each.image) - each.mask).mean()
            noisy[each.name] = np.abs(grey(effects.noisy(each.image, 20, [5, 2 * i + j])) - each.mask).mean()
    assert found["half-and-half/mae"] == pytest.approx(plain, abs=1e-5)
    assert found["half-and-half/mae-noise-20"] == pytest.approx(noisy, abs=1e-5)


def test_rendered_scenes_are_those_of_the_test_part_by_challenge(found):
    scenes = {scene.name: scene for scene in open_synthetic(7, (SIZE, SIZE), seed=11)}
    errors = {name: np.abs(grey(scene.image) - scene.mask).mean() for name, scene in scenes.items()}
    assert found["rendered/mae"] == pytest.approx(errors, abs=1e-5)
    for challenge in CHALLENGES:
        of = {name: error for name, error in errors.items() if name.startswith(challenge)}
        assert found[f"rendered/mae-{challenge}"] == pytest.approx(of, abs=1e-5)


def test_every_key_can_be_stored_and_stands_beside_its_standard_error(found):
    values = stress.results(found, "defusionnet-compact+nocam")
    for key in values:
        assert run._KEY.fullmatch(key)
    assert values["made/defusionnet-compact+nocam/mae-se"] == pytest.approx(
        np.std(list(found["made/mae"].values()), ddof=1) / np.sqrt(2)
    )


def test_images_of_one_photo_or_scene_are_not_independent(found):
    """Two images of each origin, equally many, have the standard error of the means of the pairs."""
    errors = found["half-and-half/mae"]
    assert list(errors) == [f"skimage-{name}-{side}-sharp" for name in ("grass", "page") for side in ("left", "right")]
    pairs = np.reshape(list(errors.values()), (2, 2)).mean(1)
    values = stress.results(found, "m")
    assert values["half-and-half/m/mae"] == pytest.approx(pairs.mean())
    assert values["half-and-half/m/mae-se"] == pytest.approx(np.std(pairs, ddof=1) / np.sqrt(2))
    twice = {"half-and-half/mae": dict.fromkeys(errors, 0.0)}
    apart = stress.differences({"half-and-half/mae": errors}, twice).loc["half-and-half/mae"]
    assert apart["standard error"] == pytest.approx(np.std(pairs, ddof=1) / np.sqrt(2))


def test_the_standard_error_of_clusters_is_that_of_resampled_clusters():
    """Against a bootstrap over scenes: single ones, and pairs whose images err alike."""
    rng = np.random.default_rng(0)
    values = {f"same-class-{i:03d}": rng.normal() for i in range(30)}
    for i in range(30):
        shared = rng.normal(0, 2)
        values |= {f"focus-swapped-pair-{2 * i + j:03d}": shared + rng.normal() for j in range(2)}
    error, count = controlled_images.standard_error(values)
    assert count == 60
    each = [[values[f"same-class-{i:03d}"]] for i in range(30)]
    each += [[values[f"focus-swapped-pair-{2 * i + j:03d}"] for j in range(2)] for i in range(30)]
    drawn = rng.integers(0, 60, (4000, 60))
    means = [np.mean(np.concatenate([each[k] for k in row])) for row in drawn]
    assert error == pytest.approx(np.std(means), rel=0.06)
    assert error > 1.15 * np.std(list(values.values()), ddof=1) / np.sqrt(90)


@pytest.fixture(scope="module")
def two_networks():
    """The plain scores of two detectors on six photos, the second a little noisier."""
    rng = np.random.default_rng(1)
    masks = (rng.random((6, 20, 30)) < np.linspace(0.2, 0.8, 6)[:, None, None]).astype(np.float32)
    maps = {noise: np.clip(masks + rng.normal(0, noise, masks.shape), 0, 1) for noise in (0.5, 0.6)}
    photos = [Photo(f"p{i}", np.zeros((20, 30, 3), np.uint8), mask) for i, mask in enumerate(masks)]
    listed = PhotoSet("six", [photo.name for photo in photos], {photo.name: photo for photo in photos}.__getitem__)
    return [stress.score(listed, lambda photo, of=of: of[int(photo.name[1:])]) for of in maps.values()]


def test_standard_error_of_max_f_is_that_of_a_bootstrap_over_photos(two_networks, monkeypatch):
    monkeypatch.setattr(stress, "DRAWS", 300)
    counts = [np.stack(list(found["six/counts"].values())) for found in two_networks]
    drawn = np.random.default_rng(0).integers(0, 6, (300, 6))
    for positive in ("blur", "focus"):
        first, second = ([max_f(of[chosen], positive) for chosen in drawn] for of in counts)
        values = stress.results(two_networks[0], "m")
        assert values[f"six/m/max-f-{positive}-se"] == pytest.approx(np.std(first, ddof=1))
        apart = stress.differences(*two_networks).loc[f"six/max-f-{positive}"]
        assert apart["difference"] == pytest.approx(max_f(counts[0], positive) - max_f(counts[1], positive))
        assert apart["standard error"] == pytest.approx(np.std(np.subtract(first, second), ddof=1))


def test_networks_are_compared_photo_by_photo(two_networks):
    first, second = (np.array(list(found["six/mae"].values())) for found in two_networks)
    row = stress.differences(*two_networks).loc["six/mae"]
    assert row["difference"] == pytest.approx(first.mean() - second.mean())
    assert row["standard error"] == pytest.approx((first - second).std(ddof=1) / np.sqrt(6))
    fewer = {key: dict(list(of.items())[:4]) for key, of in two_networks[1].items()}
    with pytest.raises(ValueError, match=r"six/mae was measured on different photos \(6 and 4\): measure both"):
        stress.differences(two_networks[0], fewer)


def test_what_was_found_survives_its_file(found, tmp_path):
    stress.save(found, tmp_path / "found.npz")
    again = stress.read(tmp_path / "found.npz")
    assert list(again) == list(found)
    for key in found:
        assert list(again[key]) == list(found[key])
        assert all(np.array_equal(again[key][name], found[key][name]) for name in found[key])


def test_table_and_figure_show_every_mean(found):
    table = stress.table(found)
    values = stress.results(found, "m")
    for (dataset, metric), row in table.iterrows():
        assert row["mean"] == values[f"{dataset}/m/{metric}"]
    assert table.loc[("made", "mae-noise-20"), "number"] == 2
    drawing = stress.draw(found)
    bars = [bar.get_width() for axis in drawing.figure.axes for bar in axis.patches]
    shown = [mean for (_, metric), mean in table["mean"].items() if metric.startswith(("mae", "blurred"))]
    assert sorted(bars) == pytest.approx(sorted(shown))
    assert drawing.arrays["names"] == [" ".join(row) for row in table.index]
    assert np.array_equal(drawing.arrays["means"], table["mean"], equal_nan=True)
    assert np.array_equal(drawing.arrays["errors"], table["standard error"], equal_nan=True)


def test_a_kind_without_images_has_no_bar_that_looks_best():
    drawing = stress.draw({"made/mae": {"a": 0.1}, "made/blurred-share-sharp-square": {}})
    _, shares = drawing.figure.axes
    assert [text.get_text().strip() for text in shares.texts] == ["no such image"]
    assert [label.get_text() for label in shares.get_yticklabels()] == ["made, sharp-square (0)"]


def test_a_photo_without_a_mask_is_refused():
    photos = PhotoSet("bare", ["a"], lambda name: Photo(name, np.zeros((8, 8, 3), np.uint8), None))
    with pytest.raises(ValueError, match="a of bare has no mask, but every photo needs one here"):
        stress.measure(Brightness(), photos, SIZE)


def test_a_photo_of_one_class_counts_in_the_mae_only():
    mask = {"all": np.ones((8, 8), np.float32), "half": np.eye(8, dtype=np.float32)}
    photos = PhotoSet("two", list(mask), lambda name: Photo(name, np.zeros((8, 8, 3), np.uint8), mask[name]))
    found = stress.score(photos, lambda photo: photo.mask * 0.75)
    assert found["two/mae"] == {"all": 0.25, "half": pytest.approx(0.25 / 8)}
    assert found["two/auc"] == {"half": 1.0}
    assert stress.table(found).loc[("two", "max-f-blur"), "number"] == 1


def test_photos_of_one_class_have_no_f_measure():
    photos = PhotoSet(
        "one", ["a"], lambda name: Photo(name, np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))
    )
    found = stress.score(photos, lambda photo: photo.mask * 0.75)
    assert stress.results(found, "bright") == {"one/bright/mae": 0.25}
    assert [metric for _, metric in stress.table(found).index] == ["mae"]
    assert list(stress.differences(found, found).index) == ["one/mae"]


# -------------------------------------------------------------------------------------------------- terminal


def test_held_out_photos_are_those_that_the_training_left_out():
    fit = {"name": "shi-dutlab100", "photographs": 544, "stems_sha256": "f" * 64}
    for card in ({"data": [fit]}, {"data": []}, {"data": [fit | {"name": "szu", "stems_sha256": "0" * 64}]}):
        stress._check_held_out(fit, card)
    for other in (fit | {"stems_sha256": "0" * 64}, {"name": "shi-dutlab100"}):
        with pytest.raises(ValueError, match="other photos of shi-dutlab100 than the 544 of the part fit"):
            stress._check_held_out(fit, {"data": [fit], "begun_with": {"card": {"data": [other]}}})


@pytest.fixture
def folder(tmp_path, photos):
    """A data set on disk of three photos, and perfect published maps of two of them."""
    for name in ("a", "b", "c"):
        for kind, picture in (("", photos[0].image), ("masks", photos[0].mask), ("maps/perfect", photos[0].mask)):
            if (name, kind) != ("c", "maps/perfect"):
                (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
                levels = picture if picture.ndim == 3 else np.uint8(255 * picture)
                Image.fromarray(levels).save(tmp_path / "set" / kind / f"{name}.png")
    return tmp_path / "set"


def call(folder, *more):
    return stress.main(["shipped", "--dataset", "folder", "--root", str(folder), "--size", "32", "--plain", *more])


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_terminal_writes_means_and_photos(folder, tmp_path, capsys):
    into = tmp_path / "new" / "found.json"
    assert call(folder, "--into", str(into), "--count", "3", "--maps", str(folder / "maps")) == 0
    written = json.loads(into.read_text(encoding="utf-8"))
    assert written["stamp"]["data"]["photographs"] == 3 and len(written["stamp"]["weights_sha256"]) == 64
    assert datetime.fromisoformat(written["stamp"]["started"]).tzinfo is not None
    values = written["values"]
    assert values["folder-set-all-maps2/perfect/mae"] == 0 and values["folder-set-all-maps2/perfect/auc"] == 1
    found = stress.read(into.with_suffix(".npz"))
    mean = np.mean(list(found["folder-set-all/mae"].values()))
    assert values[f"folder-set-all/{result_name(load_network())}/mae"] == pytest.approx(mean)
    assert list(stress.read(tmp_path / "new/found-perfect.npz")["folder-set-all-maps2/mae"]) == ["a", "b"]
    assert "max-f-focus" in capsys.readouterr().out


@pytest.mark.slow
def test_terminal_says_in_a_sentence_what_is_wrong(folder, tmp_path, capsys):
    assert call(folder, "--into", str(tmp_path / "found.npz")) == 1
    assert "found.npz does not end in .json" in capsys.readouterr().err
    (folder / "maps/perfect/a.png").unlink()
    (folder / "maps/perfect/b.png").rename(folder / "maps/perfect/other.png")
    assert call(folder, "--into", str(tmp_path / "found.json"), "--maps", str(folder / "maps")) == 1
    assert "No map of perfect is named like one of the 3 photos of folder-set-all" in capsys.readouterr().err
    assert stress.main(["absent.safetensors", "--into", str(tmp_path / "found.json")]) == 1
    assert "No network at absent.safetensors" in capsys.readouterr().err
    assert not list(tmp_path.glob("found*"))
