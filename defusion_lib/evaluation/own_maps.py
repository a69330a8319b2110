"""Maps that a method of yours made: read them from a folder, compare their scores with those of other methods.

A folder holds one map per photo, under the photo's name: a grey picture, white = blurred, or an array (.npy).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple

import numpy as np
from PIL import Image

from defusion_lib import plots
from defusion_lib.data import Photo, PhotoSet, first_few
from defusion_lib.data.decoding import decode
from defusion_lib.data.files import COLOURLESS, SUFFIXES, composed
from defusion_lib.evaluation.bootstrap import interval, paired_differences
from defusion_lib.evaluation.map_scores import METRICS, MapScores
from defusion_lib.inference import resize_map
from defusion_lib.metrics import ROUNDING
from defusion_lib.paths import display_path

ARRAY = ".npy"
DARK = 10  # the largest level of maps that were saved as 0 and 1 in 8 bits, or not scaled
# {name of a protocol: its metrics}; "d-dffnet" is the one of D-DFFNet's table (Jin et al., ICME 2023).
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "main": ("mae", "max-f-blur", "max-f-focus", "f-half-blur", "auc"),
    "d-dffnet": ("mae", "f-half-blur"),
    "all": METRICS,
}
COLUMNS = 5  # of a table of scores; a protocol with more gets a row per metric
LOWER_IS_BETTER = ("mae", "mae-stretched")
SHOWN = 5  # photos at each end of the differences


class MapFolder:
    """The maps of one method in a folder, read when they are needed.

    `invert` is True where white means in focus. After photos were read, `resized` names those whose maps had another
    size, `transposed` those whose maps had width and height exchanged, and `highest` is the largest value of all maps.
    Raises FileNotFoundError for a folder that is missing or holds no map, and ValueError for two maps of one name.
    """

    def __init__(self, folder: str | Path, invert: bool = False):
        self.folder = Path(folder)
        self.invert = invert
        self.resized: list[str] = []
        self.transposed: list[str] = []
        self.highest = 0.0
        self._files = _list_maps(self.folder)

    def common(self, photos: PhotoSet, allow_missing: bool = False) -> tuple[PhotoSet, list[str]]:
        """Return the photos that have a map, and the names of those that have none.

        Raises FileNotFoundError where maps are missing, unless that is allowed and some are there.
        """
        missing = [stem for stem in photos.stems if composed(stem) not in self._files]
        found = [stem for stem in photos.stems if composed(stem) in self._files]
        if missing and not (found and allow_missing):
            example = next(iter(self._files.values())).name
            others = f", or allow missing maps (--allow-missing) to score the other {len(found)}" if found else ""
            raise FileNotFoundError(
                f"{display_path(self.folder)} has no map for {len(missing)} of the {len(photos)} photos of "
                f"{photos.name} ({first_few(missing)}), while it holds {example}: expected a map under each "
                f"photo's name, so add or rename maps{others}."
            )
        # The set's name stays: stored maps of other methods belong to it.
        return PhotoSet(photos.name, found, photos.read), missing

    def count_others(self, photos: PhotoSet) -> int:
        """Count the maps that have the name of no photo."""
        return len(set(self._files) - {composed(stem) for stem in photos.stems})

    def read(self, photo: Photo) -> np.ndarray:
        """Read the map of a photo at the photo's size, 1 (or 255 of uint8) = blurred.

        A map of another size is resized bilinearly (`inference.resize_map`). Raises ValueError for a file that is
        broken, coloured or transparent, and for values outside [0, 1].
        """
        path, shape = self._files[composed(photo.name)], photo.image.shape[:2]
        found = _read_array(path) if path.suffix.lower() == ARRAY else _read_picture(path)
        full = 255 if found.dtype == np.uint8 else 1
        self.highest = max(self.highest, float(found.max()) / full)
        if found.shape != shape:
            (self.transposed if found.shape == shape[::-1] else self.resized).append(photo.name)
            found = resize_map(found / np.float32(full), shape)
            full = 1
        return full - found if self.invert else found


def _list_maps(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{display_path(folder)} is not a folder: expected a folder of maps, so check the path."
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES | {ARRAY}:
            continue
        stem = composed(path.stem)
        if stem in found:
            raise ValueError(
                f"{display_path(folder)} holds both {found[stem].name} and {path.name}: expected one map of each name, "
                "so remove or rename one of them."
            )
        found[stem] = path
    if not found:
        raise FileNotFoundError(
            f"{display_path(folder)} holds no map: expected pictures (such as .png and .jpg) or arrays (.npy) directly "
            "in it, so check the path."
        )
    return found


def _read_picture(path: Path) -> np.ndarray:
    """Read a grey picture: uint8 (H, W), or float32 in [0, 1] where it has 16 bits."""
    image = decode(path).image
    if image.mode == "I;16":
        return np.asarray(image, np.float32) / 65535
    if image.mode not in ("1", "L"):
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            raise ValueError(f"{path.name}: the map has transparent pixels: save it as a grey picture without them.")
        if np.ptp(np.asarray(image.convert("RGB")), axis=2).max() > COLOURLESS:
            raise ValueError(
                f"{path.name}: the map has colours, expected grey: save its values, without a colour scale."
            )
    return np.asarray(image.convert("L"))


def _read_array(path: Path) -> np.ndarray:
    """Read an array: uint8 (H, W) as it is, floats and bool as float32 in [0, 1]."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError, MemoryError) as error:
        raise ValueError(f"{path.name} is not a readable array ({error}): save it with numpy.save.") from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path.name} holds several arrays: save one map in each file, with numpy.save.")
    shape, found = found.shape, np.squeeze(found)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "fb" and found.dtype != np.uint8:
        raise ValueError(
            f"{path.name} holds {found.dtype} of shape {shape}, expected one map (height, width): floats in [0, 1], or "
            "uint8 from 0 to 255."
        )
    if found.dtype == np.uint8:
        return found
    found = found.astype(np.float32)
    if missing := np.count_nonzero(~np.isfinite(found)):
        raise ValueError(
            f"{path.name} has {missing} of {found.size} values that are not finite (NaN or infinite), expected [0, 1]: "
            "find where they come from, because no score is defined for them."
        )
    if not (found.min() >= -ROUNDING and found.max() <= 1 + ROUNDING):
        raise ValueError(
            f"{path.name} reaches from {found.min():.4g} to {found.max():.4g}, expected [0, 1]: apply the sigmoid or "
            "divide by the largest possible value."
        )
    return np.clip(found, 0, 1)


# ------------------------------------------------------------------------------------------------- comparison


class Comparison(NamedTuple):
    """The scores of a method and of others on the same photos.

    own:         the method's name; it is the first of the methods
    dataset:     the name of the set of photos, and how many of them were scored
    values:      {method: {metric: score}}
    errors:      {method: {metric: bootstrap standard error}} of the metrics that two or more photos have
    bounds:      {method: {metric: the ends of the 95 % interval}}
    differences: {metric: {other method: {"difference": own - other, "low", "high", "p, corrected", ...}}}, the p-values
                 corrected for the number of other methods (Holm)
    """

    own: str
    dataset: str
    photos: int
    values: dict[str, dict[str, float]]
    errors: dict[str, dict[str, float]]
    bounds: dict[str, dict[str, tuple[float, float]]]
    differences: dict[str, dict[str, dict]]


def compare(
    scores: Mapping[str, MapScores], photos: PhotoSet, wanted: Sequence[str], draws: int, seed: int = 0
) -> Comparison:
    """Compare the first method of `scores` with each of the others under the metrics `wanted`.

    A metric that is undefined for these masks is left out.
    """
    wanted = [metric for metric in wanted if not all(np.isnan(of.value(metric)) for of in scores.values())]
    values = {name: {metric: of.value(metric) for metric in wanted} for name, of in scores.items()}
    resampled = {name: of.resampled(wanted, draws, seed) for name, of in scores.items()}
    errors = {
        name: {metric: float(each.std()) for metric, each in of.items() if scores[name].photos(metric) > 1}
        for name, of in resampled.items()
    }
    bounds = {
        name: {metric: (float(low), float(high)) for metric, each in of.items() for low, high in [interval(each)]}
        for name, of in resampled.items()
    }
    own, *others = scores
    differences = {}
    for metric in wanted:
        means = {name: of[metric] for name, of in resampled.items()}
        single = {name: np.array([of[metric]]) for name, of in values.items()}
        pairs = [(own, other) for other in others]
        rows = paired_differences(single, means, pairs, scores[own].photos(metric))
        differences[metric] = dict(zip(others, rows.values()))
    return Comparison(own, photos.name, len(photos), values, errors, bounds, differences)


def polarity_note(comparison: Comparison, invert: bool) -> str:
    """Return a sentence where the maps look inverted, else "": their AUC is below chance over the set.

    It is where the 95 % interval of the mean AUC ends below 0.5.
    """
    value, high = comparison.values[comparison.own]["auc"], comparison.bounds[comparison.own]["auc"][1]
    if high >= 0.5:
        return ""
    remedy = "without --invert" if invert else "with --invert"
    meaning = "blurred" if invert else "in focus"
    return (
        f"The maps of {comparison.own} look inverted: their AUC is {value:.3f}, below chance (0.5); they were scored "
        f"as given, so if white means {meaning} in these files, score them again {remedy}."
    )


def dark_note(maps: MapFolder) -> str:
    """Return a sentence where all maps that were read are nearly black, else ""."""
    if maps.highest > DARK / 255:
        return ""
    return (
        f"The largest value of all maps is {maps.highest:.4g} of 1: if they were saved as 0 and 1 in 8 bits, save them "
        "as 0 to 255."
    )


# ----------------------------------------------------------------------------------------------------- tables


def columns_of(protocol: str) -> tuple[str, ...]:
    """Return the metrics that are columns of a method's row under a protocol: the main ones where it has many."""
    return PROTOCOLS["main"] if len(PROTOCOLS[protocol]) > COLUMNS else PROTOCOLS[protocol]


def titled(metric: str) -> str:
    """Return a column's title: the metric with an arrow towards better."""
    return f"{metric} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def score_rows(comparison: Comparison, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the rows of a table, {method: {metric: "score ± standard error"}}."""
    return {
        name: {
            titled(metric): f"{values[metric]:.3f}"
            + (f" ± {comparison.errors[name][metric]:.3f}" if metric in comparison.errors[name] else "")
            for metric in wanted
            if metric in values
        }
        for name, values in comparison.values.items()
    }


def difference_rows(comparison: Comparison, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the rows of a table of the differences own - other, {"metric, other method": {column: text}}."""
    return {
        f"{metric}, {other}": {
            f"{comparison.own} - other": f"{row['difference']:+.3f}",
            "95 % interval": f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            "p, corrected": f"{row['p, corrected']:.4f}",
            "larger than chance": str(row["larger than chance"]),
        }
        for metric in wanted
        for other, row in comparison.differences.get(metric, {}).items()
    }


def turned(rows: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Exchange rows and columns of a table {row: {column: text}}."""
    return {column: {name: row[column] for name, row in rows.items()} for column in next(iter(rows.values()))}


def markdown(rows: Mapping[str, Mapping[str, str]], heading: str = "method") -> str:
    """Write rows {row: {column: text}} as a table in Markdown."""
    columns = list(next(iter(rows.values())))
    lines = [[heading, *columns], ["---", *["---:"] * len(columns)]]
    lines += [[name, *(row[column] for column in columns)] for name, row in rows.items()]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def latex(rows: Mapping[str, Mapping[str, str]], heading: str = "method") -> str:
    """Write rows {row: {column: text}} as lines of a LaTeX tabular, its columns named in a comment above."""
    columns = list(next(iter(rows.values())))
    lines = ["% " + " & ".join([heading, *columns])]
    lines += [
        " & ".join(map(_escaped, [name, *(row[column] for column in columns)])) + r" \\" for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


LATEX = {letter: "\\" + letter for letter in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


def as_csv(comparison: Comparison) -> str:
    """Write all scores and differences as CSV, one line per method and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("difference", "low", "high", "p, corrected")
    head = ["dataset", "photos", "method", "metric", "score", "standard error", "low", "high"]
    writer.writerow([*head, *(f"own - method: {column}" for column in columns)])
    for name, values in comparison.values.items():
        for metric, value in values.items():
            apart = comparison.differences[metric].get(name, {})
            numbers = [value, comparison.errors[name].get(metric, ""), *comparison.bounds[name][metric]]
            numbers += [apart.get(column, "") for column in columns]
            writer.writerow([comparison.dataset, comparison.photos, name, metric, *numbers])
    return text.getvalue()


# ---------------------------------------------------------------------------------------------------- figures


def plot_curves(scores: Mapping[str, MapScores], dataset: str) -> plots.Drawing:
    """Draw the PR, F-measure and ROC curves of all methods (Figures 8-10), the first one bold."""
    own = next(iter(scores))
    of_classes = {name: {each: of.curves(each) for each in ("blur", "focus")} for name, of in scores.items()}
    caption = (
        f"Precision-recall, F-measure and ROC curves on {dataset}, with the blurred pixels as the positive class above "
        f"and those in focus below; {own} is bold."
    )
    return plots.Drawing("own_curves", plots.curves(of_classes, own), caption, plots.curve_arrays(of_classes))


def extreme_photos(first: np.ndarray, second: np.ndarray) -> list[int]:
    """Return the indices of the photos at both ends of the differences first - second (N,), lowest first.

    These are the `SHOWN` lowest and the `SHOWN` highest, or all where there are no more.
    """
    order = [int(i) for i in np.argsort(first - second, kind="stable")]
    return order if len(order) <= 2 * SHOWN else order[:SHOWN] + order[-SHOWN:]


def plot_extremes(
    photos: PhotoSet,
    scores: Mapping[str, MapScores],
    other: str,
    maps_of: Callable[[Photo, str], np.ndarray],
) -> plots.Drawing:
    """Draw the photos where the first method and another differ most in MAE, either way, with both maps.

    `maps_of(photo, method)` returns a map of [0, 1] or of 8 bits.
    """
    own = next(iter(scores))
    of_own, of_other = (scores[name].of_images["mae"] for name in (own, other))
    chosen = extreme_photos(of_own, of_other)
    rows = {}
    for i in chosen:
        photo = photos[i]
        maps = [maps_of(photo, name) for name in (own, other)]
        thumbnails = [_small(each) for each in (photo.image, photo.mask, *maps)]
        label = f"{photo.name.replace('out_of_focus', '')} {of_own[i] - of_other[i]:+.3f}"
        rows[label] = thumbnails
    caption = (
        f"The photos where the MAE of {own} and {other} differ most, with their masks and maps; the number is the MAE "
        f"of {own} minus that of {other}: {own} is better where it is below 0."
    )
    arrays = {
        "names": [photos.stems[i] for i in chosen],
        "differences": (of_own - of_other)[chosen],
        **{f"map_{place}": row[2] for place, row in enumerate(rows.values())},
    }
    return plots.Drawing("own_extremes", plots.sheet(rows, ["photo", "mask", own, other]), caption, arrays)


def _small(picture: np.ndarray, side: int = 320) -> np.ndarray:
    """Reduce a photo, a mask or a map to the size of a panel, uint8."""
    picture = picture if picture.dtype == np.uint8 else plots.as_levels(picture)
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image)
