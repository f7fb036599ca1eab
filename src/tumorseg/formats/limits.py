"""How large a picture may call itself before a byte of it is unpacked."""

from pathlib import Path

from tumorseg.errors import FormatError
from tumorseg.formats.header import Header

MAX_FRAME_PIXELS = 8192 * 8192
MAX_BYTES = 4 * 2**30


def refuse_oversized(path: Path, header: Header) -> None:
    """Raise FormatError where the header promises more than anyone's scan holds."""
    if header.height * header.width > MAX_FRAME_PIXELS:
        raise FormatError(
            f"{path} calls itself {header.width} x {header.height} pixels, more than the {MAX_FRAME_PIXELS:,} that "
            "are unpacked",
            next_step="crop or shrink it",
        )
    if (size := header.slices * header.slice_bytes) > MAX_BYTES:
        raise FormatError(
            f"{path} would unpack to {size / 2**30:.1f} GiB, more than {MAX_BYTES // 2**30}",
            next_step="split it into several files",
        )


def refuse_irregular(path: Path) -> None:
    """Raise FormatError where `path` is missing, empty, or no regular file: reading a pipe would wait for ever."""
    try:
        if not path.exists():
            raise FormatError(f"{path} does not exist", next_step="check the path")
        if not path.is_file():
            raise FormatError(f"{path} is not a regular file", next_step="leave it out")
        if path.stat().st_size == 0:
            raise FormatError(f"{path} is empty (0 bytes)", next_step="copy or export it again")
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error


def read_bytes(path: Path) -> bytes:
    """The whole content of a file.

    Raises:
        FormatError: it is missing, empty, no regular file, too large, or cannot be read.
    """
    refuse_irregular(path)
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path} is larger than {MAX_BYTES // 2**30} GiB", next_step="crop or shrink it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
