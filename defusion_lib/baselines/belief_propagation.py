"""Inference on the three-layer graph of DBDF and LBP: one answer from sharpness or blur at three scales.

Shi et al. (CVPR 2014) lay the maps of three scales above each other, link every pixel with its four
neighbours and with itself one scale up and down, and ask for the labelling B of least energy

    E(B) = sum |B - evidence| + alpha (sum within layers |B_p - B_q| + sum between layers |B^s - B^(s+1)|),

Yi and Eramian (TIP 2016) take the same graph. Both run loopy belief propagation with two states on it, which
is what this file has.
"""

import numpy as np

ITERATIONS = 100


def three_layers(evidence: np.ndarray, alpha: float = 0.5, iterations: int = ITERATIONS) -> np.ndarray:
    """The belief in state 1 of every pixel of every layer, by loopy belief propagation (sum-product).

    `evidence` (3, H, W) in [0, 1], finest layer first; values outside count as 0 or 1, for the potentials
    exp(-|1 - evidence|) and exp(-|evidence|) of the two states have the same ratio there. `alpha` is the cost
    of two linked pixels in different states. Any number of layers is taken; it is exact where the graph is a
    tree. Returns beliefs of `evidence`'s shape in (0, 1), float64 for float64, else float32. Every iteration
    sends all messages at once; it stops early when none of them, an odds ratio, changes by 1e-6. Raises
    ValueError for other than three dimensions.
    """
    evidence = np.asarray(evidence)
    if evidence.ndim != 3 or evidence.size == 0:
        raise ValueError(
            f"The evidence has shape {evidence.shape}, not (layers, height, width): stack the maps."
        )
    kind = np.float64 if evidence.dtype == np.float64 else np.float32
    own = np.exp(2 * np.clip(evidence, 0, 1).astype(kind) - 1)
    # A message is one number, the odds of state 1. With r the message that came from where this one goes and
    # q the odds of all that has arrived, what is sent is (q / r + c) / (1 + c q / r) for c = exp(-alpha).
    c = kind(np.exp(-alpha))
    links = [_Link(own, axis) for axis in range(3) if own.shape[axis] > 1]
    odds = own.copy()
    for _ in range(iterations):
        change = max((link.send(odds, c) for link in links), default=0)
        np.copyto(odds, own)
        for link in links:
            link.deliver(odds)
        if change < 1e-6:
            break
    return odds / (1 + odds)


class _Link:
    """The messages along one axis: `up` from each pixel to the next one, `down` back."""

    def __init__(self, own: np.ndarray, axis: int):
        every = [slice(None)] * 3
        self.first = (*every[:axis], slice(None, -1), *every[axis + 1 :])
        self.second = (*every[:axis], slice(1, None), *every[axis + 1 :])
        self.up = np.ones_like(own[self.first])
        self.down = np.ones_like(self.up)

    def send(self, odds: np.ndarray, c: np.floating) -> float:
        up = _message(odds[self.first], self.down, c)
        down = _message(odds[self.second], self.up, c)
        change = max(np.abs(up - self.up).max(), np.abs(down - self.down).max())
        self.up, self.down = up, down
        return float(change)

    def deliver(self, odds: np.ndarray) -> None:
        odds[self.second] *= self.up
        odds[self.first] *= self.down


def _message(odds: np.ndarray, returned: np.ndarray, c: np.floating) -> np.ndarray:
    sent = c * returned
    sent += odds
    below = c * odds
    below += returned
    sent /= below
    return sent
