"""SZU-BD: 347 partly defocused photos of its defocus part, masks white = blurred, for testing only.

Published in 2019 with the deep method EFPN. The 347 are half of that part, less the photos that are also in Shi's set,
so a network that was trained on Shi's photos has seen none of them. `szu_test.txt` lists their names.
"""

from importlib import resources
from pathlib import Path

from defusion_lib.data import Photo, PhotoSet, first_few
from defusion_lib.data.files import check_white, list_images, read_photo

# The second and third are the layout of the public repository: inside its folder SZU-BD, and beside that folder.
LAYOUTS = (("images", "masks"), ("img/out-of-focus", "gt"), ("SZU-BD/img/out-of-focus", "SZU-BD/gt"))
WHERE = (
    "clone the GitHub repository mathxlsun/BD_EFPN and give its folder (it holds SZU-BD/img/out-of-focus and "
    "SZU-BD/gt), or lay the set out as images and masks"
)


def open_szu(root: str | Path) -> PhotoSet:
    """Open the 347 test photos of SZU-BD as the set "szu".

    `root` is a clone of the public repository, its folder SZU-BD, or a folder with images and masks; other photos in it
    are skipped. All masks are read once. Raises FileNotFoundError for missing folders or files, and ValueError for
    masks with white = in focus.
    """
    root, names = Path(root), listed_stems()
    folders = next((pair for pair in LAYOUTS if all((root / folder).is_dir() for folder in pair)), None)
    if folders is None:
        raise FileNotFoundError(f"{root} does not hold SZU-BD: {WHERE}.")
    images, masks = (list_images(root / folder) for folder in folders)
    for folder, found in zip(folders, (images, masks)):
        if missing := [name for name in names if name not in found]:
            raise FileNotFoundError(
                f"{root / folder} lacks {first_few(missing)} (expected {len(names)} photos and their masks): "
                f"complete the copy, or {WHERE}."
            )
    check_white([masks[name] for name in names], "SZU-BD", "blurred", 0.75)

    def read(name: str) -> Photo:
        return read_photo(name, images[name], masks[name], white="blurred")

    return PhotoSet("szu", names, read)


def listed_stems() -> list[str]:
    """Return the names of the 347 test photos."""
    return resources.files("defusion_lib.data").joinpath("szu_test.txt").read_text(encoding="ascii").split()
