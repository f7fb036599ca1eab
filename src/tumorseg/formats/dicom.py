"""DICOM images: one file, a series of them, or one file of many frames, as one volume where it lay in the patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.dicom_file import SUFFIXES, is_dicom, named_damage, read_dataset
from tumorseg.formats.dicom_frames import Frame, frames_of
from tumorseg.formats.dicom_pixels import decode
from tumorseg.formats.dicom_series import Series, SeriesListing, find_series, unpack_series
from tumorseg.formats.dicom_stack import Stack, stack_frames
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_oversized
from tumorseg.formats.volume import Volume
from tumorseg.scan import Geometry, Pixels

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "SUFFIXES",
    "Series",
    "SeriesListing",
    "find_series",
    "is_dicom",
    "read_dicom",
    "read_geometry",
    "read_header",
    "read_stack",
    "read_volume",
    "unpack_series",
]


def read_header(path: Path) -> Header:
    """Shape and type of what one file holds; its pixels stay packed.

    Raises:
        FormatError: not DICOM, damaged, no grey image, or too large.
    """
    stack, _ = read_stack([path])
    return _header(stack)


def read_stack(paths: Sequence[Path]) -> tuple[Stack, dict[Path, "Dataset"]]:
    """The frames of one series, sorted, by the attributes of its files alone; and these attributes.

    Raises:
        FormatError: a file is not DICOM, no grey image or damaged, is of another series, or lies where it cannot.
        ShapeMismatch: slices differ in size.
    """
    datasets: dict[Path, Dataset] = {}
    frames: list[Frame] = []
    first = ""
    for path in map(Path, paths):
        dataset = read_dataset(path, pixels=False)
        with named_damage(path):
            series = str(dataset.get("SeriesInstanceUID", ""))
        if datasets and series != first:
            raise FormatError(
                f"{path} is of another series than {next(iter(datasets)).name}", next_step="give one series at a time"
            )
        first = series
        datasets[path] = dataset
        frames += frames_of(path, dataset)
    stack = stack_frames(frames)
    refuse_oversized(stack.frames[0].path, _header(stack))
    return stack, datasets


def read_volume(paths: Sequence[Path]) -> Volume:
    """All files of one series as one volume; sequences in several series are joined by `join_sequences`.

    Whole numbers keep their type where no file rescales them, else the volume is float32.

    Raises:
        FormatError: see `read_stack`; or the pixels cannot be decoded.
        ShapeMismatch: slices differ in size.
    """
    stack, datasets = read_stack(paths)
    header = _header(stack)
    stored = np.empty((len(stack.frames), *stack.frames[0].shape), header.dtype)
    places: dict[Path, list[tuple[int, Frame]]] = {}
    for place, frame in enumerate(stack.frames):
        places.setdefault(frame.path, []).append((place, frame))
    for path, wanted in places.items():
        dataset = read_dataset(path)
        pixels = decode(path, dataset, frames_of(path, dataset))
        for place, frame in wanted:
            picture = pixels[frame.index]
            if frame.is_scaled:
                picture = picture.astype(np.float64) * frame.slope + frame.intercept
            stored[place] = picture
    with named_damage(stack.frames[0].path):
        one = datasets[stack.frames[0].path]
        description = str(one.get("SeriesDescription") or one.get("ProtocolName") or "")
        modality = str(one.get("Modality") or "")
    warnings = stack.warnings
    if modality and modality != "MR":
        warnings = (f"{stack.frames[0].path.name} is {modality}, not MR", *warnings)
    return Volume(
        np.ascontiguousarray(stack.orientation.canonical(stored))[..., None],
        stack.geometry,
        None,
        stack.sources,
        warnings,
        description,
    )


def read_geometry(paths: Sequence[Path]) -> Geometry | None:
    """Where the voxels of a series lie; None where its files do not say. See `read_stack`."""
    return read_stack(paths)[0].geometry


def read_dicom(path: Path) -> Pixels:
    """The pixels of one file, (slices, height, width, 1); see `read_volume`."""
    return read_volume([path]).pixels


def refuse_other_shape(mask: tuple[int, ...], stack: Stack) -> None:
    """Raise ShapeMismatch where a mask of such a shape is not one of the stack's volume."""
    if mask != stack.shape:
        raise ShapeMismatch(
            f"a mask of shape {mask} is not of the series of {stack.frames[0].path}, which is read as {stack.shape}"
        )


def _header(stack: Stack) -> Header:
    dtypes = {frame.dtype for frame in stack.frames}
    scaled = any(frame.is_scaled for frame in stack.frames)
    return Header(*stack.shape, 1, np.dtype(np.float32) if scaled or len(dtypes) > 1 else dtypes.pop())
