"""Measure what maps refined along a photo's edges gain over maps that are enlarged bilinearly, and what they cost.

    python -m tools.refinement_gain             # minutes: outputs/box/results/refinement_gain.json
    python -m tools.refinement_gain --choose    # minutes: outputs/box/results/refinement_choice.json

The first compares the maps of the network in the package on the test photos of Shi's set at their own size, enlarged to
1 and 12 megapixels (an enlarged photo has no finer edges than the photo: this measures sizes, not sharp photos), and on
scenes that are rendered at 12 megapixels with a mask that is known exactly. On these the network's map counts, and the
mask as a perfect network would see it. The second compares settings of the filter on training photos: the constants of
`defusion_lib.refinement` are chosen from these. Both need Shi's photos in data/shi, or in the folder that --root names.

A third map, "steeper", is the bilinear map less its own smoothing, with the same windows and no photo: masks are black
and white, so whatever makes a map steeper brings it closer to them. The photo's edges add the difference of the refined
map from this one. Maps and masks are float (H, W), 1 = blurred.
"""

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image

from defusion_lib.data import Photo, PhotoSet, bundled
from defusion_lib.data.camera import Camera, Layer, Scene, render, to_linear
from defusion_lib.data.datasets import check_unseen, open_dataset
from defusion_lib.data.synthetic.objects import OBJECTS
from defusion_lib.data.synthetic.sources import resize
from defusion_lib.inference import SIZE, predict_maps, resize_map
from defusion_lib.metrics import near_border
from defusion_lib.network import DeFusionNet
from defusion_lib.progress import tqdm
from defusion_lib.refinement import RADIUS, SIDE, box, refine, small_shape
from defusion_lib.runs.run import Run
from defusion_lib.weights import load_network, read_card, resolve, weights_hash

BORDER = 8  # pixels on each side of a mask's border that count as near it, at 1 megapixel; in proportion at other sizes
MEGAPIXELS = {"1mp": 1.0, "12mp": 12.0}  # to which photos are enlarged
TRAINING = slice(7, 607, 15)  # the 40 training photos on which settings are compared
GRID = tuple(itertools.product((160, 213, 320), (4, 6, 8), (1e-5, 1e-4, 1e-3)))  # side, radius, epsilon
RENDERED_SIZE = (3000, 4000)
OBJECTS_IN_FOCUS = ("letters", "leaves", "stone")
BACKDROPS = ("sklearn-china", "skimage-coffee", "skimage-motorcycle")
BLUR = 0.01  # radius of the backdrop's blur, in widths of the scene

Found = dict[str, dict[str, float]]  # {"dataset/method/metric": {photo: value}}
REFERENCES = ("bilinear", "steeper")  # the methods that others are compared with


def border_width(shape: Sequence[int]) -> int:
    """Return the pixels on each side of a mask's border that count as near it, `BORDER` at 1 megapixel."""
    return max(1, round(BORDER * math.sqrt(shape[0] * shape[1] / 1e6)))


def errors(defocus: np.ndarray, mask: np.ndarray, band: np.ndarray) -> dict[str, float]:
    """Compute the errors of a map (H, W) in all of the photo and, where there is one, in the band near borders.

    "mae" and "border-mae" are mean absolute errors, "border-wrong" is the share of the band's pixels on the wrong side
    of 0.5.
    """
    difference = np.abs(defocus - mask)
    found = {"mae": float(difference.mean(dtype=np.float64))}
    if band.any():
        found["border-mae"] = float(difference[band].mean(dtype=np.float64))
        found["border-wrong"] = float((difference[band] > 0.5).mean())
    return found


def steeper(bilinear: np.ndarray, side: int = SIDE, radius: int = RADIUS) -> np.ndarray:
    """Subtract from a map (H, W) what `refinement.refine` would smooth it by, with the map as its own guide."""
    small = resize_map(bilinear, small_shape(bilinear, side))
    change = Image.fromarray(small - box(box(small, radius), radius))
    return np.clip(bilinear + np.asarray(change.resize(bilinear.shape[::-1], Image.Resampling.BILINEAR)), 0, 1)


def compare(found: Found, dataset: str, seen: np.ndarray, photo: Photo) -> None:
    """Add the errors of the bilinear, the refined and the steeper map of a photo, from one of any size.

    "seconds" are the processor's, for either step: to the bilinear map, and from there to the refined one.
    """
    band = near_border(photo.mask, border_width(photo.mask.shape))
    start = time.process_time()
    bilinear = resize_map(seen, photo.image.shape[:2])
    _add(found, f"{dataset}/bilinear", photo.name, {"seconds": time.process_time() - start})
    start = time.process_time()
    refined = refine(bilinear, photo.image)
    _add(found, f"{dataset}/refined", photo.name, {"seconds": time.process_time() - start})
    for method, defocus in (("bilinear", bilinear), ("refined", refined), ("steeper", steeper(bilinear))):
        _add(found, f"{dataset}/{method}", photo.name, errors(defocus, photo.mask, band))


def _add(found: Found, key: str, photo: str, values: Mapping[str, float]) -> None:
    for metric, value in values.items():
        found.setdefault(f"{key}/{metric}", {})[photo] = value


def enlarged(photo: Photo, megapixels: float) -> Photo:
    """Enlarge a photo and its mask to about so many million pixels."""
    height, width = photo.image.shape[:2]
    scale = math.sqrt(megapixels * 1e6 / (height * width))
    shape = round(scale * width), round(scale * height)
    image = Image.fromarray(photo.image).resize(shape, Image.Resampling.BICUBIC)
    mask = Image.fromarray(photo.mask.astype(np.float32)).resize(shape, Image.Resampling.BILINEAR)
    return Photo(photo.name, np.asarray(image), (np.asarray(mask) >= 0.5).astype(np.float32))


def scene(kind: str, backdrop: str, size: tuple[int, int] = RENDERED_SIZE, seed: int = 0) -> Photo:
    """Render an object in focus before a blurred backdrop, with its exact mask; `size` is (height, width) in pixels."""
    rng = np.random.default_rng([seed, OBJECTS_IN_FOCUS.index(kind)])
    centre = 0.5 * np.array(size)
    colour, matte = OBJECTS[kind](rng, np.random.default_rng(rng.integers(2**32)), size, centre, 0.4 * min(size))
    # Enlarged, which its blur hides.
    behind = np.clip(resize(to_linear(bundled.read_embedded(backdrop)), size), 0, None)
    layers = Layer(behind, np.ones(size, np.float32), 4.0, "backdrop"), Layer(colour, matte, 1.0, kind)
    aperture = BLUR * size[1] / Camera(1.0, 1.0).blur_radius(4.0, size[1])
    rendering = render(Scene(layers), Camera(1.0, aperture), seed)
    return Photo(f"{kind}-{backdrop}", rendering.image, rendering.mask)


def network_map(image: np.ndarray, network: DeFusionNet) -> np.ndarray:
    """Compute the map of a photo at the size that the network works at, (SIZE, SIZE)."""
    return torch.sigmoid(predict_maps(image, network).final)[0, 0].cpu().numpy()


def measure(network: DeFusionNet, photos: PhotoSet, large: int, size: tuple[int, int] = RENDERED_SIZE) -> Found:
    """Compare the kinds of map; of the photos only `large` are enlarged to 12 megapixels, evenly spread."""
    found: Found = {}
    every = max(1, len(photos) // large)
    for index, photo in enumerate(tqdm(photos, desc=photos.name)):
        seen = network_map(photo.image, network)
        compare(found, photos.name, seen, photo)
        for name, megapixels in MEGAPIXELS.items():
            if megapixels < 2 or index % every == 0:
                compare(found, f"{photos.name}-{name}", seen, enlarged(photo, megapixels))
    for kind, backdrop in zip(tqdm(OBJECTS_IN_FOCUS, desc="rendered"), BACKDROPS):
        photo = scene(kind, backdrop, size)
        compare(found, "rendered-12mp", network_map(photo.image, network), photo)
        compare(found, "rendered-12mp-perfect", resize_map(photo.mask, (SIZE, SIZE)), photo)
    return found


def choose(network: DeFusionNet, photos: PhotoSet, grid: Iterable[tuple[int, int, float]] = GRID) -> Found:
    """Compare the settings (side, radius, epsilon) of the filter and the bilinear map, at the photos' own size."""
    found: Found = {}
    for photo in tqdm(photos, desc=photos.name):
        bilinear = resize_map(network_map(photo.image, network), photo.image.shape[:2])
        band = near_border(photo.mask, border_width(photo.mask.shape))
        maps = {"bilinear": bilinear}
        for side, radius, epsilon in grid:
            name = f"side{side}-radius{radius}-epsilon{epsilon:.0e}"
            maps[name] = refine(bilinear, photo.image, side, radius, epsilon)
        for method, defocus in maps.items():
            _add(found, f"{photos.name}-train/{method}", photo.name, errors(defocus, photo.mask, band))
    return found


def results(found: Found) -> dict[str, float]:
    """Compute means under "dataset/method/metric", and paired differences of the methods with their standard errors.

    These are under "dataset/refined-less-bilinear/metric" and "...-se" for each of `REFERENCES`; "dataset/photos/count"
    is the number of photos. One photo has no standard error.
    """
    values: dict[str, float] = {}
    for key, of_photo in found.items():
        dataset, method, metric = key.split("/")
        ours = np.array(list(of_photo.values()))
        values[key], values[f"{dataset}/photos/count"] = float(ours.mean()), len(ours)
        for reference in REFERENCES:
            known = f"{dataset}/{reference}/{metric}" in found
            if not known or method in REFERENCES or metric == "seconds":
                continue
            apart = ours - np.array(list(found[f"{dataset}/{reference}/{metric}"].values()))
            name = f"{dataset}/{method}-less-{reference}/{metric}"
            values[name] = float(apart.mean())
            if len(apart) > 1:
                values[f"{name}-se"] = float(apart.std(ddof=1) / math.sqrt(len(apart)))
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.refinement_gain", description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="", help="the folder of Shi's photos")
    parser.add_argument("--choose", action="store_true", help="compare settings on training photos instead")
    parser.add_argument("--large", type=int, default=20, help="photos that are enlarged to 12 megapixels")
    given = parser.parse_args(arguments)
    parameters = {"profile": "box", "seed": 0} | ({} if given.choose else {"large": given.large})
    run = Run("refinement_choice" if given.choose else "refinement_gain", parameters, parameters)
    file = resolve("shipped")
    network = load_network(file, run.device)
    try:
        photos = open_dataset("shi", "train" if given.choose else "test", given.root)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if given.choose:
        photos = photos[TRAINING]
    else:
        check_unseen(photos, read_card(file))
    run.note(weights_sha256=weights_hash(network), size=SIZE, precision="fp32")
    values = results(choose(network, photos) if given.choose else measure(network, photos, given.large))
    run.results(values, data=photos)
    for key, value in values.items():
        print(f"{key:72} {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
