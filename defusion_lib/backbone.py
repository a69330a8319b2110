"""VGG-16 as a feature extractor: six taps, and where their weights come from."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F

TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "pool5")
TAP_CHANNELS = (64, 128, 256, 512, 512, 512)
STRIDE = 32  # pixels of the photograph a pixel of pool5 stands for

# Convolutions of each of the five blocks, as in configuration D of Simonyan & Zisserman (2015).
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# The released weights expect what they were trained on: RGB in 0..255 less the mean colour.
MEAN = (0.48235, 0.45882, 0.40784)
STD = 1 / 255

HASH = "sha256"  # in the metadata of a file: that of all else in it (`contents_hash`)
SCALE = ".scale"  # behind the name of an 8-bit tensor of a file: the float that an integer of each channel stands for


class VGG16(nn.Module):
    """The convolutions of VGG-16, giving the six feature maps that DeFusionNet taps (Sec. 3.5).

    Takes RGB photographs (N, 3, H, W) in [0, 1], H and W multiples of 32; gives six maps of
    64, 128, 256, 512, 512, 512 channels at 1, 1/2, 1/4, 1/8, 1/16 and 1/32 of the size. Parameter names are
    those of torchvision's VGG-16 (`features.0.weight`, ...), so that its weights load unchanged. The last tap
    is pool5 after a 3x3 average, as in RADF (Hu et al., 2018), whose heads the paper takes over.

    `widths` are the channels of each block's convolutions; compared methods have others.
    """

    def __init__(self, widths: Sequence[Sequence[int]] = BLOCKS):
        super().__init__()
        self.widths = widths
        layers, channels = [], 3
        for block in widths:
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def blocks(self) -> list[list[nn.Conv2d]]:
        """The convolutions of each block, first block first."""
        convolutions = iter(layer for layer in self.features if isinstance(layer, nn.Conv2d))
        return [[next(convolutions) for _ in block] for block in self.widths]

    def forward(self, photo: torch.Tensor) -> list[torch.Tensor]:
        x, taps = (photo - self.mean) / STD, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                taps.append(x)  # the last convolution before each pooling: conv1_2 ... conv5_3
            x = layer(x)
        taps.append(F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False))
        return taps


def initialise(network: nn.Module, *kinds: type[nn.Module]) -> None:
    """Draw the weights of all layers of these kinds as He et al. (2015) propose before a ReLU; biases become 0."""
    for module in network.modules():
        if isinstance(module, kinds):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def load_backbone(backbone: VGG16, source: str | Path | None) -> str:
    """Fill a backbone with weights, and say in a few words which ones they are.

    `source` is "imagenet" (torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, the original Oxford weights that
    the paper starts from; downloaded once), the path of a safetensors file of the same layout or of a whole
    DeFusionNet (any float type, or 8 bits), or None for random weights. Raises FileNotFoundError where the file is
    missing and ValueError where its layout is another.
    """
    if source is None:
        return "random weights"
    if source == "imagenet":
        from defusion_lib.torchvision_door import torchvision

        entry = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES
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
    weights = {key.removeprefix("backbone."): value.float() for key, value in weights.items()}
    weights = {key: value for key, value in weights.items() if key.startswith("features.")}
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{words} does not hold VGG-16's 13 convolutions (expected features.0.weight ... features.28.bias): "
            f"{str(error).splitlines()[-1].strip()} Use a file of torchvision's VGG-16 layout."
        ) from None
    return words


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
            f"{path.name} was changed after it was written (its contents have another SHA-256 than it says): get it again."
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
            f"{path.name} holds numbers that are not finite ({broken[0]}, {len(broken)} of {len(tensors)} tensors): get it "
            "again, or weights from before the training diverged."
        )
    return metadata, tensors


def contents_hash(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over all tensors and metadata of a safetensors file but the hash itself, which the format lacks."""
    digest = sha256(repr(sorted(item for item in metadata.items() if item[0] != HASH)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
