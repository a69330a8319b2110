"""Map a folder of photos: one defocus map per photo, a table with verdicts, and contact sheets.

The table records progress: a photo's row is written after its map, and every write is atomic. So an interrupted run
resumes, and a later run maps only new photos.
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

from defusion_lib.apps.verdict import MIN_SCORE, score, verdict
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.files import SUFFIXES, list_paths, read_image, read_reduced
from defusion_lib.inference import SIZE, detect
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import shown, write_whole
from defusion_lib.plots import as_levels, overlay, text_size
from defusion_lib.progress import tqdm
from defusion_lib.tiling import detect_tiles
from defusion_lib.weights import weights_hash

MAP = "_defocus.png"  # appended to the name with its ending, so that a.jpg and a.png have different maps
TABLE = "album.csv"
PREVIEWS = "previews"
PREVIEW = 240  # pixels, the longer side
COLUMNS, PAGE = 5, 20  # photos per row and per contact sheet
# Bytes of a photo's name in the name of its map: file systems allow 255, and a map is first written under a longer
# temporary name.
MAX_NAME_BYTES = 255 - len(MAP) - len("..1234567890.part")
SOFTWARE = "defusion_lib"  # in the PNG files of maps, to recognise them
# Some spreadsheets read a cell with such a beginning as a formula ("'" is listed because it is written before the
# others). A spreadsheet that expects another separator also starts a cell after that separator.
FORMULA = r"(?:\A|(?<=[;|\t\r\n])){}(?=[=+\-@\t\r\n＝＋－＠'])"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # these concern all photos


class Row(NamedTuple):
    """A photo's row in the table; its numbers are None if there is a problem.

    file, map:     the photo and its map, relative to their folders, with / between folders
    width, height: of the photo in pixels, upright
    score:         of the stored map, in [0, 1], see `defusion_lib.apps.verdict`
    verdict:       "in focus" or "out of focus"
    sharp_share:   the share of pixels of the map that are at most 0.5
    mean_blur:     the mean of the map, in [0, 1]
    seconds:       to read, map and write
    problem:       one sentence, empty if there is none
    source:        size and modification time of the file, to detect changes
    maker:         the network's hash and its input size
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


class FolderReport(NamedTuple):
    """The rows of a folder's table, and how many of them were reused from an earlier run."""

    rows: list[Row]
    reused: int


def map_folder(
    folder: str | Path,
    network: DeFusionNet,
    size: int = SIZE,
    into: str | Path = "",
    min_score: float = MIN_SCORE,
    recursive: bool = False,
    progress: bool = True,
) -> FolderReport:
    """Map the photos in `folder` that are new, changed, unfinished or had a problem.

    folder:    of the photos, which are only read; `~` is the home folder
    size:      the network's input is resized to this many pixels a side; 0 for full resolution, in tiles
    into:      the folder for the results; empty for `default_folder(folder)`
    min_score: see `verdict`
    recursive: whether to map the photos in subfolders too

    For a photo FILE, writes the map FILE_defocus.png (as large as the photo, white where blurred; `map_names` lists
    exceptions), a small picture of both in `previews`, and a row in album.csv. Files named like a map are skipped. A
    row is reused if the file's size and modification time, the network and `size` are unchanged and its pictures
    exist. An error that concerns one photo is the `problem` in its row. Run it once at a time per folder.

    Raises FileNotFoundError if the folder is missing, empty or removed during the run, ValueError if `into` is
    `folder` or has another table, and OSError if nothing more can be written; finished rows remain.
    """
    folder = Path(folder).expanduser()
    into = Path(into).expanduser() if into else default_folder(folder)
    if into.resolve() == folder.resolve():
        raise ValueError(f"{shown(into)} contains the photos: choose another folder for the maps.")
    paths = {path.relative_to(folder).as_posix(): path for path in list_photos(folder, recursive)}
    names = map_names(list(paths))
    before, maker = read_table(into), f"{weights_hash(network)[:12]} at {size or 'full size'}"
    ours = {row.map or f"{row.file}{MAP}" for row in before.values() if not row.problem}
    found = {
        file: before[file]
        for file, path in paths.items()
        if file in before and _is_current(before[file], path, names[file], into, maker)
    }
    reused = len(found)
    for part in into.rglob(".*.[0-9]*.part"):
        part.unlink(missing_ok=True)  # the unfinished file of a killed run
    rows = _write_table(into, paths, found, min_score)
    waiting = [file for file in paths if file not in found]
    for file in tqdm(waiting, "maps", len(paths), initial=reused, leave=False, disable=not progress):
        row = Row(file, names[file], source=_source(paths[file]), maker=maker)
        try:
            if names[file] not in ours:
                _check_place(into / names[file])
            found[file] = _map(row, paths[file], into, network, size, progress)
        except _OneProblem as problem:
            if not folder.is_dir():
                raise FileNotFoundError(f"{shown(folder)} was removed: restore it, and run this again.") from problem
            # Names may contain line breaks, rows may not.
            found[file] = row._replace(map="", problem=printable(str(problem)))
        rows = _write_table(into, paths, found, min_score)
    return FolderReport(rows, reused)


def list_photos(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the photos in a folder, with `recursive` in its subfolders too, without maps and folders of maps.

    Raises FileNotFoundError if there are none.
    """
    paths = [path for path in _pictures(folder, recursive) if not _is_map(path)]
    if not paths:
        raise FileNotFoundError(f"{shown(folder)} contains only maps, expected photos: check the path.")
    return paths


def count_skipped(folder: str | Path, recursive: bool = False) -> Counter:
    """Count the files that a run skips, by kind: ".cr2", "no ending", "named like a map", "hidden", "folder"."""
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

    A name that would be too long is shortened, with a hash of the full name before its ending. A name that differs
    from an earlier one only by case or Unicode form gets such a hash too: some file systems do not distinguish them.
    """
    names, taken = {}, set()
    for file in sorted(files):
        fits = len(os.fsencode(file.rpartition("/")[2])) <= MAX_NAME_BYTES
        name = file if fits and _same_place_key(file) not in taken else _shortened(file)
        taken.add(_same_place_key(name))
        names[file] = f"{name}{MAP}"
    return names


def default_folder(folder: str | Path) -> Path:
    """Return the default folder for the maps: beside `folder`, with "_defocus" appended to its name."""
    folder = Path(folder).resolve()
    return folder.parent / f"{folder.name}_defocus"


def printable(text: str) -> str:
    """Replace every character that cannot be shown on one line by a question mark."""
    return "".join("?" if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") else each for each in text)


def read_table(into: str | Path) -> dict[str, Row]:
    """Read the table in a folder of maps, {file: row}; empty if there is none.

    Tables that a spreadsheet saved again, with other separators, decimal commas or order, are accepted. Columns that
    an earlier version did not have are empty. Raises ValueError for a table that this module did not write.
    """
    path = Path(into) / TABLE
    if not path.is_file():
        return {}
    try:
        content = path.read_bytes()
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        # File names may contain bytes that are not valid text.
        text = content.decode("utf-16" if wide else "utf-8-sig", errors="strict" if wide else "surrogateescape")
        rows = [_parse_row(row) for row in _read_rows(text)]
    except (ValueError, TypeError, csv.Error) as error:
        columns = ", ".join(Row._fields)
        raise ValueError(
            f"{shown(path)} is not a table of maps ({error}), expected the columns {columns}: move it, or choose "
            "another folder for the maps."
        ) from error
    return {row.file: row for row in rows}


def contact_sheets(rows: Sequence[Row], into: str | Path) -> Iterator[Figure]:
    """Draw all photos with their maps and verdicts, 20 per page, as contact_sheet_001.png, ... in `into`.

    Each page is drawn and written when the iterator reaches it; the caller closes the figure. Pages of an earlier run
    with more photos are removed.
    """
    into = Path(into)
    pages = [rows[first : first + PAGE] for first in range(0, len(rows), PAGE)]
    for old in into.glob("contact_sheet_*.png"):
        number = re.fullmatch(r"contact_sheet_([0-9]+)", old.stem)
        if number and int(number[1]) > len(pages):
            old.unlink()
    for number, page in enumerate(pages, start=1):
        figure = _sheet(page, into, f"page {number} of {len(pages)}; orange: out of focus according to the map")
        picture = io.BytesIO()
        figure.savefig(picture, format="png", bbox_inches="tight")
        write_whole(into / f"contact_sheet_{number:03d}.png", picture.getvalue())
        yield figure


class _OneProblem(Exception):
    """An error that concerns one photo, as one sentence."""


def _map(row: Row, path: Path, into: Path, network: DeFusionNet, size: int, progress: bool) -> Row:
    """Map one photo, write map and preview, and return its row; raises _OneProblem."""
    begun = time.perf_counter()
    try:
        photograph, levels, shape = _read_and_detect(path, row.file, network, size, progress)
        preview = Image.fromarray(photograph)
        preview.thumbnail((PREVIEW, PREVIEW))
        tint = _resized(levels, preview.size[::-1]) / np.float32(255)
        _write_picture(overlay(np.asarray(preview), tint), _preview_path(into, row.map), into)
        _write_picture(levels, into / row.map, into)
        return row._replace(
            width=shape[1],
            height=shape[0],
            score=round(score(levels), 4),
            sharp_share=round(np.count_nonzero(levels < 128) / levels.size, 4),
            mean_blur=round(float(levels.mean()) / 255, 4),
            seconds=round(time.perf_counter() - begun, 2),
        )
    except (MemoryError, RuntimeError) as error:
        # Only the message of torch's error tells that the CPU's memory is full.
        full = re.search("allocate memory|not enough memory", str(error))
        if not full and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
    raise _OneProblem(
        f"{row.file} needs more memory than is available: close other programs, make the photo smaller, or map it "
        "with another size."
    )


def _read_and_detect(
    path: Path, file: str, network: DeFusionNet, size: int, progress: bool
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return the photo, which may be reduced, its map as levels, and the photo's full (height, width)."""
    try:
        if size:
            # Four times the network's input size: the resized image differs by about one level at most.
            photograph, shape = read_reduced(path, 4 * size)
        else:
            photograph = read_image(path)
            shape = photograph.shape[:2]
    except (OSError, ValueError) as error:
        raise _OneProblem(str(error).replace(str(path), file)) from error
    if not size:
        return photograph, as_levels(detect_tiles(photograph, network, progress=progress)), shape
    seen = resize_to_square(Image.fromarray(photograph), size)
    # Levels need a quarter of the memory: a map has as many pixels as its photo.
    return photograph, _resized(as_levels(detect(seen, network, None)), shape), shape


def _resized(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(levels).resize(shape[::-1], Image.Resampling.BILINEAR))


def _write_picture(picture: np.ndarray, path: Path, into: Path) -> None:
    """Write a map or a preview; raises _OneProblem if only this path cannot be written, else OSError."""
    content, facts = io.BytesIO(), PngInfo()
    facts.add_text("Software", SOFTWARE)
    Image.fromarray(picture).save(content, "png" if path.suffix == ".png" else "jpeg", pnginfo=facts)
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        if (error.__cause__ or error).errno in DISK_ERRORS:
            raise
        for folder in (into, into / PREVIEWS):
            write_whole(folder / ".trial", b"")
            (folder / ".trial").unlink()
        raise _OneProblem(str(error)) from error


def _check_place(path: Path) -> None:
    """Raise _OneProblem if the path of a map has a file that this module did not write."""
    if not os.path.lexists(path):
        return
    if path.is_file():
        with path.open("rb") as file:
            # The text is stored before the pixels.
            if f"Software\0{SOFTWARE}".encode() in file.read(200):
                return
    raise _OneProblem(f"{shown(path)} exists already and is not a map of this program: move it, and run this again.")


def _write_table(into: Path, paths: Mapping[str, Path], found: dict[str, Row], min_score: float) -> list[Row]:
    """Write the finished rows in the order of the photos, with the verdicts at `min_score`."""
    rows = [_with_verdict(found[file], min_score) for file in paths if file in found]
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerows([Row._fields, *(map(_escape_formula, row) for row in rows)])
    # With a byte order mark, because spreadsheets misread UTF-8 without it.
    write_whole(into / TABLE, text.getvalue().encode("utf-8-sig", errors="surrogateescape"))
    return rows


def _escape_formula(value: str | float | None) -> str | float | None:
    """Put an apostrophe before text that a spreadsheet would read as a formula, as OWASP advises."""
    return re.sub(FORMULA.format(""), "'", value) if isinstance(value, str) else value


def _unescape_formula(cell: str) -> str:
    return re.sub(FORMULA.format("'"), "", cell)


def _read_rows(text: str) -> Iterator[dict[str, str]]:
    """Read the rows of a table as {column: cell}, with any usual separator; raises ValueError and csv.Error."""
    text = re.sub(r"\A\"?sep=.\"?\r?\n", "", text)  # Excel's own first line
    for separator in ",;\t|":
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            columns = next(rows, [])
        except csv.Error:
            continue  # try the next separator
        if {"file", "source", "maker"} <= set(columns) <= {*Row._fields, ""}:
            break
    else:
        raise ValueError(f"its first line is {text.partition(chr(10))[0].strip()[:60]!r}")
    for row in filter(any, rows):
        cells = list(zip_longest(columns, row, fillvalue=""))
        if any(cell for name, cell in cells if not name):
            raise ValueError(f"a line has more cells than the first: {row[0][:60]!r}")
        yield {name: cell for name, cell in cells if name}


def _with_verdict(row: Row, min_score: float) -> Row:
    return row if row.problem else row._replace(verdict=verdict(row.score, min_score))


def _is_current(row: Row, path: Path, name: str, into: Path, maker: str) -> bool:
    """Return whether a new run would write the same row again."""
    made = (into / name).is_file() and _preview_path(into, name).is_file()
    # A spreadsheet that saves the table may empty cells or drop decimal points.
    shares = (row.score, row.sharp_share, row.mean_blur)
    numbers = row.width and row.height and all(share is not None and 0 <= share <= 1 for share in shares)
    same = (row.map, row.source, row.maker) == (name, _source(path), maker)
    return bool(made and numbers and same and row.seconds is not None and not row.problem)


def _source(path: Path) -> str:
    """Return a file's size and modification time as text that spreadsheets do not change; empty if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} bytes of {status.st_mtime_ns} ns"


def _pictures(folder: str | Path, recursive: bool) -> list[Path]:
    """List the pictures of a folder, without those in folders of maps."""
    folder = Path(folder)
    paths = list_paths(folder, recursive=True) if recursive else list_paths(folder)
    return [path for path in paths if not _in_maps(path, folder)]


def _in_maps(path: Path, folder: Path) -> bool:
    """Return whether a path inside `folder` lies in a folder of maps."""
    parents = [folder / parent for parent in path.relative_to(folder).parents[:-1]]
    return any((each / TABLE).is_file() and (each / PREVIEWS).is_dir() for each in parents)


def _is_map(path: Path) -> bool:
    return path.name.lower().endswith(MAP)


def _same_place_key(file: str) -> str:
    """Return a key that is equal for names which some file systems do not distinguish (case, Unicode form)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file).casefold())


def _shortened(file: str) -> str:
    """Shorten a file's name to `MAX_NAME_BYTES`, with a hash of the full name before the ending."""
    folder, slash, name = file.rpartition("/")
    path = Path(name)
    mark = f"~{sha256(os.fsencode(file)).hexdigest()[:12]}{path.suffix}"
    stem = os.fsencode(path.stem)[: MAX_NAME_BYTES - len(mark)].decode(errors="ignore")
    return f"{folder}{slash}{stem}{mark}"


def _preview_path(into: Path, name: str) -> Path:
    return into / PREVIEWS / f"{name.removesuffix(MAP)}.jpg"


def _parse_row(row: dict[str, str]) -> Row:
    # Some spreadsheets write decimal commas.
    numbers = {name: kind(row[name].replace(",", ".")) if row.get(name) else None for name, kind in NUMBERS.items()}
    return Row(**{name: _unescape_formula(cell) for name, cell in row.items()} | numbers)


def _sheet(page: Sequence[Row], into: Path, title: str) -> Figure:
    """Draw one page of previews with name, verdict and score above each."""
    rows = -(-len(page) // COLUMNS)
    width = 2.1 * COLUMNS
    size = text_size(width)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(width, 2.2 * rows + 0.4), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, page):
        name = printable(row.file)
        name = name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"
        if row.problem:
            axis.text(0.5, 0.5, "no picture:\nsee the table", ha="center", va="center", fontsize=size)
            words = "problem"
        else:
            with Image.open(_preview_path(into, row.map)) as preview:
                axis.imshow(np.asarray(preview))
            words = f"{row.verdict}, {row.score:.2f}"
        # A dollar sign in a file name is no formula.
        axis.set_title(f"{name}\n{words}", fontsize=size, parse_math=False)
    figure.suptitle(title, fontsize=size)
    return figure
