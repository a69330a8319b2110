"""Read and score maps of Shi's photos that other authors published, and compare ours with them.

A folder holds one folder per method with one picture per photo, named like the photo. White means blurred or
in focus, depending on the method; what is read is 1 = blurred.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import Polarity, list_images, read_mask
from defusion_lib.data.shi import open_shi
from defusion_lib.evaluation.scoring import ScoredSet, Scores, score
from defusion_lib.evaluation.statistics import correlation
from defusion_lib.inference import resize_map

# Parts of two photos of which all four methods published maps: small enough for a test.
CROPS = {
    "out_of_focus0001": (slice(100, 260), slice(200, 400)),
    "out_of_focus0065": (slice(100, 260), slice(200, 400)),
}


class Published:
    """The maps of one method in a folder of pictures, read when they are needed.

    `method` is the folder's name, `stems` names the photos in order. Raises FileNotFoundError where the folder is
    missing or empty.
    """

    def __init__(self, folder: str | Path, white_sharp: Iterable[str] = ()):
        self.method = Path(folder).name
        self._files = list_images(folder)
        self._white: Polarity = "focus" if self.method in white_sharp else "blurred"

    @property
    def stems(self) -> list[str]:
        """Names of the photos, in order."""
        return list(self._files)

    def read(self, photo: Photo) -> np.ndarray:
        """Read the published map of a photo, float32 (H, W) in [0, 1] at the photo's size, 1 = blurred."""
        levels = read_mask(self._files[photo.name], self._white, grey=True)
        return resize_map(levels, photo.image.shape[:2])


def open_published(root: str | Path, white_sharp: Iterable[str] = ()) -> dict[str, Published]:
    """Open a folder of published maps, {method: its maps}.

    `white_sharp` names the methods whose pictures are white where sharp. Raises FileNotFoundError where there are none.
    """
    folders = sorted(path for path in Path(root).glob("[!.]*") if path.is_dir())
    if not folders:
        raise FileNotFoundError(f"{root} holds no folder: expected one of maps for each method, such as hifst.")
    return {folder.name: Published(folder, white_sharp) for folder in folders}


def photographs(published: Published, shi_root: str | Path) -> PhotoSet:
    """Open those of Shi's photos of which a method published maps, as the set "shi-maps61" for 61 of them.

    Raises ValueError where a map has the name of no photo, and what `open_shi` raises.
    """
    parts = _parts(shi_root)
    return _subset(_check_names(published, parts), parts)


def score_published(
    root: str | Path, white_sharp: Iterable[str], shi_root: str | Path, new_scores: Callable[[], Scores]
) -> list[ScoredSet[Scores]]:
    """Score published maps and the map `all-blurred` on every set of photos that methods have in common.

    Methods with maps of the same photos form one set; the photos of which all methods have maps form another.
    The smallest set comes first; a second set of one size is named "shi-maps9-2". `new_scores` as in `score`. Raises
    what `open_published` and `photographs` raise.
    """
    published, parts = open_published(root, white_sharp), _parts(shi_root)
    groups = {tuple(sorted(_check_names(maps, parts))) for maps in published.values()}
    groups |= {tuple(sorted(set.intersection(*map(set, groups))))} - {()}
    scored: list[ScoredSet[Scores]] = []
    for group in sorted(groups, key=lambda stems: (len(stems), stems)):
        photos = _subset(group, parts)
        if same_size := sum(len(each.photos) == len(group) for each in scored):
            photos.name += f"-{same_size + 1}"
        maps: dict[str, Iterable[np.ndarray]] = {
            method: map(of_method.read, photos)
            for method, of_method in published.items()
            if set(group) <= set(of_method.stems)
        }
        maps["all-blurred"] = (np.ones_like(photo.mask) for photo in photos)
        scored.append(score(photos, maps, new_scores))
    return scored


def _parts(shi_root: str | Path) -> dict[str, PhotoSet]:
    """Map the name of each of Shi's photos to its part of the data set."""
    parts = [open_shi(shi_root, part=part) for part in ("train", "test")]
    return {stem: part for part in parts for stem in part.stems}


def _check_names(published: Published, parts: Mapping[str, PhotoSet]) -> list[str]:
    """Return the names of a method's maps, or raise ValueError where one is the name of no photo."""
    if unknown := [stem for stem in published.stems if stem not in parts]:
        raise ValueError(
            f"The maps of {published.method} hold {unknown[0]}, which is none of Shi's photos: name maps like these."
        )
    return published.stems


def _subset(stems: Sequence[str], parts: Mapping[str, PhotoSet]) -> PhotoSet:
    return PhotoSet(f"shi-maps{len(stems)}", stems, lambda stem: parts[stem].read(stem))


def crop_correlation(detect: Callable, published: Published, photos: PhotoSet) -> float:
    """Compute the mean over `CROPS` of the correlation between the map of a crop and that part of the published map.

    NaN where no map of these photos was published. It is lower than the correlation of whole photos, whose maps also
    depend on the pixels around the crop.
    """
    found = []
    for stem, crop in CROPS.items():
        if stem not in published.stems:
            continue
        photo = photos.read(stem)
        found.append(correlation(detect(np.ascontiguousarray(photo.image[crop])), published.read(photo)[crop]))
    return float(np.mean(found)) if found else np.nan
