"""Boundary loss: probability weighted by the distance from the border of the reference (Kervadec et al. 2019)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorseg.losses.adapter import one_hot


class BoundaryLoss(nn.Module):
    """Mean of probability times signed distance, in pixels: below 0 inside of the reference, above 0 outside.

    A slice without the class counts nothing, so that this loss wants another beside it, as in "dice+0.01*boundary".

    Args:
        classes: logits per pixel, see `build_loss`.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """A scalar; for the arguments see `build_loss`."""
        probability, truth = one_hot(logits, reference)
        masks = truth.detach().cpu().numpy() > 0.5
        distances = np.stack([[signed_distance(mask) for mask in slice_] for slice_ in masks])
        return (probability * torch.from_numpy(distances).to(probability)).mean()


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in pixels to the nearest pixel across the border: above 0 outside of the mask, 0 and below inside.

    Args:
        mask: (height, width) bool.

    Returns:
        (height, width) float32; 0 everywhere where the mask has no border.
    """
    from scipy.ndimage import distance_transform_edt

    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.float32)
    outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
    return np.asarray(np.where(mask, 1 - inside, outside), np.float32)
