"""Drawings of the network show what it computes, and every switch changes them."""

import re
from functools import cache
from xml.etree import ElementTree

import pytest
import torch

from defusion_lib.network import CAMS, DeFusionNet
from defusion_lib.network_drawing import Trace, draw_cam, draw_fam, draw_network, draw_step

SVG = "{http://www.w3.org/2000/svg}"
ALL = (draw_network, draw_step, draw_cam, draw_fam)
SIZE = 64


def network(**switches):
    with torch.device("meta"):
        return DeFusionNet(**({"heads": "compact"} | switches))


@cache
def drawing(draw, size, **switches):
    return draw(network(**switches), size)


def texts(draw, size=SIZE, **switches):
    """The lines of text of a drawing, without its invisible and its thin spaces."""
    root = ElementTree.fromstring(drawing(draw, size, **switches).svg)
    found = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    return [text.replace("\u200b", "").replace("\u2009", " ") for text in found]


def shape(values):
    return " × ".join(map(str, values))


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches, size", [({}, 64), ({"fusion_stride": 4}, 64), ({"heads": "radf", "steps": 1}, 40), ({"ffrm": False}, 32)]
)
def test_shapes_are_those_of_a_real_run(switches, size):
    real = DeFusionNet(**({"heads": "compact"} | switches)).eval()
    photo = torch.rand(1, 3, size, size)
    padded = torch.nn.functional.pad(photo, (0, -size % 32, 0, -size % 32))
    with torch.no_grad():
        taps, layers, maps = real.backbone(padded), real.project_features(padded), real(photo)
    trace = Trace(real, size)
    assert trace.output["backbone"] == [tuple(tap.shape[1:]) for tap in taps]
    assert trace.inputs["steps.0"] == [tuple(layer.shape[1:]) for layer in layers]
    assert trace.sides == [tuple(side.shape[1:]) for side in maps.sides]
    assert trace.final == tuple(maps.final.shape[1:])
    written = texts(draw_network, size, **switches)
    for values in (trace.photo, trace.final, layers[0].shape[1:], *(tap.shape[1:] for tap in taps)):
        assert shape(values) in written
    assert [text for text in written if re.fullmatch(r"B\d\d", text)] == [f"B{i}{len(real.steps)}" for i in range(1, 7)]


@pytest.mark.parametrize("heads", ["radf", "compact"])
def test_heads_are_drawn_with_their_kernels_and_widths(heads):
    written = texts(draw_network, heads=heads)
    found = [text for text in written if text.startswith("2 × conv")]
    convolutions = [(head[0], head[2]) for head in network(heads=heads).heads]
    assert all(first.kernel_size == second.kernel_size for first, second in convolutions)
    assert found == [f"2 × conv {c.kernel_size[0]}×{c.kernel_size[0]}, {c.out_channels}" for c, _ in convolutions]


@pytest.mark.slow
@pytest.mark.parametrize("steps", range(1, 7))
def test_as_many_steps_as_the_network_has(steps):
    written = texts(draw_network, steps=steps)
    assert [text for text in written if text.startswith("step ")] == [f"step {i + 1}" for i in range(steps)]


@pytest.mark.slow
def test_fusion_stride_averages_fine_taps_and_brings_less_up():
    assert [t for t in texts(draw_network) if t[:2] in ("me", "up")] == [f"up ×{2**i}" for i in range(1, 6)]
    found = [t for t in texts(draw_network, fusion_stride=4) if t[:2] in ("me", "up")]
    assert found == ["mean ÷4", "mean ÷2", "up ×2", "up ×4", "up ×8", "up ×4"]
    assert "32 × 16 × 16" in texts(draw_step, fusion_stride=4)


def test_a_size_that_is_no_multiple_of_32_is_padded():
    assert "padded to 64 × 64" in texts(draw_network, 50)
    assert not any("padded" in text for text in texts(draw_network))


def test_a_single_side_output_is_not_fused():
    assert "6 → 1 (Eq. 8)" in texts(draw_network)
    assert "6 → 1 (Eq. 8)" not in texts(draw_network, output="o2")
    assert "Side output 2 of the last step is the final map" in drawing(draw_network, SIZE, output="o2").description


@pytest.mark.slow
def test_a_step_is_drawn_without_the_parts_that_it_lacks():
    whole = texts(draw_step)
    assert (whole.count("CAM"), whole.count("FAM")) == (2, 2)
    assert {"FSHF", "FSEF", "concatenate 3 × 32 = 96 channels", "96 → 16 (Eq. 1)", "48 → 32"} <= set(whole)
    assert "CAM" not in texts(draw_step, cam="off") and texts(draw_step, cam="off").count("FAM") == 2
    assert "FAM" not in texts(draw_step, fam=False) and texts(draw_step, fam=False).count("CAM") == 2
    single = texts(draw_step, ffrm=False)
    assert {"concatenate 6 × 32 = 192 channels", "192 → 16"} <= set(single)
    assert not {"FSHF", "FSEF"} & {*single, *texts(draw_network, ffrm=False)}


def lines(kind, **switches):
    """Ends (x, y) of the lines of one kind that have an arrow, in the drawing of a step."""
    root = ElementTree.fromstring(drawing(draw_step, SIZE, **switches).svg)
    found = [each for each in root.iter(f"{SVG}path") if each.get("class") == f"l {kind}" and each.get("marker-end")]
    return [tuple(map(float, each.get("d").rpartition("L")[2].split(","))) for each in found]


def boxes(kind):
    """Middles in y of the boxes of refining convolutions of one kind, in the drawing of a step."""
    root = ElementTree.fromstring(drawing(draw_step, SIZE).svg)
    found = [each for each in root.iter(f"{SVG}rect") if each.get("class") == kind and each.get("x") == "676"]
    return [float(each.get("y")) + float(each.get("height")) / 2 for each in found]


@pytest.mark.parametrize("own, other", [("shallow", "deep"), ("deep", "shallow")])
def test_each_group_is_refined_by_the_other(own, other):
    middles = boxes(own)
    assert len(middles) == 3
    for y in middles:
        assert [end for end in lines(own) if end[0] == 674 and abs(end[1] - y) < 20] == [(674, y - 9)]
        assert [end for end in lines(other) if end[0] == 674 and abs(end[1] - y) < 20] == [(674, y + 11)]


@pytest.mark.slow
@pytest.mark.parametrize("cam", CAMS)
def test_cam_shows_its_poolings_and_widths(cam):
    if cam in ("off", "constant"):
        with pytest.raises(ValueError, match="has no CAM"):
            draw_cam(network(cam=cam), SIZE)
        return
    written = texts(draw_cam, cam=cam)
    assert ("mean over H × W" in written) == ("gap" in cam)
    assert ("maximum over H × W" in written) == ("gmp" in cam)
    assert ("shared" in written) == ("+" in written) == (cam == "gap+gmp")
    assert written.count("96 → 6") == cam.count("g") and "6 → 96" in written
    assert "192 → 12" in texts(draw_cam, cam=cam, ffrm=False)


def test_fam_shows_its_convolutions():
    written = texts(draw_fam)
    assert written.count("16 → 16") == 2
    assert {"conv 3×3, ReLU", "conv 3×3, sigmoid", "×", "+", "16 × 64 × 64"} <= set(written)
    with pytest.raises(ValueError, match="has no FAM"):
        draw_fam(network(fam=False), SIZE)


@pytest.mark.parametrize("draw", ALL)
def test_a_drawing_is_small_complete_and_described(draw):
    diagram = draw(network(), 1024)
    root = ElementTree.fromstring(diagram.svg)
    title, description = root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text
    assert root.get("role") == "img" and root.get("aria-labelledby") == "title description"
    assert diagram.description == repr(diagram) == f"{title}. {description}"
    html = diagram._repr_html_()
    assert f'alt="{diagram.description}"' in html and len(html) < 60_000
    assert "prefers-color-scheme:dark" in diagram.svg
    # Nothing lies outside the picture: letters are at most 0.65 of their size wide.
    width, height = float(root.get("width")), float(root.get("height"))
    for text in root.iter(f"{SVG}text"):
        half = 0.65 * 15 * len("".join(text.itertext()).replace("\u200b", "").replace("\u2009", "")) / 2
        x, y = float(text.get("x")), float(text.get("y"))
        left = {"start": x, "middle": x - half}[text.get("class").split()[-1]]
        assert -5 < left and left + 2 * half < width + 5 and 10 < y < height, text.text
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= width


def test_drawing_allocates_no_weights():
    trace = Trace(network(heads="radf"), SIZE)
    assert all(parameter.is_meta for parameter in trace.network.parameters())


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({}, "to 96 channels; CAM, a 1×1 convolution and FAM turn them into FSHF of 16"),
        ({"cam": "off"}, "to 96 channels; a 1×1 convolution and FAM turn them into FSEF of 16"),
        ({"cam": "constant"}, "to 96 channels; gate, a 1×1 convolution and FAM turn them into FSEF of 16"),
        ({"cam": "off", "fam": False}, "to 96 channels; a 1×1 convolution turns them into FSHF of 16"),
        (
            {"ffrm": False},
            "All are concatenated to 192 channels; CAM, a 1×1 convolution and FAM turn them into one group",
        ),
    ],
)
def test_the_description_says_how_layers_are_fused(switches, sentence):
    assert sentence in drawing(draw_step, SIZE, **switches).description
