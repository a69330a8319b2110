"""List the photos to map, and name their maps."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from defusion_lib.data.files import SUFFIXES, list_paths
from defusion_lib.paths import display_path

MAP = "_defocus.png"  # appended to the name with its ending, so that a.jpg and a.png have different maps
PREVIEWS = "previews"
STEM = "album"  # of the table and of what belongs to it
SHEET = re.compile(r"contact_sheet_([0-9]{3,})\.png")
HEAD = 1000  # bytes: the text of a PNG stands there, before its pixels, and the title of the gallery
# Bytes of a photo's name in the name of its map: file systems allow 255, and a map is first written under a longer
# temporary name.
MAX_NAME_BYTES = 255 - len(MAP) - len("..1234567890.part")
# The cameras' own formats. Many are TIFF files whose first picture is a small preview, so none is opened.
RAW = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl "
    ".sr2 .srf .srw .x3f".split()
)
# Photos that nobody expects to be passed over in silence: where they cannot be decoded, they are named.
PHOTOS = SUFFIXES | RAW | {".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd"}


def list_photos(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the photos in a folder, with `recursive` in its subfolders too, without maps and folders of maps.

    Photos in formats that cannot be decoded (`RAW` and others of `PHOTOS`) are listed, so that a run names them. Those
    beside a photo of the same name that can be decoded (a.nef beside a.jpg) are left out. Raises FileNotFoundError if
    there are no photos.
    """
    paths = [path for path in _pictures(folder, recursive) if not _is_map(path)]
    if not paths:
        raise FileNotFoundError(f"{display_path(folder)} contains only maps, expected photos: check the path.")
    doubles = _doubles(paths)
    return [path for path in paths if path not in doubles]


def count_skipped(folder: str | Path, recursive: bool = False) -> Counter:
    """Count the files that a run skips, by kind.

    Kinds: ".txt", "no ending", ".nef beside its photo", "named like a map" (contact sheets beside maps too), "hidden",
    "folder", and with `recursive` "linked folder": links to folders are not followed.
    """
    folder = Path(folder)
    pictures = _pictures(folder, recursive)
    kinds = Counter("named like a map" for path in pictures if _is_map(path))
    doubles = _doubles([path for path in pictures if not _is_map(path)])
    kinds.update(f"{path.suffix.lower()} beside its photo" for path in doubles)
    in_maps = _maps_filter(folder)
    for path in _inside(folder, recursive):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if os.path.isdir(path):  # Path.is_dir raises an error in a folder that may not be entered
            kinds["linked folder" if recursive else "folder"] += not hidden and (not recursive or path.is_symlink())
        elif hidden:
            kinds["hidden"] += 1
        elif path.suffix.lower() not in PHOTOS and not in_maps(path):
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


def preview_path(into: Path, name: str) -> Path:
    """Return the path of the small picture that belongs to the map `name`."""
    return into / PREVIEWS / f"{name.removesuffix(MAP)}.jpg"


def floats_path(into: Path, name: str) -> Path:
    """Return the path of the NumPy file that belongs to the map `name`."""
    return into / f"{name.removesuffix('.png')}.npy"


def has_files(name: str, into: Path, floats: bool = False) -> bool:
    """Return whether all files of the map `name` exist."""
    paths = [into / name, preview_path(into, name), *[floats_path(into, name)] * floats]
    return all(path.is_file() for path in paths)


def read_head(path: Path) -> bytes:
    """Read the beginning of a file, which holds the mark of a map or page of this program; empty on an error."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def check_page(path: Path, mark: bytes) -> None:
    """Raise ValueError if a file is at the path of a page, and its beginning lacks the mark of this program's pages."""
    if os.path.lexists(path) and mark not in read_head(path):
        raise ValueError(
            f"{display_path(path)} exists already and is not a page of this program: move it, or choose another "
            "folder for the maps."
        )


def default_folder(folder: str | Path) -> Path:
    """Return the default folder for the maps: beside `folder`, with "_defocus" appended to its name."""
    folder = Path(folder).resolve()
    return folder.parent / f"{folder.name}_defocus"


def printable(text: str) -> str:
    r"""Replace every character that cannot be shown on one line by its escape, such as \n."""
    hidden = ("Cc", "Cs", "Zl", "Zp")
    return "".join(ascii(each)[1:-1] if unicodedata.category(each) in hidden else each for each in text)


def source_stamp(path: Path) -> str:
    """Return a file's size and modification time as text that spreadsheets do not change; empty if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} bytes of {status.st_mtime_ns} ns"


def _pictures(folder: str | Path, recursive: bool) -> list[Path]:
    """List the pictures of a folder, without those in folders of maps."""
    folder = Path(folder)
    in_maps = _maps_filter(folder)
    return [path for path in list_paths(folder, recursive, PHOTOS) if not in_maps(path)]


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    """Yield all files and folders of a folder; what lies in one that cannot be listed is left out."""
    for place, folders, names in os.walk(folder):
        yield from (Path(place, name) for name in [*folders, *names])
        if not recursive:
            return


def _doubles(paths: Sequence[Path]) -> set[Path]:
    """Return the files that cannot be decoded beside one of the same name that can."""
    decoded = {path.with_suffix("") for path in paths if path.suffix.lower() in SUFFIXES}
    return {path for path in paths if path.suffix.lower() not in SUFFIXES and path.with_suffix("") in decoded}


def _maps_filter(folder: Path) -> Callable[[Path], bool]:
    """Return a function that tells whether a path inside `folder` lies in a folder of maps, or of their previews."""

    @cache
    def holds_maps(parent: Path) -> bool:
        if parent == folder:
            return False
        previews = parent.name == PREVIEWS and _holds_maps(parent.parent)
        return previews or holds_maps(parent.parent) or _holds_maps(parent)

    return lambda path: holds_maps(path.parent)


def _holds_maps(folder: Path) -> bool:
    return os.path.isdir(folder / PREVIEWS) and any(folder.glob(f"{STEM}*.csv"))


def _is_map(path: Path) -> bool:
    """Return whether a file is named like a map, or is a contact sheet beside maps."""
    return path.name.lower().endswith(MAP) or bool(SHEET.fullmatch(path.name) and _holds_maps(path.parent))


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
