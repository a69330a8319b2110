"""Put a trained network into the package: 8-bit weights, the measured cost of 8 bits, and the map that tests compare.

    python -m tools.ship box --root data/shi

reads outputs/<profile>/weights/03_training.safetensors. It writes the network of the package, the effect of 8 bits on
the validation photos into outputs/<profile>/results/shipped.json, and the stored map of the tests.
"""

import argparse
import shutil

import numpy as np
from tqdm import tqdm

from defusion_lib.data.datasets import open_dataset
from defusion_lib.inference import detect
from defusion_lib.paths import project_root
from defusion_lib.runs.run import Run
from defusion_lib.weights import SHIPPED, load_network, read_card, result_name, save_network, weights_hash

PAIR = project_root() / "tests/stored/shipped_pair.npz"
PAIR_SIZE = 96  # pixels a side of the network's input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("profile", help="the profile whose notebook 03 trained the network")
    parser.add_argument("--root", default="", help="the folder of Shi's photos")
    given = parser.parse_args()
    parameters = {"profile": given.profile, "seed": 0}
    run = Run("shipped", parameters, parameters)
    trained = run.path("weights/03_training.safetensors")
    before = load_network(trained)
    # The package's file comes last: with it changed, the stamp of the results would name a changed checkout.
    made = run.path("weights/shipped.safetensors")
    save_network(before, made, read_card(trained), bits=8)
    after = load_network(made)
    run.note(trained_sha256=weights_hash(before), weights_sha256=weights_hash(after))

    photos = open_dataset("shi", "validation", given.root)
    found = []
    for photo in tqdm(photos, "16 and 8 bits"):
        maps = [detect(photo.image, network) for network in (before, after)]
        change = np.abs(maps[1] - maps[0])
        found.append([*(np.abs(each - photo.mask).mean() for each in maps), change.mean(), change.max()])
    mae_16, mae_8, mean, largest = np.transpose(found)
    values = {
        "mae-16-bits": mae_16.mean(),
        "mae-8-bits": mae_8.mean(),
        "mae-change": (mae_8 - mae_16).mean(),
        "mae-change-se": (mae_8 - mae_16).std(ddof=1) / np.sqrt(len(photos)),
        "map-change-mean": mean.mean(),
        "map-change-max": largest.max(),
    }
    dataset, method = f"{photos.name}-validation", result_name(after)
    run.results({f"{dataset}/{method}/{name}": value for name, value in values.items()}, data=photos)
    shutil.copyfile(made, SHIPPED)
    photo = np.load(PAIR)["photograph"]
    np.savez_compressed(PAIR, photograph=photo, defocus=detect(photo, after, PAIR_SIZE))
    print(f"{SHIPPED.name}: {SHIPPED.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
