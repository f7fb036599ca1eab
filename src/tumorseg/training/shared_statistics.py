"""One set of running statistics for all devices: each sees other slices and would keep statistics of its own."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback


class SharedStatistics(Callback):
    """Averages what layers such as BatchNorm remember over the devices after every step.

    It must run before the weights are averaged, so that every device judges by the same network.
    """

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One exchange for all statistics together."""
        kept = [buffer for buffer in pl_module.buffers() if buffer.is_floating_point()]
        if not kept:
            return
        flat = torch.cat([buffer.flatten().float() for buffer in kept])
        mean = trainer.strategy.reduce(flat, reduce_op="mean")
        assert isinstance(mean, torch.Tensor)
        for buffer, values in zip(kept, torch.split(mean, [buffer.numel() for buffer in kept]), strict=True):
            buffer.copy_(values.view_as(buffer))
