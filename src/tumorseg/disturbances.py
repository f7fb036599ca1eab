"""What scanners, patients and exports do to images, in five strengths each. Pure functions, NumPy in and NumPy out.

Each is defined as MONAI or TorchIO define theirs, on one common scale: within a scan, 0 is a sequence's 0.5th and 1
its 99.5th percentile. Randomness is drawn first and applied after, slice by slice. A seed draws the same places and
directions at every strength, so that strengths of one scan differ in the strength alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5

GHOSTS = 4
"""Copies of the head that disturbed lines of k-space make."""

CENTRE = 0.02
"""Share of k-space around its middle that ghosts leave alone, since it holds the overall brightness."""

HEAD = 0.7
"""Radius, of a frame's half sides, within which a bias field spans its ratio: in the air of corners none is seen."""

_DEGREE = 3
_COARSE = 33

Array = NDArray[Any]
Frame = NDArray[np.float32]
"""(height, width, channels) float32, one slice on the common scale."""

Shape = tuple[int, int, int, int]
"""(slices, height, width, channels)."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn for one scan.

    Attributes:
        frame: changes a slice, given with its index.
        mask: moves a slice's reference, (height, width), in the same way; None where nothing moves.
    """

    frame: Callable[[Frame, int], Frame]
    mask: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Disturbance:
    """One way in which images get worse.

    Attributes:
        key, label: for programs and for people.
        unit: what its strength is.
        strengths: five, rising.
        neutral: the strength at which nothing changes.
        meaning: what it does, and whose definition that is.
        draw: of a strength, the scan's shape and a source of randomness.
    """

    key: str
    label: str
    unit: str
    strengths: tuple[float, ...]
    neutral: float
    meaning: str
    draw: Callable[[float, Shape, Generator], Drawn]


@dataclass(frozen=True, eq=False)
class Scale:
    """The common scale of one scan: `low` becomes 0 and `low + span` 1; (channels,) float32."""

    low: NDArray[np.float32]
    span: NDArray[np.float32]


def scale_of(pixels: Array) -> Scale:
    """Measure a scan, (slices, height, width, channels), any real dtype; a blank channel has span 1."""
    low, high = np.percentile(pixels, (LOW_PERCENTILE, HIGH_PERCENTILE), axis=(0, 1, 2))
    return Scale(low.astype(np.float32), np.where(high > low, high - low, 1).astype(np.float32))


def disturb(pixels: Array, reference: NDArray[np.uint8], drawn: Drawn, scale: Scale) -> tuple[Array, NDArray[np.uint8]]:
    """Apply what was drawn to a scan and its reference; neither is changed in place.

    Args:
        pixels: (slices, height, width, channels), any real dtype, which is kept: integers are rounded and cut to
            what they can hold, as when a scan is stored.
        reference: (slices, height, width) uint8.
        drawn: from a `Disturbance`, for this shape.
        scale: of these pixels.
    """
    changed = np.empty_like(pixels)
    for index, frame in enumerate(pixels):
        values = drawn.frame((frame.astype(np.float32) - scale.low) / scale.span, index) * scale.span + scale.low
        if np.issubdtype(pixels.dtype, np.integer):
            limits = np.iinfo(pixels.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        changed[index] = values
    if drawn.mask is None:
        return changed, reference
    return changed, np.stack([drawn.mask(np.ascontiguousarray(mask)) for mask in reference])


def _noise(strength: float, shape: Shape, rng: Generator) -> Drawn:
    seeds = rng.integers(2**63, size=shape[0])

    def frame(values: Frame, index: int) -> Frame:
        real, imaginary = np.random.default_rng(seeds[index]).standard_normal((2, *values.shape), np.float32)
        return np.asarray(np.hypot(values + np.float32(strength) * real, np.float32(strength) * imaginary))

    return Drawn(frame)


def _blur(strength: float, shape: Shape, rng: Generator) -> Drawn:
    def frame(values: Frame, index: int) -> Frame:
        return _each_channel(values, lambda one: cv2.GaussianBlur(one, (0, 0), strength))

    return Drawn(frame)


def _bias(strength: float, shape: Shape, rng: Generator) -> Drawn:
    powers = [power for power in product(range(_DEGREE + 1), repeat=3) if 0 < sum(power) <= _DEGREE]
    weights = rng.uniform(-1, 1, len(powers))

    def polynomial(z: Array, y: Array, x: Array) -> Array:
        return np.asarray(sum(w * z**a * y**b * x**c for w, (a, b, c) in zip(weights, powers, strict=True)))

    slices, height, width, _ = shape
    heights = _places(slices)
    rows, columns = np.meshgrid(_places(height), _places(width), indexing="ij", sparse=True)
    coarse = np.linspace(-1, 1, _COARSE)
    within = heights if slices <= _COARSE else coarse
    z, y, x = np.meshgrid(within, coarse, coarse, indexing="ij", sparse=True)
    inside = polynomial(z, y, x)[:, (y**2 + x**2 <= HEAD**2)[0]]
    highest, reach = inside.max(), np.ptp(inside)

    def frame(values: Frame, index: int) -> Frame:
        steps = (polynomial(heights[index], rows, columns) - highest) / reach
        # At most 1: what is stored in 8 bits would otherwise be cut where it is brightest.
        return np.asarray(values * np.minimum(strength**steps, 1)[..., None], np.float32)

    return Drawn(frame)


def _ghosts(strength: float, shape: Shape, rng: Generator) -> Drawn:
    axis = int(rng.integers(2))
    lines = shape[1 + axis]
    hit = (np.arange(lines) % GHOSTS == 0) & (np.abs(np.fft.fftfreq(lines)) > CENTRE / 2)
    kept = np.where(hit, 1 - strength, 1).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))

    def frame(values: Frame, index: int) -> Frame:
        spectrum = np.fft.fft(values, axis=axis) * kept
        return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)

    return Drawn(frame)


def _contrast(strength: float, shape: Shape, rng: Generator) -> Drawn:
    exponents = (strength ** rng.choice((-1.0, 1.0), shape[3])).astype(np.float32)

    def frame(values: Frame, index: int) -> Frame:
        return np.maximum(values, 0) ** exponents

    return Drawn(frame)


def _downsampling(strength: float, shape: Shape, rng: Generator) -> Drawn:
    height, width = shape[1:3]
    small = max(1, round(width / strength)), max(1, round(height / strength))

    def frame(values: Frame, index: int) -> Frame:
        def coarser(one: Array) -> Array:
            return cv2.resize(cv2.resize(one, small, interpolation=cv2.INTER_AREA), (width, height))

        return _each_channel(values, coarser)

    return Drawn(frame)


def _rotation(strength: float, shape: Shape, rng: Generator) -> Drawn:
    height, width = shape[1:3]
    angle = strength * float(rng.choice((-1.0, 1.0)))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)

    def frame(values: Frame, index: int) -> Frame:
        return _each_channel(values, lambda one: cv2.warpAffine(one, matrix, (width, height), flags=cv2.INTER_LINEAR))

    def mask(one: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.warpAffine(one, matrix, (width, height), flags=cv2.INTER_NEAREST), np.uint8)

    return Drawn(frame, mask)


def _places(count: int) -> NDArray[np.float64]:
    """Where slices, rows or columns lie between -1 and 1; a single one in the middle."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def _each_channel(values: Frame, change: Callable[[Array], Array]) -> Frame:
    channels = [change(np.ascontiguousarray(values[..., channel])) for channel in range(values.shape[-1])]
    return np.stack(channels, axis=-1).astype(np.float32)


DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "noise",
        "Noise",
        "standard deviation, 1 is the range",
        (0.02, 0.05, 0.1, 0.15, 0.2),
        0.0,
        "Rician noise, that of magnitude images: Gaussian in both parts of the complex signal (Gudbjartsson & Patz "
        "1995; MONAI RandRicianNoise).",
        _noise,
    ),
    Disturbance(
        "blur",
        "Blur",
        "sigma in pixels",
        (0.5, 1.0, 1.5, 2.0, 3.0),
        0.0,
        "A Gaussian within each slice (TorchIO RandomBlur).",
        _blur,
    ),
    Disturbance(
        "bias",
        "Bias field",
        "brightest to darkest place of the head",
        (1.25, 1.5, 2.0, 3.0, 4.0),
        1.0,
        "The exponential of a random polynomial of degree 3 over the whole scan, the same for all sequences "
        "(van Leemput 1999; TorchIO RandomBiasField), here scaled to the ratio of its extremes in the middle of the "
        "frame, where the head is.",
        _bias,
    ),
    Disturbance(
        "ghosts",
        "Motion ghosts",
        "share of signal lost, every 4th line",
        (0.2, 0.4, 0.6, 0.8, 1.0),
        0.0,
        f"Every {GHOSTS}th line of k-space loses signal along rows or columns, the middle {100 * CENTRE:g} % left "
        f"alone: {GHOSTS} copies of the head across the image (TorchIO RandomGhosting).",
        _ghosts,
    ),
    Disturbance(
        "contrast",
        "Contrast",
        "gamma",
        (1.2, 1.5, 2.0, 2.5, 3.0),
        1.0,
        "Values to the power of gamma or of 1/gamma, drawn for each sequence (MONAI RandAdjustContrast, TorchIO "
        "RandomGamma). A linear change is not tried: normalisation by percentiles takes it back.",
        _contrast,
    ),
    Disturbance(
        "downsampling",
        "Downsampling",
        "factor along rows and columns",
        (1.5, 2.0, 3.0, 4.0, 6.0),
        1.0,
        "Averaged down to a coarser grid and interpolated back (MONAI RandSimulateLowResolution).",
        _downsampling,
    ),
    Disturbance(
        "rotation",
        "Rotation",
        "degrees",
        (5.0, 10.0, 20.0, 30.0, 45.0),
        0.0,
        "About the middle of the frame, to either side; the reference turns with the image (TorchIO RandomAffine).",
        _rotation,
    ),
)
"""All of them, in the order in which they are shown; a missing sequence is no change of pixels and is not here."""
