"""Draw contact sheets: previews with name, verdict and score, 20 per page."""

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from defusion_lib.apps.photo_folder.files import SHEET, check_page, preview_path, printable, read_head
from defusion_lib.apps.photo_folder.table import Row
from defusion_lib.paths import write_atomically
from defusion_lib.plots import Drawing, text_size
from defusion_lib.progress import tqdm

COLUMNS, PAGE = 5, 20  # photos per row and per contact sheet
INCHES = 2.1  # per photo
KEY = "Shows"  # in the PNG files, to recognise pages that need not be drawn again


def contact_sheet(rows: Sequence[Row], into: Path, number: int = 1) -> Drawing:
    """Draw page `number` of the contact sheets of a table."""
    pages = -(-len(rows) // PAGE)
    page = rows[(number - 1) * PAGE : number * PAGE]
    lines = -(-len(page) // COLUMNS)
    size = text_size(INCHES * COLUMNS)
    figure = Figure(figsize=(INCHES * COLUMNS, (INCHES + 0.1) * lines + 0.4))
    # One axes in units of a photo's width: twenty of them would take most of the time.
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    height = figure.get_figheight() / INCHES
    axis.set(xlim=(0, COLUMNS), ylim=(height, 0))
    title = f"page {number} of {pages}; orange: out of focus according to the map"
    axis.text(COLUMNS / 2, 0.1, title, ha="center", va="center", fontsize=size)
    for place, row in enumerate(page):
        left, top = place % COLUMNS, 0.2 + (1 + 0.1 / INCHES) * (place // COLUMNS)
        name = printable(row.file)
        name = name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"
        if row.problem:
            axis.text(left + 0.5, top + 0.6, "no picture:\nsee the table", ha="center", va="center", fontsize=size)
            words = "problem"
        else:
            with Image.open(preview_path(into, row.map)) as preview:
                wide, high = (0.94 * side / max(preview.size) for side in preview.size)
                high, wide = min(high, 0.76), wide * min(1, 0.76 / high)
                edges = (left + 0.5 - wide / 2, left + 0.5 + wide / 2, top + 0.61 + high / 2, top + 0.61 - high / 2)
                axis.imshow(np.asarray(preview), extent=edges, aspect="auto")
            words = f"{row.verdict}, {row.score:.2f}"
        # A dollar sign in a file name is no formula.
        axis.text(left + 0.5, top + 0.2, f"{name}\n{words}", ha="center", va="bottom", fontsize=size, parse_math=False)
    axis.set(xlim=(0, COLUMNS), ylim=(height, 0))
    good = [row for row in rows if not row.problem]
    caption = (
        "The first page of the contact sheet: each photo with its blurred parts tinted orange, its file name, its "
        "verdict and its score; a file that cannot be read has a text instead of a picture."
    )
    arrays = {"files": [printable(row.file) for row in rows]}
    arrays |= {name: [getattr(row, name) for row in good] for name in ("score", "sharp_share", "mean_blur")}
    return Drawing("contact_sheet", figure, caption, arrays)


def check_sheets(into: Path) -> None:
    """Raise ValueError if `into` has a contact_sheet_001.png, ... that this program did not draw."""
    for path in _pages(into):
        check_page(path, f"{KEY}\0".encode())


def write_sheets(rows: Sequence[Row], into: str | Path, progress: bool = True) -> list[Path]:
    """Write all contact sheets of a table as contact_sheet_001.png, ... in `into`, and return their paths.

    Pages that are up to date stay as they are; those of an earlier run with more photos are removed. Raises ValueError
    if a file of such a name is not a page of this program.
    """
    into = Path(into)
    check_sheets(into)
    pages = range(1, -(-len(rows) // PAGE) + 1)
    for old, number in _pages(into).items():
        if number > len(pages):
            old.unlink(missing_ok=True)
    paths = []
    for number in tqdm(pages, "contact sheets", leave=False, disable=not progress):
        path = into / f"contact_sheet_{number:03d}.png"
        page = [row._replace(seconds=None) for row in rows[(number - 1) * PAGE : number * PAGE]]
        key = hashlib.sha256(json.dumps([len(pages), page]).encode()).hexdigest()
        # A page that was drawn from the same rows has the same key.
        if f"{KEY}\0{key}".encode() not in read_head(path):
            picture = io.BytesIO()
            figure = contact_sheet(rows, into, number).figure
            with warnings.catch_warnings():
                # Of a file name with characters such as emoji, which are drawn as boxes.
                warnings.filterwarnings("ignore", "Glyph .* missing from")
                figure.savefig(picture, format="png", metadata={KEY: key})
            write_atomically(path, picture.getvalue())
        paths.append(path)
    return paths


def _pages(into: Path) -> dict[Path, int]:
    """Find the files that are named like a page, with their numbers."""
    return {path: int(page[1]) for path in into.glob("contact_sheet_*.png") if (page := SHEET.fullmatch(path.name))}
