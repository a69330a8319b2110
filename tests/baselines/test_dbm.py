"""DBM: what it costs, what it computes, and that it learns."""

import numpy as np
import pytest
import torch
from PIL import Image
from reference import layers

from defusion_lib.backbone import MEAN
from defusion_lib.baselines.deep.dbm import DBM
from defusion_lib.experiments.efficiency import total_cost

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_costs_what_vgg16_costs():
    with torch.device("meta"):
        network = DBM()
    # Simonyan and Zisserman's configuration D without its fully connected layers: 14,714,688 parameters,
    # 15,346,630,656 multiply-accumulates at 224x224. The score adds 512 weights at 14x14 places and a bias.
    assert total_cost(network, 224, 224) == (15_346_630_656 + 512 * 14 * 14, 14_714_688 + 513)


def plain_map(network, photo):
    """The logits (H, W) of a photograph (3, H, W), in NumPy."""
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    _, height, width = photo.shape
    padded = np.pad(photo, ((0, 0), (0, -height % 32), (0, -width % 32)), mode="edge")
    x = 255.0 * (padded - np.reshape(MEAN, (3, 1, 1)))
    # Positions of the convolutions in torchvision's VGG-16, and where a pooling comes before one.
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        if layer in (5, 10, 17, 24):
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max((2, 4))
        x = np.maximum(layers.convolved(weights, x, f"backbone.features.{layer}"), 0)
    score = np.tensordot(weights["score.weight"][0, :, 0, 0], x, 1) + weights["score.bias"][0]
    small = Image.fromarray(score.astype(np.float32))
    return np.asarray(small.resize(padded.shape[:0:-1], Image.Resampling.BILINEAR))[:height, :width]


@pytest.mark.parametrize("height, width", [(40, 70), (33, 1), (64, 32)])
def test_the_map_is_the_plain_one(height, width):
    torch.manual_seed(0)
    network = DBM(divide=16).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    photo = torch.rand(1, 3, height, width)
    with torch.inference_mode():
        found = network(photo)
    assert found.final.shape == (1, 1, height, width) and found.sides == []
    expected = plain_map(network, photo[0].double().numpy())
    # 14 layers of sums in single precision, of at most 288 terms each.
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(found.final[0, 0].numpy(), expected, rtol=1e-4, atol=atol)
