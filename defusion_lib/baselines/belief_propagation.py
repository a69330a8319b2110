"""Infer one map from sharpness or blur at three scales, on the three-layer graph of DBDF and LBP.

Shi et al. (CVPR 2014) stack the maps of three scales, link every pixel to its four neighbours and to itself one
scale up and down, and minimise the energy of the labelling B

    E(B) = sum |B - evidence| + alpha (sum within layers |B_p - B_q| + sum between layers |B^s - B^(s+1)|),

Yi and Eramian (TIP 2016) use the same graph. Both run loopy belief propagation with two states on it; this file
implements it.
"""

import numpy as np

from defusion_lib.stopping import tick

ITERATIONS = 100


def propagate(evidence: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Compute the belief in state 1 of every pixel of every layer by loopy belief propagation (sum-product).

    `evidence` is (layers, H, W) in [0, 1], the finest layer first; values outside are clipped, because the potentials
    exp(-|1 - evidence|) and exp(-|evidence|) of the two states have the same ratio there. `alpha` is the cost of two
    linked pixels in different states. Returns beliefs of `evidence`'s shape in (0, 1), float64 for float64, else
    float32; they are exact if the graph is a tree. Every one of at most `ITERATIONS` iterations sends all messages at
    once; it stops early when no message, an odds ratio, changes by 1e-6 or more. Raises ValueError if `evidence` is
    empty or has not three dimensions.
    """
    evidence = np.asarray(evidence)
    if evidence.ndim != 3 or evidence.size == 0:
        raise ValueError(f"The evidence has shape {evidence.shape}, expected (layers, height, width): stack the maps.")
    kind = np.float64 if evidence.dtype == np.float64 else np.float32
    own = np.exp(2 * np.clip(evidence, 0, 1).astype(kind) - 1)
    # A message is one number, the odds of state 1. With r the message received over the same link and q the product
    # of all received odds, the message sent is (q / r + c) / (1 + c q / r) for c = exp(-alpha).
    c = kind(np.exp(-alpha))
    links = [_Link(own, axis) for axis in range(3) if own.shape[axis] > 1]
    odds = own.copy()
    for _ in range(ITERATIONS):
        tick()
        change = max((link.send(odds, c) for link in links), default=0)
        np.copyto(odds, own)
        for link in links:
            link.deliver(odds)
        if change < 1e-6:
            break
    return odds / (1 + odds)


class _Link:
    """Messages along one axis: `up` from each pixel to the next one, `down` in the other direction."""

    def __init__(self, own: np.ndarray, axis: int):
        every = [slice(None)] * 3
        self.first = (*every[:axis], slice(None, -1), *every[axis + 1 :])
        self.second = (*every[:axis], slice(1, None), *every[axis + 1 :])
        self.up = np.ones_like(own[self.first])
        self.down = np.ones_like(self.up)

    def send(self, odds: np.ndarray, c: np.floating) -> float:
        """Update all messages from the pixels' odds; return the largest change."""
        up = _message(odds[self.first], self.down, c)
        down = _message(odds[self.second], self.up, c)
        change = max(np.abs(up - self.up).max(), np.abs(down - self.down).max())
        self.up, self.down = up, down
        return float(change)

    def deliver(self, odds: np.ndarray) -> None:
        """Multiply the received messages into `odds`, in place."""
        odds[self.second] *= self.up
        odds[self.first] *= self.down


def _message(odds: np.ndarray, returned: np.ndarray, c: np.floating) -> np.ndarray:
    sent = c * returned
    sent += odds
    below = c * odds
    below += returned
    sent /= below
    return sent
