"""Photos with defocus masks, whatever set they come from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import NamedTuple, overload

import numpy as np

from defusion_lib.progress import tqdm


class Photo(NamedTuple):
    """One photo and, where there is one, its mask.

    `image` is uint8 RGB (H, W, 3); `mask` is float32 (H, W) in [0, 1], 1 = blurred, or None.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None


class PhotoSet(Sequence[Photo]):
    """A set of photos, each of which is read when it is indexed.

    `name` is the data set's key in result files ("shi-dutlab100", "synthetic", ...), `stems` names its photos in order,
    and `read` turns a stem into a `Photo`. An integer index gives a `Photo`, a slice a smaller `PhotoSet` of the same
    name.
    """

    def __init__(self, name: str, stems: Sequence[str], read: Callable[[str], Photo]):
        self.name = name
        self.stems = list(stems)
        self.read = read

    def __len__(self) -> int:
        return len(self.stems)

    @overload
    def __getitem__(self, index: int) -> Photo: ...
    @overload
    def __getitem__(self, index: slice) -> "PhotoSet": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return PhotoSet(self.name, self.stems[index], self.read)
        return self.read(self.stems[index])

    def provenance(self) -> dict:
        """Return what a stamp records of the set: its name, its number of photos, and a hash of their names."""
        digest = sha256(name_bytes("\n".join(self.stems))).hexdigest()
        return {"name": self.name, "photographs": len(self), "stems_sha256": digest}

    def in_memory(self) -> "InMemory":
        """Return the same set with every photo decoded and kept.

        Shi's 604 training photos take 0.7 GB. Raises what reading the first unreadable one raises.
        """
        return InMemory(self)


class InMemory(PhotoSet):
    """A set whose photos have been read, and the SHA-256 of all that was read (`sha256`)."""

    def __init__(self, photos: PhotoSet):
        digest, kept = sha256(), dict[str, Photo]()
        pool = ThreadPoolExecutor(max_workers=4)
        try:
            found = pool.map(photos.read, photos.stems)
            for stem, photo in tqdm(zip(photos.stems, found), "reading", len(photos), leave=False):
                digest.update(name_bytes(f"{photo.name}{photo.image.shape}") + photo.image.tobytes())
                if photo.mask is not None:
                    digest.update(photo.mask.tobytes())
                    # A quarter of the memory for a mask without greys.
                    flags = photo.mask.astype(bool)
                    photo = photo._replace(mask=flags if np.array_equal(flags, photo.mask) else photo.mask)
                kept[stem] = photo
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for no photo that has not begun
        super().__init__(photos.name, photos.stems, lambda stem: _with_float_mask(kept[stem]))
        self.sha256 = digest.hexdigest()

    def in_memory(self) -> "InMemory":
        """Return this set: its photos have been read."""
        return self

    def identity(self) -> dict:
        """Return the provenance with the hash of what was read, which tells other photos of the same names."""
        return self.provenance() | {"pixels_sha256": self.sha256}


def _with_float_mask(photo: Photo) -> Photo:
    return photo if photo.mask is None else photo._replace(mask=photo.mask.astype(np.float32))


def name_bytes(text: str) -> bytes:
    """Encode a text that holds names of files, of which some may be no UTF-8: these keep their bytes."""
    return text.encode("utf-8", "surrogateescape")


def first_few(names: list[str], count: int = 3) -> str:
    """List the first few of many names for a message: "a, b, c and 7 more"."""
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")
