"""What a synthetic head shows beside its anatomy: lesions, and bright structures that are none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.phantom_anatomy import HALF_HEIGHT, Head, Layer, Volume, between, ramp, smooth_field
from tumorseg.scan import Mask


@dataclass(frozen=True)
class Lesion:
    """Where a lesion sits and how it looks.

    Attributes:
        x, y: pixels from the midline and from the centre.
        height: 0 at the skull base to 1 at the vertex.
        radius: pixels.
        stretch: how much longer it is from front to back than from left to right.
        contrast: how much brighter than white matter it is on FLAIR, in units of the brightness of fat.
        darkness: how much darker it is on the pre-contrast image.
        infiltrates: whether it spreads along the white matter and spares the cortex.
        necrotic: whether its core is dead tissue, dark in all sequences.
        enhances: whether its core's border lights up after contrast.
    """

    x: float
    y: float
    height: float
    radius: float
    stretch: float
    contrast: float
    darkness: float
    infiltrates: bool
    necrotic: bool
    enhances: bool

    @property
    def push(self) -> tuple[float, float, float, float, float]:
        """How it presses the brain aside, as `build_head` takes it."""
        return (self.x, self.y, self.height, self.radius, 2.0)


@dataclass(frozen=True)
class PaintedLesion:
    """Weights of a lesion on a head, each (slices, 256, 256) float32, 0 to 1.

    Attributes:
        body: the abnormal tissue, all of it; above one half it belongs to the reference mask.
        core: dead tissue within.
        ring: the border of the core that takes up contrast.
        texture: unit variance, what the brightness within varies with.
    """

    lesion: Lesion
    body: Volume
    core: Volume
    ring: Volume
    texture: Volume


def draw_lesion(rng: np.random.Generator, heights: NDArray[np.float32]) -> Lesion:
    """A lesion at a place where there is brain, its centre on one of the slices."""
    height = float(heights[np.abs(heights - rng.uniform(0.33, 0.80)).argmin()])
    reach = float(np.sqrt(max(0.1, 1 - ((height - 0.42) / 0.66) ** 2)))
    angle, out = rng.uniform(0.25, np.pi - 0.25), rng.uniform(0.35, 0.72)
    side = rng.choice((-1.0, 1.0))
    radius = float(np.exp(rng.uniform(np.log(13), np.log(30)))) * min(1.0, 0.35 + 0.65 * reach)
    return Lesion(
        x=float(side * np.sin(angle) * out * 58 * reach),
        y=float(-np.cos(angle) * out * 74 * reach),
        height=height,
        radius=radius,
        stretch=float(rng.uniform(0.8, 1.5)),
        contrast=float(rng.uniform(0.21, 0.44)),
        darkness=float(rng.uniform(0.12, 0.24)),
        infiltrates=bool(rng.random() < 0.6),
        necrotic=bool(radius > 17 and rng.random() < 0.4),
        enhances=bool(rng.random() < 0.5),
    )


def paint_lesion(rng: np.random.Generator, head: Head, lesion: Lesion) -> PaintedLesion:
    """The lesion on this head: irregular, outside the ventricles, within the brain."""
    off_x, off_y = head.x - lesion.x, (head.y - lesion.y) / lesion.stretch
    off_z = (head.heights[:, None, None] - lesion.height) * (2 * HALF_HEIGHT)
    distance = np.sqrt(off_x**2 + off_y**2 + off_z**2)
    lumps = smooth_field(rng, head.heights, max(7.0, 0.55 * lesion.radius))
    edge = smooth_field(rng, head.heights, 6.0)
    signed = lesion.radius - distance + np.float32(0.24 * lesion.radius) * lumps
    if lesion.infiltrates:
        signed = signed + 1.6 * edge - np.float32(0.30 * lesion.radius) * head.ribbon
    signed = np.maximum(np.minimum(signed, 1.35 * lesion.radius - distance), 4 - distance)
    body = ramp(signed, 1.6) * ramp(head.depth - 0.5, 1.0) * (1 - head.ventricle)
    hollow = signed - np.float32(0.55 * lesion.radius) + 2.5 * edge
    core = ramp(hollow, 1.2) * body if lesion.necrotic else np.zeros_like(body)
    ring = between(hollow, -3.0, 0.5, 1.0) * body if lesion.enhances else np.zeros_like(body)
    return PaintedLesion(lesion, body, core, ring, smooth_field(rng, head.heights, 5.0))


def reference_of(painted: list[PaintedLesion]) -> Mask:
    """(slices, 256, 256) uint8 0/255: where a lesion covers more than half of a pixel, specks removed."""
    from scipy import ndimage

    mask = np.zeros(painted[0].body.shape, dtype=bool)
    for lesion in painted:
        mask |= lesion.body > 0.5
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    keep = sizes >= min(40, sizes[1:].max(initial=0))
    keep[0] = False
    return np.asarray(keep[parts] * np.uint8(255), dtype=np.uint8)


def bright_structures(rng: np.random.Generator, head: Head, *, blood: bool) -> list[Layer]:
    """Bright on FLAIR, and no lesion: spots, caps, a rim; and vessels, which only contrast lights up.

    Args:
        rng: source of all that varies.
        head: where they lie.
        blood: add what is bright before contrast too, as old blood or thick fluid is. Without a true
            pre-contrast image nothing tells these from a lesion, so such patients have none.
    """
    from scipy import ndimage

    h = head.heights[:, None, None]
    inside = ramp(head.depth - 1, 1.0)
    layers = []
    if rng.random() < 0.6:
        speckle = smooth_field(rng, head.heights, 3.4)
        spots = ramp(speckle - rng.uniform(2.9, 3.4), 0.35) * ramp(head.depth - 6, 2) * (1 - head.ribbon)
        layers.append(Layer("spot", spots * (h > 0.3)))
    halo = ndimage.gaussian_filter(head.ventricle, (0, 2.4, 2.4)) * (1 - head.ventricle)
    tips = np.clip((np.abs(head.y - 4) - 20) / 8, rng.uniform(0.05, 0.35), 1)
    layers.append(Layer("cap", np.clip(halo * rng.uniform(1.6, 3.2), 0, 1) * tips * inside))
    rim = between(head.depth, -2.5, rng.uniform(0.5, 3.0), 1.0) * ramp(head.bend - rng.uniform(0.4, 1.4), 0.3)
    layers.append(Layer("rim", rim))
    for _ in range(rng.integers(0, 3) if blood else 0):
        centre = draw_lesion(rng, head.heights)
        radius = rng.uniform(6, 14)
        off_z = (h - centre.height) * (2 * HALF_HEIGHT)
        distance = np.sqrt((head.x - centre.x) ** 2 + ((head.y - centre.y) / centre.stretch) ** 2 + off_z**2)
        layers.append(Layer("blood", ramp(radius - distance + 1.5 * head.bend, 1.4) * inside))
    layers.append(Layer("vessel", _vessels(rng, head)))
    return layers


def _vessels(rng: np.random.Generator, head: Head) -> Volume:
    """Winding tubes near the surface, and the large sinus along the midline at the back."""
    first, second = smooth_field(rng, head.heights, 13.0), smooth_field(rng, head.heights, 13.0)
    off = np.hypot(
        first / np.maximum(np.hypot(*np.gradient(first, axis=(1, 2))), 0.03),
        second / np.maximum(np.hypot(*np.gradient(second, axis=(1, 2))), 0.03),
    )
    tubes = ramp(1.3 - off, 0.6) * ramp(head.depth + 2, 1) * ramp(rng.uniform(10, 18) - head.depth, 3)
    sinus = ramp(3.5 - np.hypot(head.x * 1.1, head.depth + 2.5), 1.0) * (head.y > 0)
    vessels: Volume = np.maximum(tubes, sinus)
    return vessels
