"""An exported file gives the maps of the network, of any size and batch, without this library."""

import copy
import json
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch

from defusion_lib import export
from defusion_lib.export import (
    DEFOCUS,
    FACTS,
    PHOTO,
    export_network,
    licence,
    open_onnx,
    open_torchscript,
    trained_size,
)
from defusion_lib.network import DeFusionNet
from defusion_lib.weights import SHIPPED, SMALL, load_network, read_card, save_network, weights_hash

CARD = {
    "backbone": "imagenet",
    "data": [{"name": "shi-dutlab100"}],
    "parameters": {"stages": [[800, 128, 4], [300, 64, 2]]},
}
SHAPES = ((1, 64, 64), (3, 33, 47), (2, 90, 40), (1, 1, 1))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=1).eval()
    # Scores of ordinary size: those of a new network are nearly 0, and all its maps 0.5.
    for layer in network.score_layers():
        layer.weight.data *= 30
    return network


def photos(batch, height, width):
    return np.random.default_rng(height).random((batch, 3, height, width), np.float32)


def expected(network, photo):
    with torch.no_grad():
        return torch.sigmoid(network(torch.from_numpy(photo)).final).numpy()


def differences(network, run):
    return [np.abs(run(photo) - expected(network, photo)).max() for photo in (photos(*shape) for shape in SHAPES)]


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    """Each kind of file: {name: (path, what export_network returned)}."""
    folder = tmp_path_factory.mktemp("exported")
    kinds = {"fp32": "fp32.onnx", "fp16": "fp16.onnx", "int8": "int8.onnx", "ts": "fp32.ts"}
    made = {}
    for kind, name in kinds.items():
        precision = "fp32" if kind == "ts" else kind
        made[kind] = folder / name, export_network(network, folder / name, CARD, precision)
    return made


@pytest.mark.slow
def test_the_maps_are_those_of_the_network(network, written):
    assert np.std(expected(network, photos(1, 64, 64))) > 0.01
    assert max(differences(network, open_onnx(written["fp32"][0]))) < 1e-4
    assert max(differences(network, open_torchscript(written["ts"][0]))) < 1e-5
    assert 1e-4 < max(differences(network, open_onnx(written["fp16"][0]))) < 0.03


@pytest.mark.slow
def test_8_bit_weights_are_those_of_the_librarys_own_8_bit_file(network, written, tmp_path):
    save_network(network, tmp_path / "8.safetensors", {}, bits=8)
    stored = load_network(tmp_path / "8.safetensors").state_dict()
    rounded = copy.deepcopy(network)
    # That file has what is small in half precision, an exported one in single precision.
    large = {name for name, tensor in stored.items() if tensor.dim() == 4 and tensor.numel() >= SMALL}
    rounded.load_state_dict(
        {name: stored[name] if name in large else own for name, own in rounded.state_dict().items()}
    )
    assert max(differences(rounded, open_onnx(written["int8"][0]))) < 1e-4
    assert max(differences(network, open_onnx(written["int8"][0]))) > 2e-4


@pytest.mark.slow
def test_sizes_of_files(network, written):
    sizes = {kind: path.stat().st_size for kind, (path, _) in written.items()}
    assert sizes["fp16"] < 0.51 * sizes["fp32"] and sizes["int8"] < 0.27 * sizes["fp32"]
    assert {kind: told["bytes"] for kind, (_, told) in written.items()} == sizes


@pytest.mark.slow
def test_metadata_is_in_the_file(network, written):
    import onnxruntime

    path, told = written["int8"]
    found = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    assert found == told["metadata"]
    assert found["weights_sha256"] == weights_hash(network) and found["size"] == "64" and found["precision"] == "int8"
    inside = {FACTS: ""}
    torch.jit.load(written["ts"][0], _extra_files=inside)
    assert json.loads(inside[FACTS]) == written["ts"][1]["metadata"]


@pytest.mark.slow
def test_onnx_names_its_axes(written):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(written["fp16"][0]))
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == (PHOTO, ["batch", 3, "height", "width"], "tensor(float)")
    assert (returned.name, returned.shape, returned.type) == (DEFOCUS, ["batch", 1, "height", "width"], "tensor(float)")


@pytest.mark.slow
def test_torchscript_needs_no_part_of_the_library(network, written, tmp_path):
    photo = photos(2, 40, 50)
    np.save(tmp_path / "photo.npy", photo)
    code = (
        "import sys; sys.modules['defusion_lib'] = None\nimport numpy as np, torch\n"
        f"script = torch.jit.load({str(written['ts'][0])!r})\n"
        "with torch.no_grad(): np.save('map.npy', script(torch.from_numpy(np.load('photo.npy'))).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "map.npy"), expected(network, photo), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        {"cam": "off", "fam": False},
        {"cam": "constant"},
        {"fusion_stride": 2, "output": "o3"},
        {"ffrm": False, "cam": "gmp"},
    ],
)
def test_networks_with_parts_switched_off(switches, tmp_path):
    told = export_network(DeFusionNet("compact", steps=1, **switches), tmp_path / "part.onnx", CARD)
    assert told["largest-difference"] < 1e-5 and json.loads(told["metadata"]["switches"]).items() >= switches.items()


@pytest.mark.slow
def test_the_network_stays_as_it_is(tmp_path):
    network = DeFusionNet("compact", steps=1).double().train()
    before = weights_hash(network)
    export_network(network, tmp_path / "a.ts", CARD)
    assert weights_hash(network) == before and network.training and next(network.parameters()).requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.onnx", "a.ts"])
def test_a_file_that_differs_gets_no_name(network, name, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(b"before")
    monkeypatch.setattr(export, "open_onnx", lambda path: lambda photo: np.full_like(photo[:, :1], np.nan))
    monkeypatch.setattr(export, "open_torchscript", lambda path: lambda photo: photo[:, :1])
    with pytest.raises(ValueError, match=f"{name} was not written: its maps differ from torch's"):
        export_network(network, tmp_path / name, CARD)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == b"before"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("a.pt", {}, "ends in neither .onnx nor .ts"),
        ("a.onnx", {"precision": "int4"}, "precision='int4' does not exist"),
        ("a.ts", {"precision": "int8"}, "TorchScript is written in fp32 only"),
        ("a.ts", {"size": 0}, "size=0 is no number of pixels"),
    ],
)
def test_wrong_input_is_one_sentence(network, name, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_network(network, tmp_path / name, CARD, **given)


def test_a_folder_that_cannot_be_written_in_is_named_before_the_work(network, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(torch.jit, "trace", None)
    with pytest.raises(OSError, match=r"Cannot write in .* \(Permission denied\)\. Make room"):
        export_network(network, tmp_path / "net.ts", {})


def test_without_onnx_the_extra_is_named(network, tmp_path, monkeypatch):
    monkeypatch.setattr(export.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "defusion-lib\[export\]"'):
        export_network(network, tmp_path / "a.onnx", CARD)


def test_licence_and_size_come_from_the_card():
    shipped = licence(read_card(SHIPPED))
    assert "CC BY 4.0" in shipped and "offer for research" in shipped and "MIT" in shipped
    assert licence({}) == licence({"begun_with": "VGG-16 of random weights"}) == "code under the MIT licence"
    assert licence({"backbone": "random weights", "data": [{"name": "mine-train"}]}).endswith(
        "were trained on mine-train, whose own terms apply"
    )
    assert (trained_size(CARD), trained_size({})) == (64, 320)


@pytest.mark.slow
def test_terms_come_from_every_card_that_the_library_writes():
    vgg16 = "; the weights start from VGG-16 (Simonyan and Zisserman, CC BY 4.0)"
    shi = "; the weights were trained on photos that Shi, Xu and Jia offer for research"
    mine = "; the weights were trained on folder-mine, whose own terms apply"
    of_mine = {"data": {"name": "folder-mine"}, "recipe": {"stages": [[5, 128, 4], [5, 96, 2]]}}
    stamped = [{"parameters": {"backbone": "random"}}, {"parameters": {"backbone": "shipped"}}]
    for begun, terms in (
        ({"begun_with": "VGG-16 of the shipped network"}, vgg16 + shi + mine),
        ({"begun_with": "the shipped network"}, vgg16 + shi + mine),
        ({"begun_with": "VGG-16 of imagenet"}, vgg16 + mine),
        ({"begun_with": "VGG-16 of random weights"}, mine),
        ({"stretches": stamped[:1]}, mine),
        ({"stretches": stamped[1:]}, vgg16 + shi + mine),
        ({"backbone": "that of the network it begins with", "begun_with": {"card": CARD}}, vgg16 + shi + mine),
        ({"backbone": "that of the network it begins with", "begun_with": {"card": of_mine}}, mine),
    ):
        assert sorted(licence(of_mine | begun).split("; ")) == sorted(f"code under the MIT licence{terms}".split("; "))
    assert trained_size(of_mine) == 96
