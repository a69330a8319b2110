"""DBM: VGG-16 made fully convolutional (Ma et al., "Deep Blur Mapping", IEEE TIP 2018, arXiv 1612.01227).

The paper tests which layers of VGG-16 contain information about blur. It cuts the network after the last convolution
of each of its five blocks, adds a 1x1 convolution that sums the channels to one, up-samples inside the network and
ends in a sigmoid; no layer is fully connected. Deep layers prove most useful: this file has the deepest of the five,
configuration V, which ends with conv5_3.

Our reading: the up-sampling stays bilinear and is not learnt; an image whose sides are not multiples of 32 is padded
by repeating its border, as for DeFusionNet; the loss is the cross-entropy of each pixel. The paper also trains on
photos with motion blur, this collection on out-of-focus ones only.
"""

import torch
from torch import nn
from torch.nn import functional as F

from defusion_lib.backbone import BLOCKS, STRIDE, TAPS, VGG16, initialise
from defusion_lib.network import Maps


class DBM(nn.Module):
    """The blur mapping network, configuration V.

    Takes RGB images (N, 3, H, W) in [0, 1] of any size and returns `Maps` of logits (N, 1, H, W), positive where
    blurred, without side outputs. `divide` divides the channels of every convolution: 1 is the paper's network (14.7 M
    parameters), larger values make narrow networks for laptops.
    """

    def __init__(self, divide: int = 1):
        super().__init__()
        self.config = dict(divide=divide)
        self.backbone = VGG16([[width // divide for width in block] for block in BLOCKS])
        self.score = nn.Conv2d(BLOCKS[-1][-1] // divide, 1, 1)
        initialise(self, nn.Conv2d, small=self.score_layers())

    def score_layers(self) -> list[nn.Module]:
        """Return the layer whose output enters the loss."""
        return [self.score]

    def forward(self, photo: torch.Tensor) -> Maps:
        """Compute the maps of images (N, 3, H, W)."""
        height, width = photo.shape[-2:]
        padded = F.pad(photo, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        features = self.backbone(padded)[TAPS.index("conv5_3")]  # (512, H/16, W/16)
        score = self.score(features)  # (1, H/16, W/16)
        logits = F.interpolate(score, size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return Maps(logits[..., :height, :width], [])
