"""Map one photo in three steps: read it, run the network, write the map.

Reading and writing may run in threads beside the network. An error that concerns one photo is `OneProblem`.
"""

import contextlib
import errno
import io
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from defusion_lib.apps.photo_folder.files import PREVIEWS, RAW, floats_path, has_files, preview_path, read_head
from defusion_lib.apps.photo_folder.table import Row
from defusion_lib.apps.verdict import score
from defusion_lib.data.augmentation import resize_to_square, to_tensor
from defusion_lib.data.files import read_image, read_reduced
from defusion_lib.inference import resize_map
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import display_path, write_atomically
from defusion_lib.plots import as_levels, overlay
from defusion_lib.refinement import refine
from defusion_lib.tiling import detect_tiles

PREVIEW = 240  # pixels, the longer side
SOFTWARE = "defusion_lib"  # in the PNG files of maps, to recognise them
MADE = "Made"  # in the PNG files of maps: by which network, at which size, from which version of the photo
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # these concern all photos
RUN_LENGTHS = 3  # zlib's Z_RLE: for smooth maps as small as the default, in two thirds of the time


class OneProblem(Exception):
    """An error that concerns one photo, as one sentence."""


@dataclass(frozen=True)
class Job:
    """How a run maps its photos; `floats` writes maps as NumPy files too, `refined` follows the photos' edges."""

    network: DeFusionNet
    size: int
    into: Path
    batch: int = 1
    floats: bool = False
    refined: bool = False
    progress: bool = True


class ReadPhoto(NamedTuple):
    """A photo that waits for the network.

    Its row, what the network sees, a small picture, its (height, width), the photo itself where its map is refined, and
    the seconds that reading took.
    """

    row: Row
    seen: np.ndarray
    preview: Image.Image
    shape: tuple[int, int]
    guide: np.ndarray | None
    seconds: float


def read_photo(row: Row, path: Path, job: Job, ours: bool) -> ReadPhoto:
    """Read a photo for the network; `ours` tells that an earlier run wrote its map.

    Raises OneProblem if it cannot be read, or if the path of its map has a file of somebody else.
    """
    begun = time.perf_counter()
    with _naming_memory(row.file):
        if os.path.isdir(path):  # of folders, only those that cannot be listed are among the photos
            raise OneProblem(f"{row.file} is a folder that cannot be listed: change its permissions, or move it.")
        if not ours:
            _check_place(job.into, row.map)
        if path.suffix.lower() in RAW:
            raise OneProblem(
                f"{row.file} is a raw file of a camera, which is not decoded here: export it as JPEG, PNG or TIFF."
            )
        try:
            if job.size and not job.refined:
                # Four times the network's input size: the resized image differs by about one level at most.
                photo, shape = read_reduced(path, 4 * job.size)
            else:
                photo = read_image(path)
                shape = photo.shape[:2]
        except (OSError, ValueError) as error:
            raise OneProblem(str(error).replace(str(path), row.file)) from error
        preview, guide = Image.fromarray(photo), photo if job.refined else None
        seen = resize_to_square(preview, job.size) if job.size else photo
        preview.thumbnail((PREVIEW, PREVIEW))
        return ReadPhoto(row, seen, preview, shape, guide, time.perf_counter() - begun)


def predict(photos: Sequence[ReadPhoto], job: Job) -> list[np.ndarray | OneProblem]:
    """Predict the map of each photo, float32 in [0, 1], 1 = blurred, at the network's input size.

    A batch that takes too much memory is predicted photo by photo.
    """
    try:
        with _naming_memory(photos[0].row.file):
            return [*_predict([photo.seen for photo in photos], job)]
    except OneProblem as problem:
        if len(photos) == 1:
            return [problem]
    alone = replace(job, batch=1)
    return [found for photo in photos for found in predict([photo], alone)]


def _predict(seen: Sequence[np.ndarray], job: Job) -> Sequence[np.ndarray]:
    if not job.size:
        return [detect_tiles(image, job.network, progress=job.progress) for image in seen]
    # Sums of a batch of another size may differ in the last digit: a last, smaller batch is filled up.
    filled = [*seen, *[seen[-1]] * (job.batch - len(seen))]
    pixels = torch.stack([to_tensor(image) for image in filled])
    with torch.inference_mode():
        final = job.network.eval()(pixels.to(next(job.network.parameters()).device)).final
        return torch.sigmoid(final[: len(seen), 0].float()).cpu().numpy()


def write_map(photo: ReadPhoto, defocus: np.ndarray, job: Job, seconds: float) -> Row:
    """Write map and preview of a photo, and return its row; `seconds` is the network's time.

    Raises OneProblem if only these files cannot be written, else OSError.
    """
    begun = time.perf_counter()
    row = photo.row
    with _naming_memory(row.file):
        # Levels need a quarter of the memory: a map has as many pixels as its photo.
        small = as_levels(defocus)
        levels = _resized(small, photo.shape) if job.size else small
        found = score(levels)  # of the map before it is refined: the verdict's threshold was calibrated with such maps
        if photo.guide is not None:
            defocus = refine(defocus, photo.guide)
            small = levels = as_levels(defocus)
        tint = _resized(small, photo.preview.size[::-1]) / np.float32(255)
        overlaid = _encoded(overlay(np.asarray(photo.preview), tint), "jpeg", row)
        floats = floats_path(job.into, row.map)
        if not job.floats and floats.is_file():
            floats.unlink()  # it belongs to the map that is replaced now
        _write(overlaid, preview_path(job.into, row.map), job.into)
        _write(_encoded(levels, "png", row), job.into / row.map, job.into)
        if job.floats:
            content = io.BytesIO()
            np.save(content, resize_map(defocus, photo.shape).astype(np.float16))
            _write(content.getvalue(), floats, job.into)
        return row._replace(
            width=photo.shape[1],
            height=photo.shape[0],
            score=round(found, 4),
            sharp_share=round(np.count_nonzero(levels < 128) / levels.size, 4),
            mean_blur=round(float(levels.mean()) / 255, 4),
            seconds=round(photo.seconds + seconds + time.perf_counter() - begun, 2),
        )


def is_stored(row: Row, into: Path, floats: bool = False) -> bool:
    """Return whether all files of a row exist, and its map was made as the row says.

    Another run may have replaced the map since, by one of another network or size. Only its beginning is read.
    """
    mark = f"{MADE}\0{_made(row)}".encode(errors="replace")  # a table of somebody else may hold anything
    return has_files(row.map, into, floats) and mark in read_head(into / row.map)


@contextlib.contextmanager
def _naming_memory(file: str) -> Iterator[None]:
    """Turn an error of too little memory into OneProblem."""
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        # Only the message of torch's error tells that the CPU's memory is full.
        full = re.search("allocate memory|not enough memory", str(error))
        if not full and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
    # Raised outside of the handler: the traceback of the first error holds the arrays.
    raise OneProblem(
        f"{file} needs more memory than is available: close other programs, make the photo smaller, or map it "
        "with another size."
    )


def _resized(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(levels).resize(shape[::-1], Image.Resampling.BILINEAR))


def _made(row: Row) -> str:
    return f"{row.maker}, from {row.source}"


def _encoded(picture: np.ndarray, kind: str, row: Row) -> bytes:
    content, facts = io.BytesIO(), PngInfo()
    facts.add_text("Software", SOFTWARE)
    facts.add_text(MADE, _made(row))
    Image.fromarray(picture).save(content, kind, pnginfo=facts, compress_type=RUN_LENGTHS)
    return content.getvalue()


def _write(content: bytes, path: Path, into: Path) -> None:
    """Write a file; raises OneProblem if only this path cannot be written, else OSError."""
    try:
        write_atomically(path, content)
    except OSError as error:
        if (error.__cause__ or error).errno in DISK_ERRORS:
            raise
        for folder in (into, into / PREVIEWS):
            write_atomically(folder / ".trial", b"")
            (folder / ".trial").unlink(missing_ok=True)
        raise OneProblem(str(error)) from error


def _check_place(into: Path, name: str) -> None:
    """Raise OneProblem if the path of a map has a file that this module did not write."""
    path = into / name
    if os.path.lexists(path):
        if path.is_file() and f"Software\0{SOFTWARE}".encode() in read_head(path):
            return
    elif os.path.lexists(floats_path(into, name)):
        path = floats_path(into, name)  # a run writes it after the map, so it is of somebody else
    else:
        return
    raise OneProblem(
        f"{display_path(path)} exists already and is not a map of this program: move it, and run this again."
    )
