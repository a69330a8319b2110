"""Choose the number format of a network: single precision, or bfloat16 where the hardware has it."""

from contextlib import AbstractContextManager

import torch
from torch import nn

PRECISIONS = ("fp32", "bf16", "auto")


def resolve_precision(asked: str, device: torch.device | str = "cpu") -> str:
    """Return "fp32" or "bf16" for one of `PRECISIONS`; "auto" is bf16 where the hardware has it.

    Raises ValueError for another name, and for bf16 on hardware that would only emulate it.
    """
    if asked not in PRECISIONS:
        raise ValueError(f"precision={asked!r} does not exist: choose one of {', '.join(PRECISIONS)}.")
    if asked == "fp32":
        return asked
    if has_bf16(device):
        return "bf16"
    if asked == "bf16":
        raise ValueError(
            f"precision='bf16' was asked for, but this {torch.device(device).type} has no bfloat16 arithmetic and "
            "would be slower with it: choose 'fp32', or 'auto' for what the hardware has."
        )
    return "fp32"


def has_bf16(device: torch.device | str = "cpu") -> bool:
    """Return whether a device multiplies in bfloat16: CUDA GPUs from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def place(network: nn.Module, precision: str, device: torch.device | str = "cpu") -> nn.Module:
    """Move a network to a device, in the memory layout that suits a precision, and return it.

    Weights stay in single precision. channels_last is 10 to 20 % faster in bf16 and slower in fp32.
    """
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    return network.to(device=device, memory_format=layout)  # type: ignore[call-overload]


def autocast(precision: str, device: torch.device | str = "cpu") -> AbstractContextManager:
    """Make a context in which convolutions and products are computed in a precision, "fp32" or "bf16"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
