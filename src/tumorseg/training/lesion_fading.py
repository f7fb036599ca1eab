"""Tumours made as bright as the tissue around them, so that a network must not live on brightness alone.

The tumours that networks miss on the LGG set are those that FLAIR hardly shows. They are rare; this draws more.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

COARSE = 4
"""Control points a side of the smooth field that says which part of a tumour fades."""

SEAM = 9
"""Pixels over which a faded tumour passes into its surroundings."""

RING = 31
"""Side of the square that a tumour is widened by to find what lies around it."""


@dataclass(frozen=True, eq=False)
class Fading:
    """What was drawn for one batch of B slices.

    Attributes:
        amounts: (B, channels) float32, 0 to 1: the share of the contrast to the surroundings that goes.
        field: (B, 1, COARSE, COARSE) float32, 0 to 1: where it goes.
    """

    amounts: NDArray[np.float32]
    field: NDArray[np.float32]


def draw_fading(probability: float, *, batch: int, channels: tuple[str, ...], rng: Generator) -> Fading | None:
    """Draw which slices' tumours fade, in which sequences, and how far; None where nothing ever does.

    Of a chosen slice FLAIR loses 30 to 100 % of its contrast, or the only sequence does; each other sequence loses up
    to 70 % in half of the slices.
    """
    if probability == 0:
        return None
    chosen = rng.random((batch, 1)) < probability
    amounts = rng.uniform(0, 0.7, (batch, len(channels))) * (rng.random((batch, len(channels))) < 0.5)
    first = channels.index("flair") if "flair" in channels else 0
    amounts[:, first] = rng.uniform(0.3, 1.0, batch)
    field = np.clip(rng.normal(0.7, 0.6, (batch, 1, COARSE, COARSE)), 0, 1)
    return Fading((amounts * chosen).astype(np.float32), field.astype(np.float32))


def fade(fading: Fading, images: Tensor, masks: Tensor) -> Tensor:
    """Bring tumours towards the mean brightness of what lies around them; their texture stays.

    Args:
        fading: from `draw_fading`.
        images: (B, C, H, W) float, normalised.
        masks: (B, 1, H, W) float; any class is tumour.

    Returns:
        (B, C, H, W); slices without tumour, or with nothing around it, as they were.
    """
    amounts = torch.from_numpy(fading.amounts).to(images.device)[:, :, None, None]
    if not bool((amounts > 0).any()):
        return images
    tumour = (masks > 0).to(images.dtype)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    tissue = (images > low + 0.1 * (high - low)).to(images.dtype)  # outside the head there is nothing to fade into
    widened = F.max_pool2d(tumour, RING, stride=1, padding=RING // 2)
    ring = (widened - F.max_pool2d(tumour, 5, stride=1, padding=2)) * tissue
    count = ring.sum((2, 3), keepdim=True)
    around = (images * ring).sum((2, 3), keepdim=True) / count.clamp_min(1)
    inside = (images * tumour).sum((2, 3), keepdim=True) / tumour.sum((2, 3), keepdim=True).clamp_min(1)
    where = F.avg_pool2d(tumour, SEAM, stride=1, padding=SEAM // 2)
    field = torch.from_numpy(fading.field).to(images.device)
    where = where * F.interpolate(field, images.shape[-2:], mode="bilinear", align_corners=True)
    return images - amounts * (count > 0) * where * (inside - around)
