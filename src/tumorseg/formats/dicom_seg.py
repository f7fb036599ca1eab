"""DICOM-SEG: a mask as the segmentation object that PACS and viewers lay over the images it was drawn on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.files import atomic_write
from tumorseg.formats.dicom import read_stack, refuse_other_shape
from tumorseg.formats.dicom_file import LABEL_MAP, SEGMENTATION, named_damage, read_dataset
from tumorseg.formats.dicom_seg_frames import SegmentFrames, on_own_grid, on_stack, own_affine, segment_frames
from tumorseg.formats.dicom_seg_object import Drawn, segmentation_object
from tumorseg.formats.mask_values import binary
from tumorseg.formats.orientation import orientation_of
from tumorseg.scan import Geometry, Mask

CLASSES = ("tumour",)


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
    with named_damage(first):
        written = segmentation_object(
            np.ascontiguousarray(stack.orientation.stored(mask), dtype=np.uint8),
            stack.frames,
            datasets,
            Drawn(classes, algorithm, own_version, _package_version()),
        )
    with atomic_write(path) as temporary:
        written.save_as(temporary, enforce_file_format=True)


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
    found = _frames(path)
    if like is None:
        mask, affine = on_own_grid(found)
        labels: Mask = np.ascontiguousarray(orientation_of(affine, slice_axis=0).canonical(mask))
        return labels
    stack, _ = read_stack(like)
    if found.pixels.shape[1:] != stack.frames[0].shape:
        raise ShapeMismatch(
            f"{path} was not drawn on the series of {like[0]}", next_step="give the series it refers to"
        )
    return np.ascontiguousarray(stack.orientation.canonical(on_stack(found, stack)))


def read_labels(path: Path) -> Mask:
    """The values of a DICOM-SEG on its own grid; see `read_segmentation`."""
    return read_segmentation(path)


def read_mask_geometry(path: Path) -> Geometry:
    """Where the voxels of a DICOM-SEG on its own grid lie, see `read_segmentation`.

    Raises:
        FormatError: no DICOM-SEG, or damaged.
    """
    found = _frames(path, pixels=False)
    affine, _, slices = own_affine(found)
    shape = slices, *found.pixels.shape[1:]
    turned = orientation_of(affine, slice_axis=0).affine(affine, shape)
    return Geometry(turned, found.frame_of_reference)


def read_mask(path: Path) -> Mask:
    """A DICOM-SEG of one segment on its own grid, 0 and 1; see `read_segmentation`."""
    return binary(path, read_segmentation(path))


def _frames(path: Path, *, pixels: bool = True) -> SegmentFrames:
    """What a file holds, which must be a DICOM-SEG."""
    dataset = read_dataset(path, pixels=pixels)
    with named_damage(path):
        if str(dataset.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
            raise FormatError(f"{path} is no DICOM-SEG", next_step="give a segmentation, not an image")
        return segment_frames(path, dataset, pixels=pixels)


def _package_version() -> str:
    from importlib.metadata import version

    return version("tumorseg")
