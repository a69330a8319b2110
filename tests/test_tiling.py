"""Maps made tile by tile are the map of the whole photograph, at seams and at borders."""

import numpy as np
import pytest
import torch

from defusion_lib import cam_hooks, tiling
from defusion_lib.backbone import BLOCKS, VGG16
from defusion_lib.experiments import attention
from defusion_lib.inference import detect
from defusion_lib.network import HEADS, DeFusionNet, Head

# Single precision, values up to one: the same sums in tiles of another shape.
ROUNDING = 1e-5


def narrow(heads, **switches):
    """A network with its own kernels, but few channels in backbone and heads: the same reach in less time."""
    network = DeFusionNet(heads, **switches)
    network.backbone = VGG16([[4] * len(block) for block in BLOCKS])
    network.heads = torch.nn.ModuleList(Head(4, 4, kernel) for _, kernel in HEADS[heads])
    return network


def made(**switches):
    """A network whose maps leave one half, and whose CAMs give other weights to other photographs."""
    torch.manual_seed(0)
    network = narrow("compact", **switches)
    for head in network.heads:
        for conv in (head[0], head[2]):
            torch.nn.init.kaiming_normal_(conv.weight)
    for step in network.steps:
        for score in step.score:
            torch.nn.init.normal_(score.weight, std=0.5)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)
    return network


def photo(height, width):
    """Noise that is coarse on the left and bright on the right, so that parts differ from the whole."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(0, 100, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1), int))
    fine = rng.integers(0, 100, (height, width, 3))
    image = np.where(np.arange(width)[:, None] < width // 2, coarse[:height, :width], 155 + fine)
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    return made(steps=2)


# Neither multiples of 32 nor of the tile; tiles see 224 pixels around them, so first and last do not meet.
WIDE, HIGH = (40, 700), (610, 33)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [WIDE, HIGH])
def test_tiles_give_the_map_of_the_whole_photograph(network, shape):
    image = photo(*shape)
    tiled, whole = tiling.detect_tiles(image, network, 128), detect(image, network, None)
    assert tiled.shape == shape and tiled.dtype == np.float32
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(tiled, whole, atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        {"cam": "gmp", "ffrm": False},
        {"cam": "off", "output": "o4"},
        {"cam": "constant"},
        {"fusion_stride": 2},
        {"fusion_stride": 4, "output": "o1"},
    ],
)
def test_every_network_can_be_tiled(switches):
    network, image = made(steps=1, **switches), photo(*WIDE)
    np.testing.assert_allclose(tiling.detect_tiles(image, network, 160), detect(image, network, None), atol=ROUNDING)


@pytest.mark.slow
def test_global_cam_weights_are_those_of_the_whole_photograph(network):
    image = photo(*WIDE)
    found = tiling.global_cam_weights(image, network, 128)
    recorded = {each.key: each.weights for each in attention.record(image, network, None)}
    assert found.keys() == recorded.keys()
    for key, weights in recorded.items():
        np.testing.assert_allclose(found[key], weights, atol=ROUNDING)
    # Something to get wrong: a part of the photograph has other weights.
    part = {each.key: each.weights for each in attention.record(image[:, :128], network, None)}
    assert max(np.abs(part[key] - recorded[key]).max() for key in part) > 0.05


@pytest.mark.slow
def test_tiles_hold_the_weights_that_are_given(network):
    image = photo(*WIDE)
    weights = {key: np.full(96, 0.3, np.float32) for key in cam_hooks.fusion_modules(network)}
    with cam_hooks.intervene(network, cam_hooks.constant_weights(weights)):
        whole = detect(image, network, None)
    tiled = tiling.detect_tiles(image, network, 128, weights)
    np.testing.assert_allclose(tiled, whole, atol=ROUNDING)
    assert np.abs(tiled - detect(image, network, None)).max() > 0.01


@pytest.fixture(params=[("compact", 1), ("compact", 2), ("compact", 4), ("radf", 1), ("radf", 2)])
def averaging(request):
    """A network that averages: each convolution gives the mean of what it sees, in double precision.

    A column of a flat photograph that is raised then shows wherever it is seen at all, if only in the last
    digits, since maxima rise with it too.
    """
    heads, stride = request.param
    network = narrow(heads, steps=2, cam="off", fusion_stride=stride).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            torch.nn.init.zeros_(module.bias)
    return network


@pytest.mark.slow
def test_reach_is_what_a_column_far_away_changes(averaging):
    # Where a few pixels more, which the steps see, are another pixel of pool5.
    start, stop, width = 434, 461, 864
    first, last = tiling.receptive_field(averaging, start, stop - 1)
    assert 0 < first < start and stop <= last < width - 1

    def mapped(column):
        flat = torch.ones(1, 3, 32, width, dtype=torch.float64)
        flat[..., column] = 1000
        with torch.inference_mode():
            return torch.cat(averaging(flat).sides[-6:])[..., start:stop]

    far_away = mapped(0)
    for column, seen in [(first - 1, False), (first, True), (last, True), (last + 1, False)]:
        assert (mapped(column) != far_away).any() == seen, column


@pytest.mark.slow
def test_each_tile_sees_as_far_as_it_reaches(network, monkeypatch):
    seen = []
    forward = network.backbone.forward
    monkeypatch.setattr(network.backbone, "forward", lambda part: seen.append(part.shape) or forward(part))
    weights = {key: np.ones(96, np.float32) for key in cam_hooks.fusion_modules(network)}
    tiling.detect_tiles(photo(32, 1024), network, 128, weights)
    first, last = tiling.receptive_field(network, 384, 511)
    assert len(seen) == 8
    assert seen[3][-1] >= 128 + 2 * max(384 - first, last - 511) and seen[3][-1] < 1024


@pytest.mark.parametrize("tile", [0, -32, 100])
def test_a_tile_that_does_not_fit_is_refused(network, tile):
    with pytest.raises(ValueError, match=f"tile of {tile} pixels does not fit .* multiple of 32"):
        tiling.detect_tiles(photo(8, 8), network, tile)


def test_what_is_no_photograph_is_refused(network):
    with pytest.raises(ValueError, match="expected a photo"):
        tiling.detect_tiles(np.zeros((8, 8), np.float32), network)
