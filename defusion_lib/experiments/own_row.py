"""Your method's row: maps from a folder, scored beside DeFusionNet and classical methods on the same photos."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from defusion_lib import inference
from defusion_lib.baselines import CLASSICAL
from defusion_lib.baselines.fitted import SPLIT, fitted_to
from defusion_lib.data import Photo, PhotoSet, first_few, name_bytes
from defusion_lib.evaluation import own_maps
from defusion_lib.evaluation.map_scores import DRAWS, WEIGHTED, MapScores, Mask, Measured
from defusion_lib.evaluation.own_maps import PROTOCOLS, Comparison, MapFolder
from defusion_lib.experiments.map_cache import cached_map, fingerprint
from defusion_lib.experiments.table_1 import Method, package_method, seen_in_training
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import display_path, outputs_root, write_atomically
from defusion_lib.plots import Drawing, as_png
from defusion_lib.progress import tqdm
from defusion_lib.runs.provenance import environment_info
from defusion_lib.weights import load_network, result_name, weights_hash

OURS = "defusionnet"  # the network in the package
# Under 0.6 s for a photo of 640 x 427 on one core; DBDF takes 0.8 s, HiFST 2.3 s (outputs/cpu/results/bench.json).
FAST = ("jnb", "ss", "lbp", "ksfv")
AGAINST = (OURS, *FAST)
WORKERS = 2  # threads that score while the main one reads


class Row(NamedTuple):
    """What `score_maps` found: the comparison, the scores behind it, and what a reader of the row must know.

    protocol: a key of `PROTOCOLS`
    photos:  those that were scored
    missing: names of photos without a map, which were left out
    notes:   sentences for people
    maps_of: reads a map again, `maps_of(photo, method)`
    """

    comparison: Comparison
    protocol: str
    scores: dict[str, MapScores]
    photos: PhotoSet
    missing: list[str]
    notes: list[str]
    maps_of: Callable[[Photo, str], np.ndarray]
    stamp: dict


def map_cache() -> Path:
    """Return the folder of stored maps of other methods: that of notebook 07 in profile cpu."""
    return outputs_root() / "cpu" / "maps"


def other_methods(
    names: Sequence[str], network: DeFusionNet | None, size: int, split: str = SPLIT
) -> dict[str, Method]:
    """Return methods to compare with, {name in results: method}.

    `names` are "defusionnet", which is `network` (None where not named) with an input of `size` pixels, and names of
    `CLASSICAL`, which have learnt from the training photos of Shi's `split`. Raises ValueError for others.
    """
    found = {}
    for name in names:
        if name == OURS and network is not None:
            method = package_method(network, size)
        elif name in CLASSICAL:
            classical = fitted_to(CLASSICAL[name], split)
            method = Method(name, classical, fingerprint(classical), name)
        else:
            raise ValueError(
                f"There is no method {name!r} to compare with: choose from {', '.join([OURS, *CLASSICAL])} (the "
                "other networks must be trained first, so notebook 07 compares them)."
            )
        found[method.name] = method
    return found


def score_maps(
    folder: str | Path,
    photos: PhotoSet,
    name: str = "",
    against: Sequence[str] = AGAINST,
    protocol: str = "main",
    invert: bool = False,
    allow_missing: bool = False,
    size: int = inference.SIZE,
    draws: int = DRAWS,
    seed: int = 0,
    cache: Path | None = None,
    device: str = "cpu",
) -> Row:
    """Score a folder of maps against the masks of photos, beside other methods.

    name:          of the method that made the maps; empty for the folder's name
    against:       methods to compare with, see `other_methods`; their maps are stored in `cache`; DeFusionNet is left
                   out, with a note, where it was trained on some of the photos
    protocol:      a key of `PROTOCOLS`
    invert:        whether white means in focus in the maps
    allow_missing: whether photos without a map are left out, for all methods
    size:          of the input of DeFusionNet, in pixels; 0 for the photo as it is
    draws, seed:   resamples of the photos, for standard errors and intervals

    Raises what `MapFolder`, `other_methods` and the photos' readers raise, and ValueError for an unknown protocol and
    for a name that is one of the others'.
    """
    begun, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    if protocol not in PROTOCOLS:
        raise ValueError(f"There is no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
    maps = MapFolder(folder, invert)
    common, missing = maps.common(photos, allow_missing)
    seen = seen_in_training(common)
    network = load_network(device=device) if OURS in against and not seen else None
    of_last100 = photos.name == "shi-last100"
    others = other_methods(
        [each for each in against if each != OURS or network], network, size, "last100" if of_last100 else SPLIT
    )
    own = name or Path(folder).resolve().name
    if _slug(own) in map(_slug, others):
        raise ValueError(f"Your maps have the name of another method, {own}: give them another name (--method).")
    cache = cache or map_cache()

    def maps_of(photo: Photo, method: str) -> np.ndarray:
        if method == own:
            return maps.read(photo)
        of = others[method]
        # Stored maps have 256 levels.
        return np.rint(255 * cached_map(photo, of.detect, cache / photos.name / of.name, of.state).defocus).astype(
            np.uint8
        )

    wanted = PROTOCOLS[protocol]
    scores = score_photos(common, [own, *others], maps_of, any(metric in WEIGHTED for metric in wanted))
    resized, transposed = len(maps.resized), len(maps.transposed)
    # AUC also tells the polarity.
    comparison = own_maps.compare(scores, common, list(dict.fromkeys([*wanted, "auc"])), draws, seed)
    notes = [own_maps.polarity_note(comparison, invert), own_maps.dark_note(maps)]
    if missing:
        notes.append(
            f"{len(missing)} of {len(photos)} photos have no map of {own} and are left out for all methods: "
            f"{first_few(missing, 10)}."
        )
    if resized:
        notes.append(f"{resized} of {len(common)} maps were resized bilinearly to the size of their photo.")
    if transposed:
        notes.append(
            f"{transposed} of {len(common)} maps have the width and height of their photo exchanged "
            f"({first_few(maps.transposed)}): transpose them; they were stretched to the photo's shape."
        )
    both = scores[own].photos("auc")
    if len(common) == 1:
        notes.append("One photo was scored: a score of one photo has no standard error.")
    elif both == 1:
        notes.append("One mask has both classes: only the mean absolute error has a standard error.")
    if unused := maps.count_others(photos):
        notes.append(f"{unused} maps have the name of no photo of {photos.name} and were not scored.")
    if both < len(common):
        notes.append(
            f"{len(common) - both} masks have one class only, so these photos count for the mean absolute error alone."
        )
    if OURS in against and seen:
        notes.append(f"DeFusionNet was trained on {seen} of these photos and is left out.")
    stamp = {
        "maps": display_path(folder),
        "parameters": {
            "method": own,
            "against": list(others),
            "protocol": protocol,
            "invert": invert,
            "allow_missing": allow_missing,
            "size": size,
            "draws": draws,
            "seed": seed,
        },
        "data": [common.provenance()],
        "weights_sha256": {result_name(network): weights_hash(network)} if network is not None else {},
        **environment_info(device != "cpu"),
        "started": started,
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Row(comparison, protocol, scores, common, missing, [note for note in notes if note], maps_of, stamp)


def score_photos(
    photos: PhotoSet, methods: Sequence[str], maps_of: Callable[[Photo, str], np.ndarray], weighted: bool
) -> dict[str, MapScores]:
    """Score the maps of all methods photo by photo: no more than a few photos are in memory."""

    def measure(mask: np.ndarray, maps: list[np.ndarray]) -> list[Measured]:
        shared = Mask(mask, weighted)
        return [shared.measure(each) for each in maps]

    def results() -> Iterator[list[Measured]]:
        waiting: deque[Future] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            for photo in tqdm(photos, desc="scoring", leave=False):
                waiting.append(pool.submit(measure, photo.mask, [maps_of(photo, name) for name in methods]))
                if len(waiting) > WORKERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    return {name: MapScores(measured) for name, measured in zip(methods, zip(*results()))}


# ------------------------------------------------------------------------------------------------------ output


def drawings(row: Row) -> list[Drawing]:
    """Draw the curves of all methods, and the photos where yours and the first other one differ most."""
    found = [own_maps.plot_curves(row.scores, row.comparison.dataset)]
    others = list(row.scores)[1:]
    if others:
        found.append(own_maps.plot_extremes(row.photos, row.scores, others[0], row.maps_of))
    return found


def title(row: Row) -> str:
    """Return the heading of a table: the data set and how many of its photos were scored."""
    scored = row.comparison.photos
    of_all = f" of {scored + len(row.missing)}" if row.missing else ""
    return f"{row.comparison.dataset}, {scored}{of_all} photos"


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9+-]+", "-", name.lower()).strip("-") or "own"


def results(row: Row) -> dict[str, float]:
    """Return all scores and their standard errors ("-std") under keys of result files, dataset/method/metric."""
    comparison, found = row.comparison, {}
    for name, values in comparison.values.items():
        place, errors = f"{comparison.dataset}/{_slug(name)}", comparison.errors[name]
        for metric, value in values.items():
            found[f"{place}/{metric}"] = value
            found |= {f"{place}/{metric}-std": errors[metric]} if metric in errors else {}
    return found


def document(row: Row) -> dict:
    """Return what `scores.json` holds: the stamp, the values, the intervals and differences, and the notes."""
    return {
        "stamp": row.stamp,
        "values": results(row),
        "intervals": row.comparison.bounds,
        "differences": row.comparison.differences,
        "missing": row.missing,
        "notes": row.notes,
    }


def write_row(row: Row, into: str | Path) -> list[Path]:
    """Write a row in every form into a folder, and return the files.

    scores.json and scores.csv hold everything. rows.md and rows.tex have the columns of the protocol; for "all" these
    are the main ones, and a second table has every score. own_curves.png and own_extremes.png are the figures.
    Files of these names are replaced, each as a whole. Raises OSError where one cannot be written.
    """
    into, comparison, columns = Path(into), row.comparison, own_maps.columns_of(row.protocol)
    rows = own_maps.score_rows(comparison, columns)
    every = own_maps.turned(own_maps.score_rows(comparison, PROTOCOLS["all"])) if row.protocol == "all" else {}
    heading = title(row)
    apart = own_maps.difference_rows(comparison, columns)
    tables = [(heading, rows), ("metric, other method", apart), (heading, every)]
    text = [own_maps.markdown(each, head) for head, each in tables if each]
    text.append(
        "± is the bootstrap standard error over photos; p-values are corrected for the number of methods (Holm).\n"
    )
    text += [f"{note}\n" for note in row.notes]
    comments = "".join(f"% {note}\n" for note in [f"{heading}; ± is the bootstrap standard error", *row.notes])
    contents = {
        "scores.json": json.dumps(document(row), indent=1, ensure_ascii=False) + "\n",
        "scores.csv": own_maps.as_csv(comparison),
        "rows.md": "\n".join(text),
        "rows.tex": comments + "\n".join(own_maps.latex(each, head) for head, each in tables if each),
    }
    for name, content in contents.items():
        write_atomically(into / name, name_bytes(content))
    for drawing in drawings(row):
        contents[f"{drawing.name}.png"] = ""
        write_atomically(into / f"{drawing.name}.png", as_png(drawing.figure))
    return [into / name for name in contents]
