"""DICOM-SEG: a mask as the segmentation object that PACS and viewers lay over the images it was drawn on."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.files import atomic_write
from tumorseg.formats.dicom import read_stack, refuse_other_shape
from tumorseg.formats.dicom_file import LABEL_MAP, SEGMENTATION, named_damage, read_dataset
from tumorseg.formats.dicom_stack import Stack
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_oversized
from tumorseg.formats.mask_values import binary
from tumorseg.formats.orientation import orientation_of
from tumorseg.scan import Geometry, Mask

if TYPE_CHECKING:
    from pydicom import Dataset

logger = logging.getLogger(__name__)

CLASSES = ("tumour",)
MANUFACTURER = "tumorseg"
SERIES_NUMBER = 9100
"""Beyond those that scanners number their own series with."""

_CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
_TYPE = ("108369006", "SCT", "Neoplasm")
_FAMILY = ("123110", "DCM", "Artificial Intelligence")
_EMPTY_IF_UNKNOWN = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime",
)  # fmt: skip
_PATIENT_GROUP = 0x0010
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_segmentation(
    path: Path,
    mask: Mask,
    like: Sequence[Path],
    *,
    classes: Sequence[str] = CLASSES,
    algorithm: str = "tumorseg",
    version: str = "",
) -> None:
    """Write a mask as binary segments, one for each class, whole or not at all.

    It refers to every source image and lies in their study and frame of reference. Slices without tumour are left
    out, as the standard allows; of a mask without any tumour all are kept, since an object needs one frame.

    Args:
        path: of the new file.
        mask: (slices, height, width) uint8, 0 background and 1…K, as `read_volume` read the series.
        like: the files of the series.
        classes: names of the values 1…K.
        algorithm: the name of what drew the mask, such as the model's.
        version: of it; "" takes that of this package.

    Raises:
        FormatError: a source cannot be read, or does not say where it lies.
        OutputError: the file cannot be written.
        ShapeMismatch: the mask's size is not the series'.
    """
    import highdicom as hd

    stack, datasets = read_stack(like)
    refuse_other_shape(mask.shape, stack)
    if mask.max(initial=0) > len(classes):
        raise ShapeMismatch(f"a mask holds {mask.max()}, but {len(classes)} classes are named: {', '.join(classes)}")
    first = stack.frames[0].path
    if stack.geometry is None:
        raise FormatError(
            f"{first} does not say where it lies, so that no DICOM-SEG can refer to it",
            next_step="choose --format nifti or png",
        )
    own_version = version or _package_version()
    stored, sources = _on_frames(stack, mask, datasets)
    with named_damage(first):
        identity = hd.AlgorithmIdentificationSequence(
            name=algorithm[:64], version=own_version[:64], family=hd.sr.CodedConcept(*_FAMILY)
        )
        segments = [
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=hd.sr.CodedConcept(*_CATEGORY),
                segmented_property_type=hd.sr.CodedConcept(*_TYPE),
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=identity,
            )
            for number, name in enumerate(classes, start=1)
        ]
        written = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=stored,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name="tumorseg",
            software_versions=_package_version(),
            device_serial_number="0",
            series_description="Tumour outline, drawn by a program",
            content_label="TUMOUR",
            content_description="Not a medical device; review before use",
            omit_empty_frames=bool(stored.any()),
        )
        _without_invalid(written)
    with atomic_write(path) as temporary:
        written.save_as(temporary)


def write_mask(path: Path, mask: Mask, like: Sequence[Path]) -> None:
    """Write a mask as DICOM-SEG, its classes named tumour, or class-1 … where there are several."""
    most = int(mask.max(initial=0))
    classes = CLASSES if most <= 1 else tuple(f"class-{number}" for number in range(1, most + 1))
    write_segmentation(path, mask, like, classes=classes)


def read_segmentation(path: Path, like: Sequence[Path] | None = None) -> Mask:
    """The segments of a DICOM-SEG as one mask, (slices, height, width) uint8, segment numbers as values.

    Args:
        path: the DICOM-SEG.
        like: the files of the series it was drawn on: the mask comes out on that volume's grid. Without them it comes
            out in the canonical orientation, from the first to the last slice that the file itself holds.

    Raises:
        FormatError: no DICOM-SEG, damaged, or with segments that overlap.
        ShapeMismatch: it was drawn on other images.
    """
    import highdicom as hd

    dataset = read_dataset(path)
    with named_damage(path):
        if str(dataset.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
            raise FormatError(f"{path} is no DICOM-SEG", next_step="give a segmentation, not an image")
        frames, segments = int(dataset.get("NumberOfFrames") or 1), dataset.get("SegmentSequence") or []
        refuse_oversized(path, Header(frames, int(dataset.Rows), int(dataset.Columns), 1, np.dtype(np.uint8)))
        if not 1 <= len(segments) <= 255:
            raise FormatError(f"{path} has {len(segments)} segments", next_step="give one with 1 to 255")
        segmentation = hd.seg.Segmentation.from_dataset(dataset, copy=False)
        try:
            return _own_grid(segmentation) if like is None else _on_grid(path, segmentation, like)
        except RuntimeError as error:  # as highdicom names an overlap
            raise FormatError(
                f"{path} has segments that overlap or cannot be laid out", next_step="export it without overlaps"
            ) from error


def read_labels(path: Path) -> Mask:
    """The values of a DICOM-SEG on its own grid; see `read_segmentation`."""
    return read_segmentation(path)


def read_mask_geometry(path: Path) -> Geometry:
    """Where the voxels of a DICOM-SEG on its own grid lie, see `read_segmentation`.

    Raises:
        FormatError: no DICOM-SEG, or damaged.
    """
    import highdicom as hd

    dataset = read_dataset(path)
    with named_damage(path):
        if str(dataset.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
            raise FormatError(f"{path} is no DICOM-SEG", next_step="give a segmentation, not an image")
        geometry = hd.seg.Segmentation.from_dataset(dataset, copy=False).get_volume_geometry()
        if geometry is None:
            raise FormatError(f"{path} holds slices at uneven distances", next_step="export it on one regular grid")
        affine = _LPS_TO_RAS @ np.asarray(geometry.affine, np.float64)
        shape = tuple(int(length) for length in geometry.spatial_shape)
        turned = orientation_of(affine, slice_axis=0).affine(affine, shape)
    return Geometry(turned, str(dataset.get("FrameOfReferenceUID", "")))


def read_mask(path: Path) -> Mask:
    """A DICOM-SEG of one segment on its own grid, 0 and 1; see `read_segmentation`."""
    return binary(path, read_segmentation(path))


def _on_frames(stack: Stack, mask: Mask, datasets: dict[Path, "Dataset"]) -> tuple[NDArray[np.uint8], list["Dataset"]]:
    """The mask in the order of the source's frames as they are stored, and the source's attributes."""
    from pydicom.uid import generate_uid

    stored = np.ascontiguousarray(stack.orientation.stored(mask), dtype=np.uint8)
    paths = list(dict.fromkeys(frame.path for frame in stack.frames))
    if len(paths) == 1:
        order = np.argsort([frame.index for frame in stack.frames])
        stored = stored[order]
    sources = [datasets[path] for path in paths]
    for source in sources:
        for keyword in _EMPTY_IF_UNKNOWN:
            if keyword not in source:
                setattr(source, keyword, None)
        if not source.get("FrameOfReferenceUID"):
            # The images say where they lie, but not in which space; the segmentation must name one.
            source.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(source.get("SeriesInstanceUID", ""))])
    return stored, sources


def _without_invalid(written: "Dataset") -> None:
    """Empty what was copied of the patient and is not as DICOM demands: an age of 42 must be 042Y."""
    from pydicom import config
    from pydicom.valuerep import validate_value

    for element in written.group_dataset(_PATIENT_GROUP):
        values = element.value if element.VM > 1 else [element.value]
        try:
            for value in values:
                if element.VR != "SQ" and value is not None:
                    validate_value(element.VR, str(value), config.RAISE)
        except ValueError:
            logger.info("%s is no valid %s and is left out of the segmentation", element.name, element.VR)
            if element.keyword in _EMPTY_IF_UNKNOWN:
                setattr(written, element.keyword, None)
            else:
                del written[element.tag]


def _own_grid(segmentation: Any) -> Mask:
    volume = segmentation.get_volume(combine_segments=True, dtype=np.uint8)
    affine = _LPS_TO_RAS @ np.asarray(volume.affine, np.float64)
    labels: Mask = np.ascontiguousarray(orientation_of(affine, slice_axis=0).canonical(volume.array))
    return labels


def _on_grid(path: Path, segmentation: Any, like: Sequence[Path]) -> Mask:
    stack, datasets = read_stack(like)
    if segmentation.Rows != stack.frames[0].shape[0] or segmentation.Columns != stack.frames[0].shape[1]:
        raise ShapeMismatch(
            f"{path} was not drawn on the series of {like[0]}", next_step="give the series it refers to"
        )
    options = {"combine_segments": True, "ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
    if len(datasets) == 1:
        frame = stack.frames[0]
        _refuse_other_sources(path, segmentation, {frame.instance}, like)
        numbers = [frame.index + 1 for frame in stack.frames]
        stored = segmentation.get_pixels_by_source_frame(frame.instance, numbers, dtype=np.uint8, **options)
    else:
        instances = [frame.instance for frame in stack.frames]
        _refuse_other_sources(path, segmentation, set(instances), like)
        stored = segmentation.get_pixels_by_source_instance(instances, dtype=np.uint8, **options)
    labels: Mask = np.ascontiguousarray(stack.orientation.canonical(stored))
    return labels


def _refuse_other_sources(path: Path, segmentation: Any, instances: set[str], like: Sequence[Path]) -> None:
    referred = {str(uid) for _, _, uid in segmentation.get_source_image_uids()}
    if not referred & instances:
        raise ShapeMismatch(
            f"{path} was not drawn on the series of {like[0]}", next_step="give the series it refers to"
        )


def _package_version() -> str:
    from importlib.metadata import version

    return version("tumorseg")


def _drawn_elsewhere(path: Path, like: Sequence[Path]) -> ShapeMismatch:
    return ShapeMismatch(f"{path} was not drawn on the series of {like[0]}", next_step="give the series it refers to")
