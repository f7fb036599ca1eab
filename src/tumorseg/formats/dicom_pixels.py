"""Decoding the pixels of a DICOM file, after a look at what its compressed pictures call themselves."""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError
from tumorseg.formats.dicom_file import named_damage
from tumorseg.formats.dicom_frames import Frame

if TYPE_CHECKING:
    from pydicom import Dataset

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_EIGHT_BITS = 8
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_BOX = b"jP  "
_JPEG_START = b"\xff\xd8"
_JPEG_FRAMES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
"""Markers that begin with a picture's size; the last is that of JPEG-LS."""


def decode(path: Path, dataset: "Dataset", frames: tuple[Frame, ...]) -> NDArray[Any]:
    """The pixels of one file as stored numbers, (frames, rows, columns).

    Pictures where the lowest number is white (MONOCHROME1) are turned round. `Frame.slope` is not applied.

    Raises:
        FormatError: no pixels, damaged, truncated, or encoded in a way that nothing here decodes.
    """
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise FormatError(f"{path} holds no pixels, or is truncated", next_step="copy or export it again")
    if "PixelData" not in dataset:
        raise FormatError(f"{path} holds values of floating point", next_step="export it with whole numbers")
    with named_damage(path):
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            refuse_other_sizes(path, dataset, len(frames), frames[0].shape)
        pixels = _decoded(path, dataset, syntax)
        shape = len(frames), *frames[0].shape
        if pixels.size != np.prod(shape):
            raise FormatError(f"{path} is damaged or truncated", next_step="copy or export it again")
        pixels = pixels.reshape(shape).astype(frames[0].dtype, copy=False)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = _turned_round(pixels, int(dataset.get("BitsStored") or dataset.BitsAllocated))
        return pixels


def _decoded(path: Path, dataset: "Dataset", syntax: Any) -> NDArray[Any]:
    from pydicom import pixels as codecs

    if syntax == _JPEG_EXTENDED and int(dataset.get("BitsStored") or 0) > _EIGHT_BITS:
        return _twelve_bits(dataset)
    try:
        decoder = codecs.get_decoder(syntax)  # type: ignore[attr-defined]  # documented, but not in its __all__
    except NotImplementedError as error:
        raise _unknown(path, syntax) from error
    if not decoder.is_available:
        raise _unknown(path, syntax)
    pixels, _ = decoder.as_array(dataset, raw=True)
    return pixels


def _twelve_bits(dataset: "Dataset") -> NDArray[Any]:
    """Lossy JPEG of 12 bits: GDCM decodes it, but pydicom does not ask GDCM for it."""
    import gdcm
    from pydicom.encaps import generate_frames

    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsStored)
    codec = gdcm.JPEGCodec()
    codec.SetNumberOfDimensions(2)
    codec.SetDimensions((columns, rows, 1))
    codec.SetPlanarConfiguration(0)
    codec.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    codec.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, int(dataset.PixelRepresentation)))
    pixel_data = gdcm.Tag(0x7FE0, 0x0010)
    frames = []
    count = int(dataset.get("NumberOfFrames") or 1)
    for content in generate_frames(dataset.PixelData, number_of_frames=count):
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(content)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        packed, unpacked = gdcm.DataElement(pixel_data), gdcm.DataElement(pixel_data)
        packed.SetValue(fragments.__ref__())
        with _quiet_library():
            decoded = codec.Decode(packed, unpacked)
        if not decoded:
            raise ValueError("GDCM cannot decode the picture")
        values = unpacked.GetByteValue().GetBuffer().encode("utf-8", errors="surrogateescape")
        frames.append(np.frombuffer(values, np.uint16).reshape(rows, columns))
    return np.stack(frames)


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Standard error closed to C code: GDCM tries 8 bits first, and libjpeg complains of it there in print."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _unknown(path: Path, syntax: Any) -> FormatError:
    return FormatError(f"{path} is encoded as {syntax.name}, which is not decoded", next_step="export it uncompressed")


def _turned_round(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """The lowest number that can be stored becomes the highest."""
    signed = pixels.dtype.kind == "i"
    total = -1 if signed else 2**bits - 1
    turned: NDArray[Any] = (np.int64(total) - pixels.astype(np.int64)).astype(pixels.dtype)
    return turned


def refuse_other_sizes(path: Path, dataset: "Dataset", frames: int, expected: tuple[int, int]) -> None:
    """Look at what compressed pictures call themselves: a decoder allocates that, not what the attributes say.

    Raises:
        FormatError: one is not of `expected` rows and columns, or there are fewer than `frames`.
    """
    from pydicom.encaps import generate_frames

    count = 0
    for content in generate_frames(dataset.PixelData, number_of_frames=frames):
        count += 1
        size = coded_size(content)
        if size is not None and size != expected:
            raise FormatError(
                f"{path} calls itself {expected[1]} x {expected[0]}, but a picture in it {size[1]} x {size[0]}",
                next_step="export it again",
            )
    if count < frames:
        raise FormatError(f"{path} is truncated: {count} of {frames} frames", next_step="copy or export it again")


def coded_size(content: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 picture calls itself; None where it is none of them."""
    start = content.find(_J2K_START, 0, 4096) if content[4:8] == _JP2_BOX else 0
    if start >= 0 and content.startswith(_J2K_START, start):
        right, bottom, left, top = struct.unpack_from(">IIII", content, start + 8)
        return bottom - top, right - left
    if not content.startswith(_JPEG_START):
        return None
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", content, place + 5)
            return int(rows), int(columns)
        place += 2 + length
    return None
