"""JPEG: one slice, 8 bits, grey or RGB, upright as stored. Masks are read, but never written: it blurs their edges."""

import struct
from pathlib import Path

import cv2
import numpy as np

from tumorseg.errors import FormatError
from tumorseg.formats.header import Header
from tumorseg.formats.limits import read_bytes, refuse_oversized
from tumorseg.formats.mask_values import binary, single_channel
from tumorseg.scan import Mask, Pixels

SUFFIXES = (".jpg", ".jpeg")
_FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN_START = 0xDA
_END = b"\xff\xd9"
_BLOCK = 8
"""Pixels along a side of what is coded together, in one bit at least."""

_AGAIN = "copy or export it again"


def read_header(path: Path) -> Header:
    """Shape and type of a JPEG; its pixels stay packed.

    Raises:
        FormatError: not a JPEG, damaged, or too large.
    """
    return _walk(path, read_bytes(path))[0]


def read_jpeg(path: Path) -> Pixels:
    """The slice, (1, height, width, channels) uint8; channels as RGB. What EXIF says of its orientation is ignored.

    Raises:
        FormatError: not a JPEG, damaged, truncated, or too large.
    """
    content = read_bytes(path)
    header, scan = _walk(path, content)
    blocks = -(-header.height // _BLOCK) * -(-header.width // _BLOCK)
    if content.find(_END, scan) < 0 or (len(content) - scan) * 8 < blocks:
        raise FormatError(f"{path} is truncated", next_step=_AGAIN)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.shape[:2] != (header.height, header.width):
        raise FormatError(f"{path} is damaged", next_step=_AGAIN)
    frame = decoded if decoded.ndim == 3 else decoded[..., None]
    return np.ascontiguousarray(frame[None, ..., ::-1])


def read_labels_jpeg(path: Path) -> Mask:
    """The values of a mask as stored, (1, height, width) uint8; see `tumorseg.formats.mask_values`."""
    return single_channel(path, read_jpeg(path))


def read_mask_jpeg(path: Path) -> Mask:
    """A mask of one class, (1, height, width) uint8, 0 and 1; the file holds 0 and one other value."""
    return binary(path, read_labels_jpeg(path))


def _walk(path: Path, content: bytes) -> tuple[Header, int]:
    """The header, and where the packed pixels begin."""
    if not content.startswith(b"\xff\xd8\xff"):
        raise FormatError(f"{path} is not a JPEG", next_step="export it again")
    header = None
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        if marker in _FRAME_STARTS and length >= 8 and place + 10 <= len(content):
            depth, height, width, components = struct.unpack_from(">BHHB", content, place + 4)
            if depth != 8 or components not in (1, 3) or not height or not width:
                raise FormatError(f"{path} is no JPEG of 8 bits, grey or RGB", next_step="save it as PNG")
            header = Header(1, height, width, 1 if components == 1 else 3, np.dtype(np.uint8))
            refuse_oversized(path, header)
        if marker == _SCAN_START and header is not None:
            return header, place
        place += 2 + length
    raise FormatError(f"{path} is damaged or truncated", next_step=_AGAIN)
