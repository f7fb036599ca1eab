"""Lovász extension of the Jaccard index with errors weighted by class frequency."""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from tumorseg.losses.adapter import one_hot


class WeightedLovaszLoss(nn.Module):
    """Lovász hinge (one logit) and Lovász softmax (several) of Berman et al. 2018, with weighted errors.

    The error of a pixel of a class is multiplied by the inverse of that class's share of the batch. Weighted errors
    are sorted as Berman's are; everything is over the whole batch.

    Args:
        classes: logits per pixel, see `build_loss`.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """A scalar, the mean over the classes; for the arguments see `build_loss`."""
        probability, truth = one_hot(logits, reference)
        errors = F.relu(1 - logits * (2 * truth - 1)) if self.classes == 1 else (truth - probability).abs()
        per_class = zip(errors.movedim(1, 0), truth.movedim(1, 0), strict=True)
        return torch.stack([_extension(error.flatten(), member.flatten()) for error, member in per_class]).mean()


def _extension(errors: Tensor, members: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss at weighted errors (Berman et al. 2018, algorithm 1).

    Args:
        errors, members: (pixels,) float; members are 0 and 1.
    """
    share = members.mean()
    weighted = torch.where(members > 0, errors / share.clamp_min(1 / members.numel()), errors)
    weighted, order = weighted.sort(descending=True)
    sorted_members = members[order]
    intersection = members.sum() - sorted_members.cumsum(0)
    union = members.sum() + (1 - sorted_members).cumsum(0)
    jaccard = 1 - intersection / union
    return weighted @ torch.diff(jaccard, prepend=jaccard.new_zeros(1))
