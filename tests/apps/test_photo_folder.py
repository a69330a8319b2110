"""A folder in, maps and a table out: every kind of file, again, changed, stopped, and nothing lost."""

import csv
import errno
import os
import shutil
import unicodedata
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from photo_runs import SIZE, Bright, fill, scene
from PIL import Image
from test_plots import smallest_text

from defusion_lib.apps import photo_folder
from defusion_lib.apps.photo_folder import files, mapping
from defusion_lib.apps.verdict import MIN_SCORE, score
from defusion_lib.inference import detect
from defusion_lib.plots import text_size
from defusion_lib.runs import parameters


@pytest.fixture
def network():
    return Bright()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my photographs"
    path.mkdir()
    return path


@pytest.fixture
def into(folder):
    return folder.with_name("my photographs_defocus")


def lines(into):
    """The table, read by other code: {file: {column: text}}."""
    with open(into / "album.csv", encoding="utf-8-sig", newline="") as file:
        return {line["file"]: line for line in csv.DictReader(file)}


def lines_of(content):
    return {line["file"]: line for line in csv.DictReader(content.decode("utf-8-sig").splitlines())}


def levels(into, file):
    return np.asarray(Image.open(into / f"{file}_defocus.png"))


def kinds(folder):
    """A photograph in every kind of file, all 80 x 60 pixels with a bright left quarter."""
    rgb = Image.fromarray(scene())
    grey = np.asarray(rgb.convert("L"))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, clockwise
    rgb.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=turned, quality=95)
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.tif")
    rgb.convert("L").save(folder / "grey.jpg", quality=95)
    rgb.convert("CMYK").save(folder / "inks.jpg", quality=95)
    rgb.quantize(64).save(folder / "palette.png")
    dark = [Image.new("RGB", rgb.size)]
    rgb.save(folder / "two.webp", save_all=True, append_images=dark, lossless=True)
    rgb.save(folder / "pages.tiff", save_all=True, append_images=dark)
    rgb.save(folder / "bitmap.BMP")
    # Black but for the transparent left quarter, which counts as white.
    glass = np.zeros((60, 80, 4), np.uint8)
    glass[:, 20:, 3] = 255
    Image.fromarray(glass).save(folder / "glass.png")


def test_every_kind_of_file_is_mapped(folder, into, network):
    kinds(folder)
    found = photo_folder.map_folder(folder, network, SIZE)
    assert [entry.problem for entry in found.rows] == [""] * 10
    assert network.asked == 10
    for entry in found.rows:
        assert (entry.width, entry.height) == (80, 60)
        white = levels(into, entry.file)
        assert white.shape == (60, 80) and white.dtype == np.uint8
        # A quarter is bright; squashed to 32 pixels and back its edge is as wide as two or three of 80.
        assert white[:, :17].min() > 200 and white[:, 23:].max() < 55, entry.file


BROKEN = {
    "cut.jpg": "truncated",
    "empty.png": "(it is empty)",
    "letter.jpg": "format is not recognised",
    "page.webp": "format is not recognised",
    "float.tif": "no agreed range",
    "head.png": "cannot be read as a picture",
    "gone.jpg": "is a broken link",
    "pipe.jpg": "is no regular file",
}


def breaks(folder):
    fill(folder, ["cut.jpg", "head.png"])
    for name, share in (("cut.jpg", 0.7), ("head.png", 0.1)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])
    (folder / "empty.png").touch()
    (folder / "letter.jpg").write_text("Dear reader,\n")
    (folder / "page.webp").write_text("<html>Sign in</html>")
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tif")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")


def test_broken_files_are_named_and_the_run_goes_on(folder, into, network):
    breaks(folder)
    fill(folder, ["a.jpg", "z.png"])
    photo_folder.map_folder(folder, network, SIZE)
    table = lines(into)
    assert network.asked == 2 and not table["a.jpg"]["problem"] and not table["z.png"]["problem"]
    for name, words in BROKEN.items():
        assert words in table[name]["problem"] and name in table[name]["problem"]
        assert str(folder) not in table[name]["problem"] and "\n" not in table[name]["problem"]
        assert not table[name]["width"] + table[name]["sharp_share"] + table[name]["verdict"]
        assert not (into / f"{name}_defocus.png").exists()


def test_the_table_is_what_numpy_finds_in_the_maps(folder, into, network):
    fill(folder, ["10.png"], bright=0)
    fill(folder, ["2.png"], bright=30, height=45)
    fill(folder, ["b.png"], bright=80)
    photo_folder.map_folder(folder, network, SIZE)
    table = lines(into)
    assert list(table) == ["2.png", "10.png", "b.png"]
    for name, line in table.items():
        white = levels(into, name)
        assert float(line["sharp_share"]) == pytest.approx((white / 255 <= 0.5).mean(), abs=5.1e-5)
        assert float(line["mean_blur"]) == pytest.approx(white.astype(float).mean() / 255, abs=5.1e-5)
        assert float(line["seconds"]) >= 0
        assert float(line["score"]) == pytest.approx(score(white), abs=5.1e-5)
        assert line["map"] == f"{name}_defocus.png"
    assert [line["verdict"] for line in table.values()] == ["in focus", "in focus", "out of focus"]
    assert (table["2.png"]["width"], table["2.png"]["height"]) == ("80", "45")


@pytest.mark.parametrize("name", ["large.png", "large.jpg"])
def test_a_large_photograph_is_read_smaller_for_the_same_map(folder, into, network, name):
    fill(folder, [name], height=300, width=500, bright=230)
    photo_folder.map_folder(folder, network, SIZE)
    whole = detect(np.asarray(Image.open(folder / name)), network, SIZE)
    assert np.abs(levels(into, name) / 255 - whole).max() < 0.02
    assert np.abs(levels(into, name) / 255 - whole).mean() < 0.004  # two levels, half of it rounding


def test_full_resolution_is_made_of_tiles(folder, into, network, monkeypatch):
    fill(folder, ["a.png"])
    known = np.linspace(0, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    seen = []
    monkeypatch.setattr(mapping, "detect_tiles", lambda image, *given, **how: seen.append(image) or known)
    photo_folder.map_folder(folder, network, 0)
    assert np.array_equal(seen[0], scene()) and network.asked == 0
    assert np.abs(levels(into, "a.png") / 255 - known).max() <= 0.5001 / 255


def test_a_second_run_maps_what_is_new_changed_or_unfinished(folder, into, network):
    fill(folder, [f"{number}.png" for number in range(6)])
    (folder / "broken.jpg").touch()
    assert photo_folder.map_folder(folder, network, SIZE).reused == 0
    assert network.asked == 6
    before = (into / "album.csv").read_bytes()

    found = photo_folder.map_folder(folder, network, SIZE)
    assert (network.asked, found.reused) == (6, 6)
    names = [entry.file for entry in found.rows]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "broken.jpg"]
    assert (into / "album.csv").read_bytes() == before

    fill(folder, ["new.png"])
    fill(folder, ["1.png"], bright=70)
    os.utime(folder / "2.png", (1, 1))
    (into / "3.png_defocus.png").unlink()
    (into / "previews/4.png.jpg").unlink()
    (folder / "5.png").unlink()
    fill(folder, ["broken.jpg"])
    found = photo_folder.map_folder(folder, network, SIZE)
    assert (network.asked, found.reused) == (6 + 6, 1)
    assert (into / "3.png_defocus.png").is_file() and (into / "previews/4.png.jpg").is_file()
    table = lines(into)
    assert float(table["1.png"]["sharp_share"]) < 0.2
    assert "5.png" not in table and not table["broken.jpg"]["problem"]


def test_a_refined_map_follows_the_edges_of_the_photo(folder, into, network):
    """The photo has an edge at column 20, across which the enlarged map is smooth."""
    fill(folder, ["a.png"])
    (smooth,) = photo_folder.map_folder(folder, network, SIZE).rows
    before = levels(into, "a.png")
    found = photo_folder.map_folder(folder, network, SIZE, refined=True)
    after = levels(into, "a.png")
    assert found.reused == 0 and after.shape == before.shape
    truth = np.where(np.arange(80) < 20, 255, 0)
    errors = [np.abs(each.astype(int) - truth)[:, 15:25].mean() for each in (before, after)]
    assert errors[1] < 0.5 * errors[0]
    assert found.rows[0].score == smooth.score  # the verdict does not depend on it
    assert photo_folder.map_folder(folder, network, SIZE, refined=True).reused == 1


def test_another_size_or_network_maps_all_again(folder, network):
    fill(folder, ["a.png", "b.png"])
    photo_folder.map_folder(folder, network, SIZE)
    assert photo_folder.map_folder(folder, network, 64).reused == 0
    assert photo_folder.map_folder(folder, network, 64).reused == 2
    with torch.no_grad():
        network.scale += 1
    assert photo_folder.map_folder(folder, network, 64).reused == 0


def test_a_numpy_file_of_another_map_is_not_kept(folder, into, network):
    """A run without NumPy files replaces the map; the next run with them would take the old file for that of the map."""
    fill(folder, ["a.png"])
    floats = into / "a.png_defocus.npy"
    photo_folder.map_folder(folder, network, SIZE, floats=True)
    photo_folder.map_folder(folder, network, 64)
    assert not floats.exists()
    assert photo_folder.map_folder(folder, network, 64, floats=True).reused == 0
    photo_folder.map_folder(folder, network, 64, into.with_name("anew"), floats=True)
    assert floats.read_bytes() == (into.with_name("anew") / floats.name).read_bytes()


def test_another_threshold_needs_no_new_maps(folder, into, network):
    fill(folder, ["a.png"])
    assert photo_folder.map_folder(folder, network, SIZE).rows[0].verdict == "in focus"
    found = photo_folder.map_folder(folder, network, SIZE, min_score=1.01)
    assert found.reused == 1 and found.rows[0].verdict == lines(into)["a.png"]["verdict"] == "out of focus"


def test_a_run_that_is_stopped_keeps_what_it_finished(folder, into, network, one_thread):
    fill(folder, [f"{number}.png" for number in range(5)])
    network.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        photo_folder.map_folder(folder, network, SIZE)
    assert list(lines(into)) == ["0.png", "1.png", "2.png"]
    found = photo_folder.map_folder(folder, network, SIZE)
    assert found.reused == 3 and network.asked == 4 + 2
    assert list(lines(into)) == [f"{number}.png" for number in range(5)]


@pytest.mark.parametrize("victim", ["1.png_defocus.png", "1.png.jpg", "album.csv"])
def test_a_run_that_is_killed_while_it_writes(folder, into, tmp_path, network, victim, monkeypatch):
    fill(folder, [f"{number}.png" for number in range(3)])
    replace, run, kept = os.replace, tmp_path / "run", tmp_path / "kept"

    def killed(source, target):
        """Copy the folder of maps as it is at this moment, which is what a killed run leaves."""
        if os.path.basename(target) == victim and network.asked:
            shutil.copytree(run, kept)
            network.asked = -9
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    photo_folder.map_folder(folder, network, SIZE, run, jobs=1)
    monkeypatch.undo()
    assert list(kept.rglob(".*.part")) and len((kept / "album.csv").read_text().splitlines()) == 1
    kept.rename(into)
    network.asked = 0
    reused = photo_folder.map_folder(folder, network, SIZE).reused
    assert network.asked == 3 - reused and reused in ([3] if victim == "album.csv" else [0, 1])
    assert len(lines(into)) == 3 and not list(into.rglob(".*"))
    assert np.array_equal(levels(into, "1.png"), levels(into, "0.png"))


def test_photographs_stay_as_they_are(folder, into, network):
    kinds(folder)
    fill(folder, ["old_defocus.png"])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    photo_folder.map_folder(folder, network, SIZE)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert "old_defocus.png" not in lines(into)


def test_photographs_of_one_stem_have_a_map_each(folder, into, network):
    fill(folder, ["a.png"])
    fill(folder, ["a.jpg"], bright=60)
    photo_folder.map_folder(folder, network, SIZE)
    assert levels(into, "a.jpg").mean() > 2 * levels(into, "a.png").mean()


def test_file_names_may_hold_anything(folder, into, network):
    names = ["größe, 2.png", 'say "cheese".png', "two\nlines.png", "$a_{$.png", "a" * 80 + ".png"]
    names.append(os.fsdecode(b"\xff\xfe.png"))  # bytes that are no text
    fill(folder, ["plain.png"])
    for name in names:
        (folder / name).write_bytes((folder / "plain.png").read_bytes())
    assert {entry.file for entry in photo_folder.map_folder(folder, network, SIZE).rows} == {"plain.png", *names}
    found = photo_folder.map_folder(folder, network, SIZE)
    assert found.reused == 7
    photo_folder.write_sheets(found.rows, into)


def test_the_home_folder_is_expanded(folder, tmp_path, network, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder)
    fill(folder, ["a.png"])
    photo_folder.map_folder(f"~/{folder.relative_to(tmp_path)}", network, 32, into="~/maps", progress=False)
    assert (tmp_path / "maps/album.csv").is_file() and not Path("~").exists()


def test_the_maps_go_where_they_are_told(folder, tmp_path, network):
    fill(folder, ["a.png"])
    photo_folder.map_folder(folder, network, SIZE, tmp_path / "far/away")
    assert levels(tmp_path / "far/away", "a.png").shape == (60, 80)
    with pytest.raises(ValueError, match="contains the photos: choose another folder"):
        photo_folder.map_folder(folder, network, SIZE, folder / ".")
    assert [path.name for path in folder.iterdir()] == ["a.png"]


HEADER = ",".join(photo_folder.Row._fields)
OTHER_TABLES = [
    "file;width\na;1\n",
    "name\na\n",
    "",
    "\x00",
    f"{HEADER}\na,b,wide\n",
    f"{HEADER},my notes\na\n",  # would be lost
    f"{HEADER}\na{',' * len(photo_folder.Row._fields)}my note\n",
    f"{HEADER}\na,b,1,2,0.5 or so\n",
    f'{HEADER}\n"a,b\n',
    "\ufeffsep=;\nfile;width\n",
]


@pytest.mark.parametrize("content", OTHER_TABLES)
def test_a_table_of_something_else_is_left_alone(folder, into, network, content):
    fill(folder, ["a.png"])
    into.mkdir()
    (into / "album.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"album\.csv is not a table of maps \(.*\), expected the columns"):
        photo_folder.map_folder(folder, network, SIZE)
    assert (into / "album.csv").read_text(encoding="utf-8") == content and network.asked == 0


def saved_by_a_spreadsheet(
    into, separator=";", comma=True, encoding="utf-8", first="", order=1, quoted=csv.QUOTE_MINIMAL
):
    """Save the table again as other programs do."""
    with open(into / "album.csv", encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    numbers = [head.index(name) for name in photo_folder.NUMBERS]
    rows = [[cell.replace(".", ",") if comma and i in numbers else cell for i, cell in enumerate(row)] for row in rows]
    with open(into / "album.csv", "w", encoding=encoding, newline="") as file:
        file.write(first)
        csv.writer(file, delimiter=separator, quoting=quoted).writerows([head, *rows[::order]])


SPREADSHEETS = {
    "semicolons and decimal commas": {},
    "no mark": {"separator": ",", "comma": False},
    "commas twice": {"separator": ","},
    "tabs, 16 bits": {"separator": "\t", "encoding": "utf-16"},
    "every cell quoted": {"quoted": csv.QUOTE_ALL, "encoding": "utf-8-sig"},
    "says its separator": {"first": "sep=;\r\n"},
    "sorted": {"order": -1},
    "empty columns behind": {"first": ""},
}


@pytest.mark.parametrize("how", SPREADSHEETS)
def test_a_table_that_a_spreadsheet_saved_again_is_taken_over(folder, into, network, how):
    names = ["a.png", "größe; 2.png", "=1+1.png", 'say "a, b".png', "two\nlines.png"]
    fill(folder, names)
    photo_folder.map_folder(folder, network, SIZE)
    whole = (into / "album.csv").read_bytes()
    saved_by_a_spreadsheet(into, **SPREADSHEETS[how])
    if how == "empty columns behind":
        text = (into / "album.csv").read_text(encoding="utf-8")
        text = text.replace("maker", "maker;;").replace(f"at {SIZE}", f"at {SIZE};;")
        (into / "album.csv").write_text(text, encoding="utf-8")
    assert (into / "album.csv").read_bytes() != whole
    assert photo_folder.map_folder(folder, network, SIZE).reused == len(names)
    assert (into / "album.csv").read_bytes() == whole


MANGLED = [
    ("score", ""),
    ("score", "9341"),
    ("mean_blur", "nan"),
    ("sharp_share", "-0,1"),
    ("width", "0"),
    ("seconds", ""),
]


@pytest.mark.parametrize("column, cell", MANGLED)
def test_a_line_whose_numbers_were_spoilt_is_made_again(folder, into, network, column, cell):
    fill(folder, ["a.png", "b.png"])
    photo_folder.map_folder(folder, network, SIZE)
    whole = (into / "album.csv").read_bytes()
    with open(into / "album.csv", encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    rows[1][head.index(column)] = cell
    with open(into / "album.csv", "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    assert photo_folder.map_folder(folder, network, SIZE).reused == 1
    assert lines(into)["b.png"] | {"seconds": ""} == lines_of(whole)["b.png"] | {"seconds": ""}


def test_a_table_of_an_earlier_version_is_brought_up_to_date(folder, into, network):
    fill(folder, ["a.png", "b.png"])
    photo_folder.map_folder(folder, network, SIZE)
    with open(into / "album.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(into / "album.csv", "w", encoding="utf-8-sig", newline="") as file:
        columns = [name for name in photo_folder.Row._fields if name not in ("map", "score")]
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    for name in ("a.png", "b.png"):
        Image.fromarray(levels(into, name)).save(into / f"{name}_defocus.png")  # without this version's mark
    assert photo_folder.map_folder(folder, network, SIZE).reused == 0
    assert {line["map"] for line in lines(into).values()} == {"a.png_defocus.png", "b.png_defocus.png"}


# Names that are formulas for some spreadsheet, and names that only look like what `_guarded` makes of these.
FORMULAS = ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "\t=1.jpg", "\r=1.jpg", "\n=1.jpg", "＝1+1.jpg", "－1.jpg"]
FORMULAS += ["a;=1+1.jpg", "a\t\t=1.jpg", "a|-1.jpg", ";@.jpg", "a;'=1.jpg", "'=1+1.jpg"]
NO_FORMULAS = ["'a.jpg", "''b.jpg", "a=1.jpg", "a,=1.jpg", "a;'b.jpg", " =1.jpg", '"=1.jpg']


def test_no_name_becomes_a_formula(folder, into, network):
    names = FORMULAS + NO_FORMULAS
    fill(folder, ["plain.png"])
    for name in names:
        (folder / name).write_bytes((folder / "plain.png").read_bytes())
    (folder / "=broken.jpg").touch()
    found = photo_folder.map_folder(folder, network, SIZE)
    assert {entry.file for entry in found.rows} == {*names, "plain.png", "=broken.jpg"}
    text = (into / "album.csv").read_text(encoding="utf-8-sig")
    # As a spreadsheet of any country reads it: a quote counts where a cell begins with one.
    for separator in ",;\t|":
        rows = csv.reader(text.splitlines(keepends=True), delimiter=separator)
        assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r\n＝－"))], separator
    assert photo_folder.map_folder(folder, network, SIZE).reused == len(names) + 1
    assert set(photo_folder.read_table(into)) == {*names, "plain.png", "=broken.jpg"}


def test_folders_without_photographs(folder, network):
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        photo_folder.map_folder(folder, network, SIZE)
    fill(folder, ["a.jpg_defocus.png"])
    with pytest.raises(FileNotFoundError, match="my photographs contains only maps, expected photos"):
        photo_folder.map_folder(folder, network, SIZE)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        photo_folder.map_folder(folder / "nowhere", network, SIZE)


def test_a_place_that_cannot_be_written_stops_the_run_before_any_map(folder, into, network):
    fill(folder, ["a.png"])
    into.write_text("a file, not a folder")
    with pytest.raises(OSError, match="Cannot write"):
        photo_folder.map_folder(folder, network, SIZE)
    assert network.asked == 0


def test_what_is_passed_over_is_counted(folder, into, network):
    for name in ("c.CR2", "notes.txt", "README", "c.jpg", ".hidden.jpg", "c.jpg_defocus.png", "d_Defocus.PNG"):
        (folder / name).touch()
    for name in ("drawer.d", "sub.jpg", ".thumbnails"):
        (folder / name).mkdir()
    (folder / "drawer.d/e.text").touch()
    assert [path.name for path in photo_folder.list_photos(folder)] == ["c.jpg"]
    few = {".cr2 beside its photo": 1, ".txt": 1, "no ending": 1, "hidden": 1, "named like a map": 2}
    assert photo_folder.count_skipped(folder) == few | {"folder": 2}
    fill(folder / "sub.jpg", ["f.png"])
    assert photo_folder.count_skipped(folder, recursive=True) == few | {".text": 1}


def test_linked_folders_are_counted(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    fill(folder, ["a.png"])
    fill(tmp_path / "elsewhere", ["b.png"])
    for name in ("linked", ".linked"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    (folder / "sub").mkdir()
    assert photo_folder.list_photos(folder, recursive=True) == [folder / "a.png"]
    assert photo_folder.count_skipped(folder, recursive=True) == {"linked folder": 1}
    assert photo_folder.count_skipped(folder) == {"folder": 2}


def test_contact_sheets_beside_maps_are_no_photos(folder, into, network):
    fill(folder, ["a.png"])
    photo_folder.write_sheets(photo_folder.map_folder(folder, network, SIZE).rows, into)
    for recursive in (False, True):
        with pytest.raises(FileNotFoundError, match="contains only maps, expected photos"):
            photo_folder.list_photos(into, recursive)
    fill(into, ["contact_sheet_1.png"])
    assert photo_folder.list_photos(into) == [into / "contact_sheet_1.png"]
    assert photo_folder.count_skipped(into)["named like a map"] == 2


def unlistable(monkeypatch, *folders):
    """Make these folders ones that cannot be listed, for root too."""
    scan = os.scandir

    def scandir(path="."):
        if Path(path) in folders:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_subfolder_that_cannot_be_listed_is_named_and_the_run_goes_on(folder, into, network, monkeypatch):
    for name in ("a.png", "closed/b.png", "open/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        fill(folder, [name])
    unlistable(monkeypatch, folder / "closed")
    rows = {row.file: row.problem for row in photo_folder.map_folder(folder, network, SIZE, recursive=True).rows}
    assert rows.pop("closed") == "closed is a folder that cannot be listed: change its permissions, or move it."
    assert rows == {"a.png": "", "open/c.png": ""} and photo_folder.count_skipped(folder, recursive=True) == {}
    monkeypatch.undo()
    photo_folder.map_folder(folder, network, SIZE, recursive=True)
    assert list(lines(into)) == ["a.png", "closed/b.png", "open/c.png"]


def test_photos_that_no_decoder_reads_are_named(folder, network):
    fill(folder, ["a.png"])
    (folder / "b.nef").write_bytes((folder / "a.png").read_bytes())  # its pixels would be those of a preview
    (folder / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "d.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (folder / "a.dng").touch()
    problems = {row.file: row.problem for row in photo_folder.map_folder(folder, network, SIZE).rows}
    assert problems.keys() == {"a.png", "b.nef", "c.heic", "d.jxl"} and not problems["a.png"]
    assert problems["b.nef"].startswith("b.nef is a raw file of a camera") and "not recognised" in problems["d.jxl"]
    assert "HEIC" in problems["c.heic"]


def test_a_folder_that_is_named_like_a_photograph_is_none(folder, into, network):
    fill(folder, ["a.png"])
    for name in ("sub.jpg", "2024.png", "b.tiff"):
        (folder / name).mkdir()
        fill(folder / name, ["inside.png"])
    photo_folder.map_folder(folder, network, SIZE)
    assert list(lines(into)) == ["a.png"] and photo_folder.count_skipped(folder) == {"folder": 3}


def test_subfolders_are_mapped_into_a_tree_of_their_own(folder, into, network):
    tree = ["a.png", "sub/a.png", "sub/deeper/2.png", "sub.jpg/a.png", "previews/a.png"]
    for number, name in enumerate(tree):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        fill(folder, [name], bright=10 + 10 * number)
    fill(folder / "sub", ["broken.png"])
    (folder / "sub/broken.png").write_bytes(b"no picture")
    found = photo_folder.map_folder(folder, network, SIZE, recursive=True)
    assert set(lines(into)) == {*tree, "sub/broken.png"}
    assert lines(into)["sub/broken.png"]["problem"].startswith("sub/broken.png cannot be read")
    for number, name in enumerate(tree):
        assert (levels(into, name) > 127).mean() == pytest.approx((10 + 10 * number) / 80, abs=0.03)
        assert (into / f"previews/{name}.jpg").is_file() and lines(into)[name]["map"] == f"{name}_defocus.png"
    assert photo_folder.map_folder(folder, network, SIZE, recursive=True).reused == len(tree)
    photo_folder.write_sheets(found.rows, into)
    assert list(lines(into)) == [entry.file for entry in found.rows]


def test_folders_of_maps_hold_no_photographs(folder, network):
    for name in ("a.png", "sub/b.png", "sub/c/d.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        fill(folder, [name])
    photo_folder.map_folder(folder / "sub", network, SIZE)  # its maps lie in the folder, too
    photo_folder.map_folder(folder, network, SIZE, into=folder / "maps", recursive=True)
    assert (folder / "sub_defocus/previews/b.png.jpg").is_file() and (folder / "maps/previews/a.png.jpg").is_file()
    again = photo_folder.map_folder(folder, network, SIZE, into=folder / "maps", recursive=True)
    assert {entry.file for entry in again.rows} == {"a.png", "sub/b.png", "sub/c/d.png"} and again.reused == 3
    assert photo_folder.count_skipped(folder, recursive=True) == {}


LONG = ["я" * 115 + "1.png", "a" * 251 + ".png", "é" * 120 + "b.png", "\U0001d538" * 61 + ".png", "c" * 227 + ".png"]


def test_the_longest_names_have_maps(folder, into, network):
    fill(folder, ["z.png"])
    for name in LONG:
        (folder / name).write_bytes((folder / "z.png").read_bytes())
    found = photo_folder.map_folder(folder, network, SIZE)
    assert [entry.problem for entry in found.rows] == [""] * 6
    for entry in found.rows:
        assert Image.open(into / entry.map).size == (80, 60)
        assert (entry.map == f"{entry.file}_defocus.png") == (entry.file == "z.png")
        assert entry.map.startswith(entry.file[:20])
    assert photo_folder.map_folder(folder, network, SIZE).reused == 6
    photo_folder.write_sheets(found.rows, into)


def test_map_names_are_one_to_one_and_fit():
    longest = files.MAX_NAME_BYTES
    alike = [f"{'x' * 250}{number}.png" for number in range(3)]
    forms = [unicodedata.normalize(form, "fiancé Å.png") for form in ("NFC", "NFD")]
    forms += ["FIANCÉ å.PNG", "straße.png", "STRASSE.png"]
    edges = ["b" * (longest - 4) + ".png", "b" * (longest - 3) + ".png", "/".join(["d" * 200] * 3) + "/a.png"]
    given = alike + forms + edges
    names = photo_folder.map_names(given)
    places = [unicodedata.normalize("NFC", name).casefold() for name in names.values()]
    assert len(set(places)) == len(given)
    assert all(len(os.fsencode(part)) <= 255 - 17 for name in names.values() for part in name.split("/"))
    assert names[edges[0]] == f"{edges[0]}_defocus.png" and names[edges[1]] != f"{edges[1]}_defocus.png"
    assert names[edges[2]] == f"{edges[2]}_defocus.png"
    assert photo_folder.map_names(given[::-1]) == names
    # A mark is of the name alone.
    assert {photo_folder.map_names([name])[name] for name in alike} == {names[name] for name in alike}


FORMS = ["größe.png", "한글.png", "Ångström.png", "\u212bngstr.png"]


def test_names_that_differ_by_their_unicode_form_have_a_map_and_a_line_each(folder, into, network):
    names = {unicodedata.normalize(form, name) for name in FORMS for form in ("NFC", "NFD")} | {*FORMS}
    for number, name in enumerate(sorted(names)):
        (folder / name).touch()
        if sum(path.name == name for path in folder.iterdir()) != 1:
            pytest.skip("this file system has one place for both forms")
        fill(folder, [name], bright=8 * number)
    found = photo_folder.map_folder(folder, network, SIZE)
    assert set(lines(into)) == names and len({entry.map for entry in found.rows}) == len(names)
    for number, name in enumerate(sorted(names)):
        white = np.asarray(Image.open(into / lines(into)[name]["map"]))
        assert (white > 127).mean() == pytest.approx(number / 10, abs=0.04)
    plain, other = (unicodedata.normalize(form, "größe.png") for form in ("NFC", "NFD"))
    (folder / other).unlink()
    # What a file system with one place for both shows.
    shutil.copy(into / f"{other}_defocus.png", into / f"{plain}_defocus.png")
    shutil.copy(into / f"previews/{other}.jpg", into / f"previews/{plain}.jpg")
    found = photo_folder.map_folder(folder, network, SIZE)
    # The one that is left takes the plain name, and its own map is made there.
    (line,) = [entry for entry in found.rows if entry.file == plain]
    assert found.reused == len(names) - 2 and line.map == f"{plain}_defocus.png"
    assert (levels(into, plain) > 127).mean() == pytest.approx(sorted(names).index(plain) / 10, abs=0.04)


def fails(monkeypatch, end, number):
    """Writing fails where a file's name ends so."""
    replace = os.replace

    def failing(source, target):
        if str(target).endswith(end):
            raise OSError(number, os.strerror(number))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)


ONE_FILE = [
    ("b.png_defocus.png", errno.EACCES),
    ("b.png.jpg", errno.EIO),
    ("b.png_defocus.png", errno.EILSEQ),
    ("b.png.jpg", errno.ENAMETOOLONG),
]


@pytest.mark.parametrize("end, number", ONE_FILE)
def test_a_file_that_cannot_be_written_is_a_line_and_the_run_goes_on(folder, into, network, end, number, monkeypatch):
    fill(folder, ["a.png", "b.png", "c.png"])
    with monkeypatch.context() as patch:
        fails(patch, end, number)
        photo_folder.map_folder(folder, network, SIZE)
    table = lines(into)
    assert [bool(line["problem"]) for line in table.values()] == [False, True, False]
    assert end in table["b.png"]["problem"] and os.strerror(number) in table["b.png"]["problem"]
    assert not list(into.rglob(".*"))
    assert photo_folder.map_folder(folder, network, SIZE).reused == 2 and not lines(into)["b.png"]["problem"]


ALL_FILES = [
    ("b.png_defocus.png", errno.ENOSPC),
    ("b.png.jpg", errno.EDQUOT),
    ("b.png.jpg", errno.EROFS),
    ("g", errno.EACCES),
]


@pytest.mark.parametrize("end, number", ALL_FILES)
def test_what_concerns_all_photographs_ends_the_run(folder, into, network, end, number, monkeypatch):
    fill(folder, ["a.png", "b.png", "c.png"])
    photo_folder.map_folder(folder, network, SIZE)
    for name in ("b.png", "c.png"):
        os.utime(folder / name, (1, 1))
    fails(monkeypatch, end, number)
    if number == errno.EACCES:  # the folder of the maps: its trial fails as well
        fails(monkeypatch, ".trial", number)
    with pytest.raises(OSError, match="Cannot write .*Make room"):
        photo_folder.map_folder(folder, network, SIZE)
    # The network may have gone on to the next photo.
    assert list(lines(into)) in (["a.png"], ["a.png", "c.png"]) and network.asked in (4, 5)
    assert not list(into.rglob(".*"))


def full_memory(where, monkeypatch, error):
    """The second photograph's computation meets an error."""
    found, asked = getattr(mapping, where), []

    def failing(*given, **named):
        asked.append(1)
        if len(asked) == 2:
            raise error
        return found(*given, **named)

    monkeypatch.setattr(mapping, where, failing)


MEMORY = [
    ("_predict", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")),
    ("_predict", torch.OutOfMemoryError("CUDA out of memory.")),
    ("read_reduced", MemoryError()),
    ("as_levels", MemoryError("Unable to allocate 9 GiB")),
    ("overlay", MemoryError()),
]


@pytest.mark.parametrize("where, error", MEMORY)
def test_a_photograph_that_takes_too_much_memory_is_a_line(folder, into, network, where, error, monkeypatch):
    fill(folder, ["a.png", "b.png", "c.png"])
    full_memory(where, monkeypatch, error)
    photo_folder.map_folder(folder, network, SIZE, jobs=1, batch=1)  # one by one: nothing is tried again
    table = lines(into)
    assert [line["problem"] for line in table.values()][::2] == ["", ""]
    assert table["b.png"]["problem"].startswith("b.png needs more memory than is available: ")


def test_an_error_of_the_program_is_no_line(folder, network, monkeypatch):
    fill(folder, ["a.png", "b.png"])
    full_memory("_predict", monkeypatch, RuntimeError("sizes of tensors must match"))
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        photo_folder.map_folder(folder, network, SIZE)


@pytest.mark.parametrize("gone", ["b.png", "*.png", "."])
def test_photographs_that_vanish_while_the_run_works(folder, into, network, gone, monkeypatch):
    fill(folder, ["a.png", "b.png", "c.png"])
    found = mapping.read_reduced

    def reads(path, least):
        if path.name == "b.png":
            for each in folder.glob("*.png" if gone == "." else gone):
                each.unlink()
            if gone == ".":
                folder.rmdir()
        return found(path, least)

    monkeypatch.setattr(mapping, "read_reduced", reads)
    if gone == ".":
        with pytest.raises(FileNotFoundError, match="my photographs was removed: restore it"):
            photo_folder.map_folder(folder, network, SIZE, jobs=1)
        assert list(lines(into)) == ["a.png"]
        return
    photo_folder.map_folder(folder, network, SIZE, jobs=1)
    lost = ["b.png", "c.png"] if gone == "*.png" else ["b.png"]
    assert [name for name, line in lines(into).items() if "There is no file" in line["problem"]] == lost


def test_a_line_of_a_problem_is_one_line(folder, into, network):
    names = ["two\nlines.png", "re\rturn.png", "para\u2029graph.png", os.fsdecode(b"\xff.png")]
    for name in names:
        (folder / name).touch()
    for entry in photo_folder.map_folder(folder, network, SIZE).rows:
        assert len(entry.problem.splitlines()) == 1 and "\\" in entry.problem
    assert set(photo_folder.read_table(into)) == set(names)


def test_a_file_at_a_map_s_place_is_not_replaced(folder, into, network):
    fill(folder, ["a.png", "b.png", "c.png", "d.png", "e.png"])
    into.mkdir()
    fill(into, ["a.png_defocus.png"])  # a picture of somebody's own
    (into / "b.png_defocus.png").write_text("notes")
    (into / "c.png_defocus.png").mkdir()
    (into / "d.png_defocus.png").symlink_to(into / "nowhere")
    before = (into / "a.png_defocus.png").read_bytes()
    for _ in range(2):
        table = {entry.file: entry for entry in photo_folder.map_folder(folder, network, SIZE).rows}
        for name in "abcd":
            assert f"{name}.png_defocus.png exists already and is not a map" in table[f"{name}.png"].problem
        assert not table["e.png"].problem and network.asked == 1
    assert (into / "a.png_defocus.png").read_bytes() == before and (into / "b.png_defocus.png").read_text() == "notes"
    (into / "album.csv").unlink()
    assert not {entry.file: entry for entry in photo_folder.map_folder(folder, network, SIZE).rows}["e.png"].problem


def test_a_photograph_may_be_named_like_a_contact_sheet(folder, into, network):
    names = ["contact_sheet_001.png", "contact_sheet_2.jpg", "contact_sheet_x.png", "album.csv.png"]
    fill(folder, names)
    found = photo_folder.map_folder(folder, network, SIZE)
    for _ in range(2):
        photo_folder.write_sheets(found.rows, into)
    assert all((into / f"{name}_defocus.png").is_file() for name in names)


def test_names_whose_characters_no_font_has_make_no_warning(folder, into, network, recwarn):
    fill(folder, ["\U0001f9a9 flamingo.png"])
    photo_folder.write_sheets(photo_folder.map_folder(folder, network, SIZE).rows, into)
    assert [str(each.message) for each in recwarn if "Glyph" in str(each.message)] == []


@pytest.mark.slow
def test_contact_sheets_show_every_photograph(folder, into, network):
    fill(folder, [f"{number}.png" for number in range(21)])
    (folder / "broken.jpg").touch()
    found = photo_folder.map_folder(folder, network, SIZE)
    pages = photo_folder.write_sheets(found.rows, into)
    assert [page.name for page in pages] == ["contact_sheet_001.png", "contact_sheet_002.png"]
    assert all(Image.open(page).width > 900 for page in pages)
    texts, pictures = [], []
    for number in (1, 2):
        figure = photo_folder.contact_sheet(found.rows, into, number).figure
        texts.append([text.get_text() for text in figure.axes[0].texts])
        pictures.append(len(figure.axes[0].images))
        assert smallest_text(figure) >= text_size(figure.get_figwidth())
    assert texts[0][1] == f"0.png\nin focus, {found.rows[0].score:.2f}" and len(texts[0]) == 21
    assert texts[1][1:] == [texts[0][1].replace("0.png", "20.png"), "no picture:\nsee the table", "broken.jpg\nproblem"]
    assert pictures == [20, 1]

    times = [page.stat().st_mtime_ns for page in pages]
    photo_folder.write_sheets(found.rows, into)
    assert [page.stat().st_mtime_ns for page in pages] == times
    photo_folder.write_sheets(found.rows[:3], into)
    assert pages[0].stat().st_mtime_ns > times[0] and not pages[1].exists()


def test_a_preview_tints_what_is_blurred(folder, into, network):
    fill(folder, ["a.png"], height=300, width=400, bright=100)
    photo_folder.map_folder(folder, network, 64)
    preview = np.asarray(Image.open(into / "previews/a.png.jpg")).astype(int)
    assert preview.shape == (180, 240, 3)
    # The tint is orange: blue falls where the map is white, and stays where it is black.
    assert (preview[:, :50, 0] - preview[:, :50, 2]).min() > 100
    assert np.abs(preview[:, 80:, 0] - preview[:, 80:, 2]).max() < 60


NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks/13_own_photographs.ipynb"


def sources():
    return [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_the_notebook_calls_in_focus_what_the_library_does():
    assert parameters.read_parameters(sources()[0])["min_score"] == MIN_SCORE


@pytest.mark.parametrize("name, value", [("tile", 100), ("tile", 321), ("tile", 16), ("min_score", 1.5), ("size", -1)])
def test_the_notebook_refuses_parameters_in_its_first_cell(name, value):
    setting, begin = sources()[:2]
    namespace = {"In": [setting]}
    exec(setting, namespace)
    namespace[name] = value
    with pytest.raises(ValueError, match=f"Parameter {name} of 13_own_photographs must be .*, not {value}"):
        exec(begin, namespace)
