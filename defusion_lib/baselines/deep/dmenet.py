"""DMENet: the amount of blur of every pixel, learnt from rendered images and adapted to real photos.

Lee, Lee, Cho and Lee, "Deep Defocus Map Estimation Using Domain Adaptation" (CVPR 2019). Real photos have masks at
most, rendered images an exact amount of blur. Four parts are trained together:
- B, blur estimation: VGG-19, a decoder with skip connections and a map at each of its scales, residual blocks at full
  size. It learns the amount from rendered images (squared error).
- D, domain adaptation: a discriminator classifies features as those of real photos or of rendered images; B learns to
  make both indistinguishable (weight 1e-3).
- S, sharpness calibration: 1x1 convolutions predict from a pixel's amount whether it is blurred, so that amounts have
  the same meaning in real photos, which have masks (cross-entropy, weight 2e-2).
- C, content preservation: amount and ground truth are compared by their VGG-19 features (weight 1e-4). It is omitted
  here: it takes two more passes through VGG-19 and has the smallest weight.

Our reading, where the paper does not specify it or we do not have the text:
- The images are those that this collection renders, with discs for blur; the paper blurs synthetic scenes by Gaussians.
- The paper's full amount is a Gaussian of 7 pixels, which spreads light like a disc of 28 pixels. Networks of this
  collection process photos resized to half their size or less, hence `FULL_DIAMETER`.
- D takes the last features of B, and both are trained with one loss, by gradient reversal (Ganin & Lempitsky, ICML
  2015).
- The decoder's widths and the weight of its maps at smaller scales (1 each, compared at full size).
- Normalisation is by groups of channels of one image, since batches of two to four give poor batch statistics; S and D
  have none.
"""

from collections.abc import Sequence
from functools import cache
from math import gcd

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from defusion_lib.backbone import BLOCKS, STRIDE, VGG16, initialise
from defusion_lib.data import PhotoSet
from defusion_lib.data.augmentation import to_tensor
from defusion_lib.data.camera import render
from defusion_lib.data.synthetic import CHALLENGES, make_scene
from defusion_lib.inference import predict_maps
from defusion_lib.network import Maps
from defusion_lib.progress import tqdm
from defusion_lib.training import Recipe, Task, augmented, whole_photos

ENCODERS = {
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),  # 20.0 M parameters
    "vgg16": BLOCKS,  # 14.7 M; this collection has pretrained weights for it
}
DECODER = (128, 64, 32, 16)  # channels at 1/8, 1/4, 1/2 and 1/1 of the image's size
RESIDUALS = 7  # blocks at full size
GROUP = 8  # channels normalised together
DISCRIMINATOR = (32, 64, 128)  # channels of D, each layer at half the previous size
CALIBRATION = 16  # channels of S
FULL_DIAMETER = 15.0  # pixels: the amount is 1 for circles of confusion of this diameter and larger
ADVERSARIAL, CALIBRATED = 1e-3, 2e-2  # weights in the loss
SCENES = 160  # rendered images to learn the amount from
HELD_OUT_SEED = 1_000_003  # added to the seed of a run: its held-out scenes


class Stage(nn.Module):
    """One stage of the decoder: it doubles the size and concatenates the encoder's features of that size (U-Net)."""

    def __init__(self, below: int, skip: int, width: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            *_normalised(below + skip, width), nn.LeakyReLU(0.2, inplace=True),
            *_normalised(width, width), nn.LeakyReLU(0.2, inplace=True),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Combine features (N, below, h, w) and (N, skip, 2h, 2w) to (N, width, 2h, 2w)."""
        larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.convolutions(torch.cat((larger, skip), dim=1))


class Residual(nn.Module):
    """Two convolutions whose output is added to their input."""

    def __init__(self, width: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            *_normalised(width, width), nn.LeakyReLU(0.2, inplace=True), *_normalised(width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the correction to features (N, width, H, W)."""
        return x + self.convolutions(x)


def _normalised(given: int, made: int) -> tuple[nn.Conv2d, nn.GroupNorm]:
    """Build a 3x3 convolution and its normalisation, which has the bias."""
    return nn.Conv2d(given, made, 3, padding=1, bias=False), nn.GroupNorm(gcd(made, max(1, made // GROUP)), made)


def discriminator(given: int) -> nn.Sequential:
    """Build D: one logit per image, (N, 1), from features (N, given, H, W); positive for real photos."""
    layers = []
    for width in DISCRIMINATOR:
        layers += [nn.Conv2d(given, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        given = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(given, 1, 1), nn.Flatten())


def calibration() -> nn.Sequential:
    """Build S: logits (N, 1, H, W), positive where blurred, from amounts (N, 1, H, W), pixel by pixel."""
    return nn.Sequential(
        nn.Conv2d(1, CALIBRATION, 1), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(CALIBRATION, CALIBRATION, 1), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(CALIBRATION, 1, 1),
    )  # fmt: skip


class DMENet(nn.Module):
    """The defocus map estimation network B, with the parts D and S that only training uses.

    Takes RGB images (N, 3, H, W) in [0, 1] of any size and returns `Maps` at the same size. Their sigmoid is the amount
    of blur: the diameter of the circle of confusion divided by `FULL_DIAMETER`, at most 1. `sides` are the maps at the
    decoder's smaller scales, the coarsest first. `encoder` is "vgg19" (the paper) or "vgg16". `divide` divides the
    channels of B's convolutions, to make narrow networks for laptops. Raises ValueError for an unknown encoder.
    """

    def __init__(self, encoder: str = "vgg19", divide: int = 1):
        super().__init__()
        if encoder not in ENCODERS:
            raise ValueError(f"encoder={encoder!r} does not exist: choose one of {', '.join(ENCODERS)}.")
        self.config = dict(encoder=encoder, divide=divide)
        blocks = [[width // divide for width in block] for block in ENCODERS[encoder]]
        *skips, deepest = [block[-1] for block in blocks]
        decoder = [width // divide for width in DECODER]
        self.backbone = VGG16(blocks)
        self.stages = nn.ModuleList(
            Stage(below, skip, width) for below, skip, width in zip([deepest, *decoder], reversed(skips), decoder)
        )
        self.refine = nn.Sequential(*(Residual(decoder[-1]) for _ in range(RESIDUALS)))
        self.amounts = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in decoder)
        self.discriminator = discriminator(decoder[-1])  # D
        self.calibration = calibration()  # S
        initialise(self, nn.Conv2d, small=self.score_layers())

    def score_layers(self) -> list[nn.Module]:
        """Return the layers whose outputs enter the losses."""
        return [*self.amounts, self.discriminator[-2], self.calibration[-1]]

    def maps_and_features(self, photo: torch.Tensor) -> tuple[Maps, torch.Tensor]:
        """Compute the maps of images (N, 3, H, W), and their last features, the input of D.

        The features (N, 16, h, w) have the image's size rounded up to multiples of 32.
        """
        height, width = photo.shape[-2:]
        # VGG halves the size five times; the border is repeated up to a multiple of 32, then cropped.
        padded = F.pad(photo, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        *skips, x = self.backbone(padded)[:5]  # (64, H, W) ... (512, H/16, W/16)
        maps = []
        for stage, amount in zip(self.stages, self.amounts):
            x = stage(x, skips.pop())  # (128, H/8, W/8) ... (16, H, W)
            x = x if skips else self.refine(x)
            logits = F.interpolate(amount(x), size=padded.shape[-2:], mode="bilinear", align_corners=False)
            maps.append(logits[..., :height, :width])
        *sides, final = maps
        return Maps(final, sides), x

    def forward(self, photo: torch.Tensor) -> Maps:
        """Compute the maps of images (N, 3, H, W)."""
        return self.maps_and_features(photo)[0]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context, x, weight):
        context.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -context.weight * gradient, None


def reverse(x: torch.Tensor, weight: float) -> torch.Tensor:
    """Return `x`, but multiply its gradient by -weight: the layers before it increase the loss after it."""
    return _Reverse.apply(x, weight)


def loss(
    network: DMENet, rendered: torch.Tensor, amount: torch.Tensor, real: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Compute the joint loss of B, D and S, a scalar.

    `rendered` has images (N, 3, H, W) in [0, 1] with the `amount` (N, 1, H, W), `real` photos with the `mask`
    (N, 1, H, W), 1 = blurred. Squared errors are means over pixels, summed over the decoder's scales; cross-entropies
    are means over pixels (S) and over images (D, whose weight is 1 for its layers).
    """
    count = len(rendered)
    maps, features = network.maps_and_features(torch.cat((rendered, real)))
    estimation = _estimation(maps, amount)
    # D learns from both; B changes only the features of real photos, to increase the loss of D.
    compared = torch.cat((features[:count].detach(), reverse(features[count:], ADVERSARIAL)))
    is_real = torch.cat((compared.new_zeros(count, 1), compared.new_ones(len(real), 1)))
    logits = network.discriminator(compared)
    adaptation = F.binary_cross_entropy_with_logits(logits.to(mask.dtype), is_real.to(mask.dtype))
    return estimation + adaptation + CALIBRATED * _calibration(network, maps, mask)


def loss_without_d(
    network: DMENet, rendered: torch.Tensor, amount: torch.Tensor, real: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Compute `loss` without the part of D, which B and D push in opposite directions, so that it shows no progress."""
    maps = network(torch.cat((rendered, real)))
    return _estimation(maps, amount) + CALIBRATED * _calibration(network, maps, mask)


def _estimation(maps: Maps, amount: torch.Tensor) -> torch.Tensor:
    """Sum the squared errors of the amounts of the rendered images, which come first, over the decoder's scales."""
    total = amount.new_zeros(())
    for logits in (maps.final, *maps.sides):
        total = total + F.mse_loss(torch.sigmoid(logits[: len(amount)].to(amount.dtype)), amount)
    return total


def _calibration(network: DMENet, maps: Maps, mask: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy of S on the real photos, which come last."""
    blurred = network.calibration(torch.sigmoid(maps.final[-len(mask) :]))
    return F.binary_cross_entropy_with_logits(blurred.to(mask.dtype), mask)


@cache
def render_scenes(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Render scenes and their amounts of blur; later calls return the same arrays.

    Returns images uint8 (count, size, size, 3) and amounts float32 (count, size, size) in [0, 1]. Raises ValueError for
    a size outside 48 to 384 pixels.
    """
    images, amounts = [], []
    for number in tqdm(range(count), desc="rendering", leave=False):
        challenge, index = number % len(CHALLENGES), number // len(CHALLENGES)
        scene, camera = make_scene(CHALLENGES[challenge], index, (size, size), seed)
        image, radius, _ = render(scene, camera, [seed, challenge, index])
        images.append(image)
        amounts.append(np.minimum(2 * radius / FULL_DIAMETER, 1))
    return np.stack(images), np.stack(amounts)


class Pairs(Sequence):
    """Pairs of a rendered image and a real photo, as many as the augmentation makes of the real photos.

    Sample i is (rendered (3, size, size), its amount of blur (1, size, size), real (3, size, size), its mask
    (1, size, size)), float32 in [0, 1]. The `SCENES` images are repeated in order, mirrored in every second round.
    """

    def __init__(self, photos: PhotoSet, size: int, recipe: Recipe):
        self.real = augmented(photos, size, recipe)
        # No more scenes than samples; even seeds are for training, odd ones for testing.
        self.images, self.amounts = render_scenes(min(SCENES, len(self.real)), size, 2 * recipe.seed)

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        real, mask = self.real[index]
        round_, scene = divmod(index, len(self.images))
        columns = slice(None, None, -1 if round_ % 2 else 1)
        amount = torch.from_numpy(self.amounts[scene][:, columns].copy())[None]
        return to_tensor(self.images[scene][:, columns]), amount, real, mask


def held_out_pairs(photos: PhotoSet, size: int, recipe: Recipe) -> list[tuple[torch.Tensor, ...]]:
    """Make a pair of each held-out photo, without augmentation, and a rendered image that training does not show."""
    images, amounts = render_scenes(len(photos), size, 2 * (recipe.seed + HELD_OUT_SEED))
    real = whole_photos(photos, size, recipe)
    return [(to_tensor(images[i]), torch.from_numpy(amounts[i])[None], *real[i]) for i in range(len(photos))]


TASK = Task(Pairs, loss, held_out=held_out_pairs, held_out_loss=loss_without_d)


def amount_error(network: DMENet, size: int, count: int = 40, seed: int = 0) -> tuple[float, float]:
    """Measure the error of a network, and of the best constant, on rendered images not used in training.

    Both are mean absolute errors over all pixels of `count` images of `size` x `size` pixels, in pixels of the circle
    of confusion's diameter, which is clipped at `FULL_DIAMETER`.
    """
    images, amounts = render_scenes(count, size, 2 * seed + 1)
    found = [torch.sigmoid(predict_maps(image, network, None).final)[0, 0].cpu().numpy() for image in images]
    errors = found - amounts, np.median(amounts) - amounts
    return tuple(float(FULL_DIAMETER * np.abs(error).mean(dtype=np.float64)) for error in errors)
