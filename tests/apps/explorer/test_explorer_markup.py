"""The markup of the explorer holds the pixels and numbers that it is given."""

from xml.etree import ElementTree

import numpy as np
from explorer_reading import pictures
from matplotlib.colors import to_hex

from defusion_lib.apps.explorer import markup
from defusion_lib.plots import COLOURS


def test_a_picture_is_its_pixels_with_a_text(photo):
    ((alt, pixels),) = pictures(markup.format_image(photo.image, 'a "quoted" one', 56)).items()
    assert alt == "a &quot;quoted&quot; one"
    np.testing.assert_array_equal(pixels, photo.image)
    ((_, small),) = pictures(markup.format_image(np.zeros((900, 600), np.uint8), "large", 100)).items()
    assert small.shape == (300, 200)


def test_bars_are_as_high_as_the_weights():
    weights, before = np.linspace(0.1, 0.9, 96), np.linspace(0.9, 0.1, 96)
    svg = ElementTree.fromstring(markup.draw_weight_bars(weights, "deep", 5, before))
    rectangles = svg.findall("rect")
    heights = np.array([float(each.get("height")) for each in rectangles])
    np.testing.assert_allclose(heights / 120, weights, atol=0.05 / 120 + 1e-9)
    bottoms = {round(float(each.get("y")) + float(each.get("height")), 0) for each in rectangles}
    assert bottoms == {126}
    coloured = [i for i, each in enumerate(rectangles) if each.get("fill") == to_hex(COLOURS[1])]
    assert coloured == [5]
    strokes = [float(each.get("y1")) for each in svg.findall("line") if each.get("stroke") == "currentColor"]
    np.testing.assert_allclose(126 - np.array(strokes), 120 * before, atol=0.051)
    assert {"conv4_3", "conv5_3", "pool5"} <= {each.text for each in svg.findall("text")}
    assert "channel 6" in svg.get("aria-label")
