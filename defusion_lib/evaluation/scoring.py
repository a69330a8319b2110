"""Score the maps of several methods on one data set."""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from defusion_lib.data import PhotoSet
from defusion_lib.evaluation.protocols import ProtocolScores
from defusion_lib.metrics import Evaluation

Scores = TypeVar("Scores", Evaluation, ProtocolScores)


class ScoredSet(NamedTuple, Generic[Scores]):
    """A data set and the scores of methods on it, {method: scores}."""

    photos: PhotoSet
    methods: dict[str, Scores]


def score(
    photos: PhotoSet, maps: Mapping[str, Iterable[np.ndarray]], new_scores: Callable[[], Scores]
) -> ScoredSet[Scores]:
    """Score maps against the masks of `photos`.

    `maps` is {method: one map (H, W) per image, in order, 1 = blurred}; `new_scores` makes the scores of a method, such
    as `Evaluation` or `ProtocolScores`. Raises what their `add` raises.
    """
    methods = {method: new_scores() for method in maps}
    for method, of_images in maps.items():
        for photo, defocus_map in zip(photos, of_images, strict=True):
            methods[method].add(defocus_map, photo.mask)
    return ScoredSet(photos, methods)
