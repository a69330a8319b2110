"""Run a notebook: settings, results, figures."""

import io
import json
import math
import os
import random
import re
import textwrap
import time
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import asdict, make_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defusion_lib.freeze import freeze
from defusion_lib.paths import check_writable, display_path, outputs_root, write_atomically
from defusion_lib.runs.parameters import _SLUG, _given_parameters, check_parameters
from defusion_lib.runs.provenance import environment_info, to_json

if TYPE_CHECKING:
    from defusion_lib.plots import Drawing

# Two threads wherever a run is repeated: sums split over another number of threads differ in the last digit,
# and training carries that to the third digit within a few hundred steps.
THREADS = 2
MOST_THREADS = 1024
_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*/[a-z0-9][a-z0-9+-]*/[a-z0-9][a-z0-9-]*(@seed\d+)?(-std)?")


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
    _encode_displayed_figures()
    run = Run(stem, {name: freeze(value) for name, value in defaults.items()}, effective)
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
        self.device = _seed_everything(effective["seed"])
        self._defaults = defaults
        self._notes: dict[str, Any] = {}
        self._written: list[tuple[str, Path]] = []
        # Of the code that runs, whatever is committed meanwhile.
        self._environment = environment_info(self.device.type == "cuda")
        self._begun = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def __str__(self):
        effective = to_json(asdict(self.parameters))
        listed = ", ".join(f"{name} {value!r}".replace(" ", "\0") for name, value in effective.items())
        lines = textwrap.wrap(f"{self.stem}: {listed}", 100, subsequent_indent="  ", break_long_words=False)
        lines += [
            f"  changed: {name} from {default!r} to {effective[name]!r}"
            for name, default in to_json(self._defaults).items()
            if default != effective[name]
        ]
        return "\n".join(lines).replace("\0", " ")

    @property
    def stamp(self) -> dict:
        """Where results come from, up to now: parameters, data, code, versions, machine, start, seconds."""
        effective = to_json(asdict(self.parameters))
        defaults = to_json(self._defaults)
        return {
            "notebook": self.stem,
            "profile": self.parameters.profile,
            "seed": self.parameters.seed,
            "parameters": effective,
            "defaults": defaults,
            "overridden": [name for name in effective if effective[name] != defaults[name]],
            **self._notes,
            **self._environment,
            "started": self._started,
            "seconds": round(time.monotonic() - self._begun, 1),
        }

    def note(self, **facts) -> None:
        """Add facts to the stamp of what is written from now on, such as `backbone="imagenet"`."""
        self._notes |= to_json(facts)

    def path(self, relative: str) -> Path:
        """Return the path of a file of this run under `outputs/<profile>/`, and make its folder."""
        path = self.folder / relative
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise ValueError(f"{relative!r} is not inside the run's folder: give a relative path without '..'.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def results(self, values: Mapping, data=None) -> None:
        """Write `results/<stem>.json`: the stamp, and numbers under keys dataset/method/metric.

        `data` is the photos that the values were measured on (a `PhotoSet`, a name, or a list of these)
        and goes into the stamp. The file replaces an older one. Raises ValueError where a key has another
        form or a value is not a finite number.
        """
        if data is not None:
            sets = data if isinstance(data, list) else [data]
            self.note(data=[{"name": each} if isinstance(each, str) else each.provenance() for each in sets])
        checked = {}
        for key, value in values.items():
            if not _KEY.fullmatch(key):
                raise ValueError(
                    f"Result key {key!r} must be dataset/method/metric in lower case, words joined by hyphens."
                )
            number = value.item() if hasattr(value, "item") else value
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"Result {key} must be a finite number, not {number!r}.")
            checked[key] = number
        path = self.folder / "results" / f"{self.stem}.json"
        content = json.dumps({"stamp": self.stamp, "values": checked}, indent=1, ensure_ascii=False)
        write_atomically(path, (content + "\n").encode())
        self._count(f"{len(checked)} values in {display_path(path)}", path)

    def figure(self, figure, name: str, caption: str, **arrays) -> None:
        """Show a figure, and write it as `figures/<name>.png` with the arrays behind it as `figures/<name>.npz`.

        `caption` says in a sentence or two what there is to see: it stands below the picture, and is its
        alternative text for whoever cannot see it. Text that is too small for a projector is enlarged
        (`plots.make_legible`). The notebook keeps the picture at the size of a screen (`pictures.for_screen`), and
        maps and photos among the arrays are stored at the size of a panel (`pictures.shrink`). The stamp is in the
        .npz as JSON text under "stamp". The figure is closed.
        Raises ValueError where no array is given or one holds objects, or where the caption is no sentence.
        """
        # Imported here, so that reading results (tools/execute.py) does not wait seconds for them.
        from IPython.display import Image, Markdown, display

        from defusion_lib.plots import as_png
        from defusion_lib.runs.pictures import for_screen, shrink

        if not _SLUG.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a figure: use lower-case letters, digits, hyphens, underscores.")
        if not caption.endswith(".") or len(caption) < 30:
            raise ValueError(f"Figure {name} has the caption {caption!r}: say in a sentence what there is to see.")
        if not arrays:
            raise ValueError(f"Figure {name} needs the arrays that it shows, as name=array.")
        arrays = {key: shrink(np.asarray(value)) for key, value in arrays.items()}
        for key, array in arrays.items():
            if array.dtype == object or key == "stamp":
                raise ValueError(f"Array {key!r} of figure {name} must be of numbers or text, under another name.")
        folder = self.folder / "figures"
        data = io.BytesIO()
        np.savez_compressed(data, stamp=json.dumps(self.stamp), **arrays)
        write_atomically(folder / f"{name}.npz", data.getvalue())
        picture = as_png(figure)
        write_atomically(folder / f"{name}.png", picture)
        # The words also stand below: JupyterLab and most exported pages leave out a picture's alternative text.
        shown_picture, kind = for_screen(picture)
        display(Image(shown_picture, format=kind, alt=caption), Markdown(f"*Picture:* {caption}"))
        self._count(display_path(folder / f"{name}.png"), folder / f"{name}.png")

    def show(self, drawing: "Drawing") -> None:
        """Show and write what a function of the library drew; see `figure`."""
        self.figure(drawing.figure, drawing.name, drawing.caption, **drawing.arrays)

    def finish(self) -> None:
        """Print what was written and where; a run without results writes its stamp alone."""
        results = self.folder / "results" / f"{self.stem}.json"
        if results not in [path for _, path in self._written]:
            self.results({})
        print(f"{self.stem} wrote " + ", ".join(text for text, _ in self._written))

    def _count(self, text, path):
        self._written = [entry for entry in self._written if entry[1] != path] + [(text, path)]


def _encode_displayed_figures() -> None:
    """Let a figure that a cell displays without `Run.figure` take few bytes, too."""
    # Imported here, so that reading results (tools/execute.py) does not wait seconds for them.
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    from IPython.core.pylabtools import print_figure
    from matplotlib.figure import Figure

    # Imported for what it does: it sets its own encoding, which is replaced below.
    from matplotlib_inline import backend_inline  # noqa: F401

    from defusion_lib.runs.pictures import plot_for_screen

    def encode(figure):
        png = print_figure(figure)  # None where the figure is empty
        return png and b2a_base64(plot_for_screen(png), newline=False).decode()

    shell.display_formatter.formatters["image/png"].for_type(Figure, encode)


def thread_count() -> int:
    """Return how many threads a notebook computes with: `DEFUSION_THREADS`, or `THREADS`.

    Raises ValueError for what is no whole number from 1 to `MOST_THREADS`.
    """
    given = os.environ.get("DEFUSION_THREADS") or str(THREADS)
    if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= MOST_THREADS:
        raise ValueError(
            f"DEFUSION_THREADS is {given!r}: expected a whole number from 1 to {MOST_THREADS}; leave it out for "
            f"{THREADS} threads."
        )
    return int(given)


def _seed_everything(seed: int):
    """Seed everything, fix the threads, and choose the device."""
    # Imported here, so that reading results (tools/execute.py) does not wait seconds for torch.
    import torch

    from defusion_lib.device import choose_device

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(thread_count())
    return choose_device()
