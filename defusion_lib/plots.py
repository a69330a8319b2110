"""Draw the figures of the paper, one function each, for any photos, maps and curves.

Every function returns the matplotlib figure. Maps and masks are drawn as the field draws them: white = blurred,
black = in focus.
"""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from string import ascii_lowercase
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from defusion_lib.data import Photo
from defusion_lib.metrics import Curves

PANEL = 2.1  # inches, one picture of a sheet
WINDOW = 50  # iterations per running mean of a loss
COLOURS = sns.color_palette("colorblind")
# Lines differ by a dash or by colours that can be told apart by whoever sees few colours, too.
DASHES = ("-", "--", "-.", (0, (6, 1, 1, 1, 1, 1)))
DISTINCT = (COLOURS[0], COLOURS[3], "black", COLOURS[7])
MARKERS = "osD^v<>PXhpd8*"
STYLES = [dict(color=colour, linestyle=dash) for dash in DASHES for colour in DISTINCT]
CURVES = (
    ("precision-recall", "recall", "precision"),
    ("F", "threshold", "F-measure"),
    ("ROC", "false positive rate", "true positive rate"),
)
Place = np.ndarray | str | None  # what a panel shows: an image, a text in its place, or nothing
CLASSES = {"blur": "blurred", "focus": "in focus"}


class Drawing(NamedTuple):
    """A figure with its file name, a caption in one or two sentences, and the arrays that it shows: see `Run.show`."""

    name: str
    figure: Figure
    caption: str
    arrays: Mapping[str, Any]


def text_size(width: float) -> float:
    """Return the smallest text, in points, that is legible on a projector in a figure of this width in inches.

    A projected notebook shows a figure about 1,000 pixels wide, however many inches it has; 12 of them a letter
    is what the last row still reads.
    """
    return max(9, 0.88 * width)


def make_legible(figure: Figure) -> None:
    """Enlarge all text of a figure that is smaller than `text_size` allows."""
    least = text_size(figure.get_figwidth())
    for text in figure.findobj(Text):
        if float(text.get_fontsize()) < least:
            text.set_fontsize(least)


def as_png(figure: Figure) -> bytes:
    """Draw a figure with legible text as the bytes of a PNG file, and close it."""
    picture = io.BytesIO()
    make_legible(figure)
    figure.savefig(picture, format="png", bbox_inches="tight")
    plt.close(figure)
    return picture.getvalue()


def sheet(rows: Mapping[str, Sequence[Place]], titles: Sequence[str] = ()) -> Figure:
    """Draw images in named rows and titled columns; None leaves a place empty, and a text is written in it."""
    # All panels get the typical proportions, so that one upright photo does not stretch the sheet.
    proportion = _proportion([picture for pictures in rows.values() for picture in pictures])
    figure, axes = _panels(list(rows.values()), [proportion] * len(rows), 0.3)
    size = text_size(figure.get_figwidth())
    for line, name in zip(axes, rows):
        line[0].set_ylabel(_in_lines(name, PANEL * proportion, size), fontsize=size)
    for axis, title in zip(axes[0], titles):
        axis.set_title(_in_lines(title, PANEL, size), fontsize=size)
    return figure


def lettered(names: Iterable[str]) -> list[str]:
    """Put a letter before each name, as the paper does: "(a) Input", "(b) GT"."""
    return [f"({letter}) {name}" for letter, name in zip(ascii_lowercase, names)]


def lettered_sheet(columns: Mapping[str, Sequence[Place]]) -> Figure:
    """Draw one row per photo, and below each column its letter and name, as in Figures 1, 11 and 13-15.

    `columns` are {name: one image per photo}; a text is written in the place of a missing image. The caption should
    list the `lettered` names.
    """
    size, labels = text_size(PANEL * len(columns)), lettered(columns)
    if max(map(len, labels)) > _letters(PANEL, size):
        labels = [label.replace(") ", ")\n", 1) for label in labels]
    labels = [_in_lines(label, PANEL, size) for label in labels]
    rows = list(zip(*columns.values(), strict=True))
    lines = 1 + max(label.count("\n") for label in labels)
    figure, axes = _panels(rows, [_proportion(row) for row in rows], 0.1 + 1.2 * lines * size / 72)
    for axis, label in zip(axes[-1], labels):
        axis.set_xlabel(label, fontsize=size)
    return figure


def _proportion(pictures: Iterable[Place]) -> float:
    """Return the typical height of images, divided by their width."""
    shapes = [picture.shape for picture in pictures if isinstance(picture, np.ndarray)]
    return float(np.clip(np.median([height / width for height, width, *_ in shapes]), 0.5, 1.5))


def _panels(rows: Sequence[Sequence[Place]], proportions: Sequence[float], words: float) -> tuple[Figure, np.ndarray]:
    """Draw images in rows; return the figure and its axes (rows, columns).

    `proportions` are the heights of the rows' panels, divided by their width; `words` is the height in inches of what
    stands above or below the rows.
    """
    columns = max(map(len, rows))
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(columns * PANEL, PANEL * sum(proportions) + words),
        height_ratios=proportions,
        squeeze=False,
        layout="constrained",
    )
    for line, pictures, proportion in zip(axes, rows, proportions):
        for axis, picture in zip(line, [*pictures, *[None] * (columns - len(pictures))]):
            show_picture(axis, picture, PANEL, proportion)
    return figure, axes


def show_picture(axis: Axes, picture: Place, width: float, proportion: float) -> None:
    """Show an image in a panel, or a text in its place; with None the panel stays empty.

    `width` is that of the panel in inches, and `proportion` the height of the text's place divided by its width.
    """
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    # White maps on white paper need an edge.
    axis.spines[:].set(color="0.7", visible=picture is not None)
    if isinstance(picture, str):
        size = text_size(axis.figure.get_figwidth())
        words = _in_lines(picture, width, size)
        axis.set_box_aspect(proportion)
        axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=size, color="0.3", transform=axis.transAxes)
    elif picture is not None:
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255 if picture.dtype == np.uint8 else 1)


def _letters(inches: float, size: float) -> int:
    """Return how many letters of a size in points fit: a letter is about 0.6 times as wide as it is high."""
    return max(8, int(0.85 * inches * 72 / (0.6 * size)))


def _in_lines(text: str, inches: float, size: float) -> str:
    """Wrap each line of a text to a width."""
    return "\n".join(textwrap.fill(line, _letters(inches, size), break_long_words=False) for line in text.split("\n"))


def examples(photos: Sequence[Photo]) -> Figure:
    """Draw photos and their masks (Figure 7)."""
    photos = list(photos)
    rows: dict[str, list] = {"photo": [photo.image for photo in photos], "mask": [photo.mask for photo in photos]}
    return sheet(rows, [photo.name.replace("out_of_focus", "") for photo in photos])


def comparison(photos: Sequence[Photo], maps: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw photos, masks and the maps of several methods side by side, one photo per row (Figure 11)."""
    rows = {
        photo.name.replace("out_of_focus", ""): [
            photo.image,
            photo.mask,
            *(of_method[i] for of_method in maps.values()),
        ]
        for i, photo in enumerate(photos)
    }
    return sheet(rows, ["photo", "mask", *maps])


def as_levels(defocus: np.ndarray) -> np.ndarray:
    """Round maps in [0, 1] to the 256 levels of an image, uint8, which is what is drawn and stored."""
    return np.round(255 * np.clip(defocus, 0, 1)).astype(np.uint8)


def overlay(image: np.ndarray, defocus: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """Tint the blurred parts of a photo (H, W, 3), given by a map or mask (H, W); uint8."""
    tint = 255 * np.array(COLOURS[1])
    share = strength * defocus[..., None]
    return np.round((1 - share) * image + share * tint).astype(np.uint8)


def training_loss(loss: Sequence[float], maps: int, changes: Sequence[int] = ()) -> Figure:
    """Draw the loss per map (the sum of Eq. 10 over its number of terms) of each iteration, and its mean (Figure 12).

    `changes` are the iterations at which the photos' size changes.
    """
    per_map = np.asarray(loss, float) / maps
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axis.plot(per_map, color=COLOURS[0], alpha=0.3, linewidth=0.8, label="each iteration")
    if len(per_map) >= 2 * WINDOW:
        mean = np.convolve(per_map, np.ones(WINDOW) / WINDOW, mode="valid")
        axis.plot(np.arange(WINDOW - 1, len(per_map)), mean, color=COLOURS[0], label=f"mean of the last {WINDOW}")
    axis.axhline(np.log(2), color="0.5", linestyle=":", label="constant maps of 0.5 (ln 2)")
    for i, change in enumerate(changes):
        axis.axvline(change, color=COLOURS[1], linestyle="--", label=None if i else "larger photos from here")
    top = max(1.0, float(np.quantile(per_map, 0.98)) * 1.1) if len(per_map) else 1.0
    axis.set(xlabel="iteration", ylabel="cross-entropy per map", ylim=(0, top), title="Training loss (Figure 12)")
    axis.legend()
    return figure


def curves(methods: Mapping[str, Mapping[str, Curves]], bold: str = "") -> Figure:
    """Draw precision-recall, F-measure and ROC curves (Figures 8-10), one row per positive class.

    `methods` is {method: {"blur" or "focus": its mean curves}}; the lines of the method `bold` are thick. Styles repeat
    where there are more methods than styles.
    """
    classes = list(next(iter(methods.values())))
    figure, axes = plt.subplots(len(classes), 3, figsize=(10, 3.1 * len(classes)), squeeze=False, layout="constrained")
    for line, positive in zip(axes, classes):
        for style, (name, of_class) in zip(cycle(STYLES), methods.items()):
            found = of_class[positive]
            # Where nothing is marked, precision is 1 by convention: no point of the curve.
            seen = found.recall > 0
            alone = {"marker": "o"} if seen.any() and not np.ptp(found.recall[seen]) else {}
            line[0].plot(found.recall[seen], found.precision[seen], label=_label(name), **style | alone)
            line[1].plot(found.threshold, found.f, label=_label(name), **style)
            line[2].plot([1, *found.fpr], [1, *found.tpr], label=_label(name), **style)
        line[2].plot([0, 1], [0, 1], color="black", linestyle=":", label="chance", zorder=3)
        for axis, (title, x, y) in zip(line, CURVES):
            axis.set_title(f"{title}, positive: {CLASSES[positive]}")
            axis.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(*axes[0, 2].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    # After the legend, whose lines are as thick as those that it is made of.
    for line in [line for axis in axes.flat for line in axis.lines if line.get_label() == _label(bold)]:
        line.set(linewidth=3, zorder=3)
    return figure


def _label(name: str) -> str:
    return f"\u200b{name}" if name.startswith("_") else name  # matplotlib leaves names with _ out of the legend


def curve_arrays(
    methods: Mapping[str, Mapping[str, Curves]], axes: Sequence[str] = ("f", "recall", "fpr")
) -> dict[str, np.ndarray]:
    """Return the arrays of the curves of `methods`, as `curves` takes them, under "method_class_axis".

    `axes` are fields of `Curves`. Precision is left out: it follows from F and recall, and by itself jumps where a
    threshold marks nothing in one photo.
    """
    return {
        f"{name}_{positive}_{axis}": getattr(curve, axis)
        for name, of_class in methods.items()
        for positive, curve in of_class.items()
        for axis in axes
    }


def blurred_shares(shares: Mapping[str, Sequence[float]]) -> Figure:
    """Draw a histogram of the photos' blurred shares for each set, with its mean."""
    figure, axes = plt.subplots(1, len(shares), figsize=(3.4 * len(shares), 2.6), squeeze=False, layout="constrained")
    for axis, colour, (name, values) in zip(axes[0], COLOURS, shares.items()):
        axis.hist(values, bins=np.linspace(0, 1, 21), color=colour)
        axis.axvline(np.mean(values), color="black", linestyle="--", label=f"mean {np.mean(values):.3f}")
        axis.set(xlabel="blurred share of a photo", ylabel="number of photos", title=name)
        axis.legend()
    return figure
