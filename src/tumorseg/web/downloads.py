"""What can be downloaded of a scan: the kinds, their names and their types."""

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["mask", "nifti", "dicom-seg", "overlay", "contours", "report", "training"]

KINDS: tuple[Kind, ...] = ("mask", "nifti", "dicom-seg", "overlay", "contours", "report", "training")

MEDIA_TYPES = {
    ".zip": "application/zip",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".gz": "application/gzip",
    ".dcm": "application/dicom",
}
"""By the end of a file's name; all else is application/octet-stream."""


def kinds_of(record: Mapping[str, Any]) -> list[Kind]:
    """The kinds that there are of a scan: a DICOM-SEG refers to DICOM files that say where they lie."""
    placed = record["format_name"] == "DICOM" and record["affine"] is not None
    return [kind for kind in KINDS if kind != "dicom-seg" or placed]


def media_type(name: str) -> str:
    """Of a file, by its name."""
    return next((kind for suffix, kind in MEDIA_TYPES.items() if name.endswith(suffix)), "application/octet-stream")
