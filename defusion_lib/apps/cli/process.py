"""What a command that trains sets for its process: memory, and the device."""

import ctypes
import sys
from typing import Any

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's mallopt


def settle() -> Any:
    """Keep freed memory, and return the torch device (`device.choose_device`).

    The Makefile sets the same for the notebooks by MALLOC_* in the environment, which is read when a process starts.
    """
    from defusion_lib.device import choose_device

    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
            if mallopt is not None:
                mallopt(option, value)
    return choose_device()
