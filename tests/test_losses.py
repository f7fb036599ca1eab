"""Every loss prefers the truth, with one class and with several."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tumorseg.errors import RecipeError
from tumorseg.losses import LOSSES, build_loss
from tumorseg.losses.boundary import signed_distance

MANY = 4
"""Logits of three classes and background."""

SEVERAL = [name for name in LOSSES if name != "bce"]
CASES = [(name, 1) for name in [*LOSSES, "dice+bce"]] + [(name, MANY) for name in [*SEVERAL, "dice+ce"]]


def reference(classes: int, *, empty: bool = False) -> Tensor:
    """Two slices: one with a square of tumour (of each class, if there are several), one without."""
    mask = torch.zeros(2, 16, 16, dtype=torch.int64)
    if not empty:
        for label in range(1, max(classes, 2)):
            mask[0, 4 * label - 3 : 4 * label, 4:12] = label
    return mask if classes > 1 else mask[:, None].float()


def logits_for(mask: Tensor, classes: int, *, strength: float = 6.0) -> Tensor:
    """Logits that say `mask`."""
    if classes == 1:
        return (mask * 2 - 1) * strength
    return (torch.nn.functional.one_hot(mask, classes).movedim(-1, 1).float() * 2 - 1) * strength


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_every_loss_prefers_the_truth(name: str, classes: int) -> None:
    truth = reference(classes)
    wrong = 1 - truth if classes == 1 else (truth + 1) % classes
    loss = build_loss(name, classes=classes)
    assert float(loss(logits_for(truth, classes), truth)) < float(loss(logits_for(wrong, classes), truth))


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_every_loss_sends_a_gradient_towards_the_truth(name: str, classes: int) -> None:
    truth = reference(classes)
    logits = logits_for(truth, classes, strength=0.3).requires_grad_()
    loss = build_loss(name, classes=classes)
    before = loss(logits, truth)
    before.backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    size = float(logits.grad.abs().max())
    assert size > 0
    with torch.no_grad():
        assert float(loss(logits - 0.01 / size * logits.grad, truth)) < float(before)


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("strength", [6.0, -6.0, 100.0])
def test_every_loss_is_finite_where_there_is_no_tumour(name: str, classes: int, strength: float) -> None:
    truth = reference(classes, empty=True)
    logits = logits_for(truth, classes, strength=strength).requires_grad_()
    loss = build_loss(name, classes=classes)(logits, truth)
    loss.backward()
    assert loss.ndim == 0 and bool(torch.isfinite(loss))
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_dice_with_cross_entropy_teaches_an_empty_batch_too() -> None:
    logits = torch.full((2, 1, 16, 16), 2.0, requires_grad=True)
    build_loss("dice+bce")(logits, torch.zeros(2, 1, 16, 16)).backward()
    assert logits.grad is not None and bool((logits.grad > 0).all())


def test_a_sum_is_weighted_as_it_says() -> None:
    truth = reference(1)
    logits = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    bce, dice = (float(build_loss(name)(logits, truth)) for name in ("bce", "dice"))
    for name, expected in (
        ("dice+bce", bce + dice),
        ("0.5*bce + 0.25*dice", 0.5 * bce + 0.25 * dice),
        ("2*bce", 2 * bce),
    ):
        assert float(build_loss(name)(logits, truth)) == pytest.approx(expected)


def test_smooth_dice_is_the_published_formula() -> None:
    truth = reference(1)
    logits = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    soft = logits.sigmoid()
    expected = 1 - (2 * (soft * truth).sum() + 100) / (soft.sum() + truth.sum() + 100)
    assert float(build_loss("dice-smooth100")(logits, truth)) == pytest.approx(float(expected), abs=1e-6)


def test_cross_entropy_of_one_logit_is_binary() -> None:
    truth, logits = reference(1), torch.randn(2, 1, 16, 16)
    assert torch.equal(build_loss("ce")(logits, truth), build_loss("bce")(logits, truth))


def test_lovasz_weighs_a_missed_pixel_by_how_rare_tumour_is() -> None:
    """Four pixels, one of tumour, all errors alike: sorted by weight, the tumour pixel stands for the whole index."""
    truth = torch.zeros(1, 1, 2, 2)
    truth[..., 0, 0] = 1
    logits = torch.zeros(1, 1, 2, 2)
    assert float(build_loss("lovasz-weighted")(logits, truth)) == pytest.approx(4.0)
    assert float(build_loss("lovasz")(logits, truth)) == pytest.approx(1.0)


def test_the_distance_to_a_border_has_a_sign() -> None:
    mask = np.zeros((7, 7), bool)
    mask[2:5, 2:5] = True
    distance = signed_distance(mask)
    assert distance[3, 3] == -1 and distance[2, 2] == 0
    assert distance[3, 0] == 2 and distance[1, 1] == pytest.approx(math.sqrt(2))
    assert not signed_distance(np.ones((4, 4), bool)).any() and not signed_distance(np.zeros((4, 4), bool)).any()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dicee+bce", "'dicee'"),
        ("dice+", "''"),
        ("-0.5*bce", "'-0.5'"),
        ("0*bce", "'0'"),
        ("x*bce", "'x'"),
        ("nan*bce", "'nan'"),
        ("*bce", "''"),
    ],
)
def test_a_wrong_loss_is_named_in_one_line(name: str, says: str) -> None:
    with pytest.raises(RecipeError, match="key 'loss'") as raised:
        build_loss(name)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_binary_cross_entropy_refuses_several_classes() -> None:
    with pytest.raises(RecipeError, match="take ce"):
        build_loss("dice+bce", classes=MANY)
