"""Read and write networks as files, and load the first weights of VGG-16."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from defusion_lib.backbone import VGG16
from defusion_lib.data import first_few
from defusion_lib.network import DeFusionNet
from defusion_lib.paths import write_atomically

SHIPPED = Path(__file__).with_name("shipped") / "defusionnet_compact.safetensors"

HASH = "sha256"  # in the metadata of a file: that of all else in it (`contents_hash`)
SCALE = ".scale"  # behind the name of an 8-bit tensor of a file: the float that an integer of each channel stands for
LEVELS = 127  # the largest magnitude of an 8-bit weight
SMALL = 1024  # values: weights with fewer stay in half precision, all of them together a few kB


def resolve(name: str) -> str | Path:
    """Return the file of a notebook's parameter: "shipped" is the network in the package, other names are kept."""
    return SHIPPED if name == "shipped" else name


def result_name(network: DeFusionNet) -> str:
    """Return a network's name in result files: "defusionnet", its heads if not "radf", and what is switched off."""
    names: dict[str, dict] = {
        "cam": {"off": "nocam", "gap": "nogmp", "gmp": "nogap", "constant": "constant-gate"},
        "fam": {False: "nofam"},
        "ffrm": {False: "noffrm"},
    }
    name = "defusionnet" + ("" if network.config["heads"] == "radf" else f"-{network.config['heads']}")
    for switch, value in network.config.items():
        if value in names.get(switch, {}):
            name += f"+{names[switch][value]}"
    if network.config["steps"] != 3:
        name += f"+step{network.config['steps']}"
    if network.config["fusion_stride"] != 1:
        name += f"+stride{network.config['fusion_stride']}"
    return name + ("" if network.config["output"] == "fused" else f"+{network.config['output']}")


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
            f"{path.name} was not written: {first_few(broken)} hold values that are not finite in {bits} bits; "
            "go back to weights from before the training diverged."
        )
    metadata = {
        "network": type(network).__name__,
        "switches": json.dumps(network.config),
        "card": json.dumps(card),
        "bits": str(bits),
    }
    metadata[HASH] = contents_hash(tensors, metadata)
    write_atomically(path, save(tensors, metadata))


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
            f"No network at {path.name}: expected a safetensors file written by save_network; train one with "
            "`defusion train` or notebook 03, or leave the path out to use the one that ships with the library."
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
            f"{path.name} has switches that no {kind.__name__} can have ({error}): use a file that save_network wrote, "
            "and switches that exist."
        ) from None
    if not hasattr(network, "final"):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("final.")}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    stored = {name: tensor.shape for name, tensor in tensors.items() if tensor.is_floating_point()}
    differing = sorted({name for name, _ in shapes.items() ^ stored.items()})
    if differing:
        raise ValueError(
            f"{path.name} does not hold the network that its switches describe ({first_few(differing)}: missing, of "
            "another shape, no floats, or not expected): get it again."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.to(device).eval()


def read_card(path: str | Path = SHIPPED) -> dict:
    """Read the card of a stored network: data and split, recipe, seed, results, provenance.

    Raises ValueError where the file is none that `save_network` wrote.
    """
    path = Path(path)
    try:
        return json.loads(read_safetensors(path)[0]["card"])
    except (KeyError, json.JSONDecodeError):
        raise ValueError(f"{path.name} holds no card of a network: use a file that save_network wrote.") from None


def first_weights(card: Mapping) -> str:
    """Return words for the weights that the first training behind a card began with, such as the name of a file.

    An empty text stands for random weights, and for a card that does not say.
    """
    begun = card.get("begun_with")
    if isinstance(begun, Mapping):
        return first_weights(begun["card"])
    # Where `training.train_or_load` wrote the card, the notebook's parameters are in the stamps of its stretches.
    stamps = [stretch.get("parameters", {}) for stretch in card.get("stretches", [])]
    words = card.get("backbone") or begun or next((stamp.get("backbone", "") for stamp in stamps), "")
    return "" if words in ("random", "random weights", "VGG-16 of random weights") else words


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over a network's names, shapes and values: equal for equal weights only."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_backbone(backbone: VGG16, source: str | Path | None) -> str:
    """Load weights into a backbone, and return a short description of their source.

    `source` is "imagenet" (torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, the original Oxford weights that
    the paper starts from; downloaded once), the path of a safetensors file of the same layout or of a whole
    DeFusionNet (any float type, or 8 bits), or None for random weights. Raises FileNotFoundError where the file is
    missing and ValueError where its layout is another.
    """
    if source is None:
        return "random weights"
    if source == "imagenet":
        entry = import_torchvision().models.VGG16_Weights.IMAGENET1K_FEATURES
        weights, words = entry.get_state_dict(progress=True, check_hash=True), str(entry)
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f"No backbone weights at {path.name}: expected a safetensors file with keys features.N.weight; "
                'give the path of one, "imagenet" to download them, or None for random weights.'
            )
        weights, words = read_safetensors(path)[1], path.name
    # A released VGG-16 also holds its classifier, a DeFusionNet its heads and steps.
    weights = {key.removeprefix("backbone."): value for key, value in weights.items()}
    weights = {key: value for key, value in weights.items() if key.startswith("features.")}
    for key, value in weights.items():
        if not value.is_floating_point():
            raise ValueError(
                f"{words} holds {key} as {value.dtype}, expected floating-point numbers: use a file of torchvision's "
                "VGG-16 layout."
            )
    try:
        backbone.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"{words} does not hold VGG-16's 13 convolutions (expected features.0.weight ... features.28.bias): "
            f"{str(error).splitlines()[-1].strip()} Use a file of torchvision's VGG-16 layout."
        ) from None
    return words


_DECLARATIONS: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, which may be built for a torch with CUDA.

    Beside a CPU-only torch such a wheel's extension does not load, and its import stops because the operator
    `torchvision::nms` was never declared. Nothing here needs the extension, so declaring the two operators that
    torchvision asks for is enough; `torchvision.io` and the detection models do not work then.
    """
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "torchvision is not installed, and downloads VGG-16's weights: pip install torchvision, or give their file."
        ) from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        # Only here: declaring operators that the loaded extension has declared already ends the process. The
        # declarations are undone when this object dies, so it is kept.
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARATIONS.append(library)
        import torchvision
    return torchvision


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read the metadata and tensors of a safetensors file; 8-bit tensors come back as float32, without their scales.

    Raises ValueError where the file is damaged or something else, where it holds numbers that are not finite, and where
    its contents do not agree with its hash, or its 8-bit tensors with their scales.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is not a readable safetensors file ({error}): it may be cut short; get it again."
        ) from None
    if HASH in metadata and metadata[HASH] != contents_hash(tensors, metadata):
        raise ValueError(
            f"{path.name} was changed after it was written (its contents do not have the stored SHA-256): get it again."
        )
    bits, stored = metadata.get("bits", "16"), [name for name in tensors if tensors[name].dtype == torch.int8]
    if bits not in ("8", "16") or (stored and bits == "16"):
        raise ValueError(
            f"{path.name} has bits={bits!r} in its metadata and {len(stored)} 8-bit tensors, expected bits of 8, or "
            "of 16 and no such tensors: get it again."
        )
    for name in stored:
        weight, scale = tensors[name], tensors.pop(name + SCALE, torch.empty(0))
        positive = scale.isfinite() & (scale > 0)
        if scale.dtype != torch.float32 or scale.shape != weight.shape[:1] or not positive.all():
            raise ValueError(
                f"{path.name} lacks the scales of {name} (expected {name + SCALE}: positive float32 of shape "
                f"{tuple(weight.shape[:1])}): get it again."
            )
        tensors[name] = weight.float() * scale.view(-1, *[1] * (weight.dim() - 1))
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path.name} holds numbers that are not finite ({broken[0]}, {len(broken)} of {len(tensors)} tensors): "
            "get it again, or weights from before the training diverged."
        )
    return metadata, tensors


def contents_hash(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over all tensors and metadata of a safetensors file but the hash itself, which the format lacks."""
    digest = sha256(repr(sorted(item for item in metadata.items() if item[0] != HASH)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
