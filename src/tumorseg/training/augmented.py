"""Scans as training shows them: how well a model bears the changes that it was trained with."""

import zlib
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch

from tumorseg.grid import head_box, plan_grid
from tumorseg.recipe import Recipe
from tumorseg.scan import Mask, Pixels, Scan
from tumorseg.training.augmentation import apply, draw

SEED = 20261121


def augmenter(recipe: Recipe, *, seed: int = SEED) -> Callable[[Scan], Scan]:
    """Give what changes a scan and its reference by the recipe's augmentation, each slice by its own draw.

    The changed scan lies on the recipe's grid and is of the whole grid, never of a patch. The same seed changes the
    same scan in the same way.
    """

    def change(scan: Scan) -> Scan:
        both = cache(partial(_changed, scan, recipe, seed))
        return Scan(
            id=scan.id,
            patient=scan.patient,
            channels=scan.channels,
            read_pixels=lambda: both()[0],
            read_reference=lambda: both()[1],
            slice_numbers=scan.slice_numbers,
            sources=scan.sources,
            institution=scan.institution,
        )

    return change


def _changed(scan: Scan, recipe: Recipe, seed: int) -> tuple[Pixels, Mask]:
    """Pixels (slices, size, size, channels) float32 and reference (slices, size, size) uint8."""
    pixels, reference = scan.pixels, scan.reference
    assert reference is not None
    size = recipe.image_size
    box = head_box(pixels) if recipe.crop == "head" else None
    grid = plan_grid(*pixels.shape[1:3], image_size=size, box=box)
    images = np.stack([grid.apply(frame).astype(np.float32) for frame in pixels])
    masks = np.stack([grid.apply(frame, nearest=True) for frame in reference])
    rng = np.random.default_rng((seed, zlib.crc32(scan.id.encode())))
    changes = draw(recipe.augmentation, batch=len(images), channels=scan.channels, size=size, patch=size, rng=rng)
    flair = scan.channels.index("flair") if "flair" in scan.channels else 0
    black = torch.zeros(images.shape[0], images.shape[-1])
    moved, drawn = apply(
        changes,
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(masks).float()[:, None],
        patch=size,
        fill=black if recipe.augmentation.fill == "black" else None,
        flair=flair,
    )
    return moved.permute(0, 2, 3, 1).numpy(), drawn[:, 0].numpy().astype(np.uint8)
