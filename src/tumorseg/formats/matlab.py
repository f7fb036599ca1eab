"""MATLAB v7.3: the format of the figshare set. One slice a file, in a struct `cjdata`; HDF5 below.

HDF5 holds MATLAB's arrays transposed. Nothing outside the file is followed: no soft or external link, no dataset
whose bytes lie elsewhere, no reference.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, TumorsegError
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_irregular, refuse_oversized
from tumorseg.scan import Mask, Pixels

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".mat",)
STRUCT = "cjdata"
LABELS = (1, 2, 3)
MOST_CHARACTERS = 256
MOST_FOLDS = 1_000_000
_IMAGE_TYPES = (np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.uint8))
_OLD = b"MATLAB 5.0 MAT-file"
_AGAIN = "copy or download it again"


@dataclass(frozen=True)
class Identity:
    """What a slice's file says without its pixels: the patient's id as published, and the tumour's type, 1 to 3."""

    patient: str
    label: int


def read_identity(path: Path, content: BinaryIO | None = None) -> Identity:
    """Whose slice a file holds, and which type of tumour.

    Args:
        path: of the file; with `content`, only its name for people.
        content: the file's bytes, where they lie in an archive.

    Raises:
        FormatError: not MATLAB v7.3, damaged, or without the fields of the figshare set.
    """
    with _struct(path, content) as struct:
        return Identity(_text(path, struct, "PID"), _label(path, struct))


def read_image(path: Path, content: BinaryIO | None = None) -> Pixels:
    """The slice, upright as MATLAB shows it, (1, height, width, 1) int16 as published; see `read_identity`."""
    with _struct(path, content) as struct:
        stored = _plane(path, struct, "image")
        if stored.dtype not in _IMAGE_TYPES:
            raise FormatError(f"{path} holds an image of {stored.dtype}, not int16", next_step=_AGAIN)
        return np.ascontiguousarray(stored[()].T)[None, ..., None]


def read_class_mask(path: Path, content: BinaryIO | None = None) -> Mask:
    """The tumour's mask with its type as the value, (1, height, width) uint8; see `read_identity`."""
    with _struct(path, content) as struct:
        label = _label(path, struct)
        stored = _plane(path, struct, "tumorMask")
        if stored.dtype.kind not in "bu" or stored.dtype.itemsize > 1:
            raise FormatError(f"{path} holds a mask of {stored.dtype}, not of true and false", next_step=_AGAIN)
        if stored.shape != (size := _plane(path, struct, "image").shape):
            raise FormatError(f"{path} holds a mask of {stored.shape} for an image of {size}", next_step=_AGAIN)
        inside: NDArray[np.uint8] = np.ascontiguousarray(stored[()].T).astype(np.uint8)
        if inside.max(initial=0) > 1:
            raise FormatError(f"{path} holds a mask with other values than 0 and 1", next_step=_AGAIN)
        return (inside * np.uint8(label))[None]


def holds_image(path: Path) -> bool:
    """Whether a file holds a slice with its image, as those of the figshare set do; True of a damaged one."""
    try:
        with opened(path) as file:
            return STRUCT in file
    except FormatError:
        return True


def read_header(path: Path) -> Header:
    """Shape and type of the slice; its pixels stay packed."""
    with _struct(path, None) as struct:
        stored = _plane(path, struct, "image")
        return Header(1, stored.shape[1], stored.shape[0], 1, stored.dtype)


def read_folds(path: Path, content: BinaryIO | None = None) -> NDArray[np.int64]:
    """The variable `cvind`: the published fold, from 1, of each file in the order of their numbers, (files,) int64.

    Raises:
        FormatError: neither MATLAB v5 nor v7.3, or without a vector of that name.
    """
    if content is None:
        refuse_irregular(path)
    values: NDArray[Any]
    if _first_bytes(path, content).startswith(_OLD):
        from scipy.io import loadmat

        try:
            source: Any = path if content is None else content  # SciPy reads both; its types know of names alone
            values = np.asarray(loadmat(source, variable_names=["cvind"])["cvind"])
        except Exception as error:  # whatever SciPy meets in damaged bytes
            raise FormatError(f"{path} holds no readable cvind", next_step=_AGAIN) from error
    else:
        with opened(path, content) as file:
            stored = _dataset(path, file, "cvind")
            if stored.size > MOST_FOLDS:
                raise FormatError(f"{path} names folds for {stored.size:,} files", next_step=_AGAIN)
            values = stored[()]
    values = values.ravel()
    if values.dtype.kind not in "iuf" or not values.size or np.any(values != np.round(values)) or values.min() < 1:
        raise FormatError(f"{path} holds no folds that count from 1", next_step=_AGAIN)
    return values.astype(np.int64)


def _first_bytes(path: Path, content: BinaryIO | None) -> bytes:
    if content is None:
        with open(path, "rb") as file:
            return file.read(len(_OLD))
    start = content.read(len(_OLD))
    content.seek(0)
    return start


@contextmanager
def opened(path: Path, content: BinaryIO | None = None) -> Iterator["h5py.File"]:
    """The HDF5 file; whatever goes wrong inside a damaged one becomes one FormatError."""
    import h5py

    path = Path(path)
    if content is None:
        refuse_irregular(path)
    try:
        with h5py.File(content or path, "r", **({} if content else {"locking": False})) as file:
            yield file
    except TumorsegError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
    except Exception as error:  # HDF5 raises almost anything on damaged bytes
        if _first_bytes(path, content and _rewound(content)).startswith(_OLD):
            raise FormatError(f"{path} is MATLAB v5, not v7.3", next_step="save it with -v7.3") from error
        raise FormatError(f"{path} is not MATLAB v7.3, or is damaged or truncated", next_step=_AGAIN) from error


def _rewound(content: BinaryIO) -> BinaryIO:
    content.seek(0)
    return content


@contextmanager
def _struct(path: Path, content: BinaryIO | None) -> Iterator["h5py.Group"]:
    import h5py

    with opened(path, content) as file:
        struct = _member(path, file, STRUCT)
        if not isinstance(struct, h5py.Group):
            raise FormatError(f"{path} holds a {STRUCT} that is no struct", next_step=_AGAIN)
        yield struct


def _member(path: Path, group: "h5py.Group", name: str) -> Any:
    """What is stored under a name in the file itself."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise FormatError(f"{path} has no field {name}", next_step="give files of the figshare set as published")
    if not isinstance(link, h5py.HardLink):
        raise FormatError(f"{path} keeps {name} behind a link, which is not followed", next_step=_AGAIN)
    return group[name]


def _dataset(path: Path, group: "h5py.Group", name: str) -> "h5py.Dataset":
    """An array of numbers that lies in the file itself."""
    import h5py

    stored = _member(path, group, name)
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "biuf" or stored.dtype.itemsize > 8:
        raise FormatError(f"{path} holds {name}, but not as an array of numbers", next_step=_AGAIN)
    if stored.external or stored.is_virtual:
        raise FormatError(f"{path} keeps {name} in another file, which is not opened", next_step=_AGAIN)
    for extent in (stored.shape, stored.chunks or ()):
        # A chunk is unpacked as a whole, however little of it the array shows.
        refuse_oversized(path, Header(1, int(np.prod(extent, dtype=object)), 1, 1, stored.dtype))
    return stored


def _plane(path: Path, struct: "h5py.Group", name: str) -> "h5py.Dataset":
    stored = _dataset(path, struct, name)
    if stored.ndim != 2 or 0 in stored.shape:
        raise FormatError(f"{path} holds {name} of shape {stored.shape}, not one slice", next_step=_AGAIN)
    return stored


def _text(path: Path, struct: "h5py.Group", name: str) -> str:
    """A MATLAB string: an array of character codes."""
    stored = _dataset(path, struct, name)
    codes = stored[()].ravel() if stored.size <= MOST_CHARACTERS and stored.dtype.kind in "ui" else np.empty(0, int)
    text = "".join(chr(code) if 32 <= code < 0xD800 else "\0" for code in codes.tolist()).strip()
    if not text or not text.isprintable():
        raise FormatError(f"{path} holds a {name} that is no text", next_step=_AGAIN)
    return text


def _label(path: Path, struct: "h5py.Group") -> int:
    stored = _dataset(path, struct, "label")
    value = stored[()].ravel()[0] if stored.size == 1 else None
    if value not in LABELS:
        raise FormatError(f"{path} has the label {value}, not 1, 2 or 3", next_step=_AGAIN)
    return int(value)
