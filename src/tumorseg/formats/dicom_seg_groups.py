"""The functional groups of a DICOM segmentation (PS3.3 C.7.6.16): where its frames lie, and what they were drawn on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorseg.formats.dicom_frames import Frame, FunctionalGroups, only_item

if TYPE_CHECKING:
    from pydicom import Dataset

_DERIVATION = ("113076", "DCM", "Segmentation")
_PURPOSE = ("121322", "DCM", "Source image for image processing operation")
_EVEN = 0.01
"""Of the distance between slices: how far it may vary where an object says that it is one."""


def shared_groups(frames: Sequence[Frame], sources: Mapping[Path, "Dataset"]) -> "Dataset":
    """What all frames share: the size and the plane of their pixels, which a stack's frames have in common."""
    from pydicom import Dataset

    first = _groups(frames[0], sources[frames[0].path])
    measures, plane, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = _decimals(first.get("PixelMeasuresSequence", "PixelSpacing"))
    between = _between(frames, first.get("PixelMeasuresSequence", "SpacingBetweenSlices"))
    if between is not None:
        measures.SpacingBetweenSlices = _decimals([between])[0]
    thickness = first.get("PixelMeasuresSequence", "SliceThickness")
    if thickness is None:  # which an object must state
        thickness = between
    if thickness is not None:
        measures.SliceThickness = _decimals([thickness])[0]
    plane.ImageOrientationPatient = _decimals(first.get("PlaneOrientationSequence", "ImageOrientationPatient"))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    return shared


def _between(frames: Sequence[Frame], stated: float | None) -> float | None:
    """Millimetres from slice to slice: as the slices lie where they do so evenly, else as the source states.

    Some scanners state the gap between slices instead; of a lone slice, it is the thickness that its volume has.
    """
    if len(frames) == 1:
        return frames[0].thickness or 1.0
    step = even_step(frames)
    if step is None:
        return stated
    return stated if stated is not None and abs(float(stated) - step) <= _EVEN * step else step


def even_step(frames: Sequence[Frame]) -> float | None:
    """Millimetres from slice to slice; None where slices lie unevenly, or not above each other."""
    positions = np.array([frame.position for frame in frames], np.float64)
    assert frames[0].directions is not None  # placed
    normal = np.cross(*frames[0].directions)
    steps = np.diff(positions, axis=0)
    gaps = np.abs(steps @ normal)
    usual = float(gaps.mean())
    aside = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    # An angle of some 2.5 degrees to the normal, as readers of such objects forgive.
    even = bool(np.all(np.abs(gaps - usual) <= _EVEN * usual) and np.all(aside <= 0.045 * usual))
    return usual if even else None


def frame_groups(frame: Frame, source: "Dataset", indices: Sequence[int]) -> "Dataset":
    """Where a frame lies, and which picture it was drawn on."""
    from pydicom import Dataset

    content, position, derivation, group = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = list(indices)
    assert frame.position is not None  # placed
    position.ImagePositionPatient = _decimals(frame.position)
    image = reference_to(source)
    image.SpatialLocationsPreserved, image.PurposeOfReferenceCodeSequence = "YES", [coded(*_PURPOSE)]
    if "PerFrameFunctionalGroupsSequence" in source or int(source.get("NumberOfFrames") or 1) > 1:
        image.ReferencedFrameNumber = frame.index + 1
    derivation.DerivationCodeSequence, derivation.SourceImageSequence = [coded(*_DERIVATION)], [image]
    group.FrameContentSequence, group.PlanePositionSequence = [content], [position]
    group.DerivationImageSequence = [derivation]
    return group


def _groups(frame: Frame, source: "Dataset") -> FunctionalGroups:
    """Where the source's attributes of a frame are looked up."""
    count = int(source.get("NumberOfFrames") or 1)
    own = source.get("PerFrameFunctionalGroupsSequence") or [None] * count
    shared = only_item(source, "SharedFunctionalGroupsSequence")
    return FunctionalGroups(source, shared, own[frame.index], lone=count == 1)


def identified(number: int) -> "Dataset":
    """The group that names a frame's segment."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSegmentNumber = number
    return item


def reference_to(source: "Dataset") -> "Dataset":
    """An item that refers to an image."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def coded(value: str, scheme: str, meaning: str) -> "Dataset":
    """An item of a code sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _decimals(values: Iterable[float]) -> list[str]:
    """Numbers as DICOM writes them, in 16 characters at most."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]
