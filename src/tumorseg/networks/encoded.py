"""Networks with an encoder, from segmentation_models_pytorch."""

from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from tumorseg.errors import RecipeError
from tumorseg.recipe import Network


def encoded(kind: Callable[..., nn.Module], **options: Any) -> Callable[[Network, int, int], nn.Module]:
    """A builder of one architecture that takes an encoder and decoder channels, with random weights."""

    def build(network: Network, channels: int, classes: int) -> nn.Module:
        return kind(
            encoder_name=network.encoder,
            encoder_weights=None,
            encoder_depth=len(network.decoder_channels),
            decoder_channels=network.decoder_channels,
            in_channels=channels,
            classes=classes,
            **options,
        )

    return build


def encoded_as_a_whole(kind: Callable[..., nn.Module], **options: Any) -> Callable[[Network, int, int], nn.Module]:
    """The same for an architecture whose decoder has no channels to choose."""

    def build(network: Network, channels: int, classes: int) -> nn.Module:
        if network.decoder_channels != Network.model_fields["decoder_channels"].default:
            raise RecipeError(
                f"key 'network.decoder_channels': the decoder of {network.name} has no channels to choose",
                next_step="remove decoder_channels",
            )
        return kind(
            encoder_name=network.encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
        )

    return build


def stride_of(network: nn.Module) -> int:
    """Pixels that height and width must be multiples of; 1 where the network takes any size by itself."""
    if not getattr(network, "requires_divisible_input_shape", True):
        return 1
    stride: Any = network.encoder.output_stride  # type: ignore[union-attr]
    return int(stride)


class _HypercolumnDecoder(UnetDecoder):  # type: ignore[misc]
    """U-Net's decoder, whose answer is the feature maps of all its stages, brought to the size of the last."""

    def forward(self, features: list[Tensor]) -> Tensor:
        sizes = [feature.shape[2:] for feature in features[-2::-1]]
        skips = [*features[-2:0:-1], None]
        current: Tensor = self.center(features[-1])
        stages = []
        for block, (height, width), skip in zip(self.blocks, sizes, skips, strict=True):
            current = block(current, height, width, skip_connection=skip)
            stages.append(current)
        *coarse, finest = stages
        columns = [F.interpolate(stage, finest.shape[2:], mode="bilinear", align_corners=False) for stage in coarse]
        return torch.cat([*columns, finest], dim=1)


class HypercolumnUnet(smp.Unet):  # type: ignore[misc]
    """U-Net whose head sees every stage of the decoder (hypercolumns, Hariharan et al. 2015).

    The arguments are those of `segmentation_models_pytorch.Unet`.
    """

    def __init__(self, *, decoder_channels: tuple[int, ...], classes: int, **options: Any) -> None:
        super().__init__(decoder_channels=decoder_channels, classes=classes, **options)
        self.decoder.__class__ = _HypercolumnDecoder
        self.segmentation_head = smp.base.SegmentationHead(sum(decoder_channels), classes, kernel_size=3)
        smp.base.initialization.initialize_head(self.segmentation_head)
