"""CTCUG: the 150 photos of the DeFusionNET paper (Section 4.1), five annotators, white = blurred.

The names of the single-mask layout are those that published code for this set reads from; for the five separate masks
no layout is documented, and the one here is a choice. No copy was available: the reader was tested on made-up folders.
"""

from pathlib import Path

import numpy as np

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import list_images, pair_masks, read_photo

COUNT = 150
ANNOTATORS = 5
LAYOUTS = (("images", "masks"), ("CTCUG_images", "CTCUG_gt"))
WHERE = (
    "ask for CTCUG where its paper points (http://tangchang.net, which did not answer) or write to the authors of "
    "DeFusionNET (TPAMI 2020), and lay it out as images and masks (or CTCUG_images and CTCUG_gt), with one mask for "
    "each photo or five subfolders of masks, one for each annotator"
)


def open_ctcug(root: str | Path) -> PhotoSet:
    """Open the 150 photos of CTCUG as the set "ctcug".

    The folder of masks holds one averaged mask per photo, or five subfolders (one per annotator) whose masks are cut at
    0.5 and averaged here. A pixel is blurred where the average is at least 0.5, so where at least three of five mark it
    (five cannot tie). Raises FileNotFoundError for missing folders or masks, ValueError for another number of photos or
    annotators.
    """
    image_folder, mask_folder = find_folders(Path(root))
    images = list_images(image_folder)
    if len(images) != COUNT:
        raise ValueError(
            f"{image_folder} holds {len(images)} photos, expected {COUNT} in CTCUG: complete the copy, because "
            'results on another number cannot be compared, or read it as dataset="folder".'
        )
    annotators = find_annotators(mask_folder)
    if annotators and len(annotators) != ANNOTATORS:
        raise ValueError(
            f"{mask_folder} has {len(annotators)} subfolders, expected {ANNOTATORS}, one for each annotator, or none "
            "and one averaged mask for each photo: complete or remove them."
        )
    paired = [pair_masks(images, folder) for folder in annotators or [mask_folder]]

    def read(stem: str) -> Photo:
        photos = [read_photo(stem, images[stem], masks[stem], grey=not annotators) for masks in paired]
        average = np.mean([photo.mask for photo in photos if photo.mask is not None], axis=0)
        return Photo(stem, photos[0].image, (average >= 0.5).astype(np.float32))

    return PhotoSet("ctcug", list(images), read)


def find_folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of photos and masks; raise FileNotFoundError where there are none."""
    for base in (root, root / "CTCUG"):
        for images, masks in LAYOUTS:
            if (base / images).is_dir() and (base / masks).is_dir():
                return base / images, base / masks
    raise FileNotFoundError(f"{root} does not hold CTCUG: {WHERE}.")


def find_annotators(masks: Path) -> list[Path]:
    """Return the folders of single annotators in a folder of masks; none where it holds averaged masks."""
    return sorted(path for path in masks.glob("[!.]*") if path.is_dir())
