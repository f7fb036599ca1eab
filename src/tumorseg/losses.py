"""Losses by name, over segmentation_models_pytorch. `a+b` adds two with equal weights."""

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from tumorseg.errors import RecipeError

LOSSES: dict[str, Callable[[], nn.Module]] = {
    # Over the whole batch, not slice by slice: half of the slices hold no tumour and would have no Dice.
    "dice": lambda: smp.losses.DiceLoss("binary", from_logits=True, smooth=1.0),
    "bce": nn.BCEWithLogitsLoss,
    "jaccard": lambda: smp.losses.JaccardLoss("binary", from_logits=True, smooth=1.0),
    "focal": lambda: smp.losses.FocalLoss("binary"),
    "tversky": lambda: smp.losses.TverskyLoss("binary", from_logits=True, smooth=1.0, alpha=0.3, beta=0.7),
    "lovasz": lambda: smp.losses.LovaszLoss("binary", from_logits=True),
}


class SumOfLosses(nn.Module):
    """The sum of several losses, each on logits and reference, (N, K, H, W) float."""

    def __init__(self, terms: list[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """A scalar."""
        return torch.stack([term(logits, reference) for term in self.terms]).sum()


def build_loss(name: str) -> nn.Module:
    """The loss that a recipe names, such as "dice+bce".

    Raises:
        RecipeError: no such loss.
    """
    terms = []
    for part in name.split("+"):
        if part not in LOSSES:
            raise RecipeError(f"key 'loss': no loss '{part}'", next_step=f"take one of {', '.join(LOSSES)}, or a+b")
        terms.append(LOSSES[part]())
    return SumOfLosses(terms)
