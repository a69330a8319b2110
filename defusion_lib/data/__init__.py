"""Photographs with defocus masks, whatever set they come from."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Photo(NamedTuple):
    """One photograph and, where there is one, its mask.

    `image` is uint8 RGB (H, W, 3); `mask` is float32 (H, W) in [0, 1], 1 = blurred, or None.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None


class PhotoSet(Sequence):
    """A set of photographs that are read when asked for.

    `name` is the data set's key in result files ("shi-dutlab100", "synthetic", ...), `stems` names its
    photographs in order, and `read` turns a stem into a `Photo`. An integer index gives a `Photo`, a slice a
    smaller `PhotoSet` of the same name.
    """

    def __init__(self, name: str, stems: Sequence[str], read: Callable[[str], Photo]):
        self.name = name
        self.stems = list(stems)
        self.read = read

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return PhotoSet(self.name, self.stems[index], self.read)
        return self.read(self.stems[index])
