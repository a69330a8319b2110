"""Networks as files: what is written comes back, and what is no network is named."""

import json

import pytest
import torch
from safetensors.torch import save_file

from defusion_lib.network import DeFusionNet
from defusion_lib.weights import (
    SHIPPED,
    load_network,
    read_card,
    resolve,
    result_name,
    save_network,
    weights_hash,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=2, cam="gap").eval()
    path = tmp_path_factory.mktemp("saved") / "network.safetensors"
    save_network(network, path, {"data": "made-up", "seed": 0})
    return network, path


def test_network_comes_back_with_its_switches_and_card(saved):
    network, path = saved
    read = load_network(path)
    assert read.switches == network.switches and not read.training
    assert read_card(path) == {"data": "made-up", "seed": 0}
    for found, stored in zip(read.parameters(), network.parameters()):
        assert torch.equal(found, stored.half().float())


def test_single_side_of_a_stored_network(saved):
    network, path = saved
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        side = load_network(path, output="o2")(photo).final
        assert torch.equal(side, load_network(path)(photo).sides[6 + 1])


def test_failed_write_leaves_the_previous_file(saved, tmp_path, monkeypatch):
    network, _ = saved
    path = tmp_path / "network.safetensors"
    path.write_bytes(b"previous")

    def full(tensors, temporary, metadata):
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("defusion_lib.weights.save_file", full)
    with pytest.raises(OSError):
        save_network(network, path, {})
    assert path.read_bytes() == b"previous"


def test_missing_damaged_and_foreign_files_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="No network at lost.safetensors: expected"):
        load_network(tmp_path / "lost.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved[1].read_bytes()[:5000])
    with pytest.raises(ValueError, match="cut.safetensors is not a readable safetensors file"):
        load_network(cut)
    save_file(
        {"features.0.weight": torch.zeros(1)}, tmp_path / "vgg.safetensors", metadata={"by": json.dumps("us")}
    )
    with pytest.raises(ValueError, match="vgg.safetensors holds no DeFusionNet"):
        load_network(tmp_path / "vgg.safetensors")


def test_hash_changes_with_one_weight_and_with_nothing_else(saved):
    network, path = saved
    first, second = load_network(path), load_network(path)
    assert weights_hash(first) == weights_hash(second)
    with torch.no_grad():
        second.final.bias += 1e-6
    assert weights_hash(first) != weights_hash(second)


@pytest.mark.parametrize(
    "switches, name",
    [
        ({"heads": "radf"}, "defusionnet"),
        ({}, "defusionnet-compact"),
        ({"cam": "gap"}, "defusionnet-compact+nogmp"),
        ({"cam": "gmp"}, "defusionnet-compact+nogap"),
        ({"cam": "off", "fam": False}, "defusionnet-compact+nocam+nofam"),
        ({"ffrm": False}, "defusionnet-compact+noffrm"),
        ({"steps": 5}, "defusionnet-compact+step5"),
        ({"output": "o2"}, "defusionnet-compact+o2"),
    ],
)
def test_result_names_say_what_is_switched_off(switches, name):
    assert result_name(DeFusionNet(**{"heads": "compact"} | switches)) == name


def test_shipped_is_a_name():
    assert resolve("shipped") == SHIPPED and resolve("mine.safetensors") == "mine.safetensors"
