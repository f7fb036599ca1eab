"""Averaged weights: those that are judged and shipped."""

from collections.abc import Callable

import torch
from torch import Tensor


def warm_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential moving average that forgets fast at first, so that it is of use from the first epoch.

    The decay of update n is min(decay, (1 + n) / (10 + n)), as TensorFlow's ExponentialMovingAverage has it.

    Returns:
        For `torch.optim.swa_utils.AveragedModel`: (average, now, updates so far) -> the new average.
    """

    @torch.no_grad()
    def average(averaged: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():
            return now  # counters are not averaged
        done = int(updates)
        return averaged.lerp(now, 1 - min(decay, (1 + done) / (10 + done)))

    return average
