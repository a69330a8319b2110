"""Measure how often a photograph is called wrongly "in focus" or "out of focus" (`defusion_lib.apps.verdict`).

    python -m tools.verdict_error --calibrate   # two minutes: prints MIN_SCORE, from training photographs alone
    python -m tools.verdict_error               # five minutes: outputs/cpu/results/verdict.json

Both need Shi's photographs in data/shi, or in the folder that --root names. Every test photograph has a sharp subject;
the same photographs, blurred as a whole after they were squashed to what the network sees, have none, and neither
have the embedded photographs, blurred so. Masks stand for a network without error. Shares have a standard error
beside them.
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

RADII = range(2, 9)  # pixels of the blur, of the `SIZE` that the network sees
RADIUS = 4  # of the test photographs
EVERY = 8  # of the training photographs one is used


def scored(image: np.ndarray, network: DeFusionNet, radius: float = 0) -> float:
    """The score of a photograph as the folder run finds it, blurred as a whole before where `radius` is given."""
    seen = resize_to_square(Image.fromarray(image), SIZE)
    return score(as_levels(detect(effects.blurred(seen, radius) if radius else seen, network, None)))


def calibrate(photos: PhotoSet, network: DeFusionNet) -> tuple[list[float], list[float]]:
    """The scores of training photographs, and of the same blurred with one of `RADII` in turn."""
    pairs = [
        (scored(photo.image, network), scored(photo.image, network, RADII[i % len(RADII)]))
        for i, photo in enumerate(tqdm(photos[::EVERY], "training photographs", leave=False))
    ]
    sharp, blurred = zip(*pairs)
    return list(sharp), list(blurred)


def measure(photos: PhotoSet, network: DeFusionNet) -> dict[str, float]:
    """The shares that are called "out of focus", and their standard errors, as results."""
    values, name = {}, result_name(network)

    def add(dataset: str, method: str, scores: list, suffix: str = "") -> None:
        found, error = share_with_error(np.less(scores, MIN_SCORE))
        values[f"{dataset}/{method}/out-of-focus{suffix}"] = found
        values[f"{dataset}/{method}/out-of-focus{suffix}-standard-error"] = error

    tests = list(tqdm(photos, "reading", leave=False))
    add(photos.name, "masks", [score(photo.mask) for photo in tests])
    add(photos.name, name, [scored(photo.image, network) for photo in tqdm(tests, "test photographs", leave=False)])
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
    parser.add_argument("--calibrate", action="store_true", help="print the threshold, from training photographs")
    parser.add_argument("--root", default="", help="the folder of Shi's photographs")
    given = parser.parse_args()
    parameters = {"profile": "cpu", "seed": 0}
    run = Run("verdict", parameters, parameters)
    network = load_network(device=run.device)
    photos = open_dataset("shi", "train" if given.calibrate else "test", given.root)
    if given.calibrate:
        sharp, blurred = calibrate(photos, network)
        least = threshold(sharp, blurred)
        print(f"MIN_SCORE = {least:.2f}  # {weights_hash(network)[:12]}, {len(sharp)} training photographs")
        for kind, called in (("sharp", np.less(sharp, least)), ("blurred", np.less(blurred, least))):
            print(
                f"{kind:8} called out of focus: {share_with_error(called)[0]:.3f}, standard error {share_with_error(called)[1]:.3f}"
            )
        return
    run.note(network=weights_hash(network), least=MIN_SCORE, radius=RADIUS)
    values = measure(photos, network)
    run.results(values, data=[photos, "embedded"])
    print(f"{'called out of focus, at a score below ' + str(MIN_SCORE):64}{'share':>7}{'standard error':>16}")
    for key in (key for key in values if not key.endswith("error")):
        print(f"{key:64}{values[key]:7.3f}{values[f'{key}-standard-error']:16.3f}")


if __name__ == "__main__":
    main()
