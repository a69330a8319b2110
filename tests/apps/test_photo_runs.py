"""Runs beside one another and one after the other: batches, threads, kills, shards, locks, photos as arguments."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from photo_runs import SIZE, Bright, fill
from PIL import Image

from defusion_lib import lock
from defusion_lib.apps import photo_folder
from defusion_lib.apps.photo_folder import run, sheets
from defusion_lib.apps.photo_folder.table import Journal, write_table


@pytest.fixture
def network():
    return Bright()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pics"
    path.mkdir()
    return path


@pytest.fixture
def into(tmp_path):
    return tmp_path / "maps"


def table(into, stem="album"):
    """The rows without their seconds."""
    return {row.file: row._replace(seconds=None) for row in photo_folder.read_table(into, stem).values()}


def fill_different(folder, count):
    for number in range(count):
        fill(folder, [f"{number}.png"], bright=number % 80, height=40 + number % 30)


# -------------------------------------------------------------------------------------- batches and threads


@pytest.mark.parametrize("batch, jobs", [(1, 4), (4, 1), (4, 3), (50, 2)])
def test_batches_and_threads_change_no_row(folder, into, tmp_path, network, batch, jobs):
    fill_different(folder, 10)
    (folder / "3b.png").touch()
    expected = photo_folder.map_folder(folder, network, SIZE, tmp_path / "one", jobs=1).rows
    network.asked = 0
    found = photo_folder.map_folder(folder, network, SIZE, into, batch=batch, jobs=jobs).rows
    assert network.asked == -(-10 // batch)
    assert [row._replace(seconds=None) for row in found] == [row._replace(seconds=None) for row in expected]
    for row in found:
        if not row.problem:
            assert (into / row.map).read_bytes() == (tmp_path / "one" / row.map).read_bytes()


def test_the_network_sees_batches_of_one_size(folder, into, network):
    fill_different(folder, 5)
    seen = []
    network.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape)))
    photo_folder.map_folder(folder, network, SIZE, into, batch=2)
    assert seen == [(2, 3, SIZE, SIZE)] * 3


def test_a_batch_that_takes_too_much_memory_is_mapped_one_by_one(folder, into, network):
    fill_different(folder, 4)

    def full(module, given):
        if len(given[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    network.register_forward_pre_hook(full)
    rows = photo_folder.map_folder(folder, network, SIZE, into, batch=4).rows
    assert [row.problem for row in rows] == [""] * 4 and network.asked == 4
    maps = [np.asarray(Image.open(into / row.map)).mean() for row in rows]
    assert maps == sorted(maps) and len(set(maps)) == 4


def test_a_cpu_maps_photos_side_by_side(folder, into, tmp_path, network, four_threads):
    fill_different(folder, 8)
    four, numbers = threading.Barrier(4, timeout=60), set()

    def meet(module, given):
        numbers.add(torch.get_num_threads())
        four.wait()

    hook = network.register_forward_pre_hook(meet)
    photo_folder.map_folder(folder, network, SIZE, into)
    hook.remove()
    assert numbers == {1} and torch.get_num_threads() == 4
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 4
    torch.set_num_threads(1)
    photo_folder.map_folder(folder, network, SIZE, tmp_path / "one")
    assert table(into) == table(tmp_path / "one")
    for row in table(into).values():
        assert (into / row.map).read_bytes() == (tmp_path / "one" / row.map).read_bytes()


@pytest.mark.parametrize("size, batch", [(SIZE, 2), (SIZE, 1), (run.SIDE_BY_SIDE + 32, 0)])
def test_a_batch_and_a_large_input_have_all_threads(folder, into, network, four_threads, size, batch):
    fill_different(folder, 3)
    seen = []
    network.register_forward_pre_hook(lambda *_: seen.append((threading.current_thread(), torch.get_num_threads())))
    photo_folder.map_folder(folder, network, size, into, batch=batch)
    assert set(seen) == {(threading.main_thread(), 4)}


def test_photos_side_by_side_are_kept_when_a_run_is_stopped(folder, into, network, four_threads):
    fill_different(folder, 30)
    network.stop_at = 9
    with pytest.raises(KeyboardInterrupt):
        photo_folder.map_folder(folder, network, SIZE, into)
    kept = table(into)
    assert len(kept) == network.asked - 1 < 29 and all((into / row.map).is_file() for row in kept.values())
    found = photo_folder.map_folder(folder, network, SIZE, into)
    assert found.reused == len(kept) and len(found.rows) == 30


def test_a_photo_that_takes_too_much_memory_beside_others_is_mapped_alone(folder, into, network, four_threads):
    fill_different(folder, 9)
    alone = threading.Lock()

    def full(module, given):
        if not alone.acquire(blocking=False):
            raise MemoryError
        time.sleep(0.01)
        alone.release()

    network.register_forward_pre_hook(full)
    rows = photo_folder.map_folder(folder, network, SIZE, into).rows
    assert [row.problem for row in rows] == [""] * 9


@pytest.mark.slow
def test_what_the_network_has_mapped_is_kept_after_ctrl_c(folder, into, network, four_threads):
    fill_different(folder, 40)
    mapped = []
    network.register_forward_hook(lambda *_: time.sleep(0.1) or mapped.append(1))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist ignores the signal
    interrupt = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            photo_folder.map_folder(folder, network, SIZE, into, progress=False)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(table(into)) == len(mapped) < 40


def test_a_second_ctrl_c_leaves_torchs_threads_as_they_were(folder, into, network, four_threads, monkeypatch):
    fill_different(folder, 8)
    network.stop_at = 3
    waited = []

    class Impatient(ThreadPoolExecutor):
        def shutdown(self, *given, **how):
            super().shutdown(*given, **how)
            if not waited:
                waited.append(1)
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "ThreadPoolExecutor", Impatient)
    with pytest.raises(KeyboardInterrupt):
        photo_folder.map_folder(folder, network, SIZE, into)
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")]


@pytest.mark.slow
def test_rows_follow_their_maps(folder, into, network, one_thread):
    """What a killed run has written is in its table, up to what is on its way."""
    fill_different(folder, 30)
    lag = []
    network.register_forward_hook(
        lambda *_: time.sleep(0.05) or lag.append(len(list(into.glob("*.png"))) - len(photo_folder.read_table(into)))
    )
    photo_folder.map_folder(folder, network, SIZE, into, jobs=8)
    assert max(lag[10:]) < 6  # without a look at what is finished, it is 9


@pytest.mark.parametrize("batch, together", [(2, 2), (0, 4)])
def test_few_photos_are_in_memory_at_once(folder, into, network, monkeypatch, four_threads, batch, together):
    """Reading waits for the network, and the network for the writers."""
    fill_different(folder, 40)
    inside, most, counting = set(), [], threading.Lock()
    read, write = run.read_photo, run.write_map

    def reads(row, *given):
        with counting:
            inside.add(row.file)
            most.append(len(inside))
        return read(row, *given)

    def writes(photo, *given):
        time.sleep(0.002)
        done = write(photo, *given)
        with counting:
            inside.discard(photo.row.file)
        return done

    monkeypatch.setattr(run, "read_photo", reads)
    monkeypatch.setattr(run, "write_map", writes)
    photo_folder.map_folder(folder, network, SIZE, into, batch=batch, jobs=2)
    assert not inside and max(most) <= 3 * (2 + together)


def test_threads_write_names_with_one_beginning(folder, into, network, monkeypatch):
    fill(folder, [f"{'x' * 60}1.png"])
    fill(folder, [f"{'x' * 60}2.png"], bright=60)
    replace, both = os.replace, threading.Barrier(2, timeout=60)

    def replaces(source, target):
        if "xxx" in str(target):
            both.wait()  # both temporary files are written before one of them is moved
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaces)
    rows = photo_folder.map_folder(folder, network, SIZE, into, jobs=2).rows
    assert [row.problem for row in rows] == ["", ""]
    first, second = (np.asarray(Image.open(into / row.map)).mean() for row in rows)
    assert second > 2 * first


def test_maps_as_numpy_files(folder, into, network):
    fill(folder, ["a.png", "b.png"])
    photo_folder.map_folder(folder, network, SIZE, into)
    found = photo_folder.map_folder(folder, network, SIZE, into, floats=True)
    assert found.reused == 0
    values = np.load(into / "a.png_defocus.npy")
    assert values.dtype == np.float16 and values.shape == (60, 80)
    assert np.abs(values - np.asarray(Image.open(into / "a.png_defocus.png")) / 255).max() < 0.006
    assert photo_folder.map_folder(folder, network, SIZE, into, floats=True).reused == 2
    (into / "b.png_defocus.npy").unlink()
    assert photo_folder.map_folder(folder, network, SIZE, into, floats=True).reused == 1


def test_a_numpy_file_of_somebody_else_is_not_replaced(folder, into, network):
    fill(folder, ["a.png"])
    into.mkdir()
    (into / "a.png_defocus.npy").write_text("notes")
    (row,) = photo_folder.map_folder(folder, network, SIZE, into, floats=True).rows
    assert "a.png_defocus.npy exists already" in row.problem
    assert (into / "a.png_defocus.npy").read_text() == "notes"


# ----------------------------------------------------------------------------------- journal, kills and locks


def test_the_table_is_written_twice_whatever_the_number_of_photos(folder, into, network, monkeypatch):
    fill_different(folder, 12)
    written = []
    whole = run.write_table
    monkeypatch.setattr(run, "write_table", lambda *given: written.append(1) or whole(*given))
    photo_folder.map_folder(folder, network, SIZE, into)
    assert len(written) == 2 and not (into / "album.journal").exists()


def test_a_line_that_a_killed_run_cut_off_is_left_out(into):
    into.mkdir()
    journal = Journal(into)
    rows = [photo_folder.Row(name, score=0.5) for name in ("a\n1.png", os.fsdecode(b"\xff.png"), "c.png")]
    for row in rows:
        journal.append(row)
    assert list(photo_folder.read_table(into).values()) == rows
    content = (into / "album.journal").read_bytes()
    for cut in range(1, len(content.splitlines()[-1])):
        (into / "album.journal").write_bytes(content[: -1 - cut])
        assert list(photo_folder.read_table(into).values()) == rows[:2]


def test_a_table_is_whole_while_its_run_ends(into, monkeypatch):
    into.mkdir()
    rows = [photo_folder.Row(name, score=0.5) for name in ("a.png", "b.png")]
    write_table(into, [])
    for row in rows:
        Journal(into).append(row)
    read = Path.read_bytes

    def read_and_end(path):
        content = read(path)
        write_table(into, rows)
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_end)
    assert list(photo_folder.read_table(into).values()) == rows


def killed_runs(folder, into, kills, rng, rows=6, batch=2, threads=1):
    """Kill runs at random moments, then let one end; returns how many photos each killed run had finished."""
    command = [sys.executable, Path(__file__).parents[1] / "photo_runs.py", folder, into, str(batch), str(threads)]
    done = []
    for _ in range(kills):
        process = subprocess.Popen(command)
        before, until = len(photo_folder.read_table(into)), time.monotonic() + 60
        # From before the first row to some rows later.
        wanted = before + rng.randrange(rows)
        while process.poll() is None and time.monotonic() < until and len(photo_folder.read_table(into)) < wanted:
            time.sleep(0.002)
        time.sleep(rng.random() / 100)
        process.kill()
        process.wait()
        done.append(len(photo_folder.read_table(into)))
    subprocess.run(command, check=True)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("batch, threads", [(2, 1), (0, 3)])
def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_table(folder, into, tmp_path, network, batch, threads):
    fill_different(folder, 40)
    (folder / "broken.jpg").touch()
    photo_folder.map_folder(folder, network, SIZE, tmp_path / "whole", batch=2)
    done = killed_runs(folder, into, 3, random.Random(0), batch=batch, threads=threads)
    assert done == sorted(done) and 0 < done[-1] < 41
    assert table(into) == table(tmp_path / "whole") and list(table(into)) == list(table(tmp_path / "whole"))
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.suffix in (".png", ".jpg"):
            assert (into / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert not list(into.rglob(".*"))


@pytest.mark.slow
def test_a_second_run_at_the_same_time_is_refused(folder, into, network):
    fill(folder, ["a.png"])
    with run._in_use(into, None):
        for shard in (None, photo_folder.Shard(1, 2)):
            with pytest.raises(BlockingIOError, match=rf"maps is in use by process {os.getpid()} on .*: wait until"):
                photo_folder.map_folder(folder, network, SIZE, into, shard=shard)
    with run._in_use(into, photo_folder.Shard(1, 2)):
        with pytest.raises(BlockingIOError, match="is in use by"):
            photo_folder.map_folder(folder, network, SIZE, into, shard=photo_folder.Shard(1, 2))
        with pytest.raises(BlockingIOError, match="is in use by"):
            photo_folder.map_folder(folder, network, SIZE, into)
        photo_folder.map_folder(folder, network, SIZE, into, shard=photo_folder.Shard(2, 2))
    assert network.asked <= 1
    photo_folder.map_folder(folder, network, SIZE, into)
    assert not list(into.glob(".*"))


def test_no_run_begins_while_another_one_draws_its_pages(folder, into, network, monkeypatch):
    fill(folder, ["a.png"])
    refused, draw = [], sheets.contact_sheet

    def draws(*given):
        with pytest.raises(BlockingIOError):
            photo_folder.map_folder(folder, network, SIZE, into)
        refused.append(1)
        return draw(*given)

    monkeypatch.setattr(sheets, "contact_sheet", draws)
    found = photo_folder.map_folder(folder, network, SIZE, into, pages=True)
    assert [path.name for path in found.pages] == ["gallery.html", "contact_sheet_001.png"] and refused
    assert photo_folder.map_folder(folder, network, SIZE, into).pages == []


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_again(into, monkeypatch):
    into.mkdir()
    stat, removed = Path.stat, []

    def remove(path, **how):
        if path.name == ".album.lock" and not removed:
            removed.append(path.unlink())
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", remove)
    with lock.locked(into, "album"):
        assert removed and (into / ".album.lock").exists()


@pytest.mark.slow
def test_a_shard_waits_for_one_that_is_just_ending(into, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 30)
    into.mkdir()
    held = lock.locked(into, "album")
    held.__enter__()
    threading.Timer(0.5, held.__exit__, [None, None, None]).start()
    with lock.locked(into, "album", shared=True):
        pass


@pytest.mark.slow
def test_a_lock_of_a_dead_process_does_not_stay(into):
    into.mkdir()
    code = f"""
import os
from pathlib import Path
from defusion_lib.lock import locked
with locked(Path({str(into)!r}), "album"):
    os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1 and (into / ".album.lock").exists()
    with lock.locked(into, "album"):
        pass
    assert not (into / ".album.lock").exists()


def test_a_system_without_locks_maps_too(folder, into, network, monkeypatch):
    fill(folder, ["a.png"])
    monkeypatch.setattr(lock, "fcntl", None)
    assert not photo_folder.map_folder(folder, network, SIZE, into).rows[0].problem


# --------------------------------------------------------------------------------------------------- shards


def map_shards(folder, into, network, count, numbers=None):
    for number in numbers or range(1, count + 1):
        photo_folder.map_folder(folder, network, SIZE, into, shard=photo_folder.Shard(number, count))


def test_shards_make_the_table_of_one_run(folder, into, tmp_path, network):
    fill_different(folder, 13)
    (folder / "4b.png").touch()
    expected = photo_folder.map_folder(folder, network, SIZE, tmp_path / "whole").rows
    network.asked = 0
    map_shards(folder, into, network, 3)
    assert network.asked == 13 and not (into / "album.csv").exists()
    sizes = [len(table(into, f"album-{number}-of-3")) for number in (1, 2, 3)]
    assert sum(sizes) == 14 and min(sizes) > 0
    merged = photo_folder.merge(into)
    assert merged.folder.resolve() == folder and merged.reused == 13  # of 14, of which one cannot be read
    assert [row._replace(seconds=None) for row in merged.rows] == [row._replace(seconds=None) for row in expected]
    # A shard that runs again, one of another number, and a run of the folder cost nothing.
    map_shards(folder, into, network, 3)
    map_shards(folder, into, network, 4)
    assert photo_folder.map_folder(folder, network, SIZE, into).reused == 13 and network.asked == 13


def test_merge_names_what_is_missing(folder, into, network, one_thread):
    fill_different(folder, 13)
    with pytest.raises(FileNotFoundError, match="maps is not a folder"):
        photo_folder.merge(into)
    into.mkdir()
    with pytest.raises(ValueError, match="has no shards, expected those of one run: map with --shard"):
        photo_folder.merge(into)
    map_shards(folder, into, network, 3, [1])
    network.stop_at = network.asked + 2
    with pytest.raises(KeyboardInterrupt):
        map_shards(folder, into, network, 3, [2])
    total = sum(photo_folder.Shard(2, 3).holds(f"{number}.png") for number in range(13))
    with pytest.raises(ValueError, match=rf"run again shard 2/3 \(1 of {total} photos\), 3/3 \(not begun\)\. A shard"):
        photo_folder.merge(into)
    network.stop_at, network.asked = None, 0
    map_shards(folder, into, network, 3, [2, 3])
    assert len(photo_folder.merge(into).rows) == 13
    fill(folder, ["new.png"])
    owner = next(number for number in (1, 2, 3) if photo_folder.Shard(number, 3).holds("new.png"))
    map_shards(folder, into, network, 3, [owner])
    others = sorted({1, 2, 3} - {owner})
    with pytest.raises(ValueError, match=rf"{others[0]}/3 \(the photos have changed since\), {others[1]}/3 \(the"):
        photo_folder.merge(into)
    before = network.asked
    map_shards(folder, into, network, 3)
    assert len(photo_folder.merge(into).rows) == 14 and network.asked == before
    (into / "previews/new.png.jpg").unlink()
    with pytest.raises(ValueError, match=rf"run again shard {owner}/3 \(\d of \d photos\)\."):
        photo_folder.merge(into)
    map_shards(folder, into, network, 3, [owner])
    map_shards(folder, into, network, 2)
    patterns = r"remove the others' files \(album-\*-of-2\.\* or album-\*-of-3\.\*\)"
    with pytest.raises(ValueError, match=f"has shards of 2 and of 3, expected those of one run: {patterns}"):
        photo_folder.merge(into)


def test_rows_of_maps_that_a_shard_replaced_are_not_reused(folder, into, network):
    fill_different(folder, 8)
    expected = photo_folder.map_folder(folder, network, SIZE, into).rows
    pixels = [(into / row.map).read_bytes() for row in expected]
    part = photo_folder.map_folder(folder, network, 64, into, shard=photo_folder.Shard(1, 2)).rows
    assert 0 < len(part) < 8
    found = photo_folder.map_folder(folder, network, SIZE, into)
    assert found.reused == 8 - len(part)
    assert [(into / row.map).read_bytes() for row in found.rows] == pixels


def test_merge_takes_no_row_whose_map_was_replaced(folder, into, network):
    fill_different(folder, 8)
    map_shards(folder, into, network, 2)
    photo_folder.map_folder(folder, network, 64, into)
    with pytest.raises(ValueError, match=r"run again shard 1/2 \(0 of \d photos\), 2/2 \(0 of \d photos\)\."):
        photo_folder.merge(into)
    map_shards(folder, into, network, 2)
    assert {row.maker.rpartition(" ")[2] for row in photo_folder.merge(into).rows} == {str(SIZE)}


def test_a_damaged_list_of_a_shard_is_named(folder, into, network):
    fill_different(folder, 2)
    map_shards(folder, into, network, 1)
    (into / "album-1-of-1.json").write_text("[1]")
    with pytest.raises(ValueError, match="album-1-of-1.json is not the list of a shard's photos: run that shard again"):
        photo_folder.merge(into)


def test_a_shard_leaves_unfinished_files_of_others_alone(folder, into, network):
    fill_different(folder, 4)
    into.mkdir()
    (into / ".x.png.12-34.part").touch()
    map_shards(folder, into, network, 2)
    assert (into / ".x.png.12-34.part").exists()
    photo_folder.merge(into)
    assert not (into / ".x.png.12-34.part").exists()


def test_only_files_of_killed_runs_are_removed(folder, into, network):
    (folder / "sub").mkdir()
    fill(folder, ["a.png", "sub/b.png"])
    kept = [".video.2024-11-5.part", ".download.1.part", f".{'x' * 41}.12-34.part", "other/.video.2024-11.part"]
    gone = [f"{place}.b.png_defocus.png.12-34.part" for place in ("", "sub/", "previews/", "previews/sub/")]
    for name in kept + gone:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).touch()
    photo_folder.map_folder(folder, network, SIZE, into, recursive=True)
    assert all((into / name).exists() for name in kept)
    assert not [name for name in gone if (into / name).exists()]


def test_maps_of_shards_inside_the_photos_are_no_photos(folder, network):
    fill_different(folder, 6)
    for number in (1, 2, 3):
        shard = photo_folder.Shard(number, 3)
        photo_folder.map_folder(folder, network, SIZE, folder / "maps", recursive=True, shard=shard)
    assert len(photo_folder.merge(folder / "maps").rows) == 6


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "a/b", "1/3/5", "-1/3", ""])
def test_a_shard_is_a_part_of_a_number(text):
    with pytest.raises(ValueError, match=f"The shard is '{text}': expected a part and their number, such as 3/16"):
        photo_folder.parse_shard(text)


# -------------------------------------------------------------------------------------- photos as arguments


def test_several_photos_are_added_to_the_table(folder, into, network):
    (folder / "sub").mkdir()
    fill(folder, ["a.png", "b.png", "c.png", "sub/d.png"])
    rows = photo_folder.map_folder([folder / "b.png", folder / "sub/d.png"], network, SIZE).rows
    maps = folder.with_name("pics_defocus")
    assert [row.file for row in rows] == ["b.png", "sub/d.png"] and list(table(maps)) == ["b.png", "sub/d.png"]
    found = photo_folder.map_folder([folder / "a.png"], network, SIZE)
    assert [row.file for row in found.rows] == ["b.png", "sub/d.png", "a.png"] and found.reused == 2
    assert network.asked == 3
    assert photo_folder.map_folder(folder, network, SIZE, recursive=True).reused == 3 and network.asked == 4
    with pytest.raises(ValueError, match="sub is a folder among several inputs: give one folder, or photos only"):
        photo_folder.map_folder([folder / "a.png", folder / "sub"], network, SIZE)


def test_photos_of_a_subfolder_keep_the_names_of_the_first_run(folder, into, network):
    (folder / "sub").mkdir()
    fill(folder, ["a.png", "sub/d.png"])
    photo_folder.map_folder([folder / "a.png", folder / "sub/d.png"], network, SIZE, into)
    found = photo_folder.map_folder([folder / "sub/d.png"], network, SIZE, into)
    assert [row.file for row in found.rows] == ["a.png", "sub/d.png"] and found.folder == folder
    assert network.asked == 2


@pytest.mark.parametrize("as_files", [True, False])
def test_maps_of_another_folder_are_not_mixed_in(folder, into, network, tmp_path, as_files):
    other = tmp_path / "others"
    other.mkdir()
    fill(folder, ["a.png", "b.png"])
    fill(other, ["a.png", "c.png"], bright=60)
    photo_folder.map_folder([folder / "a.png", folder / "b.png"], network, SIZE, into, pages=True)
    before = {path: path.read_bytes() for path in into.rglob("*.*")}
    photos = [other / "a.png", other / "c.png"] if as_files else other
    with pytest.raises(
        ValueError, match="maps has maps of the photos in .*pics, not of .*others: choose another folder"
    ):
        photo_folder.map_folder(photos, network, SIZE, into)
    assert {path: path.read_bytes() for path in into.rglob("*.*")} == before


def test_the_place_of_the_photos_follows_them(folder, into, network, tmp_path):
    """Both may be moved, photos copied or mounted elsewhere, and a path may be written in several ways."""
    fill_different(folder, 3)
    photo_folder.map_folder(folder, network, SIZE, into)
    moved = tmp_path / "elsewhere"  # both together
    moved.mkdir()
    folder.rename(moved / "pics")
    into.rename(moved / "maps")
    (tmp_path / "link").symlink_to(moved)
    shutil.copytree(moved / "pics", tmp_path / "copy")  # with the times of the files
    for photos, maps in ((moved / "pics", moved / "maps"), (tmp_path / "link/pics", moved / "maps"),
                         (moved / "pics", tmp_path / "link/maps"), (tmp_path / "copy", moved / "maps")):  # fmt: skip
        assert photo_folder.map_folder(photos, network, SIZE, maps).reused == 3
    shutil.rmtree(tmp_path / "copy")
    assert photo_folder.map_folder(moved / "pics", network, SIZE, moved / "maps").reused == 3
    (moved / "maps/album.json").unlink()  # a table of an earlier version
    assert photo_folder.map_folder(moved / "pics", network, SIZE, moved / "maps").reused == 3
    assert (moved / "maps/album.json").is_file() and network.asked == 3


def test_a_table_of_an_earlier_version_gets_no_wrong_place(folder, into, network):
    (folder / "sub").mkdir()
    fill(folder, ["a.png", "sub/d.png"])
    photo_folder.map_folder(folder, network, SIZE, into, recursive=True)
    (into / "album.json").unlink()
    photo_folder.map_folder([folder / "sub/d.png"], network, SIZE, into)
    assert not (into / "album.json").exists()
    assert photo_folder.map_folder(folder, network, SIZE, into, recursive=True).folder == folder


def test_a_shard_of_another_folder_is_refused(folder, into, network, tmp_path):
    other = tmp_path / "others"
    other.mkdir()
    fill_different(folder, 4)
    fill_different(other, 3)
    photo_folder.map_folder(folder, network, SIZE, into, shard=photo_folder.Shard(1, 2))
    with pytest.raises(ValueError, match="has maps of the photos in .*pics, not of .*others"):
        photo_folder.map_folder(other, network, SIZE, into, shard=photo_folder.Shard(2, 2))


@pytest.mark.parametrize("content", ['{"title": "my own"}', "[]", "no JSON", '{"photos": "a", "more": 1}'])
def test_a_file_of_the_user_is_not_replaced(folder, into, network, content):
    fill(folder, ["a.png"])
    into.mkdir()
    (into / "album.json").write_text(content)
    with pytest.raises(ValueError, match=r"album\.json is not of this program: move it"):
        photo_folder.map_folder(folder, network, SIZE, into)
    assert (into / "album.json").read_text() == content


def test_a_merge_needs_the_folder_of_the_photos(folder, into, network):
    fill_different(folder, 3)
    map_shards(folder, into, network, 1)
    (into / "album.json").unlink()
    with pytest.raises(ValueError, match=r"album\.json is missing: run one of the shards again"):
        photo_folder.merge(into)


# -------------------------------------------------------------------------------------------------- gallery


def gallery(rows, folder, into):
    page = photo_folder.write_gallery(rows, folder, into).read_text(encoding="utf-8")
    data = page.partition('id="data">')[2].partition("</script>")[0]
    return page, json.loads(data)


def test_the_gallery_finds_photos_that_were_given_through_a_link(folder, into, network, tmp_path):
    """An address that went through the link would end where the folders are moved together."""
    fill(folder, ["a.png"])
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/home").symlink_to(tmp_path)
    for photos, maps in ((tmp_path / "deep/er/home/pics", into), (folder, tmp_path / "deep/er/home/maps")):
        found = photo_folder.map_folder(photos, network, SIZE, maps)
        _, (entry,) = gallery(found.rows, photos, maps)
        assert entry["photo"] == "../pics/a.png"


def test_the_gallery_names_every_photo_and_its_files(folder, into, network):
    odd = ['</script><script>alert("1")</script>.png', "a b#?%20&.png", os.fsdecode(b"\xff.png"), "ä.png"]
    odd = [name.replace("/", "∕") for name in odd]
    fill(folder, ["plain.png"])
    for name in odd:
        (folder / name).write_bytes((folder / "plain.png").read_bytes())
    (folder / "<b>broken.png").touch()
    found = photo_folder.map_folder(folder, network, SIZE, into)
    page, entries = gallery(found.rows, folder, into)
    assert len(entries) == 6 and page.count("<script") == 2
    for row, entry in zip(found.rows, entries):
        assert entry["name"] == photo_folder.printable(row.file)
        if row.problem:
            assert entry == {"name": "<b>broken.png", "verdict": "problem", "problem": row.problem}
            continue
        assert (entry["verdict"], entry["score"], entry["size"]) == (row.verdict, row.score, "80 × 60")
        paths = {"map": into / row.map, "photo": folder / row.file, "preview": into / f"previews/{row.file}.jpg"}
        for kind, path in paths.items():
            assert os.path.samefile(into / os.fsdecode(unquote_to_bytes(entry[kind])), path)


def test_the_gallery_needs_no_network(folder, into, network):
    fill(folder, ["a.png"])
    page, _ = gallery(photo_folder.map_folder(folder, network, SIZE, into).rows, folder, into)
    assert "http:" not in page and "https:" not in page and "@import" not in page and "default-src 'none'" in page


def test_a_page_of_somebody_else_is_refused_before_photos_are_mapped(folder, into, network):
    fill(folder, ["a.png"])
    rows = photo_folder.map_folder(folder, network, SIZE, into).rows
    for name in ("gallery.html", "contact_sheet_001.png", "contact_sheet_007.png"):
        (into / name).write_bytes(b"mine")
        for call in (
            lambda: photo_folder.map_folder(folder, network, 64, into),
            lambda: photo_folder.merge(into),
            lambda: (photo_folder.write_gallery(rows, folder, into), photo_folder.write_sheets(rows, into)),
        ):
            with pytest.raises(ValueError, match=f"{name} exists already and is not a page of this program: move it"):
                call()
        assert (into / name).read_bytes() == b"mine" and network.asked == 1
        (into / name).unlink()
        (into / "gallery.html").unlink(missing_ok=True)
    for _ in range(2):  # pages of its own are replaced
        photo_folder.write_gallery(rows, folder, into)
        photo_folder.write_sheets(rows, into)
