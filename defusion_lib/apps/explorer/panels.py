"""The widgets of the explorer: one panel for photos, one for the camera."""

import html
import os
from collections.abc import Callable
from functools import partial

import ipywidgets as widgets
import numpy as np
from IPython import get_ipython
from IPython.display import display

from defusion_lib import cam_hooks
from defusion_lib.apps.explorer.analysis import (
    SCENE_SHAPE,
    WHITE_RADIUS,
    Capture,
    PhotoAnalysis,
    analyse,
    capture,
    photo_choices,
    radius_levels,
    read_path,
    read_upload,
    resize_channel,
    score_map,
    stretch_depth,
    tint_blurred,
)
from defusion_lib.apps.explorer.markup import describe_scores, draw_weight_bars, format_figure, format_image
from defusion_lib.apps.explorer.worker import BackgroundTask, Callbacks
from defusion_lib.backbone import TAPS
from defusion_lib.baselines import CLASSICAL
from defusion_lib.cam_hooks import GROUP_TAPS
from defusion_lib.data.camera import Camera, Scene
from defusion_lib.data.synthetic import CHALLENGES, make_scene
from defusion_lib.network import CHANNELS, DeFusionNet
from defusion_lib.plots import as_levels

WIDE, SMALL = 260, 120  # CSS pixels, the widths of images: three and six fit beside one another in JupyterLab
NETWORK, OWN = "the network", "your own photo"


def has_live_front_end() -> bool:
    """Return whether somebody can use a widget: the notebook is open in a front end, or in Voila.

    A front end states with every cell whether it could answer a question (`allow_stdin`); programs that execute
    notebooks in batch (papermill, nbconvert, nbval) cannot. Neither can Voila, which sets a variable instead.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    answers = kernel.get_parent("shell").get("content", {}).get("allow_stdin", False)
    return answers or "VOILA_REQUEST_URL" in os.environ


def show_panel(panel: Callable, *arguments) -> None:
    """Show `panel(*arguments)` where somebody can use it, and elsewhere print how to.

    Returns when the panel shows its first results: a page of Voila is opened then, and would miss later ones.
    """
    if has_live_front_end():
        shown = panel(*arguments)
        display(shown.box)
        shown.wait()
    else:
        print("No live kernel: open this notebook in JupyterLab (make lab) or Voila (make explorer) to use the panel.")


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
    """Return the size of the largest file that the server accepts, in words.

    The Makefile's servers state theirs in DEFUSION_UPLOAD. A kernel cannot ask any other server, so tornado's
    default of 10 MiB per message counts, above which the connection is closed and the upload is lost.
    """
    return os.environ.get("DEFUSION_UPLOAD") or "about 9 MB (more with make lab or make explorer)"


class PhotoPanel:
    """Panel one: a photo, its defocus map after each step, and the channel attention behind it.

    The network runs once per photo, and a baseline once per photo for which it is chosen; moving sliders only
    draws. `first` names the photo that is shown first, `analysis` is what is shown, `box` the widget to display.
    Raises ValueError for a network without CAM.
    """

    def __init__(self, network: DeFusionNet, size: int | None, seed: int, first: str):
        self.network, self.size = network, size
        self.photos = photo_choices(seed)
        self.analysis: PhotoAnalysis | None = None
        self.before: PhotoAnalysis | None = None
        self._analyses: dict[str, PhotoAnalysis] = {}
        self._maps: dict[tuple[str, str], np.ndarray] = {}
        self._setting = False
        self.callbacks = Callbacks()
        self.analysing = BackgroundTask(self.callbacks, self._restore_photo)
        self.comparing = BackgroundTask(self.callbacks, self._restore_maps)
        self._make_controls(first)
        self._make_pictures()
        self._listen()
        self.box = self._arrange().add_class("explorer-photo")
        self._choose()

    def wait(self) -> None:
        """Return when no computation of the panel runs or waits."""
        self.analysing.wait()
        self.comparing.wait()

    def _make_controls(self, first):
        steps, groups = (list(dict.fromkeys(part)) for part in zip(*cam_hooks.fusion_modules(self.network)))
        methods = [NETWORK, *CLASSICAL]
        stages = [(f"after step {step}", f"after{step}") for step in steps] + [("final map (Eq. 8)", "fused")]
        self.photo = _choice(widgets.Dropdown, "photo", [*self.photos, OWN], first)
        self.upload = widgets.FileUpload(accept="image/*", description="upload a photo", layout={"width": "180px"})
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
        self.image, self.mask = widgets.HTML(), widgets.HTML()
        self.maps = {"left": widgets.HTML(), "right": widgets.HTML()}
        self.sides, self.bars, self.channel_picture = widgets.HTML(), widgets.HTML(), widgets.HTML()

    def _listen(self):
        for control, callback in (
            (self.photo, self._choose),
            (self.upload, self._take_upload),
            (self.path, self._take_path),
            (self.stage, self._draw),
            (self.left, self._refresh),
            (self.right, self._refresh),
            (self.threshold, self._draw_maps),
            (self.opacity, self._draw_maps),
            (self.step, self._draw_attention),
            (self.group, self._choose_channel),
            (self.channel, self._draw_attention),
        ):
            control.observe(self.callbacks.wrap(callback), "value")

    def _arrange(self):
        columns = [widgets.VBox([self.image, self.mask]), self.maps["left"], self.maps["right"]]
        for column in columns:
            column.layout.flex = "0 0 auto"
        return widgets.VBox(
            [
                widgets.HBox([self.photo, self.upload, self.limit]),
                self.path,
                self.refusal,
                self.analysing.box,
                widgets.HBox([self.stage, self.threshold]),
                widgets.HBox([self.left, self.right]),
                self.opacity,
                self.comparing.box,
                self.callbacks.problems,
                widgets.HBox(columns, layout={"flex_flow": "row wrap"}),
                self.sides,
                widgets.HBox([self.step, self.group]),
                widgets.HBox([self.channel, self.number]),
                widgets.HBox([self.bars, self.channel_picture], layout={"flex_flow": "row wrap"}),
            ]
        )

    def _choose(self):
        name = self.photo.value
        if self._setting:
            return
        self.refusal.value = ""
        if name in self._analyses:
            self.analysing.drop()
            self._show(self._analyses[name])
        elif name in self.photos:
            compute = partial(self._analyse, self.photos[name], name)
            self.analysing.start(f"The network predicts the maps of {name} …", compute, self._show)
        else:
            self.analysing.drop("There is no photo of your own yet: upload one first, or type its path.")

    def _analyse(self, read, name):
        return analyse(read()._replace(name=name), self.network, self.size)

    def _take_upload(self):
        for file in self.upload.value:
            self._take(file["name"], partial(read_upload, file["name"], file["content"]))
        # Otherwise the same file could not be uploaded again, and its bytes would stay in memory.
        self.upload.value = ()

    def _take_path(self):
        if path := self.path.value.strip():
            self._take(path, partial(read_path, path))

    def _take(self, name, read):
        """Read and analyse a photo of the user's; what is shown stays until both are done."""

        def compute():
            try:
                return self._analyse(read, OWN)
            except (ValueError, OSError) as error:
                return str(error)

        self.refusal.value = ""
        self.analysing.start(f"Reading {name} and predicting its maps …", compute, self._took)

    def _took(self, found):
        if isinstance(found, str):
            self._choose()  # begins again with the analysis that this file has replaced
            self.refusal.value = f'<span role="alert">{html.escape(found)}</span>'
            return
        self.comparing.drop()  # a map of the user's photo before this one
        self._maps = {key: levels for key, levels in self._maps.items() if key[0] != OWN}
        self._setting = True
        self.photo.value, self.path.value = OWN, ""
        self._setting = False
        self._show(found)

    def _show(self, analysis):
        self._analyses[analysis.photo.name] = analysis
        first = self.analysis is None
        if analysis is not self.analysis:
            self.before, self.analysis = self.analysis, analysis
        if first:
            self._choose_channel()
        self._refresh()

    def _restore_photo(self):
        """Set the control back to the photo that is shown."""
        if self.analysis is not None:
            self._setting = True
            self.photo.value = self.analysis.photo.name
            self._setting = False

    def _restore_maps(self):
        """Set the controls back to the maps that are shown."""
        self._setting = True
        for side in (self.left, self.right):
            if self._levels(side.value) is None:
                side.value = NETWORK
        self._setting = False
        self._draw_maps()

    def _refresh(self):
        if self.analysis is None or self._setting:
            return
        self._draw()
        photo = self.analysis.photo
        missing = [method for method in (self.left.value, self.right.value) if self._levels(method) is None]
        if missing:
            text = f"{missing[0]} computes its map of {photo.name} …"
            if self.comparing.busy != text:
                compute = partial(self._compare, missing[0], photo.image)
                self.comparing.start(text, compute, partial(self._keep, (photo.name, missing[0])))

    def _compare(self, method, image):
        return as_levels(CLASSICAL[method](image))

    def _keep(self, key, levels):
        self._maps[key] = levels
        self._refresh()

    def _levels(self, method):
        """Return the map of a method for the photo that is shown, or None where it is not computed yet."""
        if method == NETWORK:
            return self.analysis.stages[self.stage.value]
        return self._maps.get((self.analysis.photo.name, method))

    def _draw(self):
        if self.analysis is not None:
            self._draw_maps()
            self._draw_sides()
            self._draw_attention()

    def _draw_maps(self):
        if self.analysis is None:
            return
        photo = self.analysis.photo
        height, width = photo.image.shape[:2]
        shown = format_image(photo.image, f"photo {photo.name}", WIDE)
        self.image.value = format_figure(shown, f"{photo.name}, {width} x {height} pixels", WIDE)
        if photo.mask is None:
            self.mask.value = format_figure("", "No mask: the blur of this photo was not measured.", WIDE)
        else:
            mask = format_image(as_levels(photo.mask), f"mask of {photo.name}", WIDE)
            self.mask.value = format_figure(mask, "mask: white is blurred", WIDE)
        for side, choice in (("left", self.left), ("right", self.right)):
            self.maps[side].value = self._map_markup(choice.value)

    def _map_markup(self, method):
        levels, photo = self._levels(method), self.analysis.photo
        if levels is None:
            return format_figure("", f"{method}: no map of this photo yet.", WIDE)
        name = f"{method}, {self.stage.label}" if method == NETWORK else method
        cut = self.threshold.value
        tinted = tint_blurred(photo.image, levels, cut, self.opacity.value)
        scores = describe_scores(score_map(levels, photo.mask, cut), cut)
        defocus_map = format_image(levels, f"defocus map of {photo.name} by {name}", WIDE)
        tinted_image = format_image(tinted, f"{photo.name}, tinted by {name}", WIDE)
        return format_figure(defocus_map, name, WIDE) + format_figure(tinted_image, scores, WIDE)

    def _draw_sides(self):
        stage = self.stage.value
        step = len(self.analysis.sides) if stage == "fused" else int(stage.removeprefix("after"))
        shown = [
            format_figure(format_image(levels, f"side output {i} of step {step}", SMALL), f"O{i}, from {tap}", SMALL)
            for i, (levels, tap) in enumerate(zip(self.analysis.sides[step - 1], TAPS), start=1)
        ]
        title = f"<b>The six side outputs of step {step}</b>"
        self.sides.value = f'{title}<div style="display:flex; flex-wrap:wrap">{"".join(shown)}</div>'

    def _choose_channel(self):
        """Choose a channel of the CAM that is not empty."""
        if self.analysis is not None:
            channel = self.analysis.channels[self.step.value, self.group.value].most_varied()
            self.channel.value = channel + 1
            self._draw_attention()

    def _draw_attention(self):
        if self.analysis is None:
            return
        place = self.step.value, self.group.value
        channels = self.analysis.channels[place]
        chosen = self.channel.value - 1
        before, strokes = None, ""
        if self.before is not None:
            before, strokes = self.before.channels[place].weights, f" Strokes: {self.before.photo.name}, shown before."
        title = f"<b>Channel attention, step {place[0]}, {place[1]} layers.</b>{html.escape(strokes)}<br>"
        self.bars.value = title + draw_weight_bars(channels.weights, place[1], chosen, before)
        tap, peak = GROUP_TAPS[place[1]][chosen // CHANNELS], channels.peaks[chosen]
        caption = f"channel {chosen + 1} from {tap}, weight {channels.weights[chosen]:.2f}; "
        caption += f"white is {peak:.3g}" if peak > 0 else "zero everywhere"
        levels = resize_channel(channels.levels[chosen], self.analysis.photo.image.shape[:2])
        self.channel_picture.value = format_figure(format_image(levels, caption, SMALL), caption, SMALL)


class CameraPanel:
    """Panel two: the renderer's camera. A slider moves, and image, true blur and predicted map follow.

    `first` names the scene that is shown first, `capture` is what is shown, `box` the widget to display.
    """

    def __init__(self, network: DeFusionNet, size: int | None, seed: int, first: str):
        self.network, self.size, self.seed = network, size, seed
        self.capture: Capture | None = None
        self._scenes: dict[str, tuple[Scene, Camera]] = {}
        self._camera_of = ""  # the scene whose camera the sliders were set to
        self._setting = False
        self.callbacks = Callbacks()
        self.rendering = BackgroundTask(self.callbacks)
        self.scene = _choice(widgets.Dropdown, "scene", CHALLENGES, first)
        # A capture takes longer than a slider's move.
        late = {"continuous_update": False}
        self.focus = _slider(widgets.FloatLogSlider, "focus distance, m", 1.0, -0.4, 1.2, 0.02, **late)
        self.aperture = _slider(widgets.FloatSlider, "aperture, mm", 40.0, 0, 100, 1, **late)
        self.depth = _slider(widgets.FloatSlider, "stretch of depth", 1.0, 0, 3, 0.1, **late)
        self.noise = _slider(widgets.FloatSlider, "noise, white = 1", 0.01, 0, 0.2, 0.005, readout_format=".3f", **late)
        self.pictures = widgets.HTML()
        self.scene.observe(self.callbacks.wrap(self._choose_scene), "value")
        for slider in (self.focus, self.aperture, self.depth, self.noise):
            slider.observe(self.callbacks.wrap(self._render), "value")
        self.box = widgets.VBox(
            [
                self.scene,
                widgets.HBox([self.focus, self.aperture]),
                widgets.HBox([self.depth, self.noise]),
                self.rendering.box,
                self.callbacks.problems,
                self.pictures,
            ]
        ).add_class("explorer-camera")
        self._choose_scene()

    def wait(self) -> None:
        """Return when no computation of the panel runs or waits."""
        self.rendering.wait()

    def _choose_scene(self):
        name = self.scene.value
        self.rendering.start(f"Building the scene {name} …", partial(self._build, name), partial(self._use, name))

    def _build(self, name):
        if name not in self._scenes:
            self._scenes[name] = make_scene(name, 0, SCENE_SHAPE, self.seed)
        return self._scenes[name][1]

    def _use(self, name, camera):
        """Set the sliders to the scene's own camera."""
        self._camera_of = name
        self._setting = True
        self.focus.value, self.aperture.value = camera.focus_distance, camera.aperture
        self.depth.value, self.noise.value = 1.0, camera.shot_noise
        self._setting = False
        self._render()

    def _render(self):
        name = self.scene.value
        if self._setting:
            return
        if name != self._camera_of:  # the scene is being built, or that was stopped
            self._choose_scene()
            return
        noise = self.noise.value
        camera = Camera(self.focus.value, self.aperture.value, shot_noise=noise, read_noise=noise / 5)
        scene = stretch_depth(self._scenes[name][0], self.depth.value)
        self.rendering.start(
            "Rendering the scene and predicting its map …",
            partial(capture, scene, camera, self.network, self.size, self.seed),
            partial(self._show, scene, camera),
        )

    def _show(self, scene, camera, captured):
        self.capture = captured
        image, radius, mask = captured.rendering
        blurs = [camera.blur_radius(distance, image.shape[1]) for distance in scene.distances]
        near, far = min(scene.distances), max(scene.distances)
        columns = (
            (
                image,
                "rendered image",
                f"focused at {camera.focus_distance:.2f} m, aperture {camera.aperture:.0f} mm; layers at "
                f"{near:.2f} to {far:.2f} m, blurred by up to {max(blurs):.1f} pixels",
            ),
            (
                radius_levels(radius),
                "true blur radius",
                f"true radius of the blur: black is 0, white {WHITE_RADIUS:g} pixels and more; "
                f"{mask.mean():.0%} of the pixels are blurred by more than one",
            ),
            (
                captured.levels,
                "predicted defocus map",
                f"the network's map; {describe_scores(score_map(captured.levels, mask, 0.5), 0.5)}",
            ),
        )
        shown = [format_figure(format_image(pixels, alt, WIDE), caption, WIDE) for pixels, alt, caption in columns]
        self.pictures.value = f'<div style="display:flex; flex-wrap:wrap">{"".join(shown)}</div>'
