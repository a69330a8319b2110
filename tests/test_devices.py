"""Every network trains, resumes and predicts on one device.

The "meta" device stands in for a GPU: its tensors have shapes and no values, and every computer has it. torch lets
some operations mix it with the CPU, so `OneDevice` checks each one. What only a GPU has, such as autocast's choice of
number formats, is not covered.
"""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from defusion_lib import cam_hooks, training
from defusion_lib.baselines import DEEP
from defusion_lib.baselines.deep import OURS, dhde
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.experiments import attention
from defusion_lib.inference import predict_maps
from defusion_lib.losses import deep_supervision
from defusion_lib.network import CAM
from defusion_lib.precision import autocast
from defusion_lib.tiling import detect_tiles
from defusion_lib.training import Recipe, applicable, train
from defusion_lib.weights import read_card

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter"),
]

AWAY = "meta"
ATEN = torch.ops.aten
SIZE = 48
RECIPE = Recipe(
    stages=((2, SIZE, 2),),
    optimiser="adamw",
    schedule="cosine",
    rotations=(0,),
    scales=(1.0,),
    precision="bf16",
    averaging=0.5,
)
COMPACT = {"heads": "compact", "steps": 1}
NETWORKS = DEEP | {"defusionnet": OURS}
NARROW = {
    "dhde": {},
    "dbm": {"divide": 16},
    "dmenet": {"encoder": "vgg16", "divide": 16},
    "btbnet": {"divide": 16},
    "cvpr19": COMPACT,
    "defusionnet": {"heads": "compact", "steps": 2},
}
ADDED = {"divide": 16}  # of a network that somebody adds to the baselines


def narrow(name="dbm"):
    return NETWORKS[name].build(**NARROW.get(name, ADDED))


class OneDevice(TorchDispatchMode):
    """Raises RuntimeError where an operation mixes devices; what comes back to the CPU is 1 as a number, else zeros.

    CUDA allows one more mix than this: indices on the CPU.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self:
            parts = func.decompose(*args, **kwargs)  # without gradients some operations arrive whole
        if parts is not NotImplemented:
            return parts
        moves = func.overloadpacket in (ATEN._to_copy, ATEN.copy_)
        found = {place for each in tree_leaves((args, kwargs)) for place in places(each)}
        if len(found) > 1 and not moves:
            raise RuntimeError(f"{func} mixes tensors on {' and '.join(sorted(found))}.")
        if func is ATEN._local_scalar_dense.default and AWAY in found:
            return torch.ones((), dtype=args[0].dtype).item()
        if func.overloadpacket is ATEN._to_copy and str(kwargs.get("device")) == "cpu" and AWAY in found:
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


def places(value):
    """The device of a tensor; a number on the CPU may go with every device."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0 and value.device.type == "cpu":
        return []
    return [value.device.type]


def all_places(state):
    return {place for each in tree_leaves(state) for place in places(each)}


@pytest.fixture
def away(monkeypatch):
    """A device that is not the CPU, for the length of a test."""

    def to_autocast(kind, dtype, enabled):
        assert kind == AWAY, f"autocast is for {kind}"
        return nullcontext()

    def save(state, path, whole=torch.save):
        assert all_places([state["network"], state["averaged"], state["optimiser"]]) == {AWAY}
        whole(state, path)

    def load(path, map_location, whole=torch.load, **how):
        def moved(value):
            return torch.zeros_like(value, device=map_location) if AWAY in places(value) else value

        return tree_map(moved, whole(path, **how))

    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: torch.device(device).type == AWAY)
    monkeypatch.setattr(dhde, "PAIRS", 2)  # fewer patches
    monkeypatch.setattr(torch, "autocast", to_autocast)
    monkeypatch.setattr(torch, "save", save)
    monkeypatch.setattr(torch, "load", load)
    with OneDevice():
        yield AWAY


def read_made_up(stem):
    """A photograph whose left part is noise (sharp) and whose right part is plain (blurred)."""
    image = np.random.default_rng(int(stem)).integers(0, 256, (SIZE, 64, 3)).astype(np.uint8)
    image[:, 40:] = 128
    return Photo(stem, image, np.repeat(np.float32([[0] * 40 + [1] * 24]), SIZE, 0))


MADE_UP = PhotoSet("made-up", ["0", "1"], read_made_up)
IMAGE = MADE_UP[0].image


class Stop(Exception):
    pass


def stop(history):
    if len(history.loss) == 1:
        raise Stop


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_resumes_and_predicts_on_one_device(name, away, tmp_path):
    rival, switches = NETWORKS[name], NARROW.get(name, ADDED)
    recipe = applicable(RECIPE, rival.task)
    torch.manual_seed(recipe.seed)
    path = tmp_path / f"{name}.safetensors"
    with pytest.raises(Stop):
        train(rival.build(**switches), MADE_UP, recipe, away, path.with_suffix(".pt"), 1, show=stop, task=rival.task)
    network = rival.train_or_load(path, MADE_UP, recipe, None, away, **switches)
    assert [(each["from"], each["to"]) for each in read_card(path)["stretches"]] == [(0, 1), (1, 2)]
    assert all_places([*network.parameters(), *network.buffers()]) == {away}
    assert rival.detector(network, 32)(IMAGE).shape == IMAGE.shape[:2]
    if name != "dhde":
        assert all_places(list(predict_maps(IMAGE, network, 32, "bf16"))) == {away}


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        {"cam": "gap", "output": "o3"},
        {"cam": "gmp", "ffrm": False},
        {"cam": "constant"},
        {"cam": "off", "fusion_stride": 2},
        {"fam": False, "fusion_stride": 4},
    ],
    ids=str,
)
def test_every_part_of_the_network_stays_on_the_device(switches, away):
    network = OURS.build(**COMPACT | switches)
    train(network, MADE_UP, replace(RECIPE, stages=((1, SIZE, 2),), averaging=0.0), away)
    assert all_places([*network.parameters(), *network.buffers(), list(predict_maps(IMAGE, network, 32))]) == {away}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_every_optimiser_and_precision_stays_on_the_device(optimiser, precision, away, tmp_path):
    recipe = replace(RECIPE, optimiser=optimiser, precision=precision, frozen_blocks=2)
    network = narrow().to(away)  # a notebook may have predicted with it before
    history = train(network, MADE_UP, recipe, away, tmp_path / "run.pt", every=1)
    assert history.stretches[0]["precision"] == {"fp32": "fp32", "auto": "bf16"}[precision]
    assert all_places([*network.parameters(), *network.buffers()]) == {away}


@pytest.mark.slow
def test_watched_changed_and_tiled_networks_stay_on_the_device(away):
    network = OURS.build(**COMPACT).to(away)
    seen = attention.record(IMAGE, network, 32)
    assert [each.weights.shape for each in seen] == [(96,)] * 2
    for change in (
        cam_hooks.constant_weights({each.key: each.weights for each in seen}),
        cam_hooks.zero_channels({(1, "deep"): [3, 5]}),
    ):
        with cam_hooks.intervene(network, change):
            assert all_places(list(predict_maps(IMAGE, network, 32))) == {away}
    assert detect_tiles(IMAGE, network, 32).shape == IMAGE.shape[:2]


# Errors of the kind that this file is for, planted.

MIXED = "mixes tensors on cpu and meta"


def left_mask(network, image, mask):
    return deep_supervision(network(image), mask.cpu())


def left_constant(network, image, mask):
    return F.binary_cross_entropy_with_logits(network(image).final, mask, pos_weight=torch.ones(1))


def left_labels(network, patch, features, label):
    return F.cross_entropy(network(patch, features), torch.arange(len(label)))


@pytest.mark.parametrize("name, loss", [("dbm", left_mask), ("dbm", left_constant), ("dhde", left_labels)])
def test_a_tensor_left_behind_by_a_loss_is_found(name, loss, away):
    task = NETWORKS[name].task._replace(loss=loss)
    with pytest.raises(RuntimeError, match=MIXED):
        train(narrow(name), MADE_UP, applicable(RECIPE, task), away, task=task)


def test_a_tensor_made_on_the_cpu_in_a_forward_pass_is_found(away, monkeypatch):
    weights = CAM.weights
    monkeypatch.setattr(CAM, "weights", lambda cam, x: weights(cam, x) * torch.ones(len(x), 1))
    with pytest.raises(RuntimeError, match=MIXED):
        train(narrow("defusionnet"), MADE_UP, RECIPE, away)


def test_a_tensor_that_is_no_buffer_is_found(away):
    network = narrow()
    mean = network.backbone.mean
    del network.backbone.mean
    network.backbone.mean = mean
    with pytest.raises(RuntimeError, match=MIXED):
        predict_maps(IMAGE, network.to(away), 32)


def test_a_photograph_left_behind_is_found(away):
    network = narrow("dhde").to(away)
    patches, features = dhde.cut_patches(IMAGE, np.array([[20, 20]]), 27)
    assert dhde.classify(network, patches, features).shape == (1, 11)
    network.register_forward_pre_hook(lambda network, given: (given[0], given[1].cpu()))
    with pytest.raises(RuntimeError, match=MIXED):
        dhde.classify(network, patches, features)


def test_averaged_weights_elsewhere_are_found(away, monkeypatch, tmp_path):
    # torch copies the weights to the average at each step, so that no operation mixes devices.
    monkeypatch.setattr(training, "average_of", lambda network, recipe: AveragedModel(network, device="cpu"))
    with pytest.raises(AssertionError, match="cpu"):
        train(narrow(), MADE_UP, RECIPE, away, tmp_path / "run.pt", every=1)


def test_an_optimiser_that_resumes_elsewhere_is_found(away, monkeypatch, tmp_path):
    checkpoint = tmp_path / "run.pt"
    torch.manual_seed(0)
    with pytest.raises(Stop):
        train(narrow(), MADE_UP, RECIPE, away, checkpoint, 1, show=stop)
    restore = torch.optim.Optimizer.load_state_dict

    def left(optimiser, state):
        restore(optimiser, state)
        for each, stored in zip(optimiser.state.values(), state["state"].values()):
            each.update(stored)

    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", left)
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match=MIXED):
        train(narrow(), MADE_UP, RECIPE, away, checkpoint, 1)


def test_autocast_of_another_device_is_found(away):
    with pytest.raises(AssertionError, match="autocast is for cpu"):
        autocast("bf16")
