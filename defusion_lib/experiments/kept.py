"""What is kept of a trained network: small files of words and arrays that take the place of its weights.

They are 10 to 300 kB where the weights are tens of MB, so they stay with the results, and trainings of several
machines can be put together in one folder. Each says how it was made (`made`), and is read again while that is the
same.
"""

import io
import json
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from defusion_lib.paths import display_path, write_atomically
from defusion_lib.sources import PACKAGE, bare_code, running_code
from defusion_lib.training import differences

# What reading a damaged file of arrays raises.
DAMAGED = (OSError, ValueError, KeyError, EOFError, SyntaxError, NotImplementedError)
DAMAGED += (TokenError, BadZipFile, zlib.error)
# The code that the scores of every network depend on.
SCORING = tuple(f"{PACKAGE}.{module}" for module in ("backbone", "metrics", "network"))


def code_sha256(*modules: str) -> str:
    """Return a hash of the code that scores depend on: of DeFusionNet and the metrics, and of these modules.

    Maps also depend on others, such as `inference`. These are left out, because each of their changes would demand
    hours of training. Tests compare maps of the network in the package with stored ones.
    """
    names = sorted({*SCORING, *modules})
    sources = running_code(names, [PACKAGE])
    return sha256("".join(bare_code(sources[name]) for name in names).encode()).hexdigest()


def write(path: Path, words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write words, which are values for JSON, and arrays of numbers to a file .npz."""
    content = io.BytesIO()
    np.savez_compressed(content, **{key: json.dumps(each) for key, each in words.items()}, **arrays)
    write_atomically(path, content.getvalue())


def read(path: Path) -> dict[str, Any]:
    """Read the words and arrays of a file, {name: value or array}.

    Raises FileNotFoundError where there is none and ValueError where it is damaged.
    """
    try:
        with np.load(path) as kept:
            return {key: json.loads(str(each)) if each.dtype.kind == "U" else each for key, each in kept.items()}
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise ValueError(
            f"{display_path(path)} is damaged ({error}): restore it, or delete it to train and test that network again."
        ) from error


def read_alike(path: Path, made: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a file whose word `made` is this one; return None where there is no file or it was made in another way.

    Raises ValueError where it is damaged.
    """
    try:
        found = read(path)
    except FileNotFoundError:
        return None
    before = found.get("made", {})
    if before == made:
        return found
    print(
        f"{display_path(path)} was made in another way ({differences(before, made)}), so this network is trained and "
        "tested again."
    )
    return None
