"""What notebook 02 shows of a network's parts."""

import inspect

import numpy as np
import pytest
import torch

from defusion_lib.backbone import TAPS
from defusion_lib.experiments import network_parts
from defusion_lib.network import CAM, FAM, DeFusionNet, Maps

SEEN = np.zeros((8, 8, 3), np.uint8)


def features(channels, side=8):
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(channels))


@pytest.fixture
def maps():
    """Maps of two steps whose side outputs differ by 0.1 times the number of the layer."""
    first = torch.full((6, 4, 4), 0.2)
    second = first + torch.arange(1, 7)[:, None, None] / 10
    sides = [torch.logit(side)[None, None] for side in (*first, *second)]
    return Maps(torch.logit(torch.full((1, 1, 4, 4), 0.75)), sides)


def test_code_is_shown_as_it_stands_in_the_source():
    sources = inspect.getsource(CAM), inspect.getsource(FAM)
    assert network_parts.source_code(CAM, FAM).data == "```python\n" + "\n\n".join(sources) + "```"


def test_most_varying_channels_come_first_and_fill_the_range():
    x = features(4) * torch.tensor([1.0, 5.0, 0.0, 2.0])[:, None, None]
    found = network_parts.most_varying(x, 3)
    assert found.shape == (3, 8, 8)
    for row, channel in zip(found, (1, 3, 0)):
        expected = x[0, channel] - x[0, channel].min()
        np.testing.assert_allclose(row, expected / expected.max(), atol=1e-6)
    assert not network_parts.most_varying(torch.ones(1, 1, 2, 2), 1).any()


def test_figures_store_what_they_show(maps):
    taps = [features(5 + i, 8 >> min(i, 2)) for i in range(6)]
    drawing = network_parts.draw_taps(SEEN, taps)
    assert list(drawing.arrays) == list(TAPS)
    np.testing.assert_array_equal(
        drawing.arrays["pool5"], np.round(255 * network_parts.most_varying(taps[-1], 1)[0]).astype(np.uint8)
    )
    drawing = network_parts.draw_layers(taps)
    assert {name: array.shape[0] for name, array in drawing.arrays.items()} == {f"layer{i}": 3 for i in range(1, 7)}
    weights = {"shallow": np.array([0.2, 0.4]), "deep": np.array([0.5, 0.7])}
    drawing = network_parts.draw_fused(taps[0], taps[1], weights)
    assert sorted(drawing.arrays) == ["cam_deep", "cam_shallow", "fsef", "fshf"]
    assert drawing.arrays["cam_deep"] is weights["deep"] and drawing.arrays["fshf"].shape == (5, 8, 8)
    drawing = network_parts.draw_side_outputs(SEEN[:4, :4], maps)
    assert drawing.arrays["sides"].shape == (12, 4, 4)
    assert set(drawing.arrays["sides"][6].flat) == {round(255 * 0.3)} and set(drawing.arrays["final"].flat) == {191}


def test_tables(maps):
    table = network_parts.weight_table({"deep": np.array([0.5, 0.75])})
    assert list(table.loc["deep"]) == [2, "0.62", "0.50", "0.75"]
    table = network_parts.change_table(maps)
    assert list(table.index) == ["step 1 to 2"]
    assert list(table.loc["step 1 to 2"]) == [f"{25.5 * i:.1f}" for i in range(1, 7)]


def test_switches_are_compared_with_the_first_network():
    with torch.device("meta"):
        networks = {name: DeFusionNet("compact", steps=steps) for name, steps in (("three", 3), ("one", 1))}
    table = network_parts.switch_table(networks)
    assert list(table.loc["three"]) == ["", f"{network_parts.count_parameters(networks['three']):,}", "+0"]
    assert list(table.loc["one", ["switches", "difference"]]) == ["steps=1", "-196,044"]
