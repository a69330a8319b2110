"""CTCUG: the 150 photographs of the DeFusionNET paper (Section 4.1), five annotators, white = blurred.

The names of the single-mask layout are those that published code for this set reads from; for the five
separate masks no layout is documented, and the one here is a choice. No copy could be had while this was
written: the reader was tested on made-up folders.
"""

from pathlib import Path

import numpy as np

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import list_images, pair_masks, read_photo

COUNT = 150
ANNOTATORS = 5
LAYOUTS = (("images", "masks"), ("CTCUG_images", "CTCUG_gt"))
WHERE = (
    "ask for CTCUG where its paper points (http://tangchang.net, not to be had when this was written) or "
    "write to the authors of DeFusionNET (TPAMI 2020), and lay it out as images and masks (or CTCUG_images "
    "and CTCUG_gt), the masks either one a photograph or in five subfolders, one an annotator"
)


def open_ctcug(root: str | Path, grey: bool = False) -> PhotoSet:
    """Open the 150 photographs of CTCUG.

    The folder of masks holds one averaged mask a photograph, or five subfolders (one an annotator) whose
    masks are cut at 0.5 and averaged here. `grey=True` keeps the average, multiples of 1/5; otherwise a
    pixel is blurred where the average is at least 0.5, that is where three of the five say so (five cannot
    tie). Raises FileNotFoundError for missing folders or masks, ValueError for another number of
    photographs or annotators.
    """
    return open_photographs(root, grey, COUNT)


def open_photographs(root: str | Path, grey: bool, count: int) -> PhotoSet:
    """Open a copy of CTCUG that must have `count` photographs; raises what `open_ctcug` raises."""
    image_folder, mask_folder = _folders(Path(root))
    images = list_images(image_folder)
    if len(images) != count:
        raise ValueError(
            f"{image_folder} holds {len(images)} photographs, expected {count} in CTCUG: complete the copy, "
            "for results on another number compare with nothing (open_folder reads any)"
        )
    annotators = sorted(path for path in mask_folder.glob("[!.]*") if path.is_dir())
    if annotators and len(annotators) != ANNOTATORS:
        raise ValueError(
            f"{mask_folder} has {len(annotators)} subfolders, expected {ANNOTATORS}, one an annotator, or "
            "none and one averaged mask a photograph: complete or remove them"
        )
    paired = [pair_masks(images, folder) for folder in annotators or [mask_folder]]

    def read(stem: str) -> Photo:
        photos = [read_photo(stem, images[stem], masks[stem], grey=not annotators) for masks in paired]
        mask = sum(photo.mask for photo in photos) / len(photos)
        if not grey:
            mask = mask >= 0.5
        return Photo(stem, photos[0].image, mask.astype(np.float32))

    return PhotoSet("ctcug", list(images), read)


def _folders(root: Path) -> tuple[Path, Path]:
    for base in (root, root / "CTCUG"):
        for images, masks in LAYOUTS:
            if (base / images).is_dir() and (base / masks).is_dir():
                return base / images, base / masks
    raise FileNotFoundError(f"{root} does not hold CTCUG: {WHERE}")
