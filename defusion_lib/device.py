"""Choose the device of a process, and make what it computes repeatable."""

import torch


def choose_device() -> torch.device:
    """Return CUDA where there is one, else the CPU, after sums were made repeatable and single precision single."""
    cuda = torch.cuda.is_available()
    # On CUDA this would replace the backward pass of bilinear up-sampling, which DeFusionNet does dozens of
    # times a step, by a scatter that takes many times as long.
    torch.use_deterministic_algorithms(not cuda)
    # Filling every fresh tensor with NaN finds bugs in kernels, not here, and costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # cuDNN's default for convolutions keeps 10 of the 23 bits of a fraction: stamps would call this fp32.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if cuda else "cpu")
