"""VGG-16: the taps, the literal convolutions, and weights from everywhere or a clear sentence."""

import numpy as np
import pytest
import torch
from reference import paper
from safetensors.torch import load_file, save_file

from defusion_lib.backbone import TAP_CHANNELS, TAPS, VGG16
from defusion_lib.network import DeFusionNet
from defusion_lib.weights import load_backbone, load_network, save_network, weights_hash


def test_taps_have_the_channels_and_scales_of_the_paper():
    taps = VGG16()(torch.rand(1, 3, 64, 96))
    assert len(taps) == len(TAPS) == 6
    for i, (tap, channels) in enumerate(zip(taps, TAP_CHANNELS)):
        assert tap.shape == (1, channels, 64 // 2**i, 96 // 2**i)


@pytest.mark.slow
def test_deep_taps_against_loops():
    torch.manual_seed(0)
    vgg, photo = VGG16().double(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    taps = [tap[0].detach().numpy() for tap in vgg(photo)]
    blocks = vgg.blocks()
    for i in (3, 4):  # from one tap to the next: pool, then the block's convolutions
        x = paper.max_pool(taps[i - 1])
        for convolution in blocks[i]:
            weight, bias = (p.detach().numpy() for p in convolution.parameters())
            x = paper.relu(paper.convolve(x, weight, bias))
        np.testing.assert_allclose(taps[i], x, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(taps[5], paper.average3(paper.max_pool(taps[4])), rtol=1e-12)


def test_same_features_as_torchvision():
    """Same parameter names, same numbers as torchvision's own VGG-16 (pool5 before our average)."""
    from defusion_lib.weights import import_torchvision

    torchvision = import_torchvision()

    torch.manual_seed(0)
    ours = VGG16().eval()
    theirs = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"]).eval()
    theirs.load_state_dict(ours.features.state_dict())
    photo = torch.rand(1, 3, 64, 64)
    preset = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.transforms()
    normalised = torchvision.transforms.functional.normalize(photo, preset.mean, preset.std)
    with torch.no_grad():
        pool5 = theirs(normalised)
        expected = torch.nn.functional.avg_pool2d(pool5, 3, 1, 1, count_include_pad=False)
        assert torch.allclose(ours(photo)[-1], expected, rtol=1e-4, atol=1e-6)


def test_weights_from_a_file_with_a_classifier(tmp_path):
    torch.manual_seed(0)
    source = VGG16()
    tensors = {name: tensor.half() for name, tensor in source.state_dict().items()}
    save_file(tensors | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg.safetensors")
    backbone = VGG16()
    assert load_backbone(backbone, tmp_path / "vgg.safetensors") == "vgg.safetensors"
    for found, stored in zip(backbone.parameters(), source.parameters()):
        assert torch.equal(found, stored.half().float())


def test_weights_from_a_whole_network(tmp_path):
    source = VGG16()
    tensors = {f"backbone.{name}": tensor for name, tensor in source.state_dict().items()}
    save_file(tensors | {"final.weight": torch.zeros(1)}, tmp_path / "network.safetensors")
    backbone = VGG16()
    load_backbone(backbone, tmp_path / "network.safetensors")
    assert torch.equal(backbone.features[0].weight, source.features[0].weight)


@pytest.mark.slow
def test_weights_from_a_whole_network_of_8_bits(tmp_path):
    """Both readers of such a file get the same backbone; without the metadata the integers are not taken as weights."""
    path = tmp_path / "network.safetensors"
    save_network(DeFusionNet("compact", steps=1), path, {}, bits=8)
    backbone = VGG16()
    load_backbone(backbone, path)
    assert weights_hash(backbone) == weights_hash(load_network(path).backbone)
    save_file(load_file(path), path)
    with pytest.raises(ValueError, match="network.safetensors has bits='16' in its metadata and .* 8-bit tensors"):
        load_backbone(backbone, path)


def test_no_weights_leaves_the_random_ones():
    backbone = VGG16()
    before = backbone.features[0].weight.clone()
    assert load_backbone(backbone, None) == "random weights"
    assert torch.equal(before, backbone.features[0].weight)


def test_missing_wrong_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="No backbone weights at nowhere.safetensors: expected"):
        load_backbone(VGG16(), tmp_path / "nowhere.safetensors")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="part.safetensors does not hold VGG-16's 13 convolutions"):
        load_backbone(VGG16(), tmp_path / "part.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "part.safetensors").read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut.safetensors is not a readable safetensors file"):
        load_backbone(VGG16(), tmp_path / "cut.safetensors")


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.complex64])
def test_weights_are_floating_point_numbers(tmp_path, kind):
    state = VGG16().state_dict()
    state["features.2.bias"] = state["features.2.bias"].to(kind)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=f"other.safetensors holds features.2.bias as {kind}, expected floating-point"):
        load_backbone(VGG16(), tmp_path / "other.safetensors")


def test_imagenet_weights_see_edges(vgg_weights):
    """The released weights respond to an edge and stay quiet on a plain grey: right colours, right scale."""
    backbone = VGG16()
    load_backbone(backbone, vgg_weights)
    plain = torch.full((1, 3, 32, 64), 0.5)
    edge = plain.clone()
    edge[..., 32:] = 1
    with torch.no_grad():
        quiet, loud = backbone(plain)[0][..., 4:-4, 28:36], backbone(edge)[0][..., 4:-4, 28:36]
    assert loud.std(dim=-1).mean() > 100 * quiet.std(dim=-1).mean()
    assert set(load_file(vgg_weights)) == set(backbone.state_dict())
