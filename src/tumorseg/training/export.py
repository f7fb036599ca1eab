"""From the weights of a checkpoint to the files that ship: model.onnx and weights.safetensors."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tumorseg.files import atomic_write

OPSET = 18


def write_onnx(path: Path, network: nn.Module, *, channels: int, size: int) -> None:
    """Write a network as ONNX: image (N, C, H, W) float32 -> logits (N, K, H, W) float32, N, H and W free.

    Args:
        path: of the file; it appears whole or not at all.
        network: on the CPU.
        channels: of the input.
        size: side of the example that is traced, in pixels.
    """
    network = network.eval().float().to(memory_format=torch.contiguous_format)
    free = {0: "batch", 2: "height", 3: "width"}
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            network,
            (torch.zeros(2, channels, size, size),),
            str(temporary),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": free, "logits": free},
            opset_version=OPSET,
            dynamo=False,
        )


def write_safetensors(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_write(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
