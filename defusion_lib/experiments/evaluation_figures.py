"""Figures of one network's scores: its curves, and the photos with its best and its worst maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from defusion_lib import plots
from defusion_lib.data import Photo
from defusion_lib.metrics import Curves, Evaluation
from defusion_lib.plots import Drawing


def curves(evaluations: Mapping[str, Evaluation], dataset: str) -> Drawing:
    """Draw the curves of Figures 8-10 of all methods."""
    of_classes = {
        name: {positive: each.curves(positive) for positive in ("blur", "focus")} for name, each in evaluations.items()
    }
    caption = (
        f"Precision-recall, F-measure and ROC curves on {dataset}, laid out like Figures 8-10 of the paper, with the "
        "blurred pixels as the positive class above and those in focus below. A method has the same colour and dash "
        "in all six. A good detector is near the upper right corner, in the ROC curve the upper left. What differs: "
        "the paper shows twelve methods, on Shi's, DUT's and CTCUG's test photos."
    )
    return Drawing("curves", plots.curves(of_classes), caption, plots.curve_arrays(of_classes, Curves._fields))


def extremes(which: str, photos: Sequence[Photo], maps: Sequence[np.ndarray], errors: Sequence[float]) -> Drawing:
    """Draw the photos with the best or the worst maps, as `which` names them, the most extreme first."""
    columns = {"Input": [photo.image for photo in photos], "GT": [photo.mask for photo in photos], "our map": maps}
    caption = (
        f"The photos with the {which} maps, {which} first: {', '.join(plots.lettered(columns))}. GT is the mask, and "
        "white is blurred. Laid out like Figure 11 of the paper, which has eleven methods more; notebook 07 draws them."
    )
    arrays = {"names": [photo.name for photo in photos], "errors": np.array(errors)}
    arrays |= {f"map_{i}": plots.as_levels(defocus) for i, defocus in enumerate(maps)}
    return Drawing(f"{which}_photographs", plots.lettered_sheet(columns), caption, arrays)
