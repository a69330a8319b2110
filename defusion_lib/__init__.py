"""A reimplementation and audit of DeFusionNET (TPAMI 2020): find where a photo is out of focus.

The names of `__all__` are the public face, and stay. They are loaded when they are first used (API.md).
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defusion_lib.baselines import BASELINES
    from defusion_lib.data.datasets import open_dataset
    from defusion_lib.data.files import read_image, read_mask
    from defusion_lib.inference import detect
    from defusion_lib.metrics import Evaluation
    from defusion_lib.weights import load_network

__all__ = ["BASELINES", "Evaluation", "detect", "load_network", "open_dataset", "read_image", "read_mask"]

# Where each public name comes from.
FACE = {
    "BASELINES": "baselines",
    "Evaluation": "metrics",
    "detect": "inference",
    "load_network": "weights",
    "open_dataset": "data.datasets",
    "read_image": "data.files",
    "read_mask": "data.files",
}

# Threads of GNU's OpenMP, which torch's wheels for Linux bring, spin 300,000 times before they sleep, and take the
# cores from other work (`make bench-spin`). libgomp reads this once, when torch is first imported: set it before.
SPINCOUNT = "1000"
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINCOUNT)


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{FACE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
