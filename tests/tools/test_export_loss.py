"""What exported files lose."""

import numpy as np
import pytest
import torch

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.network import DeFusionNet
from tools.export_loss import measure, results

pytestmark = pytest.mark.slow


def test_losses_are_those_of_the_files(monkeypatch, one_thread):
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=1).eval()
    rng = np.random.default_rng(0)
    made = {
        name: Photo(name, rng.integers(0, 256, (40, 60, 3), np.uint8), np.eye(40, 60, dtype=np.float32))
        for name in "ab"
    }
    found = measure(network, {}, PhotoSet("made", list(made), made.__getitem__), ("fp32", "int8"))
    values = results(found, "made")
    assert values["made/onnx-fp32/largest-difference"] < 1e-5 < values["made/onnx-int8/largest-difference"]
    assert values["made/onnx-int8/map-difference"] <= values["made/onnx-int8/largest-difference"]
    assert abs(values["made/onnx-int8/mae-change"]) <= values["made/onnx-int8/map-difference"] + 1e-7
    assert values["made/onnx-int8/mae"] == pytest.approx(
        values["made/torch/mae"] + values["made/onnx-int8/mae-change"], abs=1e-9
    )
    changes = found["int8"]["mae-change"]
    assert values["made/onnx-int8/mae-change-se"] == pytest.approx(abs(changes[0] - changes[1]) / 2)
    assert values["made/onnx-int8/megabytes"] < 0.3 * values["made/onnx-fp32/megabytes"]
