"""Measure what a network loses as an ONNX file in half precision or with 8-bit weights, on Shi's training photos.

    python -m tools.export_loss                           # minutes: outputs/box/results/export_loss.json
    python -m tools.export_loss FILE --profile cpu        # of another network, into the results of a profile

exports the network, maps photos with ONNX Runtime, and compares the maps with those of torch and with the masks: means
over the photos, with their standard errors. Training photos: no test photo decides how a network is written. They are
those in data/shi, or in the folder that --root names.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from defusion_lib.data import PhotoSet
from defusion_lib.data.augmentation import resize_to_square, to_tensor
from defusion_lib.data.datasets import open_dataset
from defusion_lib.export import EXPORT_PRECISIONS, export_network, open_onnx
from defusion_lib.inference import SIZE, resize_map
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import locate
from defusion_lib.progress import tqdm
from defusion_lib.runs.run import Run
from defusion_lib.weights import load_network, read_card, resolve, weights_hash
from tools.refinement_gain import TRAINING, network_map

PHOTOS = 30

Found = dict[str, dict[str, list[float]]]  # {precision: {metric: one value per photo}}


def measure(
    network: DeFusionNet, card: Mapping, photos: PhotoSet, precisions: Sequence[str] = EXPORT_PRECISIONS
) -> Found:
    """Compare the maps of a network's ONNX files with those of torch, at the size of each photo.

    Metrics: "map-difference", the mean absolute difference of the two maps; "largest-difference"; "mae" from the mask;
    "mae-change", that less torch's; "seconds" of the processor for one map; and under "torch" the "mae" and "seconds"
    of torch.
    """
    found: Found = {"torch": {}}
    with tempfile.TemporaryDirectory() as folder:
        runners = {}
        for precision in precisions:
            path = Path(folder, f"{precision}.onnx")
            told = export_network(network, path, card, precision)
            runners[precision] = open_onnx(path)
            found[precision] = {"megabytes": [told["bytes"] / 1e6]}
        for photo in tqdm(photos, desc=photos.name):
            shape = photo.mask.shape
            start = time.process_time()
            reference = resize_map(network_map(photo.image, network), shape)
            _add(found["torch"], {"seconds": time.process_time() - start})
            mae = float(np.abs(reference - photo.mask).mean())
            _add(found["torch"], {"mae": mae})
            seen = to_tensor(resize_to_square(Image.fromarray(photo.image), SIZE))[None].numpy()
            for precision, run in runners.items():
                start = time.process_time()
                defocus = resize_map(run(seen)[0, 0], shape)
                seconds = time.process_time() - start
                apart, error = np.abs(defocus - reference), float(np.abs(defocus - photo.mask).mean())
                _add(
                    found[precision],
                    {
                        "map-difference": float(apart.mean()),
                        "largest-difference": float(apart.max()),
                        "mae": error,
                        "mae-change": error - mae,
                        "seconds": seconds,
                    },
                )
    return found


def results(found: Found, dataset: str) -> dict[str, float]:
    """Compute means under "dataset/precision/metric", with standard errors ("-se"), and the largest difference."""
    values: dict[str, float] = {}
    for precision, metrics in found.items():
        for metric, given in metrics.items():
            key = f"{dataset}/onnx-{precision}/{metric}" if precision != "torch" else f"{dataset}/torch/{metric}"
            if metric == "largest-difference":
                values[key] = max(given)
                continue
            values[key] = float(np.mean(given))
            if len(given) > 1:
                values[f"{key}-se"] = float(np.std(given, ddof=1) / math.sqrt(len(given)))
    return values


def _add(metrics: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        metrics.setdefault(name, []).append(value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.export_loss", description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="shipped", help="a network file (default: that in the package)")
    parser.add_argument("--profile", default="box", help="for the result file, outputs/<profile>/results/")
    parser.add_argument("--root", default="", help="the folder of Shi's photos")
    given = parser.parse_args(arguments)
    parameters = {"profile": given.profile, "seed": 0}
    run = Run("export_loss", parameters, parameters)
    try:
        file = resolve(locate(given.network, "shipped"))
        network = load_network(file)
        photos = open_dataset("shi", "train", given.root)[TRAINING][:PHOTOS]
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    runtime = {name: metadata.version(name) for name in ("onnx", "onnxruntime")}
    run.note(weights_sha256=weights_hash(network), size=SIZE, runtime=runtime)
    values = results(measure(network, read_card(file), photos), f"{photos.name}-train{len(photos)}")
    run.results(values, data=photos)
    for key, value in values.items():
        print(f"{key:60} {value:.5f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
