"""A data set as arrays, pictures or volumes for other programs, with the two files that let it be read back."""

import csv
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from tumorseg.datasets.data_set import DataSet
from tumorseg.datasets.described import DESCRIPTION, TABLE
from tumorseg.datasets.open_data import open_data
from tumorseg.errors import DataError, OutputError, few
from tumorseg.files import atomic_folder, refuse_existing
from tumorseg.formats.nifti_plain import write_nifti
from tumorseg.formats.numpy_file import AFFINE, CHANNELS, IMAGE, MASK
from tumorseg.formats.png import write_mask_png, write_png
from tumorseg.progress import Progress, silent
from tumorseg.scan import Mask, Pixels, Scan

logger = logging.getLogger(__name__)

Target = Literal["npz", "png", "nifti"]
TARGETS: tuple[Target, ...] = ("npz", "png", "nifti")

_PICTURE_CHANNELS = (1, 3)
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True)
class _Row:
    """One line of the table; paths relative to it."""

    image: str
    mask: str
    slice_number: int | None = None


def export_data(folder: Path, output: Path, *, to: str, progress: Progress = silent) -> Path:
    """Write every scan of a data set with its mask into a new folder, whole or not at all.

    Beside the files lie `dataset.csv`, with image, mask, patient and scan of each, and `dataset.yaml`, with the names
    of channels and classes: `open_data` reads the same pixels, masks and patients from the folder.

    Args:
        folder: the data set, as `open_data` takes it.
        output: the new folder.
        to: `npz`, one file for each scan with the arrays image (slices, height, width, channels), mask (slices,
            height, width), slice_numbers, channels, classes and, where it is known, affine; `png`, one picture for
            each slice under images/ and masks/; `nifti`, one volume for each scan under images/ and masks/.
        progress: told of each scan.

    Returns:
        The new folder.

    Raises:
        DataError: the data set cannot be read, or its pixels cannot be kept in PNG.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    output = Path(output).resolve()
    if to not in TARGETS:
        raise DataError(f"--to {to} is unknown", next_step=f"choose one of {', '.join(TARGETS)}")
    refuse_existing(output)
    if output.is_relative_to(Path(folder).resolve()):
        raise OutputError(f"{output} lies in the data set itself", next_step="choose another --output")
    data = open_data(folder, progress=progress)
    write = _WRITERS[to]
    rows: list[list[Any]] = []
    unknown: list[str] = []
    with atomic_folder(output) as temporary:
        names = _names(data)
        for scan in progress.track(data.scans, what=f"Writing {to}", total=len(data.scans)):
            if scan.read_reference is None:
                raise DataError(f"scan {scan.id} has no mask", next_step="export a data set with masks")
            pixels, mask = scan.read_pixels(), scan.read_reference()  # not kept: a data set may exceed the memory
            if scan.spacing is None:
                unknown.append(scan.id)
            for row in write(temporary, names[scan.id], scan, pixels, mask, data):
                place: list[Any] = [row.image, row.mask, scan.patient, scan.id]
                rows.append([*place, row.slice_number if to == "png" else "", scan.institution])
        _write_table(temporary / TABLE, rows, with_slices=to == "png")
        described = {"channels": list(data.channels), "classes": list(data.classes)}
        (temporary / DESCRIPTION).write_text(yaml.safe_dump(described, allow_unicode=True), encoding="utf-8")
    if unknown and to == "nifti":
        logger.warning(
            "the spacing of %d scans is unknown (%s): their voxels are written with the size 1 of an unknown unit",
            len(unknown),
            few(unknown),
        )
    return output


def _write_npz(folder: Path, name: str, scan: Scan, pixels: Pixels, mask: Mask, data: DataSet) -> list[_Row]:
    arrays: dict[str, Any] = {
        IMAGE: pixels,
        MASK: mask,
        "slice_numbers": np.array(_numbers(scan, len(pixels)), np.int64),
        CHANNELS: np.array(scan.channels),
        "classes": np.array(data.classes),
    }
    if scan.geometry is not None:
        arrays[AFFINE] = scan.geometry.affine
    file = f"scans/{name}.npz"
    (folder / "scans").mkdir(exist_ok=True)
    np.savez_compressed(folder / file, **arrays)
    return [_Row(file, file)]


def _write_png(folder: Path, name: str, scan: Scan, pixels: Pixels, mask: Mask, data: DataSet) -> list[_Row]:
    if pixels.shape[-1] not in _PICTURE_CHANNELS:
        raise DataError(
            f"scan {scan.id} has {pixels.shape[-1]} channels, and a PNG holds 1 or 3",
            next_step="choose --to npz or nifti",
        )
    if pixels.dtype != np.uint8:
        whole = pixels.astype(np.uint16)
        if pixels.dtype.kind == "f" or not np.array_equal(whole, pixels):
            raise DataError(
                f"scan {scan.id} holds {pixels.dtype} from {pixels.min():g} to {pixels.max():g}, and a PNG holds whole "
                "numbers from 0 to 65,535",
                next_step="choose --to npz or nifti",
            )
        pixels = whole
    rows = []
    for number, frame, outline in zip(_numbers(scan, len(pixels)), pixels, mask, strict=True):
        row = _Row(f"images/{name}_{number}.png", f"masks/{name}_{number}.png", number)
        write_png(folder / row.image, frame)
        write_mask_png(folder / row.mask, outline, classes=len(data.classes))
        rows.append(row)
    return rows


def _write_nifti(folder: Path, name: str, scan: Scan, pixels: Pixels, mask: Mask, data: DataSet) -> list[_Row]:
    row = _Row(f"images/{name}.nii.gz", f"masks/{name}.nii.gz")
    write_nifti(folder / row.image, pixels, scan.geometry, spacing=scan.spacing)
    write_nifti(folder / row.mask, mask, scan.geometry, spacing=scan.spacing)
    return [row]


_Writer = Callable[[Path, str, Scan, Pixels, Mask, DataSet], list[_Row]]
_WRITERS: Mapping[str, _Writer] = {"npz": _write_npz, "png": _write_png, "nifti": _write_nifti}


def _names(data: DataSet) -> dict[str, str]:
    """A file name for each scan, by its id: letters, digits, dots and dashes, no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for scan in data.scans:
        plain = _UNSAFE.sub("_", scan.id).strip("._") or "scan"
        name, count = plain, 1
        while name.lower() in taken:
            count += 1
            name = f"{plain}-{count}"
        taken.add(name.lower())
        names[scan.id] = name
    return names


def _numbers(scan: Scan, count: int) -> tuple[int, ...]:
    return scan.slice_numbers if len(scan.slice_numbers) == count else tuple(range(1, count + 1))


def _write_table(path: Path, rows: list[list[Any]], *, with_slices: bool) -> None:
    columns = ["image", "mask", "patient", "scan", "slice", "institution"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in [columns, *rows]:
            writer.writerow([value for name, value in zip(columns, row, strict=True) if with_slices or name != "slice"])
