"""The network in the package: small, described, the one whose numbers are shown, and good at a first photograph."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from defusion_lib.data.shi import split_stems
from defusion_lib.inference import detect
from defusion_lib.weights import SHIPPED, load_network, read_card, result_name, weights_hash
from tools.render_card import lineage

ROOT = Path(__file__).resolve().parents[1]
STORED = Path(__file__).parent / "stored" / "shipped_pair.npz"
EVALUATION = json.loads((ROOT / "outputs/box/results/04_evaluation.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def network():
    return load_network()


def test_file_is_small():
    assert SHIPPED.stat().st_size <= 20_000_000


def test_card_says_what_made_it():
    card = read_card()
    assert card["parameters"]["dataset"] == "shi" and card["parameters"]["split"] == "dutlab100"
    assert {"seed", "commit", "versions", "device", "backbone", "training_stretches"} <= set(card)


def test_it_was_trained_on_no_test_photograph():
    from hashlib import sha256

    card, stems = read_card(), split_stems("dutlab100", "fit")
    for part in lineage(card):
        (data,) = part["data"]
        assert data["stems_sha256"] == sha256("\n".join(stems).encode()).hexdigest()
    assert not set(stems) & {*split_stems("dutlab100", "test"), *split_stems("dutlab100", "validation")}


def test_the_numbers_shown_are_of_this_network(network):
    assert EVALUATION["stamp"]["weights_sha256"] == weights_hash(network)
    assert f"shi-dutlab100/{result_name(network)}/mae" in EVALUATION["values"]


@pytest.mark.slow
def test_first_photograph_is_a_good_one(network):
    """The map shows a sharp flower in front of a blurred garden."""
    defocus = detect(load_sample_image("flower.jpg"), network, 320)
    assert defocus[180:280, 270:370].mean() < 0.1  # the middle of the flower
    assert min(defocus[:60, :60].mean(), defocus[:60, -60:].mean(), defocus[200:260, :60].mean()) > 0.9


def test_stored_pair(network):
    """The map of a small photograph is the one that was stored with the weights."""
    stored = np.load(STORED)
    found = detect(stored["photograph"], network, 96)
    # Stored weights are read exactly; float32 on other kernels moves the map by about 1e-6.
    assert np.abs(found - stored["defocus"]).max() < 1e-4
    assert stored["defocus"].std() > 0.2  # a constant map would be noticed


def test_8_bits_change_the_error_by_less_than_a_thousandth():
    """On the photos that were held out of the training; measured: .0003, with a standard error of .0001."""
    measured = json.loads((ROOT / "outputs/box/results/shipped.json").read_text(encoding="utf-8"))
    assert measured["stamp"]["weights_sha256"] == EVALUATION["stamp"]["weights_sha256"]
    values = {key.rpartition("/")[2]: value for key, value in measured["values"].items()}
    assert abs(values["mae-change"]) < 0.001
