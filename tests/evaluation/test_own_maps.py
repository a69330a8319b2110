"""A folder of maps: what is read, what is refused and named, and the tables and figures of a comparison."""

import csv

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation import own_maps
from defusion_lib.evaluation.bootstrap import holm
from defusion_lib.evaluation.map_scores import MapScores, Mask
from defusion_lib.evaluation.own_maps import MapFolder, compare

NAMES = [f"p{i:02}" for i in range(12)]


def photo_set(names=NAMES, shape=(10, 14)):
    def read(stem):
        mask = (np.random.default_rng(int(stem[1:])).random(shape) < 0.6).astype(np.float32)
        return Photo(stem, np.zeros((*shape, 3), np.uint8), mask)

    return PhotoSet("made-up", names, read)


def picture(path, levels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path)
    return path.parent


def read_one(folder, invert=False, shape=(2, 3)):
    maps = MapFolder(folder, invert)
    return maps, maps.read(photo_set(shape=shape)[0])


LEVELS = np.uint8([[0, 51, 255], [102, 1, 7]])


# ------------------------------------------------------------------------------------------------------ reading


def test_a_grey_picture_is_read_as_its_levels_and_inverted_where_asked(tmp_path):
    folder = picture(tmp_path / "p00.png", LEVELS)
    assert (read_one(folder)[1] == LEVELS).all() and read_one(folder)[1].dtype == np.uint8
    assert (read_one(folder, invert=True)[1] == 255 - LEVELS).all()
    picture(tmp_path / "p00.png", np.dstack([LEVELS] * 3))
    assert (read_one(folder)[1] == LEVELS).all()


def test_pictures_of_16_bits_and_arrays_keep_their_precision(tmp_path):
    deep = np.uint16([[0, 1, 65535], [300, 7, 9]])
    picture(tmp_path / "p00.png", deep)
    np.testing.assert_allclose(read_one(tmp_path)[1], deep / 65535, rtol=1e-6)
    (tmp_path / "p00.png").unlink()
    for array, expected in ((LEVELS, LEVELS), (LEVELS / 255, LEVELS / 255), (LEVELS[None, ..., None], LEVELS)):
        np.save(tmp_path / "p00.npy", array)
        np.testing.assert_allclose(read_one(tmp_path)[1], expected, rtol=1e-6)
    np.save(tmp_path / "p00.npy", LEVELS > 100)
    assert (read_one(tmp_path, invert=True)[1] == (LEVELS <= 100)).all()


def test_a_map_of_another_size_is_resized_and_counted(tmp_path):
    folder = picture(tmp_path / "p00.jpg", np.full((5, 5), 204, np.uint8))
    maps, found = read_one(folder, invert=True, shape=(8, 9))
    assert found.shape == (8, 9) and found == pytest.approx(0.2, abs=0.005) and maps.resized == ["p00"]
    assert maps.highest == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.dstack([LEVELS, LEVELS * 0, LEVELS]), "has colours"),
        (np.dstack([LEVELS] * 4), "transparent pixels"),
        (b"no picture", "p00.png"),
    ],
)
def test_what_is_no_grey_picture_is_refused(tmp_path, content, words):
    if isinstance(content, bytes):
        (tmp_path / "p00.png").write_bytes(content)
    else:
        picture(tmp_path / "p00.png", content)
    with pytest.raises(ValueError, match=words):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (LEVELS.astype(float), "reaches from 0 to 255"),
        (
            np.array([[np.nan, 0.5, 0.5]] * 2),
            r"has 2 of 6 values that are not finite \(NaN or infinite\), expected \[0, 1\]",
        ),
        (LEVELS.astype(np.int64), "holds int64"),
        (np.zeros((2, 2, 3)), r"shape \(2, 2, 3\)"),
        (np.array([{}], dtype=object), "not a readable array"),
    ],
)
def test_what_is_no_array_of_a_map_is_refused(tmp_path, array, words):
    np.save(tmp_path / "p00.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        read_one(tmp_path)


def damaged_header(content):
    return content.replace(b"{'descr'", b"{'de\nscr")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged_header, r"p00\.npy is not a readable array"),
        (lambda content: content.replace(b"(2, 3), }      ", b"(10**7, 10**7),}"), r"p00\.npy is not a readable array"),
        (lambda content: content.replace(b"(2, 3), }                ", b"(9999999, 9999999), }    "), "not a readable"),
    ],
)
def test_a_damaged_array_is_refused_in_one_sentence(tmp_path, spoil, words):
    path = tmp_path / "p00.npy"
    np.save(path, np.zeros((2, 3)))
    assert path.read_bytes() != spoil(path.read_bytes())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=words):
        read_one(tmp_path)


def test_a_file_of_several_arrays_is_refused(tmp_path):
    with open(tmp_path / "p00.npy", "wb") as file:
        np.savez(file, a=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"p00\.npy holds several arrays"):
        read_one(tmp_path)


def test_names_are_escaped_for_latex():
    text = own_maps.latex({r"a\b ~x^2_%": {"mae": "0.1 ± 0.0"}})
    assert r"a\textbackslash{}b \textasciitilde{}x\textasciicircum{}2\_\% & 0.1 $\pm$ 0.0" in text


def test_folders_without_maps_and_two_maps_of_one_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        MapFolder(tmp_path / "none")
    (tmp_path / "readme.txt").write_text("no map")
    with pytest.raises(FileNotFoundError, match="holds no map"):
        MapFolder(tmp_path)
    picture(tmp_path / "p00.png", LEVELS)
    picture(tmp_path / "p00.jpg", LEVELS)
    with pytest.raises(ValueError, match="both p00.jpg and p00.png"):
        MapFolder(tmp_path)


def test_missing_maps_are_an_error_that_names_them_unless_allowed(tmp_path):
    for name in ("p00", "p02", "x"):
        picture(tmp_path / f"{name}.png", LEVELS)
    maps, photos = MapFolder(tmp_path), photo_set(["p00", "p01", "p02"])
    with pytest.raises(FileNotFoundError, match=r"no map for 1 of the 3 photos of made-up \(p01\).*the other 2"):
        maps.common(photos)
    common, missing = maps.common(photos, allow_missing=True)
    assert (common.stems, common.name, missing) == (["p00", "p02"], "made-up", ["p01"])
    assert maps.count_others(photos) == 1
    with pytest.raises(FileNotFoundError, match="no map for 1 of the 1 photos"):
        maps.common(photo_set(["p01"]), allow_missing=True)


# --------------------------------------------------------------------------------------------------- comparison


def scores_of(photos, quality):
    rng = np.random.default_rng(1)
    measured = []
    for photo in photos:
        noisy = quality * photo.mask + (1 - quality) * rng.random(photo.mask.shape)
        measured.append(Mask(photo.mask).measure(noisy))
    return MapScores(measured)


@pytest.fixture(scope="module")
def photos():
    return photo_set()


@pytest.fixture(scope="module")
def scores(photos):
    return {name: scores_of(photos, quality) for name, quality in (("my_net", 0.5), ("best", 0.8), ("bad", 0.1))}


@pytest.fixture(scope="module")
def comparison(scores, photos):
    return compare(scores, photos, ["mae", "auc", "max-f-blur"], 200)


def test_values_errors_and_paired_differences(comparison, scores):
    assert comparison.own == "my_net" and comparison.photos == 12
    mae = {name: of.of_images["mae"] for name, of in scores.items()}
    assert comparison.values["best"]["mae"] == mae["best"].mean()
    means = scores["my_net"].resampled(["mae"], 200)["mae"]
    assert comparison.errors["my_net"]["mae"] == means.std()
    low, high = comparison.bounds["my_net"]["mae"]
    assert low < mae["my_net"].mean() < high
    rows = comparison.differences["mae"]
    assert list(rows) == ["best", "bad"]
    assert rows["best"]["difference"] == pytest.approx((mae["my_net"] - mae["best"]).mean(), abs=1e-12)
    # Both are at the smallest p of 200 resamples, which Holm multiplies by the number of methods.
    assert rows["best"]["p, corrected"] == pytest.approx(holm([2 / 201, 2 / 201])[0])


def test_a_verdict_needs_enough_photos_of_the_kind_that_a_score_needs():
    def read(stem):
        photo = photo_set()[int(stem) % 12]
        return photo._replace(name=stem, mask=photo.mask if int(stem) < both else np.ones_like(photo.mask))

    verdicts = {}
    for both in (5, 30):
        photos = PhotoSet("made-up", [str(number) for number in range(30)], read)
        scores = {name: scores_of(photos, quality) for name, quality in (("my_net", 0.9), ("bad", 0.1))}
        found = compare(scores, photos, ["mae", "auc"], 200).differences
        verdicts[both] = [found[metric]["bad"]["larger than chance"] for metric in ("mae", "auc")]
    assert verdicts == {5: ["yes", "too few photos"], 30: ["yes", "yes"]}


def test_maps_below_chance_are_called_inverted_with_what_to_do(photos):
    swapped = {"my_net": scores_of(photos, -0.0)}
    inverted = MapScores([Mask(photo.mask).measure(1 - 0.9 * photo.mask) for photo in photos])
    found = compare({"my_net": inverted}, photos, ["auc"], 50)
    assert "AUC is 0.000, below chance" in own_maps.polarity_note(found, False)
    assert "in focus in these files, score them again with --invert." in own_maps.polarity_note(found, False)
    assert "blurred in these files, score them again without --invert." in own_maps.polarity_note(found, True)
    assert own_maps.polarity_note(compare(swapped, photos, ["auc"], 50), False) == ""  # noise


def test_maps_of_levels_0_and_1_are_named(tmp_path):
    maps, _ = read_one(picture(tmp_path / "p00.png", np.uint8([[0, 1, 1]] * 2)))
    assert "largest value of all maps is 0.003922" in own_maps.dark_note(maps)
    assert own_maps.dark_note(read_one(picture(tmp_path / "p00.png", LEVELS))[0]) == ""


def test_tables_to_paste(comparison):
    rows = own_maps.score_rows(comparison, ("mae", "auc", "not measured"))
    assert list(rows["my_net"]) == ["mae ↓", "auc ↑"]
    cell = rows["my_net"]["mae ↓"]
    assert cell == f"{comparison.values['my_net']['mae']:.3f} ± {comparison.errors['my_net']['mae']:.3f}"
    markdown = own_maps.markdown(rows).splitlines()
    assert markdown[0] == "| method | mae ↓ | auc ↑ |" and markdown[2].startswith(f"| my_net | {cell} |")
    latex = own_maps.latex(rows).splitlines()
    assert latex[1] == r"my\_net & " + " & ".join(rows["my_net"].values()).replace("±", r"$\pm$") + r" \\"
    assert own_maps.turned(rows)["auc ↑"] == {name: row["auc ↑"] for name, row in rows.items()}
    apart = own_maps.difference_rows(comparison, ("mae",))
    assert list(apart) == ["mae, best", "mae, bad"] and apart["mae, bad"]["my_net - other"].startswith("-")


def test_a_score_of_one_photo_has_no_standard_error(photos):
    one = compare({"my_net": scores_of(photos[:1], 0.5)}, photos[:1], ["mae", "auc"], 200)
    assert one.errors == {"my_net": {}}
    assert own_maps.score_rows(one, ["mae"]) == {"my_net": {"mae ↓": f"{one.values['my_net']['mae']:.3f}"}}
    assert [line["standard error"] for line in csv.DictReader(own_maps.as_csv(one).splitlines())] == ["", ""]


def test_the_csv_has_a_line_for_each_method_and_metric(comparison):
    lines = list(csv.DictReader(own_maps.as_csv(comparison).splitlines()))
    assert len(lines) == 9
    line = lines[3]
    assert (line["method"], line["metric"]) == ("best", "mae")
    numbers = [float(line[column]) for column in ("score", "standard error", "low", "high")]
    found = comparison.values["best"]["mae"], comparison.errors["best"]["mae"], *comparison.bounds["best"]["mae"]
    assert numbers == list(found) and len(set(found)) == 4
    assert float(line["own - method: difference"]) == comparison.differences["mae"]["best"]["difference"]
    assert lines[0]["own - method: difference"] == ""


def test_the_photos_at_both_ends_of_the_differences(photos, scores):
    first = np.arange(12.0)
    assert own_maps.extreme_photos(first, np.zeros(12)) == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert own_maps.extreme_photos(np.array([0.3, 0.1]), np.zeros(2)) == [1, 0]
    drawing = own_maps.plot_extremes(photos, scores, "best", lambda photo, name: photo.mask)
    assert len(drawing.arrays["names"]) == 10 and (np.diff(drawing.arrays["differences"]) >= 0).all()
    assert (drawing.arrays["map_0"] == 255 * photos.read(drawing.arrays["names"][0]).mask).all()
    plt.close(drawing.figure)


def test_the_curves_have_the_own_method_bold(scores):
    drawing = own_maps.plot_curves(scores, "made-up")
    widths = {line.get_label(): line.get_linewidth() for line in drawing.figure.axes[0].lines}
    assert widths["my_net"] > widths["best"]
    assert (drawing.arrays["best_focus_f"] == scores["best"].curves("focus").f).all()
    plt.close(drawing.figure)


def test_a_protocol_of_many_metrics_has_the_main_columns():
    assert own_maps.columns_of("all") == own_maps.PROTOCOLS["main"]
    assert own_maps.columns_of("d-dffnet") == ("mae", "f-half-blur")
