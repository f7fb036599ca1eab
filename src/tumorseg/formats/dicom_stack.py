"""The frames of a DICOM series as one stack: sorted by where they lie, and checked to be a volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.dicom_frames import Frame
from tumorseg.formats.orientation import Orientation, orientation_of
from tumorseg.scan import Geometry

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_DIRECTION = 1e-2
_SAME_POSITION = 1e-2
_UNEVEN = 0.1
_MISSING = 1.5
_ASIDE = 1.0


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames in the order of a volume.

    Attributes:
        frames: sorted along the normal of their plane.
        orientation: how (frames, rows, columns) are turned to the canonical volume.
        geometry: of the canonical volume; None where the files do not say where they lie.
        warnings: what is uncertain about the order or the geometry.
    """

    frames: tuple[Frame, ...]
    orientation: Orientation
    geometry: Geometry | None
    warnings: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, height, width) of the canonical volume."""
        return self.orientation.shape((len(self.frames), *self.frames[0].shape))

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files in the order of the canonical slices."""
        paths = dict.fromkeys(frame.path for frame in self.frames)
        return tuple(reversed(paths)) if self.orientation.flipped[0] else tuple(paths)


def stack_frames(frames: Sequence[Frame]) -> Stack:
    """Sort the frames of one series by position, never by name, and say what is wrong with them.

    Raises:
        FormatError: a frame is of another orientation or place, or two different ones lie in one place.
        ShapeMismatch: frames differ in size or type.
    """
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape:
            raise ShapeMismatch(
                f"{frame.path} is {frame.shape[1]} x {frame.shape[0]} but {first.path.name}, of the same series, is "
                f"{first.shape[1]} x {first.shape[0]}",
                next_step="give slices of one size",
            )
    placed = [frame for frame in frames if frame.is_placed]
    if not placed:
        return _unplaced(frames)
    if len(placed) < len(frames):
        lost = next(frame for frame in frames if not frame.is_placed)
        raise FormatError(f"{lost.path} does not say where it lies, others do", next_step="leave it out")
    directions = _common_direction(placed)
    normal = np.cross(directions[0], directions[1])
    ordered = sorted(placed, key=lambda frame: float(_position(frame) @ normal))
    ordered, doubled = _without_doubles(ordered, normal)
    step, warnings = _step(ordered, normal)
    spacing = ordered[0].spacing
    assert spacing is not None  # placed
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = directions[1] * spacing[0]
    affine[:3, 2] = directions[0] * spacing[1]
    affine[:3, 3] = _position(ordered[0])
    affine = _LPS_TO_RAS @ affine
    orientation = orientation_of(affine, slice_axis=0)
    turned = orientation.affine(affine, (len(ordered), *first.shape))
    geometry = Geometry(turned, ordered[0].frame_of_reference)
    return Stack(tuple(ordered), orientation, geometry, (*doubled, *warnings))


def _unplaced(frames: Sequence[Frame]) -> Stack:
    """Frames that say nothing of their place: in the order of their numbers, as they are stored."""
    numbers = [(frame.number, frame.index) for frame in frames]
    several = len({frame.path for frame in frames}) > 1
    if several and (len(set(numbers)) < len(numbers) or any(number is None for number, _ in numbers)):
        raise FormatError(
            f"{frames[0].path} and {len(frames) - 1} more of its series say neither where they lie nor in which order",
            next_step="give them one by one, or export the series with its positions",
        )
    ordered = sorted(frames, key=lambda frame: (frame.number or 0, frame.index))
    order = "" if len(frames) == 1 else "; its slices are ordered by their numbers"
    warning = f"{frames[0].path.name} does not say where in the patient it lies{order}"
    return Stack(tuple(ordered), Orientation((0, 1, 2), (False, False, False)), None, (warning,))


def _common_direction(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """The directions that most frames share; a frame of others, or of another space, is an error that names it."""
    kinds: list[list[Frame]] = []
    for frame in frames:
        for kind in kinds:
            if _alike(kind[0], frame):
                kind.append(frame)
                break
        else:
            kinds.append([frame])
    kinds.sort(key=len, reverse=True)
    if len(kinds) > 1:
        foreign = kinds[-1][0]
        raise FormatError(
            f"{foreign.path} lies in another plane, space or pixel size than the {len(kinds[0])} others of its series, "
            "as a localiser does",
            next_step="leave it out",
        )
    directions = frames[0].directions
    assert directions is not None  # placed
    return directions


def _alike(one: Frame, other: Frame) -> bool:
    assert one.directions is not None and other.directions is not None and one.spacing and other.spacing
    return (
        bool(np.abs(one.directions - other.directions).max() < _SAME_DIRECTION)
        and bool(np.allclose(one.spacing, other.spacing, rtol=1e-3))
        and one.frame_of_reference == other.frame_of_reference
    )


def _without_doubles(frames: Sequence[Frame], normal: NDArray[np.float64]) -> tuple[list[Frame], tuple[str, ...]]:
    """Frames without those that are there twice; two different ones in one place are an error."""
    kept: list[Frame] = []
    copies: list[Frame] = []
    for frame in frames:
        before = kept[-1] if kept else None
        if before is None or np.abs(_position(frame) - _position(before)).max() > _SAME_POSITION:
            kept.append(frame)
        elif frame.instance and (frame.instance, frame.index) == (before.instance, before.index):
            copies.append(frame)
        else:
            name = before.path.name if before.path != frame.path else f"frame {before.index + 1}"
            raise FormatError(
                f"{frame.path} lies in the same place as {name}: several echoes, times or sequences in one series",
                next_step="give one of them at a time",
            )
    if not copies:
        return kept, ()
    return kept, (f"{copies[0].path.name} is there twice ({len(copies)} copies left out)",)


def _step(frames: Sequence[Frame], normal: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """From one slice to the next, (3,) mm LPS+, and what is uneven about it."""
    if len(frames) == 1:
        if frames[0].thickness is None:
            return normal, (f"{frames[0].path.name} does not say how thick it is; 1 mm is taken",)
        return normal * frames[0].thickness, ()
    positions = np.array([_position(frame) for frame in frames])
    steps = np.diff(positions, axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    typical = np.median(steps, axis=0)
    spacing = frames[0].spacing
    assert spacing is not None  # placed
    aside = np.linalg.norm(steps - np.outer(gaps / usual, typical), axis=1) / min(spacing)
    if aside.max() > _ASIDE:
        stray = frames[int(aside.argmax()) + 1]
        raise FormatError(f"{stray.path} lies beside the others of its series", next_step="leave it out")
    uneven = np.flatnonzero(np.abs(gaps - usual) > _UNEVEN * usual)
    if not uneven.size:
        return (positions[-1] - positions[0]) / (len(frames) - 1), ()
    warnings = []
    wide = [int(index) for index in uneven if gaps[index] > _MISSING * usual]
    for index in wide[:3]:
        count = max(1, round(gaps[index] / usual) - 1)
        warnings.append(
            f"{count} slice{'s' * (count > 1)} missing between {_called(frames[index])} and "
            f"{_called(frames[index + 1])}: a gap of {gaps[index]:.1f} mm where {usual:.1f} mm is usual"
        )
    if len(wide) > 3:
        warnings.append(f"slices are missing in {len(wide) - 3} more places")
    if len(wide) < uneven.size:
        warnings.append(
            f"slices are unevenly spaced, {gaps.min():.2f} to {gaps.max():.2f} mm; volumes are counted with {usual:.2f}"
        )
    return typical, tuple(warnings)


def _called(frame: Frame) -> str:
    return frame.path.name if frame.index == 0 else f"frame {frame.index + 1} of {frame.path.name}"


def _position(frame: Frame) -> NDArray[np.float64]:
    assert frame.position is not None  # placed
    return frame.position
