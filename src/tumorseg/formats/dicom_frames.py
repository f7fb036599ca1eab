"""The frames of a DICOM image: where each lies and what its numbers mean, of classic and of multi-frame files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError
from tumorseg.formats.dicom_file import LABEL_MAP, SEGMENTATION, named_damage
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_oversized

if TYPE_CHECKING:
    from pydicom import Dataset

_GREY = ("MONOCHROME1", "MONOCHROME2")
_AGAIN = "export it again"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture in a file.

    Attributes:
        path: the file.
        index: of the frame within it, from 0.
        instance: the file's SOPInstanceUID.
        number: the file's InstanceNumber; None where it has none.
        shape: rows and columns.
        dtype: of the stored numbers.
        position: of the first pixel's centre, (3,) mm, LPS+; None where the file does not say.
        directions: (2, 3) unit vectors, along which columns and rows are counted; None where the file does not say.
        spacing: mm between rows and columns; None where the file does not say.
        thickness: mm to the next slice, as the file says; None where it does not.
        slope, intercept: what a stored number is multiplied by, and what is added.
        frame_of_reference: the UID of the space of `position`; "" where there is none.
    """

    path: Path
    index: int
    instance: str
    number: int | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    frame_of_reference: str

    @property
    def is_placed(self) -> bool:
        """Whether the file says where the frame lies."""
        return self.position is not None and self.directions is not None and self.spacing is not None

    @property
    def is_scaled(self) -> bool:
        """Whether a stored number is not what it means."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def frames_of(path: Path, dataset: "Dataset") -> tuple[Frame, ...]:
    """The frames of one file, by its attributes alone.

    Raises:
        FormatError: no picture, no grey one, too large, or with a geometry that cannot be.
    """
    with named_damage(path):
        dtype = _dtype(path, dataset)
        count = int(dataset.get("NumberOfFrames") or 1)
        shape = int(dataset.Rows), int(dataset.Columns)
        if min(*shape, count) < 1:
            raise FormatError(f"{path} holds {count} pictures of {shape[1]} x {shape[0]} pixels", next_step=_AGAIN)
        refuse_oversized(path, Header(count, *shape, 1, dtype))
        shared = only_item(dataset, "SharedFunctionalGroupsSequence")
        own = dataset.get("PerFrameFunctionalGroupsSequence") or [None] * count
        if len(own) != count:
            raise FormatError(f"{path} describes {len(own)} of its {count} frames", next_step=_AGAIN)
        places = [FunctionalGroups(dataset, shared, groups, lone=count == 1) for groups in own]
        return tuple(_frame(path, dataset, index, shape, dtype, place) for index, place in enumerate(places))


class FunctionalGroups:
    """Where attributes of a frame are looked up: its own functional groups, then those of all, then the file."""

    def __init__(self, dataset: "Dataset", shared: Any, own: Any, *, lone: bool) -> None:
        # Of a classic file with several frames, the attributes at its top are of none of them in particular.
        self._places = [place for place in (own, shared) if place is not None]
        self._top = dataset if lone else None

    def get(self, sequence: str, *names: str) -> Any:
        """The first attribute that is there, in the macro `sequence` or at the top of a file of one frame."""
        groups = [item for place in self._places if (item := only_item(place, sequence)) is not None]
        for place in (*groups, self._top):
            for name in names:
                value = None if place is None else place.get(name)
                if value is not None and value != "":
                    return value
        return None


def _frame(
    path: Path, dataset: "Dataset", index: int, shape: tuple[int, int], dtype: np.dtype[Any], groups: FunctionalGroups
) -> Frame:
    position = numbers_of(path, groups.get("PlanePositionSequence", "ImagePositionPatient"), 3, "position")
    orientation = numbers_of(path, groups.get("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "orientation")
    spacing = numbers_of(path, groups.get("PixelMeasuresSequence", "PixelSpacing"), 2, "pixel spacing")
    thickness = groups.get("PixelMeasuresSequence", "SpacingBetweenSlices", "SliceThickness")
    slope = groups.get("PixelValueTransformationSequence", "RescaleSlope")
    intercept = groups.get("PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None and intercept is None:  # a classic file of several frames has them at its top
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    scale = float(1 if slope in (None, "") else slope), float(0 if intercept in (None, "") else intercept)
    if not np.isfinite(scale).all() or scale[0] == 0:
        raise FormatError(f"{path} scales its values by {scale[0]} and {scale[1]}", next_step=_AGAIN)
    if spacing is not None and spacing.min() <= 0:
        raise FormatError(f"{path} has pixels of {spacing[0]} x {spacing[1]} mm", next_step=_AGAIN)
    number = dataset.get("InstanceNumber")
    return Frame(
        path,
        index,
        str(dataset.get("SOPInstanceUID", "")),
        None if number in (None, "") else int(number),
        shape,
        dtype,
        position,
        None if orientation is None else unit_directions(path, orientation.reshape(2, 3)),
        None if spacing is None else (float(spacing[0]), float(spacing[1])),
        abs(float(thickness)) if thickness is not None and float(thickness) else None,
        scale[0],
        scale[1],
        str(dataset.get("FrameOfReferenceUID") or ""),
    )


def unit_directions(path: Path, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors at right angles, as the standard demands; rounding in the file is forgiven."""
    lengths = np.linalg.norm(stored, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(float(stored[0] @ stored[1])) > 0.01:
        raise FormatError(f"{path} has an image orientation that is no right angle", next_step=_AGAIN)
    directions: NDArray[np.float64] = stored / lengths[:, None]
    return directions


def _dtype(path: Path, dataset: "Dataset") -> np.dtype[Any]:
    """The type of stored numbers, where they are one grey value per pixel."""
    if str(dataset.get("SOPClassUID", "")) in (SEGMENTATION, LABEL_MAP):
        raise FormatError(f"{path} is a segmentation, not an image", next_step="give the series it was drawn on")
    if "Rows" not in dataset or "Columns" not in dataset or "BitsAllocated" not in dataset:
        what = str(dataset.get("Modality") or "no picture")
        raise FormatError(f"{path} holds no pixels ({what})", next_step="give the files of an MR series")
    meaning = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or meaning not in _GREY:
        raise FormatError(
            f"{path} is in colour ({meaning or 'unknown'}), not in grey values",
            next_step="give the scanner's own images, not pictures taken of a screen",
        )
    bits = int(dataset.BitsAllocated)
    if bits not in (8, 16, 32):
        raise FormatError(f"{path} holds values of {bits} bits, not 8, 16 or 32", next_step=_AGAIN)
    return np.dtype(f"{'i' if int(dataset.get('PixelRepresentation') or 0) else 'u'}{bits // 8}")


def numbers_of(path: Path, value: Any, count: int, what: str) -> NDArray[np.float64] | None:
    if value is None:
        return None
    parts: Sequence[Any] = value if hasattr(value, "__len__") else [value]
    numbers = [float(part) for part in parts]
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise FormatError(f"{path} has a {what} of {numbers}, not {count} numbers", next_step=_AGAIN)
    return np.array(numbers)


def only_item(place: Any, sequence: str) -> Any:
    """The one item of a sequence; None where there is none."""
    items = place.get(sequence)
    return items[0] if items else None
