"""Anybody's photographs, with or without masks."""

from pathlib import Path

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import White, list_images, pair_masks, read_photo


def open_folder(root: str | Path, masks: str | Path | None = None, white: White = "blurred") -> PhotoSet:
    """Open the pictures that lie directly in `root` as a set of the folder's name.

    `masks` is a folder with one mask a photograph under the photograph's name (any picture format), `white`
    what white means in them; without it every `Photo.mask` is None. Raises FileNotFoundError for a missing
    or empty folder and for missing masks, ValueError for two pictures of one name or an unknown `white`; a
    broken file or a mask of another size raises ValueError when its photograph is read.
    """
    if white not in ("blurred", "focus"):
        raise ValueError(f'white={white!r} is not a mask polarity: say white="blurred" or white="focus"')
    images = list_images(root)
    paired = {} if masks is None else pair_masks(images, masks)

    def read(stem: str) -> Photo:
        return read_photo(stem, images[stem], paired.get(stem), white)

    return PhotoSet(Path(root).resolve().name, list(images), read)
