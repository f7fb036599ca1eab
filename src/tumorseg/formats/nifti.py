"""NIfTI: one volume a file, .nii or .nii.gz; one sequence, or several along the fourth axis.

Read in the canonical orientation (see `tumorseg.formats.orientation`); a mask is written on the axes of the file that
it belongs to, with that file's header, so that any viewer lays the one upon the other.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch, TumorsegError
from tumorseg.files import atomic_write
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_irregular, refuse_oversized
from tumorseg.formats.mask_values import binary, single_channel
from tumorseg.formats.nifti_header import GridHeader, parse_header
from tumorseg.formats.orientation import Orientation, orientation_of
from tumorseg.formats.volume import Volume, same_place, stack_channels
from tumorseg.scan import Geometry, Mask, Pixels

SUFFIXES = (".nii.gz", ".nii")
_AGAIN = "copy or export it again"
_PACKED = b"\x1f\x8b"
_HEADER_BYTES = 540


@dataclass(frozen=True)
class _Grid:
    """A file's header, and how its volume is turned."""

    header: GridHeader
    orientation: Orientation

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.orientation.shape(self.header.shape)

    @property
    def geometry(self) -> Geometry | None:
        if not self.header.is_measured:
            return None
        return Geometry(self.orientation.affine(self.header.affine, self.header.shape))


def read_header(path: Path) -> Header:
    """Shape and type of the volume as it is read; its voxels stay packed.

    Raises:
        FormatError: not NIfTI, damaged, too large, of five axes, of colours, or nowhere in space.
    """
    grid = _grid(path)
    return Header(*grid.shape, grid.header.channels, grid.header.result)


def read_volume(paths: Sequence[Path]) -> Volume:
    """One file, or one file per sequence, as one volume.

    Integers keep their type where the header does not scale them; what it scales, and float64, becomes float32.

    Args:
        paths: in the order of the channels; several hold one sequence each, on one grid.

    Raises:
        FormatError: not NIfTI, damaged, truncated, too large, or with numbers without a value.
        ShapeMismatch: the files lie on different grids.
    """
    return stack_channels([_read_one(Path(path)) for path in paths])


def read_nifti(path: Path) -> Pixels:
    """The voxels of one file, (slices, height, width, channels); see `read_volume`."""
    return _read_one(Path(path)).pixels


def read_labels_nifti(path: Path) -> Mask:
    """The values of a mask as stored, (slices, height, width) uint8; see `tumorseg.formats.mask_values`."""
    return single_channel(path, read_nifti(path))


def read_mask_nifti(path: Path) -> Mask:
    """A mask of one class, (slices, height, width) uint8, 0 and 1; the file holds 0 and one other value."""
    return binary(path, read_labels_nifti(path))


def read_geometry(paths: Sequence[Path]) -> Geometry | None:
    """Where the voxels of the first file lie, as they are read; None where its header names neither place nor unit."""
    return _grid(Path(paths[0])).geometry


def read_mask_like(path: Path, like: Sequence[Path]) -> Mask:
    """The values of a mask, brought to the axes of the volume that it belongs to, (slices, height, width) uint8.

    Raises:
        FormatError: either file is damaged.
        ShapeMismatch: the mask lies on another grid.
    """
    grid, own = _grid(like[0]), _grid(path)
    labels = read_labels_nifti(path)
    if labels.shape != grid.shape or not same_place(own.geometry, grid.geometry, grid.shape):
        raise ShapeMismatch(
            f"{path} does not lie on the grid of {like[0]}", next_step="resample the mask to the grid of the image"
        )
    return labels


def write_mask(path: Path, mask: Mask, like: Sequence[Path]) -> None:
    """Write a mask, whole or not at all, on the axes of the volume it was drawn on: 0 and 1, or 0…K.

    The header is that of the first source: affines and their codes, units, voxel sizes. One mask gives the same bytes
    each time.

    Args:
        path: ending in .nii or .nii.gz.
        mask: (slices, height, width), as the volume was read.
        like: the files of the volume.

    Raises:
        FormatError: the source cannot be read.
        OutputError: the file cannot be written.
        ShapeMismatch: the mask's size is not the volume's.
    """
    import gzip

    path, source = Path(path), Path(like[0])
    grid = _grid(source)
    if mask.shape != grid.shape:
        raise ShapeMismatch(f"a mask of shape {mask.shape} is not of {source}, which is read as {grid.shape}")
    stored = np.asarray(grid.orientation.stored(mask), dtype=np.uint8).reshape(grid.header.written_shape)
    content = grid.header.mask_bytes(stored)
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)


def _grid(path: Path) -> _Grid:
    path = Path(path)
    refuse_irregular(path)
    with _damage_named(path), _unpacked(path) as file:
        header = parse_header(path, file.read(_HEADER_BYTES))
    grid = _Grid(header, orientation_of(header.affine))
    refuse_oversized(path, Header(*grid.shape, header.channels, max(header.stored, header.result, key=_size)))
    return grid


def _size(dtype: np.dtype[Any]) -> int:
    return dtype.itemsize


def _read_one(path: Path) -> Volume:
    grid = _grid(path)
    header = grid.header
    count = int(np.prod(header.shape)) * header.channels
    with _damage_named(path), _unpacked(path) as file:
        _skip(file, header.offset)
        content = _read(file, count * header.stored.itemsize)
        file.read(1)  # of a packed file that ends here, its checksum is compared only now
    if content is None:
        raise FormatError(f"{path} is truncated", next_step=_AGAIN)
    values = np.frombuffer(content, header.stored).reshape((*header.shape, header.channels), order="F")
    pixels, warnings = _valued(path, grid.orientation.canonical(header.scaled(values)))
    return Volume(
        np.ascontiguousarray(pixels), grid.geometry, None, (path,), (*header.warnings, *warnings), header.description
    )


def _valued(path: Path, pixels: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Voxels that all have a value; those around the head that have none become as dark as the darkest."""
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return pixels, ()
    none = np.isnan(pixels)
    corners = none[[0, -1]][:, [0, -1]][:, :, [0, -1]]
    if np.isinf(pixels).any() or none.all() or not corners.any():
        raise FormatError(
            f"{path} holds numbers without a value (NaN or infinite) within the image", next_step="replace them"
        )
    filled = np.where(none, pixels[~none].min(), pixels)
    return filled, (f"{path.name}: {np.count_nonzero(none):,} background voxels without a value (NaN) count as dark",)


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    """The unpacked bytes of a file, gzip or not, whatever its name says; they are unpacked as they are read."""
    import gzip

    with open(path, "rb") as file:
        packed = file.read(2) == _PACKED
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            yield unpacked


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except TumorsegError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} is damaged or truncated", next_step=_AGAIN) from error


def _skip(file: Any, count: int) -> None:
    """Read on to the voxels; what lies before them is dropped as it comes."""
    while count > 0:
        read = len(file.read(min(count, 2**20)))
        if not read:
            return
        count -= read


def _read(file: Any, count: int) -> bytearray | None:
    """So many bytes, or None where there are fewer; memory grows only as bytes arrive."""
    content = bytearray()
    while len(content) < count:
        part = file.read(min(count - len(content), 2**24))
        if not part:
            return None
        content += part
    return content
