"""Random changes to whole batches on the training device: drawn first, applied after, so any can be replayed."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from tumorseg.recipe import Augmentation
from tumorseg.training.lesion_fading import Fading, draw_fading, fade


@dataclass(frozen=True, eq=False)
class Changes:
    """What was drawn for one batch of B slices.

    Attributes:
        matrix: (B, 2, 2) float32: from a place in the patch to a place in the frame, both (x, y) from their centres.
        centre: (B, 2) float32: (x, y) of the patch's centre from the frame's centre, in pixels.
        displacement: (B, 2, rows, columns) float32: coarse control points of an elastic change, in pixels; or None.
        intensity: (B, channels, 4) float32: brightness, contrast, log gamma, noise; or None.
        dropped: (B, channels) bool: sequences that are replaced by FLAIR.
        noise_seed: of the noise, which is drawn on the device.
        moves: whether matrix, centre and displacement change anything.
        fading: tumours that lose their contrast; or None.
    """

    matrix: NDArray[np.float32]
    centre: NDArray[np.float32]
    displacement: NDArray[np.float32] | None
    intensity: NDArray[np.float32] | None
    dropped: NDArray[np.bool_]
    noise_seed: int
    moves: bool
    fading: Fading | None = None


def draw(
    recipe: Augmentation, *, batch: int, channels: tuple[str, ...], size: int, patch: int, rng: Generator
) -> Changes:
    """Draw the changes of one batch.

    Args:
        recipe: how much of what.
        batch: slices.
        channels: names, to know which sequences can be dropped.
        size, patch: side of the frame and of the patch that is cut out of it, in pixels.
        rng: the only source of randomness.
    """
    matrix = np.stack([_draw_matrix(recipe, rng) for _ in range(batch)]).astype(np.float32)
    room = (size - patch) / 2
    centre = rng.uniform(-room, room, (batch, 2)) if room > 0 else np.zeros((batch, 2))
    shifted = rng.random((batch, 1)) < recipe.affine_probability
    centre = centre + shifted * rng.uniform(-1, 1, (batch, 2)) * recipe.shift * size
    displacement = None
    if recipe.elastic_probability > 0:
        points = max(2, patch // recipe.elastic_spacing)
        bent = rng.random((batch, 1, 1, 1)) < recipe.elastic_probability
        displacement = (bent * rng.normal(0, recipe.elastic_amplitude, (batch, 2, points, points))).astype(np.float32)
    moves = room > 0 or displacement is not None or bool(np.any(centre)) or not np.allclose(matrix, np.eye(2))
    return Changes(
        matrix=matrix,
        centre=centre.astype(np.float32),
        displacement=displacement,
        intensity=_draw_intensity(recipe, batch, len(channels), rng),
        dropped=_draw_dropped(recipe, batch, channels, rng),
        noise_seed=int(rng.integers(2**31)),
        moves=moves,
        fading=draw_fading(recipe.fade_lesion, batch=batch, channels=channels, rng=rng),
    )


def apply(
    changes: Changes, images: Tensor, masks: Tensor, *, patch: int, fill: Tensor | None, flair: int
) -> tuple[Tensor, Tensor]:
    """Apply what was drawn.

    Args:
        changes: from `draw`.
        images: (B, C, H, W) float, normalised; C counts the channels of a slice and then those of its neighbours,
            which change alike, each with noise of its own.
        masks: (B, 1, H, W) float.
        patch: side of what is returned.
        fill: (B, C) value of black, for what lies outside the frame; None takes the nearest pixel.
        flair: index of the FLAIR channel.

    Returns:
        Images (B, C, patch, patch) and masks (B, 1, patch, patch).
    """
    if changes.fading is not None:
        images = fade(changes.fading, images, masks)
    if changes.dropped.any():
        dropped = torch.from_numpy(changes.dropped).to(images.device)[:, None, :, None, None]
        stack = _each_slice(images, changes.dropped.shape[1])
        images = torch.where(dropped, stack[:, :, flair : flair + 1], stack).flatten(1, 2)
    if changes.moves:
        images, masks = _move(changes, images, masks, patch=patch, fill=fill)
    if changes.intensity is not None:
        images = _recolour(images, torch.from_numpy(changes.intensity).to(images.device), changes.noise_seed)
    return images, masks


def _each_slice(images: Tensor, channels: int) -> Tensor:
    """(B, slices * channels, H, W) as (B, slices, channels, H, W)."""
    return images.reshape(len(images), -1, channels, *images.shape[2:])


def _draw_matrix(recipe: Augmentation, rng: Generator) -> NDArray[np.float64]:
    matrix = np.eye(2)
    if rng.random() < recipe.flip_horizontal:
        matrix = np.diag([-1.0, 1.0]) @ matrix
    if rng.random() < recipe.flip_vertical:
        matrix = np.diag([1.0, -1.0]) @ matrix
    if rng.random() < recipe.quarter_turns:
        matrix = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), int(rng.integers(1, 4))) @ matrix
    if rng.random() < recipe.affine_probability:
        angle = math.radians(rng.uniform(-recipe.rotation, recipe.rotation))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        lean = np.array([[1.0, math.tan(math.radians(rng.uniform(-recipe.shear, recipe.shear)))], [0.0, 1.0]])
        # Places in the patch are sent to places in the frame, so an enlarged head needs the inverse of its factor.
        factor = math.exp(rng.uniform(math.log(recipe.scale[0]), math.log(recipe.scale[1])))
        matrix = turn @ lean @ matrix / factor
    return matrix


def _draw_intensity(recipe: Augmentation, batch: int, channels: int, rng: Generator) -> NDArray[np.float32] | None:
    largest = np.array([recipe.brightness, recipe.contrast, recipe.gamma, recipe.noise])
    if recipe.intensity_probability == 0 or not largest.any():
        return None
    chosen = rng.random((batch, 1, 4)) < recipe.intensity_probability
    amounts = rng.uniform(-1, 1, (batch, channels, 4)) * largest * chosen
    amounts[..., 3] = np.abs(amounts[..., 3])
    return np.asarray(amounts, np.float32)


def _draw_dropped(recipe: Augmentation, batch: int, channels: tuple[str, ...], rng: Generator) -> NDArray[np.bool_]:
    dropped = np.zeros((batch, len(channels)), bool)
    chance = rng.random(batch)
    bounds = np.cumsum([recipe.drop_both, recipe.drop_pre, recipe.drop_post])
    for name, first, last in (("pre", bounds[0], bounds[1]), ("post", bounds[1], bounds[2])):
        if name in channels and "flair" in channels:
            dropped[:, channels.index(name)] = (chance < bounds[0]) | ((chance >= first) & (chance < last))
    return dropped


def _move(changes: Changes, images: Tensor, masks: Tensor, *, patch: int, fill: Tensor | None) -> tuple[Tensor, Tensor]:
    """One resampling for every change of place, the cut to the patch included."""
    device, (height, width) = images.device, images.shape[-2:]
    axis = torch.arange(patch, device=device, dtype=torch.float32) - (patch - 1) / 2
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(1, -1, 2)
    matrix = torch.from_numpy(changes.matrix).to(device)
    centre = torch.from_numpy(changes.centre).to(device)
    places = (places @ matrix.transpose(1, 2) + centre[:, None]).reshape(-1, patch, patch, 2)
    if changes.displacement is not None:
        coarse = torch.from_numpy(changes.displacement).to(device)
        smooth = F.interpolate(coarse, (patch, patch), mode="bicubic", align_corners=True)
        places = places + smooth.permute(0, 2, 3, 1)
    places = places * torch.tensor([2 / width, 2 / height], device=device)
    padding = "border" if fill is None else "zeros"
    black = 0 if fill is None else fill[:, :, None, None]
    images = F.grid_sample(images - black, places, "bilinear", padding, align_corners=False).add_(black)
    return images, F.grid_sample(masks, places, "nearest", padding, align_corners=False)


def _recolour(images: Tensor, amounts: Tensor, noise_seed: int) -> Tensor:
    """Gamma, contrast, brightness and noise, each channel by its own draw; black stays black under gamma."""
    shape, axes = images.shape, (1, 3, 4)
    images = _each_slice(images, amounts.shape[1])
    brightness, contrast, gamma, noise = (amounts[:, None, :, index, None, None] for index in range(4))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    # In place wherever it can be: these are the largest arrays of a step, and memory is what they wait for.
    unit = (images - low).div_(span)
    bent = torch.nonzero((gamma != 0).flatten(1).any(1))[:, 0]  # powers are dear, and most slices have none
    if len(bent):
        some, powers = unit[bent], gamma[bent]
        unit[bent] = torch.where(powers == 0, some, some.clamp_min(1e-6).pow_(powers.exp()))
    mean = unit.mean(axes, keepdim=True)
    unit.sub_(mean).mul_(1 + contrast).add_(mean).add_(brightness)
    if bool((noise > 0).any()):
        generator = torch.Generator(images.device).manual_seed(noise_seed)
        unit.add_(torch.randn(images.shape, generator=generator, device=images.device).mul_(noise))
    return unit.mul_(span).add_(low).reshape(shape)
