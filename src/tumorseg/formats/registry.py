"""The formats that are read and written, by the suffix of a file's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import FormatError
from tumorseg.formats import dicom, dicom_seg, jpeg, matlab, matlab_mask, nifti, numpy_file, png, tiff
from tumorseg.formats.header import Header
from tumorseg.formats.volume import Volume
from tumorseg.scan import Geometry, Mask, Pixels


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: as people call it.
        suffixes: in lower case, with the dot.
        header: shape and type of a file's pixels, without unpacking them.
        read: the pixels, (slices, height, width, channels).
        read_mask: a mask of one class, (slices, height, width) uint8, 0 and 1.
        read_labels: a mask's values as stored, (slices, height, width) uint8: class numbers, or 0 and 255.
        write_mask: writes (slices, height, width), whole or not at all; None where masks are not kept in it.
        read_volume: the files of one volume, with where it lies; None where a format knows nothing of that.
        write_mask_like: writes a mask of such a volume upon the grid of its files; None where `read_volume` is.
        read_geometry: where the voxels of such a volume lie, by the headers alone.
        holds_volumes: whether one file is a whole volume, so that numbered files are never slices of one.
    """

    name: str
    suffixes: tuple[str, ...]
    header: Callable[[Path], Header]
    read: Callable[[Path], Pixels]
    read_mask: Callable[[Path], Mask]
    read_labels: Callable[[Path], Mask]
    write_mask: Callable[[Path, Mask], None] | None
    read_volume: Callable[[Sequence[Path]], Volume] | None = None
    write_mask_like: Callable[[Path, Mask, Sequence[Path]], None] | None = None
    read_geometry: Callable[[Sequence[Path]], Geometry | None] | None = None
    holds_volumes: bool = False


FORMATS = {
    "tiff": Format(
        "TIFF",
        tiff.SUFFIXES,
        tiff.read_header,
        tiff.read_pages,
        tiff.read_mask_tiff,
        tiff.read_labels_tiff,
        tiff.write_mask_tiff,
    ),
    "png": Format(
        "PNG",
        png.SUFFIXES,
        png.read_header,
        png.read_png,
        png.read_mask_png,
        png.read_labels_png,
        png.write_mask_png,
    ),
    "jpeg": Format(
        "JPEG",
        jpeg.SUFFIXES,
        jpeg.read_header,
        jpeg.read_jpeg,
        jpeg.read_mask_jpeg,
        jpeg.read_labels_jpeg,
        None,
    ),
    "matlab": Format(
        "MATLAB",
        matlab.SUFFIXES,
        matlab.read_header,
        matlab.read_image,
        matlab_mask.read_mask_matlab,
        matlab_mask.read_labels_matlab,
        None,
    ),
    "nifti": Format(
        "NIfTI",
        nifti.SUFFIXES,
        nifti.read_header,
        nifti.read_nifti,
        nifti.read_mask_nifti,
        nifti.read_labels_nifti,
        None,
        nifti.read_volume,
        nifti.write_mask,
        nifti.read_geometry,
        holds_volumes=True,
    ),
    "numpy": Format(
        "NumPy",
        numpy_file.SUFFIXES,
        numpy_file.read_header,
        numpy_file.read_array,
        numpy_file.read_mask_array,
        numpy_file.read_labels_array,
        None,
        numpy_file.read_volume,
        numpy_file.write_mask,
        numpy_file.read_geometry,
        holds_volumes=True,
    ),
    "dicom": Format(
        "DICOM",
        dicom.SUFFIXES,
        dicom.read_header,
        dicom.read_dicom,
        dicom_seg.read_mask,
        dicom_seg.read_labels,
        None,
        dicom.read_volume,
        dicom_seg.write_mask,
        dicom.read_geometry,
    ),
}


def find_format(path: Path) -> Format | None:
    """The format that a file's name promises; None where it promises none that is known."""
    name = path.name.lower()
    return next((entry for entry in FORMATS.values() if name.endswith(entry.suffixes)), None)


def split_name(path: Path) -> tuple[str, str]:
    """Stem and suffix of a file of a known format; a suffix such as .nii.gz is one suffix.

    Raises:
        FormatError: no known format has such a suffix.
    """
    entry = find_format(path)
    if entry is None:
        known = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
        raise FormatError(f"{path} is of no format that is read", next_step=f"give files named {known}")
    length = max(len(suffix) for suffix in entry.suffixes if path.name.lower().endswith(suffix))
    return path.name[:-length], path.name[-length:]
