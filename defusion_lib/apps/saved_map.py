"""Write a photo's defocus map as PNG, and never over a file of somebody's own."""

import io
import os
from pathlib import Path

import numpy as np

from defusion_lib.paths import _ELSEWHERE, check_writable, locate, shown, write_whole

_SOFTWARE = "defusion_lib"  # in the PNG files of maps


def map_file(photograph: str | Path, target: str = "") -> Path:
    """Name the PNG file for a photograph's map, and check before anything is computed that it may be written.

    It is `target`, or my_defocus.png beside my.jpg. Raises ValueError where `target` is no name of a PNG file,
    FileExistsError where there is a file that `write_map` did not write for a photograph of this name, and
    OSError where the folder cannot be written in.
    """
    photograph = Path(photograph)
    path = locate(target, new=True) if target else photograph.with_name(f"{photograph.stem}_defocus.png")
    if path.suffix.lower() != ".png":
        raise ValueError(f"The map is written as PNG: choose a file whose name ends in .png, not {target!r}.")
    try:
        os.lstat(path)
        taken = _photograph_of(path) != _legible(photograph.name)
    except FileNotFoundError:
        taken = False
    except OSError as error:
        raise OSError(f"Cannot write {shown(path)} ({error.strerror}). {_ELSEWHERE}") from error
    if taken:
        raise FileExistsError(
            f"{shown(path)} is there already and is no map of {photograph.name} that this notebook wrote: move it, "
            "or choose another file with the parameter target."
        )
    check_writable(path.parent)
    return path


def write_map(path: Path, levels: np.ndarray, photograph: str) -> None:
    """Write a map, uint8 (H, W), as PNG with the photograph's name inside, by which `map_file` knows it again."""
    # Imported here, so that reading results (tools/execute.py) does not wait for it.
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    facts, picture = PngInfo(), io.BytesIO()
    facts.add_text("Software", _SOFTWARE)
    facts.add_itxt("Source", _legible(photograph))
    Image.fromarray(levels).save(picture, "png", pnginfo=facts)
    write_whole(path, picture.getvalue())


def _legible(name: str) -> str:
    """A file name as text that can be encoded, also where its bytes are no text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _photograph_of(path: Path) -> str | None:
    """The photograph's name in a map that `write_map` wrote; None for every other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Source") if picture.info.get("Software") == _SOFTWARE else None
    # Whatever cannot be read was not written by `write_map`, which writes whole files.
    except Exception:
        return None
