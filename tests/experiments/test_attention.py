"""Channel attention is recorded as in Eq. 4-7, changed as requested, restored afterwards, and summarised."""

import copy
import statistics

import numpy as np
import pytest
import torch

from defusion_lib import cam_hooks
from defusion_lib.data import Photo
from defusion_lib.evaluation.map_scores import DRAWS
from defusion_lib.experiments import attention, attention_changes, attention_figures
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation, max_f
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import as_levels

SIZE = 32
# Two computations in single precision that add in different order; values up to about 1.
ROUNDING = dict(rtol=1e-4, atol=1e-5)


def made(**switches):
    """Make a network whose CAM weights differ from 0.5 and between images: initial weights hardly do."""
    torch.manual_seed(0)
    network = DeFusionNet("compact", **switches)
    for step in network.steps:
        for score in step.score:
            torch.nn.init.normal_(score.weight, std=0.5)
    for fusion in cam_hooks.fusion_modules(network).values() if network.config["cam"] != "off" else ():
        torch.nn.init.normal_(fusion.cam.down.weight, std=0.3)
        torch.nn.init.normal_(fusion.cam.up.weight, std=0.3)
    return network


@pytest.fixture(scope="module")
def network():
    return made(steps=2)


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def literal_terms(cam, x):
    """Compute the two terms of the sum in Eq. 6 for maps (C, H, W), in float64 NumPy."""
    down = cam.down.weight.detach().double().numpy()
    average = np.array([channel.sum() / channel.size for channel in x.astype(float)])
    highest = np.array([channel.max() for channel in x.astype(float)])
    return {"gap": np.maximum(down @ average, 0), "gmp": np.maximum(down @ highest, 0)}


def literal_weights(cam, term):
    return 1 / (1 + np.exp(-(cam.up.weight.detach().double().numpy() @ term)))


def inputs(network, image):
    """Compute the input (C, H, W) of each CAM by the network's steps, one at a time."""
    with torch.inference_mode():
        features = network.project_features(torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))[None])
        for j, step in enumerate(network.steps, start=1):
            yield (j, "shallow"), torch.cat(features[:3], 1)[0].numpy()
            yield (j, "deep"), torch.cat(features[3:], 1)[0].numpy()
            features, _ = step(features)


def test_record_is_equations_4_to_7_in_every_cam(network):
    records = attention.record(image(), network, SIZE)
    for each, (key, features) in zip(records, inputs(network, image()), strict=True):
        assert each.key == key
        np.testing.assert_allclose(each.features, features, **ROUNDING)
        cam = cam_hooks.fusion_modules(network)[key].cam
        terms = literal_terms(cam, features)
        np.testing.assert_allclose(each.weights, literal_weights(cam, terms["gap"] + terms["gmp"]), **ROUNDING)
        for name, term in terms.items():
            np.testing.assert_allclose(each.branches[name], term, **ROUNDING)
            np.testing.assert_allclose(each.alone[name], literal_weights(cam, term), **ROUNDING)
        assert np.ptp(each.weights) > 0.1


@pytest.mark.parametrize("pooling", ["gap", "gmp"])
def test_a_network_with_one_branch_records_that_one(pooling):
    for each in attention.record(image(), made(steps=1, cam=pooling), SIZE):
        assert list(each.branches) == list(each.alone) == [pooling]
        np.testing.assert_allclose(each.alone[pooling], each.weights, **ROUNDING)


def test_without_ffrm_there_is_one_group():
    network = made(steps=2, ffrm=False)
    records = attention.record(image(), network, SIZE)
    assert [(each.key, len(each.weights)) for each in records] == [((1, "all"), 192), ((2, "all"), 192)]
    assert len(cam_hooks.GROUP_TAPS["all"]) * 32 == 192


def test_record_removes_its_hooks(network):
    attention.record(image(), network, SIZE)
    with pytest.raises(ValueError):
        attention.record(np.zeros((0, 3, 3), np.uint8), network, SIZE)
    assert not any(fusion.cam._forward_hooks for fusion in cam_hooks.fusion_modules(network).values())


def test_weights_of_one_are_the_network_without_cam(network):
    without = made(steps=2, cam="off")
    without.load_state_dict({k: v for k, v in network.state_dict().items() if ".cam." not in k})
    by = {key: 1 for key in cam_hooks.fusion_modules(network)}
    with cam_hooks.intervene(network, cam_hooks.constant_weights(by)):
        found = detect(image(), network, SIZE)
    np.testing.assert_allclose(found, detect(image(), without, SIZE), **ROUNDING)
    assert np.abs(found - detect(image(), network, SIZE)).max() > 1e-3


def test_constant_weights_are_those_of_each_channel(network):
    rng = np.random.default_rng(1)
    by = {key: rng.random(96) for key in cam_hooks.fusion_modules(network)}
    scaled = made(steps=2, cam="off")
    scaled.load_state_dict({k: v for k, v in network.state_dict().items() if ".cam." not in k})
    for (j, group), weights in by.items():
        fuse = getattr(scaled.steps[j - 1], {"shallow": "fshf", "deep": "fsef"}[group]).fuse
        fuse.weight.data *= torch.from_numpy(weights)[None, :, None, None].float()
    with cam_hooks.intervene(network, cam_hooks.constant_weights(by)):
        found = detect(image(), network, SIZE)
    np.testing.assert_allclose(found, detect(image(), scaled, SIZE), **ROUNDING)


def test_zero_channels_are_columns_of_zeros(network):
    off = {(1, "shallow"): [0, 17, 95], (2, "deep"): [3]}
    cut = copy.deepcopy(network)
    cut.steps[0].fshf.fuse.weight.data[:, [0, 17, 95]] = 0
    cut.steps[1].fsef.fuse.weight.data[:, [3]] = 0
    with cam_hooks.intervene(network, cam_hooks.zero_channels(off)):
        found = detect(image(), network, SIZE)
        seen = {each.key: each.weights for each in attention.record(image(), network, SIZE)}
    np.testing.assert_allclose(found, detect(image(), cut, SIZE), **ROUNDING)
    assert np.abs(found - detect(image(), network, SIZE)).max() > 1e-4
    assert {key: np.flatnonzero(weights == 0).tolist() for key, weights in seen.items()} == {
        key: off.get(key, []) for key in cam_hooks.fusion_modules(network)
    }


def test_the_network_is_restored_after_a_change_and_after_an_error(network):
    before = detect(image(), network, SIZE)
    with cam_hooks.intervene(network, lambda key, weights: weights * 0):
        assert not np.array_equal(detect(image(), network, SIZE), before)
    np.testing.assert_array_equal(detect(image(), network, SIZE), before)
    with pytest.raises(ZeroDivisionError):
        with cam_hooks.intervene(network, lambda key, weights: weights / (1 // 0)):
            detect(image(), network, SIZE)
    np.testing.assert_array_equal(detect(image(), network, SIZE), before)


def test_changes_do_not_nest(network):
    before = detect(image(), network, SIZE)
    with cam_hooks.intervene(network, lambda key, weights: weights * 0):
        off = detect(image(), network, SIZE)
        with pytest.raises(ValueError, match="combine both changes in one function"):
            with cam_hooks.intervene(network, lambda key, weights: weights):
                pass
        np.testing.assert_array_equal(detect(image(), network, SIZE), off)
    np.testing.assert_array_equal(detect(image(), network, SIZE), before)


@pytest.mark.parametrize("cam", ["off", "constant"])
def test_a_network_without_cam_raises(cam):
    without = DeFusionNet("compact", steps=1, cam=cam)
    with pytest.raises(ValueError, match="has no CAM"):
        attention.record(image(), without, SIZE)
    with pytest.raises(ValueError, match="has no CAM"):
        with cam_hooks.intervene(without, lambda key, weights: weights):
            pass


def test_collect_stacks_the_records(network):
    photos = [Photo(str(seed), image(seed), None) for seed in range(3)]
    collected = attention.collect(photos, network, SIZE)
    assert collected.keys == [(1, "shallow"), (1, "deep"), (2, "shallow"), (2, "deep")]
    highest = np.zeros((3, 4, 96))
    for n, one in enumerate(photos):
        for m, each in enumerate(attention.record(one.image, network, SIZE)):
            np.testing.assert_array_equal(collected.weights[n, m], each.weights)
            np.testing.assert_array_equal(collected.branches["gmp"][n, m], each.branches["gmp"])
            np.testing.assert_array_equal(collected.alone["gap"][n, m], each.alone["gap"])
            np.testing.assert_allclose(collected.means[n, m], each.features.astype(float).mean((1, 2)), **ROUNDING)
            highest[n, m] = each.features.reshape(96, -1).max(1)
    expected = [[max(highest[n, m, c] for n in range(3)) > 0 for c in range(96)] for m in range(4)]
    np.testing.assert_array_equal(collected.alive, expected)
    # The line above means something only if some channels are alive in some images only, and some in none.
    assert not collected.alive.all() and (collected.alive & (highest == 0).any(0)).any()


def test_standard_deviations_are_of_one_channel_and_of_the_channels():
    weights = np.random.default_rng(0).random((3, 2, 5))
    variances = [statistics.pvariance(weights[:, m, c]) for m in range(2) for c in range(5)]
    of_means = [statistics.pvariance([statistics.fmean(weights[:, m, c]) for c in range(5)]) for m in range(2)]
    expected = statistics.fmean(variances) ** 0.5, statistics.fmean(of_means) ** 0.5
    np.testing.assert_allclose(attention.standard_deviations(weights), expected, rtol=1e-12)


def collected_of(weights, means=None, alive=None, keys=((1, "shallow"), (1, "deep")), branches=None, alone=None):
    """Make a `CollectedAttention` of arrays."""
    weights = np.array(weights)
    means = weights if means is None else np.array(means)
    alive = np.ones(weights.shape[1:], bool) if alive is None else np.array(alive)
    return attention.CollectedAttention(list(keys), weights, means, alive, branches or {}, alone or {})


@pytest.fixture(scope="module")
def collected():
    """Two images, two CAMs with 96 channels and 2 units; the deep CAM has no active unit, so its weights are 0.5."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.2, 0.8, (2, 2, 96))
    weights[:, 1] = 0.5
    weights[0, 0, :3], weights[1, 0, 95] = 0.001, 0.999
    alive = np.ones((2, 96), bool)
    alive[0, [4, 5, 6]] = False
    gap = np.array([[[0.0, 2.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 0.0]]])
    gmp = np.array([[[1.0, 9.0], [0.0, 0.0]], [[0.0, 6.0], [0.0, 0.0]]])
    alone = {"gap": 1 - weights, "gmp": weights + 0.01}
    alone["gap"][:, 1] = alone["gmp"][:, 1] = 0.5
    return collected_of(weights, alive=alive, branches={"gap": gap, "gmp": gmp}, alone=alone)


def test_contributions_are_weight_times_mean_times_column():
    network = made(steps=1)
    rng = np.random.default_rng(0)
    weights, means = rng.random((2, 2, 96)), rng.random((2, 2, 96))
    found = attention.channel_contributions(collected_of(weights, means), network)
    for m, fuse in enumerate((network.steps[0].fshf.fuse, network.steps[0].fsef.fuse)):
        for c in (0, 40, 95):
            column = sum(float(fuse.weight[o, c, 0, 0].detach()) ** 2 for o in range(16)) ** 0.5
            expected = sum(weights[n, m, c] * means[n, m, c] for n in range(2)) / 2 * column
            assert found[m, c] == pytest.approx(expected, rel=1e-5)


def test_top_channels_are_the_highest_alive_of_the_first_step():
    keys = ((1, "shallow"), (1, "deep"), (2, "shallow"))
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1], [1, 2, 3, 4]])
    alive = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], bool)
    found = attention.top_channels(collected_of(scores[None], alive=alive, keys=keys), scores, 2)
    assert {key: list(channels) for key, channels in found.items()} == {(1, "shallow"): [3, 2], (1, "deep"): [1]}
    second = attention.top_channels(collected_of(scores[None], alive=alive, keys=keys), scores, 2, step=2)
    assert {key: list(channels) for key, channels in second.items()} == {(2, "shallow"): [3, 2]}


def test_tap_means_are_over_32_channels_each(collected):
    found = attention.tap_means(collected)
    assert found.shape == (2, 3)
    assert found[0, 1] == pytest.approx(collected.weights[:, 0, 32:64].mean())
    table = attention.tap_table(collected)
    assert list(table) == ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "pool5"]
    assert table.loc["step 1, shallow", "conv2_2"] == f"{found[0, 1]:.3f}"
    assert table.loc["step 1, deep"].tolist() == ["", "", "", "0.500", "0.500", "0.500"]


def test_branches_are_summarised_by_cam_and_together(collected):
    found = attention.summarise_branches(collected)
    assert found["gap"].term.tolist() == [1.5, 0] and found["gmp"].term.tolist() == [4, 0]
    assert found["gap"].active_units.tolist() == [1, 0] and found["gmp"].active_units.tolist() == [2, 0]
    assert [found[name].correlation[0] for name in ("gap", "gmp")] == pytest.approx([-1, 1])
    assert np.isnan(found["gap"].correlation[1])
    assert found["gmp"].mean_difference == pytest.approx(0.005)
    # Both signs occur: without the absolute value they would cancel.
    signed = collected.alone["gap"] - collected.weights
    assert signed.min() < 0 < signed.max()
    assert found["gap"].mean_difference == pytest.approx(statistics.fmean(map(abs, signed.ravel().tolist())))
    flat = [array.ravel() for array in (collected.alone["gap"], collected.weights)]
    assert found["gap"].overall_correlation == pytest.approx(statistics.correlation(*map(list, flat)))
    assert attention.inactive_cams(collected) == [(1, "deep")]
    assert attention.saturated_shares(collected) == pytest.approx([4 / 192, 0])


def test_tables_of_cams(collected):
    weights = attention.weight_table(collected)
    assert weights.loc["step 1, shallow", "channels always zero"] == "3 of 96"
    assert weights.loc["step 1, shallow", ["lowest", "highest"]].tolist() == ["0.001", "0.999"]
    between_images, between_channels = attention.standard_deviations(collected.weights[:, :1])
    assert weights.loc["step 1, shallow", "std between photos"] == f"{between_images:.3f}"
    assert weights.loc["step 1, shallow", "std between channels"] == f"{between_channels:.3f}"
    branches = attention.branch_table(collected)
    assert branches.loc["step 1, shallow"].tolist() == ["2.1%", "1.500", 1, "-1.000", "4.000", 2, "1.000"]
    assert branches.loc["step 1, deep"].tolist() == ["0.0%", "0.000", 0, "-", "0.000", 0, "-"]


def test_the_summary_has_the_names_of_result_files(collected):
    found = attention.summary(collected)
    assert found["channels-always-zero-share"] == pytest.approx(3 / 192)
    assert found["weights-saturated-share"] == pytest.approx(4 / 384)
    assert found["gap-term"] == pytest.approx(0.75) and found["gmp-term"] == pytest.approx(2)
    assert (found["weights-std-between-images"], found["weights-std-between-channels"]) == (
        attention.standard_deviations(collected.weights)
    )
    assert set(found) - {"gap-term", "gmp-term"} == {
        "weights-std-between-images",
        "weights-std-between-channels",
        "weights-saturated-share",
        "channels-always-zero-share",
        "gap-alone-correlation",
        "gmp-alone-correlation",
    }


# ----------------------------------------------------------------------------------------------------- figures


def test_the_grid_is_filled_row_by_row():
    side, columns = attention_figures.GRID_SIDE + 2, attention_figures.GRID_COLUMNS
    maps = np.arange(columns + 1)[:, None, None] / 10 * np.ones((1, 4, 6))
    grid = attention_figures.image_grid(maps)
    assert grid.shape == (2 * side, columns * side)
    centres = grid[side // 2 :: side, side // 2 :: side]
    assert centres[0] == pytest.approx(np.arange(columns) / 10)
    assert centres[1] == pytest.approx([columns / 10] + [1] * (columns - 1))
    assert (grid[[0, side - 1, side]] == 1).all() and (grid[:, [0, side - 1, side]] == 1).all()


def panel(figure, letter):
    """Return the panel of Figure 4 with this letter."""
    (found,) = [axis for axis in figure.axes if axis.get_xlabel().startswith(f"({letter}) ")]
    return found


def test_figure_4_shows_36_channels_of_the_first_step(network):
    photo = Photo("a", image(), None)
    records = attention.record(photo.image, network, SIZE)
    defocus = detect(photo.image, network, SIZE)
    records[0].features[5] = 0
    drawing = attention_figures.plot_figure_4(photo, defocus, records)
    assert drawing.name == "figure_4" and "36 channels" in drawing.caption
    shallow = records[0]
    assert np.array_equal(drawing.arrays["shallow_weights"], shallow.weights[:36])
    maps = attention_figures.shown_maps(shallow)
    alive = shallow.features[:36].max((1, 2)) > 0
    assert not alive.all() and maps.max((1, 2)).tolist() == alive.tolist()
    assert np.array_equal(drawing.arrays["shallow_maps"], as_levels(attention_figures.image_grid(maps)))
    assert drawing.arrays["defocus"].shape == (160, 160)
    weighted = panel(drawing.figure, "h").images[0].get_array()
    deep = attention_figures.shown_maps(records[1]) * records[1].weights[:36, None, None]
    assert np.array_equal(weighted, attention_figures.image_grid(deep))
    bars = [bar.get_height() for bar in panel(drawing.figure, "d").patches]
    assert bars == pytest.approx(shallow.weights[:36].tolist())
    assert panel(drawing.figure, "b").texts[0].get_text() == "no mask"
    assert sorted(axis.get_xlabel()[:3] for axis in drawing.figure.axes) == [f"({letter})" for letter in "abcdefghi"]
    assert all(f"({letter})" in drawing.caption for letter in "abcdefghi")
    masked = attention_figures.plot_figure_4(photo._replace(mask=defocus), defocus, records)
    assert np.array_equal(panel(masked.figure, "b").images[0].get_array(), defocus)
    assert "no mask" in drawing.caption and "no mask" not in masked.caption
    table = attention_figures.figure_4_table(records)
    assert table.loc["shallow", "maps of zeros"] == (~alive).sum()
    assert table.loc["shallow", "highest weight"] == f"{shallow.weights[:36].max():.2f}"


def test_the_plot_of_weights_has_a_panel_per_cam(collected):
    drawing = attention_figures.plot_weights(collected)
    assert drawing.name == "attention_weights"
    np.testing.assert_array_equal(drawing.arrays["mean"], collected.weights.mean(axis=0))
    np.testing.assert_array_equal(drawing.arrays["std"], collected.weights.std(axis=0))
    assert [axis.get_title() for axis in drawing.figure.axes] == ["step 1, shallow", "step 1, deep"]
    shallow = drawing.figure.axes[0]
    crosses = next(line for line in shallow.lines if line.get_marker() == "x")
    assert crosses.get_xdata().tolist() == [5, 6, 7]
    means = [line.get_ydata() for line in shallow.lines if line.get_marker() in ("o", "s", "^")]
    assert np.concatenate(means) == pytest.approx(collected.weights.mean(axis=0)[0])


def test_weights_of_a_network_without_ffrm_can_be_plotted():
    photos = [Photo(str(seed), image(seed), None) for seed in range(2)]
    collected = attention.collect(photos, made(steps=2, ffrm=False), SIZE)
    for draw in (attention_figures.plot_weights, attention_figures.plot_branches):
        assert [axis.get_title() for axis in draw(collected).figure.axes] == ["step 1, all", "step 2, all"]


def test_the_plot_of_branches_has_a_bar_per_unit_and_names_inactive_cams(collected):
    drawing = attention_figures.plot_branches(collected)
    assert drawing.name == "attention_branches"
    assert drawing.arrays["gap"].tolist() == [[0, 3], [0, 0]]
    assert drawing.arrays["saturated"] == pytest.approx([4 / 192, 0])
    assert drawing.arrays["gmp_alone"][0] == pytest.approx(1)
    shallow, deep = drawing.figure.axes
    assert [bar.get_height() for bar in shallow.patches] == [0, 3, 0.5, 7.5]
    assert [text.get_text() for text in deep.texts] == ["no unit is active"] and not shallow.texts


# ------------------------------------------------------------------------------------- changes of the weights


@pytest.fixture(scope="module")
def photos():
    """Four photos with masks of both classes."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[:, SIZE // 2 :] = 1
    return [Photo(str(seed), image(seed), mask) for seed in range(4)]


@pytest.fixture(scope="module")
def effects(network, photos):
    collected = attention.collect(photos, network, SIZE)
    changes = attention_changes.make_changes(collected, network, [8, 24], 2, 0)
    return attention_changes.measure(changes, network, photos, SIZE)


def weights_under(change, network):
    """Return the weights of each CAM under a change, {key: (C,)}."""
    with cam_hooks.intervene(network, change):
        return {each.key: each.weights for each in attention.record(image(7), network, SIZE)}


@pytest.mark.slow
def test_changes_set_the_channels_of_the_first_step_to_zero(network, photos):
    collected = attention.collect(photos, network, SIZE)
    changes = attention_changes.make_changes(collected, network, [8], 2, 0)
    as_trained = weights_under(lambda key, weights: weights, network)
    mean = collected.weights.mean(axis=0)
    for choice, score in (("highest", mean[0]), ("lowest", -mean[0])):
        (change,) = changes[f"8 off: {choice} weights"]
        found = weights_under(change, network)
        zero = np.flatnonzero(found[1, "shallow"] == 0)
        alive = np.flatnonzero(collected.alive[0])
        assert set(zero) == set(alive[np.argsort(-score[alive], kind="stable")[:8]])
        np.testing.assert_array_equal(found[2, "shallow"] == 0, as_trained[2, "shallow"] == 0)
    first, second = (np.flatnonzero(weights_under(each, network)[1, "deep"] == 0) for each in changes["8 off: random"])
    assert len(first) == len(second) == 8 and set(first) != set(second)
    (contributing,) = changes["8 off: largest contributions"]
    expected = attention.top_channels(collected, attention.channel_contributions(collected, network), 8)
    found = weights_under(contributing, network)
    assert set(np.flatnonzero(found[1, "deep"] == 0)) == set(expected[1, "deep"])


def test_constant_changes_use_the_mean_weights(network, photos):
    collected = attention.collect(photos, network, SIZE)
    changes = attention_changes.make_changes(collected, network, [], 1, 0)
    assert list(changes) == [attention_changes.UNCHANGED, attention_changes.AVERAGE, attention_changes.SAME]
    average = weights_under(changes[attention_changes.AVERAGE][0], network)
    same = weights_under(changes[attention_changes.SAME][0], network)
    for m, key in enumerate(collected.keys):
        np.testing.assert_allclose(average[key], collected.weights[:, m].mean(axis=0), **ROUNDING)
        np.testing.assert_allclose(same[key], np.full(96, collected.weights[:, m].mean()), **ROUNDING)


@pytest.mark.slow
def test_effects_are_the_scores_of_the_changed_network(network, photos, effects):
    assert list(effects)[:2] == ["as trained", "8 off: highest weights"] and len(effects) == 1 + 2 * 4 + 2
    expected = Evaluation()
    for photo in photos:
        expected.add(detect(photo.image, network, SIZE), photo.mask)
    found = effects["as trained"]
    assert found.errors.shape == (4,) and found.errors.mean() == pytest.approx(expected.mae())
    assert found.max_f == pytest.approx(expected.max_f("focus"))
    drawn = np.random.default_rng(0).integers(0, 4, (DRAWS, 4))
    resampled = [max_f(expected.counts[photos_drawn], "focus") for photos_drawn in drawn]
    np.testing.assert_allclose(found.max_f_draws, resampled, **ROUNDING)
    collected = attention.collect(photos, network, SIZE)
    changes = attention_changes.make_changes(collected, network, [8], 2, 0)["8 off: random"]
    both = [attention_changes.measure({"a": [change]}, network, photos, SIZE)["a"] for change in changes]
    np.testing.assert_allclose(effects["8 off: random"].errors, (both[0].errors + both[1].errors) / 2, **ROUNDING)
    assert effects["8 off: random"].max_f == pytest.approx((both[0].max_f + both[1].max_f) / 2)
    assert not np.array_equal(both[0].errors, both[1].errors)


def made_up_effects(**errors):
    """Effects with these errors per photo; the rest is as trained."""
    names = ["as trained"]
    names += [f"8 off: {choice}" for choice in (*attention_changes.PREDICTED, "random")]
    names += [attention_changes.AVERAGE, attention_changes.SAME]
    given = {name.replace("_", " "): values for name, values in errors.items()}
    errors = [np.array(given.get(name.removeprefix("8 off: "), [0.1, 0.2, 0.3])) for name in names]
    return {name: attention_changes.Effect(values, 0.7, np.array([0.6, 0.8])) for name, values in zip(names, errors)}


def test_paired_differences_are_over_photos():
    first = attention_changes.Effect(np.array([0.2, 0.3, 0.7]), 0.5, np.array([0.4, 0.6]))
    second = attention_changes.Effect(np.array([0.1, 0.3, 0.5]), 0.6, np.array([0.4, 0.8]))
    difference, error = attention_changes.paired_difference(first, second)
    assert difference == pytest.approx(0.1)
    assert error == pytest.approx(statistics.stdev([0.1, 0, 0.2]) / 3**0.5)
    assert attention_changes.max_f_difference(first, second) == pytest.approx((-0.1, statistics.stdev([0, -0.2])))


def test_comparisons_are_with_random_channels_by_students_t_corrected_by_holm():
    # Lowest weights: t is -7.2 with 2 degrees of freedom, p = 0.019, and 0.056 corrected; 1e-12 by a normal distribution.
    effects = made_up_effects(
        highest_weights=[0.30, 0.41, 0.50], lowest_weights=[0.15, 0.22, 0.34], random=[0.2, 0.3, 0.4]
    )
    found = attention_changes.compare(effects, [8])
    highest, lowest = found["8 off: highest weights"], found["8 off: lowest weights"]
    assert highest.reference == "8 off: random" and highest.difference == pytest.approx(0.31 / 3)
    assert highest.result == highest.predicted == "larger error"
    assert lowest.difference < 0 and lowest.result == "no clear difference" and lowest.predicted == "smaller error"
    largest = found["8 off: largest contributions"]
    assert (largest.result, largest.predicted) == ("smaller error", "")
    assert found[attention_changes.SAME].reference == "as trained"
    assert found[attention_changes.SAME].result == "no clear difference"
    table = attention_changes.comparison_table(found)
    assert list(table.index) == list(found)
    assert table.iloc[0].tolist() == ["8 off: random", "+0.1033 ± 0.0033", "larger error", "larger error"]


def test_the_table_of_effects_has_differences_from_the_network_as_trained():
    table = attention_changes.effect_table(made_up_effects(random=[0.2, 0.3, 0.5]))
    assert table.loc["as trained"].tolist() == ["0.200", "0.700", "", ""]
    assert table.loc["8 off: random"].tolist() == ["0.333", "0.700", "+0.1333 ± 0.0333", "+0.0000 ± 0.0000"]


def test_the_plot_of_effects_shows_differences_from_the_network_as_trained():
    effects = made_up_effects(random=[0.2, 0.3, 0.5])
    drawing = attention_changes.plot_effects(effects, [8, 24])
    assert drawing.name == "attention_effects" and "8 or 24 channels" in drawing.caption
    assert drawing.arrays["names"] == list(effects)
    assert drawing.arrays["errors"].shape == (7, 3) and drawing.arrays["max_f"].tolist() == [0.7] * 7
    axis = drawing.figure.axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == list(effects)[:0:-1]
    shown = {labels[int(line.get_ydata()[0])]: line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"}
    assert shown["8 off: random"] == pytest.approx(0.4 / 3) and shown["8 off: lowest weights"] == 0


def test_effects_have_the_names_of_result_files():
    found = attention_changes.effects_by_method("ours", made_up_effects())
    assert list(found) == [
        "ours",
        "ours+8-off-highest-weights",
        "ours+8-off-lowest-weights",
        "ours+8-off-largest-contributions",
        "ours+8-off-random",
        "ours+average-weight-of-each-channel",
        "ours+same-weight-for-all-channels",
    ]
    assert found["ours"] == pytest.approx({"mae": 0.2, "max-f-focus": 0.7})
