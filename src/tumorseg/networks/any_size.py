"""Networks that halve an image several times, made to take images of any size."""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn


class _AnySize(nn.Module):
    """Put before a network's class: fills the image up to whole strides and cuts the logits back."""

    stride: int

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        below, right = -height % self.stride, -width % self.stride
        # A traced graph is run at other sizes too, so that it always holds both steps.
        tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if tracing or below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
            return cast(Tensor, super().forward(image))[..., :height, :width]
        return cast(Tensor, super().forward(image))


def take_any_size(network: nn.Module, stride: int) -> nn.Module:
    """Let a network take any height and width, in place; its weights keep their names.

    Args:
        network: (N, C, H, W) -> (N, K, H, W), for H and W that are multiples of `stride`.
        stride: in pixels.

    Returns:
        The same network. The nearest pixels fill what is added, and nothing is added where the size fits.
    """
    kind: Any = type(network)
    network.__class__ = type(kind.__name__, (_AnySize, kind), {"stride": stride})
    return network
