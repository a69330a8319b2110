"""The explorer of notebook 14: a photograph and all that the network says of it, and a camera to turn.

The first half knows no widgets. A photograph is looked at once, in one forward pass (`look`), and every
picture and number of its panel is cut from that; the camera's panel shows what `shoot` gives. The second half
are the panels: thin layers of widgets over these functions, which run beside the thread that answers.
"""

import base64
import html
import io
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display
from matplotlib.colors import to_hex
from PIL import Image
from torch.nn import functional as F

from defusion_lib import cam_hooks, metrics
from defusion_lib.backbone import TAPS
from defusion_lib.baselines import CLASSICAL
from defusion_lib.cam_hooks import GROUP_TAPS, Place
from defusion_lib.data import Photo
from defusion_lib.data.bundled import EMBEDDED, embedded
from defusion_lib.data.camera import Camera, Rendering, Scene, render
from defusion_lib.data.files import read_reduced
from defusion_lib.data.synthetic import CHALLENGES, make_scene, open_synthetic
from defusion_lib.experiments import attention
from defusion_lib.inference import detect, to_shape
from defusion_lib.network import CHANNELS, DeFusionNet, Maps
from defusion_lib.paths import locate
from defusion_lib.plots import COLOURS, as_levels, overlay

LARGEST = 640  # pixels, the longer side of an uploaded photograph, so that the slow methods stay bearable
SCENE = (192, 288)  # pixels, height and width of what the camera takes
CHANNEL = 64  # pixels a side of the kept picture of a channel
WHITE_RADIUS = 8.0  # pixels of blur that are drawn white
PATIENCE = 0.5  # seconds before work that goes on says so
# Where work may be stopped: inside of networks, methods and the renderer, which clean nothing up.
STOPPABLE = tuple(f"defusion_lib.{part}" for part in ("network", "backbone", "baselines.", "data."))
# What hooks of one look note must not come from another: panels and cells share the network.
_NETWORK = threading.Lock()


# ------------------------------------------------------------------------------------- pictures and numbers


class Channels(NamedTuple):
    """What one CAM sees and says: `weights` (C,) in (0, 1) and its channels as levels (C, 64, 64).

    Each channel is drawn up to its own maximum, which `peaks` (C,) holds; 0 where it is zero everywhere.
    """

    weights: np.ndarray
    levels: np.ndarray
    peaks: np.ndarray


class Seen(NamedTuple):
    """All that the explorer shows of one photograph, from one forward pass.

    Maps are levels, uint8 (H, W), white = blurred. `stages` holds "after1", "after2", ... (the mean of the
    six side outputs of each step) and "fused" (Eq. 8); `sides[j]` the side outputs O1 to O6 of step j + 1.
    """

    photo: Photo
    stages: dict[str, np.ndarray]
    sides: list[list[np.ndarray]]
    channels: dict[Place, Channels]


class Shot(NamedTuple):
    """What the camera took, and the network's map of it as levels, uint8 (H, W)."""

    rendering: Rendering
    levels: np.ndarray


def photographs(seed: int) -> dict[str, Callable[[], Photo]]:
    """The photographs to choose from: five rendered ones with exact masks, then `bundled.EMBEDDED` without."""
    rendered = open_synthetic(len(CHALLENGES), SCENE, seed=seed)
    found = {f"rendered: {name}": partial(rendered.__getitem__, i) for i, name in enumerate(CHALLENGES)}
    for name in EMBEDDED:
        found[name.replace("-", ": ", 1)] = partial(_unmasked, name)
    return found


def _unmasked(name: str) -> Photo:
    return Photo(name, embedded(name), None)


def uploaded(name: str, content: bytes | memoryview) -> Photo:
    """Read a photograph without a mask from the bytes of a file, its longer side at most `LARGEST` pixels.

    Raises ValueError, in one sentence with the file's name, where the file is broken or no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content)
        try:
            return _shrunk(name, path)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{path}", name)) from None


def opened(path: str) -> Photo:
    """Read a photograph without a mask from a path as somebody types it, its longer side at most `LARGEST` pixels.

    Relative paths are found as `runs.locate` says, and quotation marks around the path are dropped (Windows copies
    a path with them). Raises ValueError, in one sentence with the full path, where there is no such file, where the
    path is a folder, and where the file is broken or no picture.
    """
    full = os.path.abspath(locate(path.strip().strip('"'), new=True))
    if os.path.isdir(full):
        raise ValueError(f"{full} is a folder: expected a photograph, so add the name of a file in it")
    if not os.path.isfile(full):
        raise ValueError(
            f"there is no file {full} on the computer that runs the notebook: expected a photograph, "
            "so check the path"
        )
    return _shrunk(os.path.basename(full), full)


def _shrunk(name: str, path: str | Path) -> Photo:
    image = Image.fromarray(read_reduced(path, LARGEST)[0])
    image.thumbnail((LARGEST, LARGEST))
    return Photo(name, np.asarray(image), None)


def look(photo: Photo, network: DeFusionNet, size: int | None) -> Seen:
    """Run a network once on a photograph, which it sees at `size` as in `detect`, and keep what can be shown.

    ValueError for a network without CAM.
    """
    said: list[Maps] = []
    with _NETWORK:
        hook = network.register_forward_hook(lambda module, given, maps: said.append(maps))
        try:
            records = attention.record(photo.image, network, size)
        finally:
            hook.remove()
    (maps,) = said
    shape = photo.image.shape[:2]
    stages = {
        name: _levels(logits, shape)
        for name, logits in maps.intermediate().items()
        if name == "fused" or name.startswith("after")
    }
    sides = [_levels(logits, shape) for logits in maps.sides]
    by_step = [sides[i : i + len(TAPS)] for i in range(0, len(sides), len(TAPS))]
    return Seen(photo, stages, by_step, {record.place: _channels(record) for record in records})


def _levels(logits: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    return as_levels(to_shape(torch.sigmoid(logits)[0, 0].cpu().numpy(), shape))


def _channels(record: attention.Attention) -> Channels:
    small = F.adaptive_avg_pool2d(torch.as_tensor(record.features), CHANNEL).numpy()
    peaks = small.max((1, 2))
    scale = np.divide(1, peaks, out=np.zeros_like(peaks), where=peaks > 0)
    return Channels(record.weights, as_levels(small * scale[:, None, None]), peaks)


def scores(levels: np.ndarray, mask: np.ndarray | None, threshold: float) -> dict[str, float]:
    """What a map (H, W) of levels marks above a threshold in [0, 1): "share" of the pixels, and how well.

    With a mask also "mae" (Eq. 12) and, where the mask holds both classes, "precision", "recall" and "f"
    (Eq. 11), blurred pixels positive.
    """
    cut = int(threshold * 255 + 1e-9)  # level > cut says what level / 255 > threshold says
    found = {"share": float((levels > cut).mean())}
    if mask is not None:
        found["mae"] = float(np.abs(levels / 255 - mask).mean())
        if 0 < mask.mean() < 1:
            curves = metrics.curves(metrics.histogram(levels / 255, mask)[None], "blur")
            found |= {name: float(getattr(curves, name)[cut]) for name in ("precision", "recall", "f")}
    return found


def tinted(image: np.ndarray, levels: np.ndarray, threshold: float, opacity: float) -> np.ndarray:
    """A photograph (H, W, 3) whose pixels with a map above `threshold` are tinted, wholly at `opacity` 1."""
    return overlay(image, np.float32(levels > int(threshold * 255 + 1e-9)), opacity)


def stretched(scene: Scene, depth: float) -> Scene:
    """A scene whose depth is stretched from its nearest layer on: distance d becomes near (d / near)^depth.

    1 leaves it as it is, 0 puts all layers at the distance of the nearest one.
    """
    near = min(scene.distances)
    return scene.at([near * (distance / near) ** depth for distance in scene.distances])


def shoot(
    scene: Scene, camera: Camera, network: DeFusionNet, size: int | None, seed: int | Sequence[int] = 0
) -> Shot:
    """Photograph a scene and ask the network where the photograph is blurred."""
    rendering = render(scene, camera, seed)
    with _NETWORK:
        return Shot(rendering, as_levels(detect(rendering.image, network, size)))


def radius_levels(radius: np.ndarray) -> np.ndarray:
    """Blur radii in pixels as levels, uint8: black is none, white is `WHITE_RADIUS` and more."""
    return as_levels(radius / WHITE_RADIUS)


# --------------------------------------------------------------------------------------------------- markup


def picture(pixels: np.ndarray, alt: str, width: int) -> str:
    """Pixels, uint8 (H, W) or (H, W, 3), as an HTML image `width` pixels wide with a text in its stead."""
    image = Image.fromarray(pixels)
    image.thumbnail((2 * width, 4 * width))  # twice: sharp on screens that put two pixels where one was
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    content = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{content}" alt="{html.escape(alt)}" width="{width}" '
        'style="border:1px solid #999">'
    )


def captioned(content: str, caption: str, width: int) -> str:
    """Markup with a line of text below it, as wide as a picture."""
    text = f'<figcaption style="line-height:1.3">{html.escape(caption)}</figcaption>'
    return f'<figure style="margin:0 12px 8px 0; width:{width}px">{content}{text}</figure>'


def in_words(found: dict[str, float], threshold: float) -> str:
    """What `scores` found, as a line of text."""
    words = f"{found['share']:.0%} of the pixels are above {threshold:.2f}"
    if "f" in found:
        words += f"; precision {found['precision']:.2f}, recall {found['recall']:.2f}, F {found['f']:.2f}"
    elif "mae" in found:
        words += "; the truth has one class only, so there is no precision or recall"
    return words + (f"; MAE {found['mae']:.3f}" if "mae" in found else "")


def bars(weights: np.ndarray, group: str, chosen: int, before: np.ndarray | None = None) -> str:
    """The weights (C,) of a CAM as bars, an SVG; `chosen` stands out, short strokes mark weights `before`.

    A click on a bar, or above it, puts the channel's number into the panel's number field.
    """
    wide, tall, left = 6, 120, 34
    width = left + wide * len(weights)
    click = (
        f"const i = Math.floor((event.clientX - this.getBoundingClientRect().x - {left}) / {wide}) + 1;"
        "const field = this.closest('.explorer-photograph').querySelector('.explorer-channel input');"
        f"if (i >= 1 &amp;&amp; i &lt;= {len(weights)}) {{"
        "field.value = i; field.dispatchEvent(new Event('change', {bubbles: true})) }"
    )
    parts = [
        f'<svg width="{width}" height="{tall + 44}" role="img" fill="currentColor" font-size="11" '
        f'aria-label="{len(weights)} weights as bars; channel {chosen + 1} has {weights[chosen]:.2f}" '
        f'style="cursor:pointer" onclick="{click}">'
    ]
    for level in (0, 0.5, 1):
        y = 6 + tall * (1 - level)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y}" y2="{y}" stroke="#999" stroke-width="0.5"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{level:g}</text>')
    for i, weight in enumerate(weights):
        x, colour = left + wide * i, to_hex(COLOURS[1 if i == chosen else 0])
        parts.append(
            f'<rect x="{x}" y="{6 + tall * (1 - weight):.1f}" width="{wide - 1}" '
            f'height="{tall * weight:.1f}" fill="{colour}">'
            f"<title>channel {i + 1}: {weight:.2f}</title></rect>"
        )
        if before is not None:
            y = f"{6 + tall * (1 - before[i]):.1f}"
            parts.append(f'<line x1="{x}" x2="{x + wide - 1}" y1="{y}" y2="{y}" stroke="currentColor"/>')
    for i, tap in enumerate(GROUP_TAPS[group]):
        x = left + wide * CHANNELS * (i + 0.5)
        parts.append(f'<text x="{x}" y="{tall + 22}" text-anchor="middle">{tap}</text>')
    words = "weight of each channel, 32 from each layer; click a bar to see its channel"
    parts.append(f'<text x="{left}" y="{tall + 40}">{words}</text></svg>')
    return "".join(parts)


# ----------------------------------------------------------------------------------------- work and errors


class Stopped(BaseException):
    """Ends work that was told to stop; no `except Exception` on its way takes it for an error."""


@contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Within this block `stop.set()` ends networks, methods and the renderer with `Stopped`, in this thread.

    It is looked at wherever their code calls something, so they need not know of it, and other packages are
    never interrupted halfway.
    """

    def check(frame, event, argument):
        if stop.is_set() and event in ("call", "c_call"):
            if frame.f_globals.get("__name__", "").startswith(STOPPABLE):
                raise Stopped

    sys.setprofile(check)
    try:
        yield
    finally:
        sys.setprofile(None)


def by_method(name: str, image: np.ndarray) -> np.ndarray:
    """A hand-crafted method's map as levels; threads that the method begins are `stoppable` with this one."""
    threading.setprofile(sys.getprofile())
    try:
        return as_levels(CLASSICAL[name](image))
    finally:
        threading.setprofile(None)


class Desk:
    """What a panel works with: one piece of work at a time, what it says meanwhile, and where errors show.

    `status` holds a line of text, `button` stops the work and then calls `stopped`, and `problems` shows the
    traceback of whatever failed in a callback. The newest work wins: what still runs is stopped.
    """

    def __init__(self, stopped: Callable[[], None]):
        self.status = widgets.HTML()
        self.button = widgets.Button(
            description="Stop", icon="stop", disabled=True, tooltip="stop the work and keep what is shown"
        )
        self.problems = widgets.Output()
        self.box = widgets.HBox([self.button, self.status])
        self._stopped = stopped
        self._lock = threading.RLock()
        self._thread, self._stop, self._text = None, threading.Event(), ""
        self._stop.set()
        self.button.on_click(self.handler(self._halt))

    def say(self, text: str, busy: bool = False) -> None:
        """Show a line of text, behind a moving bar while something is going on."""
        bar = "<progress></progress> " if busy else ""
        self.status.value = f'<span role="status">{bar}{html.escape(text)}</span>' if text else ""

    def handler(self, callback: Callable[[], None]) -> Callable[..., None]:
        """A callback for `observe` and `on_click`; if it raises, the traceback shows in `problems`."""

        def called(*_):
            with self._lock:
                try:
                    callback()
                except Exception:
                    self.problems.append_stderr(traceback.format_exc())

        return called

    def work(self, text: str, compute: Callable[[], object], done: Callable[[object], None]) -> None:
        """Call `done(compute())` in a thread, and say so if it takes longer than `PATIENCE`."""
        self._stop.set()
        self._stop, self._text = threading.Event(), text
        given = (self._thread, self._stop, text, compute, done)
        self._thread = threading.Thread(target=self._run, args=given, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> str:
        """The text of the work that goes on, empty where none does."""
        return "" if self._stop.is_set() else self._text

    def drop(self) -> None:
        """Stop the work, if any, without a word."""
        self._stop.set()
        self._rest()

    def wait(self) -> None:
        """Return when no work is left."""
        while (thread := self._thread) is not None and thread.is_alive():
            thread.join()

    def _run(self, previous, stop, text, compute, done):
        reminder = threading.Timer(
            PATIENCE, self.handler(lambda: stop.is_set() or self._rest(text, busy=True))
        )
        reminder.daemon = True
        reminder.start()
        if previous is not None:
            previous.join()
        try:
            with stoppable(stop):
                result = compute()
        except Stopped:
            return
        except Exception:
            self.problems.append_stderr(traceback.format_exc())
            self.handler(lambda: stop.is_set() or self._rest("That failed; the error is below."))()
        else:
            self.handler(lambda: stop.is_set() or (self._rest(), done(result)))()
        finally:
            reminder.cancel()
            if self._stop is stop:
                stop.set()

    def _rest(self, text="", busy=False):
        self.button.disabled = not busy
        self.say(text, busy)

    def _halt(self):
        self.drop()
        self.say("Stopped: what you see is from before.")
        self._stopped()


# -------------------------------------------------------------------------------------------------- panels


def is_watched() -> bool:
    """Whether somebody is at the notebook who can move a slider: it is open in a front end, or in Voila.

    A front end says with every cell whether it could answer a question (`allow_stdin`); what executes
    notebooks in batch (papermill, nbconvert, nbval) could not. Nor could Voila, which names itself instead.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    answers = kernel.get_parent("shell").get("content", {}).get("allow_stdin", False)
    return answers or "VOILA_REQUEST_URL" in os.environ


def show(panel: Callable, *given) -> None:
    """Show `panel(*given)` where somebody can use it, and elsewhere say so."""
    if is_watched():
        display(panel(*given).box)
    else:
        print("Nobody is at the notebook: open it in JupyterLab (make lab) or Voila to use the panel.")


WIDE, SMALL = 260, 120  # pixels, the widths of pictures in a panel
NETWORK, OWN = "the network", "your own (upload it)"


def _slider(kind, description: str, value: float, low: float, high: float, step: float, **more):
    return kind(
        value=value,
        min=low,
        max=high,
        step=step,
        description=description,
        style={"description_width": "125px"},
        layout={"width": "410px"},
        **more,
    )


def _choice(kind, description: str, options, value, **more):
    style, layout = {"description_width": "125px"}, {"width": "410px"}
    return kind(options=options, value=value, description=description, style=style, layout=layout, **more)


def upload_limit() -> str:
    """Name the largest file that the server lets through, in words.

    The Makefile's servers say theirs in DEFUSION_UPLOAD. A kernel cannot ask any other server, so tornado's
    default of 10 MiB a message counts, above which the connection is closed and the upload is lost.
    """
    return os.environ.get("DEFUSION_UPLOAD") or "about 9 MB (more with make lab or make explorer)"


class PhotographPanel:
    """Panel one: a photograph, the network's map of it after each step, and how the map came about.

    The network runs once a photograph, and a hand-crafted method once a photograph when it is chosen; moving
    sliders only draws. `first` names the photograph to begin with, `seen` is what is shown, `box` the widget
    to display. ValueError for a network without CAM.
    """

    def __init__(self, network: DeFusionNet, size: int | None, seed: int, first: str):
        self.network, self.size = network, size
        self.photographs = photographs(seed)
        self.seen: Seen | None = None
        self.before: Seen | None = None
        self._looks: dict[str, Seen] = {}
        self._maps: dict[tuple[str, str], np.ndarray] = {}
        self._setting = False
        self._awaited: str | None = None  # the work that ends with another photograph
        self.desk = Desk(self._revert)
        self._make_controls(first)
        self._make_pictures()
        self._listen()
        self.box = self._laid_out().add_class("explorer-photograph")
        self._choose()

    def _make_controls(self, first):
        steps, groups = (list(dict.fromkeys(part)) for part in zip(*cam_hooks.fusions(self.network)))
        names = list(self.photographs)
        methods = [NETWORK, *CLASSICAL]
        stages = [(f"after step {step}", f"after{step}") for step in steps] + [("final map (Eq. 8)", "fused")]
        self.photograph = _choice(widgets.Dropdown, "photograph", [*names, OWN], first)
        self.upload = widgets.FileUpload(
            accept="image/*", description="upload a photograph", layout={"width": "auto"}
        )
        self.limit = widgets.HTML(f"up to {html.escape(upload_limit())}; a larger one by its path")
        self.path = widgets.Text(
            description="or the path of a photo",
            placeholder="~/photos/me.jpg, on the computer that runs the notebook",
            continuous_update=False,
            style={"description_width": "150px"},
            layout={"width": "640px"},
        )
        self.refusal = widgets.HTML()
        self.stage = _choice(widgets.SelectionSlider, "network's map", stages, "fused")
        self.left = _choice(widgets.Dropdown, "left map", methods, NETWORK)
        self.right = _choice(widgets.Dropdown, "right map", methods, "jnb")
        self.threshold = _slider(widgets.FloatSlider, "threshold", 0.5, 0, 0.99, 0.01)
        self.opacity = _slider(widgets.FloatSlider, "tint of the blurred", 0.7, 0, 1, 0.05)
        self.step = _choice(widgets.SelectionSlider, "CAM of step", steps, steps[0])
        self.group = _choice(widgets.Dropdown, "CAM of group", groups, groups[0])
        last = len(GROUP_TAPS[groups[0]]) * CHANNELS
        self.channel = _slider(widgets.IntSlider, "channel", 1, 1, last, 1, readout=False)
        self.number = widgets.BoundedIntText(
            1, min=1, max=last, tooltip="number of the channel", layout={"width": "70px"}
        ).add_class("explorer-channel")
        widgets.link((self.channel, "value"), (self.number, "value"))

    def _make_pictures(self):
        self.photo, self.mask = widgets.HTML(), widgets.HTML()
        self.maps = {"left": widgets.HTML(), "right": widgets.HTML()}
        self.sides, self.bars, self.channel_picture = widgets.HTML(), widgets.HTML(), widgets.HTML()

    def _listen(self):
        for control, callback in (
            (self.photograph, self._choose),
            (self.upload, self._take),
            (self.path, self._open),
            (self.stage, self._draw),
            (self.left, self._refresh),
            (self.right, self._refresh),
            (self.threshold, self._draw_maps),
            (self.opacity, self._draw_maps),
            (self.step, self._draw_attention),
            (self.group, self._draw_attention),
            (self.channel, self._draw_attention),
        ):
            control.observe(self.desk.handler(callback), "value")

    def _laid_out(self):
        columns = [widgets.VBox([self.photo, self.mask]), self.maps["left"], self.maps["right"]]
        for column in columns:
            column.layout.flex = "0 0 auto"
        return widgets.VBox(
            [
                widgets.HBox([self.photograph, self.upload, self.limit]),
                self.path,
                self.refusal,
                widgets.HBox([self.stage, self.threshold]),
                widgets.HBox([self.left, self.right]),
                self.opacity,
                self.desk.box,
                self.desk.problems,
                widgets.HBox(columns, layout={"flex_flow": "row wrap"}),
                self.sides,
                widgets.HBox([self.step, self.group]),
                widgets.HBox([self.channel, self.number]),
                widgets.HBox([self.bars, self.channel_picture], layout={"flex_flow": "row wrap"}),
            ]
        )

    def _choose(self):
        name = self.photograph.value
        if self._setting:
            return
        self.refusal.value = ""
        if name in self._looks:
            self.desk.drop()
            self._show(self._looks[name])
        elif name in self.photographs:
            self._await(f"The network looks at {name} …", partial(self._look, name), self._show)
        else:
            self.desk.say("There is no photograph of your own yet: upload one first, or type its path.")

    def _await(self, text, compute, done):
        self._awaited = text
        self.desk.work(text, compute, done)

    def _look(self, name):
        return look(self.photographs[name]()._replace(name=name), self.network, self.size)

    def _take(self):
        for file in self.upload.value:
            self._bring(file["name"], partial(uploaded, file["name"], file["content"]))
        # Otherwise the same file could not be uploaded again, and its bytes would stay in memory.
        self.upload.value = ()

    def _open(self):
        if path := self.path.value.strip():
            self._bring(path, partial(opened, path))

    def _bring(self, name, read):
        """Read a photograph of the user's own and look at it; what is shown stays until both are done."""

        def compute():
            try:
                photo = read()
            except (ValueError, OSError) as error:
                return str(error)
            return look(photo._replace(name=OWN), self.network, self.size)

        self.refusal.value = ""
        self._await(f"{name} is read, and the network predicts its map …", compute, self._brought)

    def _brought(self, found):
        if isinstance(found, str):
            self._choose()  # goes on with what the upload has stopped
            self.refusal.value = f'<span role="alert">{html.escape(found)}</span>'
            return
        self._maps = {key: levels for key, levels in self._maps.items() if key[0] != OWN}
        self._setting = True
        self.photograph.value, self.path.value = OWN, ""
        self._setting = False
        self._show(found)

    def _show(self, seen):
        self._awaited = None
        self._looks[seen.photo.name] = seen
        if seen is not self.seen:
            self.before, self.seen = self.seen, seen
        self._refresh()

    def _revert(self):
        """After a stop the controls say again what is shown."""
        if self.seen is None:
            return
        self._setting = True
        self.photograph.value = self.seen.photo.name
        for side in (self.left, self.right):
            if side.value in CLASSICAL and self._levels(side.value) is None:
                side.value = NETWORK
        self._setting = False
        self._draw()

    def _refresh(self):
        if self.seen is None or self._setting:
            return
        self._draw()
        photo = self.seen.photo
        missing = [
            method
            for method in (self.left.value, self.right.value)
            if method in CLASSICAL and (photo.name, method) not in self._maps
        ]
        # A method would stop the work that ends with another photograph.
        if missing and self.desk.busy != self._awaited:
            text = f"{missing[0]} works on {photo.name} …"
            if self.desk.busy != text:
                compute = partial(by_method, missing[0], photo.image)
                self.desk.work(text, compute, partial(self._keep, (photo.name, missing[0])))

    def _keep(self, key, levels):
        self._maps[key] = levels
        self._refresh()

    def _levels(self, method):
        """The map of a method for what is shown, or None where it has none (yet)."""
        if method == NETWORK:
            return self.seen.stages[self.stage.value]
        return self._maps.get((self.seen.photo.name, method))

    def _draw(self):
        if self.seen is not None:
            self._draw_maps()
            self._draw_sides()
            self._draw_attention()

    def _draw_maps(self):
        if self.seen is None:
            return
        photo = self.seen.photo
        height, width = photo.image.shape[:2]
        shown = picture(photo.image, f"photograph {photo.name}", WIDE)
        self.photo.value = captioned(shown, f"{photo.name}, {width} x {height} pixels", WIDE)
        if photo.mask is None:
            self.mask.value = captioned("", "No mask: nobody measured what is in focus here.", WIDE)
        else:
            truth = picture(as_levels(photo.mask), f"mask of {photo.name}", WIDE)
            self.mask.value = captioned(truth, "the truth: white is blurred", WIDE)
        for side, choice in (("left", self.left), ("right", self.right)):
            self.maps[side].value = self._map_markup(choice.value)

    def _map_markup(self, method):
        levels, photo = self._levels(method), self.seen.photo
        if levels is None:
            return captioned("", f"{method}: no map of this photograph yet.", WIDE)
        name = f"{method}, {self.stage.label}" if method == NETWORK else method
        cut = self.threshold.value
        tint = tinted(photo.image, levels, cut, self.opacity.value)
        found = in_words(scores(levels, photo.mask, cut), cut)
        map_picture = picture(levels, f"defocus map of {photo.name} by {name}", WIDE)
        tint_picture = picture(tint, f"{photo.name}, tinted by {name}", WIDE)
        return captioned(map_picture, name, WIDE) + captioned(tint_picture, found, WIDE)

    def _draw_sides(self):
        stage = self.stage.value
        step = len(self.seen.sides) if stage == "fused" else int(stage.removeprefix("after"))
        shown = [
            captioned(picture(levels, f"side output {i} of step {step}", SMALL), f"O{i}, from {tap}", SMALL)
            for i, (levels, tap) in enumerate(zip(self.seen.sides[step - 1], TAPS), start=1)
        ]
        title = f"<b>The six side outputs of step {step}</b>"
        self.sides.value = f'{title}<div style="display:flex; flex-wrap:wrap">{"".join(shown)}</div>'

    def _draw_attention(self):
        if self.seen is None:
            return
        place = self.step.value, self.group.value
        found = self.seen.channels[place]
        chosen = self.channel.value - 1
        before = self.before.channels[place].weights if self.before is not None else None
        strokes = f" Strokes: {self.before.photo.name}, looked at before." if self.before is not None else ""
        title = f"<b>Channel attention, step {place[0]}, {place[1]} layers.</b>{html.escape(strokes)}<br>"
        self.bars.value = title + bars(found.weights, place[1], chosen, before)
        tap, peak = GROUP_TAPS[place[1]][chosen // CHANNELS], found.peaks[chosen]
        caption = f"channel {chosen + 1} from {tap}, weight {found.weights[chosen]:.2f}; "
        caption += f"white is {peak:.3g}" if peak > 0 else "zero everywhere"
        levels = to_picture(found.levels[chosen], self.seen.photo.image.shape[:2])
        self.channel_picture.value = captioned(picture(levels, caption, SMALL), caption, SMALL)


def to_picture(levels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Levels of a square that the network saw, in a photograph's proportions (height, width)."""
    height, width = shape
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))


class CameraPanel:
    """Panel two: the renderer's camera. Turn a ring, and photograph, true blur and detected map follow.

    `first` names the scene to begin with, `shot` is what is shown, `box` the widget to display.
    """

    def __init__(self, network: DeFusionNet, size: int | None, seed: int, first: str):
        self.network, self.size, self.seed = network, size, seed
        self.shot: Shot | None = None
        self._scenes: dict[str, tuple[Scene, Camera]] = {}
        self._setting = False
        self.desk = Desk(lambda: None)
        self.scene = _choice(widgets.Dropdown, "scene", CHALLENGES, first)
        # A photograph takes longer than a slider's move.
        late = {"continuous_update": False}
        self.focus = _slider(widgets.FloatLogSlider, "focus at, m", 1.0, -0.4, 1.2, 0.02, **late)
        self.aperture = _slider(widgets.FloatSlider, "aperture, mm", 40.0, 0, 100, 1, **late)
        self.depth = _slider(widgets.FloatSlider, "depth, times", 1.0, 0, 3, 0.1, **late)
        self.noise = _slider(
            widgets.FloatSlider, "noise, of white", 0.01, 0, 0.2, 0.005, readout_format=".3f", **late
        )
        self.pictures = widgets.HTML()
        self.scene.observe(self.desk.handler(self._set_up), "value")
        for ring in (self.focus, self.aperture, self.depth, self.noise):
            ring.observe(self.desk.handler(self._turn), "value")
        self.box = widgets.VBox(
            [
                self.scene,
                widgets.HBox([self.focus, self.aperture]),
                widgets.HBox([self.depth, self.noise]),
                self.desk.box,
                self.desk.problems,
                self.pictures,
            ]
        ).add_class("explorer-camera")
        self._set_up()

    def _set_up(self):
        name = self.scene.value
        self.desk.work(f"The scene {name} is being built …", partial(self._build, name), self._use)

    def _build(self, name):
        if name not in self._scenes:
            self._scenes[name] = make_scene(name, 0, SCENE, self.seed)
        return self._scenes[name][1]

    def _use(self, camera):
        """The rings go to where the scene's own camera has them."""
        self._setting = True
        self.focus.value, self.aperture.value = camera.focus_distance, camera.aperture
        self.depth.value, self.noise.value = 1.0, camera.shot_noise
        self._setting = False
        self._turn()

    def _turn(self):
        name = self.scene.value
        if self._setting:
            return
        if name not in self._scenes:
            self._set_up()
            return
        noise = self.noise.value
        camera = Camera(self.focus.value, self.aperture.value, shot_noise=noise, read_noise=noise / 5)
        scene = stretched(self._scenes[name][0], self.depth.value)
        self.desk.work(
            "The camera takes a photograph, and the network looks at it …",
            partial(shoot, scene, camera, self.network, self.size, self.seed),
            partial(self._show, scene, camera),
        )

    def _show(self, scene, camera, shot):
        self.shot = shot
        image, radius, mask = shot.rendering
        blurs = [camera.blur_radius(distance, image.shape[1]) for distance in scene.distances]
        near, far = min(scene.distances), max(scene.distances)
        columns = (
            (
                image,
                "rendered photograph",
                f"focused at {camera.focus_distance:.2f} m, aperture {camera.aperture:.0f} mm; layers at "
                f"{near:.2f} to {far:.2f} m, blurred by up to {max(blurs):.1f} pixels",
            ),
            (
                radius_levels(radius),
                "true blur radius",
                f"the true radius of the blur: black is 0, white {WHITE_RADIUS:g} pixels and more; "
                f"{mask.mean():.0%} of the pixels are blurred by more than one",
            ),
            (
                shot.levels,
                "detected defocus map",
                f"the network's map; {in_words(scores(shot.levels, mask, 0.5), 0.5)}",
            ),
        )
        shown = [captioned(picture(pixels, alt, WIDE), caption, WIDE) for pixels, alt, caption in columns]
        self.pictures.value = f'<div style="display:flex; flex-wrap:wrap">{"".join(shown)}</div>'
