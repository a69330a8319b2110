"""DUT: 600 training and 500 test photos, 320x320 (Zhao et al., CVPR 2018), masks white = in focus.

The folder names are those that published code for this set reads from. No copy was available: the reader was tested on
made-up folders of that layout.
"""

from pathlib import Path
from typing import Literal

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import check_white, list_images, pair_masks, read_photo

Part = Literal["train", "test"]
COUNTS = {"train": 600, "test": 500}
LAYOUTS = {
    "train": (("train/images", "train/masks"), ("DUT600S_Training", "DUT600GT_Training")),
    "test": (("test/images", "test/masks"), ("DUT500S-Testing", "DUT500GT-Testing")),
}
WHERE = (
    "ask for DUT where Zhao et al. (CVPR 2018) offered it (http://ice.dlut.edu.cn/ZhaoWenda/BTBCRLNet.html, "
    "which has been reported gone) or write to its authors, and unpack it so that the folder holds "
    "DUT500S-Testing, DUT500GT-Testing, DUT600S_Training and DUT600GT_Training, or test/images, test/masks, "
    "train/images and train/masks"
)


def open_dut(root: str | Path, part: Part = "test") -> PhotoSet:
    """Open the 500 test or 600 training photos of DUT as the set "dut".

    `root` holds the release's folders (also inside its own DUT-DBD_Dataset), or images and masks below test and train.
    All masks of the part are read once: in-focus regions cover about a third of this set, so masks that are white for
    the most part are inverted. Raises FileNotFoundError for missing folders or masks, ValueError for an unknown part,
    another number of photos, or masks with white = blurred.
    """
    if part not in COUNTS:
        raise ValueError(f'part={part!r} is not a part of DUT: choose part="train" or part="test".')
    image_folder, mask_folder = find_folders(Path(root), part)
    images = list_images(image_folder)
    if len(images) != COUNTS[part]:
        raise ValueError(
            f"{image_folder} holds {len(images)} photos, expected {COUNTS[part]} in DUT's {part} part: complete "
            'the copy, because results on another number cannot be compared, or read it as dataset="folder".'
        )
    masks = pair_masks(images, mask_folder)
    check_white(masks.values(), "DUT", "focus", 0.31)

    def read(stem: str) -> Photo:
        return read_photo(stem, images[stem], masks[stem], white="focus")

    return PhotoSet("dut", list(images), read)


def find_folders(root: Path, part: Part) -> tuple[Path, Path]:
    """Return the folders of photos and masks of a part; raise FileNotFoundError where there are none."""
    for base in (root, root / "DUT-DBD_Dataset"):
        for images, masks in LAYOUTS[part]:
            if (base / images).is_dir() and (base / masks).is_dir():
                return base / images, base / masks
    raise FileNotFoundError(f"{root} does not hold DUT's {part} part: {WHERE}.")
