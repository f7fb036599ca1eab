"""Fading tumours: what changes, how far, and what must not."""

import numpy as np
import torch

from tumorseg.recipe import Augmentation
from tumorseg.training.augmentation import draw
from tumorseg.training.lesion_fading import RING, SEAM, Fading, draw_fading, fade

CHANNELS = ("pre", "flair", "post")


def head_with_tumour() -> tuple[torch.Tensor, torch.Tensor]:
    """Two slices of a textured head of 0.5; only the first has a tumour, of 0.9 in FLAIR."""
    random = torch.Generator().manual_seed(0)
    images = 0.5 + 0.02 * torch.randn((2, 3, 96, 96), generator=random)
    images[:, :, :8] = 0  # air
    masks = torch.zeros((2, 1, 96, 96))
    masks[0, 0, 40:64, 40:64] = 1
    images[0, 1, 40:64, 40:64] += 0.4
    return images, masks


def contrast(images: torch.Tensor, masks: torch.Tensor) -> float:
    inside = masks[0, 0] > 0
    return float(images[0, 1][inside].mean() - images[0, 1, 24:36, 24:72].mean())


def everywhere(amount: float) -> Fading:
    amounts = np.zeros((2, 3), np.float32)
    amounts[:, 1] = amount
    return Fading(amounts, np.ones((2, 1, 4, 4), np.float32))


def test_a_tumour_loses_the_share_of_its_contrast_that_was_drawn() -> None:
    images, masks = head_with_tumour()
    before = contrast(images, masks)
    core = torch.zeros_like(masks)
    core[0, 0, 40 + SEAM : 64 - SEAM, 40 + SEAM : 64 - SEAM] = 1
    assert contrast(fade(everywhere(1.0), images, masks), core) < 0.1 * before
    assert abs(contrast(fade(everywhere(0.5), images, masks), core) - 0.5 * before) < 0.1 * before


def test_what_is_far_from_a_tumour_and_slices_without_one_stay_as_they_are() -> None:
    images, masks = head_with_tumour()
    faded = fade(everywhere(1.0), images, masks)
    assert torch.equal(faded[1], images[1])
    assert torch.equal(faded[0, [0, 2]], images[0, [0, 2]])
    far = torch.nn.functional.max_pool2d(masks[:1], SEAM, stride=1, padding=SEAM // 2)[0, 0] == 0
    assert torch.equal(faded[0, 1][far], images[0, 1][far])


def test_a_tumour_that_fills_the_frame_stays_as_it_is() -> None:
    images, _ = head_with_tumour()
    assert torch.equal(fade(everywhere(1.0), images, torch.ones((2, 1, 96, 96))), images)
    assert RING < 96


def test_switched_off_it_draws_nothing_and_other_draws_are_as_before() -> None:
    def drawn(recipe: Augmentation) -> tuple[np.ndarray, int, object]:
        changes = draw(recipe, batch=4, channels=CHANNELS, size=64, patch=64, rng=np.random.default_rng(1))
        return changes.matrix, changes.noise_seed, changes.fading

    plain, faded = Augmentation(flip_horizontal=0.5), Augmentation(flip_horizontal=0.5, fade_lesion=1.0)
    assert drawn(plain)[2] is None and drawn(faded)[2] is not None
    assert np.array_equal(drawn(plain)[0], drawn(faded)[0]) and drawn(plain)[1] == drawn(faded)[1]


def test_amounts_are_shares_and_flair_fades_most() -> None:
    fading = draw_fading(0.5, batch=400, channels=CHANNELS, rng=np.random.default_rng(2))
    assert fading is not None
    chosen = fading.amounts[:, 1] > 0
    assert 0.4 < chosen.mean() < 0.6
    assert fading.amounts.min() >= 0 and fading.amounts.max() <= 1
    assert not fading.amounts[~chosen].any()
    assert fading.amounts[chosen, 1].min() >= 0.3 and fading.amounts[:, [0, 2]].max() <= 0.7
