"""The formats that are read and written, by the suffix of a file's name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import FormatError
from tumorseg.formats import jpeg, matlab, png, tiff
from tumorseg.formats.header import Header
from tumorseg.scan import Mask, Pixels


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
    """

    name: str
    suffixes: tuple[str, ...]
    header: Callable[[Path], Header]
    read: Callable[[Path], Pixels]
    read_mask: Callable[[Path], Mask]
    read_labels: Callable[[Path], Mask]
    write_mask: Callable[[Path, Mask], None] | None


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
        matlab.read_mask_matlab,
        matlab.read_class_mask,
        None,
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
