"""The order of the layers that a file of weights has lost."""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor


def in_layer_order(state: OrderedDict[str, Tensor], encoder: str) -> OrderedDict[str, Tensor]:
    """Tensors in the order of the network that they come from, as far as it is known.

    A .safetensors file sorts its tensors by name, so that only the network itself tells which comes first.

    Args:
        state: names and tensors, from timm, torchvision or another library.
        encoder: as `Network.encoder`; timm and torchvision are asked for networks of that name.

    Returns:
        Those of the first network that knows all of these names, without what the file lacks; `state` as it is
        where none does.
    """
    for names in _known(encoder):
        order = [name for name in names if name in state]
        if len(order) == len(state):
            return OrderedDict((name, state[name]) for name in order)
    return state


def _known(encoder: str) -> Iterator[list[str]]:
    """Names of the tensors, in order, of the networks that timm and torchvision call as this encoder."""
    import timm
    import torchvision

    name = encoder.removeprefix("tu-").removeprefix("timm-").replace("-", "_").partition(".")[0]
    with torch.device("meta"):
        for timm_name in (name, f"tf_{name}"):
            if timm.is_model(timm_name):
                yield list(timm.create_model(timm_name, pretrained=False).state_dict())
        if name in torchvision.models.list_models():
            yield list(torchvision.models.get_model(name, weights=None).state_dict())
