"""The loss that training minimises (Eq. 9-10)."""

import torch
from torch.nn import functional as F

from defusion_lib.network import Maps


def side_loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy between one map of logits and the mask, a number (Eq. 9).

    Both are (N, 1, H, W); the mask is in [0, 1], 1 = blurred. The paper sums over the pixels, we take their mean,
    so that the value and the learning rate do not depend on the size: 1e-8 on the sum over 320x320 pixels is
    1.02e-3 on the mean. Computed in the mask's precision, whatever the logits come in.
    """
    return F.binary_cross_entropy_with_logits(logits.to(mask.dtype), mask)


def deep_supervision(maps: Maps, mask: torch.Tensor) -> torch.Tensor:
    """Sum the loss over the final map and all side outputs, every weight 1 (Eq. 10): 6t + 1 terms.

    A network whose final map is one of its side outputs has 6t terms: no map counts twice.
    """
    terms = list(maps.sides)
    if not any(maps.final is side for side in maps.sides):
        terms.append(maps.final)
    return torch.stack([side_loss(logits, mask) for logits in terms]).sum()
