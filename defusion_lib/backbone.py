"""VGG-16 as a feature extractor: six taps, and where their weights come from."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "pool5")
TAP_CHANNELS = (64, 128, 256, 512, 512, 512)
STRIDE = 32  # pixels of the photo a pixel of pool5 stands for

# Convolutions of each of the five blocks, as in configuration D of Simonyan & Zisserman (2015).
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# The released weights expect what they were trained on: RGB in 0..255 less the mean colour.
MEAN = (0.48235, 0.45882, 0.40784)
STD = 1 / 255


class VGG16(nn.Module):
    """The convolutions of VGG-16, giving the six feature maps that DeFusionNet taps (Sec. 3.5).

    Takes RGB photos (N, 3, H, W) in [0, 1], H and W multiples of 32; gives six maps of
    64, 128, 256, 512, 512, 512 channels at 1, 1/2, 1/4, 1/8, 1/16 and 1/32 of the size. Parameter names are
    those of torchvision's VGG-16 (`features.0.weight`, ...), so that its weights load unchanged. The last tap
    is pool5 after a 3x3 average, as in RADF (Hu et al., 2018).

    `widths` are the channels of each block's convolutions; compared methods have others.
    """

    mean: torch.Tensor

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
        """Return the convolutions of each block, the first block first."""
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


def initialise(network: nn.Module, *kinds: type[nn.Module], small: Iterable[nn.Module] = ()) -> None:
    """Draw the weights of all layers of these kinds as He et al. (2015) propose before a ReLU; biases become 0.

    Then draw the weights of the `small` layers with standard deviation 0.01.
    """
    for module in network.modules():
        if isinstance(module, kinds):
            weight, bias = module.weight, module.bias
            assert isinstance(weight, nn.Parameter)
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
            if isinstance(bias, nn.Parameter):
                nn.init.zeros_(bias)
    for layer in small:
        assert isinstance(layer.weight, nn.Parameter)
        nn.init.normal_(layer.weight, std=0.01)
