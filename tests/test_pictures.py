"""What a notebook and a result file keep of a figure is small, and shows the same."""

import io
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from IPython import display
from nbconvert import HTMLExporter
from PIL import Image

from defusion_lib.runs.pictures import WIDTH, for_screen, plot_for_screen, shrink

WORDS = "The loss of each iteration, which falls."


@pytest.mark.slow
def test_an_exported_page_keeps_the_alternative_text():
    bundle, facts = display.Image(b"\xff\xd8\xff", format="jpeg", alt=WORDS)._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", bundle, metadata=facts)])
    # The template that is the default, lab, keeps no alternative text of any picture.
    exporter = HTMLExporter(template_name="classic")
    page, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert re.search(f'<img[^>]*src="data:image/jpeg;base64,[^>]*alt="{WORDS}"|<img alt="{WORDS}"', page)


def png(image):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    return content.getvalue()


def test_a_photo_becomes_a_jpeg_and_a_plot_a_png_of_few_colours_the_same_bytes_each_time():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    content, kind = for_screen(png(photo))
    assert kind == "jpeg" and content.startswith(b"\xff\xd8") and content == for_screen(png(photo))[0]
    figure, axis = plt.subplots()
    axis.plot([1, 2, 3])
    drawn = io.BytesIO()
    figure.savefig(drawn)
    plt.close(figure)
    content, kind = for_screen(drawn.getvalue())
    before, after = (Image.open(io.BytesIO(each)) for each in (drawn.getvalue(), content))
    assert kind == "png" and after.mode == "P" and content == for_screen(drawn.getvalue())[0]
    # Few colours cost a plot nothing that is seen.
    apart = np.asarray(before.convert("RGB"), int) - np.asarray(after.convert("RGB"), int)
    assert np.abs(apart).max() <= 16


@pytest.mark.parametrize("width", [1, WIDTH, WIDTH + 1, 3 * WIDTH])
def test_a_picture_is_at_most_as_wide_as_a_page(width):
    content = png(np.zeros((300, width, 3), np.uint8))
    for small in (for_screen(content)[0], plot_for_screen(content)):
        size = Image.open(io.BytesIO(small)).size
        assert size == (min(width, WIDTH), round(300 * min(1, WIDTH / width)))


@pytest.mark.parametrize(
    ("shape", "dtype", "small"),
    [
        ((256, 256), np.uint8, (128, 128)),
        ((427, 640), np.uint8, (104, 156)),
        ((3, 256, 256), np.uint8, (3, 128, 128)),
        ((2, 3, 256, 256), np.uint8, (2, 3, 128, 128)),
        ((256, 256, 3), np.uint8, (73, 73, 3)),
        ((256, 256), np.float16, (90, 90)),
        ((40, 100_000), np.uint8, (2, 6400)),
        ((128, 128), np.uint8, None),
        ((256, 256), np.float32, None),
        ((256, 256), np.int64, None),
        ((100_000,), np.uint8, None),
    ],
)
def test_maps_and_photos_are_stored_small_and_numbers_as_they_are(shape, dtype, small):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    kept = shrink(array)
    assert kept.dtype == dtype and kept.shape == (small or shape)
    assert kept.astype(float).mean() == pytest.approx(array.astype(float).mean(), rel=0.01)
    np.testing.assert_array_equal(shrink(kept), kept)


@pytest.mark.parametrize("shape", [(0, 200, 200), (2, 0, 300), (0, 200, 200, 3)])
def test_no_maps_are_stored_as_no_maps(shape):
    array = np.zeros(shape, np.uint8)
    assert shrink(array) is array


def test_a_small_map_holds_the_means_of_the_large_one():
    array = np.random.default_rng(0).integers(0, 256, (2, 256, 256), np.uint8)
    means = array.reshape(2, 128, 2, 128, 2).mean((2, 4))
    # Rounded twice, once for rows and once for columns.
    assert np.abs(shrink(array) - means).max() <= 1
