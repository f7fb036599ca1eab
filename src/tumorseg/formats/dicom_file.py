"""One DICOM file as a data set of attributes; whatever is damaged in it becomes one FormatError that names it."""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tumorseg.errors import FormatError, TumorsegError
from tumorseg.formats.limits import MAX_BYTES, refuse_irregular

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom", ".ima")
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"

_PREAMBLE = 128
_MARK = b"DICM"
_DIRECTORY = "1.2.840.10008.1.3.10"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_AGAIN = "copy or export it again"
_PART = 2**20


def is_dicom(path: Path) -> bool:
    """Whether a regular file begins as DICOM does, whatever its name; false where it cannot be read."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            return file.read(_PREAMBLE + len(_MARK))[_PREAMBLE:] == _MARK
    except OSError:
        return False


def read_dataset(path: Path, *, pixels: bool = True) -> "Dataset":
    """The attributes of a file.

    Args:
        path: of the file.
        pixels: read them too, still encoded; without them a large file is read no further than it must.

    Raises:
        FormatError: not DICOM, damaged, a directory of files (DICOMDIR), or unpacking to more than is read.
    """
    path = Path(path)
    refuse_irregular(path)
    if not is_dicom(path):
        with named_damage(path), open(path, "rb"):
            pass
        raise FormatError(f"{path} is not DICOM: it has no DICM mark at byte 128", next_step="give the scanner's files")
    with named_damage(path):
        import pydicom

        meta = pydicom.filereader.read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
            _refuse_deflated_bomb(path)
        if str(meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
            raise FormatError(f"{path} is a DICOMDIR, a list of other files", next_step="give the files it lists")
        return pydicom.dcmread(path, stop_before_pixels=not pixels)


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Make one FormatError of whatever pydicom and its codecs raise on damaged bytes, and quieten what they log."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TumorsegError:
        raise
    except MemoryError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
    except Exception as error:  # pydicom raises almost anything
        raise FormatError(f"{path} is damaged or truncated", next_step=_AGAIN) from error


def _refuse_deflated_bomb(path: Path) -> None:
    """Count what a deflated file unpacks to, part by part: pydicom would unpack it at once."""
    size = 0
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[140:144], "little")
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    left = content[144 + length :]
    while left and not inflating.eof:
        size += len(inflating.decompress(left, _PART))
        left = inflating.unconsumed_tail
        if size > MAX_BYTES // 4:
            raise FormatError(
                f"{path} would unpack to more than {MAX_BYTES // 2**32} GiB", next_step="split it into several files"
            )
