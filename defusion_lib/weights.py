"""Trained networks as files: written, read and recognised."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from defusion_lib.backbone import HASH, SCALE, contents_hash, read_safetensors
from defusion_lib.data import some
from defusion_lib.network import DeFusionNet
from defusion_lib.runs import replacing

SHIPPED = Path(__file__).with_name("shipped") / "defusionnet_compact.safetensors"

LEVELS = 127  # the largest magnitude of an 8-bit weight
SMALL = 1024  # values: weights with fewer stay in half precision, all of them together a few kB


def resolve(name: str) -> str | Path:
    """What a notebook's parameter means: "shipped" is the network in the package, anything else is left alone."""
    return SHIPPED if name == "shipped" else name


def result_name(network: DeFusionNet) -> str:
    """A network's name in result files: "defusionnet", its heads if not the reference's, and what is switched off."""
    names = {
        "cam": {"off": "nocam", "gap": "nogmp", "gmp": "nogap"},
        "fam": {False: "nofam"},
        "ffrm": {False: "noffrm"},
    }
    name = "defusionnet" + ("" if network.switches["heads"] == "radf" else f"-{network.switches['heads']}")
    for switch, value in network.switches.items():
        if value in names.get(switch, {}):
            name += f"+{names[switch][value]}"
    if network.switches["steps"] != 3:
        name += f"+step{network.switches['steps']}"
    stride = network.switches.get("fusion_stride", 1)
    if stride != 1:
        name += f"+stride{stride}"
    return name + ("" if network.switches["output"] == "fused" else f"+{network.switches['output']}")


def save_network(network: nn.Module, path: Path, card: dict, bits: int = 16) -> None:
    """Write a network as safetensors, with its kind, switches, card (what made it) and a hash of all inside.

    `bits` is 16 (half precision) or 8: weights of two or more dimensions as integers of 8 bits with a scale for each
    output channel, half the size; biases and small weights stay in half precision. A write that fails leaves the
    previous file. Raises ValueError for other `bits` and for weights that are not finite.
    """
    if bits not in (8, 16):
        raise ValueError(f"bits={bits!r} does not exist: choose 8 or 16.")
    tensors = {}
    for name, tensor in network.state_dict().items():
        tensor = tensor.detach().cpu()
        if bits == 8 and tensor.dim() >= 2 and tensor.numel() >= SMALL:
            tensors[name], tensors[name + SCALE] = quantise(tensor)
        else:
            tensors[name] = tensor.half().contiguous()
    broken = [name.removesuffix(SCALE) for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path.name} was not written: {some(broken)} hold values that are not finite in {bits} bits; "
            "go back to weights from before the training diverged."
        )
    metadata = {
        "network": type(network).__name__,
        "switches": json.dumps(network.switches),
        "card": json.dumps(card),
        "bits": str(bits),
    }
    metadata[HASH] = contents_hash(tensors, metadata)
    with replacing(path) as part:
        save_file(tensors, part, metadata=metadata)


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a weight (channels, ...) to int8 of its shape and a float32 scale (channels,), their product.

    The scale is the largest magnitude of a channel over 127, so no value is off by more than half of it. Scales of
    least squared error, which cut off some values, moved the maps of 30 photos more (by .0028 instead of .0024).
    """
    flat = weight.float().flatten(1)
    # The smallest normal number leaves a channel of zeros at zero.
    scale = (flat.abs().amax(dim=1) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    return (flat / scale[:, None]).round().to(torch.int8).view_as(weight), scale


def load_network(
    path: str | Path = SHIPPED,
    device: torch.device | str = "cpu",
    kind: Callable[..., nn.Module] = DeFusionNet,
    **switches,
) -> nn.Module:
    """Read a network that `save_network` wrote, ready to detect; the default is the one that ships with the library.

    `kind` is its class, such as that of a compared method. `switches` replace stored ones, such as `output="o3"` for
    a single side of a network trained with all of them. 8-bit weights become float32 here, once. Raises
    FileNotFoundError where there is no such file and ValueError where it holds no network of that kind, not all of it,
    or numbers that are not finite, and where it was changed after it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No network at {path.name}: expected a safetensors file written by save_network; "
            "train one with notebook 03, or leave the path out to use the one that ships with the library."
        )
    metadata, tensors = read_safetensors(path)
    # Files without a name are older than the other kinds.
    found = metadata.get("network", "DeFusionNet") if "switches" in metadata else "something else"
    if found != kind.__name__:
        raise ValueError(
            f"{path.name} holds no {kind.__name__} but {found}: use a file that save_network wrote of one."
        )
    try:
        network = kind(**json.loads(metadata["switches"]) | switches)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path.name} has switches that no {kind.__name__} can have ({error}): use a file that save_network wrote, and "
            "switches that exist."
        ) from None
    if not hasattr(network, "final"):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("final.")}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    stored = {name: tensor.shape for name, tensor in tensors.items() if tensor.is_floating_point()}
    differing = sorted({name for name, _ in shapes.items() ^ stored.items()})
    if differing:
        raise ValueError(
            f"{path.name} does not hold the network that its switches describe ({some(differing)}: missing, of another "
            "shape, no floats, or not expected): get it again."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.to(device).eval()


def read_card(path: str | Path = SHIPPED) -> dict:
    """The card of a stored network: data and split, recipe, seed, results, stamp.

    Raises ValueError where the file is none that `save_network` wrote.
    """
    path = Path(path)
    try:
        return json.loads(read_safetensors(path)[0]["card"])
    except (KeyError, json.JSONDecodeError):
        raise ValueError(f"{path.name} holds no card of a network: use a file that save_network wrote.") from None


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over a network's names, shapes and values: equal for equal weights only."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
