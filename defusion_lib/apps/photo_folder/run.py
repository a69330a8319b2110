"""Map many photos, resume an interrupted run, and join the shards of a folder.

The journal records progress (see `table`): a photo's row is written after its map, and every write is atomic. So an
interrupted run resumes, and a later run maps only new photos.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from defusion_lib.apps.photo_folder.files import (
    MAP,
    PREVIEWS,
    STEM,
    default_folder,
    has_files,
    list_photos,
    map_names,
    printable,
    source_stamp,
)
from defusion_lib.apps.photo_folder.gallery import check_gallery, write_gallery
from defusion_lib.apps.photo_folder.mapping import (
    Job,
    OneProblem,
    ReadPhoto,
    is_stored,
    predict,
    read_photo,
    write_map,
)
from defusion_lib.apps.photo_folder.shards import Shard, read_shards, write_list
from defusion_lib.apps.photo_folder.sheets import check_sheets, write_sheets
from defusion_lib.apps.photo_folder.table import (
    PLACE,
    Journal,
    Row,
    check_place,
    folder_of_photos,
    read_table,
    write_place,
    write_table,
)
from defusion_lib.apps.verdict import MIN_SCORE, verdict
from defusion_lib.inference import SIZE
from defusion_lib.lock import locked
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import check_writable, display_path
from defusion_lib.progress import tqdm
from defusion_lib.weights import weights_hash

GPU_BATCH = 8  # photos, unless another number is asked for
MOST_JOBS = 8  # threads that read and write, unless more are asked for
# A CPU maps several photos at once, up to this input size in pixels: each takes some 400 MB at 320 pixels.
SIDE_BY_SIDE = 384
LANES = 4
Predicted = tuple[list[np.ndarray | OneProblem], float]  # the maps of a batch, and the seconds of each


class FolderReport(NamedTuple):
    """The rows of a table, how many of them were reused from an earlier run, and the folders of photos and maps.

    `pages` are the gallery and the contact sheets, where they were asked for.
    """

    rows: list[Row]
    reused: int
    folder: Path
    into: Path
    pages: list[Path] = []


def map_folder(
    photos: str | Path | Sequence[str | Path],
    network: DeFusionNet,
    size: int = SIZE,
    into: str | Path = "",
    min_score: float = MIN_SCORE,
    recursive: bool = False,
    progress: bool = True,
    *,
    batch: int = 0,
    jobs: int = 0,
    shard: Shard | None = None,
    floats: bool = False,
    refined: bool = False,
    pages: bool = False,
) -> FolderReport:
    """Map the photos that are new, changed, unfinished or had a problem.

    photos:    their folder, or several files; they are only read, and `~` is the home folder
    size:      the network's input is resized to this many pixels a side; 0 for full resolution, in tiles
    into:      the folder for the results; empty for `default_folder` of the (common) folder of the photos
    min_score: see `verdict`
    recursive: whether to map the photos in subfolders too
    batch:     photos that the network sees at once; 0 for 1, and `GPU_BATCH` on a GPU; ignored for full resolution
    jobs:      threads that read and write beside the network; 0 for one per core, at most `MOST_JOBS`
    shard:     map only this part of the photos, see `shards`
    floats:    whether to write each map as FILE_defocus.npy too, float16 (H, W) in [0, 1]
    refined:   whether the borders of maps follow the photo's edges (`refinement.refine`), instead of being smooth
    pages:     whether to write gallery and contact sheets too; not for a shard

    For a photo FILE, writes the map FILE_defocus.png (as large as the photo, white where blurred; `map_names` lists
    exceptions), a small picture of both in `previews`, and a row in album.csv. Files named like a map are skipped. A
    row is reused if the file's size and modification time, the network, `size` and `refined` are unchanged, its
    pictures exist, and the map is the one that the row describes. An error that concerns one photo is the `problem` in
    its row, and so is a subfolder that cannot be listed. Given several files, the rows of other photos stay in the
    table.

    A CPU maps several photos at once, each with its share of torch's threads, unless `batch` or a large `size` is
    given: one per thread that torch has, at most `LANES`.

    Memory holds one row per photo, and at most two photos for each of the `jobs` and one for each that the network
    maps. Raises FileNotFoundError if the folder is missing, empty or removed during the run, ValueError if `into` is
    `folder`, has maps of another folder, or a table, gallery or contact sheet of something else, BlockingIOError if
    another run uses `into`, and OSError if nothing more can be written; finished rows remain.
    """
    folder, paths = _find_photos(photos, recursive)
    into = Path(into).expanduser() if into else default_folder(folder)
    folder, paths = _seen_from(folder_of_photos(into), folder, paths, isinstance(photos, str | Path))
    if into.resolve() == folder.resolve():
        raise ValueError(f"{display_path(into)} contains the photos: choose another folder for the maps.")
    _check_pages(into)
    files = {file: path for file, path in paths.items() if shard is None or shard.holds(file)}
    names, stem = map_names(list(paths)), shard.stem if shard else STEM
    maker = f"{weights_hash(network)[:12]} at {size or 'full size'}{', refined' if refined else ''}"
    on_gpu = next(network.parameters()).is_cuda
    job = Job(network, size, into, (batch or (GPU_BATCH if on_gpu else 1)) if size else 1, floats, refined, progress)
    several = not batch and not on_gpu and 0 < size <= SIDE_BY_SIDE
    lanes = min(LANES, torch.get_num_threads()) if several else 1
    with _in_use(into, shard):
        # The table of the folder counts for a shard too: it may be from before, or from another number of shards.
        before = read_table(into) | read_table(into, stem)
        done = {
            file: before[file]
            for file, path in files.items()
            if file in before
            and before[file].is_finished(path, names[file], maker)
            and is_stored(before[file], into, floats)
        }
        reused = len(done)
        kept = {} if isinstance(photos, str | Path) or shard else _others(before, files, job)
        ours = {row.map or f"{row.file}{MAP}" for row in before.values() if not row.problem}
        _take_place(into, folder, before)

        def save() -> list[Row]:
            rows = [*kept.values(), *(done[file] for file in files if file in done)]
            rows = [_with_verdict(row, min_score) for row in rows]
            write_table(into, rows, stem)
            return rows

        if shard is None:
            _remove_unfinished(into, files)
        else:
            write_list(into, shard, list(paths))
        save()
        journal = Journal(into, stem)
        bar = tqdm(total=len(files), desc="maps", initial=reused, leave=False, disable=not progress)

        def finish(row: Row) -> None:
            if row.problem and not folder.is_dir():
                raise FileNotFoundError(f"{display_path(folder)} was removed: restore it, and run this again.")
            done[row.file] = row
            journal.append(row)
            bar.update()

        waiting = [file for file in files if file not in done]
        tasks = (
            (Row(file, names[file], source=source_stamp(files[file]), maker=maker), files[file], names[file] in ours)
            for file in waiting
        )
        try:
            _map_all(tasks, job, jobs or min(MOST_JOBS, _cores()), lanes, finish)
        finally:
            bar.close()
            rows = save()
        written = _write_pages(rows, folder, into, progress) if pages and shard is None else []
    return FolderReport(rows, reused + len(kept), folder, into, written)


def merge(into: str | Path, min_score: float = MIN_SCORE, pages: bool = False) -> FolderReport:
    """Join the tables of all shards in a folder of maps as album.csv, and write gallery and contact sheets (`pages`).

    Raises ValueError that names the shards which are missing or unfinished, and BlockingIOError if a shard runs.
    """
    into = Path(into).expanduser()
    if not into.is_dir():
        raise FileNotFoundError(f"{display_path(into)} is not a folder: expected a folder of maps, so check the path.")
    _check_pages(into)
    with _in_use(into, None):
        rows = read_shards(into)
        folder = folder_of_photos(into)
        if folder is None:
            raise ValueError(f"{display_path(into / PLACE)} is missing: run one of the shards again, which writes it.")
        rows = [_with_verdict(row, min_score) for row in rows]
        _remove_unfinished(into, [row.file for row in rows])
        write_table(into, rows)
        written = _write_pages(rows, folder, into) if pages else []
    return FolderReport(rows, sum(not row.problem for row in rows), folder, into, written)


def _write_pages(rows: list[Row], folder: Path, into: Path, progress: bool = True) -> list[Path]:
    """Write the gallery and the contact sheets, while no other run may replace them."""
    return [write_gallery(rows, folder, into), *write_sheets(rows, into, progress)]


def _map_all(
    tasks: Iterable[tuple[Row, Path, bool]], job: Job, jobs: int, lanes: int, finish: Callable[[Row], None]
) -> None:
    """Map photos, with `jobs` threads that read and write beside the network; `finish` takes each finished row.

    A task is the row to complete, the path of the photo, and whether an earlier run wrote the map. The network maps
    `lanes` batches at a time, each with its share of torch's threads.
    """
    tasks = iter(tasks)
    reading: deque[tuple[Row, Future[ReadPhoto]]] = deque()
    mapping: deque[tuple[list[ReadPhoto], Future[Predicted]]] = deque()
    writing: deque[tuple[Row, Future[Row]]] = deque()
    # Full resolution: the network works for minutes on a photo, and two of them need much memory.
    behind = job.batch + jobs if job.size else 0
    if job.refined:
        behind //= 2  # each waits with its photo, which is many times larger than what the network sees
    ahead = behind or 1
    threads = torch.get_num_threads()

    def map_batch(photos: list[ReadPhoto]) -> None:
        if lanes > 1:
            future = network.submit(_timed, photos, job)
        else:  # in this thread, which Ctrl-C can interrupt
            future = Future()
            future.set_result(_timed(photos, job))
        mapping.append((photos, future))
        while len(mapping) > (lanes if lanes > 1 else 0):
            write()

    def write() -> None:
        _await(mapping[0][1])  # before it leaves the queue, whose rest is finished after an interrupt
        photos, future = mapping.popleft()
        maps, seconds = future.result()
        if lanes > 1 and any(isinstance(found, OneProblem) for found in maps):
            # A photo that needs too much memory beside others may be mapped alone.
            _await(*(each for _, each in mapping))
            maps, seconds = _timed(photos, job)
        for photo, found in zip(photos, maps):
            if isinstance(found, OneProblem):
                finish(_failed(photo.row, found))
            else:
                writing.append((photo.row, pool.submit(write_map, photo, found, job, seconds)))
        while writing and (len(writing) > behind or writing[0][1].done()):
            collect()

    def collect() -> None:
        _await(writing[0][1])
        row, future = writing.popleft()
        try:
            row = future.result()
        except OneProblem as problem:
            row = _failed(row, problem)
        finish(row)

    pool = ThreadPoolExecutor(jobs, "photos")
    network = ThreadPoolExecutor(lanes, "network", torch.set_num_threads, (threads // lanes,))
    try:
        ready: list[ReadPhoto] = []
        while True:
            for row, path, ours in islice(tasks, ahead - len(reading)):
                reading.append((row, pool.submit(read_photo, row, path, job, ours)))
            if not reading:
                break
            row, future = reading.popleft()
            try:
                ready.append(future.result())
            except OneProblem as problem:
                finish(_failed(row, problem))
            if len(ready) == job.batch:
                map_batch(ready)
                ready = []
        if ready:
            map_batch(ready)
        while mapping:
            write()
        while writing:
            collect()
    finally:
        # What the network has mapped before an error or an interrupt is finished.
        try:
            for _, future in reading:
                future.cancel()
            network.shutdown(cancel_futures=True)
            for queue, finish_one in ((mapping, write), (writing, collect)):
                while queue:
                    with suppress(Exception, KeyboardInterrupt):
                        finish_one()
        finally:
            torch.set_num_threads(threads)  # a lane's number would be that of threads to come
            pool.shutdown(cancel_futures=True)


def _await(*futures: Future) -> None:
    """Wait until all are finished or cancelled (`concurrent.futures.wait` waits for ever for a cancelled one)."""
    for future in futures:
        with suppress(CancelledError):
            future.exception()


def _timed(photos: Sequence[ReadPhoto], job: Job) -> Predicted:
    begun = time.perf_counter()
    maps = predict(photos, job)
    return maps, (time.perf_counter() - begun) / len(photos)


def _failed(row: Row, problem: OneProblem) -> Row:
    # Names may contain line breaks, rows may not.
    return row._replace(map="", problem=printable(str(problem)))


def _with_verdict(row: Row, min_score: float) -> Row:
    return row if row.problem else row._replace(verdict=verdict(row.score, min_score))


def _find_photos(photos: str | Path | Sequence[str | Path], recursive: bool) -> tuple[Path, dict[str, Path]]:
    """Return the (common) folder of the photos, and {path inside it: path} in the order of the run."""
    if isinstance(photos, str | Path):
        folder = Path(photos).expanduser()
        return folder, {path.relative_to(folder).as_posix(): path for path in list_photos(folder, recursive)}
    paths = [Path(os.path.abspath(Path(photo).expanduser())) for photo in photos]
    if not paths:
        raise ValueError("Found no photos: give at least one.")
    for path in paths:
        if path.is_dir():
            raise ValueError(f"{display_path(path)} is a folder among several inputs: give one folder, or photos only.")
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    return folder, {path.relative_to(folder).as_posix(): path for path in paths}


def _seen_from(known: Path | None, folder: Path, paths: dict[str, Path], whole: bool) -> tuple[Path, dict[str, Path]]:
    """Name files by the `known` folder of earlier maps, where all of them are in it and no `whole` folder was given."""
    if known is None or whole or not folder.resolve().is_relative_to(known):
        return folder, paths
    inside = folder.resolve().relative_to(known)
    return known, {(inside / file).as_posix(): path for file, path in paths.items()}


def _take_place(into: Path, folder: Path, before: Mapping[str, Row]) -> None:
    """Write that `into` is for photos of `folder`; raise ValueError where it has maps of another folder's.

    Names of files in the table mean other photos there. Finished rows are of `folder` where its files are those that
    were mapped, so that both may be copied or mounted elsewhere.
    """
    known = folder_of_photos(into)
    if known == folder.resolve():
        return
    rows = [row for row in before.values() if not row.problem]
    for other in into.glob(f"{STEM}-*-of-*.csv") if not rows else ():  # shards
        rows += [row for row in read_table(into, other.stem).values() if not row.problem]
    if not all(source_stamp(folder / row.file) == row.source for row in rows):
        if known is None or not known.is_dir():
            return  # a table of an earlier version, or photos that are gone: as it is
        raise ValueError(
            f"{display_path(into)} has maps of the photos in {display_path(known)}, not of {display_path(folder)}: "
            "choose another folder for these maps."
        )
    write_place(into, folder)


def _others(before: dict[str, Row], files: dict[str, Path], job: Job) -> dict[str, Row]:
    """Return the finished rows of photos that this run was not given."""
    return {
        file: row
        for file, row in before.items()
        if file not in files and not row.problem and row.score is not None and has_files(row.map, job.into, job.floats)
    }


@contextmanager
def _in_use(into: Path, shard: Shard | None) -> Iterator[None]:
    """Make a folder of maps, and keep other runs out: all others, or those that are no other shard."""
    check_writable(into)
    into.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(locked(into, STEM, shared=shard is not None))
        if shard:
            stack.enter_context(locked(into, shard.stem))
        yield


def _check_pages(into: Path) -> None:
    """Raise ValueError if gallery, contact sheets or the note of the photos' place would replace a file of the user."""
    check_gallery(into)
    check_sheets(into)
    check_place(into)


def _remove_unfinished(into: Path, files: Iterable[str]) -> None:
    """Remove the unfinished files that killed runs left where the maps and previews of `files` are written."""
    for folder in {Path(), *(Path(file).parent for file in files)}:
        for part in [*(into / folder).glob(".*.part"), *(into / PREVIEWS / folder).glob(".*.part")]:
            # The names that `write_atomically` makes.
            if re.fullmatch(r"\..{1,40}\.[0-9]+-[0-9]+\.part", part.name, re.DOTALL):
                part.unlink(missing_ok=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
