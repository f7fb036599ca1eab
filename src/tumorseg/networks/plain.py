"""U-Nets without an encoder of their own: convolutions, max pooling, and the way back up."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tumorseg.recipe import Network

FEATURES = (32, 64, 128, 256, 512)


def _norm(kind: str, features: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(features)
    return nn.InstanceNorm2d(features, affine=True) if kind == "instance" else nn.Identity()


def _convolution(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    # A norm that follows would take a bias away again.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=norm == "none"), _norm(norm, outputs))


class PlainBlock(nn.Sequential):
    """Twice a 3 × 3 convolution, a norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__(
            _convolution(inputs, outputs, norm),
            nn.ReLU(inplace=True),
            _convolution(outputs, outputs, norm),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """The same with a short cut around both convolutions, added before the last ReLU (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, outputs, norm), nn.ReLU(inplace=True), _convolution(outputs, outputs, norm)
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.last = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        result: Tensor = self.last(self.body(image) + self.shortcut(image))
        return result


class PlainUnet(nn.Module):
    """U-Net (Ronneberger et al. 2015), padded so that logits have the size of the image.

    Args:
        channels, classes: of the image and of the logits.
        features: channels of the stages, from the finest; every stage after the first works at half the size.
        norm: "none", "batch" or "instance".
        transposed: grow by transposed convolutions; False interpolates and halves the channels by 1 × 1.
        block: what computes in each stage.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        features: Sequence[int],
        norm: str,
        transposed: bool,
        block: type[PlainBlock] | type[ResidualBlock],
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(features) - 1)
        self.down = nn.ModuleList(
            block(inputs, outputs, norm) for inputs, outputs in zip((channels, *features), features, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in reversed(list(pairwise(features))):
            self.grow.append(_growth(coarse, fine, transposed=transposed))
            self.up.append(block(2 * fine, fine, norm))
        self.segmentation_head = nn.Conv2d(features[0], classes, 1)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) -> logits (N, classes, H, W); H and W are multiples of the stride."""
        skips = [self.down[0](image)]
        for stage in list(self.down)[1:]:
            skips.append(stage(self.pool(skips[-1])))
        current = skips.pop()
        for grow, up in zip(self.grow, self.up, strict=True):
            current = up(torch.cat([skips.pop(), grow(current)], dim=1))
        logits: Tensor = self.segmentation_head(current)
        return logits


def _growth(coarse: int, fine: int, *, transposed: bool) -> nn.Module:
    if transposed:
        return nn.ConvTranspose2d(coarse, fine, 2, stride=2)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(coarse, fine, 1))


def _initialise(module: nn.Module) -> None:
    """Weights that keep the spread of values through ReLUs (He et al. 2015): without norms nothing else would."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        # What one output pixel of a transposed convolution of stride 2 sums over is one pixel of each channel.
        inputs = module.in_channels * (1 if isinstance(module, nn.ConvTranspose2d) else module.weight[0, 0].numel())
        nn.init.normal_(module.weight, std=(2 / inputs) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def plain_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """`unet-plain`: convolution, ReLU, max pooling."""
    return _built(network, channels, classes, PlainBlock)


def residual_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """`resunet-plain`: the same of residual blocks."""
    return _built(network, channels, classes, ResidualBlock)


def _built(network: Network, channels: int, classes: int, block: type[PlainBlock] | type[ResidualBlock]) -> nn.Module:
    return PlainUnet(
        channels,
        classes,
        features=network.features or FEATURES,
        norm=network.norm,
        transposed=network.upsampling == "transposed",
        block=block,
    )
