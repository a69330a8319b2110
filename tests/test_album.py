"""A folder in, maps and a table out: every kind of file, again, changed, stopped, and nothing lost."""

import csv
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from test_figures import smallest_text

from defusion_lib import album
from defusion_lib.detection import detect
from defusion_lib.figures import text_size
from defusion_lib.network import Maps

SIZE = 32


class Bright(torch.nn.Module):
    """Calls blurred what is bright, and counts what it was asked; at `stop_at` it stops the run."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))
        self.asked, self.stop_at = 0, None

    def forward(self, photo):
        self.asked += 1
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        return Maps(self.scale * (photo.mean(dim=1, keepdim=True) - 0.5), [])


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


def scene(height=60, width=80, bright=20):
    """A photograph whose first `bright` columns are bright, with some texture."""
    texture = np.random.default_rng(0).integers(0, 30, (height, width))
    grey = np.where(np.arange(width) < bright, 225, 25) + texture
    return np.stack([grey, grey - 10, grey], axis=-1).astype(np.uint8)


def fill(folder, names, **what):
    for name in names:
        Image.fromarray(scene(**what)).save(folder / name)


def lines(into):
    """The table, read by other code: {file: {column: text}}."""
    with open(into / "album.csv", encoding="utf-8-sig", newline="") as file:
        return {line["file"]: line for line in csv.DictReader(file)}


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
    found = album.update(folder, network, SIZE)
    assert [entry.problem for entry in found.entries] == [""] * 10
    assert network.asked == 10
    for entry in found.entries:
        assert (entry.width, entry.height) == (80, 60)
        white = levels(into, entry.file)
        assert white.shape == (60, 80) and white.dtype == np.uint8
        # A quarter is bright; squashed to 32 pixels and back its edge is as wide as two or three of 80.
        assert white[:, :17].min() > 200 and white[:, 23:].max() < 55, entry.file


BROKEN = {
    "cut.jpg": "truncated",
    "empty.png": "format is not recognised",
    "letter.jpg": "format is not recognised",
    "page.webp": "format is not recognised",
    "float.tif": "no agreed range",
    "head.png": "cannot be read as a picture",
    "gone.jpg": "there is no file",
    "drawer.png": "there is no file",
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
    (folder / "drawer.png").mkdir()


def test_broken_files_are_named_and_the_run_goes_on(folder, into, network):
    breaks(folder)
    fill(folder, ["a.jpg", "z.png"])
    album.update(folder, network, SIZE)
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
    album.update(folder, network, SIZE)
    table = lines(into)
    assert list(table) == ["2.png", "10.png", "b.png"]
    for name, line in table.items():
        white = levels(into, name)
        assert float(line["sharp_share"]) == pytest.approx((white / 255 <= 0.5).mean(), abs=5.1e-5)
        assert float(line["mean_blur"]) == pytest.approx(white.astype(float).mean() / 255, abs=5.1e-5)
        assert float(line["seconds"]) >= 0
    assert [line["verdict"] for line in table.values()] == ["partly", "in focus", "out of focus"]
    assert (table["2.png"]["width"], table["2.png"]["height"]) == ("80", "45")


@pytest.mark.parametrize(
    "share, word",
    [(1, "in focus"), (0.75, "in focus"), (0.74, "partly"), (0.26, "partly"), (0.25, "out of focus")],
)
def test_verdict(share, word):
    assert album.verdict(share, 0.25) == word


@pytest.mark.parametrize("name", ["large.png", "large.jpg"])
def test_a_large_photograph_is_read_smaller_for_the_same_map(folder, into, network, name):
    fill(folder, [name], height=300, width=500, bright=230)
    album.update(folder, network, SIZE)
    whole = detect(np.asarray(Image.open(folder / name)), network, SIZE)
    assert np.abs(levels(into, name) / 255 - whole).max() < 0.02
    assert np.abs(levels(into, name) / 255 - whole).mean() < 0.004  # two levels, half of it rounding


def test_full_resolution_is_made_of_tiles(folder, into, network, monkeypatch):
    fill(folder, ["a.png"])
    known = np.linspace(0, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    seen = []
    monkeypatch.setattr(album, "detect_tiles", lambda image, *given, **how: seen.append(image) or known)
    album.update(folder, network, 0)
    assert np.array_equal(seen[0], scene()) and network.asked == 0
    assert np.abs(levels(into, "a.png") / 255 - known).max() <= 0.5001 / 255


def test_a_second_run_maps_what_is_new_changed_or_unfinished(folder, into, network):
    fill(folder, [f"{number}.png" for number in range(6)])
    (folder / "broken.jpg").touch()
    assert album.update(folder, network, SIZE).taken_over == 0
    assert network.asked == 6
    before = (into / "album.csv").read_bytes()

    found = album.update(folder, network, SIZE)
    assert (network.asked, found.taken_over) == (6, 6)
    names = [entry.file for entry in found.entries]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "broken.jpg"]
    assert (into / "album.csv").read_bytes() == before

    fill(folder, ["new.png"])
    fill(folder, ["1.png"], bright=70)
    os.utime(folder / "2.png", (1, 1))
    (into / "3.png_defocus.png").unlink()
    (into / "previews/4.png.jpg").unlink()
    (folder / "5.png").unlink()
    fill(folder, ["broken.jpg"])
    found = album.update(folder, network, SIZE)
    assert (network.asked, found.taken_over) == (6 + 6, 1)
    assert (into / "3.png_defocus.png").is_file() and (into / "previews/4.png.jpg").is_file()
    table = lines(into)
    assert float(table["1.png"]["sharp_share"]) < 0.2
    assert "5.png" not in table and not table["broken.jpg"]["problem"]


def test_another_size_or_network_maps_all_again(folder, network):
    fill(folder, ["a.png", "b.png"])
    album.update(folder, network, SIZE)
    assert album.update(folder, network, 64).taken_over == 0
    assert album.update(folder, network, 64).taken_over == 2
    with torch.no_grad():
        network.scale += 1
    assert album.update(folder, network, 64).taken_over == 0


def test_another_threshold_needs_no_new_maps(folder, into, network):
    fill(folder, ["a.png"])
    album.update(folder, network, SIZE, few=0.1)
    assert lines(into)["a.png"]["verdict"] == "partly"
    found = album.update(folder, network, SIZE, few=0.4)
    assert found.taken_over == 1 and found.entries[0].verdict == lines(into)["a.png"]["verdict"] == "in focus"


def test_a_run_that_is_stopped_keeps_what_it_finished(folder, into, network):
    fill(folder, [f"{number}.png" for number in range(5)])
    network.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        album.update(folder, network, SIZE)
    assert list(lines(into)) == ["0.png", "1.png", "2.png"]
    found = album.update(folder, network, SIZE)
    assert found.taken_over == 3 and network.asked == 4 + 2
    assert list(lines(into)) == [f"{number}.png" for number in range(5)]


@pytest.mark.parametrize("victim", ["1.png_defocus.png", "1.png.jpg", "album.csv"])
def test_a_run_that_is_killed_while_it_writes(folder, into, network, victim, monkeypatch):
    fill(folder, [f"{number}.png" for number in range(3)])
    replace = os.replace

    def killed(source, target):
        if os.path.basename(target) == victim and network.asked == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        album.update(folder, network, SIZE)
    assert list(lines(into)) == ["0.png"]
    assert not (into / victim).exists() or victim == "album.csv"
    monkeypatch.undo()
    (part,) = into.rglob(".*.part")
    part.rename(part.with_name(f".{victim}.1.part"))  # the next run is another process
    assert album.update(folder, network, SIZE).taken_over == 1
    assert len(lines(into)) == 3 and not list(into.rglob(".*.part"))
    assert np.array_equal(levels(into, "1.png"), levels(into, "0.png"))


def test_photographs_stay_as_they_are(folder, into, network):
    kinds(folder)
    fill(folder, ["old_defocus.png"])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    album.update(folder, network, SIZE)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert "old_defocus.png" not in lines(into)


def test_photographs_of_one_stem_have_a_map_each(folder, into, network):
    fill(folder, ["a.png"])
    fill(folder, ["a.jpg"], bright=60)
    album.update(folder, network, SIZE)
    assert levels(into, "a.jpg").mean() > 2 * levels(into, "a.png").mean()


def test_file_names_may_hold_anything(folder, into, network):
    names = ["größe, 2.png", 'say "cheese".png', "two\nlines.png", "$a_{$.png", "a" * 80 + ".png"]
    names.append(os.fsdecode(b"\xff\xfe.png"))  # bytes that are no text
    fill(folder, ["plain.png"])
    for name in names:
        (folder / name).write_bytes((folder / "plain.png").read_bytes())
    assert {entry.file for entry in album.update(folder, network, SIZE).entries} == {"plain.png", *names}
    found = album.update(folder, network, SIZE)
    assert found.taken_over == 7
    for figure in album.contact_sheets(found.entries, into):
        plt.close(figure)


def test_the_maps_go_where_they_are_told(folder, tmp_path, network):
    fill(folder, ["a.png"])
    album.update(folder, network, SIZE, tmp_path / "far/away")
    assert levels(tmp_path / "far/away", "a.png").shape == (60, 80)
    with pytest.raises(ValueError, match="holds the photographs: choose another folder"):
        album.update(folder, network, SIZE, folder / ".")
    assert [path.name for path in folder.iterdir()] == ["a.png"]


HEADER = ",".join(album.Entry._fields)


@pytest.mark.parametrize("content", ["file;width\na;1\n", "name\na\n", "", "\x00", f"{HEADER}\na,wide\n"])
def test_a_table_of_something_else_is_left_alone(folder, into, network, content):
    fill(folder, ["a.png"])
    into.mkdir()
    (into / "album.csv").write_text(content)
    with pytest.raises(ValueError, match=r"album\.csv is no table of maps \(.*\): expected the columns"):
        album.update(folder, network, SIZE)
    assert (into / "album.csv").read_text() == content and network.asked == 0


def test_folders_without_photographs(folder, network):
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        album.update(folder, network, SIZE)
    fill(folder, ["a.jpg_defocus.png"])
    with pytest.raises(FileNotFoundError, match="my photographs holds maps only: expected photographs"):
        album.update(folder, network, SIZE)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        album.update(folder / "nowhere", network, SIZE)


def test_a_place_that_cannot_be_written_stops_the_run_before_any_map(folder, into, network):
    fill(folder, ["a.png"])
    into.write_text("a file, not a folder")
    with pytest.raises(OSError, match="Cannot write"):
        album.update(folder, network, SIZE)
    assert network.asked == 0


def test_files_of_other_kinds_are_counted(folder):
    for name in ("a.HEIC", "b.heic", "notes.txt", "README", "c.jpg", ".hidden.raw"):
        (folder / name).touch()
    (folder / "drawer.d").mkdir()
    assert album.others(folder) == {".heic": 2, ".txt": 1, "": 1}


def test_contact_sheets_show_every_photograph(folder, into, network):
    fill(folder, [f"{number}.png" for number in range(21)])
    (folder / "broken.jpg").touch()
    found = album.update(folder, network, SIZE)
    texts = []
    for figure in album.contact_sheets(found.entries, into):
        shown = [axis for axis in figure.axes if axis.get_title()]
        texts.append([axis.get_title() for axis in shown])
        pictures = [len(axis.images) for axis in shown]
        assert smallest_text(figure) >= text_size(figure.get_figwidth())
        plt.close(figure)
    assert [len(page) for page in texts] == [20, 2]
    assert texts[0][0] == "0.png\npartly, 75% sharp"
    assert texts[1] == ["20.png\npartly, 75% sharp", "broken.jpg\nproblem"]
    assert pictures == [1, 0]
    pages = [into / f"contact_sheet_00{number}.png" for number in (1, 2)]
    assert all(Image.open(page).width > 900 for page in pages)

    for figure in album.contact_sheets(found.entries[:3], into):
        plt.close(figure)
    assert pages[0].is_file() and not pages[1].exists()


def test_a_preview_tints_what_is_blurred(folder, into, network):
    fill(folder, ["a.png"], height=300, width=400, bright=100)
    album.update(folder, network, 64)
    preview = np.asarray(Image.open(into / "previews/a.png.jpg")).astype(int)
    assert preview.shape == (180, 240, 3)
    # The tint is orange: blue falls where the map is white, and stays where it is black.
    assert (preview[:, :50, 0] - preview[:, :50, 2]).min() > 100
    assert np.abs(preview[:, 80:, 0] - preview[:, 80:, 2]).max() < 60
