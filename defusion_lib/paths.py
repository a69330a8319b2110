"""Find files and folders, display their paths, and write files whole."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_ELSEWHERE = (
    "Make room, change the folder's permissions, or choose another folder (of a command: --into; of a notebook: "
    "DEFUSION_OUTPUTS for outputs/, the parameter target for maps of your photos)."
)


def project_root() -> Path:
    """Return the checkout that the library runs from, or the current folder for an installed library."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def outputs_root() -> Path:
    """Return the folder with one folder per profile: DEFUSION_OUTPUTS, or `outputs` in the checkout.

    `~` in it is the home folder; `locate` says where a relative path starts.
    """
    given = os.path.expanduser(os.environ.get("DEFUSION_OUTPUTS") or project_root() / "outputs")
    return (_new_root() / given).absolute()


def locate(path: str | Path, *words: str, new: bool = False) -> str | Path:
    """Find the file or folder that a notebook's parameter names, whichever folder the notebook runs in.

    JupyterLab, VS Code and nbval run a notebook in its own folder, papermill in the one where it was called. So a
    relative path is looked for in the current folder, and then in the checkout; one that begins with `outputs/` first
    where DEFUSION_OUTPUTS says that the outputs are. With `new`, a path that is at
    neither place is one to be written: it lies in the current folder, or in the checkout where the current folder
    is the checkout's `notebooks`. One that begins with `./` or `../` belongs to the current folder alone. `~` is the
    home folder. `words`, such as "shipped", are no paths and come back as
    they are. Raises FileNotFoundError where nothing is at either place, and ValueError where both hold
    something and it is not the same.
    """
    if path in words:
        return path
    given = Path(os.path.expanduser(path))
    # A full path stays as it is behind any folder.
    places = {Path.cwd() / given: "the current folder"}
    here = f"{path}/".startswith(("./", "../"))
    moved = bool(os.environ.get("DEFUSION_OUTPUTS")) and not here and given.parts[:1] == ("outputs",)
    if moved and os.path.exists(kept := outputs_root().joinpath(*given.parts[1:])):
        return kept
    if not here:
        places[project_root() / given] = "the project's folder"
    # Not Path.exists: it raises where a folder on the way may not be entered.
    found = [place for place in places if os.path.exists(place)]
    if len(found) == 2 and not os.path.samefile(*found):
        raise ValueError(
            f"{path} is both in the current folder and in the project's folder: write the full path of the one "
            "that you mean."
        )
    if found:
        return found[0]
    if new:
        return (Path.cwd() if here else _new_root()) / given
    if given.is_absolute():
        raise FileNotFoundError(
            f"There is no {display_path(path) if Path(path).is_absolute() else path}: check the path."
        )
    tried = " and ".join(f"{display_path(place)} in {name}" for place, name in places.items())
    raise FileNotFoundError(f"There is no {path}: looked for {tried}. Check the path, or write the full one.")


def _new_root() -> Path:
    """Return the folder where relative paths of new files start."""
    return project_root() if Path.cwd() == project_root() / "notebooks" else Path.cwd()


def display_path(path: str | Path) -> str:
    """Return a path for display and storage: relative to the outputs, the checkout or the current folder.

    A path outside these is shortened to its last part, behind an ellipsis.
    """
    path = Path(path).absolute()
    for root, name in ((outputs_root(), "outputs"), (project_root(), ""), (Path.cwd(), "")):
        if path.is_relative_to(root):
            return (name / path.relative_to(root)).as_posix()
    return f"…/{path.name}"


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: an old file is kept until the new one is complete.

    Raises OSError with one sentence where that is not possible.
    """
    # Not the whole name: with more behind it, a long one would be too long.
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        try:
            part.unlink(missing_ok=True)
        except OSError:
            pass  # the folder itself cannot be written; the first error says so
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> OSError:
    return OSError(
        f"Cannot write {display_path(path)} ({error.strerror or error}); what was there before is unchanged. "
        f"{_ELSEWHERE}"
    )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces it when the block ends, or is removed if it fails.

    An OSError of the block becomes one with one sentence.
    """
    # The whole name: files that differ in their suffix alone may be written at once, and a .part may be somebody's own.
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritten(path, error) from error


def check_writable(folder: Path) -> None:
    """Check that a folder, or the one where it would be made, can be written in; leave nothing there.

    Raises OSError with one sentence where that is not possible.
    """
    nearest = folder.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"Cannot write in {display_path(folder)} ({error.strerror}). {_ELSEWHERE}") from error
