"""bfloat16 where the hardware has it, and a sentence where it does not."""

import numpy as np
import pytest
import torch

from defusion_lib.inference import detect
from defusion_lib.network import DeFusionNet
from defusion_lib.precision import autocast, has_bf16, place, resolve_precision

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("exists, found", [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_hardware_has_it(exists, found, monkeypatch):
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: exists)
    assert resolve_precision("auto") == found and resolve_precision("fp32") == "fp32"


def test_what_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: False)
    with pytest.raises(ValueError, match="precision='bf16' was asked for, but this cpu has no bfloat16"):
        resolve_precision("bf16")
    with pytest.raises(ValueError, match="precision='half' does not exist: choose one of fp32, bf16, auto"):
        resolve_precision("half")


def test_the_processor_is_asked(monkeypatch):
    for avx, amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert has_bf16("cpu") == (avx or amx)


def test_layout_and_number_format_follow_the_precision():
    network = torch.nn.Conv2d(3, 4, 3)
    photo = torch.rand(1, 3, 8, 8)
    with autocast("bf16"):
        assert place(network, "bf16")(photo).dtype == torch.bfloat16
    assert network.weight.dtype == torch.float32
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    with autocast("fp32"):
        assert place(network, "fp32")(photo).dtype == torch.float32
    assert network.weight.is_contiguous()


@pytest.mark.slow
def test_maps_in_bf16_are_those_in_fp32_within_its_eight_bits(monkeypatch):
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: True)
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=1)
    for score in network.score_layers():
        torch.nn.init.normal_(score.weight, std=1.0)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    plain, short, again = (detect(image, network, 64, precision) for precision in ("fp32", "bf16", "fp32"))
    assert np.ptp(plain) > 0.05
    assert 0 < np.abs(short - plain).max() < 0.1 * np.ptp(plain)
    np.testing.assert_array_equal(again, plain)
