"""The network against the paper's equations, its switches against what they name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference import paper

from defusion_lib.network import (
    CAM,
    CHANNELS,
    FAM,
    FUSED,
    HEADS,
    OUTPUTS,
    ConstantGate,
    DeFusionNet,
    FeatureFusion,
    FFRMStep,
    Head,
)

STORED = Path(__file__).parent / "stored" / "network_pair.npz"
# Two float64 computations in another order of additions differ by rounding alone.
ROUNDING = dict(rtol=1e-10, atol=1e-10)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def lively(module):
    """A module in float64 whose every parameter, biases too, is random: zeros would hide a missing term."""
    module = module.double()
    for parameter in module.parameters():
        # Weights that let signals fade a little from layer to layer keep every gate off its saturation.
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1)
    return module


def numbers(layer):
    """Weight and bias of a layer as NumPy arrays."""
    return [parameter.detach().numpy() for parameter in layer.parameters()]


def features(layers, height=5, width=6):
    return [torch.rand(1, CHANNELS, height, width, dtype=torch.float64) for _ in range(layers)]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("pooling, average, maximum", [("gap+gmp", 1, 1), ("gap", 1, 0), ("gmp", 0, 1)])
def test_cam_is_equations_4_to_7(pooling, average, maximum):
    cam, x = lively(CAM(96, pooling)), torch.rand(1, 96, 5, 7, dtype=torch.float64)
    expected = paper.cam(x[0].numpy(), *numbers(cam.down), *numbers(cam.up), average=average, maximum=maximum)
    np.testing.assert_allclose(cam(x)[0].detach().numpy(), expected, **ROUNDING)


def test_a_constant_gate_has_the_cams_matrices_and_reads_no_photo():
    gate, x = lively(ConstantGate(96)), torch.rand(2, 96, 5, 7, dtype=torch.float64)
    down, up = numbers(gate.down)[0], numbers(gate.up)[0]
    assert [down.shape, up.shape] == [numbers(layer)[0].shape for layer in (CAM(96).down, CAM(96).up)]
    weights = 1 / (1 + np.exp(-(up @ down @ np.ones(96))))
    np.testing.assert_allclose(gate(x).detach().numpy(), x.numpy() * weights[:, None, None], **ROUNDING)
    gate(x).sum().backward()
    assert all((parameter.grad != 0).all() for parameter in gate.parameters())  # no unit is cut off


def test_fam_weighs_every_position_and_adds_it_back():
    fam, x = lively(FAM(FUSED)), torch.randn(1, FUSED, 4, 5, dtype=torch.float64)
    expected = paper.fam(x[0].numpy(), numbers(fam.extract), numbers(fam.weigh))
    np.testing.assert_allclose(fam(x)[0].detach().numpy(), expected, **ROUNDING)


def paper_fuse(fuse, maps):
    x = np.concatenate(maps)
    x = paper.cam(x, *numbers(fuse.cam.down), *numbers(fuse.cam.up))
    x = paper.relu(paper.convolve(x, *numbers(fuse.fuse)))
    return paper.fam(x, numbers(fuse.fam.extract), numbers(fuse.fam.weigh))


def test_fusing_is_equations_1_and_2():
    fuse, maps = lively(FeatureFusion(3, "gap+gmp", fam=True)), features(3)
    expected = paper_fuse(fuse, [x[0].numpy() for x in maps])
    np.testing.assert_allclose(fuse(maps)[0].detach().numpy(), expected, **ROUNDING)


@pytest.mark.parametrize("ffrm", [True, False])
def test_a_step_is_equation_3_crossed(ffrm):
    step, maps = lively(FFRMStep("gap+gmp", True, ffrm)), features(6)
    refined, scores = step(maps)
    maps = [x[0].numpy() for x in maps]
    if ffrm:
        fshf, fsef = paper_fuse(step.fshf, maps[:3]), paper_fuse(step.fsef, maps[3:])
        helpers = [fsef, fsef, fsef, fshf, fshf, fshf]
    else:
        helpers = [paper_fuse(step.fused, maps)] * 6
    for i in range(6):
        expected = paper.relu(paper.convolve(np.concatenate((maps[i], helpers[i])), *numbers(step.refine[i])))
        np.testing.assert_allclose(refined[i][0].detach().numpy(), expected, **ROUNDING)
        expected = paper.convolve(expected, *numbers(step.score[i]))
        np.testing.assert_allclose(scores[i][0].detach().numpy(), expected, **ROUNDING)


@pytest.mark.slow
def test_heads_and_up_sampling():
    network, photo = DeFusionNet("compact"), torch.rand(1, 3, 32, 64, dtype=torch.float64)
    lively(network.heads)
    network.backbone.double()
    with torch.no_grad():
        taps, layers = network.backbone(photo), network.project_features(photo)
    # The two largest maps are convolutions like the others and would take minutes a pixel at a time.
    for i in range(2, 6):
        x = taps[i][0].numpy()
        for convolution in (network.heads[i][0], network.heads[i][2], network.heads[i][4]):
            x = paper.relu(paper.convolve(x, *numbers(convolution)))
        np.testing.assert_allclose(layers[i][0].numpy(), paper.upsample(x, 2**i), **ROUNDING)


@pytest.mark.slow
def test_final_map_is_equation_8_without_its_relu():
    network = lively(DeFusionNet("compact", steps=2))
    maps = network(torch.rand(1, 3, 32, 32, dtype=torch.float64))
    weight, bias = numbers(network.final)
    expected = sum(weight[0, i] * maps.sides[6 + i][0, 0].detach().numpy() for i in range(6)) + bias
    np.testing.assert_allclose(maps.final[0, 0].detach().numpy(), expected, **ROUNDING)
    assert maps.final.min() < 0  # an in-focus pixel can be said


@pytest.mark.slow
def test_reference_has_the_parameters_of_its_blocks():
    network = DeFusionNet("radf")
    assert [count(head) for head in network.heads] == [
        225_568,
        299_296,
        3_285_536,
        4_923_936,
        13_124_640,
        25_707_552,
    ]
    step = network.steps[0]
    assert count(step) == 98_022
    assert count(step.fshf.cam) + count(step.fsef.cam) == 2_304
    assert count(step.fshf.fuse) + count(step.fsef.fuse) == 3_104
    assert count(step.fshf.fam) + count(step.fsef.fam) == 9_280
    assert count(step.refine) == 83_136
    assert count(step.score) == 198
    assert count(network.final) == 7
    assert count(network.backbone) == 14_714_688
    assert count(network) == 62_575_289


def test_compact_is_small():
    assert count(DeFusionNet("compact")) < 18_000_000


@pytest.mark.parametrize("height, width", [(1, 1), (31, 33), (32, 32), (40, 57)])
def test_any_size_gives_maps_of_that_size(height, width):
    network = DeFusionNet("compact", steps=2).eval()
    with torch.no_grad():
        maps = network(torch.rand(2, 3, height, width))
    assert {tuple(m.shape) for m in (maps.final, *maps.sides)} == {(2, 1, height, width)}
    assert len(maps.sides) == 12


def test_padding_repeats_the_border_and_is_cut_off():
    network = DeFusionNet("compact", steps=1).eval()
    photo = torch.rand(1, 3, 40, 50)
    by_hand = photo[:, :, [*range(40), *[39] * 24]][:, :, :, [*range(50), *[49] * 14]].contiguous()
    with torch.no_grad():
        whole = network(by_hand).final
        difference = (network(photo).final - whole[..., :40, :50]).abs().max()
    # Measured over six seeds: rounding is at most 7e-9, another padding (zeros, reflection) at least 5e-3.
    assert difference < 1e-6


# What each switch takes away, in parameters: per step 2 CAMs of 1,152, 2 FAMs of 4,640, a step of 98,022.
@pytest.mark.slow
@pytest.mark.parametrize(
    "switch, removed",
    [
        ({"cam": "off"}, 3 * 2 * 1_152),
        ({"cam": "gap"}, 0),
        ({"cam": "gmp"}, 0),
        ({"cam": "constant"}, 0),
        ({"cam": "constant", "ffrm": False}, 3 * (2 * 1_152 - 4_608 + 3_104 - 3_088 + 4_640)),
        ({"fam": False}, 3 * 2 * 4_640),
        # One group of 192 channels: one CAM of 4,608 instead of two, one 1x1 of 3,088, one FAM.
        ({"ffrm": False}, 3 * (2 * 1_152 - 4_608 + 3_104 - 3_088 + 4_640)),
        ({"steps": 1}, 2 * 98_022),
        ({"steps": 6}, -3 * 98_022),
        ({"output": "o3"}, 7),
        ({"cam": "off", "fam": False}, 3 * 2 * (1_152 + 4_640)),
    ],
)
def test_a_switch_removes_the_parameters_it_names(switch, removed):
    assert count(DeFusionNet("compact")) - count(DeFusionNet("compact", **switch)) == removed


@pytest.mark.parametrize("output", OUTPUTS)
def test_single_side_output_is_that_side_of_the_last_step(output):
    network = DeFusionNet("compact", steps=2, output=output)
    maps = network(torch.rand(1, 3, 32, 32))
    if output == "fused":
        assert not any(maps.final is side for side in maps.sides)
    else:
        assert maps.final is maps.sides[6 + OUTPUTS.index(output) - 1]


def reached(network, loss):
    """The names of parameters that a loss sends a gradient to."""
    network.zero_grad()
    loss.backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.slow
def test_gradients_cross_between_shallow_and_deep_layers():
    network, photo = lively(DeFusionNet("compact", steps=1)), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    shallow = reached(network, network(photo).sides[0].sum())
    deep = reached(network, network(photo).sides[5].sum())
    # A shallow side output hears of its own layer and, through FSEF, of the deep layers; and the other way round.
    assert any(name.startswith("heads.0") for name in shallow)
    assert any(name.startswith("steps.0.fsef") for name in shallow)
    assert not any(name.startswith(("steps.0.fshf", "heads.1", "heads.2")) for name in shallow)
    assert any(name.startswith("steps.0.fshf") for name in deep)
    assert not any(name.startswith(("steps.0.fsef", "heads.3", "heads.4")) for name in deep)


@pytest.mark.slow
def test_without_ffrm_every_side_hears_of_every_layer():
    network = lively(DeFusionNet("compact", steps=1, ffrm=False))
    side = network(torch.rand(1, 3, 32, 32, dtype=torch.float64)).sides[0]
    names = reached(network, side.sum())
    assert all(any(name.startswith(f"heads.{i}") for name in names) for i in range(6))


@pytest.mark.slow
@pytest.mark.parametrize("heads", HEADS)
def test_every_parameter_takes_part(heads):
    network = lively(DeFusionNet(heads, steps=1))
    maps = network(torch.rand(1, 3, 32, 32, dtype=torch.float64))
    names = reached(network, maps.final.sum())
    assert names == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("switch", [{"heads": "big"}, {"steps": 0}, {"steps": 7}, {"cam": "max"}, {"output": "o7"}])
def test_unknown_switch_names_the_valid_ones(switch):
    (name,) = switch
    with pytest.raises(ValueError, match=rf"{name}=.* does not exist: choose one of .*[0-9a-z]"):
        DeFusionNet(**switch)


def test_head_has_two_convolutions_and_a_projection():
    head = Head(64, 128, 5)
    sizes = [tuple(layer.weight.shape) for layer in head if isinstance(layer, torch.nn.Conv2d)]
    assert sizes == [(128, 64, 5, 5), (128, 128, 5, 5), (32, 128, 1, 1)]


def test_stored_pair():
    """The same seed and photograph give the map that was stored when the network was written."""
    torch.manual_seed(7)
    network = DeFusionNet("compact").eval()
    stored = np.load(STORED)
    with torch.no_grad():
        maps = network(torch.from_numpy(stored["photo"]))
    found = torch.cat((maps.final, *maps.sides), dim=1).numpy()
    # Float32 on other kernels and thread counts moves these logits by up to 1e-6 of their spread; a wrong
    # equation moves them by more than a tenth of it.
    assert np.abs(found - stored["logits"]).max() < 1e-4 * stored["logits"].std()


@pytest.mark.slow
@pytest.mark.parametrize("stride", [2, 4])
def test_fusion_at_a_stride_averages_fine_taps_and_brings_the_logits_up(stride):
    network = lively(DeFusionNet("compact", steps=1, fusion_stride=stride))
    photo = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        taps, layers, maps = network.backbone(photo), network.project_features(photo), network(photo)
        for level, (tap, head, layer) in enumerate(zip(taps, network.heads, layers)):
            assert layer.shape == (1, CHANNELS, 64 // stride, 96 // stride)
            small = tap[0].numpy()
            finer = max(1, stride // 2**level)
            blocks = small.reshape(len(small), small.shape[1] // finer, finer, small.shape[2] // finer, finer)
            expected = head(torch.from_numpy(blocks.mean((2, 4)))[None])[0].numpy()
            expected = paper.upsample(expected, max(1, 2**level // stride))
            np.testing.assert_allclose(layer[0].numpy(), expected, **ROUNDING)
        _, scores = network.steps[0](layers)
        for side, score in zip(maps.sides, scores):
            np.testing.assert_allclose(side[0].numpy(), paper.upsample(score[0].numpy(), stride), **ROUNDING)
    assert maps.final.shape == (1, 1, 64, 96)


def test_fusion_stride_keeps_the_parameters_and_any_size():
    coarse, fine = DeFusionNet("compact", fusion_stride=4), DeFusionNet("compact")
    coarse.load_state_dict(fine.state_dict())
    assert coarse(torch.rand(1, 3, 33, 70)).final.shape == (1, 1, 33, 70)
    with pytest.raises(ValueError, match="fusion_stride=3 does not exist: choose one of 1, 2, 4"):
        DeFusionNet("compact", fusion_stride=3)
