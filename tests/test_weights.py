"""Networks as files: what is written comes back, and what is no network is named."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from defusion_lib.network import DeFusionNet
from defusion_lib.weights import (
    HASH,
    SHIPPED,
    SMALL,
    load_network,
    quantise,
    read_card,
    resolve,
    result_name,
    save_network,
    weights_hash,
)


class Small(nn.Module):
    """A network with a weight that is rounded to 8 bits, a weight too small for it, and a switch."""

    def __init__(self, fusion_stride=1):
        super().__init__()
        self.config = {"fusion_stride": fusion_stride}
        self.wide = nn.Linear(64, 32)
        self.final = nn.Linear(32, 1)


def metadata_of(path):
    """The metadata of a file, without the hash of what the file held."""
    with safe_open(path, "pt") as file:
        return {key: value for key, value in file.metadata().items() if key != HASH}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=2, cam="gap").eval()
    path = tmp_path_factory.mktemp("saved") / "network.safetensors"
    save_network(network, path, {"data": "made-up", "seed": 0})
    return network, path


@pytest.mark.slow
def test_network_comes_back_with_its_switches_and_card(saved):
    network, path = saved
    read = load_network(path)
    assert read.config == network.config and not read.training
    assert read_card(path) == {"data": "made-up", "seed": 0}
    for found, stored in zip(read.parameters(), network.parameters()):
        assert torch.equal(found, stored.half().float())


@pytest.mark.slow
def test_single_side_of_a_stored_network(saved):
    network, path = saved
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        side = load_network(path, output="o2")(photo).final
        assert torch.equal(side, load_network(path)(photo).sides[6 + 1])


def test_missing_damaged_and_foreign_files_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="No network at lost.safetensors: expected"):
        load_network(tmp_path / "lost.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved[1].read_bytes()[:5000])
    with pytest.raises(ValueError, match="cut.safetensors is not a readable safetensors file"):
        load_network(cut)
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "vgg.safetensors", metadata={"by": json.dumps("us")})
    with pytest.raises(ValueError, match="vgg.safetensors holds no DeFusionNet"):
        load_network(tmp_path / "vgg.safetensors")


@pytest.mark.slow
def test_hash_changes_with_one_weight_and_with_nothing_else(saved):
    network, path = saved
    first, second = load_network(path), load_network(path)
    assert weights_hash(first) == weights_hash(second)
    with torch.no_grad():
        second.final.bias += 1e-6
    assert weights_hash(first) != weights_hash(second)


def test_file_without_some_tensors_is_refused(saved, tmp_path):
    tensors, metadata = load_file(saved[1]), metadata_of(saved[1])
    del tensors["final.bias"]
    tensors["final.weight"] = tensors["final.weight"][:, :5].contiguous()
    save_file(tensors, tmp_path / "part.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=r"part.safetensors does not hold .* \(final.bias, final.weight: missing"):
        load_network(tmp_path / "part.safetensors")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_changed_number_and_changed_metadata_are_refused(tmp_path, bits):
    path = tmp_path / "n.safetensors"
    save_network(Small(), path, {"seed": 0}, bits)
    whole = path.read_bytes()
    place = whole.index(b'{\\"seed')
    for changed in (
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        whole[:place] + whole[place:].replace(b"0", b"1", 1),
    ):
        path.write_bytes(changed)
        for read in (lambda path: load_network(path, kind=Small), read_card):
            with pytest.raises(ValueError, match="^n.safetensors was changed after it was written .*: get it again"):
                read(path)


def test_files_without_a_hash_need_finite_floats_and_switches_that_exist(tmp_path):
    path = tmp_path / "n.safetensors"
    save_network(Small(), path, {})
    tensors, metadata = load_file(path), metadata_of(path)
    nan, whole_numbers = (tensors | {"final.bias": each} for each in (torch.tensor([np.nan]), torch.tensor([1])))
    for damaged, other, sentence in (
        (nan, {}, r"holds numbers that are not finite \(final.bias, 1 of 4 tensors\)"),
        (whole_numbers, {}, r"does not hold the network .*final.bias: missing, of another shape, no floats"),
        (tensors, {"switches": "{"}, "has switches that no Small can have .*: use a file that save_network wrote"),
        (tensors, {"switches": '{"steps": 3}'}, "has switches that no Small can have .*steps"),
    ):
        save_file(damaged, path, metadata | other)
        with pytest.raises(ValueError, match=f"^n.safetensors {sentence}"):
            load_network(path, kind=Small)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="^n.safetensors holds no card of a network"):
        read_card(path)


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    network = Small()
    for value, bits in ((float("nan"), 8), (float("inf"), 8), (float("nan"), 16), (1e5, 16)):
        with torch.no_grad():
            network.wide.weight[1, 2] = value
        with pytest.raises(ValueError, match=f"n.safetensors was not written: wide.weight hold .* in {bits} bits"):
            save_network(network, tmp_path / "n.safetensors", {}, bits)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches, name",
    [
        ({"heads": "radf"}, "defusionnet"),
        ({}, "defusionnet-compact"),
        ({"cam": "gap"}, "defusionnet-compact+nogmp"),
        ({"cam": "gmp"}, "defusionnet-compact+nogap"),
        ({"cam": "constant"}, "defusionnet-compact+constant-gate"),
        ({"cam": "off", "fam": False}, "defusionnet-compact+nocam+nofam"),
        ({"ffrm": False}, "defusionnet-compact+noffrm"),
        ({"steps": 5}, "defusionnet-compact+step5"),
        ({"output": "o2"}, "defusionnet-compact+o2"),
    ],
)
def test_result_names_say_what_is_switched_off(switches, name):
    assert result_name(DeFusionNet(**{"heads": "compact"} | switches)) == name


def test_stride_stands_before_the_output():
    switches = {"heads": "compact", "cam": "off", "steps": 2, "output": "o1", "fusion_stride": 4}
    assert result_name(SimpleNamespace(config=switches)) == "defusionnet-compact+nocam+step2+stride4+o1"
    switches["fusion_stride"] = 1
    assert result_name(SimpleNamespace(config=switches)) == "defusionnet-compact+nocam+step2+o1"


def test_file_older_than_a_switch_gets_its_default(tmp_path):
    network = Small()
    del network.config["fusion_stride"]
    save_network(network, tmp_path / "old.safetensors", {})
    assert load_network(tmp_path / "old.safetensors", kind=Small).config == {"fusion_stride": 1}


def test_shipped_is_a_name():
    assert resolve("shipped") == SHIPPED and resolve("mine.safetensors") == "mine.safetensors"


# 8 bits


@pytest.fixture(scope="module")
def eight(saved, tmp_path_factory):
    """The saved network's file of 8 bits."""
    path = tmp_path_factory.mktemp("eight") / "eight.safetensors"
    save_network(saved[0], path, {"data": "made-up", "seed": 0}, bits=8)
    return path


def rounded_literally(weight):
    """8-bit weights and scales of a numpy array (channels, ...), one value after the other."""
    integers, scales = np.zeros(weight.shape, np.int8), np.ones(len(weight), np.float32)
    for channel, values in enumerate(weight):
        largest = np.float32(max(abs(value) for value in values.flat))
        if largest > 0:
            scales[channel] = largest / np.float32(127)
            for index, value in np.ndenumerate(values):
                integers[channel][index] = round(float(value / scales[channel]))
    return integers, scales


def test_rounding_against_loops():
    torch.manual_seed(1)
    weight = torch.randn(5, 3, 3, 3) * torch.tensor([1e-6, 1e-2, 1.0, 30.0, 1e5]).view(-1, 1, 1, 1)
    weight[2, 0, 0, 0] = -9.0  # the largest magnitude may be negative
    found, scale = quantise(weight)
    integers, scales = rounded_literally(weight.numpy())
    assert found.dtype == torch.int8 and scale.dtype == torch.float32
    np.testing.assert_array_equal(found, integers)
    np.testing.assert_array_equal(scale, scales)
    assert (found.flatten(1).int().abs().amax(dim=1) == 127).all()


def test_channels_of_zeros_stay_zero():
    weight = torch.zeros(3, 4)
    weight[1] = torch.tensor([1e-42, 0.0, -1e-42, 0.0])  # below the smallest normal number
    found, scale = quantise(weight)
    assert not found.any() and scale.isfinite().all() and (scale > 0).all()


@pytest.mark.slow
def test_no_weight_is_off_by_more_than_half_a_scale(saved, eight):
    network, read, file = saved[0], load_network(eight), load_file(eight)
    assert read.config == network.config and read_card(eight) == {"data": "made-up", "seed": 0}
    assert metadata_of(eight)["bits"] == "8" and metadata_of(saved[1])["bits"] == "16"
    expected, rounded = network.state_dict(), 0
    for name, tensor in read.state_dict().items():
        assert tensor.dtype == torch.float32
        if expected[name].dim() < 2 or expected[name].numel() < SMALL:
            assert file[name].dtype == torch.float16 and torch.equal(tensor, expected[name].half().float())
            continue
        rounded += 1
        assert file[name].dtype == torch.int8
        scale = file[f"{name}.scale"].double()
        error = (tensor.double() - expected[name].double()).flatten(1).abs().amax(dim=1)
        assert (error <= scale / 2 * (1 + 1e-4)).all()  # float32: up to 127 units in its last place
        largest = expected[name].flatten(1).abs().amax(dim=1).double()
        torch.testing.assert_close(scale, largest / 127, rtol=1e-6, atol=0)
    assert rounded > 30 and eight.stat().st_size < 0.52 * saved[1].stat().st_size


def test_values_on_the_grid_come_back_exactly(tmp_path):
    torch.manual_seed(2)
    network = Small()
    grid = torch.randint(-127, 128, (32, 64)).float()
    grid[:, 0] = 127
    grid[5] = 0
    with torch.no_grad():
        network.wide.weight.copy_(grid * 2.0 ** torch.arange(-16, 16)[:, None])
        network.final.weight.copy_(network.final.weight.half())
        network.wide.bias.zero_()
        network.final.bias.zero_()
    save_network(network, tmp_path / "grid.safetensors", {}, bits=8)
    read = load_network(tmp_path / "grid.safetensors", kind=Small)
    assert weights_hash(read) == weights_hash(network)


@pytest.mark.slow
def test_hash_of_8_bits_repeats(saved, eight, tmp_path):
    save_network(saved[0], tmp_path / "again.safetensors", {}, bits=8)
    hashes = {weights_hash(load_network(path)) for path in (eight, eight, tmp_path / "again.safetensors")}
    assert len(hashes) == 1 and hashes != {weights_hash(load_network(saved[1]))}


@pytest.mark.slow
def test_file_from_before_bits_were_stored(saved, tmp_path):
    metadata = metadata_of(saved[1])
    del metadata["bits"], metadata["network"]
    save_file(load_file(saved[1]), tmp_path / "old.safetensors", metadata=metadata)
    assert weights_hash(load_network(tmp_path / "old.safetensors")) == weights_hash(load_network(saved[1]))


def test_other_bits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="bits=4 does not exist: choose 8 or 16"):
        save_network(Small(), tmp_path / "n.safetensors", {}, bits=4)


WEIGHT, SCALE = "heads.0.0.weight", "heads.0.0.weight.scale"
LACKS = f"lacks the scales of {WEIGHT} \\(expected {SCALE}: positive float32 of shape \\(32,\\)"
BITS = r"has bits='{}' in its metadata and \d+ 8-bit tensors, expected bits of 8, or of 16 and no such tensors"


def set_scale(value):
    def damage(tensors, metadata):
        tensors[SCALE][3] = value

    return damage


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda tensors, metadata: tensors.pop(SCALE), LACKS),
        (lambda tensors, metadata: tensors.update({SCALE: tensors[SCALE][:1].clone()}), LACKS),
        (lambda tensors, metadata: tensors.update({SCALE: tensors[SCALE][:, None].clone()}), LACKS),
        (lambda tensors, metadata: tensors.update({SCALE: torch.ones(32, dtype=torch.int8)}), "lacks the scales of"),
        (lambda tensors, metadata: tensors.update({WEIGHT: tensors[WEIGHT][0, 0, 0, 0].clone()}), "lacks the scales"),
        (set_scale(float("nan")), LACKS),
        (set_scale(float("inf")), LACKS),
        (set_scale(0.0), LACKS),
        (set_scale(-1.0), LACKS),
        (lambda tensors, metadata: metadata.pop("bits"), BITS.format(16)),
        (lambda tensors, metadata: metadata.update(bits="4"), BITS.format(4)),
        (lambda tensors, metadata: tensors.update({WEIGHT: tensors[WEIGHT].half()}), rf"\({SCALE}: missing, of"),
        (lambda tensors, metadata: tensors.update({WEIGHT: tensors[WEIGHT].view(32, -1)}), rf"\({WEIGHT}: missing, of"),
        (lambda tensors, metadata: (tensors.pop(WEIGHT), tensors.pop(SCALE)), rf"\({WEIGHT}: missing, of"),
    ],
)
def test_damaged_8_bits_are_refused(eight, tmp_path, damage, sentence):
    tensors, metadata = load_file(eight), metadata_of(eight)
    damage(tensors, metadata)
    save_file(tensors, tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=rf"^bad.safetensors .*{sentence}"):
        load_network(tmp_path / "bad.safetensors")


def test_cut_off_8_bits_are_refused(eight, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(eight.read_bytes()[:-1])
    for read in (load_network, read_card):
        with pytest.raises(ValueError, match="cut.safetensors is not a readable safetensors file"):
            read(tmp_path / "cut.safetensors")
