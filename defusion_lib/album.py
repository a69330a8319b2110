"""A folder of photographs in; out a map of each, a table that says which are in focus, and contact sheets.

The table is the memory of a run: a photograph is finished when its line stands there, which is written after
its map, and the table is whole at any moment. So a run that was stopped goes on where it was, and a later one
maps what is new.
"""

import csv
import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

from defusion_lib.data.augmentation import squash
from defusion_lib.data.files import SUFFIXES, list_paths, read_image, read_reduced
from defusion_lib.detection import SIZE, detect
from defusion_lib.figures import as_levels, overlay, text_size
from defusion_lib.network import DeFusionNet
from defusion_lib.runs import shown, write_whole
from defusion_lib.tiling import detect_tiles
from defusion_lib.weights import weights_hash

MAP = "_defocus.png"  # behind the whole name, so that a.jpg and a.png do not share a map
TABLE = "album.csv"
PREVIEWS = "previews"
PREVIEW = 240  # pixels, the longer side
FEW = 0.1  # share of a photograph
COLUMNS, PAGE = 5, 20  # photographs on a contact sheet


class Entry(NamedTuple):
    """A photograph's line in the table; where there is a problem, one sentence, its numbers are None.

    `width` and `height` are in pixels, upright. `sharp_share` is the share of pixels that are at most 0.5 in
    the stored map, `mean_blur` the map's mean, both in [0, 1]. `source` tells the file from a later version,
    by size and time of change; `maker` is the network's hash and the size at which it saw the photograph.
    """

    file: str
    width: int | None = None
    height: int | None = None
    sharp_share: float | None = None
    mean_blur: float | None = None
    verdict: str = ""
    seconds: float | None = None
    problem: str = ""
    source: str = ""
    maker: str = ""


NUMBERS = {"width": int, "height": int, "sharp_share": float, "mean_blur": float, "seconds": float}


class Album(NamedTuple):
    """The lines of a folder's table, and how many of them an earlier run left."""

    entries: list[Entry]
    taken_over: int


def update(
    folder: str | Path,
    network: DeFusionNet,
    size: int = SIZE,
    into: str | Path = "",
    few: float = FEW,
    progress: bool = True,
) -> Album:
    """Map the photographs directly in `folder` that are new, changed, unfinished or had a problem.

    The network sees a photograph squashed to `size` pixels a side, or at full resolution where `size` is 0.
    Into the folder `into` (`beside(folder)` where empty) go, for a photograph FILE, the map FILE_defocus.png,
    as large as the photograph and white where blurred, a small picture of both in `previews`, and a line in
    album.csv. Photographs are only read, and files with a map's name are none. A line holds for as long as
    the file's size and time of change, the network and `size` are the same and its pictures are there. A file
    that cannot be read has its problem in the table. `few` is that of `verdict`. One run at a time a folder.

    Raises FileNotFoundError for a folder that is missing or empty, ValueError where `into` is `folder` or
    holds another table, and OSError where something cannot be written; what was finished by then stays.
    """
    into = Path(into) if into else beside(folder)
    if into.resolve() == Path(folder).resolve():
        raise ValueError(f"{shown(into)} holds the photographs: choose another folder for the maps.")
    paths = photographs(folder)
    before, maker = read_table(into), f"{weights_hash(network)[:12]} at {size or 'full size'}"
    found = {
        path.name: before[path.name]
        for path in paths
        if path.name in before and _holds(before[path.name], path, into, maker)
    }
    taken_over = len(found)
    for part in [*into.glob(".*.part"), *into.glob(f"{PREVIEWS}/.*.part")]:
        part.unlink()  # what a killed run was writing
    entries = _write_table(into, paths, found, few)
    waiting = [path for path in paths if path.name not in found]
    for path in tqdm(waiting, "maps", len(paths), initial=taken_over, leave=False, disable=not progress):
        found[path.name] = _map(path, into, network, size, maker, progress)
        entries = _write_table(into, paths, found, few)
    return Album(entries, taken_over)


def photographs(folder: str | Path) -> list[Path]:
    """The photographs directly in a folder, without maps; raises FileNotFoundError where there are none."""
    paths = [path for path in list_paths(folder) if not path.name.lower().endswith(MAP)]
    if not paths:
        raise FileNotFoundError(f"{shown(folder)} holds maps only: expected photographs, so check the path.")
    return paths


def others(folder: str | Path) -> Counter:
    """How many files of other kinds lie directly in a folder, by the ends of their names, such as ".heic"."""
    files = (path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return Counter(path.suffix.lower() for path in files if path.suffix.lower() not in SUFFIXES)


def beside(folder: str | Path) -> Path:
    """Where the maps of a folder go: into a folder of its name with "_defocus" behind, in the same place."""
    folder = Path(folder).resolve()
    return folder.parent / f"{folder.name}_defocus"


def legible(text: str) -> str:
    """Text with file names in it as it can be shown: bytes that are no text become question marks."""
    return text.encode(errors="replace").decode()


def verdict(sharp_share: float, few: float = FEW) -> str:
    """What a photograph is called: "partly" in focus, unless at most `few` of it is blurred, or sharp."""
    if 1 - sharp_share <= few:
        return "in focus"
    return "out of focus" if sharp_share <= few else "partly"


def read_table(into: str | Path) -> dict[str, Entry]:
    """The lines of the table in a folder of maps by their files; empty where there is none.

    Raises ValueError for a table that this module did not write.
    """
    path = Path(into) / TABLE
    if not path.is_file():
        return {}
    try:
        # File names may hold bytes that are no text.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if tuple(lines.fieldnames or ()) != Entry._fields:
            raise ValueError(f"its first line is {text.partition(chr(10))[0].strip()[:60]!r}")
        entries = [_entry(line) for line in lines]
    except (ValueError, TypeError, csv.Error) as error:
        columns = ", ".join(Entry._fields)
        raise ValueError(
            f"{shown(path)} is no table of maps ({error}): expected the columns {columns}; move it away, or "
            "choose another folder for the maps."
        ) from error
    return {entry.file: entry for entry in entries}


def contact_sheets(entries: Sequence[Entry], into: str | Path) -> Iterator[Figure]:
    """Draw all photographs with their maps and verdicts, 20 a page, as contact_sheet_001.png, ... in `into`.

    A page is drawn and written when it is asked for; close it when you are done with it. Pages that a longer
    album left are removed.
    """
    into = Path(into)
    pages = [entries[first : first + PAGE] for first in range(0, len(entries), PAGE)]
    for old in into.glob("contact_sheet_[0-9]*.png"):
        if int(old.stem.rpartition("_")[2]) > len(pages):
            old.unlink()
    for number, page in enumerate(pages, start=1):
        figure = _sheet(page, into, f"page {number} of {len(pages)}; orange: out of focus, says the map")
        picture = io.BytesIO()
        figure.savefig(picture, format="png", bbox_inches="tight")
        write_whole(into / f"contact_sheet_{number:03d}.png", picture.getvalue())
        yield figure


def _map(path: Path, into: Path, network: DeFusionNet, size: int, maker: str, progress: bool) -> Entry:
    """Map one photograph, write map and preview, and give its line."""
    begun, source = time.perf_counter(), _source(path)
    try:
        if size:
            # Four times what the network sees: enough for the same squashed picture, up to a level or so.
            photograph, shape = read_reduced(path, 4 * size)
        else:
            photograph = read_image(path)
            shape = photograph.shape[:2]
    except (OSError, ValueError) as error:
        return Entry(path.name, problem=str(error).replace(str(path), path.name), source=source, maker=maker)
    if size:
        seen = squash(Image.fromarray(photograph), size)
        # As levels, a quarter of the memory: a map has as many pixels as its photograph.
        levels = _resized(as_levels(detect(seen, network, None)), shape)
    else:
        levels = as_levels(detect_tiles(photograph, network, progress=progress))
    preview = Image.fromarray(photograph)
    preview.thumbnail((PREVIEW, PREVIEW))
    tint = _resized(levels, preview.size[::-1]) / np.float32(255)
    _write_picture(overlay(np.asarray(preview), tint), _preview_path(into, path.name))
    _write_picture(levels, _map_path(into, path.name))
    return Entry(
        path.name,
        *shape[::-1],
        sharp_share=round(np.count_nonzero(levels < 128) / levels.size, 4),
        mean_blur=round(float(levels.mean()) / 255, 4),
        seconds=round(time.perf_counter() - begun, 2),
        source=source,
        maker=maker,
    )


def _resized(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(levels).resize(shape[::-1], Image.Resampling.BILINEAR))


def _write_picture(picture: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png" if path.suffix == ".png" else "jpeg")
    write_whole(path, content.getvalue())


def _write_table(into: Path, paths: Sequence[Path], found: dict[str, Entry], few: float) -> list[Entry]:
    """Write the lines that there are, in the order of the photographs and with today's verdict."""
    entries = [_judged(found[path.name], few) for path in paths if path.name in found]
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerows([Entry._fields, *entries])
    # With its mark, or spreadsheets take UTF-8 for something else.
    write_whole(into / TABLE, text.getvalue().encode("utf-8-sig", errors="surrogateescape"))
    return entries


def _judged(entry: Entry, few: float) -> Entry:
    return entry if entry.problem else entry._replace(verdict=verdict(entry.sharp_share, few))


def _holds(line: Entry, path: Path, into: Path, maker: str) -> bool:
    """Whether a line of an earlier run still says what a new run would."""
    made = _map_path(into, line.file).is_file() and _preview_path(into, line.file).is_file()
    return made and not line.problem and (line.source, line.maker) == (_source(path), maker)


def _source(path: Path) -> str:
    """A file's size and time of change, as text that spreadsheets leave alone; empty for no file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} bytes of {status.st_mtime_ns} ns"


def _map_path(into: Path, file: str) -> Path:
    return into / f"{file}{MAP}"


def _preview_path(into: Path, file: str) -> Path:
    return into / PREVIEWS / f"{file}.jpg"


def _entry(line: dict[str, str]) -> Entry:
    numbers = {name: kind(line[name]) if line[name] else None for name, kind in NUMBERS.items()}
    return Entry(**line | numbers)


def _sheet(page: Sequence[Entry], into: Path, title: str) -> Figure:
    """One page of previews with what the table says under each."""
    rows = -(-len(page) // COLUMNS)
    width = 2.1 * COLUMNS
    size = text_size(width)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(width, 2.2 * rows + 0.4), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, entry in zip(axes.flat, page):
        name = legible(entry.file)
        name = name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"
        if entry.problem:
            axis.text(0.5, 0.5, "no picture:\nsee the table", ha="center", va="center", fontsize=size)
            words = "problem"
        else:
            with Image.open(_preview_path(into, entry.file)) as preview:
                axis.imshow(np.asarray(preview))
            words = f"{entry.verdict}, {entry.sharp_share:.0%} sharp"
        # In a file's name a dollar is a dollar.
        axis.set_title(f"{name}\n{words}", fontsize=size, parse_math=False)
    figure.suptitle(title, fontsize=size)
    return figure
