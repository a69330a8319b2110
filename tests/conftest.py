"""Where tests find the development data, and a folder of their own for what they write."""

import os
import sys
from pathlib import Path

import matplotlib
import pytest

import defusion_lib  # noqa: F401  before a test imports torch: it sets how long torch's threads spin

# Not by MPLBACKEND: the kernels of the notebooks would inherit it and show no figures.
matplotlib.use("Agg")
# Files of minutes. They begin first, or one of them would end alone.
LONGEST = ("test_verify.py", "test_contributing.py", "test_train.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """The folder that replaces `outputs/` while a test runs, so that no test touches committed results."""
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture(autouse=True)
def close_figures():
    """Close the figures that a test leaves open."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


def _threads(count):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread():
    """torch with one thread: many small layers are faster so, and sums have one order."""
    yield from _threads(1)


@pytest.fixture
def four_threads():
    """torch with four threads, whatever the machine has."""
    yield from _threads(4)


def development_data(relative):
    """The path of development data, or a skip that says what is absent and how to name another place."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("DEFUSION_DATA", beside)) / relative
    if not path.exists():
        pytest.skip(f"no development data {relative} (set DEFUSION_DATA to the folder that holds it)")
    return path


@pytest.fixture(scope="session")
def shi_root():
    """The folder with images/ and masks/ of Shi's blur detection data set."""
    return development_data("data/shi")


@pytest.fixture(scope="session")
def szu_root():
    """The folder of the SZU-BD data set."""
    return development_data("data/szu")


@pytest.fixture(scope="session")
def reference_maps():
    """The folder with one subfolder of published maps for each compared method."""
    return development_data("data/reference_maps")


@pytest.fixture(scope="session")
def vgg_weights():
    """The safetensors file with VGG-16's convolution weights in torchvision's layout."""
    return development_data("weights/vgg16_imagenet1k_features_fp16.safetensors")
