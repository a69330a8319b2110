"""Belief propagation on the three-layer graph against every labelling counted, and against plain messages."""

import itertools

import numpy as np
import pytest
from reference import lbp as plain

from defusion_lib.baselines import belief_propagation
from defusion_lib.baselines.belief_propagation import propagate


def enumerated(evidence, alpha):
    """The marginals of state 1 from the energies of all labellings."""
    total, ones = 0.0, np.zeros(evidence.shape)
    for labels in itertools.product((0, 1), repeat=evidence.size):
        labels = np.reshape(labels, evidence.shape)
        cuts = sum(np.abs(np.diff(labels, axis=axis)).sum() for axis in range(3))
        weight = np.exp(-np.abs(labels - evidence).sum() - alpha * cuts)
        total += weight
        ones += weight * labels
    return ones / total


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 9), (1, 8, 1), (1, 1, 1)])
def test_marginals_of_a_tree_are_exact(shape):
    evidence = np.random.default_rng(0).random(shape)
    np.testing.assert_allclose(propagate(evidence, alpha=0.8), enumerated(evidence, 0.8), atol=1e-12)


def test_marginals_of_a_small_grid_are_close():
    # On a loop evidence comes round and is counted again: beliefs lean too far, by a few hundredths.
    evidence = np.random.default_rng(1).random((3, 2, 2))
    exact, found = enumerated(evidence, 0.5), propagate(evidence)
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert np.abs(found - exact).max() > 1e-4
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("shape", [(3, 5, 7), (3, 4, 1), (3, 1, 6), (2, 3, 3)])
@pytest.mark.parametrize("iterations", [1, 4, 30])
def test_messages_are_those_of_the_plain_loop(shape, iterations, monkeypatch):
    monkeypatch.setattr(belief_propagation, "ITERATIONS", iterations)
    evidence = np.random.default_rng(2).random(shape)
    expected = plain.propagate(evidence, 0.6, iterations)
    # Stopping early leaves the last few millionths of an odds ratio unsent.
    tolerance = 1e-12 if iterations < 10 else 1e-6
    np.testing.assert_allclose(propagate(evidence, 0.6), expected, atol=tolerance)
    single = propagate(evidence.astype(np.float32), 0.6)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=max(tolerance, 1e-6))


def test_evidence_beyond_the_ends_counts_as_the_ends(monkeypatch):
    monkeypatch.setattr(belief_propagation, "ITERATIONS", 5)
    evidence = np.random.default_rng(3).normal(0.5, 2, (3, 3, 4))
    expected = plain.propagate(evidence, 0.5, 5)
    np.testing.assert_allclose(propagate(evidence, 0.5), expected, atol=1e-12)


def test_a_lone_pixel_follows_its_surroundings_and_no_link_leaves_it_alone():
    evidence = np.full((3, 9, 9), 1.0)
    evidence[:, 4, 4] = 0
    assert propagate(evidence).min() > 0.5
    alone = propagate(evidence, alpha=0.0)
    np.testing.assert_allclose(alone, 1 / (1 + np.exp(1 - 2 * evidence)), atol=1e-12)


def test_finest_and_coarsest_layer_change_places():
    evidence = np.random.default_rng(4).random((3, 6, 5))
    np.testing.assert_allclose(propagate(evidence[::-1])[::-1], propagate(evidence), atol=1e-12)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="layers, height, width"):
        propagate(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="layers, height, width"):
        propagate(np.zeros((3, 0, 4)))
