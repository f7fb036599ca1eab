"""TIFF: the format of the LGG set. One page, or several of one size; 8 bits or more; one channel or many."""

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from tumorseg.errors import FormatError, ShapeMismatch, TumorsegError
from tumorseg.files import atomic_write
from tumorseg.formats.header import Header
from tumorseg.formats.limits import refuse_irregular, refuse_oversized
from tumorseg.formats.mask_values import single_channel
from tumorseg.scan import Mask, Pixels

Frame = NDArray[Any]
"""(height, width) or (height, width, channels), the stored dtype."""

SUFFIXES = (".tif", ".tiff")
MAX_PAGES = 100_000
_OPENCV = (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.PACKBITS, tifffile.COMPRESSION.JPEG)
"""What tifffile alone does not unpack, and OpenCV does."""

_DEFLATE = (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
_PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_ORIENTATION, _UPRIGHT = 274, 1
_COLOURS = 3
_WHITE_IS_ZERO = tifffile.PHOTOMETRIC.MINISWHITE
_PALETTE = tifffile.PHOTOMETRIC.PALETTE


def read_header(path: Path) -> Header:
    """Shape and type of a TIFF; its pixels stay packed.

    Raises:
        FormatError: not a TIFF, damaged, too large, or its pages differ.
    """
    with _opened(path) as pages:
        return _header(path, pages)


def read_tiff(path: Path) -> Frame:
    """Read a TIFF of one page.

    Returns:
        (height, width), or (height, width, channels) where there are several; the stored dtype.

    Raises:
        FormatError: not a TIFF, damaged, too large, or of several pages.
    """
    with _opened(path) as pages:
        if len(pages) != 1:
            raise FormatError(f"{path} has {len(pages)} pages, not 1", next_step="store one slice in a file")
        _header(path, pages)
        return _unpack(path, pages[0])


def read_pages(path: Path) -> Pixels:
    """Read all pages of a TIFF as the slices of one scan.

    Returns:
        (slices, height, width, channels), the stored dtype; one channel where the file has no channel axis.

    Raises:
        FormatError: not a TIFF, damaged, too large, or its pages differ.
    """
    with _opened(path) as pages:
        header = _header(path, pages)
        slices = np.empty(header.shape, header.dtype)
        for index, page in enumerate(pages):
            slices[index] = _unpack(path, page).reshape(slices.shape[1:])
        return slices


def read_mask_tiff(path: Path) -> Mask:
    """Read a mask of one class, (slices, height, width) uint8, 0 and 1; the file holds 0 and 255, or 0 and 1.

    Raises:
        FormatError: damaged, of several channels, or with grey values.
    """
    stored = read_pages(path)
    if stored.shape[-1] != 1:
        raise FormatError(f"{path} has {stored.shape[-1]} channels, not 1", next_step="store a mask as one channel")
    top = stored.max(initial=0)
    if top not in (0, 1, 255) or np.any((stored != 0) & (stored != top)):
        raise FormatError(f"{path} holds grey values, not 0 and 255", next_step="threshold the mask at 128")
    mask: Mask = (stored[..., 0] != 0).astype(np.uint8)
    return mask


def read_labels_tiff(path: Path) -> Mask:
    """The values of a mask as stored, (slices, height, width) uint8; see `tumorseg.formats.mask_values`."""
    return single_channel(path, read_pages(path))


def write_mask_tiff(path: Path, mask: Mask | NDArray[np.bool_], *, classes: int = 1) -> None:
    """Write a mask, whole or not at all: 0 and 255 for one class, the class index for several.

    Args:
        path: of the file; its folder is made.
        mask: (height, width), or (slices, height, width), which become pages; bool, or uint8 with 1…K the classes.
        classes: K.

    Raises:
        OutputError: the file cannot be written.
        ShapeMismatch: the mask has another number of axes.
    """
    if mask.ndim not in (2, 3):
        raise ShapeMismatch(f"a mask for {path} has {mask.ndim} axes, not 2 or 3")
    frames = mask if mask.ndim == 3 else mask[None]
    with atomic_write(path) as temporary, tifffile.TiffWriter(temporary) as writer:
        for frame in frames:
            values = (frame != 0).astype(np.uint8) * 255 if classes == 1 else frame.astype(np.uint8)
            writer.write(values, photometric="minisblack", compression="zlib", metadata=None, software="tumorseg")


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffPages]:
    """The pages of a file; whatever goes wrong inside a damaged file becomes one FormatError."""
    path = Path(path)
    refuse_irregular(path)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it says there, the errors here say
    try:
        with tifffile.TiffFile(path) as file:
            yield file.pages
    except TumorsegError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
    except tifffile.TiffFileError as error:
        raise FormatError(f"{path} is not a TIFF, or is damaged", next_step="export it again") from error
    except Exception as error:  # tifffile and its codecs raise almost anything on damaged bytes
        raise FormatError(f"{path} is damaged or truncated", next_step="copy or export it again") from error


def _header(path: Path, pages: tifffile.TiffPages) -> Header:
    count = len(pages)
    if count == 0:
        raise FormatError(f"{path} holds no picture", next_step="export it again")
    if count > MAX_PAGES:
        raise FormatError(f"{path} has {count} pages, more than {MAX_PAGES}", next_step="split it into several files")
    first = _one_page(path, pages[0])
    for page in pages[1:]:
        if (other := _one_page(path, page)) != first:
            raise FormatError(
                f"the pages of {path} differ: {_in_words(first)}, then {_in_words(other)}",
                next_step="store pages of one kind in a file",
            )
    refuse_oversized(path, replace(first, slices=count))
    return replace(first, slices=count)


def _in_words(header: Header) -> str:
    return f"{header.width} x {header.height} of {header.channels} {header.dtype} channels"


def _one_page(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> Header:
    if page.axes not in ("YX", "YXS", "SYX") or page.dtype is None or 0 in page.shape:
        raise FormatError(f"{path} is damaged or not a plain picture", next_step="export it again")
    if _photometric(page) == _PALETTE:
        raise FormatError(f"{path} has a colour table instead of grey values", next_step="save it as greyscale or RGB")
    shape = (*page.shape[1:], page.shape[0]) if page.axes == "SYX" else page.shape
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    return Header(1, height, width, channels, page.dtype)


def _unpack(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> Frame:
    """One page, upright and with channels last."""
    end = page.parent.filehandle.size
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset + count > end:
            raise FormatError(f"{path} is truncated", next_step="copy or export it again")
    if page.compression in _OPENCV:
        return _by_opencv(path, page)
    if page.compression in _DEFLATE:
        _refuse_bomb(path, page)
    elif page.compression != tifffile.COMPRESSION.NONE:
        raise FormatError(f"{path} is packed in a way that is not unpacked", next_step="save it without compression")
    frame: Frame = page.asarray()
    if page.axes == "SYX":
        frame = np.moveaxis(frame, 0, -1)
    if _photometric(page) == _WHITE_IS_ZERO and frame.dtype.kind in "bu":
        frame = ~frame  # of an unsigned number, its largest value minus itself
    return frame


def _refuse_bomb(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Raise FormatError where a strip or tile holds more than it shows: tifffile would unpack all of it."""
    keyframe = page.keyframe
    assert keyframe is not None and page.dtype is not None  # _header has read both
    most = int(np.prod(keyframe.chunks)) * page.dtype.itemsize
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        unpacking = zlib.decompressobj()
        if len(unpacking.decompress(file.read(count), most + 1)) > most:
            raise FormatError(f"{path} unpacks to more than its size says", next_step="export it again")


def _by_opencv(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> Frame:
    """One page that is packed in a way that tifffile alone does not unpack; channels last."""
    decoded: Sequence[Frame] = ()
    turned = page.keyframe.tags.valueof(_ORIENTATION, _UPRIGHT) != _UPRIGHT if page.keyframe is not None else True
    if _photometric(page) in _PLAIN and not turned:
        content = np.fromfile(path, np.uint8)
        _, decoded = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(page.index, page.index + 1))
    frame = np.asarray(decoded[0]) if len(decoded) == 1 else np.empty(0)
    header = _one_page(path, page)
    if frame.shape[:2] != header.shape[1:3] or frame.size != np.prod(header.shape) or frame.dtype != header.dtype:
        raise FormatError(
            f"{path} is damaged, or packed in a way that is not unpacked", next_step="save it without compression"
        )
    return frame[..., ::-1] if frame.ndim == 3 and frame.shape[-1] == _COLOURS else frame


def _photometric(page: tifffile.TiffPage | tifffile.TiffFrame) -> int:
    """What the values mean; pages that tifffile reads in short take it from their key frame."""
    keyframe = page.keyframe
    return -1 if keyframe is None else int(keyframe.photometric)
