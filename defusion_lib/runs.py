"""What the first and the last cells of a notebook call: parameters checked, seeds set, results stamped.

    run = runs.start("03_training", globals(), limits={"size": (32, 1024), "heads": ("radf", "compact")})
    ...
    run.results({"synthetic/defusionnet/mae": 0.12}, data=photos)
    run.figure(figure, "loss", "The loss of each iteration, which falls.", loss=history.loss)
    run.finish()

Everything is written under `outputs/<profile>/`; the environment variable DEFUSION_OUTPUTS names another
folder instead of `outputs`. What these functions print is the same on every machine, so that stored notebook
outputs can be compared as text; what differs between machines is in the stamp.
"""

import ast
import base64
import contextlib
import difflib
import io
import json
import math
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, make_dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import numpy as np

MARKER = "# Parameters"
# Two threads wherever a run is repeated: sums split over another number of threads differ in the last digit,
# and training carries that to the third digit within a few hundred steps.
THREADS = 2
MOST_THREADS = 1024
PACKAGES = ("torch", "torchvision", "numpy", "defusion-lib")  # whose versions are in every stamp
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*/[a-z0-9][a-z0-9+-]*/[a-z0-9][a-z0-9-]*(@seed\d+)?(-std)?")
_ALWAYS = {"seed": (0, 2**32 - 1)}
_ELSEWHERE = (
    "Make room, change the folder's permissions, or choose another folder (for outputs/: DEFUSION_OUTPUTS; for the map "
    "of a photograph: the parameter target)."
)
_SOFTWARE = "defusion_lib"  # in the PNG files of maps


# ---------------------------------------------------------------------------------------------- parameters


def read_parameters(cell: str) -> dict:
    """The names and defaults of a notebook's parameters cell, in order.

    The cell's first line is `# Parameters`, its first parameter is `profile`, and each of its statements
    gives a name a plain value: text, number, bool, None, or lists and tuples of these. Raises ValueError
    otherwise.
    """
    defaults = {}
    for statement in ast.parse(cell).body:
        if not (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            raise ValueError(
                f"The parameters cell holds `{ast.unparse(statement)}`, but each of its lines must be "
                "`name = value`."
            )
        name = statement.targets[0].id
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise ValueError(
                f"Parameter {name} is computed (`{ast.unparse(statement)}`) and would stay as it is when "
                "other parameters change: write a plain value, and compute in a later cell."
            ) from None
        if name.startswith("_") or name in defaults:
            raise ValueError(f"Parameter {name} must be named once, without a leading underscore.")
        if not _is_plain(default):
            raise ValueError(
                f"Parameter {name} is a {type(default).__name__}: use text, numbers, or lists of them."
            )
        defaults[name] = default
    if next(iter(defaults), None) != "profile":
        raise ValueError("The first parameter of a parameters cell must be `profile`.")
    return defaults


def check_parameters(
    defaults: Mapping, given: Mapping, limits: Mapping | None = None, where: str = ""
) -> dict:
    """All effective parameters: the defaults, replaced by what is given; lists become tuples.

    A given value has its default's type (an integer also serves as a float; a list takes as many items as it
    likes, of the type of the default's first; where the default is None, any plain value serves). `limits`
    maps a name to (lowest, highest), either of them None for no bound, or to the texts it may be; it holds
    for each item of a list, and not for None. Raises ValueError naming what was found and what is valid;
    `where` names the notebook or file in it.
    """
    limits = _ALWAYS | dict(limits or {})
    where = f" of {where}" if where else ""
    for name in given:
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1, cutoff=0.5)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'"{name[:80]}" is no parameter{where}.{hint} Valid names: {", ".join(defaults)}.')
    for name in limits:
        if name not in defaults and name not in _ALWAYS:
            raise ValueError(f'Limits are set for "{name}", which is no parameter{where}.')
    effective = {}
    for name, default in defaults.items():
        value = _typed(name + where, default, given.get(name, default))
        if name in limits:
            _check_limits(name + where, value, limits[name])
        effective[name] = value
    if not isinstance(effective["profile"], str) or not _SLUG.fullmatch(effective["profile"]):
        raise ValueError(
            f"Parameter profile{where} names a folder: use lower-case letters, digits and hyphens, "
            f"not {brief(effective['profile'])}."
        )
    return effective


def _is_plain(value) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | bool | int | float)


def _typed(name, default, value):
    """`value` as the type of `default`, lists as tuples."""
    if default is None or value is None:
        if value is not None and not _is_plain(value):
            raise ValueError(f"Parameter {name} must be text, a number or a list of them, not {brief(value)}.")
        if value is None and default is not None:
            raise ValueError(
                f"Parameter {name} must be {_kind(default)} (default {default!r}), not None."
                + _hint(name, default, value)
            )
        return _frozen(value)
    if isinstance(default, list | tuple):
        if not isinstance(value, list | tuple):
            raise ValueError(
                f"Parameter {name} must be a list (default {default!r}), not {brief(value)}."
                + _hint(name, default, value)
            )
        return tuple(
            _typed(f"{name}, item {i}", default[0] if default else None, v) for i, v in enumerate(value)
        )
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= sys.float_info.max else math.inf
    if type(value) is not type(default):
        raise ValueError(
            f"Parameter {name} must be {_kind(default)} (default {default!r}), not {brief(value)}."
            + _hint(name, default, value)
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Parameter {name} must be a finite number, not {value}.")
    return value


def _hint(name, default, value) -> str:
    """Where papermill or YAML may have made another type of what somebody wrote: how to write it instead."""
    name = re.split("[ ,]", name)[0]
    if value is None:
        return " YAML reads null, ~ and an empty value as None: write a value, and text in quotes."
    if isinstance(default, list | tuple):
        return f" With papermill, give a list as -y '{name}: [...]'." if isinstance(value, str) else ""
    if isinstance(default, str):
        if isinstance(value, bool):
            words = "on, yes and true" if value else "off, no and false"
            return f' YAML reads {words} as {value}: write "{"on" if value else "off"}" in quotes.'
        if isinstance(value, int | float):
            return (
                f" With papermill, give text that looks like a number with -r instead of -p: -r {name} {brief(value)} "
                "(YAML: in quotes; there, 0123 is read as 83 and 12:30 as 750)."
            )
        if isinstance(value, date):
            return f' YAML reads {value} as a date: write "{value}" in quotes.'
    if isinstance(default, int | float) and not isinstance(default, bool) and isinstance(value, str):
        if re.fullmatch(r"[+-]?\d+", value):
            return " Write it without quotes and without zeros in front, and with papermill, with -p instead of -r."
        number = re.fullmatch(r"([+-]?)(?=\.?\d)(\d*)\.?(\d*)[eE]([+-]?)(\d+)", value)
        if number and isinstance(default, float):
            sign, whole, rest, exponent_sign, exponent = number.groups()
            written = f"{sign}{whole or 0}.{rest or 0}e{exponent_sign or '+'}{exponent}"
            return f" YAML reads {value} as text: write {written}." if len(value) < 80 else ""
    return ""


def _kind(default) -> str:
    kinds = {bool: "True or False", int: "an integer", float: "a number", str: "text"}
    return kinds.get(type(default), "a list")


def brief(value) -> str:
    """A value as a sentence shows it: what Python writes for it, its middle left out where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = hex(value)
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-50:]}"


def _frozen(value):
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _check_limits(name, value, limit):
    if isinstance(value, tuple):
        for item in value:
            _check_limits(name, item, limit)
    elif isinstance(value, str):
        if value not in limit:
            raise ValueError(f"Parameter {name} must be one of {', '.join(map(repr, limit))}, not {brief(value)}.")
    elif value is not None:
        low, high = limit
        if low is not None and value < low or high is not None and value > high:
            bounds = (
                f"at most {high}"
                if low is None
                else f"at least {low}"
                if high is None
                else f"{low} to {high}"
            )
            raise ValueError(f"Parameter {name} must be {bounds}, not {brief(value)}.")


def _given_parameters(namespace: Mapping, stem: str) -> tuple[dict, dict]:
    """The defaults of the parameters cell that ran last, and what now replaces them.

    papermill puts a cell of its own behind the parameters cell, with the same first line. It never writes
    another comment into it, whereas the notebook's own cell says what each parameter is; this tells them
    apart, even where every parameter is replaced. Names that papermill's cell sets are kept, known or not.
    """
    history = [source for source in namespace.get("In", []) if source.partition("\n")[0].rstrip() == MARKER]
    if not history:
        history = _tagged_cells(Path(f"{stem}.ipynb"))
    own = [i for i, source in enumerate(history) if _comments(source) > 1]
    if not own:
        raise ValueError(
            f"{stem} has run no parameters cell: its first line must be `{MARKER}`, and each parameter needs "
            "a comment that says what it is."
        )
    defaults = read_parameters(history[own[-1]])
    missing = [name for name in defaults if name not in namespace]
    if missing:
        raise ValueError(f"Parameter {missing[0]} of {stem} is not set: run the parameters cell again.")
    given = {name: namespace[name] for name in defaults}
    for source in history[own[-1] + 1 :]:
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                given.setdefault(name, namespace.get(name))
    return defaults, given


def _tagged_cells(notebook: Path) -> list[str]:
    """The parameters cells of a notebook in the current folder: nbval runs cells there, without history."""
    if not notebook.is_file():
        return []
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]


def _comments(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


# -------------------------------------------------------------------------------------------------- places


def project_root() -> Path:
    """The checkout that the library runs from, or the current folder where it was installed without one."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def outputs_root() -> Path:
    """The folder that holds a folder for each profile: DEFUSION_OUTPUTS, or `outputs` in the checkout.

    `~` in it is the home folder, and a relative one lies where `locate` puts what is new.
    """
    given = os.path.expanduser(os.environ.get("DEFUSION_OUTPUTS") or project_root() / "outputs")
    return (_new_root() / given).absolute()


def locate(path: str | Path, *words: str, new: bool = False) -> str | Path:
    """Find what a notebook's parameter names, whichever folder the notebook runs in.

    JupyterLab, VS Code and nbval run a notebook in its own folder, papermill in the one where it was called. So a
    relative path is looked for in the current folder, and then in the checkout. With `new`, a path that is at
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
        raise FileNotFoundError(f"There is no {shown(path) if Path(path).is_absolute() else path}: check the path.")
    tried = " and ".join(f"{shown(place)} in {name}" for place, name in places.items())
    raise FileNotFoundError(f"There is no {path}: looked for {tried}. Check the path, or write the full one.")


def _new_root() -> Path:
    """The folder that relative paths of what does not exist yet begin from."""
    return project_root() if Path.cwd() == project_root() / "notebooks" else Path.cwd()


def shown(path: str | Path) -> str:
    """A path as it may be printed and stored: relative to the outputs, the checkout or the current folder.

    Of a path outside these only the last part is shown, behind an ellipsis.
    """
    path = Path(path).absolute()
    for root, name in ((outputs_root(), "outputs"), (project_root(), ""), (Path.cwd(), "")):
        if path.is_relative_to(root):
            return (name / path.relative_to(root)).as_posix()
    return f"…/{path.name}"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: an old file stays as it is until the new one is complete.

    Raises OSError with one sentence where that is not possible.
    """
    # Not the whole name: with more behind it, a long one would be too long.
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        try:
            part.unlink(missing_ok=True)
        except OSError:
            pass  # the folder itself cannot be written; the first error says so
        raise OSError(
            f"Cannot write {shown(path)} ({error.strerror}); what was there before is unchanged. {_ELSEWHERE}"
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to be written, which takes its place where the block ends, and vanishes where it fails."""
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Try to write in a folder, or in the one where it would be made, and leave nothing there.

    Raises OSError with one sentence where that is not possible.
    """
    nearest = folder.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"Cannot write in {shown(folder)} ({error.strerror}). {_ELSEWHERE}") from error


def map_file(photograph: str | Path, target: str = "") -> Path:
    """Name the PNG file for a photograph's map, and check before anything is computed that it may be written.

    It is `target`, or my_defocus.png beside my.jpg. Raises ValueError where `target` is no name of a PNG file,
    FileExistsError where there is a file that `write_map` did not write for a photograph of this name, and
    OSError where the folder cannot be written in.
    """
    photograph = Path(photograph)
    path = locate(target, new=True) if target else photograph.with_name(f"{photograph.stem}_defocus.png")
    if path.suffix.lower() != ".png":
        raise ValueError(f"The map is written as PNG: choose a file whose name ends in .png, not {target!r}.")
    try:
        os.lstat(path)
        taken = _photograph_of(path) != _legible(photograph.name)
    except FileNotFoundError:
        taken = False
    except OSError as error:
        raise OSError(f"Cannot write {shown(path)} ({error.strerror}). {_ELSEWHERE}") from error
    if taken:
        raise FileExistsError(
            f"{shown(path)} is there already and is no map of {photograph.name} that this notebook wrote: move it, "
            "or choose another file with the parameter target."
        )
    check_writable(path.parent)
    return path


def write_map(path: Path, levels: np.ndarray, photograph: str) -> None:
    """Write a map, uint8 (H, W), as PNG with the photograph's name inside, by which `map_file` knows it again."""
    # Imported here, so that reading results (batch.py) does not wait for it.
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    facts, picture = PngInfo(), io.BytesIO()
    facts.add_text("Software", _SOFTWARE)
    facts.add_itxt("Source", _legible(photograph))
    Image.fromarray(levels).save(picture, "png", pnginfo=facts)
    write_whole(path, picture.getvalue())


def _legible(name: str) -> str:
    """A file name as text that can be encoded, also where its bytes are no text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _photograph_of(path: Path) -> str | None:
    """The photograph's name in a map that `write_map` wrote; None for every other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Source") if picture.info.get("Software") == _SOFTWARE else None
    # Whatever cannot be read was not written by `write_map`, which writes whole files.
    except Exception:
        return None


# --------------------------------------------------------------------------------------------------- a run


def start(stem: str, namespace: Mapping, limits: Mapping | None = None) -> "Run":
    """Begin a notebook's run: check its parameters, set seeds, threads and device, and print the parameters.

    `stem` is the notebook's file name without ending, `namespace` its `globals()`, `limits` as in
    `check_parameters`. Python, NumPy and torch are seeded with the parameter `seed`; torch uses 2 threads (or
    DEFUSION_THREADS) and deterministic algorithms, on CUDA as far as cuDNN has them. Raises ValueError where
    a parameter is unknown, of another type than its default, or outside its limits, and where DEFUSION_THREADS is
    no number of threads; OSError where the folder for the results cannot be written in.
    """
    if not _SLUG.fullmatch(stem):
        raise ValueError(f"{stem!r} is no notebook's name: use its file name without .ipynb.")
    defaults, given = _given_parameters(namespace, stem)
    effective = check_parameters(defaults, given, limits, where=stem)
    if "seed" not in effective:
        raise ValueError(f"{stem} has no parameter seed: put `seed = 0` into its parameters cell.")
    check_writable(outputs_root() / effective["profile"])
    run = Run(stem, {name: _frozen(value) for name, value in defaults.items()}, effective)
    print(run)
    return run


class Run:
    """One run of a notebook: its checked parameters, its device, and where and how its results are written.

    `parameters` is a frozen dataclass of all effective parameters; `device` the torch device ("cuda" where
    there is one); `folder` is `outputs/<profile>`. Made by `start`.
    """

    def __init__(self, stem: str, defaults: dict, effective: dict):
        self.stem = stem
        self.parameters = make_dataclass("Parameters", effective, frozen=True)(**effective)
        self.folder = outputs_root() / effective["profile"]
        self.device = _settle(effective["seed"])
        self._defaults = defaults
        self._notes = {}
        self._written = []
        self._begun = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def __str__(self):
        effective = _portable(asdict(self.parameters))
        listed = ", ".join(f"{name} {value!r}".replace(" ", "\0") for name, value in effective.items())
        lines = textwrap.wrap(f"{self.stem}: {listed}", 100, subsequent_indent="  ", break_long_words=False)
        lines += [
            f"  changed: {name} from {default!r} to {effective[name]!r}"
            for name, default in _portable(self._defaults).items()
            if default != effective[name]
        ]
        return "\n".join(lines).replace("\0", " ")

    @property
    def stamp(self) -> dict:
        """Where results come from, up to now: parameters, data, code, versions, machine, start, seconds."""
        effective = _portable(asdict(self.parameters))
        defaults = _portable(self._defaults)
        return {
            "notebook": self.stem,
            "profile": self.parameters.profile,
            "seed": self.parameters.seed,
            "parameters": effective,
            "defaults": defaults,
            "overridden": [name for name in effective if effective[name] != defaults[name]],
            **self._notes,
            **origin(self.device.type == "cuda"),
            "started": self._started,
            "seconds": round(time.monotonic() - self._begun, 1),
        }

    def note(self, **facts) -> None:
        """Add facts to the stamp of what is written from now on, such as `backbone="imagenet"`."""
        self._notes |= _portable(facts)

    def path(self, relative: str) -> Path:
        """The place of a file of this run under `outputs/<profile>/`; its folder is made."""
        path = self.folder / relative
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise ValueError(
                f"{relative!r} is not inside the run's folder: give a relative path without '..'."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def results(self, values: Mapping, data=None) -> None:
        """Write `results/<stem>.json`: the stamp, and numbers under keys dataset/method/metric.

        `data` is the photographs that the values were measured on (a `PhotoSet`, a name, or a list of these)
        and goes into the stamp. The file replaces an older one. Raises ValueError where a key has another
        form or a value is not a finite number.
        """
        if data is not None:
            self.note(data=[data_stamp(each) for each in (data if isinstance(data, list) else [data])])
        checked = {}
        for key, value in values.items():
            if not _KEY.fullmatch(key):
                raise ValueError(
                    f"Result key {key!r} must be dataset/method/metric in lower case, words joined by "
                    "hyphens."
                )
            number = value.item() if hasattr(value, "item") else value
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"Result {key} must be a finite number, not {number!r}.")
            checked[key] = number
        path = self.folder / "results" / f"{self.stem}.json"
        content = json.dumps({"stamp": self.stamp, "values": checked}, indent=1, ensure_ascii=False)
        write_whole(path, (content + "\n").encode())
        self._count(f"{len(checked)} values in {shown(path)}", path)

    def figure(self, figure, name: str, caption: str, **arrays) -> None:
        """Show a figure, and write it as `figures/<name>.png` with the arrays behind it as `figures/<name>.npz`.

        `caption` says in a sentence or two what there is to see: it stands below the picture, and is its
        alternative text for whoever cannot see it. Text that is too small for a projector is enlarged
        (`figures.make_legible`). The stamp is in the .npz as JSON text under "stamp". The figure is closed.
        Raises ValueError where no array is given or one holds objects, or where the caption is no sentence.
        """
        # Imported here, so that reading results (batch.py) does not wait seconds for them.
        import matplotlib.pyplot as plt
        from IPython.display import Markdown, display

        from defusion_lib.figures import make_legible

        if not _SLUG.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a figure: use lower-case letters, digits, hyphens, underscores."
            )
        if not caption.endswith(".") or len(caption) < 30:
            raise ValueError(
                f"Figure {name} has the caption {caption!r}: say in a sentence what there is to see."
            )
        if not arrays:
            raise ValueError(f"Figure {name} needs the arrays that it shows, as name=array.")
        arrays = {key: np.asarray(value) for key, value in arrays.items()}
        for key, array in arrays.items():
            if array.dtype == object or key == "stamp":
                raise ValueError(
                    f"Array {key!r} of figure {name} must be of numbers or text, under another name."
                )
        folder = self.folder / "figures"
        picture, data = io.BytesIO(), io.BytesIO()
        make_legible(figure)
        figure.savefig(picture, format="png", bbox_inches="tight")
        np.savez_compressed(data, stamp=json.dumps(self.stamp), **arrays)
        write_whole(folder / f"{name}.npz", data.getvalue())
        write_whole(folder / f"{name}.png", picture.getvalue())
        plt.close(figure)
        # The words also stand below: JupyterLab and most exported pages leave out a picture's alternative text.
        display(_Picture(picture.getvalue(), caption), Markdown(f"*Picture:* {caption}"))
        self._count(shown(folder / f"{name}.png"), folder / f"{name}.png")

    def finish(self) -> None:
        """Say in one line what was written and where; a run without results leaves its stamp alone."""
        results = self.folder / "results" / f"{self.stem}.json"
        if results not in [path for _, path in self._written]:
            self.results({})
        print(f"{self.stem} wrote " + ", ".join(text for text, _ in self._written))

    def _count(self, text, path):
        self._written = [entry for entry in self._written if entry[1] != path] + [(text, path)]


@dataclass(frozen=True)
class _Picture:
    """A PNG that a cell shows with an alternative text."""

    png: bytes
    alt: str

    def __repr__(self):
        return self.alt

    def _repr_mimebundle_(self, **_):
        bundle = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        return bundle, {"image/png": {"alt": self.alt}}


def _threads() -> int:
    given = os.environ.get("DEFUSION_THREADS") or str(THREADS)
    if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= MOST_THREADS:
        raise ValueError(
            f"DEFUSION_THREADS is {given!r}: expected a whole number from 1 to {MOST_THREADS}; leave it out for "
            f"{THREADS} threads."
        )
    return int(given)


def _settle(seed: int):
    """Seed everything, fix the threads, and choose the device."""
    # Imported here, so that reading results (batch.py) does not wait seconds for torch.
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(_threads())
    cuda = torch.cuda.is_available()
    # On CUDA this would replace the backward pass of bilinear up-sampling, which DeFusionNet does dozens of
    # times a step, by a scatter that takes many times as long.
    torch.use_deterministic_algorithms(not cuda)
    # Filling every fresh tensor with NaN finds bugs in kernels, not here, and costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda" if cuda else "cpu")


def _portable(value):
    """`value` for a stamp: absolute paths shortened, paths as text, tuples as lists."""
    if isinstance(value, Mapping):
        return {name: _portable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, Path) or isinstance(value, str) and Path(value).is_absolute():
        return shown(value) if Path(value).is_absolute() else Path(value).as_posix()
    return value


def origin(cuda: bool = False, packages: tuple[str, ...] = PACKAGES) -> dict:
    """The part of a stamp that needs no notebook: commit, versions, processor (or GPU) and torch's threads."""
    import torch

    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "threads": torch.get_num_threads(),
    }


def data_stamp(data) -> dict:
    """The part of a stamp that names photographs: of a `PhotoSet`, or of a data set's name."""
    if isinstance(data, str):
        return {"name": data}
    digest = sha256("\n".join(data.stems).encode()).hexdigest()
    return {"name": data.name, "photographs": len(data), "stems_sha256": digest}


def _commit() -> str | None:
    """The checkout's commit, with "-dirty" where anything but outputs differs from it; None without git."""
    root = project_root()
    if not (root / ".git").exists():
        return None

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
        ).stdout

    try:
        changed = git("status", "--porcelain", "--", ".", ":!outputs")
        return git("rev-parse", "HEAD").strip() + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()
