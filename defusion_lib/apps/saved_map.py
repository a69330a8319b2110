"""Write a photo's defocus map as PNG, without overwriting files of the user."""

import io
import os
from pathlib import Path

import numpy as np

from defusion_lib.paths import _ELSEWHERE, check_writable, display_path, locate, write_atomically

_SOFTWARE = "defusion_lib"  # in the PNG files of maps


def map_file(photograph: str | Path, target: str = "") -> Path:
    """Return the path of the PNG file for a photo's map, after checking that it may be written.

    It is `target`, or my_defocus.png beside my.jpg. Raises ValueError if `target` does not end in .png,
    FileExistsError if the path has a file that `write_map` did not write for a photo of this name, and OSError if the
    folder is not writable.
    """
    photograph = Path(photograph)
    path = locate(target, new=True) if target else photograph.with_name(f"{photograph.stem}_defocus.png")
    if path.suffix.lower() != ".png":
        raise ValueError(f"The map is written as PNG, but the target is {target!r}: choose a name that ends in .png.")
    try:
        os.lstat(path)
        taken = _photograph_of(path) != _legible(photograph.name)
    except FileNotFoundError:
        taken = False
    except OSError as error:
        raise OSError(f"Cannot write {display_path(path)} ({error.strerror}). {_ELSEWHERE}") from error
    if taken:
        raise FileExistsError(
            f"{display_path(path)} exists already and is not a map of {photograph.name} by this notebook: move it, "
            "or choose another file with the parameter target."
        )
    check_writable(path.parent)
    return path


def write_map(path: Path, levels: np.ndarray, photograph: str) -> None:
    """Write a map, uint8 (H, W), as PNG; the photo's name is stored in it, so that `map_file` recognises it."""
    # Imported here because the import takes time and only maps need it.
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    facts, picture = PngInfo(), io.BytesIO()
    facts.add_text("Software", _SOFTWARE)
    facts.add_itxt("Source", _legible(photograph))
    Image.fromarray(levels).save(picture, "png", pnginfo=facts)
    write_atomically(path, picture.getvalue())


def _legible(name: str) -> str:
    """Convert a file name to text that can be encoded, even if its bytes are not valid text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _photograph_of(path: Path) -> str | None:
    """Return the photo's name in a map that `write_map` wrote; None for every other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Source") if picture.info.get("Software") == _SOFTWARE else None
    # `write_map` writes atomically, so a file that cannot be read is not from it.
    except Exception:
        return None
