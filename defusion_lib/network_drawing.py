"""Draw a network with the shapes of all its feature maps, as SVG: Figures 2, 3, 5 and 6 of the paper.

Channels, sizes and kernels are read from a copy of the network that runs on the "meta" device, where tensors have a
shape and no values. So a drawing shows what the code does, with every switch.
"""

import base64
import re
from dataclasses import dataclass
from html import escape

import torch

from defusion_lib.backbone import TAPS
from defusion_lib.cam_hooks import has_cam
from defusion_lib.network import SHALLOW, DeFusionNet, Maps

Shape = tuple[int, ...]  # without the batch dimension
Point = tuple[float, float]

# Colours in light and in dark mode: fill and line of each kind.
KINDS = {
    "plain": ("#f3f3f3", "#666666", "#2d2d2d", "#a8a8a8"),
    "shallow": ("#dcebf7", "#0173b2", "#12344b", "#6cbcf0"),
    "deep": ("#fbe4d0", "#b85500", "#4f2c0e", "#ffb066"),
    "map": ("#ffffff", "#222222", "#000000", "#e8e8e8"),
}
INK, PAPER = ("#1a1a1a", "#eeeeee"), ("#ffffff", "#1c1c1c")
FONT, LINE = 15, 19  # size of text and distance of its lines
NARROW, HIGH = 54, 48  # width of a box for one map, and height of every box of two lines


@dataclass(frozen=True, repr=False)
class Diagram:
    """An SVG picture, and a description of it for those who cannot see it; a notebook shows it as an image."""

    svg: str
    description: str

    def __repr__(self):
        return self.description

    def _repr_html_(self) -> str:
        # An image, since notebooks that are not trusted show no SVG of their outputs, but images.
        source = base64.b64encode(self.svg.encode()).decode()
        return f'<img alt="{escape(self.description)}" src="data:image/svg+xml;base64,{source}">'


class Trace:
    """The shapes of all that a network computes for an image of size x size pixels, read on the "meta" device.

    `network` is the copy. `inputs` and `output` hold for each of its modules, by name, the shapes of the tensors
    that it takes and gives, of its first call; `photo`, `sides` and `final` those of the image and of the maps.
    """

    def __init__(self, network: DeFusionNet, size: int):
        with torch.device("meta"):
            self.network = type(network)(**network.config)
            photo = torch.empty(1, 3, size, size)
        self.inputs: dict[str, list[Shape]] = {}
        self.output: dict[str, list[Shape]] = {}
        for name, module in self.network.named_modules():
            module.register_forward_hook(lambda _, given, found, name=name: self._record(name, given, found))
        with torch.no_grad():
            maps: Maps = self.network(photo)
        (self.photo,), (self.final,) = _shapes(photo), _shapes(maps.final)
        self.sides = _shapes(maps.sides)

    def _record(self, name, given, found):
        self.inputs.setdefault(name, _shapes(given))
        self.output.setdefault(name, _shapes(found))

    def convolution(self, name: str) -> tuple[int, int, int]:
        """Return the kernel size, the input channels and the output channels of a convolution."""
        layer = self.network.get_submodule(name)
        assert isinstance(layer, torch.nn.Conv2d)
        return layer.kernel_size[0], layer.in_channels, layer.out_channels


def _shapes(values) -> list[Shape]:
    if isinstance(values, torch.Tensor):
        return [tuple(values.shape[1:])]
    return [shape for value in values for shape in _shapes(value)]


def _text(shape: Shape) -> str:
    return "\u2009×\u2009".join(map(str, shape))


def _width(*lines: str) -> int:
    """Return a width of a box that fits these lines in the fonts of common systems."""
    return 18 + round(0.57 * FONT * max(map(len, lines)))


class _Canvas:
    """SVG elements, drawn one after the other; the origin is at the upper left."""

    def __init__(self):
        self.parts: list[str] = []
        self.right = self.bottom = 0.0

    def box(
        self, x: float, y: float, width: float, lines: list[str], kind: str = "plain", height: float = HIGH
    ) -> None:
        """Draw a box with lines of text; y is its middle."""
        self.parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" rx="5"/>'
        )
        self.reach(x + width, y + height / 2)
        for i, line in enumerate(lines):
            self.text(x + width / 2, y + (i - (len(lines) - 1) / 2) * LINE, line)

    def heading(self, x: float, y: float, *lines: str) -> None:
        """Write lines around x whose last is at y; the first is bold."""
        for i, line in enumerate(lines):
            self.text(x, y - (len(lines) - 1 - i) * LINE, line, "" if i else "b")

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> None:
        """Write one line of text around (x, y); F_1^0 and W_D get their indices."""
        index, back = '<tspan class="i" dx="{}" dy="{}">{}</tspan>', '<tspan dy="{}">\u200b</tspan>'
        marked = re.sub(
            r"_(\w)\^\{?([\w−]+)\}?",
            lambda m: index.format(0, 4, m[1]) + index.format(-7, -10, m[2]) + back.format(6),
            escape(text),
        )
        marked = re.sub(r"(?<=\b[A-Z])_([A-Z])\b", lambda m: index.format(0, 4, m[1]) + back.format(-4), marked)
        self.parts.append(f'<text class="{kind} {anchor}" x="{x:g}" y="{y + 5:g}">{marked}</text>')

    def line(self, *points: Point, kind: str = "plain", arrow: bool = True) -> None:
        """Draw a line through points, with an arrow at its end."""
        path = "M" + "L".join(f"{x:g},{y:g}" for x, y in points)
        end = f' marker-end="url(#{kind})"' if arrow else ""
        self.parts.append(f'<path class="l {kind}" d="{path}"{end}/>')

    def dot(self, x: float, y: float, kind: str) -> None:
        """Mark the point where a line branches."""
        self.parts.append(f'<circle class="d {kind}" cx="{x:g}" cy="{y:g}" r="3.5"/>')

    def operator(self, x: float, y: float, sign: str) -> None:
        """Draw a sum or a product: a sign in a circle of radius 13."""
        self.parts.append(f'<circle class="plain" cx="{x:g}" cy="{y:g}" r="13"/>')
        self.text(x, y, sign)

    def weigh(self, begin: Point, product: Point, y: float, *words: str) -> None:
        """Draw weights that go from `begin` down to a product, and write what they are beside the line, from y on."""
        x, bottom = product
        self.line(begin, (x, begin[1]), (x, bottom - 15))
        for i, line in enumerate(words):
            self.text(x + 12, y + i * LINE, line, "" if i else "b", "start")
        self.operator(x, bottom, "×")

    def reach(self, x: float, y: float) -> None:
        """Extend the picture to a point."""
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)

    def diagram(self, title: str, description: str) -> Diagram:
        """Return the picture with its title and description."""
        width, height = self.right + 10, self.bottom + 10
        markers = "".join(
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path class="d {kind}" d="M0,0L8,4L0,8z"/></marker>'
            for kind in KINDS
        )
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-labelledby="title description"><title id="title">{escape(title)}'
            f'</title><desc id="description">{escape(description)}</desc><style>{_style()}</style><defs>{markers}'
            f'</defs><rect class="paper" width="{width:g}" height="{height:g}" rx="8"/>{"".join(self.parts)}</svg>'
        )
        return Diagram(svg, f"{title}. {description}")


def _style() -> str:
    def colours(dark: bool) -> str:
        rules = [f"text{{fill:{INK[dark]}}}.paper{{fill:{PAPER[dark]}}}"]
        for kind, four in KINDS.items():
            fill, stroke = four[2 * dark : 2 * dark + 2]
            rules.append(f".{kind}{{fill:{fill};stroke:{stroke}}}.d.{kind}{{fill:{stroke}}}")
        return "".join(rules)

    return (
        f"text{{font:{FONT}px system-ui,'DejaVu Sans',sans-serif;text-anchor:middle}}.i{{font-size:11px}}"
        f".b{{font-weight:600}}.start{{text-anchor:start}}.end{{text-anchor:end}}{colours(False)}"
        f"@media(prefers-color-scheme:dark){{{colours(True)}}}"
        ".l{fill:none!important;stroke-width:1.6}.dash{stroke-dasharray:5 4}"
    )


def _group(level: int, ffrm: bool) -> str:
    """Return the kind of a layer: shallow, deep, or plain where there is one group."""
    return ("shallow" if level < SHALLOW else "deep") if ffrm else "plain"


def draw_network(network: DeFusionNet, size: int) -> Diagram:
    """Draw a whole network for an image of size x size pixels (Figure 2): taps, heads, steps, side outputs, map."""
    trace, canvas = Trace(network, size), _Canvas()
    count, steps, ffrm = len(TAPS), network.config["steps"], network.config["ffrm"]
    rows = [160.0 + 66 * level for level in range(count)]
    head, below = rows[0] - 48, rows[-1] + 52
    taps, layers, padded = trace.output["backbone"], trace.inputs["steps.0"], trace.inputs["backbone"][0]
    photo = ["photo", _text(trace.photo)] + ([f"padded to {_text(padded[1:])}"] if padded != trace.photo else [])
    wide = _width(*map(_text, taps), *photo)
    canvas.box(10, 44, wide, photo, "map", 20 + LINE * len(photo))
    canvas.line((10 + wide / 2, 54 + LINE / 2 * len(photo)), (10 + wide / 2, rows[0] - HIGH / 2))
    canvas.text(20 + wide / 2, head, "VGG-16", "b", "start")
    x = 10 + wide + (86 if trace.inputs["heads.0"][0] != taps[0] else 28)
    canvas.heading(x + 74, head, "heads")
    canvas.heading(x + 256, head, "layers", _text(layers[0]))
    for level, y in enumerate(rows):
        kind, name = _group(level, ffrm), f"heads.{level}"
        canvas.box(10, y, wide, [TAPS[level], _text(taps[level])], kind)
        if level:
            canvas.line((10 + wide / 2, rows[level - 1] + HIGH / 2), (10 + wide / 2, y - HIGH / 2))
        given, found = trace.inputs[name][0], trace.output[name][0]
        canvas.line((10 + wide, y), (x - 2, y), kind=kind)
        if given != taps[level]:
            canvas.text((8 + wide + x) / 2, y - 14, f"mean ÷{taps[level][1] // given[1]}")
        first, second, third = (trace.convolution(f"{name}.{i}") for i in (0, 2, 4))
        convolutions = [f"conv {kernel}×{kernel}, {width}" for kernel, _, width in (first, second, third)]
        if convolutions[0] == convolutions[1]:
            convolutions[:2] = [f"2 × {convolutions[0]}"]
        canvas.box(x, y, 150, convolutions, kind)
        canvas.line((x + 150, y), (x + 228, y), kind=kind)
        if found != layers[level]:
            canvas.text(x + 188, y - 14, f"up ×{layers[level][1] // found[1]}")
        canvas.box(x + 230, y, NARROW, [f"F_{level + 1}^0"], kind)
    right = x + 230.0 + NARROW
    for step in range(steps):
        right = _draw_block(canvas, trace, right, rows, step)
    scores = trace.output["steps.0.score.0"]
    canvas.heading(right + 26 + NARROW / 2, head, "side outputs", _text(trace.sides[-1]))
    for level, y in enumerate(rows):
        canvas.line((right, y), (right + 24, y), kind=_group(level, ffrm))
        canvas.box(right + 26, y, NARROW, [f"B_{level + 1}^{steps}"], "map")
    edge, middle, wide = right + 26 + NARROW, (rows[0] + rows[-1]) / 2, _width(_text(trace.final))
    end = edge + 42 + wide / 2
    if trace.network.side < 0:
        kernel, fused, ones = trace.convolution("final")
        for y in rows:
            canvas.line((edge, y), (edge + 18, y), (edge + 18, middle), arrow=False)
        canvas.line((edge + 18, middle), (edge + 40, middle))
        canvas.box(edge + 42, middle, wide, [f"conv {kernel}×{kernel}", f"{fused} → {ones} (Eq. 8)"])
        canvas.line((end, middle + HIGH / 2), (end, middle + 76))
        last = f"A {kernel}×{kernel} convolution fuses the {fused} of the last step to"
    else:
        y = rows[trace.network.side]
        canvas.line((edge, y), (edge + 18, y), (edge + 18, middle + 100), (edge + 40, middle + 100), kind="map")
        last = f"Side output {trace.network.side + 1} of the last step is"
    canvas.box(edge + 42, middle + 100, wide, ["final map", _text(trace.final)], "map")
    if scores[0] != (1, *padded[1:]):
        canvas.text(right + 26 + NARROW / 2, rows[-1] + 40, f"up ×{padded[1] // scores[0][1]}")
    if ffrm:
        for i, kind in enumerate(("shallow", "deep")):
            canvas.box(10 + 150 * i, below + 8, 18, [], kind, 18)
            canvas.text(36 + 150 * i, below + 8, f"{kind} layers", anchor="start")
    canvas.text(10, below + 34, "shapes: channels × height × width", anchor="start")
    canvas.reach(edge + 42 + wide, below + 44)
    return canvas.diagram(
        "The whole network",
        f"A photo of {_text(trace.photo)} (channels × height × width) passes through VGG-16, which is tapped at "
        + ", ".join(f"{name} ({_text(shape)})" for name, shape in zip(TAPS, taps))
        + f". A head of three convolutions turns each tap into {layers[0][0]} channels, and all six are brought to "
        f"{_text(layers[0][1:])}. {steps} {'step refines' if steps == 1 else 'steps refine'} them, and each step "
        f"gives six side outputs of {_text(trace.sides[0])}. {last} the final map of {_text(trace.final)}.",
    )


def _draw_block(canvas: _Canvas, trace: Trace, x: float, rows: list[float], step: int) -> float:
    """Draw a step as one block behind x, its inputs and its side outputs; return the x of its right side."""
    left, width, ffrm = x + 24, 100, trace.network.config["ffrm"]
    centre, middle = (rows[0] + rows[-1]) / 2, left + width / 2
    canvas.heading(middle, rows[0] - 48, f"step {step + 1}")
    for level, y in enumerate(rows):
        canvas.line((x, y), (left - 2, y), kind=_group(level, ffrm))
    if ffrm:
        parts = (("fshf", "shallow", rows[0], rows[SHALLOW - 1], -1), ("fsef", "deep", rows[SHALLOW], rows[-1], 1))
        for _, kind, first, last, _ in parts:
            canvas.box(left, (first + last) / 2, width, [], kind, last - first + 56)
        for name, kind, first, last, side in parts:
            (found,) = trace.output[f"steps.{step}.{name}"]
            y = (first + last) / 2 + 44 * side
            canvas.heading(middle, y + LINE / 2, name.upper(), f"{found[0]} channels")
            canvas.line(
                (middle - 20, y - 26 * side), (middle - 20, centre + 22 * side), (middle + 20, centre - 22 * side),
                (middle + 20, centre - 104 * side), kind=kind,
            )  # fmt: skip
    else:
        (found,) = trace.output[f"steps.{step}.fused"]
        canvas.box(left, centre, width, ["all layers", f"{found[0]} channels"], height=rows[-1] - rows[0] + 56)
    if step + 1 < trace.network.config["steps"]:
        canvas.line((middle, rows[-1] + 28), (middle, rows[-1] + 46))
        canvas.text(middle, rows[-1] + 60, f"B_1^{step + 1} … B_6^{step + 1}")
    return left + width


def draw_step(network: DeFusionNet, size: int) -> Diagram:
    """Draw one step of a network for an image of size x size pixels (Figure 3): fusing, crossing over, refining."""
    trace, canvas = Trace(network, size), _Canvas()
    ffrm, layers = network.config["ffrm"], trace.inputs["steps.0"]
    shape, count = _text(layers[0]), len(layers)
    rows = [190.0 + 62 * level for level in range(count)]
    shallow, deep = range(SHALLOW), range(SHALLOW, count)
    # Of each part of a step: its kind, the layers that it fuses and those that it refines, its height, and the line
    # that leaves it.
    parts = {"fshf": ("shallow", shallow, deep, 44, 602), "fsef": ("deep", deep, shallow, rows[-1] + 100, 630)}
    if not ffrm:
        parts = {"fused": ("plain", range(count), range(count), 44, 602)}
    for level, y in enumerate(rows):
        kind = _group(level, ffrm)
        canvas.box(50, y, NARROW, [f"F_{level + 1}^{{j−1}}"], kind)
        canvas.line((50 + NARROW, y - 9), (674, y - 9), kind=kind)
        kernel, given, found = trace.convolution(f"steps.0.refine.{level}")
        canvas.box(676, y, 138, [f"conv {kernel}×{kernel}, ReLU", f"{given} → {found}"], kind)
        canvas.line((814, y), (868, y), kind=kind)
        canvas.box(870, y, NARROW, [f"F_{level + 1}^j"], kind)
        score = trace.convolution(f"steps.0.score.{level}")
        canvas.line((870 + NARROW, y), (1018, y), kind=kind)
        canvas.text(968, y - 14, f"conv {score[0]}×{score[0]}")
        canvas.box(1020, y, NARROW, [f"B_{level + 1}^j"], "map")
    fused = []
    for name, (kind, members, refined, y, line) in parts.items():
        fused.append(_draw_fusion(canvas, trace, name, kind, [rows[level] - 9 for level in members], y))
        ends = [rows[level] + 11 for level in refined]
        begin, end = (y + HIGH / 2, ends[-1]) if y < rows[0] else (y - HIGH / 2, ends[0])
        canvas.line((line, begin), (line, end), kind=kind, arrow=False)
        for end in ends:
            canvas.line((line, end), (674, end), kind=kind)
            canvas.dot(line, end, kind)
    side = _text(trace.output["steps.0.score.0"][0])
    for x, *lines in (
        (77, "layers", shape),
        (745, "concatenate", "and refine (Eq. 3)"),
        (897, "refined layers", _text(trace.output["steps.0"][0])),
        (1047, "side outputs", side),
    ):
        canvas.heading(x, rows[0] - 42, *lines)
    canvas.reach(1110, 0)
    crossed = "FSEF refines the shallow layers, FSHF the deep layers" if ffrm else "This group refines all layers"
    return canvas.diagram(
        "One step of the FFRM" if ffrm else "One step without FFRM",
        f"The step takes {count} layers of {shape} (channels × height × width). {' '.join(fused)} {crossed}: a layer "
        f"and these features are concatenated, and a {kernel}×{kernel} convolution turns the {given} channels into "
        f"{found}. A {score[0]}×{score[0]} convolution makes the side output of each layer, {side}.",
    )


def _draw_fusion(canvas: _Canvas, trace: Trace, name: str, kind: str, members: list[float], y: float) -> str:
    """Draw at height y how the layers at heights `members` are fused; return a sentence about it."""
    switches, part = trace.network.config, f"steps.0.{name}"
    kernel, given, channels = trace.convolution(f"{part}.fuse")
    above, equation = y < members[0], {"fshf": " (Eq. 1)", "fsef": " (Eq. 2)", "fused": ""}[name]
    for height in members:
        canvas.dot(140, height, kind)
    canvas.line((140, members[-1] if above else members[0]), (140, y), (164, y), kind=kind)
    concatenated = f"concatenate {len(members)} × {given // len(members)} = {given} channels"
    canvas.text(166, y + (40 if above else -40), concatenated, anchor="start")
    boxes = [
        ("gate" if switches["cam"] == "constant" else "CAM", f"{given} → {given}", 96, switches["cam"] != "off"),
        (f"conv {kernel}×{kernel}, ReLU", f"{given} → {channels}{equation}", 146, True),
        ("FAM", f"{channels} → {channels}", 96, switches["fam"]),
    ]
    boxes = [box for box in boxes if box[3]]
    x = 166.0
    for title, below, width, _ in boxes:
        canvas.box(x, y, width, [title, below], kind)
        x += width
        canvas.line((x, y), (570 if title == boxes[-1][0] else x + 18, y), kind=kind)
        x += 20
    label, (found,) = "one group" if name == "fused" else name.upper(), trace.output[part]
    canvas.box(572, y, _width(_text(found)), [label, _text(found)], kind)
    layers = {"fshf": f"The first {SHALLOW} (shallow)", "fsef": f"The last {len(members)} (deep)", "fused": "All"}[name]
    convolution = f"a {kernel}×{kernel} convolution"
    applied = " and ".join(", ".join(convolution if box[0][:4] == "conv" else box[0] for box in boxes).rsplit(", ", 1))
    verb = "turns" if len(boxes) == 1 else "turn"
    return f"{layers} are concatenated to {given} channels; {applied} {verb} them into {label} of {_text(found)}."


def draw_cam(network: DeFusionNet, size: int) -> Diagram:
    """Draw the first CAM of a network for an image of size x size pixels (Figure 5); ValueError without a CAM."""
    pooling = network.config["cam"]
    if not has_cam(network):
        raise ValueError(f'The network has no CAM (cam="{pooling}"): draw a network that has one.')
    trace, canvas = Trace(network, size), _Canvas()
    name = f"{_first_fusion(trace)}.cam"
    (given,), (found,) = trace.inputs[name], trace.output[name]
    (channels,), (reduced,) = trace.inputs[f"{name}.down"][0], trace.output[f"{name}.down"][0]
    (widened,) = trace.output[f"{name}.up"][0]
    pools = [("mean", "Eq. 4")] if "gap" in pooling else []
    pools += [("maximum", "Eq. 5")] if "gmp" in pooling else []
    rows = [44.0 + 78 * i for i in range(len(pools))]
    middle, bottom, wide = sum(rows) / len(rows), rows[-1] + 88, _width(_text(given))
    branch = 10 + wide + 12
    canvas.box(10, bottom, wide, ["F", _text(given)])
    canvas.line((10 + wide, bottom), (791, bottom))
    canvas.line((branch, bottom), (branch, rows[0]), arrow=False)
    canvas.dot(branch, bottom, "plain")
    for y, (pool, equation) in zip(rows, pools):
        canvas.line((branch, y), (188, y))
        canvas.box(190, y, 174, [f"{pool} over H × W", f"{equation}: {channels} numbers"])
        canvas.line((364, y), (378, y))
        canvas.box(380, y, 140, ["linear W_D, ReLU", f"{channels} → {reduced}"], "shallow")
        canvas.line((520, y), (557, y), (557, middle), arrow=False)
    if len(rows) > 1:
        canvas.line((450, rows[0] + HIGH / 2), (450, rows[1] - HIGH / 2), kind="shallow dash", arrow=False)
        canvas.text(458, middle, "shared", anchor="start")
        canvas.operator(557, middle, "+")
    canvas.line((570 if len(rows) > 1 else 557, middle), (596, middle))
    canvas.box(598, middle, 158, ["linear W_U, sigmoid", f"{reduced} → {widened}"], "shallow")
    canvas.weigh((756, middle), (806, bottom), middle + 10, "weights w (Eq. 6)", f"{widened} numbers in 0 … 1")
    canvas.text(806, bottom + 26, "Eq. 7")
    canvas.line((819, bottom), (868, bottom))
    canvas.box(870, bottom, wide, ["weighted F", _text(found)])
    canvas.reach(870 + wide, bottom + 34)
    return canvas.diagram(
        "The channel attention module (CAM)",
        f"The {channels} channels of a feature map F of {_text(given)} (channels × height × width) are pooled to their "
        f"{' and their '.join(pool for pool, _ in pools)}. A linear layer turns the {channels} numbers into {reduced}"
        f"{', the same layer for both, whose results are added' if len(pools) > 1 else ''}. A second linear layer "
        f"turns them into {widened}, and a sigmoid into the weights by which the channels are multiplied.",
    )


def draw_fam(network: DeFusionNet, size: int) -> Diagram:
    """Draw the first FAM of a network for an image of size x size pixels (Figure 6); ValueError without a FAM."""
    if not network.config["fam"]:
        raise ValueError("The network has no FAM (fam=False): draw a network that has one.")
    trace, canvas = Trace(network, size), _Canvas()
    name = f"{_first_fusion(trace)}.fam"
    (given,), (found,), (weights,) = trace.inputs[name], trace.output[name], trace.output[f"{name}.weigh"]
    top, y, bottom, wide = 44, 130, 186, _width(_text(given))
    branch = 10 + wide + 20
    canvas.box(10, y, wide, ["X", _text(given)])
    canvas.line((10 + wide, y), (625, y))
    canvas.line((branch, y), (branch, top), (202, top))
    kernels = []
    for x, part, activation in ((204, "extract", "ReLU"), (422, "weigh", "sigmoid")):
        kernel, channels, width = trace.convolution(f"{name}.{part}")
        kernels.append(f"{kernel}×{kernel}")
        canvas.box(x, top, 158, [f"conv {kernel}×{kernel}, {activation}", f"{channels} → {width}"], "shallow")
    canvas.line((362, top), (420, top))
    canvas.weigh((580, top), (640, y), top + 8, "weights in 0 … 1", _text(weights))
    canvas.line((653, y), (745, y))
    canvas.operator(760, y, "+")
    canvas.dot(branch, y, "plain")
    canvas.line((branch, y), (branch, bottom), (760, bottom), (760, y + 15))
    canvas.line((773, y), (868, y))
    canvas.box(870, y, wide, ["adapted X", _text(found)])
    canvas.reach(870 + wide, bottom + 6)
    return canvas.diagram(
        "The feature adaptation module (FAM)",
        f"Two convolutions ({' and '.join(kernels)}), the first with a ReLU and the second with a sigmoid, compute "
        f"weights of {_text(weights)} (channels × height × width) from the input X of {_text(given)}. X is multiplied "
        f"by its weights, and X is added to the product: the output is {_text(found)}.",
    )


def _first_fusion(trace: Trace) -> str:
    """Return the name of the fusion in the first step: that of FSHF, or of all layers without FFRM."""
    return "steps.0.fshf" if trace.network.config["ffrm"] else "steps.0.fused"
