"""The attributes of a DICOM segmentation object (PS3.3 A.51), of binary segments on the frames of an MR series."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorseg.formats.dicom_file import SEGMENTATION
from tumorseg.formats.dicom_frames import Frame
from tumorseg.formats.dicom_identity import copy_identity, is_valid
from tumorseg.formats.dicom_seg_groups import coded, even_step, frame_groups, identified, reference_to, shared_groups
from tumorseg.scan import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "tumorseg"
SERIES_NUMBER = 9100
"""Beyond those that scanners number their own series with."""

_CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
_TYPE = ("108369006", "SCT", "Neoplasm")
_FAMILY = ("123110", "DCM", "Artificial Intelligence")
_ACQUISITION = ("109101", "DCM", "Acquisition Equipment")
_EQUIPMENT = (
    "ManufacturerModelName", "InstitutionName", "InstitutionalDepartmentName", "InstitutionAddress", "StationName",
    "DeviceSerialNumber", "SoftwareVersions",
)  # fmt: skip
_LONGEST = 64
"""Characters that a name may have (LO)."""


@dataclass(frozen=True)
class Drawn:
    """What drew the segments, as the object names it.

    Attributes:
        classes: labels of the segments 1…K.
        algorithm: the model's name.
        version: of the model.
        software: version of this package.
    """

    classes: Sequence[str]
    algorithm: str
    version: str
    software: str


def segmentation_object(
    stored: Mask, frames: Sequence[Frame], sources: Mapping[Path, "Dataset"], drawn: Drawn
) -> "Dataset":
    """An object that is ready to be saved.

    Frames without a marked pixel are left out; of a mask without any all are kept, since an object needs one frame.

    Args:
        stored: (frames, rows, columns) uint8, 0 background and 1…K.
        frames: of the source, each placed, sorted along the normal of their plane, in the order of `stored`.
        sources: the attributes of the frames' files; the first frame's says what is said of all.
        drawn: what drew the mask.
    """
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    # Against the normal of the plane: the order in which columns, rows and slices count right-handed.
    is_empty = not stored.any()
    order = [index for index in range(len(frames))[::-1] if is_empty or stored[index].any()]
    written = Dataset()
    first = sources[frames[0].path]
    copy_identity(first, written)
    _add_general(written, first, drawn)
    written.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or generate_uid(
        # The images say where they lie, but not in which space; the segmentation must name one.
        entropy_srcs=[str(first.get("SeriesInstanceUID", ""))]
    )
    written.PositionReferenceIndicator = first.get("PositionReferenceIndicator")
    _add_references(written, [sources[path] for path in dict.fromkeys(frame.path for frame in frames)])
    written.SegmentSequence = [_segment(number, name, drawn) for number, name in enumerate(drawn.classes, start=1)]
    _add_dimensions(written)
    if len(order) > 1 and len(drawn.classes) == 1 and even_step([frames[index] for index in order]):
        written.DimensionOrganizationType = "3D"
    _add_picture(written, first, frames[0].shape)
    _add_frames(written, stored, frames, sources, order)
    return written


def _add_general(written: "Dataset", first: "Dataset", drawn: Drawn) -> None:
    """What every object of this program says of itself."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    now = datetime.now()
    written.SOPClassUID, written.SOPInstanceUID = SEGMENTATION, generate_uid()
    written.file_meta = FileMetaDataset()
    written.file_meta.MediaStorageSOPClassUID = written.SOPClassUID
    written.file_meta.MediaStorageSOPInstanceUID = written.SOPInstanceUID
    written.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written.InstanceCreationDate = written.ContentDate = now.strftime("%Y%m%d")
    written.InstanceCreationTime = written.ContentTime = now.strftime("%H%M%S.%f")
    written.Modality, written.SeriesInstanceUID = "SEG", generate_uid()
    written.SeriesNumber, written.InstanceNumber = SERIES_NUMBER, 1
    written.SeriesDescription = "Tumour outline, drawn by a program"
    written.Manufacturer, written.ManufacturerModelName = MANUFACTURER, "tumorseg"
    written.DeviceSerialNumber, written.SoftwareVersions = "0", drawn.software
    written.ContentLabel, written.ContentDescription = "TUMOUR", "Not a medical device; review before use"
    named = "".join((*drawn.classes, drawn.algorithm, drawn.version))
    if not written.get("SpecificCharacterSet") and not named.isascii():
        written.SpecificCharacterSet = "ISO_IR 192"
    if (scanner := _equipment(first)) is not None:
        written.ContributingEquipmentSequence = [scanner]


def _equipment(source: "Dataset") -> "Dataset | None":
    """The scanner of the source; None where it does not name who made it."""
    from pydicom import Dataset

    if not source.get("Manufacturer") or not is_valid("Manufacturer", source.Manufacturer):
        return None
    item = Dataset()
    item.Manufacturer, item.PurposeOfReferenceCodeSequence = source.Manufacturer, [coded(*_ACQUISITION)]
    item.ContributionDescription = "Acquisition equipment of the source image(s)"
    for keyword in _EQUIPMENT:
        if source.get(keyword) and is_valid(keyword, source[keyword].value):
            setattr(item, keyword, source[keyword].value)
    if source.get("AcquisitionDateTime") and is_valid("AcquisitionDateTime", source.AcquisitionDateTime):
        item.ContributionDateTime = source.AcquisitionDateTime
    return item


def _add_references(written: "Dataset", sources: Sequence["Dataset"]) -> None:
    """Each source image, by its series and as what was segmented."""
    from pydicom import Dataset

    series = Dataset()
    series.SeriesInstanceUID = sources[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference_to(source) for source in sources]
    written.ReferencedSeriesSequence = [series]
    written.SourceImageSequence = [reference_to(source) for source in sources]


def _segment(number: int, name: str, drawn: Drawn) -> "Dataset":
    from pydicom import Dataset

    algorithm, segment = Dataset(), Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [coded(*_FAMILY)]
    algorithm.AlgorithmName, algorithm.AlgorithmVersion = drawn.algorithm[:_LONGEST], drawn.version[:_LONGEST]
    segment.SegmentNumber, segment.SegmentLabel = number, name[:_LONGEST]
    segment.SegmentedPropertyCategoryCodeSequence = [coded(*_CATEGORY)]
    segment.SegmentedPropertyTypeCodeSequence = [coded(*_TYPE)]
    segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", algorithm.AlgorithmName
    segment.SegmentationAlgorithmIdentificationSequence = [algorithm]
    return segment


def _add_dimensions(written: "Dataset") -> None:
    """Frames are told apart by their segment, then by where they lie."""
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword
    from pydicom.uid import generate_uid

    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    written.DimensionOrganizationSequence = [organization]
    indices = []
    for keyword, group, label in (
        ("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Referenced Segment Number"),
        ("ImagePositionPatient", "PlanePositionSequence", "Image Position Patient"),
    ):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer, index.FunctionalGroupPointer = tag_for_keyword(keyword), tag_for_keyword(group)
        index.DimensionDescriptionLabel = label
        indices.append(index)
    written.DimensionIndexSequence = indices


def _add_picture(written: "Dataset", first: "Dataset", shape: tuple[int, int]) -> None:
    written.ImageType = ["DERIVED", "PRIMARY"]
    written.SegmentationType, written.SegmentsOverlap = "BINARY", "NO"
    written.PhotometricInterpretation, written.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
    written.Rows, written.Columns = shape
    written.SamplesPerPixel = written.BitsAllocated = written.BitsStored = 1
    written.HighBit = written.PixelRepresentation = 0
    # An object made of lossy pictures is lossy too, and stays so.
    written.LossyImageCompression = first.get("LossyImageCompression") or "00"
    if written.LossyImageCompression == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in first:
                written.add(first[keyword])


def _add_frames(
    written: "Dataset", stored: Mask, frames: Sequence[Frame], sources: Mapping[Path, "Dataset"], order: Sequence[int]
) -> None:
    """The pixels of each segment on each slice of `order`, and where they lie."""
    classes = range(1, len(written.SegmentSequence) + 1)
    is_empty = not stored.any()
    shown = [
        (number, level, index)
        for number in classes
        for level, index in enumerate(order, start=1)
        if is_empty or (stored[index] == number).any()
    ]
    shared = shared_groups(frames, sources)
    if len(classes) == 1:
        shared.SegmentIdentificationSequence = [identified(1)]
    written.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number, level, index in shown:
        group = frame_groups(frames[index], sources[frames[index].path], [number, level])
        if len(classes) > 1:
            group.SegmentIdentificationSequence = [identified(number)]
        groups.append(group)
    written.PerFrameFunctionalGroupsSequence = groups
    written.NumberOfFrames = len(shown)
    written.add_new("PixelData", "OB", packed(stored[index] == number for number, _, index in shown))


def packed(frames: Iterable[NDArray[np.bool_]]) -> bytes:
    """Frames one after the other as single bits, the first in the lowest bit of the first byte (PS3.5, 8.1.1).

    No frame begins with a byte of its own; the whole ends with an even one.
    """
    parts = []
    rest = np.empty(0, np.bool_)
    for frame in frames:
        bits = np.concatenate([rest, frame.ravel()])
        whole = bits.size - bits.size % 8
        parts.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        rest = bits[whole:]
    parts.append(np.packbits(rest, bitorder="little").tobytes())
    content = b"".join(parts)
    return content + b"\0" * (len(content) % 2)
