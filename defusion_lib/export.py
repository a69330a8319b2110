"""Write a network as ONNX or TorchScript: one file that needs neither this library nor, as ONNX, torch.

The exported network takes photos as float32 RGB (N, 3, H, W) in [0, 1], of any N, H and W, and returns defocus maps
(N, 1, H, W) in [0, 1], 1 = out of focus: normalisation, padding and the final sigmoid are inside. A file is compared
with the network before it gets its name.
"""

import copy
import io
import json
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from defusion_lib.data.datasets import trained_on
from defusion_lib.inference import SIZE
from defusion_lib.paths import check_writable, replacing
from defusion_lib.weights import SHIPPED, SMALL, first_weights, quantise, read_card, weights_hash

SUFFIXES = (".onnx", ".ts")
EXPORT_PRECISIONS = ("fp32", "fp16", "int8")
PHOTO, DEFOCUS = "photo", "defocus"  # names of the input and the output
FACTS = "metadata.json"  # of a TorchScript file: the name of its part that holds what ONNX calls metadata
OPSET = 17  # of ONNX: what runtimes since 2022 read
TRACED = (2, 3, 64, 96)  # of the photo that is followed through the network

# Largest allowed difference of a map from torch's: rounding in single precision, and in half precision, in which
# 30 photos had a largest difference of .002.
TOLERANCE = {"fp32": 1e-4, "int8": 1e-4, "fp16": 0.05}


class Exported(nn.Module):
    """A network from photos (N, 3, H, W) in [0, 1] to defocus maps (N, 1, H, W) in [0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.network(photo).final)


def export_network(
    network: nn.Module, path: str | Path, card: Mapping, precision: str = "fp32", size: int | None = None
) -> dict:
    """Write a network as ONNX (`.onnx`) or TorchScript (`.ts`), and compare the file with it.

    `card` says what made the network (`weights.read_card`). `precision` is "fp32", and of ONNX files also "fp16" (all
    of the network in half precision, half the size) or "int8" (the weights of convolutions as 8-bit integers, as
    `weights.save_network` rounds them, a quarter of the size; computed in single precision). `size` is the pixels a
    side to which photos should be resized, for the metadata; by default those of the last stage of training.

    Returns {"file", "bytes", "largest-difference" (of the maps of random photos of several sizes, from those of torch),
    "metadata"}. An int8 file is compared with the network of the rounded weights. A write that fails leaves the
    previous file. Raises ValueError for another suffix, precision or size and where the file does not agree with the
    network, ModuleNotFoundError where ONNX's packages are missing, OSError where the folder cannot be written in.
    """
    path = Path(path)
    _check(path, precision, size)
    check_writable(path.parent)
    size = size or trained_size(card)
    plain = copy.deepcopy(network).cpu().float()
    plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in torch's declaration
    exported = Exported(plain).eval()
    exported.requires_grad_(False)
    facts = describe(network, card, precision, size)
    with replacing(path) as part:
        if path.suffix == ".ts":
            _write_torchscript(exported, part, facts)
        else:
            _write_onnx(exported, part, facts, precision)
        runner = open_torchscript(part) if path.suffix == ".ts" else open_onnx(part)
        if precision == "int8":
            _round_weights(exported)
        apart = largest_difference(exported, runner, size)
        if not apart <= TOLERANCE[precision]:
            raise ValueError(
                f"{path.name} was not written: its maps differ from torch's by up to {apart:.2g}, expected at most "
                f"{TOLERANCE[precision]:g} in {precision}: choose another precision."
            )
        count = part.stat().st_size
    return {"file": path.name, "bytes": count, "largest-difference": apart, "metadata": facts}


def describe(network: nn.Module, card: Mapping, precision: str, size: int) -> dict[str, str]:
    """Return the metadata of an exported file: input, output, size, precision, network, hash of weights, licence."""
    return {
        "input": f"{PHOTO}: float32 (batch, 3, height, width), RGB / 255; batch, height and width are free",
        "output": f"{DEFOCUS}: float32 (batch, 1, height, width) in 0..1, 1 = out of focus",
        "size": str(size),
        "use": f"resize a photo to {size} x {size} pixels, and its map back to the photo's size",
        "precision": precision,
        "network": type(network).__name__,
        "switches": json.dumps(getattr(network, "config", {})),
        "weights_sha256": weights_hash(network),
        "licence": licence(card),
        "library": f"defusion-lib {metadata.version('defusion-lib')}",
    }


def licence(card: Mapping) -> str:
    """Return the terms under which a network may be used, from what it was made of."""
    terms, begun, data = ["code under the MIT licence"], first_weights(card), trained_on(card)
    if begun:
        terms.append("the weights start from VGG-16 (Simonyan and Zisserman, CC BY 4.0)")
    if begun in ("shipped", SHIPPED.name) or begun.endswith("the shipped network"):
        data += trained_on(read_card())
    names = list(dict.fromkeys(each["name"] for each in data))
    others = [name for name in names if not name.startswith("shi-")]
    if len(others) < len(names):
        terms.append("the weights were trained on photos that Shi, Xu and Jia offer for research")
    if others:
        terms.append(f"the weights were trained on {', '.join(others)}, whose own terms apply")
    return "; ".join(terms)


def trained_size(card: Mapping) -> int:
    """Return the pixels a side of the last stage of training, or those that photos are mapped at without a card."""
    # Notebook 03 keeps its parameters in the card, `training.train_or_load` the recipe.
    stages = card.get("parameters", card.get("recipe", {})).get("stages")
    return stages[-1][1] if stages else SIZE


def largest_difference(exported: nn.Module, runner: Callable[[np.ndarray], np.ndarray], size: int) -> float:
    """Compute the largest difference of a runner's maps from torch's, over random photos of several sizes and batches.

    NaN where a map is not finite.
    """
    rng, largest = np.random.default_rng(0), 0.0
    for batch, height, width in ((1, size, size), (2, 97, 64), (3, 32, 45), (1, 7, 5)):
        # Areas of one colour with some noise: closer to photos than noise alone.
        areas = rng.random((batch, 3, -(-height // 16), -(-width // 16)), np.float32)
        photo = areas.repeat(16, 2).repeat(16, 3)[..., :height, :width]
        photo = np.clip(photo + rng.normal(0, 0.05, photo.shape), 0, 1).astype(np.float32)
        with torch.inference_mode():
            expected = exported(torch.from_numpy(photo)).numpy()
        largest = np.maximum(largest, np.abs(runner(photo) - expected).max())  # keeps NaN
    return float(largest)


def open_onnx(path: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open an exported ONNX file with ONNX Runtime on the processor: a function from photos to maps, as arrays."""
    runtime = _extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda photo: session.run([DEFOCUS], {PHOTO: photo})[0]


def open_torchscript(path: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open an exported TorchScript file: a function from photos to maps, as arrays."""
    with _quiet():
        script = torch.jit.load(str(path), map_location="cpu")

    def run(photo: np.ndarray) -> np.ndarray:
        # Without optimisation: specialising the graph costs more than it saves for each new size.
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            return script(torch.from_numpy(photo)).numpy()

    return run


def _write_torchscript(exported: Exported, path: Path, facts: dict[str, str]) -> None:
    with _quiet():
        traced = torch.jit.trace(exported, torch.rand(TRACED), check_trace=False)
        content = io.BytesIO()
        torch.jit.save(traced, content, _extra_files={FACTS: json.dumps(facts, indent=1)})
    path.write_bytes(content.getvalue())


def _write_onnx(exported: Exported, path: Path, facts: dict[str, str], precision: str) -> None:
    onnx = _extra("onnx")
    axes = {0: "batch", 2: "height", 3: "width"}
    content = io.BytesIO()
    with _quiet():
        # The exporter over torch.export gives the same maps, takes 16 times as long, and needs onnxscript.
        torch.onnx.export(
            exported,
            (torch.rand(TRACED),),
            content,  # type: ignore[arg-type]
            dynamo=False,
            input_names=[PHOTO],
            output_names=[DEFOCUS],
            dynamic_axes={PHOTO: axes, DEFOCUS: axes},
            opset_version=OPSET,
        )
    model = onnx.load_from_string(content.getvalue())
    if precision == "int8":
        _quantise_onnx(onnx, model)
    elif precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        halved = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        halved.topological_sort()  # the conversion of the input comes last otherwise
        model = halved.model
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _quantise_onnx(onnx: Any, model: Any) -> None:
    """Replace the weights of convolutions by 8-bit integers, and a node that multiplies them by their scales."""
    graph = model.graph
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    nodes = []
    for tensor in list(graph.initializer):
        weight = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        if tensor.name in weights and weight.numel() >= SMALL:
            parts = [f"{tensor.name}.integers", f"{tensor.name}.scale"]
            graph.initializer.extend(
                onnx.numpy_helper.from_array(array.numpy(), name) for array, name in zip(quantise(weight), parts)
            )
            graph.initializer.remove(tensor)
            nodes.append(onnx.helper.make_node("DequantizeLinear", parts, [tensor.name], axis=0))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _round_weights(exported: nn.Module) -> None:
    """Round the weights of convolutions to those that their 8-bit integers stand for."""
    for module in exported.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= SMALL:
            integers, scale = quantise(module.weight)
            module.weight.copy_(integers * scale.view(-1, 1, 1, 1))


def _check(path: Path, precision: str, size: int | None) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} ends in neither .onnx nor .ts: choose a name that says which file you want.")
    if precision not in EXPORT_PRECISIONS:
        raise ValueError(f"precision={precision!r} does not exist: choose one of {', '.join(EXPORT_PRECISIONS)}.")
    if path.suffix == ".ts" and precision != "fp32":
        raise ValueError(f"TorchScript is written in fp32 only, not {precision}: choose fp32, or a name in .onnx.")
    if size is not None and size < 1:
        raise ValueError(f"size={size} is no number of pixels: choose 1 or more.")
    if path.suffix == ".onnx":
        for name in ("onnx", "onnxruntime"):
            _extra(name)


def _extra(name: str) -> Any:
    if util.find_spec(name) is None:
        raise ModuleNotFoundError(
            f'ONNX files need the package {name}, which is not installed: pip install "defusion-lib[export]".'
        )
    return import_module(name)


def _quiet() -> warnings.catch_warnings:
    """Make a context without torch's warnings: of branches on sizes, which every size takes the same, and of age."""
    return warnings.catch_warnings(action="ignore")
