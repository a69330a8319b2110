"""The table of a folder of maps: one row per photo, in a CSV file that spreadsheets open and save.

During a run each finished row is appended to a journal beside the table, one line of JSON. The table is written at the
begin and at the end of a run, which also removes the journal; a run that follows a killed one reads both. So the bytes
written for the table grow linearly with the number of photos.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from defusion_lib.apps.photo_folder.files import STEM, source_stamp
from defusion_lib.paths import display_path, write_atomically

TABLE = f"{STEM}.csv"
PLACE = f"{STEM}.json"
# Some spreadsheets read a cell with such a beginning as a formula ("'" is listed because it is written before the
# others). A spreadsheet that expects another separator also starts a cell after that separator.
FORMULA = r"(?:\A|(?<=[;|\t\r\n])){}(?=[=+\-@\t\r\n＝＋－＠'])"


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

    def is_finished(self, path: Path, name: str, maker: str) -> bool:
        """Return whether the photo at `path`, whose map is `name`, would get the same row again."""
        # A spreadsheet that saves the table may empty cells or drop decimal points.
        shares = (self.score, self.sharp_share, self.mean_blur)
        numbers = self.width and self.height and all(share is not None and 0 <= share <= 1 for share in shares)
        same = (self.map, self.source, self.maker) == (name, source_stamp(path), maker)
        return bool(numbers and same and self.seconds is not None and not self.problem)


NUMBERS = {"width": int, "height": int} | dict.fromkeys(("score", "sharp_share", "mean_blur", "seconds"), float)


def read_table(into: str | Path, stem: str = STEM) -> dict[str, Row]:
    """Read the table in a folder of maps, {file: row}, with the rows that a killed run left in the journal.

    Empty if there is neither. Tables that a spreadsheet saved again, with other separators, decimal commas or order,
    are accepted. Columns that an earlier version did not have are empty. Raises ValueError for a table that this module
    did not write.
    """
    path = Path(into) / f"{stem}.csv"
    # The journal first: a run that ends meanwhile moves its rows to the table.
    journal = list(_read_journal(_journal_path(Path(into), stem)))
    rows = _read_csv(path) if path.is_file() else []
    return {row.file: row for row in [*rows, *journal]}


def write_table(into: Path, rows: Iterable[Row], stem: str = STEM) -> None:
    """Write a table, and remove its journal."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(Row._fields)
    table.writerows(map(_escape_formula, rows))
    # With a byte order mark, because spreadsheets misread UTF-8 without it.
    write_atomically(into / f"{stem}.csv", text.getvalue().encode("utf-8-sig", errors="surrogateescape"))
    _journal_path(into, stem).unlink(missing_ok=True)


def check_place(into: Path) -> None:
    """Raise ValueError if `into` has an album.json that this program did not write."""
    if (into / PLACE).exists() and _read_place(into) is None:
        raise ValueError(
            f"{display_path(into / PLACE)} is not of this program: move it, or choose another folder for the maps."
        )


def write_place(into: Path, folder: Path) -> None:
    """Write beside the table which folder its photos are in, as the way there, so that both may be moved together."""
    try:
        way = os.path.relpath(folder.resolve(), into.resolve())
    except ValueError:  # on another drive of Windows
        way = str(folder.resolve())
    write_atomically(into / PLACE, json.dumps({"photos": way}).encode())


def folder_of_photos(into: Path) -> Path | None:
    """Return the folder that the photos of a table are in, or None where it was not written."""
    way = _read_place(into)
    return None if way is None else Path(os.path.normpath(into.resolve() / way))


def _read_place(into: Path) -> str | None:
    try:
        state = json.loads((into / PLACE).read_bytes())
    except (OSError, ValueError):
        return None
    return state["photos"] if isinstance(state, dict) and state.keys() == {"photos"} else None


class Journal:
    """Append finished rows to the journal of a table: each is one write, so a killed run loses at most that row."""

    def __init__(self, into: Path, stem: str = STEM):
        self._path = _journal_path(into, stem)

    def append(self, row: Row) -> None:
        """Append one row; raises OSError with one sentence where that is not possible."""
        line = (json.dumps(row) + "\n").encode()
        try:
            with open(self._path, "ab", buffering=0) as file:
                written = file.write(line)
        except OSError as error:
            raise OSError(
                f"Cannot write {display_path(self._path)} ({error.strerror}): make room, or choose another folder."
            ) from error
        if written != len(line):
            raise OSError(f"Cannot write {display_path(self._path)} (the disk is full): make room, and run this again.")


def _journal_path(into: Path, stem: str) -> Path:
    return into / f"{stem}.journal"


def _read_journal(path: Path) -> Iterator[Row]:
    """Read the rows of a journal; the last line of a killed run may be cut off."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield Row(*json.loads(line))
        except (ValueError, TypeError):
            continue


def _read_csv(path: Path) -> list[Row]:
    try:
        content = path.read_bytes()
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        # File names may contain bytes that are not valid text.
        text = content.decode("utf-16" if wide else "utf-8-sig", errors="strict" if wide else "surrogateescape")
        return [_parse_row(row) for row in _read_rows(text)]
    except (ValueError, TypeError, csv.Error) as error:
        columns = ", ".join(Row._fields)
        raise ValueError(
            f"{display_path(path)} is not a table of maps ({error}), expected the columns {columns}: move it, or "
            "choose another folder for the maps."
        ) from error


def _escape_formula(row: Row) -> list[str | float | None]:
    """Put an apostrophe before text that a spreadsheet would read as a formula, as OWASP advises."""
    return [re.sub(FORMULA.format(""), "'", cell) if isinstance(cell, str) else cell for cell in row]


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


def _parse_row(row: dict[str, str]) -> Row:
    # Some spreadsheets write decimal commas.
    numbers = {name: kind(row[name].replace(",", ".")) if row.get(name) else None for name, kind in NUMBERS.items()}
    return Row(**{name: _unescape_formula(cell) for name, cell in row.items()} | numbers)
