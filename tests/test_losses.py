"""The loss against Eq. 9 and 10 written out, and against the sum it is not."""

import numpy as np
import pytest
import torch
from reference import paper

from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.network import DeFusionNet, Maps


@pytest.fixture
def maps_and_mask():
    generator = torch.Generator().manual_seed(0)
    maps = [3 * torch.randn(2, 1, 5, 7, generator=generator, dtype=torch.float64) for _ in range(19)]
    mask = (torch.rand(2, 1, 5, 7, generator=generator, dtype=torch.float64) > 0.4).double()
    return Maps(maps[-1], maps[:-1]), mask


def test_side_loss_is_equation_9_per_pixel(maps_and_mask):
    maps, mask = maps_and_mask
    expected = paper.cross_entropy(maps.final.numpy(), mask.numpy())
    assert side_loss(maps.final, mask).item() == pytest.approx(expected, rel=1e-12)


def test_all_nineteen_maps_count_once(maps_and_mask):
    maps, mask = maps_and_mask
    expected = sum(paper.cross_entropy(m.numpy(), mask.numpy()) for m in (maps.final, *maps.sides))
    assert deep_supervision(maps, mask).item() == pytest.approx(expected, rel=1e-12)


def test_a_final_map_that_is_a_side_counts_once(maps_and_mask):
    maps, mask = maps_and_mask
    expected = sum(paper.cross_entropy(m.numpy(), mask.numpy()) for m in maps.sides)
    assert deep_supervision(Maps(maps.sides[14], maps.sides), mask).item() == pytest.approx(expected, rel=1e-12)


def test_blurred_is_one():
    """Logits that say blurred cost little where the mask is 1 and much where it is 0."""
    said_blurred = torch.full((1, 1, 4, 4), 4.0)
    assert side_loss(said_blurred, torch.ones(1, 1, 4, 4)) < 0.02
    assert side_loss(said_blurred, torch.zeros(1, 1, 4, 4)) > 4


def test_network_gives_6t_plus_1_terms():
    maps = DeFusionNet("compact", steps=3)(torch.rand(1, 3, 32, 32))
    assert len(maps.sides) + 1 == 19
    undecided = Maps(torch.zeros_like(maps.final), [torch.zeros_like(side) for side in maps.sides])
    loss = deep_supervision(undecided, torch.ones_like(maps.final))
    assert loss.item() == pytest.approx(19 * np.log(2), rel=1e-6)
