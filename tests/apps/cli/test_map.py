"""`defusion map` with a stand-in network: what it writes, names, prints and returns."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from click.testing import CliRunner
from photo_runs import Bright, fill, scene
from PIL import Image

from defusion_lib import weights
from defusion_lib.apps import photo_folder
from defusion_lib.apps.cli import main
from defusion_lib.apps.photo_folder import mapping


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "load_network", lambda path, device: Bright())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics/sub").mkdir(parents=True)
    return tmp_path / "pics"


def run(*arguments):
    return CliRunner().invoke(main, ["map", "--size", "64", *map(str, arguments)])


def test_good_photos_are_mapped_and_bad_ones_are_named(folder):
    fill(folder, ["a.png", "b.jpg"])
    fill(folder / "sub", ["c.png"], bright=80)
    bad = ["cut.jpg", "raw.NEF", "sub/phone.heic"]
    for name in bad:
        (folder / name).touch()
    (folder / "notes.txt").touch()
    found = run("pics", "--recursive", "--batch", 2, "--jobs", 2, "--formats", "png,npy")
    assert found.exit_code == 1
    maps = folder.with_name("pics_defocus")
    assert found.stdout.splitlines() == [
        "3 photos have maps, 0 from earlier runs: 2 in focus, 1 out of focus",
        "skipped files: .txt (1)",
        "3 photos have no map, and are named below",
        f"results: {maps}/gallery.html and the files beside it",
    ]
    assert [line.partition(":")[0] for line in found.stderr.splitlines()] == bad
    assert "raw.NEF: is a raw file of a camera" in found.stderr
    names = ["album.csv", "contact_sheet_001.png", "previews/sub/c.png.jpg", "sub/c.png_defocus.npy"]
    assert all((maps / name).is_file() for name in [*names, "a.png_defocus.png"])

    for name in bad:
        (folder / name).unlink()
    again = run("pics", "--recursive", "--formats", "png,npy", "--json")
    result = json.loads(again.stdout)
    assert again.exit_code == 0 and again.stderr == ""
    assert (result["mapped"], result["reused"], result["failed"]) == (3, 3, {})
    assert [row["file"] for row in result["photos"]] == ["a.png", "b.jpg", "sub/c.png"]


@pytest.mark.slow
def test_a_large_folder_of_all_kinds_of_files(folder):
    """Of 500 files, with subfolders and HEIC, each good one gets its map and each bad one is named."""
    places = [folder, *(folder / name for name in ("2024", "2024/may", "2025"))]
    kinds = (".jpg", ".png", ".heic", ".webp", ".tif", ".bmp", ".gif", ".avif")
    good, bad = [], []
    for number, kind, place in zip(range(500), itertools.cycle(kinds), itertools.cycle(places)):
        place.mkdir(exist_ok=True)
        path = place / f"{number:03}{kind}"
        photo = Image.fromarray(scene(bright=number % 80))
        (pillow_heif.from_pillow(photo) if kind == ".heic" else photo).save(path)
        if number % 10:
            good.append(path)
            continue
        content = path.read_bytes()
        path.write_bytes([b"", b"no photo", content[: len(content) // 3]][number // 10 % 3])
        bad.append(path)
    found = run("pics", "--recursive", "--jobs", 2, "--json")
    result = json.loads(found.stdout)
    assert found.exit_code == 1 and len(good) == 450 and len(bad) == 50
    assert {row["file"] for row in result["photos"]} == {path.relative_to(folder).as_posix() for path in good}
    assert result["failed"].keys() == {path.relative_to(folder).as_posix() for path in bad}
    # Where the machine is busy there are lines of progress too.
    assert {line.partition(": ")[0] for line in found.stderr.splitlines()} >= result["failed"].keys()
    maps = folder.with_name("pics_defocus")
    assert all((maps / f"{path.relative_to(folder)}_defocus.png").is_file() for path in good)


def test_the_names_of_failed_photos_are_in_the_json(folder):
    fill(folder, ["a.png"])
    (folder / "b\n.png").touch()
    found = run("pics", "--json")
    result = json.loads(found.stdout)
    assert found.exit_code == 1 and list(result["failed"]) == ["b\\n.png"]
    assert (
        result["skipped"] == {"folder": 1} and result["verdicts"] == {"in focus": 1} and result["contact_sheets"] == 1
    )


def test_one_photo_is_not_called_photos(folder):
    fill(folder, ["a.png"])
    (folder / "b.png").touch()
    words = run("pics").stdout
    assert "1 photo has a map, 0 from earlier runs: 1 in focus" in words
    assert "1 photo has no map, and is named below" in words


@pytest.mark.parametrize("size, code", [("0", 0), ("64", 0), ("1", 2), ("63", 2), ("-1", 2), ("2049", 2)])
def test_a_size_is_none_or_enough_for_a_verdict(folder, size, code, monkeypatch):
    fill(folder, ["a.png"])
    monkeypatch.setattr(mapping, "detect_tiles", lambda image, *given, **how: np.zeros(image.shape[:2], np.float32))
    found = CliRunner().invoke(main, ["map", "pics", "--size", size])
    assert found.exit_code == code
    if size == "63":
        assert "63 is too small for a verdict: expected 0, or 64 to 2048." in found.stderr


def test_photos_as_arguments(folder):
    fill(folder, ["a.png", "b.png", "c.png"])
    assert run("pics/a.png", "pics/b.png", "--into", "maps").exit_code == 0
    result = json.loads(run("pics/c.png", "--into", "maps", "--json").stdout)
    assert (result["mapped"], result["reused"], result["skipped"]) == (3, 2, {})


def test_a_file_ending_that_is_no_text_is_counted(folder):
    fill(folder, ["a.png"])
    (folder / os.fsdecode(b"St. M\xfcller")).touch()
    for form in ([], ["--json"]):
        found = run("pics", *form)
        assert found.exit_code == 0 and found.stdout.encode("utf-8", "strict")
    assert list(json.loads(found.stdout)["skipped"].values()) == [1, 1]  # and the folder sub


def test_shards_are_merged(folder):
    fill(folder, [f"{number}.png" for number in range(8)])
    part = run("pics", "--into", "maps", "--shard", "1/2")
    assert part.exit_code == 0 and "after the last shard: defusion map --merge --into maps" in part.stdout
    early = run("--merge", "--into", "maps")
    assert (early.exit_code, early.stderr.count("\n")) == (2, 1) and "run again shard 2/2 (not begun)" in early.stderr
    assert run("pics", "--into", "maps", "--shard", "2/2").exit_code == 0
    assert not Path("maps/gallery.html").exists()
    result = json.loads(run("--merge", "--into", "maps", "--json").stdout)
    assert len(result["photos"]) == 8 and Path(result["gallery"]).is_file()
    assert list(photo_folder.read_table("maps")) == [f"{number}.png" for number in range(8)]


WRONG = [
    ([], "Give a folder or photos: defusion map my_photos"),
    (["--merge"], "--merge takes --into DIR and no photos"),
    (["pics", "--merge", "--into", "maps"], "--merge takes --into DIR and no photos"),
    (["pics", "--shard", "3/2"], "The shard is '3/2': expected a part and their number"),
    (["pics", "pics/a.png"], "is a folder among several inputs"),
    (["nowhere"], "Path 'nowhere' does not exist"),
    (["pics/sub"], "sub holds no picture"),
    (["pics", "--formats", "npy"], "'npy' is not one of"),
    (["pics", "--into", "pics"], "contains the photos: choose another folder"),
    (["--merge", "--into", "maps"], "maps is not a folder"),
]


@pytest.mark.parametrize("arguments, words", WRONG)
def test_wrong_usage(folder, arguments, words):
    fill(folder, ["a.png"])
    found = run(*arguments)
    assert found.exit_code == 2 and words in found.stderr and not found.stdout
    assert not folder.with_name("pics_defocus").exists()
