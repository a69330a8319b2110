"""Split a folder over several runs, which may work at the same time on one folder of maps, and join their tables.

Shard i of n maps the photos whose name has the remainder i - 1: a hash of the name decides, so that a photo stays in
its shard when others come and go. Each shard has a table, album-i-of-n.csv, and beside it the list of its photos,
album-i-of-n.json, from which `merge` sees what is missing.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from defusion_lib.apps.photo_folder.files import STEM
from defusion_lib.apps.photo_folder.mapping import is_stored
from defusion_lib.apps.photo_folder.table import Row, read_table
from defusion_lib.data import first_few
from defusion_lib.paths import display_path, write_atomically


class Shard(NamedTuple):
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    def __str__(self):
        return f"{self.number}/{self.count}"

    @property
    def stem(self) -> str:
        """The name of the shard's table and of its list, without ending."""
        return f"{STEM}-{self.number}-of-{self.count}"

    def holds(self, file: str) -> bool:
        """Return whether a photo belongs to this shard."""
        return int(sha256(os.fsencode(file)).hexdigest(), 16) % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """Read "3/16"; raises ValueError for anything else."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(*map(int, match.groups())) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise ValueError(f"The shard is {text!r}: expected a part and their number, such as 3/16 for the third of 16.")
    return shard


def write_list(into: Path, shard: Shard, files: Sequence[str]) -> None:
    """Write which of the files of a folder, in order, belong to a shard."""
    state = {
        "listed": sha256("\n".join(map(ascii, files)).encode()).hexdigest()[:16],
        "photos": {file: place for place, file in enumerate(files) if shard.holds(file)},
    }
    write_atomically(into / f"{shard.stem}.json", json.dumps(state).encode())


def read_shards(into: Path) -> list[Row]:
    """Return the rows of all shards in the order of the photos.

    Raises ValueError that names the shards which are missing, unfinished, or saw other photos than the last one.
    """
    lists = {shard: path for path in into.glob(f"{STEM}-*-of-*.json") if (shard := _shard_of(path))}
    counts = sorted({shard.count for shard in lists})
    if len(counts) != 1:
        found = f"shards of {' and of '.join(map(str, counts))}" if counts else "no shards"
        raise ValueError(
            f"{display_path(into)} has {found}, expected those of one run: "
            + (
                f"remove the others' files ({' or '.join(f'{STEM}-*-of-{count}.*' for count in counts)})."
                if counts
                else "map with --shard first, and give --into the same folder."
            )
        )
    shards = [Shard(number, counts[0]) for number in range(1, counts[0] + 1)]
    states = {shard: _read_list(lists[shard]) for shard in shards if shard in lists}
    newest = states[max(lists, key=lambda shard: lists[shard].stat().st_mtime_ns)]
    rows, wanting = {}, []
    for shard in shards:
        state = states.get(shard)
        if state is None:
            wanting.append(f"{shard} (not begun)")
            continue
        found = {file: row for file, row in read_table(into, shard.stem).items() if row.problem or is_stored(row, into)}
        done = {place: found[file] for file, place in state["photos"].items() if file in found}
        if state["listed"] != newest["listed"]:
            wanting.append(f"{shard} (the photos have changed since)")
        elif len(done) < len(state["photos"]):
            wanting.append(f"{shard} ({len(done)} of {len(state['photos'])} photos)")
        rows |= done
    if wanting:
        raise ValueError(
            f"{display_path(into)} is not complete: run again shard {first_few(wanting, 20)}. A shard that is run "
            "again maps only what is missing."
        )
    return [rows[place] for place in sorted(rows)]


def _shard_of(path: Path) -> Shard | None:
    match = re.fullmatch(rf"{STEM}-([0-9]+)-of-([0-9]+)", path.stem)
    return Shard(*map(int, match.groups())) if match else None


def _read_list(path: Path) -> Mapping:
    try:
        state = json.loads(path.read_bytes())
        if {"listed", "photos"} <= state.keys():
            return state
    except (ValueError, AttributeError):
        pass
    raise ValueError(f"{display_path(path)} is not the list of a shard's photos: run that shard again.")
