"""Find out where a network fails, and on what: how much blur it detects, texture, disturbances, its worst maps.

Images are uint8 RGB (H, W, 3), maps float32 (H, W) with 1 = blurred, radii are in pixels of the network's input. A
pixel is marked as blurred if its map is above 0.5. "known" stands for {kind: images with exact masks}, such as
half-and-half images and rendered scenes, and "maps" for the network's maps of them under the same kinds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from defusion_lib.data import bundled, effects
from defusion_lib.data.camera import BLUR_THRESHOLD
from defusion_lib.evaluation import statistics
from defusion_lib.evaluation.bootstrap import holm
from defusion_lib.evaluation.tables import table
from defusion_lib.experiments.controlled_images import ControlledImage, blurred_share, origin, standard_error
from defusion_lib.experiments.result_keys import result_keys
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import COLOURS, STYLES, Drawing, as_levels, comparison, sheet
from defusion_lib.progress import tqdm

SIDES = {"focus": "in focus", "blur": "blurred"}  # the two classes of pixels, in result keys and in words
RADIUS_BINS = (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20)
MARKED = "share marked as blurred"
THRESHOLD_LABEL = "blurred from here on, by definition"


def detect_each(images: Iterable[np.ndarray], network: DeFusionNet) -> list[np.ndarray]:
    """Predict the map of each image at the image's own size."""
    return [detect(image, network, None) for image in tqdm(images, desc="detecting", leave=False)]


def evaluate(images: Sequence[ControlledImage], maps: Sequence[np.ndarray]) -> Evaluation:
    """Score maps against the exact masks of their images."""
    evaluation = Evaluation()
    for image, defocus in zip(images, maps, strict=True):
        evaluation.add(defocus, image.photo.mask)
    return evaluation


# -------------------------------------------------------------------------------------------- embedded photos


def embedded_table(maps: Mapping[str, np.ndarray], sharp: Sequence[str]) -> pd.DataFrame:
    """Show the share of each embedded photo that is marked as blurred, and what a person sees in focus.

    `sharp` names the photos that count as sharp everywhere: a last row has their mean.
    """
    rows = {}
    for name, defocus in maps.items():
        seen = bundled.EMBEDDED[name][1]
        note = " (but enlarged)" if seen == bundled.ALL_SHARP and name not in sharp else ""
        rows[name] = {MARKED: blurred_share(defocus), "in focus, judged by eye": seen + note}
    if sharp:
        mean = float(np.mean([blurred_share(maps[name]) for name in sharp]))
        rows["mean of false alarms"] = {MARKED: mean, "in focus, judged by eye": f"{len(sharp)} sharp photos"}
    return table(rows)


def draw_embedded(images: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]) -> Drawing:
    """Draw photos and their maps, two photos per row."""
    names, rows = list(images), {}
    for pair in (names[i : i + 2] for i in range(0, len(names), 2)):
        label = ", ".join(name.partition("-")[2] for name in pair)
        rows[label] = [panel for name in pair for panel in (images[name], maps[name])]
    caption = (
        f"{len(images)} photos unlike Shi's, each with the network's map to its right (white = blurred). The map of a "
        "photo that is sharp everywhere should be black."
    )
    arrays = {"names": names, "maps": as_levels(np.stack(list(maps.values())))}
    return Drawing("other_kinds", sheet(rows, ["photo", "map"] * 2), caption, arrays)


# --------------------------------------------------------------------------------------------- response to blur


class BlurResponse(NamedTuple):
    """The share of each photo that is marked as blurred, {name: shares}, for each radius of a uniform blur."""

    radii: list[float]
    shares: dict[str, list[float]]

    @property
    def median(self) -> np.ndarray:
        """Median over the photos, for each radius."""
        return np.median(list(self.shares.values()), axis=0)

    @property
    def detection_radii(self) -> dict[str, float]:
        """Radius at which half of each photo is marked as blurred; infinite if that does not happen."""
        return {name: statistics.detection_radius(self.radii, shares) for name, shares in self.shares.items()}


def blur_response(images: Mapping[str, np.ndarray], radii: Sequence[float], network: DeFusionNet) -> BlurResponse:
    """Blur sharp photos everywhere, with radius 0 and with each of the ascending radii, and measure the shares.

    Raises ValueError if there is no photo.
    """
    if not images:
        raise ValueError("No photo is sharp everywhere at this size: name one that is, or choose a smaller size.")
    steps = [0.0, *radii]
    shares = {}
    for name, image in images.items():
        maps = detect_each([effects.blurred(image, radius) for radius in steps], network)
        shares[name] = [blurred_share(defocus) for defocus in maps]
    return BlurResponse(steps, shares)


def response_table(response: BlurResponse) -> pd.DataFrame:
    """Show the shares of each photo and of the median, and the radius at which half is marked as blurred."""
    rows = {}
    for name, shares in (response.shares | {"median": response.median}).items():
        rows[name] = {f"{radius:g} px": float(share) for radius, share in zip(response.radii, shares)}
        radius = statistics.detection_radius(response.radii, shares)
        found = f"{radius:.2f} px" if np.isfinite(radius) else f"not up to {response.radii[-1]:g} px"
        rows[name]["detection radius"] = "0 px: without any blur" if radius == 0 else found
    return table(rows)


def draw_response(response: BlurResponse) -> Drawing:
    """Draw the share that is marked as blurred over the radius of the blur."""
    figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for style, (name, shares) in zip(STYLES, response.shares.items()):
        axis.plot(response.radii, shares, marker=".", label=name, **style)
    axis.plot(response.radii, response.median, color="black", linewidth=2.5, label="median")
    axis.axvline(BLUR_THRESHOLD, color="0.5", linestyle=":", label=THRESHOLD_LABEL)
    axis.set(xlabel="radius of the blur in pixels of the network's input", ylabel=MARKED, ylim=(-0.02, 1.02))
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    caption = (
        "The share of a photo that is marked as blurred, over the radius of a uniform blur: one line per photo, the "
        "median in bold. The share should jump from 0 to 1 at the dotted line."
    )
    arrays = {name.replace("-", "_"): shares for name, shares in response.shares.items()}
    arrays |= {"radii": response.radii, "median": response.median}
    return Drawing("blur_response", figure, caption, arrays)


# ------------------------------------------------------------------------------------------- texture and radius

# For each kind of image and side, the share of wrong pixels in each quarter of texture, (photos, 4).
Quarters = dict[tuple[str, str], np.ndarray]


def error_by_texture(images: Sequence[ControlledImage], maps: Sequence[np.ndarray], blurred: bool) -> np.ndarray:
    """Compute the share of wrong pixels in each quarter of texture, smooth to textured, (photos, 4).

    Only the pixels that are (not) `blurred` count. Images of one origin count as one photo: their mean.
    """
    of_photo = {}
    for image, defocus in zip(images, maps, strict=True):
        chosen = (image.photo.mask == 1) == blurred
        wrong = (defocus[chosen] > 0.5) != blurred
        quarters = statistics.quarters(wrong, image.texture[chosen])
        of_photo.setdefault(origin(image.photo.name), []).append(quarters)
    return np.array([np.mean(quarters, axis=0) for quarters in of_photo.values()])


def errors_by_texture(
    known: Mapping[str, Sequence[ControlledImage]], maps: Mapping[str, Sequence[np.ndarray]]
) -> Quarters:
    """Compute `error_by_texture` for each kind of image and for both sides."""
    return {(kind, side): error_by_texture(known[kind], maps[kind], side == "blur") for kind in known for side in SIDES}


def texture_table(quarters: Quarters) -> pd.DataFrame:
    """Show the mean error in each quarter of texture, and a sign test over photos of smooth against textured.

    The p-values are corrected for the number of rows (Holm).
    """
    rows = {}
    tests = [statistics.sign_test(of_photo[:, 0], of_photo[:, 3]) for of_photo in quarters.values()]
    corrected = holm([p for *_, p in tests])
    for ((kind, side), of_photo), (more, differ, _), p in zip(quarters.items(), tests, corrected):
        smooth, second, third, textured = of_photo.mean(0)
        where = "smooth" if smooth > textured else "textured"
        # Mean and count must agree: one photo alone can decide a mean.
        clear = p < 0.05 and (more > differ / 2) == (where == "smooth")
        rows[f"{kind}, {SIDES[side]}"] = {
            "smooth": smooth,
            "2": second,
            "3": third,
            "textured": textured,
            "smooth is worse": f"in {more} of {differ} photos",
            "p, corrected": f"{p:.2g}",
            "conclusion": f"{where} areas fail more" if clear else "too few or too mixed to tell",
        }
    return table(rows)


def share_by_radius(images: Sequence[ControlledImage], maps: Sequence[np.ndarray]) -> np.ndarray:
    """Bin the pixels of all images by the true radius of their blur.

    Each row holds the mean radius, the share marked as blurred, and the share of all pixels; empty bins are left out.
    """
    radius = np.concatenate([image.radius.ravel() for image in images])
    marked = np.concatenate([defocus.ravel() > 0.5 for defocus in maps])
    bins = np.digitize(radius, RADIUS_BINS, right=True)
    return np.array([(radius[bins == i].mean(), marked[bins == i].mean(), (bins == i).mean()) for i in np.unique(bins)])


def radius_table(by_radius: np.ndarray) -> pd.DataFrame:
    """Show the result of `share_by_radius`, one column per bin."""
    names = ("mean radius, px", MARKED, "share of all pixels")
    columns = [str(i + 1) for i in range(len(by_radius))]
    return table({name: dict(zip(columns, row)) for name, row in zip(names, by_radius.T)}, digits=2)


def draw_texture_and_radius(quarters: Quarters, by_radius: np.ndarray, response: BlurResponse) -> Drawing:
    """Draw the error over texture, and the share that is marked as blurred over the true radius."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    styles = dict(zip(dict.fromkeys(kind for kind, _ in quarters), ("--", "-")))
    colours = dict(zip(SIDES, COLOURS))
    places = [1, 2, 3, 4]
    for (kind, side), of_photo in quarters.items():
        label, style = f"{kind}, {SIDES[side]}", styles[kind]
        left.plot(places, of_photo.mean(0), style, color=colours[side], marker=".", label=label)
    left.set(xlabel="quarter of the pixels, by texture", ylabel="share of wrong pixels", title="Error and texture")
    left.set_ylim(0, 1.1 * left.get_ylim()[1])
    left.set_xticks(places, ["1\nsmooth", "2", "3", "4\ntextured"])
    left.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2, handlelength=3)
    right.plot(*by_radius.T[:2], color=COLOURS[0], marker=".", label="rendered scenes")
    label = "photos blurred everywhere (median)"
    right.plot(response.radii, response.median, color="black", marker=".", label=label)
    right.axvline(BLUR_THRESHOLD, color="0.5", linestyle=":", label=THRESHOLD_LABEL)
    right.set(xlabel="true radius of the blur in pixels", ylabel=MARKED, title="Error and radius", ylim=(-0.02, 1.02))
    right.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    caption = (
        "Left: the share of wrong pixels in each quarter of the texture, smooth to textured, for two kinds of images. "
        "Right: the share marked as blurred over the true radius, for rendered scenes and for photos blurred "
        "everywhere."
    )
    arrays = {f"{kind}_{side}".replace("-", "_"): of_photo for (kind, side), of_photo in quarters.items()}
    return Drawing("texture_and_radius", figure, caption, arrays | {"by_radius": by_radius})


# ------------------------------------------------------------------------------------------------- disturbances


class Outcome(NamedTuple):
    """The mean absolute error of each image, {image: error}, and the share of all pixels that is marked as blurred."""

    errors: Mapping[str, float]
    share: float

    @property
    def mae(self) -> float:
        """Mean of the errors."""
        return float(np.mean(list(self.errors.values())))


class Change(NamedTuple):
    """What a disturbance adds to the MAE, its standard error over the photos, and the end of its one-sided interval.

    `at_least` is the lower end, at a level of 5 % divided by the number of disturbances.
    """

    difference: float
    error: float
    at_least: float


class Disturbances(NamedTuple):
    """The outcome without a disturbance, and with each level of each kind, {kind: {level: outcome}}."""

    plain: Outcome
    levels: dict[str, dict[int, Outcome]]

    def change(self, outcome: Outcome) -> Change:
        """Compare an outcome with that without a disturbance, image by image."""
        apart = {name: error - self.plain.errors[name] for name, error in outcome.errors.items()}
        difference, (error, count) = float(np.mean(list(apart.values()))), standard_error(apart)
        level = 0.05 / sum(map(len, self.levels.values()))
        return Change(difference, error, difference - error * float(stats.t.isf(level, count - 1)))


# Kinds of disturbances: label of the axis, and the change of an image by a level and a seed.
_KINDS = {
    "noise": ("noise, standard deviation\nin levels of 255", effects.noisy),
    "jpeg": ("JPEG quality", lambda image, quality, _: effects.jpeg(image, quality)),
    "stops": ("under-exposure\nin stops", lambda image, stops, _: effects.darkened(image, stops)),
    "size": ("input of the network,\npixels a side", lambda image, *_: image),
}


def disturb(
    images: Sequence[ControlledImage],
    maps: Sequence[np.ndarray],
    network: DeFusionNet,
    levels: Mapping[str, Sequence[int]],
    seed: int = 0,
) -> Disturbances:
    """Measure the network on disturbed images; `maps` are the maps of the images as they are.

    `levels` are those of "noise" (standard deviations in levels of 255, drawn with `seed`), "jpeg" (qualities), "stops"
    (of under-exposure: each halves the light) and "size" (pixels a side of the network's input).
    """

    def outcome(kind, level):
        _, change = _KINDS[kind]
        found = []
        for index, image in enumerate(tqdm(images, desc=f"{kind} {level}", leave=False)):
            changed = change(image.photo.image, level, [seed, index])
            found.append(detect(changed, network, level if kind == "size" else None))
        return _outcome(images, found)

    plain = _outcome(images, maps)
    return Disturbances(plain, {kind: {level: outcome(kind, level) for level in of} for kind, of in levels.items()})


def _outcome(images: Sequence[ControlledImage], maps: Sequence[np.ndarray]) -> Outcome:
    errors = {
        image.photo.name: float(np.abs(defocus - image.photo.mask).mean()) for image, defocus in zip(images, maps)
    }
    return Outcome(errors, blurred_share(np.stack(maps)))


def disturbance_table(found: Disturbances) -> pd.DataFrame:
    """Show MAE, its change by the disturbance, and the share marked as blurred, for each level of each disturbance."""
    plain = {"MAE": found.plain.mae, "difference": "", "standard error": "", MARKED: found.plain.share}
    rows: dict[str, dict[str, object]] = {"none": plain}
    for name, outcome in _named(found).items():
        added = found.change(outcome)
        rows[name] = {
            "MAE": outcome.mae,
            "difference": added.difference,
            "standard error": added.error,
            MARKED: outcome.share,
        }
    return table(rows)


def _named(found: Disturbances) -> dict[str, Outcome]:
    return {f"{kind} {level}": each for kind, of in found.levels.items() for level, each in of.items()}


def worst_disturbance(found: Disturbances) -> str:
    """Name the disturbance that raises the MAE most and its direction, in one sentence, if it raises it at all."""
    raises = {name: outcome for name, outcome in _named(found).items() if found.change(outcome).at_least > 0}
    if not raises:
        return "No disturbance raises the error by more than chance."
    name = max(raises, key=lambda each: raises[each].mae)
    direction = "blurred" if raises[name].share > found.plain.share else "in focus"
    return f"Of the disturbances that raise the error, {name} does most: more pixels are marked as {direction}."


def draw_disturbances(found: Disturbances, size: int) -> Drawing:
    """Draw the MAE of each level of each disturbance; undisturbed images have `size` pixels a side."""
    figure, axes = plt.subplots(1, len(found.levels), figsize=(10, 3.3), sharey=True, layout="constrained")
    for axis, (kind, levels) in zip(axes, found.levels.items()):
        maes = [outcome.mae for outcome in levels.values()]
        errors = [found.change(outcome).error for outcome in levels.values()]
        axis.bar([str(level) for level in levels], maes, yerr=errors, color=COLOURS[0], width=0.6, capsize=3)
        axis.axhline(found.plain.mae, color="black", linestyle="--", label=f"no disturbance ({size} pixels a side)")
        axis.axhline(0.5, color="0.5", linestyle=":", label="a map of 0.5 everywhere")
        axis.set(xlabel=_KINDS[kind][0])
        axis.margins(x=0.3)
    top = max(outcome.mae for levels in found.levels.values() for outcome in levels.values())
    axes[0].set(ylabel="MAE on half-and-half images", ylim=(0, max(0.55, 1.05 * top)))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption = (
        "MAE with noise, JPEG compression, under-exposure and other input sizes, one bar per level. The dashed line is "
        "the MAE without a disturbance, the dotted line that of an uninformative map. A stroke is the standard error "
        "of a bar's distance from the dashed line, over the photos."
    )
    arrays = {
        kind: [(each.mae, each.share, found.change(each).error) for each in levels.values()]
        for kind, levels in found.levels.items()
    }
    return Drawing("disturbances", figure, caption, arrays | {"plain": (found.plain.mae, found.plain.share)})


# --------------------------------------------------------------------------------------------------- worst maps


class Failure(NamedTuple):
    """An image with a known mask, the network's map of it, and the map's MAE."""

    image: ControlledImage
    defocus: np.ndarray
    mae: float

    def explain(self) -> dict[str, str]:
        """Return the shares of both errors, and what distinguishes the wrong pixels of the larger one.

        The wrong pixels are compared with the right ones of the same class. A property is named if, of a wrong and a
        right pixel drawn at random, the wrong one has more (or less) of it in at least two of three pairs.
        """
        blurred = self.image.photo.mask == 1
        wrong = (self.defocus > 0.5) != blurred
        alarms, misses = (wrong & ~blurred).mean(), (wrong & blurred).mean()
        missed = bool(misses > alarms)
        chosen = blurred if missed else ~blurred
        marks = [_contrast(self.image.texture[chosen], wrong[chosen], "smoother", "more textured")]
        if missed:
            marks.append(_contrast(self.image.radius[chosen], wrong[chosen], "less blurred", "more blurred"))
        return {
            "false alarms": f"{alarms:.0%}",
            "misses": f"{misses:.0%}",
            "most errors are": "misses" if missed else "false alarms",
            "which are": ", ".join(filter(None, marks)) or "neither smoother nor more textured",
        }


def _contrast(values: np.ndarray, wrong: np.ndarray, low: str, high: str) -> str:
    """Name what wrong pixels have less or more of than right ones, with the share of pairs; "" for a weak contrast."""
    share = statistics.probability_of_superiority(values, wrong)
    if share <= 1 / 3:
        return f"{low} ({1 - share:.0%})"
    return f"{high} ({share:.0%})" if share >= 2 / 3 else ""


def worst_maps(
    known: Mapping[str, Sequence[ControlledImage]], maps: Mapping[str, Sequence[np.ndarray]], count: int
) -> list[Failure]:
    """Select the `count` images whose maps have the highest MAE, worst first."""
    failures = [
        Failure(image, defocus, np.abs(defocus - image.photo.mask).mean())
        for kind in known
        for image, defocus in zip(known[kind], maps[kind], strict=True)
    ]
    return sorted(failures, key=lambda failure: -failure.mae)[:count]


def failure_table(failures: Sequence[Failure]) -> pd.DataFrame:
    """Show what went wrong in each image, and what the wrong pixels have in common."""
    return table({each.image.photo.name: {"MAE": each.mae} | each.explain() for each in failures}, digits=2)


def draw_failures(failures: Sequence[Failure]) -> Drawing:
    """Draw each image with its mask, the network's map and the texture before the blur."""
    columns = {
        "defocus map": [each.defocus for each in failures],
        "texture (white: most)": [each.image.texture / each.image.texture.max() for each in failures],
    }
    caption = (
        "The images with the worst maps, worst first: photo, exact mask, the network's map (white = blurred), and "
        "texture before the blur."
    )
    arrays = {
        "names": [each.image.photo.name for each in failures],
        "errors": [each.mae for each in failures],
        "maps": as_levels(np.stack([each.defocus for each in failures])),
    }
    return Drawing("worst_known", comparison([each.image.photo for each in failures], columns), caption, arrays)


# ------------------------------------------------------------------------------------------------------ results


def results(
    method: str,
    maps: Mapping[str, np.ndarray],
    response: BlurResponse,
    evaluations: Mapping[str, Evaluation],
    quarters: Quarters,
    disturbances: Disturbances,
) -> dict[str, float]:
    """Return all of this under result keys "dataset/method/metric"; `maps` are those of the embedded photos.

    A photo of which half is never marked as blurred has no detection radius.
    """
    values = {f"{name}/{method}/blurred-share": blurred_share(defocus) for name, defocus in maps.items()}
    values[f"sharp/{method}/blurred-share"] = float(np.mean([shares[0] for shares in response.shares.values()]))
    for name, radius in response.detection_radii.items():
        if np.isfinite(radius):
            values[f"{name}/{method}/firing-radius"] = radius
    for kind, evaluation in evaluations.items():
        values |= result_keys(kind, {method: evaluation.values()})
    for (kind, side), of_photo in quarters.items():
        mean = of_photo.mean(0)
        values[f"{kind}/{method}/error-smooth-{side}"] = float(mean[0])
        values[f"{kind}/{method}/error-textured-{side}"] = float(mean[3])
    for kind, levels in disturbances.levels.items():
        for level, outcome in levels.items():
            values[f"half-and-half/{method}/mae-{kind}-{level}"] = outcome.mae
            values[f"half-and-half/{method}/blurred-share-{kind}-{level}"] = outcome.share
    return values
