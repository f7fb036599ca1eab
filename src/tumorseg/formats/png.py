"""PNG: one slice, 8 or 16 bits, grey or RGB; colour tables are expanded, an opaque alpha channel is dropped."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, OutputError, ShapeMismatch
from tumorseg.files import atomic_write
from tumorseg.formats.header import Header
from tumorseg.formats.limits import read_bytes, refuse_irregular, refuse_oversized
from tumorseg.formats.mask_values import binary, single_channel
from tumorseg.scan import Mask, Pixels

SUFFIXES = (".png",)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = struct.Struct(">IIBB")
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
"""By colour type: grey, RGB, colour table, grey and alpha, RGB and alpha."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values of a stored pixel, by colour type."""

_PALETTE = 3
_KIND, _INTERLACED = 25, 28
"""Where the header has them, in bytes from the beginning."""

_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Of an interlaced picture: first row and column, and steps between rows and columns (PNG specification, 8.1)."""

_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_AGAIN = "copy or export it again"


def read_header(path: Path) -> Header:
    """Shape and type of a PNG; its pixels stay packed.

    Raises:
        FormatError: not a PNG, or too large.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        return _header(path, file.read(len(_SIGNATURE) + 8 + _START.size))[0]


def read_png(path: Path) -> Pixels:
    """The slice, (1, height, width, channels), uint8 or uint16; channels as RGB.

    Raises:
        FormatError: not a PNG, damaged, truncated, too large, or with transparent pixels.
    """
    content = read_bytes(path)
    header, depth, kind = _header(path, content)
    packed = _plain(path, content, _unpacked_bytes(header, depth, kind, interlaced=content[_INTERLACED:][:1] > b"\0"))
    decoded = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.shape[:2] != (header.height, header.width) or decoded.dtype != header.dtype:
        raise FormatError(f"{path} is damaged", next_step=_AGAIN)
    frame = decoded if decoded.ndim == 3 else decoded[..., None]
    if frame.shape[-1] == 4:
        if np.any(frame[..., 3] != (65535 if header.dtype == np.uint16 else 255)):
            raise FormatError(f"{path} has transparent pixels", next_step="save it without an alpha channel")
        frame = frame[..., :3]
    if header.channels == 1:
        return frame[None, ..., :1]
    return np.ascontiguousarray(frame[None, ..., ::-1])


def read_labels_png(path: Path) -> Mask:
    """The values of a mask as stored, (1, height, width) uint8; see `tumorseg.formats.mask_values`."""
    labels = single_channel(path, read_png(path))
    _, depth, kind = _header(path, read_bytes(path))
    # Of 2 and 4 bits the decoder makes 8 by scaling; 1 bit is 0 and 255 as in other masks.
    return labels // np.uint8(255 // (2**depth - 1)) if depth in (2, 4) and kind == 0 else labels


def read_mask_png(path: Path) -> Mask:
    """A mask of one class, (1, height, width) uint8, 0 and 1; the file holds 0 and one other value."""
    return binary(path, read_labels_png(path))


def write_mask_png(path: Path, mask: Mask | NDArray[np.bool_], *, classes: int = 1) -> None:
    """Write a mask of one slice, whole or not at all: 0 and 255 for one class, the class index for several.

    Raises:
        OutputError: the file cannot be written.
        ShapeMismatch: the mask has several slices.
    """
    frames = mask if mask.ndim == 3 else mask[None]
    if frames.ndim != 3 or len(frames) != 1:
        raise ShapeMismatch(f"a mask of shape {mask.shape} does not fit into {path}, which holds one slice")
    frame = frames[0]
    values = (frame != 0).astype(np.uint8) * 255 if classes == 1 else frame.astype(np.uint8)
    whole, content = cv2.imencode(".png", values)
    if not whole:
        raise OutputError(f"cannot write {path}: it could not be encoded")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.tobytes())


def write_png(path: Path, frame: Pixels) -> None:
    """Write one slice, whole or not at all.

    Args:
        path: of the file.
        frame: (height, width, channels) uint8 or uint16; one channel, or three as RGB.

    Raises:
        OutputError: the file cannot be written.
    """
    whole, content = cv2.imencode(".png", np.ascontiguousarray(frame[..., ::-1]))
    if not whole:
        raise OutputError(f"cannot write {path}: it could not be encoded")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.tobytes())


def _header(path: Path, content: bytes) -> tuple[Header, int, int]:
    """The header, the bits of a value and the colour type."""
    start = len(_SIGNATURE) + 8
    if not content.startswith(_SIGNATURE) or content[start - 4 : start] != b"IHDR":
        raise FormatError(f"{path} is not a PNG", next_step="export it again")
    if len(content) < start + _START.size:
        raise FormatError(f"{path} is truncated", next_step=_AGAIN)
    width, height, depth, kind = _START.unpack_from(content, start)
    if kind not in _CHANNELS or not width or not height or depth not in (1, 2, 4, 8, 16):
        raise FormatError(f"{path} is damaged", next_step=_AGAIN)
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    header = Header(1, height, width, _CHANNELS[kind], dtype)
    refuse_oversized(path, header)
    return header, depth, kind


def _unpacked_bytes(header: Header, depth: int, kind: int, *, interlaced: bool) -> int:
    """How many bytes the rows unpack to, each with one byte for its filter."""
    bits = depth * _SAMPLES[kind]
    sizes = [(header.height, header.width)]
    if interlaced:
        sizes = [
            (-(-(header.height - top) // down), -(-(header.width - left) // across))
            for top, left, down, across in _PASSES
        ]
    return sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0)


def _plain(path: Path, content: bytes, expected: int) -> bytes:
    """The file without all that is no pixel, such as texts that are bombs, after a look at every part.

    The decoder returns what it could of a file that is cut or has flipped bits, and complains on its own.
    """
    kept, last = [content[: len(_SIGNATURE)]], b""
    unpacking, unpacked = zlib.decompressobj(), 0
    names = set()
    try:
        for name, start, end in _chunks(content):
            if start is None:
                raise FormatError(f"{path} is damaged or truncated", next_step=_AGAIN)
            last = name
            names.add(name)
            if name in _KEPT:
                kept.append(content[start:end])
            if name == b"IDAT" and unpacked <= expected:
                unpacked += len(unpacking.decompress(content[start + 8 : end - 4], expected + 1 - unpacked))
    except zlib.error as error:
        raise FormatError(f"{path} is damaged", next_step=_AGAIN) from error
    if last != b"IEND":
        raise FormatError(f"{path} is truncated", next_step=_AGAIN)
    if unpacked != expected or (content[_KIND] == _PALETTE and b"PLTE" not in names):
        raise FormatError(f"{path} is damaged: its pixels are not those of its size", next_step=_AGAIN)
    return b"".join(kept)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int | None, int]]:
    """Name of each chunk, where it begins (None where it is cut or has a wrong checksum) and where it ends."""
    place = len(_SIGNATURE)
    view = memoryview(content)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name = content[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(content):
            yield name, None, len(content)
            return
        (stored,) = struct.unpack_from(">I", content, end)
        yield name, place if zlib.crc32(view[place + 4 : end]) == stored else None, end + 4
        if name == b"IEND":
            return
        place = end + 4
