"""A mask as a file of the format that its name says."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorseg.errors import DataError, FormatError
from tumorseg.files import atomic_write
from tumorseg.inference.places import OutputFormat

if TYPE_CHECKING:
    from tumorseg.api.model import SegmentedScan

_WANTED: dict[OutputFormat, str] = {"png": "png", "nifti": "nifti", "dicom-seg": "dicom"}
SUFFIXES = ".tif, .png, .nii, .nii.gz, .npy or .dcm"


def save_mask(answer: "SegmentedScan", path: Path) -> Path:
    """Write a mask, whole or not at all; see `SegmentedScan.save`."""
    from tumorseg.formats import FORMATS, find_format
    from tumorseg.formats.tiff import write_mask_tiff
    from tumorseg.inference.mask_files import Grid, write_mask_files

    kind, scan = find_format(path), answer.scan
    if kind is FORMATS["tiff"]:
        write_mask_tiff(path, answer.mask, classes=len(answer.classes))
        return path
    if path.suffix.lower() == ".npy":
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.save(file, answer.mask, allow_pickle=False)
        return path
    source = find_format(scan.sources[0]) if scan.sources else None
    if kind is FORMATS["dicom"] and source is not FORMATS["dicom"]:
        raise DataError(f"{scan.id} is no DICOM series, and its mask none", next_step=f"name it {SUFFIXES}")
    wanted = next((name for name, known in _WANTED.items() if kind is FORMATS[known]), None)
    if wanted is None:
        raise FormatError(f"masks are not saved as {path.name}", next_step=f"name it {SUFFIXES}")
    grid = Grid(source or FORMATS["numpy"], scan.sources, scan.slice_numbers)
    (written,) = write_mask_files(answer.mask, [path], scan, grid, wanted, answer.classes, answer.model)
    return written
