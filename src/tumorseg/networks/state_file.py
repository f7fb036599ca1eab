"""Files of weights. Only those that cannot run code are read."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tumorseg.errors import ModelError

State = OrderedDict[str, Tensor]


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
    for key in ("state_dict", "model"):
        loaded = loaded.get(key, loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"weights file {path} is not a mapping of names to tensors", next_step="save a state_dict")
    return OrderedDict(loaded)
