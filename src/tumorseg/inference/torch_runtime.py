"""A network in torch, as training has it in hand. The only file of this room that imports torch."""

import numpy as np
import torch

from tumorseg.errors import ModelError
from tumorseg.inference.runtime import Device, Float32

BATCH_SIZE = 16


class TorchRuntime:
    """A torch network in evaluation mode, float32.

    Args:
        network: (slices, channels, height, width) to logits (slices, classes, height, width).
        device: auto takes CUDA where torch has it.
        batch_size: slices that go through at once; a smaller last batch is filled up with blank slices, so that
            what comes out for a slice does not depend on how many there were.

    Raises:
        ModelError: the device is not there.
    """

    def __init__(self, network: torch.nn.Module, *, device: Device = "auto", batch_size: int = BATCH_SIZE) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError("torch finds no CUDA device", next_step="use --device cpu")
        chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._device = torch.device(chosen)
        self._network = network.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """Slices that it is best given at once."""
        return self._batch_size

    @property
    def lanes(self) -> int:
        """One: torch spreads a batch over the cores itself."""
        return 1

    def __call__(self, batch: Float32) -> Float32:
        """Logits (slices, classes, height, width) of normalised slices (slices, channels, height, width)."""
        step = self._batch_size
        return np.concatenate([self._run(batch[start : start + step]) for start in range(0, len(batch), step)])

    @torch.inference_mode()
    def _run(self, batch: Float32) -> Float32:
        filled = np.zeros((self._batch_size, *batch.shape[1:]), np.float32)
        filled[: len(batch)] = batch
        tensor = torch.from_numpy(filled).to(self._device, memory_format=torch.channels_last)
        logits = self._network(tensor)[: len(batch)]
        return np.asarray(logits.float().cpu().numpy(), np.float32)
