"""Channel cam_hooks is read as Eq. 4-7 say, changed as asked, and left as it was."""

import copy
import statistics

import numpy as np
import pytest
import torch

from defusion_lib import cam_hooks
from defusion_lib.data import Photo
from defusion_lib.experiments import attention
from defusion_lib.inference import detect
from defusion_lib.network import DeFusionNet

SIZE = 32
# Two computations in single precision that add in another order; values up to about 1.
ROUNDING = dict(rtol=1e-4, atol=1e-5)


def made(**switches):
    """A network with weights that leave 0.5 and differ between photographs: as initialised they hardly do."""
    torch.manual_seed(0)
    network = DeFusionNet("compact", **switches)
    for step in network.steps:
        for score in step.score:
            torch.nn.init.normal_(score.weight, std=0.5)
    for fusion in cam_hooks.fusion_modules(network).values() if network.switches["cam"] != "off" else ():
        torch.nn.init.normal_(fusion.cam.down.weight, std=0.3)
        torch.nn.init.normal_(fusion.cam.up.weight, std=0.3)
    return network


@pytest.fixture(scope="module")
def network():
    return made(steps=2)


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def literal_squeeze(cam, x):
    """The two terms of the sum in Eq. 6 for maps (C, H, W), in float64 NumPy."""
    down = cam.down.weight.detach().double().numpy()
    average = np.array([channel.sum() / channel.size for channel in x.astype(float)])
    highest = np.array([channel.max() for channel in x.astype(float)])
    return {"gap": np.maximum(down @ average, 0), "gmp": np.maximum(down @ highest, 0)}


def literal_gate(cam, squeezed):
    return 1 / (1 + np.exp(-(cam.up.weight.detach().double().numpy() @ squeezed)))


def fed(network, image):
    """What each CAM is given, (C, H, W), by taking the network's own steps one at a time."""
    with torch.inference_mode():
        features = network.layers(torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))[None])
        for j, step in enumerate(network.steps, start=1):
            yield (j, "shallow"), torch.cat(features[:3], 1)[0].numpy()
            yield (j, "deep"), torch.cat(features[3:], 1)[0].numpy()
            features, _ = step(features)


def test_record_is_equations_4_to_7_at_every_place(network):
    records = attention.record(photo(), network, SIZE)
    for each, (place, features) in zip(records, fed(network, photo()), strict=True):
        assert each.key == place
        np.testing.assert_allclose(each.features, features, **ROUNDING)
        cam = cam_hooks.fusion_modules(network)[place].cam
        terms = literal_squeeze(cam, features)
        np.testing.assert_allclose(each.weights, literal_gate(cam, terms["gap"] + terms["gmp"]), **ROUNDING)
        for name, term in terms.items():
            np.testing.assert_allclose(each.branches[name], term, **ROUNDING)
            np.testing.assert_allclose(each.alone[name], literal_gate(cam, term), **ROUNDING)
        assert np.ptp(each.weights) > 0.1


@pytest.mark.parametrize("pooling", ["gap", "gmp"])
def test_a_network_with_one_branch_has_that_one(pooling):
    for each in attention.record(photo(), made(steps=1, cam=pooling), SIZE):
        assert list(each.branches) == list(each.alone) == [pooling]
        np.testing.assert_allclose(each.alone[pooling], each.weights, **ROUNDING)


def test_without_ffrm_there_is_one_group():
    network = made(steps=2, ffrm=False)
    records = attention.record(photo(), network, SIZE)
    assert [(each.key, len(each.weights)) for each in records] == [((1, "all"), 192), ((2, "all"), 192)]
    assert len(cam_hooks.GROUP_TAPS["all"]) * 32 == 192


def test_record_leaves_nothing_behind(network):
    attention.record(photo(), network, SIZE)
    with pytest.raises(ValueError):
        attention.record(np.zeros((0, 3, 3), np.uint8), network, SIZE)
    assert not any(fusion.cam._forward_hooks for fusion in cam_hooks.fusion_modules(network).values())


def test_weights_of_one_are_the_network_without_cam(network):
    without = made(steps=2, cam="off")
    without.load_state_dict({k: v for k, v in network.state_dict().items() if ".cam." not in k})
    by = {place: 1 for place in cam_hooks.fusion_modules(network)}
    with cam_hooks.intervene(network, cam_hooks.constant_weights(by)):
        found = detect(photo(), network, SIZE)
    np.testing.assert_allclose(found, detect(photo(), without, SIZE), **ROUNDING)
    assert np.abs(found - detect(photo(), network, SIZE)).max() > 1e-3


def test_replaced_weights_are_each_channels_own(network):
    rng = np.random.default_rng(1)
    by = {place: rng.random(96) for place in cam_hooks.fusion_modules(network)}
    scaled = made(steps=2, cam="off")
    scaled.load_state_dict({k: v for k, v in network.state_dict().items() if ".cam." not in k})
    for (j, group), weights in by.items():
        fuse = getattr(scaled.steps[j - 1], {"shallow": "fshf", "deep": "fsef"}[group]).fuse
        fuse.weight.data *= torch.from_numpy(weights)[None, :, None, None].float()
    with cam_hooks.intervene(network, cam_hooks.constant_weights(by)):
        found = detect(photo(), network, SIZE)
    np.testing.assert_allclose(found, detect(photo(), scaled, SIZE), **ROUNDING)


def test_switched_off_channels_are_columns_without_weight(network):
    off = {(1, "shallow"): [0, 17, 95], (2, "deep"): [3]}
    cut = copy.deepcopy(network)
    cut.steps[0].fshf.fuse.weight.data[:, [0, 17, 95]] = 0
    cut.steps[1].fsef.fuse.weight.data[:, [3]] = 0
    with cam_hooks.intervene(network, cam_hooks.zero_channels(off)):
        found = detect(photo(), network, SIZE)
        seen = {each.key: each.weights for each in attention.record(photo(), network, SIZE)}
    np.testing.assert_allclose(found, detect(photo(), cut, SIZE), **ROUNDING)
    assert np.abs(found - detect(photo(), network, SIZE)).max() > 1e-4
    assert {place: np.flatnonzero(weights == 0).tolist() for place, weights in seen.items()} == {
        place: off.get(place, []) for place in cam_hooks.fusion_modules(network)
    }


def test_the_network_is_as_before_after_a_change_and_after_an_error(network):
    before = detect(photo(), network, SIZE)
    with cam_hooks.intervene(network, lambda place, weights: weights * 0):
        assert not np.array_equal(detect(photo(), network, SIZE), before)
    np.testing.assert_array_equal(detect(photo(), network, SIZE), before)
    with pytest.raises(ZeroDivisionError):
        with cam_hooks.intervene(network, lambda place, weights: weights / (1 // 0)):
            detect(photo(), network, SIZE)
    np.testing.assert_array_equal(detect(photo(), network, SIZE), before)


def test_changes_do_not_nest(network):
    before = detect(photo(), network, SIZE)
    with cam_hooks.intervene(network, lambda place, weights: weights * 0):
        off = detect(photo(), network, SIZE)
        with pytest.raises(ValueError, match="make one function of both"):
            with cam_hooks.intervene(network, lambda place, weights: weights):
                pass
        np.testing.assert_array_equal(detect(photo(), network, SIZE), off)
    np.testing.assert_array_equal(detect(photo(), network, SIZE), before)


def test_a_network_without_cam_is_refused():
    without = made(steps=1, cam="off")
    with pytest.raises(ValueError, match="has no CAM"):
        attention.record(photo(), without, SIZE)
    with pytest.raises(ValueError, match="has no CAM"):
        with cam_hooks.intervene(without, lambda place, weights: weights):
            pass


def test_survey_gathers_the_records(network):
    photos = [Photo(str(seed), photo(seed), None) for seed in range(3)]
    seen = attention.survey(photos, network, SIZE)
    assert seen.places == [(1, "shallow"), (1, "deep"), (2, "shallow"), (2, "deep")]
    highest = np.zeros((3, 4, 96))
    for n, one in enumerate(photos):
        for m, each in enumerate(attention.record(one.image, network, SIZE)):
            np.testing.assert_array_equal(seen.weights[n, m], each.weights)
            np.testing.assert_array_equal(seen.branches["gmp"][n, m], each.branches["gmp"])
            np.testing.assert_array_equal(seen.alone["gap"][n, m], each.alone["gap"])
            np.testing.assert_allclose(seen.means[n, m], each.features.astype(float).mean((1, 2)), **ROUNDING)
            highest[n, m] = each.features.reshape(96, -1).max(1)
    expected = [[max(highest[n, m, c] for n in range(3)) > 0 for c in range(96)] for m in range(4)]
    np.testing.assert_array_equal(seen.alive, expected)
    # Some channels must live in some photographs only, or in none, for the line above to mean something.
    assert not seen.alive.all() and (seen.alive & (highest == 0).any(0)).any()


def test_spreads_are_standard_deviations_of_one_channel_and_of_the_channels():
    weights = np.random.default_rng(0).random((3, 2, 5))
    variances = [statistics.pvariance(weights[:, m, c]) for m in range(2) for c in range(5)]
    of_means = [
        statistics.pvariance([statistics.fmean(weights[:, m, c]) for c in range(5)]) for m in range(2)
    ]
    expected = statistics.fmean(variances) ** 0.5, statistics.fmean(of_means) ** 0.5
    np.testing.assert_allclose(attention.spreads(weights), expected, rtol=1e-12)


def survey_of(weights, means, alive, places=((1, "shallow"), (1, "deep"))):
    return attention.Survey(list(places), np.array(weights), np.array(means), np.array(alive), {}, {})


def test_contributions_are_weight_times_mean_times_column():
    network = made(steps=1)
    rng = np.random.default_rng(0)
    weights, means = rng.random((2, 2, 96)), rng.random((2, 2, 96))
    found = attention.contributions(survey_of(weights, means, np.ones((2, 96), bool)), network)
    for m, fuse in enumerate((network.steps[0].fshf.fuse, network.steps[0].fsef.fuse)):
        for c in (0, 40, 95):
            column = sum(float(fuse.weight[o, c, 0, 0].detach()) ** 2 for o in range(16)) ** 0.5
            expected = sum(weights[n, m, c] * means[n, m, c] for n in range(2)) / 2 * column
            assert found[m, c] == pytest.approx(expected, rel=1e-5)


def test_first_channels_are_the_highest_alive_of_the_first_step():
    places = ((1, "shallow"), (1, "deep"), (2, "shallow"))
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1], [1, 2, 3, 4]])
    alive = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], bool)
    seen = survey_of(scores[None], scores[None], alive, places)
    found = attention.first_channels(seen, scores, 2)
    assert {place: list(channels) for place, channels in found.items()} == {
        (1, "shallow"): [3, 2],
        (1, "deep"): [1],
    }


def test_tiles_lie_row_by_row():
    maps = np.arange(7)[:, None, None] / 10 * np.ones((1, 4, 6))
    picture = attention.tiles(maps, columns=3, side=2)
    assert picture.shape == (12, 12)
    assert picture[1::4, 1::4].ravel() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1, 1])
    assert (picture[[0, 3]] == 1).all() and (picture[:, [0, 3]] == 1).all()
