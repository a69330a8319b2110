"""Example maps for comparing protocols: two real detectors, three common mistakes, two uninformative maps."""

import numpy as np
from scipy.ndimage import gaussian_filter, laplace
from scipy.stats import rankdata

from defusion_lib import plots
from defusion_lib.data import PhotoSet
from defusion_lib.inference import detect
from defusion_lib.network import DeFusionNet
from defusion_lib.weights import result_name

UNINFORMATIVE = ("all-blurred", "random")
ROWS = 3  # photos that `plot_maps` shows


def gradient_energy(image: np.ndarray) -> np.ndarray:
    """Compute a classical defocus map (H, W) in (0, 1) of an image (H, W, 3): the less fine detail, the higher.

    The energy of the Laplacian around each pixel is replaced by its rank.
    """
    grey = image.mean(axis=-1) / 255
    energy = gaussian_filter(laplace(gaussian_filter(grey, 1)) ** 2, 4)
    return 1 - rankdata(energy).reshape(energy.shape) / energy.size


def example_maps(photos: PhotoSet, network: DeFusionNet, size: int, seed: int) -> dict[str, list[np.ndarray]]:
    """Compute {name: one map (H, W) in [0, 1] per image, 1 = blurred}, the network's first, under its result name.

    `low-contrast` (0.4 + 0.2 map), `dark` (0.45 map) and `inverted` (1 - map) are made from the network's maps; `size`
    is the network's input size in pixels, `seed` that of the random maps.
    """
    rng = np.random.default_rng(seed)
    found = [detect(photo.image, network, size) for photo in photos]
    return {
        result_name(network): found,
        "gradient-energy": [gradient_energy(photo.image) for photo in photos],
        "low-contrast": [0.4 + 0.2 * each for each in found],
        "dark": [0.45 * each for each in found],
        "inverted": [1 - each for each in found],
        "all-blurred": [np.ones_like(each) for each in found],
        "random": [rng.random(each.shape) for each in found],
    }


def plot_maps(photos: PhotoSet, maps: dict[str, list[np.ndarray]]) -> plots.Drawing:
    """Plot the first photos, their masks, and the maps of `example_maps` that depend on the photo."""
    shown = {name: of_images[:ROWS] for name, of_images in maps.items() if name not in UNINFORMATIVE}
    return plots.Drawing(
        "protocol_maps",
        plots.comparison(photos[:ROWS], shown),
        "Three photos with their masks and the maps that are compared: low-contrast and dark are greyer copies of "
        "the network's maps, inverted is their negative.",
        {"names": photos.stems[:ROWS], **{name: plots.as_levels(np.stack(each)) for name, each in shown.items()}},
    )
