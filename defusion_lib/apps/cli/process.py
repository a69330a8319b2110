"""What a command that trains sets for its process: memory, repeatable sums, the device."""

import ctypes
import sys
from typing import Any

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's mallopt


def settle() -> Any:
    """Keep freed memory, make sums repeatable, and return the torch device: CUDA where there is one.

    The Makefile sets the same for the notebooks by MALLOC_* in the environment, which is read when a process starts.
    """
    import torch

    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
            if mallopt is not None:
                mallopt(option, value)
    cuda = torch.cuda.is_available()
    # As in runs.start: on CUDA up-sampling would take many times as long.
    torch.use_deterministic_algorithms(not cuda)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if cuda else "cpu")
