"""Measure how often the verdict on a photo, "in focus" or "out of focus", is wrong (`defusion_lib.apps.verdict`).

    python -m tools.verdict_error --calibrate   # a minute: prints MIN_SCORE, computed from held-out training photos
    python -m tools.verdict_error               # three minutes: outputs/box/results/verdict.json

Both need Shi's photos in data/shi, or in the folder that --root names. Every test photo has a sharp subject. Photos
without one are made by blurring every pixel after resizing to the network's input: of the test photos, and of the
embedded photos. Masks are scored too, as the maps of a network without errors. Each share has a standard error.
"""

import argparse

import numpy as np
from PIL import Image
from tqdm import tqdm

from defusion_lib.apps.verdict import MIN_SCORE, score, share_with_error, threshold
from defusion_lib.data import PhotoSet, bundled, effects
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.datasets import open_dataset
from defusion_lib.inference import SIZE, detect
from defusion_lib.network import DeFusionNet
from defusion_lib.plots import as_levels
from defusion_lib.runs.run import Run
from defusion_lib.weights import load_network, result_name, weights_hash

RADII = range(2, 9)  # of the blur, in pixels of the network's input, `SIZE` per side
RADIUS = 4  # of the blur of test photos


def scored(image: np.ndarray, network: DeFusionNet, radius: float = 0) -> float:
    """Compute the score of a photo as the folder run does; with `radius`, every pixel of its input is blurred first."""
    seen = resize_to_square(Image.fromarray(image), SIZE)
    return score(as_levels(detect(effects.blurred(seen, radius) if radius else seen, network, None)))


def calibrate(photos: PhotoSet, network: DeFusionNet) -> tuple[list[float], list[float]]:
    """Compute the scores of photos, and of the same photos blurred, with the `RADII` in turn."""
    pairs = [
        (scored(photo.image, network), scored(photo.image, network, RADII[i % len(RADII)]))
        for i, photo in enumerate(tqdm(photos, "photos", leave=False))
    ]
    sharp, blurred = zip(*pairs)
    return list(sharp), list(blurred)


def measure(photos: PhotoSet, network: DeFusionNet) -> dict[str, float]:
    """Compute the shares with the verdict "out of focus", and their standard errors, as results."""
    values, name = {}, result_name(network)

    def add(dataset: str, method: str, scores: list, suffix: str = "") -> None:
        found, error = share_with_error(np.less(scores, MIN_SCORE))
        values[f"{dataset}/{method}/out-of-focus{suffix}"] = found
        values[f"{dataset}/{method}/out-of-focus{suffix}-standard-error"] = error

    tests = list(tqdm(photos, "reading", leave=False))
    add(photos.name, "masks", [score(photo.mask) for photo in tests])
    add(photos.name, name, [scored(photo.image, network) for photo in tqdm(tests, "test photos", leave=False)])
    again = [scored(photo.image, network, RADIUS) for photo in tqdm(tests, "the same, blurred", leave=False)]
    add(f"{photos.name}-blurred", name, again)
    sharp = [bundled.embedded(each) for each, (_, focus) in bundled.EMBEDDED.items() if focus == bundled.ALL_SHARP]
    add("embedded", name, [scored(image, network) for image in sharp])
    blurred = [[scored(image, network, radius) for radius in RADII] for image in tqdm(sharp, "embedded", leave=False)]
    add("embedded-blurred", name, blurred)
    for radius, scores in zip(RADII, zip(*blurred)):
        add("embedded-blurred", name, list(scores), f"-radius-{radius}")
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--calibrate", action="store_true", help="print the threshold, computed from held-out training photos"
    )
    parser.add_argument("--root", default="", help="the folder of Shi's photos")
    given = parser.parse_args()
    parameters = {"profile": "box", "seed": 0}
    run = Run("verdict", parameters, parameters)
    network = load_network(device=run.device)
    photos = open_dataset("shi", "validation" if given.calibrate else "test", given.root)
    if given.calibrate:
        sharp, blurred = calibrate(photos, network)
        least = threshold(sharp, blurred)
        print(f"MIN_SCORE = {least:.2f}  # {weights_hash(network)[:12]}, {len(sharp)} held-out photos")
        for kind, called in (("sharp", np.less(sharp, least)), ("blurred", np.less(blurred, least))):
            share, error = share_with_error(called)
            print(f"{kind:8} out of focus: {share:.3f}, standard error {error:.3f}")
        return
    run.note(network=weights_hash(network), least=MIN_SCORE, radius=RADIUS)
    values = measure(photos, network)
    run.results(values, data=[photos, "embedded"])
    print(f"{'out of focus, at a score below ' + str(MIN_SCORE):64}{'share':>7}{'standard error':>16}")
    for key in (key for key in values if not key.endswith("error")):
        print(f"{key:64}{values[key]:7.3f}{values[f'{key}-standard-error']:16.3f}")


if __name__ == "__main__":
    main()
