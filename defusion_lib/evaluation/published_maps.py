"""Maps that others published of Shi's photographs, and how well ours agree with them.

A folder holds a folder a method, and in it a picture a photograph under the photograph's name. White stands for
blurred or for in focus, method by method; here 1 = blurred as everywhere.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import list_images, read_mask
from defusion_lib.data.shi import open_shi
from defusion_lib.evaluation.statistics import correlation
from defusion_lib.inference import to_shape

# Parts of two photographs that all four published methods have maps of: small enough for a test.
CROPS = {
    "out_of_focus0001": (slice(100, 260), slice(200, 400)),
    "out_of_focus0065": (slice(100, 260), slice(200, 400)),
}


class Published:
    """The maps of one method in a folder of pictures, read when asked for.

    `method` is the folder's name, `stems` the photographs in order. Raises FileNotFoundError where there is no
    folder or no picture in it.
    """

    def __init__(self, folder: str | Path, white_sharp: Iterable[str] = ()):
        self.method = Path(folder).name
        self._files = list_images(folder)
        self._white = "focus" if self.method in white_sharp else "blurred"

    @property
    def stems(self) -> list[str]:
        return list(self._files)

    def read(self, photo: Photo) -> np.ndarray:
        """The published map of a photograph, float32 at the photograph's size, 1 = blurred."""
        levels = read_mask(self._files[photo.name], self._white, grey=True)
        return to_shape(levels, photo.image.shape[:2])


def open_published(root: str | Path, white_sharp: Iterable[str] = ()) -> dict[str, Published]:
    """The methods in a folder of published maps, {method: its maps}.

    `white_sharp` names those whose pictures are white where sharp. Raises FileNotFoundError where there are none.
    """
    folders = sorted(path for path in Path(root).glob("*") if path.is_dir())
    if not folders:
        raise FileNotFoundError(
            f"{root} holds no folder: expected one of maps for each method, such as hifst."
        )
    return {folder.name: Published(folder, white_sharp) for folder in folders}


def photographs(published: Published, shi_root: str | Path) -> PhotoSet:
    """Those of Shi's photographs that a method's maps were published of, "shi-maps61" for 61 of them.

    Raises ValueError where a map is named like none of them, and what `open_shi` raises.
    """
    parts = [open_shi(shi_root, part=part) for part in ("train", "test")]
    of = {stem: part for part in parts for stem in part.stems}
    if unknown := [stem for stem in published.stems if stem not in of]:
        raise ValueError(
            f"The maps of {published.method} hold {unknown[0]}, which is none of Shi's photographs: "
            "name maps like these."
        )
    return PhotoSet(f"shi-maps{len(published.stems)}", published.stems, lambda stem: of[stem].read(stem))


def crop_correlation(detect: Callable, published: Published, photos: PhotoSet) -> float:
    """The mean correlation over `CROPS`: of the map of a crop with that part of the published map.

    It is lower than that of whole photographs, whose maps know what lies around the crop.
    """
    found = []
    for stem, crop in CROPS.items():
        photo = photos.read(stem)
        found.append(correlation(detect(np.ascontiguousarray(photo.image[crop])), published.read(photo)[crop]))
    return float(np.mean(found))
