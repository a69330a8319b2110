"""What a process sets before it computes."""

import torch

from defusion_lib.device import choose_device


def test_single_precision_is_single_and_sums_are_repeatable():
    torch.backends.cudnn.allow_tf32 = True
    device = choose_device()
    assert not torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.deterministic
    assert torch.are_deterministic_algorithms_enabled() == (device.type == "cpu")
