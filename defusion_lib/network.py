"""DeFusionNet, Section 3 of the paper from top to bottom.

VGG-16 computes six feature maps of a photo; brought to 32 channels and to the photo's size, they are fused into
shallow features (FSHF) and semantic features (FSEF), which refine each other's layers, step by step.
Shapes in comments are (channels, H, W), without the batch dimension N.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from defusion_lib.backbone import STRIDE, TAP_CHANNELS, TAPS, VGG16, initialise

CHANNELS = 32  # of every layer's feature map F_i (unstated in the paper; RADF's width)
FUSED = 16  # of FSHF and FSEF (unstated; RADF's width in its first round)
REDUCTION = 16  # of the CAM's bottleneck (unstated; the usual one of squeeze-and-excitation)
SHALLOW = 3  # m: the first three of the n = 6 layers are shallow (Sec. 3.5)

# The two convolutions appended to each tap: (channels, kernel size). `radf` has the widths of RADF, a network
# that the paper calls similar; `compact` is 3x3 throughout and narrow, for laptops.
HEADS = {
    "radf": ((128, 3), (128, 3), (256, 5), (256, 5), (512, 5), (512, 7)),
    "compact": ((32, 3), (64, 3), (128, 3), (128, 3), (128, 3), (128, 3)),
}
CAMS = ("gap+gmp", "gap", "gmp", "constant", "off")
OUTPUTS = ("fused", "o1", "o2", "o3", "o4", "o5", "o6")
FUSION_STRIDES = (1, 2, 4)
MOST_STEPS = 6


class Maps(NamedTuple):
    """Network outputs as logits (N, 1, H, W), positive where blurred.

    `final` is the defocus map; `sides` holds the side outputs B_i^j, step by step, six per step.
    """

    final: torch.Tensor
    sides: list[torch.Tensor]

    def intermediate(self) -> dict[str, torch.Tensor]:
        """Return every map that one run of a network computes, as logits (N, 1, H, W).

        "fused" is the final map (Eq. 8), "o1" ... "o6" are the side outputs of the last step, and "after1", "after2",
        ... the mean of the six side outputs of each step: only the last step has a learnt fusion.
        """
        layers = len(TAPS)
        found = {"fused": self.final} | dict(zip(OUTPUTS[1:], self.sides[-layers:]))
        for step in range(len(self.sides) // layers):
            found[f"after{step + 1}"] = torch.stack(self.sides[step * layers : (step + 1) * layers]).mean(0)
        return found


class CAM(nn.Module):
    """Channel attention module: weight each channel by its mean and its maximum (Eq. 4-7, Fig. 5).

    Both descriptors pass through one shared bottleneck without biases. `pooling` is "gap+gmp" (the paper),
    "gap" or "gmp" (the ablations noGMP and noGAP).
    """

    def __init__(self, channels: int, pooling: str = "gap+gmp"):
        super().__init__()
        self.pooling = pooling
        self.down = nn.Linear(channels, channels // REDUCTION, bias=False)  # W_D
        self.up = nn.Linear(channels // REDUCTION, channels, bias=False)  # W_U

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Compute channel weights (N, C) in (0, 1) for feature maps (N, C, H, W)."""
        terms: list[torch.Tensor] = []
        if "gap" in self.pooling:
            terms.append(F.relu(self.down(x.mean(dim=(2, 3)))))  # Eq. 4
        if "gmp" in self.pooling:
            terms.append(F.relu(self.down(x.amax(dim=(2, 3)))))  # Eq. 5
        return torch.sigmoid(self.up(sum(terms)))  # Eq. 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weights(x)[:, :, None, None]  # Eq. 7


class ConstantGate(nn.Module):
    """Weight each channel by a learnt number that is the same for every photo; the paper has no such row.

    It has the two matrices of a CAM, and so as many parameters, but reads no photo: what the CAM does beyond it is
    attention. No ReLU stands between them: a unit that it cuts off at a constant input never learns again.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.down = nn.Linear(channels, channels // REDUCTION, bias=False)
        self.up = nn.Linear(channels // REDUCTION, channels, bias=False)

    def weights(self) -> torch.Tensor:
        """Compute channel weights (C,) in (0, 1)."""
        return torch.sigmoid(self.up(self.down.weight.sum(dim=1)))  # Eq. 6 with an input of ones

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weights()[:, None, None]


class FAM(nn.Module):
    """Feature adaptation module: weight fused features position by position and add them back (Sec. 3.3).

    The paper only draws it (Fig. 6): one convolution extracts features, a second one learns from them a weight
    for each position; the input is weighted and added to itself. Kernel 3x3 and sigmoid weights are our choice.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.extract = nn.Conv2d(channels, channels, 3, padding=1)
        self.weigh = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.sigmoid(self.weigh(F.relu(self.extract(x))))
        return x + x * weights


class FeatureFusion(nn.Module):
    """Concatenate the maps of some layers, apply CAM, and fuse them to FSHF or FSEF (Eq. 1-2), then apply FAM."""

    def __init__(self, layers: int, cam: str, fam: bool):
        super().__init__()
        channels = layers * CHANNELS
        without = {"off": nn.Identity, "constant": ConstantGate}
        self.cam = without[cam](channels) if cam in without else CAM(channels, cam)
        self.fuse = nn.Conv2d(channels, FUSED, 1)
        self.fam = FAM(FUSED) if fam else nn.Identity()

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x = self.cam(torch.cat(features, dim=1))  # (96, H, W)
        return self.fam(F.relu(self.fuse(x)))  # (16, H, W)


class FFRMStep(nn.Module):
    """One recurrent step of the feature fusing and refining module (FFRM, Sec. 3.1, Fig. 3).

    Takes the six layers' features F^{j-1} and returns F^j and the side outputs B^j. With `ffrm` off all six layers
    are fused into one group that refines every layer (the ablation woFFRM).
    """

    def __init__(self, cam: str, fam: bool, ffrm: bool):
        super().__init__()
        layers = len(TAP_CHANNELS)
        if ffrm:
            self.fshf = FeatureFusion(SHALLOW, cam, fam)
            self.fsef = FeatureFusion(layers - SHALLOW, cam, fam)
        else:
            self.fused = FeatureFusion(layers, cam, fam)
        self.ffrm = ffrm
        self.refine = nn.ModuleList(nn.Conv2d(CHANNELS + FUSED, CHANNELS, 3, padding=1) for _ in range(layers))
        self.score = nn.ModuleList(nn.Conv2d(CHANNELS, 1, 1) for _ in range(layers))

    def forward(self, features: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        if self.ffrm:
            fshf, fsef = self.fshf(features[:SHALLOW]), self.fsef(features[SHALLOW:])
            # Crossed: semantics locate the blur in shallow layers, details sharpen the deep ones.
            helpers = [fsef] * SHALLOW + [fshf] * (len(features) - SHALLOW)
        else:
            helpers = [self.fused(features)] * len(features)
        refined = [
            F.relu(refine(torch.cat((feature, helper), dim=1)))  # Eq. 3: (32 + 16, H, W) -> (32, H, W)
            for refine, feature, helper in zip(self.refine, features, helpers)
        ]
        return refined, [score(feature) for score, feature in zip(self.score, refined)]


class Head(nn.Sequential):
    """Two convolutions appended to a tap and a 1x1 to 32 channels, at the tap's own scale (Sec. 3.5; RADF)."""

    def __init__(self, channels: int, width: int, kernel: int):
        super().__init__(
            nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True),
            nn.Conv2d(width, CHANNELS, 1), nn.ReLU(inplace=True),
        )  # fmt: skip


class DeFusionNet(nn.Module):
    """The defocus blur detection network of the paper, with every ablation as a switch.

    Takes RGB images (N, 3, H, W) in [0, 1] of any size and returns `Maps` of logits at the same size, positive
    where blurred.

    heads:  "radf" (the reference, 62.58 M parameters) or "compact" (for laptops)
    steps:  t, the recurrent steps, 1 to 6; nothing is shared between steps (Table 3)
    cam:    "gap+gmp" (the paper), "gap" (noGMP), "gmp" (noGAP), "constant" (the same weights for every photo) or "off"
    fam:    feature adaptation module on or off
    ffrm:   two groups that refine each other, or all six layers in one group (woFFRM)
    output: "fused" (Eq. 8), or a single side "o1" ... "o6" of the last step
    fusion_stride: pixels of the photo per pixel of the fused features: 1 (the paper), 2 or 4. Taps that are finer
            are averaged down before their head; the logits are up-sampled bilinearly

    The network of CVPR 2019 is `cam="off", fam=False`. Raises ValueError for a switch that does not exist.
    """

    def __init__(
        self,
        heads: str = "radf",
        steps: int = 3,
        cam: str = "gap+gmp",
        fam: bool = True,
        ffrm: bool = True,
        output: str = "fused",
        fusion_stride: int = 1,
    ):
        super().__init__()
        for name, value, valid in (
            ("heads", heads, tuple(HEADS)),
            ("steps", steps, tuple(range(1, MOST_STEPS + 1))),
            ("cam", cam, CAMS),
            ("output", output, OUTPUTS),
            ("fusion_stride", fusion_stride, FUSION_STRIDES),
        ):
            if value not in valid:
                raise ValueError(f"{name}={value!r} does not exist: choose one of {', '.join(map(str, valid))}.")
        self.config: dict[str, Any] = dict(
            heads=heads, steps=steps, cam=cam, fam=fam, ffrm=ffrm, output=output, fusion_stride=fusion_stride
        )
        self.backbone = VGG16()
        self.heads = nn.ModuleList(Head(c, *head) for c, head in zip(TAP_CHANNELS, HEADS[heads]))
        self.steps = nn.ModuleList(FFRMStep(cam, fam, ffrm) for _ in range(steps))
        if output == "fused":
            self.final = nn.Conv2d(len(TAP_CHANNELS), 1, 1)
        self.side = OUTPUTS.index(output) - 1
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights of all new layers.

        The released VGG-16 works on values of 0 to 255 and so do the heads: they start like RADF's, gaussian with
        standard deviation 0.01; the scores too, since 19 losses sit on them. The layers between start as He et al.
        (2015) propose; otherwise signals fade over the steps. The final fusion starts as the mean of its maps.
        """
        scores = [score for step in self.steps for score in step.score]
        layers = [layer for part in (*self.heads, *scores) for layer in part.modules() if isinstance(layer, nn.Conv2d)]
        bottlenecks = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        initialise(self, nn.Conv2d, small=[*layers, *bottlenecks])
        if self.side < 0:
            nn.init.constant_(self.final.weight, 1 / len(TAP_CHANNELS))

    def score_layers(self) -> list[nn.Module]:
        """Return the layers right under the losses: the side outputs' 1x1 convolutions and the final fusion."""
        final = [self.final] if self.side < 0 else []
        return [score for step in self.steps for score in step.score] + final

    def project_features(self, photo: torch.Tensor) -> list[torch.Tensor]:
        """Compute the six layers' features F_i^0 (32, H / s, W / s), before any step; s is the fusion stride."""
        size = [side // self.config["fusion_stride"] for side in photo.shape[-2:]]
        return [upsample(self.appended(level, tap), size) for level, tap in enumerate(self.backbone(photo))]

    def appended(self, level: int, tap: torch.Tensor) -> torch.Tensor:
        """Apply a tap's head, at the tap's own scale or at that of the fusion where the tap is finer."""
        finer = self.config["fusion_stride"] >> level
        return self.heads[level](F.avg_pool2d(tap, finer) if finer > 1 else tap)

    def forward(self, photo: torch.Tensor) -> Maps:
        height, width = photo.shape[-2:]
        # VGG halves the size five times; the border is repeated up to the next multiple of 32, then cut off again.
        padded = F.pad(photo, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        features, sides = self.project_features(padded), []
        for step in self.steps:
            features, scores = step(features)
            sides += [upsample(score, padded.shape[-2:])[..., :height, :width] for score in scores]
        last = sides[-len(TAP_CHANNELS) :]
        # Eq. 8 without its ReLU, which would leave no negative logit and so no in-focus probability above one half.
        final = self.final(torch.cat(last, dim=1)) if self.side < 0 else last[self.side]
        return Maps(final, sides)


def upsample(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Up-sample maps (N, C, h, w) to a size (H, W); maps of that size are returned as they are.

    Bilinear and aligned: what the paper calls deconvolution, with frozen bilinear weights.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def count_parameters(network: nn.Module) -> int:
    """Count the learnt numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
