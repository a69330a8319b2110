"""SZU-BD: 347 partly defocused photos and 75 with motion blur, masks white = blurred, for testing only.

Published in 2019 with the deep method EFPN. Its defocus part holds 709 photos, some of which are also in Shi's set.
`szu_test.txt` lists 347 that are not: grey thumbnails of 16x16 pixels correlate with those of Shi's photos by at most
0.85, and with a resized copy of the same photo by more than 0.999. So a network that was trained on Shi's photos has
seen none of them. The list was made from the half of that part that was available. Whether the other 362 are Shi's has
not been examined: all of them are left out, whatever a copy holds. The motion part was not available, and its reader
was tested on made-up folders.
"""

from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from defusion_lib.data import Photo, PhotoSet, first_few
from defusion_lib.data.files import check_white, list_images, pair_masks, read_photo

Part = Literal["test", "motion"]
MOTION_COUNT = 75
# The second and third are the layout of the public repository: inside its folder SZU-BD, and beside that folder.
LAYOUTS = (("images", "masks"), ("img/out-of-focus", "gt"), ("SZU-BD/img/out-of-focus", "SZU-BD/gt"))
MOTION_LAYOUTS = (("img/motion", "gt"), ("SZU-BD/img/motion", "SZU-BD/gt"))
WHERE = (
    "clone the GitHub repository mathxlsun/BD_EFPN and give its folder (it holds SZU-BD/img/out-of-focus, "
    "SZU-BD/img/motion and SZU-BD/gt), or lay the photos out of focus out as images and masks"
)


def open_szu(root: str | Path, part: Part = "test") -> PhotoSet:
    """Open a part of SZU-BD: the 347 listed photos out of focus as "szu", or the 75 with motion blur as "szu-motion".

    `part` is "test" or "motion". `root` is a clone of the public repository, its folder SZU-BD, or for "test" a folder
    with images and masks; photos that are not listed are skipped. The masks of "test" are all read once. Raises
    FileNotFoundError for missing folders or files, and ValueError for an unknown part, masks of "test" with
    white = in focus, and another number of photos than 75 in "motion".
    """
    if part not in get_args(Part):
        raise ValueError(f'part={part!r} is not a part of SZU-BD: choose part="test" or part="motion".')
    image_folder, mask_folder = find_folders(Path(root), part)
    images = list_images(image_folder)
    if part == "motion":
        if len(images) != MOTION_COUNT:
            raise ValueError(
                f"{image_folder} holds {len(images)} photos, expected {MOTION_COUNT} in the motion part of SZU-BD: "
                "complete the copy, because results on another number cannot be compared."
            )
        masks, names = pair_masks(images, mask_folder), list(images)
    else:
        masks, names = list_images(mask_folder), listed_stems()
        for folder, found in ((image_folder, images), (mask_folder, masks)):
            if missing := [name for name in names if name not in found]:
                raise FileNotFoundError(
                    f"{folder} lacks {first_few(missing)} (expected {len(names)} photos and their masks): "
                    f"complete the copy, or {WHERE}."
                )
        check_white([masks[name] for name in names], "SZU-BD", "blurred", 0.75)

    def read(name: str) -> Photo:
        return read_photo(name, images[name], masks[name], white="blurred")

    return PhotoSet("szu" if part == "test" else "szu-motion", names, read)


def find_folders(root: Path, part: Part = "test") -> tuple[Path, Path]:
    """Return the folders of photos and masks of a part; raise FileNotFoundError where there are none."""
    for images, masks in LAYOUTS if part == "test" else MOTION_LAYOUTS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return root / images, root / masks
    raise FileNotFoundError(f"{root} does not hold {'SZU-BD' if part == 'test' else 'its motion part'}: {WHERE}.")


def listed_stems() -> list[str]:
    """Return the names of the 347 test photos."""
    return resources.files("defusion_lib.data").joinpath("szu_test.txt").read_text(encoding="ascii").split()
