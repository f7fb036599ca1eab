"""Networks by name. A new one costs one entry here and inherits the tests of all."""

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from tumorseg.errors import RecipeError
from tumorseg.networks.weights import load_encoder_weights
from tumorseg.recipe import Network

Builder = Callable[[Network, int, int], nn.Module]
"""(what the recipe says, input channels, output channels) -> a network with random weights."""


def _smp(architecture: str) -> Builder:
    """An architecture of segmentation_models_pytorch that takes an encoder and decoder channels."""

    def build(network: Network, channels: int, classes: int) -> nn.Module:
        import segmentation_models_pytorch as smp

        built: nn.Module = getattr(smp, architecture)(
            encoder_name=network.encoder,
            encoder_weights=None,
            encoder_depth=len(network.decoder_channels),
            decoder_channels=network.decoder_channels,
            in_channels=channels,
            classes=classes,
        )
        return built

    return build


NETWORKS: dict[str, Builder] = {
    "unet": _smp("Unet"),
    "unetplusplus": _smp("UnetPlusPlus"),
    "manet": _smp("MAnet"),
}


def build_network(network: Network, *, channels: int, classes: int, pretrained: bool = True) -> nn.Module:
    """Build what a recipe names.

    Args:
        network: the recipe's choice.
        channels: of the input.
        classes: of the output; each is one logit per pixel.
        pretrained: load `network.weights`; False where other weights replace them anyway.

    Returns:
        A network from (N, channels, H, W) float to (N, classes, H, W) logits, H and W multiples of 32, without
        weights that never reach its output.

    Raises:
        RecipeError: no such network or encoder.
        ModelError: the weights are not to be had.
    """
    if network.name not in NETWORKS:
        raise RecipeError(f"key 'network.name': no network '{network.name}'", next_step=f"take one of {_list()}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = NETWORKS[network.name](network, channels, classes)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip("'\"").splitlines()[0][:120]
        raise RecipeError(
            f"key 'network': cannot build {network.name} with encoder '{network.encoder}' ({reason})",
            next_step="take an encoder of segmentation_models_pytorch, such as resnet34",
        ) from error
    if pretrained:
        load_encoder_weights(built, network, channels=channels)
    remove_unused(built, channels)
    if network.dropout:
        built.segmentation_head = nn.Sequential(nn.Dropout2d(network.dropout), cast(nn.Module, built.segmentation_head))
    return built


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def remove_unused(network: nn.Module, channels: int) -> None:
    """Replace layers whose weights never reach the output, such as a classifier's head, by nothing, in place."""
    training = network.training
    network.eval()
    network(torch.zeros(1, channels, 64, 64)).sum().backward()
    for name, module in list(network.named_modules()):
        parameters = list(module.parameters())
        parent = network.get_submodule(name.rpartition(".")[0])
        still_there = parent._modules.get(name.rpartition(".")[2]) is module
        if name and still_there and parameters and all(parameter.grad is None for parameter in parameters):
            setattr(parent, name.rpartition(".")[2], nn.Identity())
    network.zero_grad(set_to_none=True)
    network.train(training)


def _list() -> str:
    return ", ".join(NETWORKS)
