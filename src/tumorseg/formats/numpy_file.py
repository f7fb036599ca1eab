"""NumPy: arrays in .npy and .npz. No pickle is ever read, and no array is allocated before its header was believed.

An image is (height, width), (slices, height, width) or (slices, height, width, channels); three axes of which the last
has four entries or fewer are refused, since they could be slices or channels. An .npz keeps the image under the key
`image` and the mask under `mask`; beside them it may keep `channels`, the names of the channels, and `affine`,
(4, 4), which takes (slice, row, column, 1) to RAS+ millimetres.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.files import atomic_write
from tumorseg.formats.archive import Archive
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_irregular, refuse_oversized
from tumorseg.formats.mask_values import binary, single_channel
from tumorseg.formats.volume import Volume, stack_channels
from tumorseg.scan import Geometry, Mask, Pixels

SUFFIXES = (".npy", ".npz")
IMAGE, MASK, CHANNELS, AFFINE = "image", "mask", "channels", "affine"
MOST_CHANNELS = 4
"""A last axis of three that is no longer than this could be channels."""

_AGAIN = "copy or save it again"
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_MOST_NAMES = 64
_PART = 2**24


def read_header(path: Path) -> Header:
    """Shape and type of the image; its numbers stay packed.

    Raises:
        FormatError: no NumPy file, damaged, too large, of Python objects, or of a shape that could mean two things.
    """
    with _opened(path, IMAGE) as file:
        return _header(path, file)[0]


def read_volume(paths: Sequence[Path]) -> Volume:
    """One file, or one per sequence, as one volume.

    Raises:
        FormatError: see `read_header`; truncated; or with numbers without a value.
        ShapeMismatch: the files are of different shapes.
    """
    return stack_channels([_read_one(Path(path)) for path in paths]) if len(paths) != 1 else _read_one(Path(paths[0]))


def read_geometry(paths: Sequence[Path]) -> Geometry | None:
    """Where the voxels lie, of an .npz that keeps an affine; else None."""
    path = Path(paths[0])
    return _geometry(path, Archive(path)) if path.suffix.lower() == ".npz" else None


def read_array(path: Path) -> Pixels:
    """The image of one file, (slices, height, width, channels), the stored dtype."""
    return _read_one(Path(path)).pixels


def read_labels_array(path: Path) -> Mask:
    """The values of a mask as stored, (slices, height, width) uint8; see `tumorseg.formats.mask_values`."""
    return single_channel(path, _array(Path(path), MASK))


def read_mask_array(path: Path) -> Mask:
    """A mask of one class, (slices, height, width) uint8, 0 and 1; the file holds 0 and one other value."""
    return binary(path, read_labels_array(path))


def write_mask(path: Path, mask: Mask, like: Sequence[Path]) -> None:
    """Write a mask, whole or not at all: 0 and 1, or 0…K, with as many axes as the image has without its channels.

    Args:
        path: ending in .npy, or in .npz, which keeps it under the key `mask`.
        mask: (slices, height, width).
        like: the files of the volume.

    Raises:
        OutputError: the file cannot be written.
        ShapeMismatch: the mask's size is not the image's.
    """
    with _opened(like[0], IMAGE) as file:
        header, axes = _header(like[0], file)
    if mask.shape != header.shape[:3]:
        raise ShapeMismatch(f"a mask of shape {mask.shape} is not of {like[0]}, which is read as {header.shape[:3]}")
    stored = np.ascontiguousarray(mask[0] if axes == 2 else mask, dtype=np.uint8)
    content = io.BytesIO()
    if Path(path).suffix.lower() == ".npz":
        arrays: dict[str, Any] = {MASK: stored}
        np.savez_compressed(content, **arrays)
    else:
        np.save(content, stored, allow_pickle=False)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _read_one(path: Path) -> Volume:
    pixels = _array(path, IMAGE)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise FormatError(f"{path} holds numbers without a value (NaN or infinite)", next_step="replace them")
    names, geometry = None, None
    if path.suffix.lower() == ".npz":
        archive = Archive(path)
        names = _names(path, archive, pixels.shape[-1])
        geometry = _geometry(path, archive)
    return Volume(pixels, geometry, names, (path,))


def _array(path: Path, key: str) -> Pixels:
    with _opened(path, key) as file:
        header, _ = _header(path, file)
        dtype, order = _stored(path, file, rewind=True)[1:]
        content = bytearray()
        size = int(np.prod(header.shape)) * dtype.itemsize
        while len(content) < size:
            part = file.read(min(_PART, size - len(content)))
            if not part:
                raise FormatError(f"{path} is truncated", next_step=_AGAIN)
            content += part
    stored: NDArray[Any] = np.frombuffer(content, dtype)
    shape = header.shape
    if order:
        # Leading and trailing axes of one entry change nothing of Fortran's order.
        return np.ascontiguousarray(stored.reshape(shape, order="F").astype(header.dtype, copy=False))
    return stored.reshape(shape).astype(header.dtype, copy=False)


@contextmanager
def _opened(path: Path, key: str) -> Iterator[IO[bytes]]:
    """The bytes of the one array that is wanted."""
    path = Path(path)
    refuse_irregular(path)
    if path.suffix.lower() != ".npz":
        try:
            with open(path, "rb") as file:
                yield file
        except OSError as error:
            raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
        return
    archive = Archive(path)
    if f"{key}.npy" not in archive.names:
        there = ", ".join(sorted(name.removesuffix(".npy") for name in archive.names)[:5])
        raise FormatError(
            f"{path} has no array {key}, but {there or 'none at all'}", next_step=f"save it under the key {key}"
        )
    with archive.opened(f"{key}.npy") as content:
        yield content


def _header(path: Path, file: IO[bytes]) -> tuple[Header, int]:
    """What the array would be, and how many axes it has."""
    lengths, dtype, _ = _stored(path, file)
    if len(lengths) == 3 and lengths[-1] <= MOST_CHANNELS:
        raise FormatError(
            f"{path} has the shape {lengths}: its last axis could be columns or channels",
            next_step="save it as (slices, height, width, channels)",
        )
    if not 2 <= len(lengths) <= 4:
        raise FormatError(
            f"{path} has the shape {lengths}, which is no scan",
            next_step="save it as (height, width), (slices, height, width) or (slices, height, width, channels)",
        )
    slices, height, width, channels = {2: (1, *lengths, 1), 3: (*lengths, 1), 4: lengths}[len(lengths)]
    native = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
    header = Header(slices, height, width, channels, native)
    if 0 in header.shape:
        raise FormatError(f"{path} has the shape {lengths}, which is empty", next_step=_AGAIN)
    refuse_oversized(path, header)
    return header, len(lengths)


def _stored(path: Path, file: IO[bytes], *, rewind: bool = False) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and whether in Fortran's order, as the array's own header has them."""
    from numpy.lib import format as npy

    if rewind:
        file.seek(0)
    try:
        version = npy.read_magic(file)
        if version not in _VERSIONS:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    except Exception as error:  # the header is parsed as Python, whose parser raises many kinds
        raise FormatError(f"{path} is not NumPy, or is damaged or truncated", next_step=_AGAIN) from error
    if dtype.hasobject:
        raise FormatError(f"{path} holds Python objects, which are never loaded", next_step="save an array of numbers")
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or dtype.subdtype is not None:
        raise FormatError(f"{path} holds {dtype}, not numbers", next_step="save it as uint8, int16 or float32")
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise FormatError(f"{path} is damaged: it has the shape {shape}", next_step=_AGAIN)
    return tuple(shape), dtype, bool(fortran)


def _names(path: Path, archive: Archive, count: int) -> tuple[str, ...] | None:
    values = _small(path, archive, CHANNELS)
    if values is None:
        return None
    if values.dtype.kind != "U" or values.shape != (count,) or not all(values.tolist()):
        raise FormatError(f"{path}: {CHANNELS} does not name its {count} channels", next_step="give one name for each")
    return tuple(str(name) for name in values)


def _geometry(path: Path, archive: Archive) -> Geometry | None:
    values = _small(path, archive, AFFINE)
    if values is None:
        return None
    if values.shape != (4, 4) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise FormatError(f"{path}: {AFFINE} is no affine of (4, 4)", next_step="leave it out, or save it again")
    if abs(np.linalg.det(values[:3, :3])) < 1e-9:
        raise FormatError(f"{path}: {AFFINE} is singular", next_step="leave it out, or save it again")
    return Geometry(values.astype(np.float64))


def _small(path: Path, archive: Archive, key: str) -> NDArray[Any] | None:
    """A small array beside the image; None where there is none."""
    if f"{key}.npy" not in archive.names:
        return None
    content = archive.read(f"{key}.npy")
    try:
        values: NDArray[Any] = np.load(content, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path}: {key} cannot be read", next_step=_AGAIN) from error
    if values.size > _MOST_NAMES:
        raise FormatError(f"{path}: {key} has {values.size} entries", next_step=_AGAIN)
    return values
