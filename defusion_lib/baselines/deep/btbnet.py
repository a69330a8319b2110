"""BTBNet: a multi-stream bottom-top-bottom network (Zhao, Zhao, Wang and Lu, CVPR 2018).

The paper states: VGG-16 loses its fully connected and its five pooling layers, so every feature map has the size of
the image. From the top block, information is passed back step by step to the bottom block: each block has an extra
convolution with ReLU on the bottom-top side and one on the top-bottom side, and both are added. Defocus depends on
scale, so three such streams process the image at its size and at 0.8 and 0.6 of it. A fusion network (FNet) combines
their maps, and a recurrent reconstruction network (RRNet) refines the result repeatedly.

Our reading, where the paper does not specify it or we do not have the text:
- The extra convolutions are 3x3 with 64 output channels, the width of the bottom block. Widths that mirror VGG-16's
  would be 9.4 M weights instead of 1.0 M, each used at every pixel.
- The three streams share their weights. Separate streams would be 47.1 M parameters instead of 15.7 M at the same
  arithmetic.
- The features of VGG-16, which expects values of 0 to 255, are divided by 255 before the extra convolutions: they
  reach hundreds, which would saturate the first maps.
- FNet is two 3x3 convolutions with 64 channels between them, RRNet three. RRNet takes the map and the image, predicts
  a correction of the map's logits and is the same network in each of three rounds. Maps enter both as probabilities.
- The loss is the cross-entropy of each pixel, summed over the streams' maps, the fused map and each round's map.
"""

import torch
from torch import nn
from torch.nn import functional as F

from defusion_lib.backbone import BLOCKS, STD, VGG16, initialise
from defusion_lib.network import Maps

SCALES = (1.0, 0.8, 0.6)  # of the image, one per stream
CHANNELS = 64  # of the top-bottom side, FNet and RRNet
ROUNDS = 3  # of RRNet


class BTBNet(nn.Module):
    """The bottom-top-bottom network with fusion and recurrent reconstruction.

    Takes RGB images (N, 3, H, W) in [0, 1] of any size and returns `Maps` of logits at the same size, positive where
    blurred: `final` is the last round's map, `sides` are the three streams' maps, the fused map and those of the
    earlier rounds. `divide` divides the channels of every convolution: 1 is the full network (15.8 M parameters, 3,229
    GMAC at 320x320), larger values make narrow networks for laptops.
    """

    def __init__(self, divide: int = 1):
        super().__init__()
        self.config = dict(divide=divide)
        widths, channels = [[width // divide for width in block] for block in BLOCKS], CHANNELS // divide
        self.backbone = VGG16(widths)
        self.forth = nn.ModuleList(_conv(block[-1], channels) for block in widths)
        self.back = nn.ModuleList(_conv(channels, channels) for _ in widths[1:])
        self.score = nn.Conv2d(channels, 1, 1)
        self.fnet = nn.Sequential(_conv(len(SCALES), channels), nn.ReLU(inplace=True), _conv(channels, 1))
        self.rrnet = nn.Sequential(
            _conv(3 + 1, channels), nn.ReLU(inplace=True),
            _conv(channels, channels), nn.ReLU(inplace=True),
            _conv(channels, 1),
        )  # fmt: skip
        initialise(self, nn.Conv2d, small=self.score_layers())

    def score_layers(self) -> list[nn.Module]:
        """Return the layers whose outputs enter the losses."""
        return [self.score, self.fnet[-1], self.rrnet[-1]]

    def stream(self, photo: torch.Tensor) -> torch.Tensor:
        """Compute the logits (N, 1, H, W) of one stream for images (N, 3, H, W) in [0, 1], at the stream's scale."""
        x, forth = (photo - self.backbone.mean) / STD, []
        for layer in self.backbone.features:
            if isinstance(layer, nn.MaxPool2d):
                # Computed here, so that VGG-16's maps, up to 512 channels per pixel, need not be kept.
                forth.append(F.relu(self.forth[len(forth)](x * STD)))  # (64, H, W)
            else:
                x = layer(x)
        down = forth.pop()
        for back in self.back:
            down = forth.pop() + F.relu(back(down))  # (64, H, W)
        return self.score(down)

    def forward(self, photo: torch.Tensor) -> Maps:
        """Compute the maps of images (N, 3, H, W)."""
        size = photo.shape[-2:]
        streams = []
        for scale in SCALES:
            smaller = [max(1, round(scale * side)) for side in size]
            logits = self.stream(_resized(photo, smaller))
            streams.append(_resized(logits, size))
        maps = [self.fnet(torch.sigmoid(torch.cat(streams, dim=1)))]
        for _ in range(ROUNDS):
            maps.append(maps[-1] + self.rrnet(torch.cat((photo, torch.sigmoid(maps[-1])), dim=1)))
        return Maps(maps[-1], [*streams, *maps[:-1]])


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


def _resized(x: torch.Tensor, size) -> torch.Tensor:
    # Antialiasing does not exist in bfloat16 on a CPU.
    x = x.float() if x.dtype == torch.bfloat16 else x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
