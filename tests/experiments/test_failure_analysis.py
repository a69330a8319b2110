"""Failure analysis, with a "network" whose map is the brightness of the image, so that results can be computed."""

import numpy as np
import pytest
from scipy import stats
from test_stress import Brightness, grey

from defusion_lib.data import Photo, effects
from defusion_lib.experiments import failure_analysis
from defusion_lib.experiments.controlled_images import ControlledImage
from defusion_lib.experiments.failure_analysis import BlurResponse, Disturbances, Failure, Outcome
from defusion_lib.metrics import Evaluation


@pytest.fixture
def images():
    """Make the two half-and-half images of a photo, and one image of another photo, 32 x 32 pixels of noise."""
    rng = np.random.default_rng(2)
    made = []
    for name in ("photo-left-sharp", "photo-right-sharp", "other"):
        mask = (rng.random((32, 32)) < 0.4).astype(np.float32)
        image = rng.integers(0, 256, (32, 32, 3), np.uint8)
        made.append(ControlledImage(Photo(name, image, mask), 5 * rng.random((32, 32)) * mask, rng.random((32, 32))))
    return made


@pytest.fixture
def maps(images):
    return [grey(each.photo.image).astype(np.float32) for each in images]


def bars(figure):
    return [[bar.get_height() for bar in axis.patches] for axis in figure.axes]


def lines(axis):
    return {line.get_label(): line.get_ydata() for line in axis.lines}


def test_maps_and_scores(images, maps):
    found = failure_analysis.detect_each([each.photo.image for each in images], Brightness())
    assert np.allclose(found, maps, atol=1e-5)
    expected = Evaluation()
    for image, defocus in zip(images, maps):
        expected.add(defocus, image.photo.mask)
    assert failure_analysis.evaluate(images, maps).values() == expected.values()


def test_embedded_photos_have_a_share_and_a_remark():
    maps = {name: np.full((4, 4), level) for name, level in (("skimage-brick", 0.2), ("skimage-page", 0.8))}
    maps["sklearn-flower"] = np.eye(4)
    table = failure_analysis.embedded_table(maps, ["skimage-brick"])
    assert list(table.iloc[:, 0]) == ["0.000", "1.000", "0.250", "0.000"]
    remarks = ["all of it", "all of it (but enlarged)", "the flower, not the leaves behind it", "1 sharp photos"]
    assert list(table.iloc[:, 1]) == remarks
    assert len(failure_analysis.embedded_table(maps, [])) == 3
    photos = {name: np.zeros((4, 4, 3), np.uint8) for name in maps}
    drawing = failure_analysis.draw_embedded(photos, maps)
    assert drawing.arrays["names"] == list(maps) and drawing.arrays["maps"].shape == (3, 4, 4)
    assert [axis.get_ylabel() for axis in drawing.figure.axes if axis.get_ylabel()] == ["brick, page", "flower"]


def test_response_is_the_share_after_each_blur():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    response = failure_analysis.blur_response({"noise": image, "white": image | 255}, [1.0, 3.0], Brightness())
    assert response.radii == [0, 1, 3]
    expected = [(grey(effects.blurred(image, radius)) > 0.5).mean() for radius in (0, 1, 3)]
    assert response.shares == {"noise": pytest.approx(expected, abs=2e-3), "white": [1, 1, 1]}
    with pytest.raises(ValueError, match="No photo is sharp everywhere"):
        failure_analysis.blur_response({}, [1.0], Brightness())


def test_response_table_and_figure():
    shares = {"early": [0.6, 0.9, 1.0], "on-time": [0.0, 0.5, 1.0], "late": [0.0, 0.0, 0.4]}
    response = BlurResponse([0.0, 1.0, 2.0], shares)
    assert list(response.median) == [0, 0.5, 1]
    assert response.detection_radii == {"early": 0, "on-time": 1, "late": np.inf}
    table = failure_analysis.response_table(response)
    expected = ["0 px: without any blur", "1.00 px", "not up to 2 px", "1.00 px"]
    assert list(table["detection radius"]) == expected
    assert list(table["1 px"]) == ["0.900", "0.500", "0.000", "0.500"]
    drawing = failure_analysis.draw_response(response)
    assert list(lines(drawing.figure.axes[0])["late"]) == shares["late"]
    assert drawing.arrays["on_time"] == shares["on-time"] and set(drawing.arrays) > {"radii", "median"}


@pytest.mark.parametrize("blurred", [True, False])
def test_error_by_texture_is_that_of_a_literal_count(images, maps, blurred):
    def literal(image, defocus):
        pixels = [
            (image.texture[y, x], (defocus[y, x] > 0.5) != blurred)
            for y in range(32)
            for x in range(32)
            if (image.photo.mask[y, x] == 1) == blurred
        ]
        parts = np.array_split(np.array([wrong for _, wrong in sorted(pixels)]), 4)
        return np.array([part.mean() for part in parts])

    first, second, other = (literal(*pair) for pair in zip(images, maps))
    found = failure_analysis.error_by_texture(images, maps, blurred)
    assert np.allclose(found, [(first + second) / 2, other])
    both = failure_analysis.errors_by_texture({"kind": images}, {"kind": maps})
    assert list(both) == [("kind", "focus"), ("kind", "blur")]
    assert np.array_equal(both["kind", "blur" if blurred else "focus"], found)


def test_texture_table_concludes_only_where_mean_and_count_agree():
    def rows(smooth, textured):
        return np.stack([smooth, np.full(len(smooth), 0.3), np.full(len(smooth), 0.4), textured], axis=1)

    one = np.array([1.0, *[0.1] * 9])  # of one photo alone the mean is higher
    quarters = {
        ("a", "focus"): rows(np.full(10, 0.5), np.full(10, 0.1)),
        ("a", "blur"): rows(np.full(10, 0.1), np.full(10, 0.5)),
        ("b", "focus"): rows(one, np.full(10, 0.15)),
        ("b", "blur"): rows(np.full(5, 0.5), np.full(5, 0.1)),
    }
    table = failure_analysis.texture_table(quarters)
    unclear = "too few or too mixed to tell"
    assert list(table["conclusion"]) == ["smooth areas fail more", "textured areas fail more", unclear, unclear]
    assert list(table["smooth is worse"]) == [f"in {n} photos" for n in ("10 of 10", "0 of 10", "1 of 10", "5 of 5")]
    # 2 / 2**10 is the smallest of four, 22 / 2**10 the third, 2 / 2**5 the last: times 4, 2 and 1.
    assert list(table["p, corrected"]) == ["0.0078", "0.0078", "0.043", "0.062"]
    assert list(table.loc["b, in focus"][:4]) == ["0.190", "0.300", "0.400", "0.150"]
    assert list(table.index) == ["a, in focus", "a, blurred", "b, in focus", "b, blurred"]


def test_share_by_radius_leaves_empty_bins_out(images):
    radius = np.array([[0, 0, 0.5, 0.7], [5, 5, 5, 30]])
    defocus = np.array([[1, 0, 1, 0], [1, 1, 0, 1]], np.float32)
    image = images[0]._replace(radius=radius)
    found = failure_analysis.share_by_radius([image], [defocus])
    # A radius that is the end of a bin belongs to the bin; the last bin has no end.
    assert np.allclose(found, [(0, 0.5, 0.25), (0.5, 1, 0.125), (0.7, 0, 0.125), (5, 2 / 3, 0.375), (30, 1, 0.125)])
    table = failure_analysis.radius_table(found)
    assert list(table.loc["mean radius, px"]) == ["0.00", "0.50", "0.70", "5.00", "30.00"]
    quarters = {("half-and-half", "blur"): np.full((2, 4), 0.25), ("rendered", "focus"): np.full((3, 4), 0.5)}
    response = BlurResponse([0.0, 2.0], {"x": [0.0, 1.0]})
    drawing = failure_analysis.draw_texture_and_radius(quarters, found, response)
    left, right = drawing.figure.axes
    assert list(lines(left)["rendered, in focus"]) == [0.5] * 4
    assert list(lines(right)["rendered scenes"]) == list(found[:, 1])
    assert set(drawing.arrays) == {"half_and_half_blur", "rendered_focus", "by_radius"}


def test_disturbances_are_measured_at_each_level(images, maps):
    levels = {"noise": [20], "jpeg": [10, 50], "stops": [2], "size": [16]}
    found = failure_analysis.disturb(images, maps, Brightness(), levels, seed=4)
    assert {kind: list(of) for kind, of in found.levels.items()} == levels

    def expected(change):
        changed = [grey(change(each.photo.image, i)) for i, each in enumerate(images)]
        errors = [np.abs(defocus - each.photo.mask).mean() for defocus, each in zip(changed, images)]
        errors = dict(zip((each.photo.name for each in images), errors, strict=True))
        return pytest.approx(errors, abs=2e-3), pytest.approx(
            np.mean([(defocus > 0.5).mean() for defocus in changed]), abs=2e-3
        )

    assert found.plain == expected(lambda image, i: image)
    assert found.levels["noise"][20] == expected(lambda image, i: effects.noisy(image, 20, [4, i]))
    assert found.levels["jpeg"][50] == expected(lambda image, i: effects.jpeg(image, 50))
    assert found.levels["stops"][2] == expected(lambda image, i: effects.darkened(image, 2))
    seen = failure_analysis.detect(images[0].photo.image, Brightness(), 16)
    alone = failure_analysis.disturb(images[:1], maps[:1], Brightness(), {"size": [16]}).levels["size"][16]
    assert (alone.mae, alone.share) == pytest.approx((np.abs(seen - images[0].photo.mask).mean(), (seen > 0.5).mean()))


def outcome(share, **errors):
    """An outcome for two images of each of three photos; `errors` are of the photos."""
    sides = ("left-sharp", "right-sharp")
    return Outcome({f"{name}-{side}": error for name, error in errors.items() for side in sides}, share)


def test_disturbance_table_sentence_and_figure():
    plain, better, worse = (
        outcome(0.5, a=0.1, b=0.2, c=0.3),
        outcome(0.6, a=0.0, b=0.1, c=0.2),
        outcome(0.1, a=0.5, b=0.6, c=0.71),
    )
    found = Disturbances(plain, {"noise": {5: better, 20: worse}, "size": {64: better}})
    table = failure_analysis.disturbance_table(found)
    assert list(table["MAE"]) == ["0.200", "0.100", "0.603", "0.100"]
    assert list(table.index) == ["none", "noise 5", "noise 20", "size 64"]
    error = np.std([0.4, 0.4, 0.41], ddof=1) / np.sqrt(3)  # the two images of a photo count as one
    assert table.loc["noise 20", "standard error"] == f"{error:.3f}" and table.loc["none", "difference"] == ""
    change = found.change(worse)
    assert change[:2] == pytest.approx((1.21 / 3, error))
    assert change.at_least == pytest.approx(1.21 / 3 - stats.t.ppf(1 - 0.05 / 3, 2) * error)
    assert failure_analysis.worst_disturbance(found).endswith("noise 20 does most: more pixels are marked as in focus.")
    more = Disturbances(plain, {"jpeg": {10: outcome(0.9, a=0.3, b=0.41, c=0.5)}})
    assert failure_analysis.worst_disturbance(more).endswith("jpeg 10 does most: more pixels are marked as blurred.")
    by_chance = outcome(0.9, a=0.1, b=0.2, c=0.9)
    for harmless in (better, by_chance):
        sentence = failure_analysis.worst_disturbance(Disturbances(plain, {"stops": {1: harmless}}))
        assert sentence == "No disturbance raises the error by more than chance."
    drawing = failure_analysis.draw_disturbances(found, 96)
    assert [height for of in bars(drawing.figure) for height in of] == pytest.approx([0.1, 1.81 / 3, 0.1])
    assert np.allclose(drawing.arrays["noise"], [(0.1, 0.6, 0), (1.81 / 3, 0.1, error)])
    assert np.shape(drawing.arrays["size"]) == (1, 3) and drawing.arrays["plain"] == pytest.approx((0.2, 0.5))


def known_image(mask, radius, texture, name="image"):
    photo = Photo(name, np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.float32))
    return ControlledImage(photo, radius, texture)


def test_reasons_are_given_only_where_pixels_support_them():
    mask = np.zeros((10, 10))
    mask[5:] = 1
    radius = mask * np.arange(1, 11)[:, None]
    texture = np.broadcast_to(np.arange(10.0), (10, 10))
    image = known_image(mask, radius, texture)

    def explain(wrong):
        return Failure(image, np.where(wrong, 1 - mask, mask), 0.0).explain()

    wrong = np.zeros((10, 10), bool)
    wrong[:3, :2] = True  # the two smoothest columns of the part in focus
    wrong[5, 0] = True
    assert explain(wrong) == {
        "false alarms": "6%",
        "misses": "1%",
        "most errors are": "false alarms",
        # In 6 of 6 x 44 pairs the wrong pixel is the more textured one, and 12 pairs are ties, which count half.
        "which are": f"smoother ({1 - (6 + 12 / 2) / (6 * 44):.0%})",
    }
    wrong = np.zeros((10, 10), bool)
    wrong[5, 8:] = True  # the least blurred row, its most textured columns
    assert explain(wrong)["which are"] == "more textured (92%), less blurred (92%)"
    wrong = np.zeros((10, 10), bool)
    wrong[:5, ::9] = True
    assert explain(wrong)["which are"] == "neither smoother nor more textured"


def test_the_worst_maps_come_first(images, maps):
    errors = [np.abs(defocus - each.photo.mask).mean() for each, defocus in zip(images, maps)]
    known, found = {"a": images[:1], "b": images[1:]}, {"a": maps[:1], "b": maps[1:]}
    failures = failure_analysis.worst_maps(known, found, 2)
    order = np.argsort(errors)[::-1][:2]
    assert [each.image.photo.name for each in failures] == [images[i].photo.name for i in order]
    table = failure_analysis.failure_table(failures)
    assert list(table["MAE"]) == [f"{errors[i]:.2f}" for i in order]
    drawing = failure_analysis.draw_failures(failures)
    assert drawing.arrays["errors"] == [errors[i] for i in order] and drawing.arrays["maps"].shape == (2, 32, 32)
    same = failure_analysis.worst_maps({"a": images[:1] * 2}, {"a": maps[:1] * 2}, 4)
    assert len(same) == 2


def test_results_have_the_keys_of_the_collection(images, maps):
    response = BlurResponse([0.0, 1.0], {"brick": [0.2, 0.8], "grass": [0.0, 0.1]})
    evaluation = failure_analysis.evaluate(images, maps)
    quarters = {("half-and-half", "focus"): np.array([[0.1, 0.1, 0.3, 0.4], [0.3, 0.1, 0.3, 0.6]])}
    disturbances = Disturbances(outcome(0.5, a=0.1), {"noise": {20: outcome(0.2, a=0.4)}})
    shown = {"brick": np.eye(4)}
    found = failure_analysis.results("net", shown, response, {"half-and-half": evaluation}, quarters, disturbances)
    expected = {
        "brick/net/blurred-share": 0.25,
        "sharp/net/blurred-share": 0.1,
        "brick/net/firing-radius": 0.5,
        "half-and-half/net/error-smooth-focus": 0.2,
        "half-and-half/net/error-textured-focus": 0.5,
        "half-and-half/net/mae-noise-20": 0.4,
        "half-and-half/net/blurred-share-noise-20": 0.2,
    }
    expected |= {f"half-and-half/net/{metric}": value for metric, value in evaluation.values().items()}
    assert found == pytest.approx(expected)
