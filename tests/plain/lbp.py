"""Plain loops of the LBP detector's parts, as somebody would first write them from the papers."""

import numpy as np


def three_layers(evidence, alpha=0.5, iterations=100):
    """Stands for `defusion_lib.methods.inference.three_layers`: messages as pairs, one at a time."""
    nodes = list(np.ndindex(evidence.shape))
    own = {p: np.array([np.exp(-abs(evidence[p])), np.exp(-abs(1 - evidence[p]))]) for p in nodes}
    pair = np.array([[1, np.exp(-alpha)], [np.exp(-alpha), 1]])
    beside = {p: [q for q in nodes if sum(abs(a - b) for a, b in zip(p, q, strict=True)) == 1] for p in nodes}
    messages = {(p, q): np.array([0.5, 0.5]) for p in nodes for q in beside[p]}
    for _ in range(iterations):
        new = {}
        for p, q in messages:
            product = own[p].copy()
            for other in beside[p]:
                if other != q:
                    product = product * messages[other, p]
            sent = pair @ product
            new[p, q] = sent / sent.sum()
        messages = new
    belief = np.zeros(evidence.shape)
    for p in nodes:
        product = own[p].copy()
        for other in beside[p]:
            product = product * messages[other, p]
        belief[p] = product[1] / product.sum()
    return belief
