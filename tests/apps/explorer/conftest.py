"""What the tests of the explorer share."""

import numpy as np
import pytest

from defusion_lib.apps.explorer import panels
from defusion_lib.data import Photo
from defusion_lib.weights import load_network


@pytest.fixture(scope="session")
def network():
    return load_network()


@pytest.fixture
def photo():
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    mask = np.zeros((40, 56), np.float32)
    mask[:, 30:] = 1
    return Photo("noise", image, mask)


@pytest.fixture
def runs_of(network):
    """Count the forward passes of the network."""
    counted = []
    hook = network.register_forward_hook(lambda *_: counted.append(1))
    yield counted
    hook.remove()


@pytest.fixture
def classics(monkeypatch):
    """Replace two baselines by quick ones; a list of their calls."""
    called = []

    def stand_in(name, value):
        def method(image):
            called.append(name)
            return np.full(image.shape[:2], value, np.float32)

        monkeypatch.setitem(panels.CLASSICAL, name, method)

    stand_in("jnb", 0.25)
    stand_in("lbp", 0.75)
    return called
