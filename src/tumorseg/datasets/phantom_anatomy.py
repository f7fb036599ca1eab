"""Anatomy of a synthetic head: which tissue lies where, as soft weights on a stack of axial slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Volume = NDArray[np.float32]
"""(slices, 256, 256), float32."""

SIDE = 256
HALF_HEIGHT = 62.0
"""Pixels of in-plane size that the unit of height, skull base to vertex, corresponds to, halved."""


@dataclass(frozen=True)
class Layer:
    """One coat of paint: where `weight` is 1 the tissue covers all that was painted before it.

    Attributes:
        tissue: a key of the tables of brightness.
        weight: (slices, 256, 256) float32, 0 to 1.
    """

    tissue: str
    weight: Volume


@dataclass(frozen=True)
class Head:
    """The coats in order, and the fields in which lesions are placed.

    Attributes:
        layers: from the outermost to the innermost.
        heights: (slices,), 0 at the skull base to 1 at the vertex.
        x, y: (slices, 256, 256), pixels from the midline to the patient's left, and from the centre to the back.
        depth: (slices, 256, 256), pixels below the surface of the brain; negative outside.
        ventricle: (slices, 256, 256), weight of the ventricles.
        ribbon: (slices, 256, 256), weight of the cortex.
        bend: (slices, 256, 256), a smooth field of unit variance that anatomy varies with.
    """

    layers: tuple[Layer, ...]
    heights: NDArray[np.float32]
    x: Volume
    y: Volume
    depth: Volume
    ventricle: Volume
    ribbon: Volume
    bend: Volume


def smooth_field(rng: np.random.Generator, heights: NDArray[np.float32], scale: float) -> Volume:
    """A Gaussian random field of unit variance that changes over about `scale` pixels in all three directions.

    Args:
        rng: source of the control points.
        heights: (slices,), 0 to 1.
        scale: spacing of the control points in pixels.

    Returns:
        (slices, 256, 256) float32.
    """
    across = _spread(np.arange(SIDE, dtype=np.float32), scale)
    through = _spread(heights * (2 * HALF_HEIGHT), scale)
    height, side = through.shape[1], across.shape[1]
    points = rng.standard_normal((height, side * side), dtype=np.float32)
    planes = (through @ points).reshape(-1, side, side)
    columns = across @ planes.transpose(2, 0, 1).reshape(side, -1)
    rows = across @ columns.reshape(SIDE, -1, side).transpose(2, 1, 0).reshape(side, -1)
    return np.ascontiguousarray(rows.reshape(SIDE, -1, SIDE).transpose(1, 0, 2))


def _spread(positions: NDArray[np.float32], scale: float) -> "csr_array":
    """(positions, control points) Gaussian weights whose squares sum to 1, so that the variance stays 1.

    Sparse, since each position feels a few control points only, and since sparse products do not start
    threads of their own, which would compete with the ones that draw other patients.
    """
    from scipy.sparse import csr_array

    first, last = float(positions.min()), float(positions.max())
    centres = np.arange(first - 2 * scale, last + 3 * scale, scale, dtype=np.float32)
    weights = np.exp(-0.5 * ((positions[:, None] - centres) / (0.75 * scale)) ** 2)
    weights[weights < 0.01] = 0
    return csr_array((weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32))


def ramp(value: NDArray[np.floating[Any]], width: float = 0.8) -> Volume:
    """0 below -width, 1 above width, a straight line between: an edge as a scanner's pixels see it."""
    weight: Volume = np.clip(value / np.float32(2 * width) + np.float32(0.5), 0, 1, dtype=np.float32)
    return weight


def between(value: Volume, low: Volume | float, high: Volume | float, width: float = 0.8) -> Volume:
    """Weight of the band low < value < high."""
    return ramp(value - np.float32(low), width) * ramp(np.float32(high) - value, width)


def slice_heights(rng: np.random.Generator, slices: int) -> NDArray[np.float32]:
    """(slices,) even steps from the skull base, 0, to the vertex, 1; a few slices stay where the brain is wide."""
    if slices == 1:
        return np.full(1, 0.6, dtype=np.float32)
    low, high = (0.36, 0.78) if slices < 5 else (rng.uniform(0.03, 0.09), rng.uniform(0.93, 0.97))
    return np.linspace(low, high, slices, dtype=np.float32)


def build_head(
    rng: np.random.Generator,
    heights: NDArray[np.float32],
    push: Sequence[tuple[float, float, float, float, float]],
) -> Head:
    """A head of random size, pose and anatomy.

    Args:
        rng: source of all that varies.
        heights: of the slices, as `slice_heights` gives them.
        push: masses that press the brain aside, each (x, y, height, radius, strength) in pixels but the height.
    """
    x, y = _pose(rng, heights)
    h = heights[:, None, None]
    rough = smooth_field(rng, heights, 26.0)
    bend = smooth_field(rng, heights, 60.0)
    distance = np.hypot(x, y)
    surface = _head_radius(rng, x, y, distance, h) + 1.2 * rough
    depth = surface - distance
    layers, depth = _shell(rng, depth, x, y, h, rough, bend)
    for at_x, at_y, at_height, radius, strength in push:
        off = (x - at_x) ** 2 + (y - at_y) ** 2 + ((h - at_height) * 2 * HALF_HEIGHT) ** 2
        squeeze = strength * np.exp(-off / np.float32(2 * (1.6 * radius) ** 2)) / radius
        x = x - (x - at_x) * squeeze
        y = y - (y - at_y) * squeeze
    x_warped = x + 2.6 * smooth_field(rng, heights, 42.0)
    y_warped = y + 2.6 * smooth_field(rng, heights, 42.0)
    inner, ribbon, ventricle = _brain(rng, depth, x_warped, y_warped, h, heights)
    base = _skull_base(rng, depth, x_warped, y_warped, h, heights)
    return Head((*layers, *inner, *base), heights, x, y, depth, ventricle, ribbon, bend)


def _pose(rng: np.random.Generator, heights: NDArray[np.float32]) -> tuple[Volume, Volume]:
    """Coordinates in the head's own frame: turned, shifted, scaled, and a little uneven."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - np.float32(SIDE / 2)
    angle = np.deg2rad(rng.normal(0, 3.5))
    size = rng.uniform(0.98, 1.14)
    columns, rows = columns - rng.normal(0, 4), rows - rng.normal(4, 4)
    x = (columns * np.cos(angle) + rows * np.sin(angle)) / size
    y = (rows * np.cos(angle) - columns * np.sin(angle)) / size
    tilt = rng.normal(0, 3) * (heights - 0.5)
    wave_x, wave_y = smooth_field(rng, heights, 70.0), smooth_field(rng, heights, 70.0)
    x3 = x[None] + 1.6 * wave_x
    y3 = y[None] + tilt[:, None, None] + 1.6 * wave_y
    return x3.astype(np.float32), y3.astype(np.float32)


def _head_radius(rng: np.random.Generator, x: Volume, y: Volume, distance: Volume, h: Volume) -> Volume:
    """Distance from the centre to the skin in the direction of each pixel: an egg, with a nose and ears below."""
    width, length = rng.uniform(71, 77), rng.uniform(90, 97)
    profile = np.where(
        h < 0.42, 1 - 0.05 * ((0.42 - h) / 0.42) ** 2, np.sqrt(np.clip(1 - ((h - 0.42) / 0.66) ** 2, 0.05, 1))
    )
    cosine, sine = x / np.maximum(distance, 1), y / np.maximum(distance, 1)
    across = width * profile * (1 + 0.09 * sine)
    radius = 1 / np.sqrt((cosine / across) ** 2 + (sine / (length * profile)) ** 2)
    nose = np.exp(-((cosine / 0.11) ** 2)) * (sine < 0) * np.clip((0.2 - h) / 0.1, 0, 1) * rng.uniform(9, 16)
    ears = np.exp(-(((sine - 0.12) / 0.1) ** 2)) * np.clip((0.16 - h) / 0.06, 0, 1) * rng.uniform(4, 9)
    whole: Volume = (radius + nose + ears).astype(np.float32)
    return whole


def _shell(
    rng: np.random.Generator, depth: Volume, x: Volume, y: Volume, h: Volume, rough: Volume, bend: Volume
) -> tuple[list[Layer], Volume]:
    """Skin, fat, muscle, the three tables of the skull, dura and the fluid below it; and the depth below those."""
    layers = [Layer("skin", ramp(depth))]
    fat = np.clip(rng.uniform(2.5, 6.0) + 1.2 * bend + 0.9 * rough + 0.015 * y, 1.2, 10)
    start = 1.5
    layers.append(Layer("fat", between(depth, start, start + fat)))
    muscle = 9 * np.clip((0.45 - h) / 0.3, 0, 1) * np.exp(-(((y + 8) / 34) ** 2)) + 0.4
    layers.append(Layer("muscle", between(depth, start + fat, start + fat + muscle)))
    outer = start + fat + muscle
    tables = rng.uniform(1.6, 2.4)
    marrow = np.clip(rng.uniform(1.0, 3.6) + 1.1 * rough + 2 * np.clip((h - 0.6), 0, 1), 0.3, 6)
    gap = np.clip(rng.uniform(0.8, 2.6) + 0.7 * bend, 0.4, 5)
    inner = outer + 2 * tables + marrow
    layers.append(Layer("bone", ramp(depth - outer)))
    layers.append(Layer("marrow", between(depth, outer + tables, outer + tables + marrow, 1.0)))
    layers.append(Layer("dura", between(depth, inner, inner + 1.3, 0.6)))
    layers.append(Layer("fluid", ramp(depth - inner - 1.3, 0.7)))
    return layers, (depth - inner - 1.3 - gap).astype(np.float32)


def _brain(
    rng: np.random.Generator, depth: Volume, x: Volume, y: Volume, h: Volume, heights: NDArray[np.float32]
) -> tuple[list[Layer], Volume, Volume]:
    """White matter, the folded cortex, deep grey matter, fissures, ventricles with their plexus."""
    winding = rng.uniform(5.0, 6.2)
    fold = np.where(x < -0.5, smooth_field(rng, heights, winding), smooth_field(rng, heights, winding))
    slope = np.hypot(*np.gradient(fold, axis=(1, 2)))
    sulcus = np.abs(fold) / np.maximum(slope, 0.03)
    reach = rng.uniform(19, 26) + 6 * smooth_field(rng, heights, 30.0)
    fissure = np.abs(x + 0.5) + 40 * np.clip(1 - h / 0.16, 0, 1)
    bridged = np.clip((0.66 - h) / 0.05, 0, 1) * ramp(38 - np.abs(y + 4), 3)
    fissure = fissure + 30 * bridged
    near = sulcus + np.clip(depth - reach, 0, 40) * 0.8
    to_fluid = np.minimum(np.minimum(depth, near), fissure)
    thickness = rng.uniform(3.8, 5.0)
    ribbon = ramp(thickness - to_fluid, 1.1)
    opening = rng.uniform(0.4, 1.3)
    inside = ramp(depth, 0.8)
    wide = opening * (0.6 + 0.6 * np.clip(1 - depth / 14, 0, 1))
    furrows = ramp(wide - np.minimum(near, fissure - 0.5), 0.7) * inside
    layers = [Layer("white", inside), Layer("grey", ribbon * inside)]
    for at_x, at_y, half_x, half_y, low, high in (
        (25, 2, 7, 16, 0.30, 0.50),
        (10, 14, 8, 11, 0.32, 0.50),
        (13, -18, 5, 9, 0.36, 0.56),
    ):
        oval = np.hypot((np.abs(x) - at_x) / half_x, (y - at_y) / half_y)
        level = ramp(np.minimum(h - low, high - h) * (2 * HALF_HEIGHT), 4)
        layers.append(Layer("nucleus", ramp((1 - oval) * min(half_x, half_y), 1.5) * level))
    speckle = smooth_field(rng, heights, 8.0)
    sylvian = np.abs(y + 12 - 0.55 * (np.abs(x) - 40) - 2.5 * speckle) + 0.35 * np.clip(38 - np.abs(x), 0, 60)
    sylvian = sylvian + 60 * np.clip(np.abs(h - 0.36) / 0.12 - 0.5, 0, 1)
    layers.append(Layer("grey", ramp(thickness + 1 - sylvian, 1.2) * inside))
    layers.append(Layer("fluid", np.maximum(furrows, ramp(1.1 + opening - sylvian, 0.8) * inside)))
    falx = ramp(0.7 - np.abs(x + 0.5), 0.5) * (1 - np.clip(bridged, 0, 1)) * (h > 0.3) * (depth > -2)
    layers.append(Layer("falx", (falx * (np.abs(y) > 14)).astype(np.float32)))
    ventricle, plexus = _ventricles(rng, x, y, h)
    ventricle = ventricle * inside
    layers += [Layer("fluid", ventricle), Layer("plexus", plexus * inside)]
    return layers, ribbon, ventricle


def _ventricles(rng: np.random.Generator, x: Volume, y: Volume, h: Volume) -> tuple[Volume, Volume]:
    """The lateral ventricles as two bowed bands, the third between them, and the plexus at their back."""
    width, length = rng.uniform(3.0, 7.5), rng.uniform(36, 44)
    along = (y - 4) / length
    bow = 6 + 0.6 * width + 17 * np.clip(along - 0.1, 0, 1) ** 1.3 + 7 * np.clip(-along - 0.35, 0, 1)
    up = np.clip(1 - ((h - 0.50) / 0.15) ** 2, 0, 1)
    waist = 0.55 + 0.6 * (along - 0.1) ** 2 + 0.25 * (h > 0.52)
    half = width * np.sqrt(up) * waist * np.sqrt(np.clip(1 - along**2, 0, 1))
    lateral = ramp(half - np.abs(np.abs(x) - bow), 0.8) * (half > 0.4)
    low = np.clip(1 - ((h - 0.38) / 0.09) ** 2, 0, 1)
    slit = rng.uniform(0.8, 2.0) * np.sqrt(low) * (0.5 + 0.5 * np.cos(0.12 * (y - 4)))
    third = ramp(slit - np.abs(x), 0.7) * ramp(16 - np.abs(y - 4), 2) * (low > 0)
    oval = np.hypot((np.abs(x) - bow) / 3.2, (along - 0.58) / 0.16)
    plexus = ramp(2.2 * (1 - oval), 0.8) * (np.abs(h - 0.48) < 0.07)
    return np.maximum(lateral, third).astype(np.float32), plexus.astype(np.float32)


def _skull_base(
    rng: np.random.Generator, depth: Volume, x: Volume, y: Volume, h: Volume, heights: NDArray[np.float32]
) -> list[Layer]:
    """Cerebellum, brain stem, petrous bones, orbits and nose, painted over the lowest slices."""
    low = np.flatnonzero(heights < 0.28)
    speckle = smooth_field(rng, heights, 6.0)[low]
    everywhere, depth, x, y, h = depth.shape, depth[low], x[low], y[low], h[low]
    inside = ramp(depth, 0.8)
    level = np.clip((0.27 - h) / 0.05, 0, 1)
    oval = np.hypot(x / 50, (y - 46) / 34)
    cerebellum = ramp((1 - oval) * 34, 1) * level * inside
    leaf = np.sin((np.hypot(np.abs(x) * 0.8, y - 20) + 3 * speckle) * 1.15)
    vermis = np.hypot(x / 4.5, (y - 32) / 6)
    stem = ramp((1 - np.hypot(x / 14, (y - 12) / 13)) * 13, 1) * level * inside
    layers = [
        Layer("fluid", ramp((1.07 - oval) * 34, 1) * level * inside),
        Layer("grey", cerebellum),
        Layer("white", cerebellum * np.clip(0.35 + 0.5 * leaf, 0, 1) * ramp((oval - 0.2) * 20, 4)),
        Layer("white", stem),
        Layer("fluid", ramp((1 - vermis) * 5, 1) * level * inside),
    ]
    front = -16 - 300 * np.clip(h - 0.03, 0, 1)
    face = ramp(front - y + 4 * speckle * 0.4, 1.5) * ramp(depth + 4, 1.5) * (h < 0.24)
    ridge = np.abs(y - 14 - 0.38 * (np.abs(x) - 20)) - 3.5 - 2.5 * speckle
    petrous = ramp(-ridge, 1) * ramp(np.abs(x) - 19, 2) * np.clip((0.17 - h) / 0.04, 0, 1) * ramp(depth + 5, 1)
    layers += [Layer("bone", petrous), Layer("bone", face), Layer("soft", face * np.clip(0.35 + 0.5 * speckle, 0, 1))]
    eyes = np.hypot(np.abs(x) - 32, y + 66)
    orbit = np.hypot((np.abs(x) - 29) / 17, (y + 58) / 21)
    layers.append(Layer("fat", ramp((1 - orbit) * 17, 1.2) * face))
    layers.append(Layer("muscle", ramp(1.6 - np.abs(np.abs(x) - 31 + 0.25 * (y + 45)), 0.8) * face * (orbit < 0.95)))
    layers.append(Layer("eye", ramp(11 - eyes, 0.8) * face))
    nose = ramp(11 - np.abs(x), 1) * face * (y > -100)
    layers.append(Layer("air", nose))
    turbinate = ramp(1.2 + speckle - np.abs(np.abs(x) - 6 - 1.5 * np.sin(y / 5)), 0.8)
    layers.append(Layer("mucosa", np.maximum(turbinate, ramp(1.2 - np.abs(x), 0.6)) * nose))
    whole = []
    for layer in layers:
        weight = np.zeros(everywhere, dtype=np.float32)
        weight[low] = layer.weight
        whole.append(Layer(layer.tissue, weight))
    return whole
