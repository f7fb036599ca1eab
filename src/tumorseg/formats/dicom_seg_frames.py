"""The frames of a stored DICOM-SEG or label map, and their segments laid into one mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.dicom_file import LABEL_MAP
from tumorseg.formats.dicom_frames import FunctionalGroups, numbers_of, only_item, unit_directions
from tumorseg.formats.dicom_pixels import refuse_other_sizes
from tumorseg.formats.dicom_stack import Stack
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_oversized
from tumorseg.scan import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE = 0.05
"""Of the distance between slices: what lies nearer lies in the same one."""

_EVEN = 0.1
_MOST_SLICES = 65536
_AGAIN = "export it without overlaps"

Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class SegmentFrame:
    """One stored frame.

    Attributes:
        segment: its number; 0 where the pixels are the numbers themselves, as in a label map.
        position: of the first pixel's centre, (3,) mm, LPS+; None where the file does not say.
        sources: images that it was drawn on: the instance, and the number of the frame in it, from 1 (0: all).
    """

    segment: int
    position: NDArray[np.float64] | None
    sources: frozenset[tuple[str, int]]


@dataclass(frozen=True, eq=False)
class SegmentFrames:
    """All frames of one file.

    Attributes:
        path: of the file.
        frames: as they are stored.
        pixels: (frames, rows, columns), the numbers of segments, 0 where there is none.
        directions: as of `Frame`; None where the file does not say.
        spacing: mm between rows and columns; None where the file does not say.
        between: mm from slice to slice, as the file says; None where it does not.
        frame_of_reference: the UID of the space of the positions; "" where there is none.
    """

    path: Path
    frames: tuple[SegmentFrame, ...]
    pixels: Labels
    directions: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    between: float | None
    frame_of_reference: str


def segment_frames(path: Path, dataset: "Dataset", *, pixels: bool = True) -> SegmentFrames:
    """Read the frames of a file.

    Args:
        path: of the file, for messages.
        dataset: its attributes.
        pixels: decode them too; without, `pixels` holds none.

    Raises:
        FormatError: it holds fractions, or more than a mask can.
    """
    count, shape = int(dataset.get("NumberOfFrames") or 1), (int(dataset.Rows), int(dataset.Columns))
    refuse_oversized(path, Header(count, *shape, 1, np.dtype(np.uint8)))
    segments = dataset.get("SegmentSequence") or []
    if not 1 <= len(segments) <= 255:
        raise FormatError(f"{path} has {len(segments)} segments", next_step="give one with 1 to 255")
    shared = only_item(dataset, "SharedFunctionalGroupsSequence")
    own = dataset.get("PerFrameFunctionalGroupsSequence") or [None] * count
    if len(own) != count:
        raise FormatError(f"{path} describes {len(own)} of its {count} frames", next_step=_AGAIN)
    groups = [FunctionalGroups(dataset, shared, each, lone=count == 1) for each in own]
    orientation = numbers_of(
        path, groups[0].get("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "orientation"
    )
    spacing = numbers_of(path, groups[0].get("PixelMeasuresSequence", "PixelSpacing"), 2, "pixel spacing")
    between = groups[0].get("PixelMeasuresSequence", "SpacingBetweenSlices")
    is_map = str(dataset.SOPClassUID) == LABEL_MAP
    frames = tuple(
        SegmentFrame(
            0 if is_map else _number(path, each),
            numbers_of(path, each.get("PlanePositionSequence", "ImagePositionPatient"), 3, "position"),
            _sources(mine) or _sources(shared),
        )
        for mine, each in zip(own, groups, strict=True)
    )
    return SegmentFrames(
        path,
        frames,
        _decoded(path, dataset, frames, shape) if pixels else np.zeros((0, *shape), np.uint8),
        None if orientation is None else unit_directions(path, orientation.reshape(2, 3)),
        None if spacing is None else (float(spacing[0]), float(spacing[1])),
        abs(float(between)) if between else None,
        str(dataset.get("FrameOfReferenceUID") or ""),
    )


def on_stack(found: SegmentFrames, stack: Stack) -> Mask:
    """The mask on the frames of a stack, in its stored order; slices that no segment names are empty.

    Frames are laid by the images that they name, where they name such, else by where they lie.

    Raises:
        ShapeMismatch: none of them was drawn on these images.
        FormatError: segments overlap.
    """
    shape = len(stack.frames), *stack.frames[0].shape
    places: dict[tuple[str, int], int] = {}
    several = len({frame.path for frame in stack.frames}) < len(stack.frames)
    for place, frame in enumerate(stack.frames):
        places[frame.instance, frame.index + 1] = place
        if not several:
            places[frame.instance, 0] = place
    mask = np.zeros(shape, np.uint8)
    laid = 0
    for index, each in enumerate(found.frames):
        named = sorted({places[source] for source in each.sources if source in places})
        if not each.sources or len(named) > 1:
            named = _lying_at(each, stack)  # of several named images, the one in whose place it lies
        laid += len(named)
        for place in named[:1]:
            _lay(found, mask[place], index)
    if not laid:
        raise ShapeMismatch(
            f"{found.path} was not drawn on the series of {stack.frames[0].path}",
            next_step="give the series it refers to",
        )
    return mask


def on_own_grid(found: SegmentFrames) -> tuple[Mask, NDArray[np.float64]]:
    """The mask from the first to the last slice that the file holds, and its affine to RAS+ mm, (4, 4).

    Raises:
        FormatError: segments overlap, or the file does not say where its slices lie, or these are uneven.
    """
    affine, places, slices = own_affine(found)
    height, width = found.pixels.shape[1:]
    refuse_oversized(found.path, Header(slices, height, width, 1, np.dtype(np.uint8)))
    mask = np.zeros((slices, height, width), np.uint8)
    for index, place in enumerate(places):
        _lay(found, mask[place], index)
    return mask, affine


def own_affine(found: SegmentFrames) -> tuple[NDArray[np.float64], list[int], int]:
    """The affine of the file's own grid to RAS+ mm, (4, 4), the slice of each frame, and how many slices there are."""
    if found.directions is None or found.spacing is None or any(each.position is None for each in found.frames):
        raise FormatError(
            f"{found.path} does not say where its slices lie", next_step="give the series it was drawn on"
        )
    positions = np.array([each.position for each in found.frames], np.float64)
    normal = np.cross(found.directions[0], found.directions[1])
    depths = positions @ normal
    step, places = _slices(found, depths - depths.min())
    first = positions[int(np.argmin(depths))]
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = found.directions[1] * found.spacing[0]
    affine[:3, 2] = found.directions[0] * found.spacing[1]
    affine[:3, 3] = first
    return _LPS_TO_RAS @ affine, places, max(places) + 1


def _slices(found: SegmentFrames, depths: NDArray[np.float64]) -> tuple[float, list[int]]:
    """Millimetres from slice to slice, and the slice of each frame; empty slices may be left out of the file."""
    levels = np.unique(depths.round(3))
    levels = levels[np.concatenate([[True], np.diff(levels) > 0.01])]
    step = found.between or (float(np.diff(levels).min()) if levels.size > 1 else 1.0)
    places = depths / step
    if np.abs(places - places.round()).max() > _EVEN or places.max() > _MOST_SLICES:
        raise FormatError(f"{found.path} holds slices at uneven distances", next_step="export it on one regular grid")
    return step, [int(place) for place in places.round()]


def _lying_at(each: SegmentFrame, stack: Stack) -> list[int]:
    """The frame of the stack that lies where this one does."""
    if each.position is None or not stack.frames[0].is_placed:
        return []
    positions = np.array([frame.position for frame in stack.frames], np.float64)
    apart = np.linalg.norm(positions - each.position, axis=1)
    step = float(np.linalg.norm(np.diff(positions, axis=0), axis=1).min(initial=np.inf))
    nearest = int(apart.argmin())
    return [nearest] if apart[nearest] <= _SAME_PLACE * min(step, 1.0) else []


def _lay(found: SegmentFrames, slice_mask: Labels, index: int) -> None:
    """Lay one frame into a slice of the mask, in place."""
    labels = found.pixels[index]
    marked = labels > 0
    if (marked & (slice_mask > 0) & (slice_mask != labels)).any():
        raise FormatError(f"{found.path} has segments that overlap", next_step=_AGAIN)
    slice_mask[marked] = labels[marked]


def _number(path: Path, groups: FunctionalGroups) -> int:
    number = groups.get("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if number is None or not 1 <= int(number) <= 255:
        raise FormatError(f"{path} has a frame of segment {number}", next_step=_AGAIN)
    return int(number)


def _sources(groups: Any) -> frozenset[tuple[str, int]]:
    """The images that a frame was drawn on."""
    found: set[tuple[str, int]] = set()
    for derived in (groups.get("DerivationImageSequence") or []) if groups is not None else []:
        for image in derived.get("SourceImageSequence") or []:
            numbers = image.get("ReferencedFrameNumber")
            listed = numbers if hasattr(numbers, "__iter__") else [numbers or 0]
            found |= {(str(image.ReferencedSOPInstanceUID), int(number)) for number in listed}
    return frozenset(found)


def _decoded(path: Path, dataset: "Dataset", frames: Sequence[SegmentFrame], shape: tuple[int, int]) -> Labels:
    """The numbers of segments at each pixel, (frames, rows, columns)."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        refuse_other_sizes(path, dataset, len(frames), shape)
    stored = np.asarray(dataset.pixel_array).reshape(len(frames), *shape)
    if frames[0].segment == 0:
        if stored.max(initial=0) > 255:
            raise FormatError(f"{path} holds segment {stored.max()}", next_step="give one with 1 to 255")
        background = int(dataset.get("PixelPaddingValue") or 0)
        return np.where(stored == background, 0, stored).astype(np.uint8)
    if str(dataset.get("SegmentationType", "BINARY")) == "FRACTIONAL":
        whole = int(dataset.get("MaximumFractionalValue") or 255)
        if not np.isin(stored, (0, whole)).all():
            raise FormatError(f"{path} holds fractions, not a mask", next_step="export it as binary segments")
    labels = np.zeros(stored.shape, np.uint8)
    for index, each in enumerate(frames):
        labels[index][stored[index] != 0] = each.segment
    return labels
