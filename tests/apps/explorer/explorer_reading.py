"""Read pictures out of markup, write them as files, and compare them."""

import base64
import io
import re

import numpy as np
from PIL import Image

SIZE = 32  # pixels: what the network sees
FIRST = "skimage: coffee"
OTHER = "rendered: low-contrast-clutter"


def levels(array):
    return np.rint(255 * np.clip(array, 0, 1))


def far_apart(first, second):
    """Return by how many levels two pictures differ at most."""
    return np.abs(np.asarray(first, int) - np.asarray(second, int)).max()


def pictures(markup):
    """Return the pictures of HTML: {alternative text: pixels}."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', markup)
    return {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for content, alt in found}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
