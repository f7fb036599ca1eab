"""Networks of MONAI, in two dimensions. They are built as a whole and have no encoder to swap."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from tumorseg.errors import RecipeError
from tumorseg.networks.plain import FEATURES
from tumorseg.recipe import Network

_NORMS: dict[str, Any] = {"none": None, "batch": "batch", "instance": ("instance", {"affine": True})}


def attention_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """U-Net with attention gates on its skips (Oktay et al. 2018), batch norm."""
    from monai.networks.nets.attentionunet import AttentionUnet

    _only(network, norms=("batch",), upsampling=("transposed",))
    features = network.features or FEATURES
    return AttentionUnet(2, channels, classes, channels=features, strides=[2] * (len(features) - 1))


def basic_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """MONAI's U-Net after Falk et al. 2019: five stages, leaky ReLU."""
    from monai.networks.nets.basic_unet import BasicUNet

    features = network.features or FEATURES
    if len(features) != 5:
        raise _unfit(network, "features", "it has five stages", "give five numbers")
    return BasicUNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        features=(*features, features[0]),
        norm=_NORMS[network.norm],
        upsample="deconv" if network.upsampling == "transposed" else "nontrainable",
    )


def residual_unit_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """MONAI's U-Net of residual units and strided convolutions (Kerfoot et al. 2018), two units a stage."""
    from monai.networks.nets.unet import UNet

    _only(network, upsampling=("transposed",))
    features = network.features or FEATURES
    strides = [2] * (len(features) - 1)
    return UNet(2, channels, classes, channels=features, strides=strides, num_res_units=2, norm=_NORMS[network.norm])


def dynamic_unet(network: Network, channels: int, classes: int) -> nn.Module:
    """MONAI's U-Net in the manner of nnU-Net (Isensee et al. 2021), with residual blocks."""
    from monai.networks.nets.dynunet import DynUNet

    _only(network, norms=("batch", "instance"), upsampling=("transposed",))
    features = network.features or FEATURES
    strides = [1, *[2] * (len(features) - 1)]
    built = DynUNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        kernel_size=[3] * len(features),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=features,
        norm_name=_NORMS[network.norm],
        res_block=True,
    )
    # Every block is held a second time in `skip_layers`, the one that computes; a file of weights holds it once.
    for name in ("input_block", "downsamples", "bottleneck", "upsamples"):
        delattr(built, name)
    return built


def segresnet(network: Network, channels: int, classes: int) -> nn.Module:
    """MONAI's SegResNet (Myronenko 2018) without its autoencoder; features double from stage to stage."""
    from monai.networks.nets.segresnet import SegResNet

    _only(network, norms=("batch", "instance"))
    features = network.features or FEATURES[:4]
    if any(features[0] * 2**stage != width for stage, width in enumerate(features)):
        raise _unfit(network, "features", "its features double from stage to stage", "give such as [16, 32, 64, 128]")
    return SegResNet(
        spatial_dims=2,
        init_filters=features[0],
        in_channels=channels,
        out_channels=classes,
        norm=_NORMS[network.norm],
        blocks_down=(1, *[2] * (len(features) - 2), 4),
        blocks_up=(1,) * (len(features) - 1),
        upsample_mode="deconv" if network.upsampling == "transposed" else "nontrainable",
    )


def _only(
    network: Network,
    *,
    norms: Sequence[str] = ("none", "batch", "instance"),
    upsampling: Sequence[str] = ("transposed", "interpolated"),
) -> None:
    """Refuse what MONAI's network cannot be told."""
    if network.norm not in norms:
        raise _unfit(network, "norm", f"{network.norm} is not to be had", f"take {' or '.join(norms)}")
    if network.upsampling not in upsampling:
        raise _unfit(network, "upsampling", f"{network.upsampling} is not to be had", f"take {' or '.join(upsampling)}")


def _unfit(network: Network, key: str, why: str, next_step: str) -> RecipeError:
    return RecipeError(f"key 'network.{key}': {network.name}: {why}", next_step=next_step)
