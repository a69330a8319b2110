"""Read 300 damaged files and judge the result of each: `make fuzz`, or `python -m tools.fuzz jpeg table`.

Every case is a file of one kind with one damage, from a separate seed, in a new folder. It may end as
- sentence: the reader raises an error of the library, one sentence that names the file, and the folder is unchanged;
- same: the result is that of the undamaged file, because the damaged bytes are not read;
- right: the result differs, and a check that does not use the reader finds it in the damaged file. Where a format has
  no checksum, this is all that can be checked: a flipped bit of a BMP is a pixel of another colour.
Anything else is a defect, and the command exits with 1: another error, an error of several lines, an extra or changed
file, a result that no check confirms.
"""

import argparse
import ast
import csv
import io
import json
import re
import shutil
import struct
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pillow_heif
import safetensors.torch
import tifffile
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from defusion_lib.apps import photo_folder
from defusion_lib.backbone import VGG16
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.files import read_image, read_mask
from defusion_lib.network import Maps
from defusion_lib.runs import parameters
from defusion_lib.training import MASKS, Recipe, train
from defusion_lib.weights import load_backbone, load_network, save_network, weights_hash
from tools import execute

SEED = 13
LONGEST = 1000  # characters per sentence
SHAPE = (40, 56)  # height and width of the pictures, in pixels


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    count:    number of cases among the 300
    file:     name of the file
    make:     writes the undamaged file
    read:     reads a file with the library; results are compared with ==; raises where the library refuses the file
    right:    checks a result that differs from the undamaged file's by the file's bytes; (path, found, undamaged)
    damages:  {name: function} beside the `DAMAGES` of every kind; each writes the damaged file over the undamaged one
    head:     number of header bytes, for flipped bits
    """

    count: int
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    right: Callable[[Path, object, object], bool] = lambda path, found, undamaged: False
    damages: dict[str, Callable[[Path, np.random.Generator], None]] = field(default_factory=dict)
    head: int = 64


class Case(NamedTuple):
    """One damaged file: its kind, its damage, and the seed of the damage."""

    kind: str
    damage: str
    seed: tuple[int, int]


class End(NamedTuple):
    """The outcome of a case, "sentence", "same", "right" or "defect", and the error's sentence or the defect."""

    outcome: str
    words: str


# ------------------------------------------------------------------------------------------------ damages


def of_bytes(change: Callable[[bytearray, np.random.Generator, int], bytes | bytearray]):
    """Make a damage from a function that changes a file's bytes; its third argument is the length of the header."""

    def damage(path: Path, rng: np.random.Generator, head: int) -> Path:
        path.write_bytes(change(bytearray(path.read_bytes()), rng, head))
        return path

    return damage


def flipped(content: bytearray, places: np.ndarray, rng: np.random.Generator) -> bytearray:
    for place in places:
        content[place] ^= 1 << int(rng.integers(8))
    return content


def zeroed(content, rng, head):
    length = int(rng.integers(8, max(len(content) // 4, 9)))
    start = int(rng.integers(max(len(content) - length, 1)))
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def swapped(content, rng, head):
    length = int(rng.integers(4, max(len(content) // 6, 5)))
    one, other = sorted(int(place) for place in rng.integers(len(content) - length, size=2))
    other = max(other, min(one + length, len(content) - length))
    first, second = content[one : one + length], content[other : other + length]
    content[one : one + length], content[other : other + length] = second, first
    return content


def wrong_length(content, rng, head):
    """Write a number at a place where the header may hold a length."""
    place = int(rng.integers(0, min(head, len(content) - 4)))
    number = int(rng.choice([0, 1, 255, 65535, 2**31 - 1, 2**32 - 1]))
    content[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
    return content


def inserted(content, rng, head):
    place = int(rng.integers(len(content)))
    return content[:place] + rng.bytes(int(rng.integers(1, 30))) + content[place:]


def removed(content, rng, head):
    place = int(rng.integers(len(content)))
    return content[:place] + content[place + int(rng.integers(1, 9)) :]


def folder_of_that_name(path: Path, rng: np.random.Generator, head: int) -> Path:
    path.unlink()
    path.mkdir()
    return path


def gone(path: Path, rng: np.random.Generator, head: int) -> Path:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("deleted"))
    return path


def renamed(path: Path, rng: np.random.Generator, head: int) -> Path:
    suffixes = [".jpg", ".png", ".tif", ".bmp", ".gif", ".txt", ".yaml", ".pt", ".part", ""]
    return path.rename(path.with_suffix(rng.choice([suffix for suffix in suffixes if suffix != path.suffix])))


def other_file(content, rng, head):
    """Return content that files can have by mistake: a web page, a Git LFS pointer, an archive, text, noise."""
    return [
        b"<!DOCTYPE html><html><body>Sign in</body></html>\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        b"PK\3\4" + rng.bytes(60),
        "Es ist ein Text.\n".encode("utf-16"),
        rng.bytes(500),
    ][int(rng.integers(5))]


DAMAGES = {
    "truncated": of_bytes(lambda content, rng, head: content[: int(rng.integers(1, len(content)))]),
    "header bits": of_bytes(
        lambda content, rng, head: flipped(content, rng.integers(min(head, len(content)), size=2), rng)
    ),
    "body bits": of_bytes(
        lambda content, rng, head: flipped(
            content, rng.integers(min(head, len(content) - 1), len(content), size=3), rng
        )
    ),
    "zeroed": of_bytes(zeroed),
    "swapped": of_bytes(swapped),
    "wrong length": of_bytes(wrong_length),
    "inserted": of_bytes(inserted),
    "removed": of_bytes(removed),
    "other file": of_bytes(other_file),
    "empty": of_bytes(lambda content, rng, head: b""),
    "folder": folder_of_that_name,
    "gone": gone,
    "renamed": renamed,
}  # fmt: skip


# ----------------------------------------------------------------------------------------------- pictures


@cache
def photograph() -> np.ndarray:
    """Make a photo with smooth and detailed parts, uint8 (H, W, 3)."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(0, 256, (5, 7, 3), np.uint8)
    picture = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    picture[:, 28:] = rng.integers(0, 256, (40, 28, 3), np.uint8)
    return picture


@cache
def blurred() -> np.ndarray:
    """Make a mask of 0 and 255, uint8 (H, W)."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[6:30, 10:40] = 255
    return mask


def write_picture(path: Path, **how) -> None:
    Image.fromarray(photograph()).save(path, **how)


def jpeg_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    """Check that a picture has the size in one of the file's frame headers: its pixels have no checksum."""
    sizes = re.findall(rb"\xff[\xc0-\xc2]..\x08(....)", path.read_bytes(), re.DOTALL)
    return found.shape[:2] in [struct.unpack(">HH", size) for size in sizes]


def bmp_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    """Check a picture with another reader: a BMP of 1, 24 or 32 bits by the definition of the format."""
    content = path.read_bytes()
    (start,), (width, height, _, bits) = struct.unpack_from("<I", content, 10), struct.unpack_from("<iiHH", content, 18)
    stride = (width * bits + 31) // 32 * 4
    rows = np.frombuffer(content, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
    if bits == 1:
        table = np.frombuffer(content, np.uint8, 8, 54).reshape(2, 4)
        pixels = table[np.unpackbits(rows, axis=1)[:, :width]][..., 2::-1]
    else:
        pixels = rows[:, : width * bits // 8].reshape(abs(height), width, bits // 8)[..., 2::-1]
    return np.array_equal(found, pixels if height < 0 else pixels[::-1])


def tiff_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        pixels = page.asarray()
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = 255 - pixels if page.photometric == 0 else pixels
    turns = {3: lambda image: image[::-1, ::-1], 2: lambda image: image[:, ::-1], 4: lambda image: image[::-1]}
    orientation = page.tags.get("Orientation")
    pixels = turns.get(orientation and orientation.value, np.asarray)(pixels)
    return np.array_equal(found, np.broadcast_to(pixels, found.shape))


def webp_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    """Check that a picture has the size in the frame header of a lossy WebP: its pixels have no checksum."""
    content = path.read_bytes()
    width, height = struct.unpack_from("<HH", content, content.index(b"\x9d\x01\x2a") + 3)
    return found.shape[:2] == (height & 0x3FFF, width & 0x3FFF)


def write_heic(path: Path) -> None:
    pillow_heif.from_pillow(Image.fromarray(photograph())).save(path, quality=90)


def heic_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    """Check that a picture has the size of the file's box `clap`, which cuts it out: its pixels have no checksum."""
    (box,) = re.findall(rb"clap(.{16})", path.read_bytes(), re.DOTALL)
    width, width_divisor, height, height_divisor = struct.unpack(">4I", box)
    return found.shape[:2] == (height / height_divisor, width / width_divisor)


def gif_holds(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
    """Check that a picture has the size in the file's header, and only the colours of its table and white."""
    content = path.read_bytes()
    width, height = struct.unpack_from("<HH", content, 6)
    table = np.frombuffer(content, np.uint8, 3 * 2 ** ((content[10] & 7) + 1), 13).reshape(-1, 3)
    colours = {tuple(colour) for colour in found.reshape(-1, 3).tolist()}
    return found.shape[:2] == (height, width) and colours <= {tuple(row) for row in table.tolist()} | {(255, 255, 255)}


def equal_pictures(read: Callable[[Path], np.ndarray]) -> Callable[[Path], object]:
    return lambda path: Pixels(read(path))


class Pixels(np.ndarray):
    """An array whose == compares shape and values, and returns one bool."""

    def __new__(cls, array: np.ndarray):
        return np.asarray(array).view(cls)

    def __eq__(self, other) -> bool:
        return np.array_equal(np.asarray(self), np.asarray(other))


def mask_holds(holds: Callable) -> Callable[[Path, object, object], bool]:
    """Make the check of a mask, thresholded at one half, from that of a picture."""

    def holds_mask(path: Path, found: np.ndarray, undamaged: np.ndarray) -> bool:
        picture = read_image(path)
        return holds(path, picture, undamaged) and np.array_equal(found, picture[..., 0] > 127)

    return holds_mask


def redrawn(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]):
    """Make a damage that writes another drawing, a valid picture that is no valid mask."""

    def damage(path: Path, rng: np.random.Generator, head: int) -> Path:
        Image.fromarray(change(blurred(), rng)).save(path)
        return path

    return damage


def painted(mask, rng):
    colours = np.stack([mask] * 3, 2)
    colours[10:20, 12:20] = 255, 0, 0
    return colours


MASK_DAMAGES = {
    "labels": redrawn(lambda mask, rng: mask // 255 * np.uint8(rng.integers(1, 200))),
    "three labels": redrawn(
        lambda mask, rng: mask // 255 * rng.integers(0, 4, (1, 56)).astype(np.uint8) * np.uint8(60)
    ),
    "painted": redrawn(painted),
    "other size": redrawn(lambda mask, rng: mask[: int(rng.integers(1, 40))]),
    "transparency alone": redrawn(lambda mask, rng: np.stack([mask * 0, mask], 2)),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- tables


class Small(nn.Module):
    """A network of two layers, with one map."""

    config: dict = {}

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1))

    def forward(self, photo: torch.Tensor) -> Maps:
        return Maps(self.layers(photo), [])


def update_table(path: Path) -> list[photo_folder.Row]:
    """Run a folder of photos whose table is `path`; return its rows without their seconds."""
    torch.manual_seed(SEED)
    found = photo_folder.map_folder(path.parents[1] / "photographs", Small(), 32, path.parent, progress=False)
    return [entry._replace(seconds=None) for entry in found.rows]


def write_table(path: Path) -> None:
    """Run a folder of photos for the first time."""
    folder = path.parents[1] / "photographs"
    folder.mkdir()
    for name in ("a.png", "b, c.png", 'd "e".png', "ä.png"):
        Image.fromarray(photograph()).save(folder / name)
    (folder / "=1+1.png").write_bytes(b"broken")
    update_table(path)


def table_holds(path: Path, found: list[photo_folder.Row], undamaged: list[photo_folder.Row]) -> bool:
    """Check that each number of a row that differs is in the file, as it is written there, and is in its range."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}

    def holds(entry: photo_folder.Row, expected: photo_folder.Row) -> bool:
        numbers = {
            name: getattr(entry, name)
            for name in photo_folder.NUMBERS
            if getattr(entry, name) != getattr(expected, name)
        }
        written = all(type(value)(rows[entry.file][name]) == value > 0 for name, value in numbers.items())
        same = dict.fromkeys(numbers) | {"verdict": ""}
        return (
            written
            and max(entry.score or 0, entry.sharp_share or 0) <= 1
            and entry._replace(**same) == expected._replace(**same)
        )

    return len(found) == len(undamaged) and all(map(holds, found, undamaged))


def of_text(change: Callable[[str, np.random.Generator], str | bytes]):
    """Make a damage from a function that changes the text of a file."""

    def damage(path: Path, rng: np.random.Generator, head: int) -> Path:
        changed = change(path.read_bytes().decode("utf-8-sig"), rng)
        path.write_bytes(changed.encode() if isinstance(changed, str) else changed)
        return path

    return damage


def cell(*values: str):
    """Make a damage that writes one of these texts into a cell of a table."""

    def change(text: str, rng: np.random.Generator) -> str:
        rows = list(csv.reader(io.StringIO(text, newline="")))
        row = int(rng.integers(1, len(rows)))
        rows[row][int(rng.integers(len(rows[row])))] = str(rng.choice(values))
        written = io.StringIO(newline="")
        csv.writer(written).writerows(rows)
        return written.getvalue()

    return of_text(change)


def rows_of(text: str) -> list[str]:
    return text.splitlines(keepends=True)


TABLE_DAMAGES = {
    "no number": cell("nan", "inf", "-1", "1e999", "7.5", "0x10", "12:30", "2024-05-01", "١"),
    "no text": cell("\0", '"', "=1+1", "TRUE", "x" * 200_000, " "),
    "column gone": of_text(lambda text, rng: "".join(row.partition(",")[2] for row in rows_of(text))),
    "columns turned": of_text(
        lambda text, rng: "".join(",".join(row.strip().split(",")[::-1]) + "\n" for row in rows_of(text))
    ),
    "line twice": of_text(lambda text, rng: text + rows_of(text)[1]),
    "line cut": of_text(lambda text, rng: text + rows_of(text)[1][: int(rng.integers(1, 40))]),
    "quote open": of_text(lambda text, rng: text.replace(",", ',"', 12)),
    "UTF-16": of_text(lambda text, rng: text.encode("utf-16")),
    "Latin-1": of_text(lambda text, rng: text.replace("ä", "\xe9").encode("latin-1")),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------- parameters

PARAMETERS = """\
# About an hour on two cores.
dataset: folder
data_root: "my photographs"
size: 320
rate: 0.001
resume: true
seeds: [0, 1, 2]
stages: [[800, 128, 4], [500, 224, 4]]
image: null
"""
DEFAULTS = {
    "profile": "quick", "seed": 0, "dataset": "synthetic", "data_root": "", "size": 64, "rate": 0.1, "resume": False,
    "seeds": [0], "stages": [[10, 32, 4]], "image": None,
}  # fmt: skip
LIMITS = {"dataset": ("synthetic", "folder"), "size": (32, 1024), "rate": (0, None), "seeds": (0, 9)}


def read_parameters(path: Path) -> dict:
    given = execute.read_profile("cpu", path)
    return parameters.check_parameters(DEFAULTS, given, LIMITS, where=path.name)


def parameters_hold(path: Path, found: dict, undamaged: dict) -> bool:
    """Check that each value is in exactly one line of the file, or is the default and has no line."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    words = {"true": True, "false": False, "null": None, "~": None, "": None, "|": ""}

    def literal(text: str):
        text = re.sub(r"(^|\s)#.*", "", text).strip()
        try:
            return words[text] if text in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    for name, value in found.items():
        written = [line.partition(":")[2] for line in lines if re.match(rf"""["']?{name}["']?\s*:(\s|$)""", line)]
        expected = [literal(text) for text in written] or ["cpu" if name == "profile" else DEFAULTS[name]]
        if len(expected) != 1 or json.dumps(expected[0]) != json.dumps(value) and expected[0] != value:
            return False
    return True


def line(*lines: str):
    """Make a damage that writes one of these lines in place of that of the same name, or after the last."""

    def change(text: str, rng: np.random.Generator) -> str:
        new = str(rng.choice(lines))
        kept = [old for old in rows_of(text) if old.partition(":")[0] != new.partition(":")[0]]
        return "".join(kept) + new + "\n"

    return of_text(change)


PARAMETER_DAMAGES = {
    "wrong name": line("sise: 64", "Size: 64", "1: 2", "true: 3", "? [a, b]\n: 3", "null: 1", '"a\\nb": 1'),
    "wrong type": line("size: [64]", "size: {a: 1}", "dataset: off", "resume: maybe", "seeds: 3", "image: {a: 1}"),
    "dates": line("data_root: 2024-05-01", "image: 2024-13-45", "size: 12:30", "image: 2024-05-01T25:00:00Z"),
    "huge": line("rate: 1" + "0" * 400, "size: " + "9" * 5000, "size: 0x" + "f" * 5000, "seed: 18446744073709551616",
                 "rate: 1.0e+999", "size: 1e3"),
    "no number": line("rate: .nan", "rate: .inf", "size: 0x", "rate: 0b_", "size: 0640", "size: 1_000"),
    "tags": line("image: !!python/object:os.system x", "size: !!int x", "rate: !!float x", "resume: !!bool x",
                 "image: !!timestamp x", "image: !!binary x", "image: !!set {a, b}"),
    "references": line("image: &a [*a]", "seeds: *nowhere", "image: &a {b: *a}", "<<: *nowhere", "<<: 3"),
    "deep": line("image: " + "[" * 3000, "image: " + "[" * 3000 + "]" * 3000, "image: " + "{a: " * 2000),
    "quotes": line("data_root: 'open", 'data_root: "\\q"', "data_root: a: b", "data_root: @x", "data_root: [a",
                   "data_root: |"),
    "twice": of_text(lambda text, rng: text + "size: 96\n"),
    "long": line("dataset: " + "x" * 50_000, "size: " + "x" * 50_000, "y" * 50_000 + ": 1"),
    "two documents": of_text(lambda text, rng: text + "---\nsize: 96\n"),
    "tabs": of_text(lambda text, rng: text.replace("size", "\tsize")),
    "list": of_text(lambda text, rng: "".join(f"- {row}" for row in rows_of(text))),
    "UTF-16": of_text(lambda text, rng: text.encode("utf-16")),
    "Latin-1": of_text(lambda text, rng: text.replace("my", "\xe9").encode("latin-1")),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- weights


class Tiny(nn.Module):
    """A network with a weight that is rounded to 8 bits, one too small for it, and a switch."""

    def __init__(self, stride: int = 1):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride={stride!r} does not exist: choose 1 or 2.")
        self.config = {"stride": stride}
        self.wide = nn.Linear(64, 16)
        self.final = nn.Linear(16, 1)


WIDTHS = ((2,), (2,), (3,), (3,), (4,))  # of a backbone


def write_weights(path: Path, bits: int) -> None:
    torch.manual_seed(SEED)
    save_network(Tiny(), path, {"data": "made-up", "seed": SEED}, bits)


def write_backbone(path: Path) -> None:
    torch.manual_seed(SEED)
    tensors = {name: tensor.half() for name, tensor in VGG16(WIDTHS).state_dict().items()}
    safetensors.torch.save_file(tensors, path)


def read_weights(path: Path) -> str:
    return weights_hash(load_network(path, kind=Tiny))


def read_backbone(path: Path) -> str:
    torch.manual_seed(0)
    backbone = VGG16(WIDTHS)
    load_backbone(backbone, path)
    return weights_hash(backbone)


def backbone_holds(path: Path, found: str, undamaged: str) -> bool:
    """Check weights with another reader, by the definition of safetensors; it has no checksum. All must be finite."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    backbone, header = VGG16(WIDTHS), json.loads(content[8 : 8 + length])
    state = {}
    for name in backbone.state_dict():
        begin, end = (8 + length + place for place in header[name]["data_offsets"])
        values = np.frombuffer(content[begin:end], {"F16": "<f2", "F32": "<f4"}[header[name]["dtype"]])
        state[name] = torch.tensor(values.astype(np.float32)).view(header[name]["shape"])
    backbone.load_state_dict(state)
    return weights_hash(backbone) == found and all(tensor.isfinite().all() for tensor in state.values())


def of_tensors(change: Callable[[dict, dict, np.random.Generator], None]):
    """Make a damage from a function that changes tensors and metadata; the file stays a valid safetensors file."""

    def damage(path: Path, rng: np.random.Generator, head: int) -> Path:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        change(tensors, metadata, rng)
        safetensors.torch.save_file(tensors, path, metadata or None)
        return path

    return damage


def some_floats(tensors: dict, rng: np.random.Generator) -> str:
    return str(rng.choice(sorted(name for name in tensors if tensors[name].is_floating_point())))


def not_finite(tensors, metadata, rng):
    name = some_floats(tensors, rng)
    tensors[name].view(-1)[0] = float(rng.choice([np.nan, np.inf, -np.inf]))


def of_another_type(tensors, metadata, rng):
    name = some_floats(tensors, rng)
    tensors[name] = tensors[name].to([torch.int64, torch.bool, torch.complex64][int(rng.integers(3))])


def other_metadata(tensors, metadata, rng):
    key = str(rng.choice(["switches", "network", "bits", "card"]))
    metadata[key] = str(rng.choice(["", "{", "[]", "null", '{"stride": 7}', '{"steps": 1}', '{"stride": [1]}', "4"]))


BACKBONE_DAMAGES = {
    "not finite": of_tensors(not_finite),
    "another type": of_tensors(of_another_type),
    "tensor gone": of_tensors(lambda tensors, metadata, rng: tensors.pop(some_floats(tensors, rng))),
    "tensor added": of_tensors(lambda tensors, metadata, rng: tensors.update({"features.x": torch.zeros(2)})),
    "another shape": of_tensors(
        lambda tensors, metadata, rng: tensors.update(
            {(name := some_floats(tensors, rng)): tensors[name][None].clone()}
        )
    ),
}
WEIGHT_DAMAGES = BACKBONE_DAMAGES | {"metadata": of_tensors(other_metadata)}


# ---------------------------------------------------------------------------------------------- checkpoints

RECIPE = Recipe(
    stages=((4, 16, 1),), optimiser="adamw", learning_rate=1e-2, score_factor=1.0, rotations=(0,), scales=(1.0,),
    averaging=0.9,
)  # fmt: skip
TASK = MASKS._replace(loss=lambda network, image, mask: F.binary_cross_entropy_with_logits(network(image).final, mask))


@cache
def photographs() -> PhotoSet:
    photo = Photo("a", photograph(), blurred().astype(np.float32) / 255)
    return PhotoSet("made-up", ["a"], lambda stem: photo).in_memory()


def trained_network(checkpoint: Path, show=None) -> Small:
    torch.manual_seed(SEED)
    network = Small()
    train(network, photographs(), RECIPE, checkpoint=checkpoint, every=2, show=show, task=TASK)
    return network


def write_checkpoint(path: Path) -> None:
    """Stop a training after half of its iterations."""

    def stop(history):
        raise KeyboardInterrupt

    try:
        trained_network(path, stop)
    except KeyboardInterrupt:
        pass


def read_checkpoint(path: Path) -> str:
    """Continue the training from a checkpoint, and return the hash of its weights."""
    return weights_hash(trained_network(path))


def of_state(change: Callable[[dict, np.random.Generator], object]):
    """Make a damage from a function that changes the content of a checkpoint; the file stays a valid one."""

    def damage(path: Path, rng: np.random.Generator, head: int) -> Path:
        state = torch.load(path, weights_only=True)
        changed = change(state, rng)
        torch.save(state if changed is None else changed, path)
        return path

    return damage


def of_part(change: Callable[[dict, str], object]):
    def damage(state: dict, rng: np.random.Generator) -> None:
        change(state, str(rng.choice(["made", "network", "averaged", "optimiser", "history"])))

    return of_state(damage)


def nan_weights(state: dict, rng: np.random.Generator) -> None:
    list(state[str(rng.choice(["network", "averaged"]))].values())[-1].view(-1)[0] = float("nan")


CHECKPOINT_DAMAGES = {
    "part gone": of_part(lambda state, part: state.pop(part)),
    "part empty": of_part(lambda state, part: state.update({part: {}})),
    "part of another type": of_part(lambda state, part: state.update({part: [1, 2]})),
    "not finite": of_state(nan_weights),
    "history too long": of_state(lambda state, rng: state["history"]["loss"].extend([0.5] * int(rng.integers(1, 9)))),
    "history of text": of_state(lambda state, rng: state["history"].update(loss="ab")),
    "another object": of_state(lambda state, rng: [1, 2, 3]),
}


KINDS = {
    "jpeg": Kind(20, "a.jpg", partial(write_picture, quality=90), equal_pictures(read_image), jpeg_holds, head=300),
    "png": Kind(20, "a.png", write_picture, equal_pictures(read_image)),
    "tiff": Kind(20, "a.tif", write_picture, equal_pictures(read_image), tiff_holds, head=150),
    "bmp": Kind(18, "a.bmp", write_picture, equal_pictures(read_image), bmp_holds),
    "webp": Kind(18, "a.webp", write_picture, equal_pictures(read_image), webp_holds),
    "heic": Kind(12, "a.heic", write_heic, equal_pictures(read_image), heic_holds),
    "gif": Kind(18, "a.gif", write_picture, equal_pictures(read_image), gif_holds),
    "mask png": Kind(
        23, "m.png", lambda path: Image.fromarray(blurred()).save(path),
        equal_pictures(partial(read_mask, shape=SHAPE)), damages=MASK_DAMAGES,
    ),
    "mask bmp": Kind(
        18, "m.bmp", lambda path: Image.fromarray(np.stack([blurred()] * 3, 2)).save(path),
        equal_pictures(partial(read_mask, shape=SHAPE)), mask_holds(bmp_holds),
    ),
    "table": Kind(29, f"maps/{photo_folder.TABLE}", write_table, update_table, table_holds, TABLE_DAMAGES),
    "parameters": Kind(
        34, "03_training.yaml", lambda path: path.write_text(PARAMETERS), read_parameters, parameters_hold,
        PARAMETER_DAMAGES,
    ),
    "weights 16": Kind(
        20, "n.safetensors", partial(write_weights, bits=16), read_weights, damages=WEIGHT_DAMAGES, head=200
    ),
    "weights 8": Kind(
        10, "n.safetensors", partial(write_weights, bits=8), read_weights, damages=WEIGHT_DAMAGES, head=200
    ),
    "backbone": Kind(
        15, "vgg.safetensors", write_backbone, read_backbone, backbone_holds, BACKBONE_DAMAGES, head=200
    ),
    "checkpoint": Kind(25, "run.pt", write_checkpoint, read_checkpoint, damages=CHECKPOINT_DAMAGES),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- judging


def cases(seed: int = SEED) -> list[Case]:
    """Return all cases. A kind uses its damages in turn, those of the kind before the general ones."""
    found = []
    for kind, about in KINDS.items():
        damages = [*about.damages, *DAMAGES]
        found += [Case(kind, damages[i % len(damages)], (seed, len(found) + i)) for i in range(about.count)]
    return found


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return {path: content} of a folder; None for a link or a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@cache
def undamaged(kind: str) -> tuple[tempfile.TemporaryDirectory, object]:
    """Make a folder with the undamaged file of a kind and the files it needs; return it with the result of reading."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, KINDS[kind].file)
    path.parent.mkdir(exist_ok=True)
    KINDS[kind].make(path)
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(folder.name, other, dirs_exist_ok=True)
        return folder, KINDS[kind].read(Path(other, KINDS[kind].file))


def tried(case: Case, folder: Path) -> End:
    """Write the damaged file of a case into an empty folder, read it, and judge the result."""
    kind = KINDS[case.kind]
    template, expected = undamaged(case.kind)
    shutil.copytree(template.name, folder, dirs_exist_ok=True)
    path = folder / kind.file
    damage = kind.damages.get(case.damage) or DAMAGES[case.damage]
    path = damage(path, np.random.default_rng(case.seed), kind.head)
    before = contents(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.read(path)
    except Exception as error:
        return judged(error, path, before == contents(folder))
    if left := sorted(set(contents(folder)) - set(before) - {kind.file}):
        return End("defect", f"left over: {', '.join(left)}")
    if found == expected:
        return End("same", "")
    try:
        right = kind.right(path, found, expected)
    except Exception as error:
        return End("defect", f"accepted, and the check raises {type(error).__name__}: {error}")
    return End("right", "") if right else End("defect", f"accepted as {str(found)[:300]!r}")


def judged(error: Exception, path: Path, unchanged: bool) -> End:
    """Judge whether an error is one sentence of the library that names this file."""
    message = str(error)
    problems = {
        # Allowed are ValueError, OSError and the library's subclasses of them; it should catch those of other packages.
        "another type": not isinstance(error, ValueError | OSError)
        or type(error).__module__ != "builtins"
        and not type(error).__module__.startswith("defusion_lib")
        or isinstance(error, UnicodeError),
        "the system's words": message.startswith("[Errno"),
        "several lines": "\n" in message,
        "a traceback": "Traceback" in message,
        f"more than {LONGEST} characters": len(message) > LONGEST,
        "no name of the file": path.name not in message,
        "a file left over or changed": not unchanged,
    }
    wrong = [words for words, applies in problems.items() if applies]
    if wrong:
        return End("defect", f"{', '.join(wrong)}: {type(error).__name__}: {message[:300]}")
    return End("sentence", message)


def ends(chosen: list[Case]) -> Iterator[tuple[Case, End]]:
    """Try cases, each in a new folder."""
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            yield case, tried(case, Path(folder))


def table(found: list[tuple[Case, End]]) -> str:
    """Return a table of the outcomes of each kind, as text."""
    outcomes = ("sentence", "same", "right", "defect")
    counts = Counter((case.kind, end.outcome) for case, end in found)
    lines = [("kind", *outcomes, "cases")]
    for kind in [*dict.fromkeys(case.kind for case, _ in found), "all"]:
        row = [sum(n for (of, end), n in counts.items() if kind in (of, "all") and end == name) for name in outcomes]
        lines.append((kind, *map(str, row), str(sum(row))))
    return "\n".join(f"{kind:<12}" + "".join(f"{number:>10}" for number in numbers) for kind, *numbers in lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"only these: {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the damages; default: {SEED}")
    parser.add_argument("--all", action="store_true", help="print the outcome of each case")
    options = parser.parse_args(arguments)
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown kinds: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    torch.set_num_threads(1)
    found = []
    for case, end in ends([case for case in cases(options.seed) if not options.kinds or case.kind in options.kinds]):
        found.append((case, end))
        if options.all or end.outcome == "defect":
            print(f"{end.outcome}: {case.kind}, {case.damage}, seed {case.seed}: {end.words}", flush=True)
    print(table(found))
    return any(end.outcome == "defect" for _, end in found)


if __name__ == "__main__":
    sys.exit(main())
