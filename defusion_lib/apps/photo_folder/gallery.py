"""Write a page for a browser that shows a table's photos: sorted, filtered, with map and overlay at a click.

The page needs no network and no server: it is one file, beside the previews and maps that it shows.
"""

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from defusion_lib.apps.photo_folder.files import check_page, preview_path, printable
from defusion_lib.apps.photo_folder.table import Row
from defusion_lib.paths import write_atomically

GALLERY = "gallery.html"
PLACE = '"the photos"'  # in the page without photos
MARK = b"<title>Photos and their focus</title>"  # in every page


def check_gallery(into: Path) -> None:
    """Raise ValueError if `into` has a gallery.html that this program did not write."""
    check_page(into / GALLERY, MARK)


def write_gallery(rows: Sequence[Row], folder: str | Path, into: str | Path) -> Path:
    """Write gallery.html in `into` for the photos of `folder`, and return its path.

    The large view shows the photo itself where the browser reads it from `folder`, else the preview. Raises ValueError
    if another file is there.
    """
    into = Path(into)
    check_gallery(into)
    page = files("defusion_lib.apps.photo_folder").joinpath(GALLERY).read_text(encoding="utf-8")
    # Real paths: one of both may be given through a link, such as a home folder that is one.
    places = Path(folder).resolve(), into.resolve()
    photos = (json.dumps(_entry(row, *places), ensure_ascii=False, separators=(",", ":")) for row in rows)
    # A name may not end the script that holds it.
    data = f"[{','.join(photos)}]".replace("<", "\\u003c")
    if page.count(PLACE) != 1:
        raise RuntimeError(f"{GALLERY} of the package has no one place for the photos.")
    write_atomically(into / GALLERY, page.replace(PLACE, data).encode())
    return into / GALLERY


def _entry(row: Row, folder: Path, into: Path) -> dict:
    entry = {"name": printable(row.file)}
    if row.problem:
        return entry | {"verdict": "problem", "problem": printable(row.problem)}
    return entry | {
        "verdict": row.verdict,
        "score": row.score,
        "sharp": row.sharp_share,
        "size": f"{row.width} × {row.height}",
        "preview": _address(preview_path(into, row.map), into),
        "map": _address(into / row.map, into),
        "photo": _address(folder / row.file, into),
    }


def _address(path: Path, into: Path) -> str:
    """Return the address of a file from a page in `into`."""
    try:
        path = Path(os.path.relpath(path, into))
    except ValueError:  # another drive
        return path.absolute().as_uri()
    return quote(os.fsencode(path.as_posix()))
