"""A mask as MATLAB v7.3: the variable `tumorMask`, logical, or uint8 where there are several classes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.files import atomic_write
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_oversized
from tumorseg.formats.matlab import opened, read_class_mask
from tumorseg.scan import Mask

if TYPE_CHECKING:
    import h5py

VARIABLE = "tumorMask"
_OPENING = b"MATLAB 7.3 MAT-file, Platform: any, Created by tumorseg HDF5 schema 1.00 ."
_VERSION = b"\x00\x02IM"
_TEXT_BYTES = 124
_USER_BLOCK = 512
_AGAIN = "copy or write it again"


def write_mask_matlab(path: Path, mask: Mask, *, classes: int = 1) -> None:
    """Write a mask of one slice, whole or not at all.

    Args:
        path: ending in .mat.
        mask: (1, height, width) uint8, 1…K the classes; several classes are stored as their index.
        classes: K.

    Raises:
        OutputError: the file cannot be written.
        ShapeMismatch: the mask has several slices.
    """
    import h5py

    if mask.ndim != 3 or len(mask) != 1:
        raise ShapeMismatch(f"a mask of shape {mask.shape} does not fit into {path}, which holds one slice")
    values = (mask[0] != 0).astype(np.uint8) if classes == 1 else mask[0]
    with atomic_write(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=_USER_BLOCK) as file:
            # HDF5 holds MATLAB's arrays transposed.
            stored = file.create_dataset(VARIABLE, data=np.ascontiguousarray(values.T), compression="gzip")
            stored.attrs["MATLAB_class"] = np.bytes_("logical" if classes == 1 else "uint8")
            if classes == 1:
                stored.attrs["MATLAB_int_decode"] = np.int32(1)
        with open(temporary, "r+b") as block:
            block.write(_OPENING.ljust(_TEXT_BYTES) + _VERSION)


def read_labels_matlab(path: Path) -> Mask:
    """The values of a mask that was written here, or of one of the figshare set, (1, height, width) uint8.

    Of the former, logical ones are 0 and 255: tumour, of whichever class. See `tumorseg.formats.mask_values`.

    Raises:
        FormatError: damaged, or neither.
    """
    with opened(path) as file:
        if VARIABLE not in file:
            return read_class_mask(path)
        stored = _stored(path, file)
        logical = stored.attrs.get("MATLAB_class") == b"logical"
        mask: Mask = np.ascontiguousarray(stored[()].T)[None]
        return np.where(mask != 0, np.uint8(255), np.uint8(0)) if logical else mask


def read_mask_matlab(path: Path) -> Mask:
    """The tumour's mask, (1, height, width) uint8, 0 and 1."""
    mask: Mask = (read_labels_matlab(path) != 0).astype(np.uint8)
    return mask


def _stored(path: Path, file: "h5py.File") -> "h5py.Dataset":
    """The mask, which must lie in this file itself."""
    import h5py

    if not isinstance(file.get(VARIABLE, getlink=True), h5py.HardLink):
        raise FormatError(f"{path} has no {VARIABLE} of its own", next_step=_AGAIN)
    stored = file[VARIABLE]
    if not isinstance(stored, h5py.Dataset) or stored.dtype != np.uint8 or stored.ndim != 2 or stored.external:
        raise FormatError(f"{path} holds a {VARIABLE} that is no mask", next_step=_AGAIN)
    refuse_oversized(path, Header(1, stored.shape[1], stored.shape[0], 1, stored.dtype))
    return stored
