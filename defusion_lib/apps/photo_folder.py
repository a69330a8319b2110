"""A folder of photographs in; out a map of each, a table that says which are in focus, and contact sheets.

The table is the memory of a run: a photograph is finished when its line stands there, which is written after
its map, and the table is whole at any moment. So a run that was stopped goes on where it was, and a later one
maps what is new.
"""

import csv
import errno
import io
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm.auto import tqdm

from defusion_lib.apps.verdict import LEAST, score, verdict
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.files import SUFFIXES, list_paths, read_image, read_reduced
from defusion_lib.inference import SIZE, detect
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import shown, write_whole
from defusion_lib.plots import as_levels, overlay, text_size
from defusion_lib.tiling import detect_tiles
from defusion_lib.weights import weights_hash

MAP = "_defocus.png"  # behind the whole name, so that a.jpg and a.png do not share a map
TABLE = "album.csv"
PREVIEWS = "previews"
PREVIEW = 240  # pixels, the longer side
COLUMNS, PAGE = 5, 20  # photographs on a contact sheet
# Bytes of a photograph's name in that of its map: file systems take 255, and a map is written under a name with
# more around it.
LONGEST = 255 - len(MAP) - len("..1234567890.part")
SOFTWARE = "defusion_lib"  # in the PNG files of maps: whose they are
# A cell that begins so is a formula for some spreadsheet ("'" is here because it is put before the others), and one
# that expects another separator begins a cell behind it.
FORMULA = r"(?:\A|(?<=[;|\t\r\n])){}(?=[=+\-@\t\r\n＝＋－＠'])"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no photograph's own fault


class Entry(NamedTuple):
    """A photograph's line in the table; where there is a problem, one sentence, its numbers are None.

    `file` is the photograph and `map` its map, each relative to its folder, with / between folders. `width` and
    `height` are in pixels, upright. `score` and `verdict` are those of `defusion_lib.apps.verdict` for the stored map,
    `sharp_share` is the share of pixels that are at most 0.5 in it, `mean_blur` its mean, all in [0, 1]. `source`
    tells the file from a later version, by size and time of change; `maker` is the network's hash and the size at
    which it saw the photograph.
    """

    file: str
    map: str = ""
    width: int | None = None
    height: int | None = None
    score: float | None = None
    verdict: str = ""
    sharp_share: float | None = None
    mean_blur: float | None = None
    seconds: float | None = None
    problem: str = ""
    source: str = ""
    maker: str = ""


NUMBERS = {"width": int, "height": int} | dict.fromkeys(("score", "sharp_share", "mean_blur", "seconds"), float)


class Album(NamedTuple):
    """The lines of a folder's table, and how many of them an earlier run left."""

    entries: list[Entry]
    taken_over: int


def update(
    folder: str | Path,
    network: DeFusionNet,
    size: int = SIZE,
    into: str | Path = "",
    least: float = LEAST,
    recursive: bool = False,
    progress: bool = True,
) -> Album:
    """Map the photographs in `folder` that are new, changed, unfinished or had a problem.

    With `recursive`, those in its subfolders too. The network sees a photograph squashed to `size` pixels a side, or
    at full resolution where `size` is 0. Into the folder `into` (`beside(folder)` where empty; `~` is the home folder)
    go, for a photograph FILE, the map FILE_defocus.png, as large as the photograph and white where blurred, a small picture of both in
    `previews`, and a line in album.csv; `map_names` says where names differ. Photographs are only read, and files
    with a map's name are none. A line holds for as long as the file's size and time of change, the network and
    `size` are the same and its pictures are there. What is wrong with one photograph, its file, its map's place or
    the memory that it takes, is the problem in its line. `least` is that of `verdict`. One run at a time a folder.

    Raises FileNotFoundError for a folder that is missing, empty or vanishes, ValueError where `into` is `folder` or
    holds another table, and OSError where nothing more can be written; what was finished by then stays.
    """
    folder = Path(folder).expanduser()
    into = Path(into).expanduser() if into else beside(folder)
    if into.resolve() == folder.resolve():
        raise ValueError(f"{shown(into)} holds the photographs: choose another folder for the maps.")
    paths = {path.relative_to(folder).as_posix(): path for path in photographs(folder, recursive)}
    names = map_names(list(paths))
    before, maker = read_table(into), f"{weights_hash(network)[:12]} at {size or 'full size'}"
    ours = {line.map or f"{line.file}{MAP}" for line in before.values() if not line.problem}
    found = {
        file: before[file]
        for file, path in paths.items()
        if file in before and _holds(before[file], path, names[file], into, maker)
    }
    taken_over = len(found)
    for part in into.rglob(".*.[0-9]*.part"):
        part.unlink(missing_ok=True)  # what a killed run was writing
    entries = _write_table(into, paths, found, least)
    waiting = [file for file in paths if file not in found]
    for file in tqdm(waiting, "maps", len(paths), initial=taken_over, leave=False, disable=not progress):
        line = Entry(file, names[file], source=_source(paths[file]), maker=maker)
        try:
            if names[file] not in ours:
                _check_place(into / names[file])
            found[file] = _map(line, paths[file], into, network, size, progress)
        except _OneProblem as problem:
            if not folder.is_dir():
                raise FileNotFoundError(f"{shown(folder)} is gone: bring it back, and run this again.") from problem
            # A line is one line, whatever the name.
            found[file] = line._replace(map="", problem=legible(str(problem)))
        entries = _write_table(into, paths, found, least)
    return Album(entries, taken_over)


def photographs(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the photographs in a folder, with `recursive` in its subfolders too, without maps and folders of maps.

    Raises FileNotFoundError where there are none.
    """
    paths = [path for path in _pictures(folder, recursive) if not _is_map(path)]
    if not paths:
        raise FileNotFoundError(f"{shown(folder)} holds maps only: expected photographs, so check the path.")
    return paths


def others(folder: str | Path, recursive: bool = False) -> Counter:
    """Count what a run passes over, by kind: ".cr2", "no ending", "named like a map", "hidden", "folder"."""
    folder = Path(folder)
    kinds = Counter("named like a map" for path in _pictures(folder, recursive) if _is_map(path))
    inside = folder.rglob("*") if recursive else folder.iterdir()
    for path in inside:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_dir():
            kinds["folder"] += not recursive and not hidden
        elif hidden:
            kinds["hidden"] += 1
        elif path.suffix.lower() not in SUFFIXES and not _in_maps(path, folder):
            kinds[path.suffix.lower() or "no ending"] += 1
    return +kinds


def map_names(files: Sequence[str]) -> dict[str, str]:
    """Name the map of each file, relative to the folder of maps: sub/a.jpg gives sub/a.jpg_defocus.png.

    A name that would be too long so is shortened, and gets a hash of the whole name before its ending. So does, without
    being shortened, a name that differs from an earlier one only by case or Unicode form: some file systems have one
    place for both.
    """
    names, taken = {}, set()
    for file in sorted(files):
        fits = len(os.fsencode(file.rpartition("/")[2])) <= LONGEST
        name = file if fits and _place(file) not in taken else _marked(file)
        taken.add(_place(name))
        names[file] = f"{name}{MAP}"
    return names


def beside(folder: str | Path) -> Path:
    """Where the maps of a folder go: into a folder of its name with "_defocus" behind, in the same place."""
    folder = Path(folder).resolve()
    return folder.parent / f"{folder.name}_defocus"


def legible(text: str) -> str:
    """Text with file names in it as it can be shown on a line: what is no character becomes a question mark."""
    return "".join("?" if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") else each for each in text)


def read_table(into: str | Path) -> dict[str, Entry]:
    """Read the lines of the table in a folder of maps by their files; empty where there is none.

    A spreadsheet may have saved it again, with other separators, decimal commas or order. Columns that an earlier
    version did not have are empty. Raises ValueError for a table that this module did not write.
    """
    path = Path(into) / TABLE
    if not path.is_file():
        return {}
    try:
        content = path.read_bytes()
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        # File names may hold bytes that are no text.
        text = content.decode("utf-16" if wide else "utf-8-sig", errors="strict" if wide else "surrogateescape")
        entries = [_entry(line) for line in _lines(text)]
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
    for old in into.glob("contact_sheet_*.png"):
        number = re.fullmatch(r"contact_sheet_([0-9]+)", old.stem)
        if number and int(number[1]) > len(pages):
            old.unlink()
    for number, page in enumerate(pages, start=1):
        figure = _sheet(page, into, f"page {number} of {len(pages)}; orange: out of focus, says the map")
        picture = io.BytesIO()
        figure.savefig(picture, format="png", bbox_inches="tight")
        write_whole(into / f"contact_sheet_{number:03d}.png", picture.getvalue())
        yield figure


class _OneProblem(Exception):
    """One photograph cannot be mapped; its text is a sentence."""


def _map(line: Entry, path: Path, into: Path, network: DeFusionNet, size: int, progress: bool) -> Entry:
    """Map one photograph, write map and preview, and give its line; raises _OneProblem."""
    begun = time.perf_counter()
    try:
        photograph, levels, shape = _read_and_detect(path, line.file, network, size, progress)
        preview = Image.fromarray(photograph)
        preview.thumbnail((PREVIEW, PREVIEW))
        tint = _resized(levels, preview.size[::-1]) / np.float32(255)
        _write_picture(overlay(np.asarray(preview), tint), _preview_path(into, line.map), into)
        _write_picture(levels, into / line.map, into)
        return line._replace(
            width=shape[1],
            height=shape[0],
            score=round(score(levels), 4),
            sharp_share=round(np.count_nonzero(levels < 128) / levels.size, 4),
            mean_blur=round(float(levels.mean()) / 255, 4),
            seconds=round(time.perf_counter() - begun, 2),
        )
    except (MemoryError, RuntimeError) as error:
        # torch says by words alone that the processor's memory is full.
        full = re.search("allocate memory|not enough memory", str(error))
        if not full and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
    raise _OneProblem(
        f"{line.file} takes more memory than there is: close other programs, make the photograph smaller, or map it "
        "with another size."
    )


def _read_and_detect(
    path: Path, file: str, network: DeFusionNet, size: int, progress: bool
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The photograph, which may be reduced, its map as levels, and its whole (height, width)."""
    try:
        if size:
            # Four times what the network sees: enough for the same squashed picture, up to a level or so.
            photograph, shape = read_reduced(path, 4 * size)
        else:
            photograph = read_image(path)
            shape = photograph.shape[:2]
    except (OSError, ValueError) as error:
        raise _OneProblem(str(error).replace(str(path), file)) from error
    if not size:
        return photograph, as_levels(detect_tiles(photograph, network, progress=progress)), shape
    seen = resize_to_square(Image.fromarray(photograph), size)
    # As levels, a quarter of the memory: a map has as many pixels as its photograph.
    return photograph, _resized(as_levels(detect(seen, network, None)), shape), shape


def _resized(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(levels).resize(shape[::-1], Image.Resampling.BILINEAR))


def _write_picture(picture: np.ndarray, path: Path, into: Path) -> None:
    """Write a map or a preview; raises _OneProblem where its place alone cannot be written, else OSError."""
    content, facts = io.BytesIO(), PngInfo()
    facts.add_text("Software", SOFTWARE)
    Image.fromarray(picture).save(content, "png" if path.suffix == ".png" else "jpeg", pnginfo=facts)
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        if (error.__cause__ or error).errno in FULL:
            raise
        for folder in (into, into / PREVIEWS):
            write_whole(folder / ".trial", b"")
            (folder / ".trial").unlink()
        raise _OneProblem(str(error)) from error


def _check_place(path: Path) -> None:
    """Raise _OneProblem where there is a file at a map's place that this module did not write."""
    if not os.path.lexists(path):
        return
    if path.is_file():
        with path.open("rb") as file:
            # It stands before the pixels.
            if f"Software\0{SOFTWARE}".encode() in file.read(200):
                return
    raise _OneProblem(f"{shown(path)} is there already and is no map of this program: move it, and run this again.")


def _write_table(into: Path, paths: Mapping[str, Path], found: dict[str, Entry], least: float) -> list[Entry]:
    """Write the lines that there are, in the order of the photographs and with today's verdict."""
    entries = [_judged(found[file], least) for file in paths if file in found]
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerows([Entry._fields, *(map(_guarded, entry) for entry in entries)])
    # With its mark, or spreadsheets take UTF-8 for something else.
    write_whole(into / TABLE, text.getvalue().encode("utf-8-sig", errors="surrogateescape"))
    return entries


def _guarded(value: str | float | None) -> str | float | None:
    """A value for a cell: text that would be a formula gets an apostrophe before it, as OWASP advises."""
    return re.sub(FORMULA.format(""), "'", value) if isinstance(value, str) else value


def _text(cell: str) -> str:
    return re.sub(FORMULA.format("'"), "", cell)


def _lines(text: str) -> Iterator[dict[str, str]]:
    """The lines of a table by their columns, whatever separates its cells; raises ValueError and csv.Error."""
    text = re.sub(r"\A\"?sep=.\"?\r?\n", "", text)  # Excel's own first line
    for separator in ",;\t|":
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            columns = next(rows, [])
        except csv.Error:
            continue  # another separator
        if {"file", "source", "maker"} <= set(columns) <= {*Entry._fields, ""}:
            break
    else:
        raise ValueError(f"its first line is {text.partition(chr(10))[0].strip()[:60]!r}")
    for row in filter(any, rows):
        cells = list(zip_longest(columns, row, fillvalue=""))
        if any(cell for name, cell in cells if not name):
            raise ValueError(f"a line has more cells than the first: {row[0][:60]!r}")
        yield {name: cell for name, cell in cells if name}


def _judged(entry: Entry, least: float) -> Entry:
    return entry if entry.problem else entry._replace(verdict=verdict(entry.score, least))


def _holds(line: Entry, path: Path, name: str, into: Path, maker: str) -> bool:
    """Whether a line of an earlier run still says what a new run would."""
    made = (into / name).is_file() and _preview_path(into, name).is_file()
    # Saving a table again may empty cells, or lose the point of numbers.
    shares = (line.score, line.sharp_share, line.mean_blur)
    numbers = line.width and line.height and all(share is not None and 0 <= share <= 1 for share in shares)
    same = (line.map, line.source, line.maker) == (name, _source(path), maker)
    return bool(made and numbers and same and line.seconds is not None and not line.problem)


def _source(path: Path) -> str:
    """A file's size and time of change, as text that spreadsheets leave alone; empty for no file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} bytes of {status.st_mtime_ns} ns"


def _pictures(folder: str | Path, recursive: bool) -> list[Path]:
    """The pictures of a folder, without those in folders of maps."""
    folder = Path(folder)
    paths = list_paths(folder, recursive=True) if recursive else list_paths(folder)
    return [path for path in paths if not _in_maps(path, folder)]


def _in_maps(path: Path, folder: Path) -> bool:
    """Whether a path inside of `folder` lies in a subfolder that a run wrote its maps into."""
    between = [folder / parent for parent in path.relative_to(folder).parents[:-1]]
    return any((each / TABLE).is_file() and (each / PREVIEWS).is_dir() for each in between)


def _is_map(path: Path) -> bool:
    return path.name.lower().endswith(MAP)


def _place(file: str) -> str:
    """What names have in common that name one place on a file system without case or Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file).casefold())


def _marked(file: str) -> str:
    """A file's name, as much of it as fits, with a mark of the whole of it before the ending."""
    folder, slash, name = file.rpartition("/")
    path = Path(name)
    mark = f"~{sha256(os.fsencode(file)).hexdigest()[:12]}{path.suffix}"
    stem = os.fsencode(path.stem)[: LONGEST - len(mark)].decode(errors="ignore")
    return f"{folder}{slash}{stem}{mark}"


def _preview_path(into: Path, name: str) -> Path:
    return into / PREVIEWS / f"{name.removesuffix(MAP)}.jpg"


def _entry(line: dict[str, str]) -> Entry:
    # Spreadsheets write numbers with the comma of their country.
    numbers = {
        name: kind(line[name].replace(",", ".")) if line.get(name) else None for name, kind in NUMBERS.items()
    }
    return Entry(**{name: _text(cell) for name, cell in line.items()} | numbers)


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
            with Image.open(_preview_path(into, entry.map)) as preview:
                axis.imshow(np.asarray(preview))
            words = f"{entry.verdict}, {entry.score:.2f}"
        # In a file's name a dollar is a dollar.
        axis.set_title(f"{name}\n{words}", fontsize=size, parse_math=False)
    figure.suptitle(title, fontsize=size)
    return figure
