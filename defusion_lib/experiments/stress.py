"""Measure a network on test photos with noise, JPEG and other sizes, and on images whose blur is known.

    python -m defusion_lib.experiments.stress NETWORK --dataset shi --root data/shi --into stress.json

writes the means with their standard errors over the photos to stress.json, and the values of each photo to stress.npz,
so that two networks can be compared photo by photo: `differences(read(one), read(other))`.

Photos are uint8 RGB (H, W, 3), maps and masks float (H, W) with 1 = blurred, radii are in pixels.
"""

import argparse
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from defusion_lib import metrics, paths, plots
from defusion_lib.data import Photo, PhotoSet, bundled, effects
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.datasets import DATASETS, check_unseen, open_dataset, trained_on
from defusion_lib.data.synthetic import open_synthetic
from defusion_lib.evaluation.map_scores import DRAWS, resample
from defusion_lib.evaluation.published_maps import Published, open_published
from defusion_lib.experiments import controlled_images
from defusion_lib.inference import SIZE, detect, resize_map
from defusion_lib.network import DeFusionNet
from defusion_lib.progress import tqdm
from defusion_lib.runs import provenance
from defusion_lib.weights import load_network, read_card, resolve, result_name, weights_hash

NOISE = (5, 10, 20)  # standard deviations in levels of 255; the plain photos have none
QUALITIES = (90, 70, 50, 30, 20)  # of JPEG
SCALES = {"half-size": 0.5, "double-size": 2}  # of the photo, before it is resized for the network
DISCS = (1, 2, 4, 8)  # radii of uniform blur, in pixels of the network's input
TEXTURED = 0.03  # `controlled_images.texture` from which a pixel is textured: eight levels of 255
HALF_RADIUS = 3.0  # of the blur in one half of the half-and-half images
HALF_NOISE = 20  # the noise on them
SCENES = 48
CLASSES = {"max-f-blur": "blur", "max-f-focus": "focus"}

# {"dataset/metric": {photo: value}}; under "dataset/counts" a value is a histogram, int64 (2, 256): metrics.histogram.
Found = dict[str, dict[str, float | np.ndarray]]


def score(photos: PhotoSet, detector: Callable[[Photo], np.ndarray]) -> Found:
    """Score one map of each photo: MAE, AUC and the histogram that max F is computed from.

    `detector` returns a photo's map (H, W) at the photo's size. A photo whose mask has one class only has no AUC. Shows
    a progress bar. Raises ValueError for a photo without a mask and for a map that `metrics.histogram` refuses.
    """
    found = defaultdict(dict)
    for photo in tqdm(photos, desc=photos.name, leave=False):
        _add_plain(found, photos.name, photo, detector(photo))
    return dict(found)


def measure(
    network: DeFusionNet,
    photos: PhotoSet,
    size: int = SIZE,
    seed: int = 0,
    names: Sequence[str] = tuple(bundled.EMBEDDED),
    scenes: int = SCENES,
    half_radius: float = HALF_RADIUS,
) -> Found:
    """Run the stress suite: the test photos plain and disturbed, and images whose blur is known.

    The network's input is `size` x `size` pixels. `names` selects photos of `bundled.EMBEDDED`, `scenes` is the number
    of rendered scenes, `half_radius` the blur of one half of the half-and-half images, `seed` that of noise and scenes
    (their test part, see `open_dataset`). Keys are

    - of the photos: mae, auc, counts; mae-noise-5 and so on, mae-jpeg-90, mae-half-size, mae-double-size;
      blurred-share-sharp-square of the largest entirely sharp square, if a photo has one;
      blurred-share-disc-1 and so on of the photo blurred everywhere;
    - sharp/blurred-share of the embedded photos that are sharp everywhere, and blurred-share-textured of their pixels
      with texture (smooth areas look the same sharp and blurred); half-and-half/mae and mae-noise-20 of the images
      made of them, two of each photo;
    - rendered/mae, and rendered/mae-same-class and so on for each challenge.

    A blurred share is the share of pixels with a map above 0.5. Shows progress bars. Raises ValueError for a photo
    without a mask.
    """
    found = defaultdict(dict)
    for index, photo in enumerate(tqdm(photos, desc=f"{photos.name}, disturbed", leave=False)):
        _add_plain(found, photos.name, photo, detect(photo.image, network, size))
        for kind, image in _disturbed(photo.image, [seed, index]):
            defocus = resize_map(detect(image, network, size), photo.mask.shape)
            found[f"{photos.name}/mae-{kind}"][photo.name] = _mae(defocus, photo.mask)
        of_square = found[f"{photos.name}/blurred-share-sharp-square"]  # stays empty if no photo has one
        if (square := controlled_images.largest_sharp_square(photo.mask)) is not None:
            of_square[photo.name] = controlled_images.blurred_share(detect(photo.image[square], network, size))
        seen = resize_to_square(Image.fromarray(photo.image), size)
        for radius in DISCS:
            share = controlled_images.blurred_share(detect(effects.blurred(seen, radius), network, None))
            found[f"{photos.name}/blurred-share-disc-{radius}"][photo.name] = share

    sharp = bundled.sharp_throughout(names, size)
    squares = controlled_images.embedded_squares(sharp, size)
    for name, image in tqdm(squares.items(), desc="sharp everywhere", leave=False):
        defocus, textured = detect(image, network, None), controlled_images.texture(image) >= TEXTURED
        found["sharp/blurred-share"][name] = controlled_images.blurred_share(defocus)
        found["sharp/blurred-share-textured"][name] = controlled_images.blurred_share(defocus[textured])
    halves = controlled_images.both_halves(squares, half_radius)
    for index, each in enumerate(tqdm(halves, desc="half and half", leave=False)):
        name, image, mask = each.photo
        noisy = effects.noisy(image, HALF_NOISE, [seed, index])
        found["half-and-half/mae"][name] = _mae(detect(image, network, None), mask)
        found[f"half-and-half/mae-noise-{HALF_NOISE}"][name] = _mae(detect(noisy, network, None), mask)
    rendered = open_synthetic(scenes, (size, size), 2 * seed + 1)
    for name, image, mask in tqdm(rendered, desc="rendered", leave=False):
        error = _mae(detect(image, network, None), mask)
        found["rendered/mae"][name] = found[f"rendered/mae-{name.rpartition('-')[0]}"][name] = error
    return dict(found)


def _disturbed(image: np.ndarray, seed: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    for level in NOISE:
        yield f"noise-{level}", effects.noisy(image, level, seed)
    for quality in QUALITIES:
        yield f"jpeg-{quality}", effects.jpeg(image, quality)
    height, width = image.shape[:2]
    for kind, scale in SCALES.items():
        shape = max(1, round(scale * width)), max(1, round(scale * height))
        yield kind, np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR))


def _add_plain(found: Found, dataset: str, photo: Photo, defocus: np.ndarray) -> None:
    if photo.mask is None:
        raise ValueError(f"{photo.name} of {dataset} has no mask, but every photo needs one here: add its mask.")
    counts = metrics.histogram(defocus, photo.mask)
    found[f"{dataset}/mae"][photo.name] = _mae(defocus, photo.mask)
    found[f"{dataset}/counts"][photo.name] = counts
    if (counts.sum(-1) > 0).all():
        found[f"{dataset}/auc"][photo.name] = metrics.auc(counts[None])


def _mae(defocus: np.ndarray, mask: np.ndarray) -> float:
    return float(np.abs(defocus.astype(np.float64) - mask).mean())


# --------------------------------------------------------------------------------------------------- numbers


def results(found: Found, method: str) -> dict[str, float]:
    """Compute the means under result keys "dataset/method/metric", each with its standard error under "...-se".

    max F is computed as in `Evaluation`, from the photos with pixels of both classes and not where there is none, and
    its standard error by a bootstrap over the photos. "sharp-squares" is the
    number of photos that have an entirely sharp square. One photo has no standard error, no photos have no mean; images
    of one photo or scene count as one (`controlled_images.standard_error`).
    """
    values = {}
    for key, (mean, error, count) in _means(found).items():
        dataset, _, metric = key.partition("/")
        name = f"{dataset}/{method}/{metric}"
        if count > 0:
            values[name] = mean
        if np.isfinite(error):
            values[f"{name}-se"] = error
        if metric == "blurred-share-sharp-square":
            values[f"{dataset}/{method}/sharp-squares"] = count
    return values


def table(found: Found) -> pd.DataFrame:
    """Show one row per data set and metric, with mean, standard error and number of images."""
    rows = {tuple(key.split("/")): row for key, row in _means(found).items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "standard error", "number"])
    frame.index = pd.MultiIndex.from_tuples(rows, names=["images", "metric"])
    return frame


def differences(first: Found, second: Found) -> pd.DataFrame:
    """Compare two networks on the same photos: first minus second of each metric, with its paired standard error.

    Raises ValueError if the two were measured on different photos.
    """
    rows = {}
    for key in first:
        if list(first[key]) != list(second.get(key, ())):
            raise ValueError(
                f"{key} was measured on different photos ({len(first[key])} and {len(second.get(key, ()))}): "
                "measure both networks with the same data set, count, size and seed."
            )
        ours, theirs = (_values(each[key]) for each in (first, second))
        if key.endswith("/counts"):
            both = min(map(_with_both_classes, (ours, theirs)))
            for metric, positive in CLASSES.items() if both else ():
                apart = _max_f_draws(ours, positive) - _max_f_draws(theirs, positive)
                mean = metrics.max_f(ours, positive) - metrics.max_f(theirs, positive)
                error = apart.std(ddof=1) if both > 1 else np.nan
                rows[key.replace("counts", metric)] = mean, error
        else:
            rows[key] = _mean(ours - theirs), _standard_error(dict(zip(first[key], ours - theirs)))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "standard error"])


def _means(found: Found) -> dict[str, tuple[float, float, int]]:
    """Return {"dataset/metric": (mean, standard error, photos)}, with max F instead of counts."""
    rows = {}
    for key, of_photo in found.items():
        values = _values(of_photo)
        if key.endswith("/counts"):
            both = _with_both_classes(values)
            for metric, positive in CLASSES.items() if both else ():
                error = float(_max_f_draws(values, positive).std(ddof=1)) if both > 1 else np.nan
                rows[key.replace("counts", metric)] = metrics.max_f(values, positive), error, both
        else:
            rows[key] = _mean(values), _standard_error(of_photo), len(values)
    return rows


def _with_both_classes(counts: np.ndarray) -> int:
    """Count the photos (N, 2, 256) with pixels of both classes."""
    return int((counts.sum(-1) > 0).all(-1).sum())


def _values(of_photo: Mapping[str, float | np.ndarray]) -> np.ndarray:
    return np.array(list(of_photo.values()))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _standard_error(of_photo: Mapping[str, float]) -> float:
    return controlled_images.standard_error(of_photo)[0] if of_photo else np.nan


def _max_f_draws(counts: np.ndarray, positive: str) -> np.ndarray:
    """Compute max F of `DRAWS` bootstrap samples of the photos (N, 2, 256), the same samples for the same N."""
    name = f"max-f-{positive}"
    return resample([name], counts, {}, DRAWS, 0)[name]


# --------------------------------------------------------------------------------------------------- figure


def draw(found: Found) -> plots.Drawing:
    """Draw the means with their standard errors: errors on the left, shares marked as blurred on the right."""
    frame = table(found)
    details = [metric.removeprefix("mae").removeprefix("blurred-share").lstrip("-") for _, metric in frame.index]
    labels = [
        f"{f'{dataset}, {detail}' if detail else dataset} ({number})"
        for (dataset, _), detail, number in zip(frame.index, details, frame["number"])
    ]
    rows_of = {
        "MAE": [i for i, (_, metric) in enumerate(frame.index) if metric.startswith("mae")],
        "share marked as blurred": [i for i, (_, metric) in enumerate(frame.index) if metric.startswith("blurred")],
    }
    height = 0.8 + 0.28 * max(map(len, rows_of.values()))
    figure, axes = plt.subplots(1, 2, figsize=(11, height), layout="constrained")
    for axis, (title, chosen), colour in zip(axes, rows_of.items(), plots.COLOURS):
        rows = frame.iloc[chosen]
        errors = rows["standard error"].fillna(0)
        axis.barh([labels[i] for i in chosen], rows["mean"].fillna(0), xerr=errors, color=colour)
        for place in np.flatnonzero(rows["mean"].isna()):
            axis.text(0, place, " no such image", va="center", color="0.4")
        axis.set(xlabel=title, xlim=(0, None))
        axis.invert_yaxis()
    caption = (
        "The stress suite: MAE (left) and share marked as blurred (right), one bar per kind of image (number of images "
        "in brackets), with its standard error. Sharp images should have a share of 0, images blurred by a disc of 2 "
        "pixels or more a share of 1; at 1 pixel both answers are right."
    )
    names = [" ".join(row) for row in frame.index]
    return plots.Drawing(
        "stress", figure, caption, {"names": names, "means": frame["mean"], "errors": frame["standard error"]}
    )


# ---------------------------------------------------------------------------------------------------- files


def save(found: Found, path: Path) -> None:
    """Write the values of each photo as .npz, for `read`; an old file stays until the new one is complete."""
    arrays = {}
    for key, of_photo in found.items():
        arrays[key] = _values(of_photo)
        arrays[f"{key}/names"] = np.array(list(of_photo), str)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    paths.write_atomically(Path(path), content.getvalue())


def read(path: str | Path) -> Found:
    """Read a file that `save` wrote."""
    with np.load(path) as arrays:
        keys = [key for key in arrays.files if not key.endswith("/names")]
        return {key: dict(zip(arrays[f"{key}/names"].tolist(), arrays[key])) for key in keys}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a network file from a terminal."""
    module, first_line = "defusion_lib.experiments.stress", __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=first_line)
    parser.add_argument("network", help='a network file, or "shipped"')
    parser.add_argument("--dataset", choices=tuple(DATASETS), default="shi")
    parser.add_argument("--root", default="", help="the data set's folder (default: data/<dataset>)")
    parser.add_argument("--split", default="dutlab100", help="of Shi's set")
    held_out = "measure the 60 held-out photos of Shi's training list (part validation) instead of the test photos"
    parser.add_argument("--held-out", action="store_true", help=held_out)
    parser.add_argument("--count", type=int, help="number of photos (default: all)")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels a side of the network's input")
    parser.add_argument("--seed", type=int, default=0, help="of rendered scenes and noise")
    parser.add_argument("--plain", action="store_true", help="measure only MAE, max F and AUC of the plain photos")
    parser.add_argument("--maps", help="a folder of published maps, one folder per method, to score on the same photos")
    result_file = "the result file, .json; each photo's values go to an .npz beside it"
    parser.add_argument("--into", type=Path, required=True, help=result_file)
    options = parser.parse_args(arguments)
    try:
        _measure_file(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measure_file(options: argparse.Namespace) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    if options.into.suffix != ".json":
        raise ValueError(f"--into {options.into.name} does not end in .json: choose a name that does.")
    network = load_network(resolve(options.network))
    part = "all" if "all" in DATASETS[options.dataset].parts else "test"
    number = {} if options.count is None else {"count": options.count}  # of rendered photos

    def opened(part: str) -> PhotoSet:
        return open_dataset(options.dataset, part, options.root, options.split, seed=options.seed, **number)

    photos = opened("validation" if options.held_out else part)
    if options.count is not None and options.count < 1:
        raise ValueError(f"--count must be at least 1, not {options.count}.")
    photos = photos[: options.count]
    card = read_card(resolve(options.network))
    check_unseen(photos, card)
    if options.held_out:
        _check_held_out(opened("fit").provenance(), card)
        photos = PhotoSet(f"{photos.name}-validation", photos.stems, photos.read)
    published = open_published(options.maps) if options.maps else {}
    of_maps = {method: _covered(photos, maps) for method, maps in published.items()}
    if options.plain:
        found = score(photos, lambda photo: detect(photo.image, network, options.size))
    else:
        found = measure(network, photos, options.size, options.seed)
    save(found, options.into.with_suffix(".npz"))
    values = results(found, result_name(network))
    for method, covered in of_maps.items():
        theirs = score(covered, published[method].read)
        save(theirs, options.into.with_name(f"{options.into.stem}-{method}.npz"))
        values |= results(theirs, method)
    stamp = {
        "weights_sha256": weights_hash(network),
        "data": photos.provenance(),
        "size": options.size,
        "seed": options.seed,
        "precision": "fp32",
        **provenance.environment_info(),
        "started": started,
    }
    content = json.dumps({"stamp": stamp, "values": values}, indent=1)
    paths.write_atomically(options.into, (content + "\n").encode())
    print(table(found).to_string(float_format="{:.4f}".format))


def _check_held_out(fit: Mapping, card: Mapping) -> None:
    """Raise ValueError if a network with this card learnt from other photos of a set than those of its part `fit`."""
    for trained in trained_on(card):
        if trained["name"] == fit["name"] and trained.get("stems_sha256") != fit["stems_sha256"]:
            raise ValueError(
                f"The network was trained on other photos of {fit['name']} than the {fit['photographs']} of the part "
                "fit, and may have seen the held-out ones: measure it without --held-out."
            )


def _covered(photos: PhotoSet, maps: Published) -> PhotoSet:
    """Select the photos that a method published maps of, named like "szu-maps87" if these are 87 and not all of them.

    Raises ValueError if there is none.
    """
    known = set(maps.stems)
    stems = [stem for stem in photos.stems if stem in known]
    if not stems:
        raise ValueError(
            f"No map of {maps.method} is named like one of the {len(photos)} photos of {photos.name}: "
            "name each map like its photo."
        )
    name = photos.name if len(stems) == len(photos) else f"{photos.name}-maps{len(stems)}"
    return PhotoSet(name, stems, photos.read)


if __name__ == "__main__":
    sys.exit(main())
