"""Losses by name. `0.5*bce+0.5*dice` is a weighted sum; a weight that is not given is 1."""

import math
from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from tumorseg.errors import RecipeError
from tumorseg.losses.adapter import IndexTarget
from tumorseg.losses.boundary import BoundaryLoss
from tumorseg.losses.lovasz import WeightedLovaszLoss


def _overlap(kind: Callable[..., nn.Module], **options: float) -> Callable[[int], nn.Module]:
    """Over the whole batch, not slice by slice: half of the slices hold no tumour and would have no Dice."""

    def build(classes: int) -> nn.Module:
        if classes == 1:
            return kind("binary", from_logits=True, smooth=1.0, **options)
        return kind("multiclass", from_logits=True, smooth=1.0, classes=list(range(1, classes)), **options)

    return build


def _bce(classes: int) -> nn.Module:
    if classes > 1:
        raise RecipeError("key 'loss': bce knows tumour and background alone", next_step="take ce for several classes")
    return nn.BCEWithLogitsLoss()


def _ce(classes: int) -> nn.Module:
    return nn.BCEWithLogitsLoss() if classes == 1 else nn.CrossEntropyLoss()


def _focal(classes: int) -> nn.Module:
    if classes == 1:
        return smp.losses.FocalLoss("binary", gamma=2.0)  # type: ignore[no-any-return]
    from monai.losses.focal_loss import FocalLoss

    return IndexTarget(FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0))


def _lovasz(classes: int) -> nn.Module:
    return smp.losses.LovaszLoss("binary" if classes == 1 else "multiclass")  # type: ignore[no-any-return]


def _dice_smooth100(classes: int) -> nn.Module:
    from monai.losses.dice import DiceLoss

    smooth: dict[str, Any] = {"smooth_nr": 100.0, "smooth_dr": 100.0, "batch": True}
    if classes == 1:
        return DiceLoss(sigmoid=True, **smooth)
    return IndexTarget(DiceLoss(softmax=True, to_onehot_y=True, include_background=False, **smooth))


def _hausdorff(classes: int) -> nn.Module:
    from monai.losses.hausdorff_loss import HausdorffDTLoss

    if classes == 1:
        return HausdorffDTLoss(sigmoid=True, include_background=True)
    return IndexTarget(HausdorffDTLoss(softmax=True, to_onehot_y=True))


LOSSES: dict[str, Callable[[int], nn.Module]] = {
    "dice": _overlap(smp.losses.DiceLoss),
    "dice-smooth100": _dice_smooth100,
    "jaccard": _overlap(smp.losses.JaccardLoss),
    # A missed pixel weighs more than a false one: alpha 0.3, beta 0.7 (Salehi et al. 2017).
    "tversky": _overlap(smp.losses.TverskyLoss, alpha=0.3, beta=0.7),
    "bce": _bce,
    "ce": _ce,
    "focal": _focal,
    "lovasz": _lovasz,
    "lovasz-weighted": WeightedLovaszLoss,
    "boundary": BoundaryLoss,
    "hausdorff": _hausdorff,
}
"""Name -> what builds the loss for a number of logits per pixel."""


class SumOfLosses(nn.Module):
    """A weighted sum of losses on the same logits and reference."""

    def __init__(self, terms: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.weights = weights

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """A scalar."""
        terms = zip(self.weights, self.terms, strict=True)
        return torch.stack([weight * term(logits, reference) for weight, term in terms]).sum()


def build_loss(name: str, *, classes: int = 1) -> nn.Module:
    """The loss that a recipe names, such as "dice+bce" or "0.5*bce+0.5*dice".

    Args:
        name: terms of `LOSSES` with `+` between them, each with `weight*` before it or not.
        classes: logits per pixel, see `Recipe.logits`.

    Returns:
        One logit: (N, 1, H, W) logits and (N, 1, H, W) float reference, 0 and 1 -> a scalar. Several: (N, K + 1, H, W)
        logits, background first, and (N, H, W) int64 reference, 0 to K -> a scalar. Overlaps are means over the
        classes without background.

    Raises:
        RecipeError: no such loss, a weight that is no number above 0, or a loss that cannot tell so many classes.
    """
    terms, weights = [], []
    for part in name.replace(" ", "").split("+"):
        weight, star, term = part.rpartition("*")
        if term not in LOSSES:
            raise RecipeError(f"key 'loss': no loss '{term}'", next_step=f"take one of {', '.join(LOSSES)}, or a+b")
        weights.append(_weight(weight, part) if star else 1.0)
        terms.append(LOSSES[term](classes))
    return SumOfLosses(terms, weights)


def _weight(text: str, part: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise RecipeError(
            f"key 'loss': '{text}' in '{part}' is no number above 0", next_step="write such as 0.5*bce+0.5*dice"
        )
    return weight
