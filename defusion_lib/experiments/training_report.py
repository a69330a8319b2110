"""Show a training as notebook 03 does: its loss while it runs and at its end, and maps before and after it."""

from collections.abc import Sequence
from itertools import accumulate

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from defusion_lib import plots
from defusion_lib.data import Photo
from defusion_lib.plots import Drawing
from defusion_lib.training import History, Recipe


class LossDisplay:
    """A drawing of the loss below a notebook's cell; called with the history so far, it replaces itself.

    maps: the number of terms of the loss (Eq. 10).
    """

    CAPTION = "The loss of each iteration so far."

    def __init__(self, recipe: Recipe, maps: int):
        self.maps, self.changes = maps, size_changes(recipe)
        self._metadata = {"image/png": {"alt": self.CAPTION}}
        figure = plots.training_loss([], maps, self.changes)
        self._handle = display(figure, display_id=True, metadata=self._metadata)
        plt.close(figure)
        display(Markdown(f"*Picture:* {self.CAPTION}"))

    def __call__(self, history: History) -> None:
        """Draw the loss so far in the place of the last drawing."""
        figure = plots.training_loss(history.loss, self.maps, self.changes)
        self._handle.update(figure, metadata=self._metadata)
        plt.close(figure)


def size_changes(recipe: Recipe) -> list[int]:
    """Return the iterations at which a stage with another photo size begins."""
    return list(accumulate(iterations for iterations, _, _ in recipe.stages))[:-1]


def loss(history: History, recipe: Recipe, maps: int) -> Drawing:
    """Draw the loss of a finished training."""
    changes = size_changes(recipe)
    caption = (
        "The loss per map of each iteration (pale), its running mean where the training is long enough, and as a "
        "dotted line the loss of maps that are 0.5 everywhere: the loss should fall well below it. Laid out like "
        f"Figure 12 of the paper. What differs: the paper's training has 10,000 iterations, and this one "
        f"{len(history.loss):,}; the loss is divided by its {maps} maps (Eq. 10)."
    )
    arrays = {"loss": history.loss, "maps": maps, "size_changes": np.array(changes, int)}
    return Drawing("training_loss", plots.training_loss(history.loss, maps, changes), caption, arrays)


def before_and_after(photos: Sequence[Photo], before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> Drawing:
    """Draw photos, their masks, and the maps of a network before and after its training."""
    caption = (
        f"{len(photos)} test photos, which were not used for training, their masks, and the network's maps before and "
        "after training (white = blurred). After training the maps should resemble the masks."
    )
    arrays = {"names": [photo.name for photo in photos]} | {
        f"{when}_{i}": plots.as_levels(defocus)
        for when, maps in (("before", before), ("after", after))
        for i, defocus in enumerate(maps)
    }
    figure = plots.comparison(photos, {"before training": before, "after training": after})
    return Drawing("before_and_after", figure, caption, arrays)
