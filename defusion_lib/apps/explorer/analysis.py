"""Compute what the explorer shows: one forward pass per photo, scores of maps, captures of the camera."""

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from defusion_lib import metrics
from defusion_lib.backbone import TAPS
from defusion_lib.cam_hooks import CamKey
from defusion_lib.data import Photo
from defusion_lib.data.bundled import EMBEDDED, embedded
from defusion_lib.data.camera import Camera, Rendering, Scene, render
from defusion_lib.data.files import read_reduced
from defusion_lib.data.synthetic import CHALLENGES, open_synthetic
from defusion_lib.experiments import attention
from defusion_lib.inference import detect, resize_map
from defusion_lib.network import DeFusionNet, Maps
from defusion_lib.paths import locate
from defusion_lib.plots import as_levels, overlay

LARGEST_SIDE = 640  # pixels, the longer side of a photo of the user's, so that the slowest baseline takes seconds
SCENE_SHAPE = (192, 288)  # pixels, height and width of the camera's images
CHANNEL_SIDE = 64  # pixels, the sides of the stored image of a channel
WHITE_RADIUS = 8.0  # pixels of blur that are drawn white
# Hooks of one analysis must not record another one's forward pass: panels and cells share the network.
_NETWORK_LOCK = threading.Lock()


class CamChannels(NamedTuple):
    """The channels of one CAM for one photo.

    `weights` (C,) in (0, 1) are those of Eq. 6, `levels` uint8 (C, 64, 64) the channels before they are weighted.
    Each channel is drawn up to its own maximum, `peaks` (C,); 0 where it is zero everywhere.
    """

    weights: np.ndarray
    levels: np.ndarray
    peaks: np.ndarray

    def most_varied(self) -> int:
        """Return the index of the channel whose weighted values vary most over the photo."""
        return int((self.weights * self.peaks * self.levels.std((1, 2))).argmax())


class PhotoAnalysis(NamedTuple):
    """All that the explorer shows of one photo, from one forward pass.

    Maps are levels, uint8 (H, W), white = blurred. `stages` holds "after1", "after2", ... (the mean of the
    six side outputs of each step) and "fused" (Eq. 8); `sides[j]` the side outputs O1 to O6 of step j + 1.
    """

    photo: Photo
    stages: dict[str, np.ndarray]
    sides: list[list[np.ndarray]]
    channels: dict[CamKey, CamChannels]


class Capture(NamedTuple):
    """An image that the camera rendered, and its defocus map as levels, uint8 (H, W)."""

    rendering: Rendering
    levels: np.ndarray


def photo_choices(seed: int) -> dict[str, Callable[[], Photo]]:
    """Return readers of the photos to choose from: five rendered ones with exact masks, and `EMBEDDED` without."""
    rendered = open_synthetic(len(CHALLENGES), SCENE_SHAPE, seed=seed)
    choices = {f"rendered: {name}": partial(rendered.__getitem__, i) for i, name in enumerate(CHALLENGES)}
    return choices | {name.replace("-", ": ", 1): partial(_read_embedded, name) for name in EMBEDDED}


def _read_embedded(name: str) -> Photo:
    return Photo(name, embedded(name), None)


def read_upload(name: str, content: bytes | memoryview) -> Photo:
    """Read a photo without a mask from the bytes of a file, its longer side at most `LARGEST_SIDE` pixels.

    Raises ValueError, in one sentence with the file's name, where the file is broken or no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content)
        try:
            return _read_shrunk(name, path)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{path}", name)) from None


def read_path(path: str) -> Photo:
    """Read a photo without a mask from a path as a user types it, its longer side at most `LARGEST_SIDE` pixels.

    Relative paths are resolved by `paths.locate`, and quotation marks around the path are dropped (Windows copies
    a path with them). Raises ValueError, in one sentence with the full path, where there is no such file, where the
    path is a folder, and where the file is broken or no picture.
    """
    full = os.path.abspath(locate(path.strip().strip('"'), new=True))
    if os.path.isdir(full):
        raise ValueError(f"{full} is a folder: expected a photo, so add the name of a file in it.")
    if not os.path.isfile(full):
        raise ValueError(
            f"There is no file {full} on the computer that runs the notebook: expected a photo, so check the path."
        )
    return _read_shrunk(os.path.basename(full), full)


def _read_shrunk(name: str, path: str | Path) -> Photo:
    image = Image.fromarray(read_reduced(path, LARGEST_SIDE)[0])
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return Photo(name, np.asarray(image), None)


def analyse(photo: Photo, network: DeFusionNet, size: int | None) -> PhotoAnalysis:
    """Run a network once on a photo, resized to `size` as in `detect`, and keep what the explorer shows.

    Raises ValueError for a network without CAM.
    """
    outputs: list[Maps] = []
    with _NETWORK_LOCK:
        hook = network.register_forward_hook(lambda module, given, maps: outputs.append(maps))
        try:
            records = attention.record(photo.image, network, size)
        finally:
            hook.remove()
    (maps,) = outputs
    shape = photo.image.shape[:2]
    stages = {
        name: _to_levels(logits, shape)
        for name, logits in maps.intermediate().items()
        if name == "fused" or name.startswith("after")
    }
    sides = [_to_levels(logits, shape) for logits in maps.sides]
    by_step = [sides[i : i + len(TAPS)] for i in range(0, len(sides), len(TAPS))]
    return PhotoAnalysis(photo, stages, by_step, {record.key: _shrink_channels(record) for record in records})


def _to_levels(logits: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    return as_levels(resize_map(torch.sigmoid(logits)[0, 0].cpu().numpy(), shape))


def _shrink_channels(record: attention.Attention) -> CamChannels:
    small = F.adaptive_avg_pool2d(torch.as_tensor(record.features), CHANNEL_SIDE).numpy()
    peaks = small.max((1, 2))
    scale = np.divide(1, peaks, out=np.zeros_like(peaks), where=peaks > 0)
    return CamChannels(record.weights, as_levels(small * scale[:, None, None]), peaks)


def resize_channel(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a square channel (64, 64) to the proportions of its photo, (height, width)."""
    height, width = shape
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))


def score_map(levels: np.ndarray, mask: np.ndarray | None, threshold: float) -> dict[str, float]:
    """Score the pixels (H, W) of a map above a threshold in [0, 1]; levels uint8, blurred pixels positive.

    Returns "share", the fraction of pixels above it; with a mask also "mae" (Eq. 12) and, where the mask holds
    both classes, "precision", "recall" and "f" (Eq. 11).
    """
    cut = _to_cut(threshold)
    found = {"share": float((levels > cut).mean())}
    if mask is not None:
        found["mae"] = float(np.abs(levels / 255 - mask).mean())
        if 0 < mask.mean() < 1:
            curves = metrics.curves(metrics.histogram(levels / 255, mask)[None], "blur")
            found |= {name: float(getattr(curves, name)[cut]) for name in ("precision", "recall", "f")}
    return found


def tint_blurred(image: np.ndarray, levels: np.ndarray, threshold: float, opacity: float) -> np.ndarray:
    """Tint the pixels of an image (H, W, 3) whose map is above `threshold`; at `opacity` 1 only the tint is left."""
    return overlay(image, np.float32(levels > _to_cut(threshold)), opacity)


def _to_cut(threshold: float) -> int:
    """Return the level that a level must exceed for level / 255 to exceed `threshold`."""
    return int(threshold * 255 + 1e-9)


def stretch_depth(scene: Scene, factor: float) -> Scene:
    """Stretch the depth of a scene from its nearest layer on: distance d becomes near (d / near)^factor.

    1 changes nothing, 0 puts all layers at the distance of the nearest one.
    """
    near = min(scene.distances)
    return scene.at([near * (distance / near) ** factor for distance in scene.distances])


def capture(
    scene: Scene, camera: Camera, network: DeFusionNet, size: int | None, seed: int | Sequence[int] = 0
) -> Capture:
    """Render a scene through a camera and predict its defocus map, resized to `size` as in `detect`."""
    rendering = render(scene, camera, seed)
    with _NETWORK_LOCK:
        return Capture(rendering, as_levels(detect(rendering.image, network, size)))


def radius_levels(radius: np.ndarray) -> np.ndarray:
    """Convert blur radii in pixels to levels, uint8: black is none, white is `WHITE_RADIUS` and more."""
    return as_levels(radius / WHITE_RADIUS)
