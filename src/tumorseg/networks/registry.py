"""Networks by name. A new one costs one entry here and inherits the tests of all."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import segmentation_models_pytorch as smp
import torch
from torch import nn

from tumorseg.errors import RecipeError
from tumorseg.networks import monai_networks
from tumorseg.networks.any_size import take_any_size
from tumorseg.networks.encoded import HypercolumnUnet, encoded, encoded_as_a_whole, stride_of
from tumorseg.networks.plain import FEATURES, plain_unet, residual_unet
from tumorseg.networks.weights import load_encoder_weights
from tumorseg.recipe import Network

Builder = Callable[[Network, int, int], nn.Module]
"""(what the recipe says, input channels, output channels) -> a network with random weights."""


@dataclass(frozen=True)
class Entry:
    """One network of the registry.

    Attributes:
        build: makes it.
        head: the layer that turns the last feature maps into logits, in dotted form.
        stages: of a network without an encoder: how many there are where a recipe gives no features, each at half
            the size of the one before. None for a network with an encoder.
    """

    build: Builder
    head: str = "segmentation_head"
    stages: int | None = None


NETWORKS: dict[str, Entry] = {
    "unet": Entry(encoded(smp.Unet)),
    "unet-attention": Entry(encoded(smp.Unet, decoder_attention_type="scse")),
    "unet-hypercolumns": Entry(encoded(HypercolumnUnet)),
    "unetplusplus": Entry(encoded(smp.UnetPlusPlus)),
    "manet": Entry(encoded(smp.MAnet)),
    "linknet": Entry(encoded_as_a_whole(smp.Linknet)),
    "fpn": Entry(encoded_as_a_whole(smp.FPN, decoder_dropout=0.0)),
    "segformer": Entry(encoded_as_a_whole(smp.Segformer)),
    "unet-plain": Entry(plain_unet, stages=len(FEATURES)),
    "resunet-plain": Entry(residual_unet, stages=len(FEATURES)),
    "attention-unet": Entry(monai_networks.attention_unet, head="model.2", stages=len(FEATURES)),
    "monai-basic-unet": Entry(monai_networks.basic_unet, head="final_conv", stages=len(FEATURES)),
    "monai-unet": Entry(monai_networks.residual_unit_unet, head="model.2", stages=len(FEATURES)),
    "monai-dynunet": Entry(monai_networks.dynamic_unet, head="output_block", stages=len(FEATURES)),
    "monai-segresnet": Entry(monai_networks.segresnet, head="conv_final.2", stages=4),
}


def build_network(
    network: Network, *, channels: int, classes: int, stack: int = 1, pretrained: bool = True
) -> nn.Module:
    """Build what a recipe names.

    Args:
        network: the recipe's choice.
        channels: of a slice.
        stack: slices that it sees at once, one behind the other along the axis of channels, its own first.
        classes: of the output; each is one logit per pixel.
        pretrained: load `network.weights`; False where other weights replace them anyway.

    Returns:
        A network from (N, stack * channels, H, W) float to (N, classes, H, W) logits, H and W from 32 on, without
        weights that never reach its output.

    Raises:
        RecipeError: no such network or encoder, or a key that this network does not have.
        ModelError: the weights are not to be had.
    """
    if network.name not in NETWORKS:
        raise RecipeError(f"key 'network.name': no network '{network.name}'", next_step=f"take one of {_list()}")
    entry = NETWORKS[network.name]
    _refuse_foreign_keys(network, entry)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = entry.build(network, stack * channels, classes)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip("'\"").partition("\n")[0][:120]
        with_encoder = f" with encoder '{network.encoder}'" if entry.stages is None else ""
        raise RecipeError(
            f"key 'network': cannot build {network.name}{with_encoder} ({reason})",
            next_step="take an encoder of segmentation_models_pytorch, such as resnet34"
            if entry.stages is None
            else "change the keys of 'network'",
        ) from error
    stride = stride_of(built) if entry.stages is None else 2 ** ((len(network.features) or entry.stages) - 1)
    if stride > 1:
        built = take_any_size(built, stride)
    if pretrained and entry.stages is None:
        load_encoder_weights(built, network, channels=channels, stack=stack)
    remove_unused(built, stack * channels)
    if network.dropout:
        parent, _, last = entry.head.rpartition(".")
        head = built.get_submodule(entry.head)
        setattr(built.get_submodule(parent), last, nn.Sequential(nn.Dropout2d(network.dropout), head))
    return built


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def remove_unused(network: nn.Module, channels: int) -> None:
    """Replace layers whose weights never reach the output, such as a classifier's head, by nothing, in place."""
    training = network.training
    network.eval()
    network(torch.zeros(1, channels, 64, 64)).sum().backward()
    removed: list[str] = []
    for name, module in list(network.named_modules()):
        parameters = list(module.parameters())
        if not name or not parameters or name.startswith(tuple(f"{gone}." for gone in removed)):
            continue
        if all(parameter.grad is None for parameter in parameters):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, nn.Identity())
            removed.append(name)
    network.zero_grad(set_to_none=True)
    network.train(training)


def _refuse_foreign_keys(network: Network, entry: Entry) -> None:
    """Raise RecipeError for a key that this network would not heed."""
    usual = Network.model_fields
    if entry.stages is None:
        if network.encoder == "none":
            raise _foreign(network, "encoder", "needs an encoder", "set network.encoder to one, such as resnet34")
        for key, instead in (("features", "take network.decoder_channels"), ("norm", "remove it")):
            if getattr(network, key) != usual[key].default:
                raise _foreign(network, key, f"has an encoder and takes no {key}", instead)
        return
    for key in ("encoder", "weights"):
        if getattr(network, key) != "none":
            raise _foreign(network, key, "has no encoder", f"set network.{key}=none")
    if network.decoder_channels != usual["decoder_channels"].default:
        raise _foreign(network, "decoder_channels", "has no encoder", "take network.features")


def _foreign(network: Network, key: str, why: str, next_step: str) -> RecipeError:
    return RecipeError(f"key 'network.{key}': {network.name} {why}", next_step=next_step)


def _list() -> str:
    return ", ".join(NETWORKS)
