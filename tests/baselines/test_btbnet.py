"""BTBNet: what it costs, what it computes, how far it sees, and that it learns."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from reference import layers

from defusion_lib.backbone import MEAN
from defusion_lib.baselines.deep.btbnet import BTBNet
from defusion_lib.experiments.efficiency import layer_costs
from defusion_lib.precision import autocast

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_every_weight_works_on_every_pixel_of_three_scales():
    with torch.device("meta"):
        network = BTBNet()
    costs = layer_costs(network, 320, 320)
    pixels = 320**2 + 256**2 + 192**2
    # VGG-16's convolutions have 14,710,464 weights and 4,224 biases: 1,506 GMAC for 320x320 pixels.
    backbone = [cost for name, cost in costs.items() if name.startswith("backbone")]
    assert sum(cost.parameters for cost in backbone) == 14_710_464 + 4_224
    assert sum(cost.macs for cost in backbone) == 14_710_464 * pixels
    # The way back: 3x3 from 64 + 128 + 256 + 512 + 512 channels to 64, four from 64 to 64, and the score.
    way_back = 9 * 64 * (1_472 + 4 * 64) + 64
    # Weights of FNet, and of RRNet, which works three times.
    fnet, rrnet = 9 * (3 * 64 + 64), 9 * (4 * 64 + 64 * 64 + 64)
    macs = (14_710_464 + way_back) * pixels + (fnet + 3 * rrnet) * 320**2
    assert sum(cost.macs for cost in costs.values()) == macs
    biases = 4_224 + 9 * 64 + 1 + (64 + 1) + (64 + 64 + 1)
    assert sum(cost.parameters for cost in costs.values()) == 14_710_464 + way_back + fnet + rrnet + biases


def narrow():
    """A narrow network whose layers all have something to say."""
    torch.manual_seed(0)
    network = BTBNet(divide=16).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    for part in (network.score, network.fnet[-1], network.rrnet[-1]):
        torch.nn.init.normal_(part.weight, std=0.3)
    return network


def resized(planes, height, width):
    size = (width, height)
    images = [Image.fromarray(plane.astype(np.float32)) for plane in planes]
    return np.stack([image.resize(size, Image.Resampling.BILINEAR) for image in images]).astype(float)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_maps(network, photo):
    """The maps (H, W) of the streams, of FNet and of each round for a photograph (3, H, W), in NumPy."""
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    convolved = partial(layers.convolved, weights)

    def relu(x):
        return np.maximum(x, 0)

    def stream(x):
        x = 255.0 * (x - np.reshape(MEAN, (3, 1, 1)))
        tops = []
        # Positions of the convolutions in torchvision's VGG-16, block by block.
        for block in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
            for layer in block:
                x = relu(convolved(x, f"backbone.features.{layer}"))
            tops.append(x / 255)
        down = relu(convolved(tops[4], "forth.4"))
        for step, block in enumerate((3, 2, 1, 0)):
            down = relu(convolved(tops[block], f"forth.{block}")) + relu(convolved(down, f"back.{step}"))
        return convolved(down, "score")

    _, height, width = photo.shape
    streams = []
    for scale in (1, 0.8, 0.6):
        seen = resized(photo, max(1, round(scale * height)), max(1, round(scale * width)))
        streams.append(resized(stream(seen), height, width)[0])
    maps = list(streams)
    maps.append(convolved(relu(convolved(sigmoid(np.stack(streams)), "fnet.0")), "fnet.2")[0])
    for _ in range(3):
        given = np.concatenate([photo, sigmoid(maps[-1])[None]])
        inner = relu(convolved(relu(convolved(given, "rrnet.0")), "rrnet.2"))
        maps.append(maps[-1] + convolved(inner, "rrnet.4")[0])
    return maps


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(30, 23), (41, 3), (1, 1)])
def test_the_maps_are_the_plain_ones(height, width):
    network = narrow()
    photo = torch.rand(1, 3, height, width)
    with torch.inference_mode():
        final, sides = network(photo)
    found = [logits[0, 0].numpy() for logits in (*sides, final)]
    expected = plain_maps(network, photo[0].double().numpy())
    assert [logits.shape for logits in found] == [(height, width)] * 7
    # About 30 layers of sums in single precision, of at most 288 terms each.
    for ours, plain in zip(found, expected):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4 * np.abs(plain).max())


def reach(function, side, pixel):
    """How far a pixel of a square photograph is seen in a map: up, down, left, right.

    Whatever is computed from a value that is no number is none either, whatever the weights.
    """
    # Other convolutions than those of double precision work on tiles and would spread it over them.
    photo = torch.full((1, 3, side, side), 0.7, dtype=torch.float64)
    photo[..., pixel, pixel] = torch.nan
    with torch.inference_mode():
        rows, columns = np.nonzero(function(photo)[0, 0].isnan().numpy())
    return pixel - rows.min(), rows.max() - pixel, pixel - columns.min(), columns.max() - pixel


@pytest.mark.parametrize("pixel", [22, 23])
def test_a_stream_sees_one_pixel_further_with_each_convolution(pixel):
    stream = BTBNet(divide=32).double().stream
    # 13 convolutions of VGG-16, one extra at its top, four on the way back: each is 3x3, nothing is pooled.
    assert reach(stream, 46, pixel) == (18, 18, 18, 18)


def test_the_whole_network_sees_as_far_as_its_smallest_stream():
    network = BTBNet(divide=32).double()
    # At 0.6 the middle of pixel 51 lies at 51.5 x 0.6 = 30.9, less than 1 from the middles of pixels 30, 31.
    # The stream takes them to 12 and 49, between the middles of pixels 19 and 83 of the photograph. FNet adds
    # 2 pixels and RRNet 3 in each of 3 rounds.
    assert reach(lambda photo: network(photo).final, 102, 51) == (32 + 11, 32 + 11, 32 + 11, 32 + 11)


def test_it_works_in_bfloat16():
    """Antialiased resizing does not exist there."""
    network, photo = narrow(), torch.rand(1, 3, 24, 20)
    with torch.no_grad(), autocast("bf16"):
        found = network(photo).final.float()
    torch.testing.assert_close(found, network(photo).final.detach(), rtol=0.05, atol=0.05)
