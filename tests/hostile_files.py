"""Inputs that no scanner wrote on purpose: what is damaged, lies about itself, or would take the machine with it.

Each builder writes its files into a folder of its own and gives what is handed to `tumorseg segment`. Those that are
unusual but whole hold the marker of `segmenting`, bright where it is expected; the others are refused.
"""

import io
import os
import socket
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pydicom
import tifffile
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_files import ENHANCED_MR, mr_dataset, place, save, write_enhanced
from matlab_files import sign
from segmenting import SIZE, marked, write_dicom, write_matlab, write_nifti

Builder = Callable[[Path], Path]

WHOLE: dict[str, Builder] = {}
"""What is odd and yet a scan, by what is odd about it."""

REFUSED: dict[str, Builder] = {}
"""What ends in one line."""


def whole(name: str) -> Callable[[Builder], Builder]:
    """Register a builder of a scan with the marker."""
    return lambda builder: WHOLE.setdefault(name, builder)


def refused(name: str) -> Callable[[Builder], Builder]:
    """Register a builder of what is no scan."""
    return lambda builder: REFUSED.setdefault(name, builder)


def slice8(bright: int = 200) -> np.ndarray:
    """(48, 48) uint8 with the marker."""
    return marked(1, bright=bright, dtype=np.uint8)[0]


def rgb() -> np.ndarray:
    """(48, 48, 3) uint8 with the marker in every channel."""
    return np.stack([slice8()] * 3, axis=-1)


def written(path: Path, content: bytes) -> Path:
    """The path, with that content."""
    path.write_bytes(content)
    return path


def cut(path: Path, share: float) -> Path:
    """The file, as much shorter."""
    content = path.read_bytes()
    return written(path, content[: int(len(content) * share)])


def changed(path: Path, at: int, content: bytes) -> Path:
    """The file with other bytes from `at` on."""
    old = bytearray(path.read_bytes())
    old[at : at + len(content)] = content
    return written(path, bytes(old))


# --- TIFF ---


def _tiff(name: str, pixels: np.ndarray, **options: Any) -> None:
    def build(folder: Path) -> Path:
        tifffile.imwrite(folder / "x.tif", pixels, **options)
        return folder / "x.tif"

    WHOLE[f"TIFF {name}"] = build


_tiff("in tiles", slice8(), tile=(16, 16))
_tiff("deflate with predictor", slice8(), compression="zlib", predictor=True)

for _name, _code in (("LZW", 5), ("packbits", 32_773), ("JPEG", 7)):

    @whole(f"TIFF {_name}")
    def _(folder: Path, code: int = _code) -> Path:
        assert cv2.imwrite(str(folder / "x.tif"), rgb(), [cv2.IMWRITE_TIFF_COMPRESSION, code])
        return folder / "x.tif"

    @refused(f"TIFF {_name}, cut")
    def _(folder: Path, code: int = _code) -> Path:
        assert cv2.imwrite(str(folder / "x.tif"), rgb(), [cv2.IMWRITE_TIFF_COMPRESSION, code])
        return cut(folder / "x.tif", 0.5)


_tiff("strips of one row", slice8(), rowsperstrip=1)
_tiff("planes apart", np.moveaxis(rgb(), -1, 0), photometric="rgb", planarconfig="separate")
_tiff("BigTIFF", slice8(), bigtiff=True)
_tiff("big-endian", marked(1, bright=60_000, dtype=np.uint16)[0], byteorder=">")
_tiff("32-bit float", marked(1)[0].astype(np.float32))
_tiff("64-bit float", marked(1)[0].astype(np.float64))
_tiff("16-bit float", marked(1)[0].astype(np.float16))
_tiff("32-bit whole numbers", marked(1, bright=2**31, dtype=np.uint32)[0])
_tiff("signed with negative values", marked(1)[0] - np.int16(500))
_tiff("ImageJ stack", marked(1, bright=200, dtype=np.uint8), imagej=True)


def _odd_tiff(name: str, pixels: np.ndarray, **options: Any) -> None:
    def build(folder: Path) -> Path:
        tifffile.imwrite(folder / "x.tif", pixels, **options)
        return folder / "x.tif"

    REFUSED[f"TIFF {name}"] = build


_odd_tiff("complex", slice8().astype(np.complex64))
_odd_tiff("of 1 bit", slice8() > 100)
_odd_tiff("CMYK", np.zeros((8, 8, 4), np.uint8), photometric="separated")
_odd_tiff("of 16 channels", np.zeros((8, 8, 16), np.uint8), photometric="minisblack", planarconfig="contig")
_odd_tiff("with NaN", np.full((8, 8), np.nan, np.float32))
_odd_tiff("palette", slice8(), photometric="palette", colormap=np.zeros((3, 256), np.uint16))


@refused("TIFF whose pages differ in size")
def _(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "x.tif") as file:
        file.write(slice8(), metadata=None)
        file.write(slice8()[:20], metadata=None)
    return folder / "x.tif"


for _share in (0.001, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9, 0.99):

    @refused(f"TIFF cut at {_share}")
    def _(folder: Path, share: float = _share) -> Path:
        tifffile.imwrite(folder / "x.tif", rgb(), photometric="rgb", compression="zlib")
        return cut(folder / "x.tif", share)


def ifd(*entries: tuple[int, int, int, int], then: int = 0, data: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory at byte 8; (tag, type, count, value) each."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + table + struct.pack("<I", then) + data


def plain_ifd(
    width: int,
    height: int,
    *,
    strip: tuple[int, int] = (200, 16),
    compression: int = 1,
    then: int = 0,
    data: bytes = b"",
) -> bytes:
    """The directory of a grey picture of 8 bits."""
    return ifd(
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 4, 1, strip[0]), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, strip[1]), then=then,
        data=data,
    )  # fmt: skip


@refused("TIFF of 30,000 x 30,000 in a header")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", plain_ifd(30_000, 30_000, data=bytes(300)))


@refused("TIFF of 2^32 x 2^32 in a header")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", plain_ifd(2**32 - 1, 2**32 - 1, data=bytes(300)))


@refused("TIFF of no width")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", plain_ifd(0, 4, data=bytes(300)))


@whole("TIFF whose directories go in a circle")
def _(folder: Path) -> Path:
    strip = (8 + 2 + 9 * 12 + 4, SIZE * SIZE)
    return written(folder / "x.tif", plain_ifd(SIZE, SIZE, strip=strip, then=8, data=slice8().tobytes()))


@refused("TIFF whose strip lies behind its end")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", plain_ifd(4, 4, strip=(2**31, 16)))


@refused("TIFF that is a bomb in one strip")
def _(folder: Path) -> Path:
    packed = zlib.compress(bytes(64 * 2**20), 9)
    start = 8 + 2 + 9 * 12 + 4
    return written(folder / "x.tif", plain_ifd(48, 48, strip=(start, len(packed)), compression=8) + packed)


@refused("TIFF with a directory of 65,535 entries")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(100))


@refused("TIFF whose directory lies in its header")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", b"II*\0" + struct.pack("<I", 0) + bytes(64))


@refused("TIFF with an unknown compression")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", plain_ifd(4, 4, strip=(122, 16), compression=31_337, data=bytes(300)))


@refused("TIFF that is a PNG")
def _(folder: Path) -> Path:
    return written(folder / "x.tif", png(slice8()))


# --- PNG ---


def png(pixels: np.ndarray) -> bytes:
    """Its bytes; channels as BGR."""
    return bytes(cv2.imencode(".png", pixels)[1])


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, depth: int, kind: int, rows: bytes, *more: bytes, interlaced: int = 0) -> bytes:
    """A PNG from its parts; `more` are chunks before the pixels."""
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(frame: np.ndarray) -> bytes:
    """Rows with their filter byte."""
    return b"".join(b"\0" + row.tobytes() for row in frame)


def _png(name: str, content: Callable[[], bytes], registry: dict[str, Builder] = WHOLE) -> None:
    registry[f"PNG {name}"] = lambda folder: written(folder / "x.png", content())


def interlaced_png() -> bytes:
    """In seven passes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(rows_of(slice8()[top::down, left::across]) for top, left, down, across in passes)
    return png_of(SIZE, SIZE, 8, 0, rows, interlaced=1)


GREY = b"".join(bytes([value] * 3) for value in range(256))

_png("16 bits", lambda: png(marked(1, bright=60_000, dtype=np.uint16)[0]))
_png("RGB", lambda: png(rgb()))
_png("RGBA, opaque", lambda: png(np.dstack([rgb(), np.full((SIZE, SIZE), 255, np.uint8)])))
_png("palette", lambda: png_of(SIZE, SIZE, 8, 3, rows_of(slice8()), chunk(b"PLTE", GREY)))
_png("of 1 bit", lambda: png_of(SIZE, SIZE, 1, 0, rows_of(np.packbits(slice8() > 100, axis=1))))
_png("grey with an opaque alpha channel", lambda: png_of(
    SIZE, SIZE, 8, 4, rows_of(np.dstack([slice8(), np.full((SIZE, SIZE), 255, np.uint8)]))))  # fmt: skip
_png("with bytes behind its end", lambda: png(slice8()) + bytes(1000))
_png("with a long text", lambda: png_of(
    SIZE, SIZE, 8, 0, rows_of(slice8()), chunk(b"tEXt", b"Comment\0" + b"a" * 100_000)))  # fmt: skip
_png("with a text that is a bomb", lambda: png_of(
    SIZE, SIZE, 8, 0, rows_of(slice8()),
    chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50 * 2**20), 9))))  # fmt: skip
_png("interlaced", lambda: interlaced_png())
_png("animated", lambda: png_of(
    SIZE, SIZE, 8, 0, rows_of(slice8()), chunk(b"acTL", struct.pack(">II", 1, 0)),
    chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, SIZE, SIZE, 0, 0, 1, 10, 0, 0))))  # fmt: skip

_png("with more packed pixels than it shows",
     lambda: png_of(SIZE, SIZE, 8, 0, rows_of(slice8()) + bytes(20 * 2**20)), REFUSED)  # fmt: skip
_png("with transparent pixels", lambda: png(np.dstack([rgb(), slice8()])), REFUSED)
_png("with fewer rows than it says", lambda: png_of(SIZE, SIZE, 8, 0, rows_of(slice8()[:10])), REFUSED)
_png("of 30,000 x 30,000 in a header", lambda: png_of(30_000, 30_000, 8, 0, bytes(100)), REFUSED)
_png("of 2^31 x 1", lambda: png_of(2**31 - 1, 1, 8, 0, bytes(100)), REFUSED)
_png("of no height", lambda: png_of(4, 0, 8, 0, b""), REFUSED)
_png("of an unknown kind", lambda: png_of(4, 4, 8, 5, bytes(100)), REFUSED)
_png("without pixels", lambda: png(slice8())[:33] + chunk(b"IEND", b""), REFUSED)
_png("palette without its table", lambda: png_of(SIZE, SIZE, 8, 3, rows_of(slice8())), REFUSED)
_png("with a chunk of 4 GiB", lambda: png(slice8())[:33] + b"\xff\xff\xff\xffIDAT" + bytes(100), REFUSED)
_png("that is a JPEG", lambda: jpeg(slice8()), REFUSED)
for _share in (0.1, 0.4, 0.8, 0.99):
    _png(f"cut at {_share}", lambda share=_share: png(rgb())[: int(len(png(rgb())) * share)], REFUSED)


# --- JPEG ---


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    """Its bytes; channels as BGR."""
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 100, *options])[1])


def _jpeg(name: str, content: Callable[[], bytes], registry: dict[str, Builder] = WHOLE) -> None:
    registry[f"JPEG {name}"] = lambda folder: written(folder / "x.jpg", content())


def resized_jpeg(height: int, width: int) -> bytes:
    """One that calls itself of another size."""
    content = jpeg(slice8())
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def cmyk_jpeg() -> bytes:
    """Four colours of ink: a header of four components, and what a decoder would make of it."""
    content = jpeg(rgb())
    place = content.index(b"\xff\xc0") + 2
    (length,) = struct.unpack_from(">H", content, place)
    parts = content[place + 8 : place + length]
    frame = struct.pack(">H", length + 3) + content[place + 2 : place + 7] + b"\x04" + parts + b"\x04\x11\x00"
    return content[:place] + frame + content[place + length :]


_jpeg("progressive", lambda: jpeg(slice8(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
_jpeg("with restarts", lambda: jpeg(slice8(), cv2.IMWRITE_JPEG_RST_INTERVAL, 1))
_jpeg("with bytes behind its end", lambda: jpeg(slice8()) + bytes(1000))
_jpeg("CMYK", cmyk_jpeg, REFUSED)
_jpeg("of 30,000 x 30,000 in a header", lambda: resized_jpeg(30_000, 30_000), REFUSED)
_jpeg("of no height", lambda: resized_jpeg(0, 48), REFUSED)
_jpeg("of far more rows than it holds", lambda: resized_jpeg(8000, 48), REFUSED)
_jpeg("of a start alone", lambda: b"\xff\xd8\xff", REFUSED)
_jpeg("of padding alone", lambda: b"\xff\xd8" + b"\xff" * 100_000, REFUSED)
_jpeg("that is a TIFF", lambda: plain_ifd(4, 4, data=bytes(300)), REFUSED)
for _share in (0.1, 0.5, 0.9, 0.999):
    _jpeg(f"cut at {_share}", lambda share=_share: jpeg(rgb())[: int(len(jpeg(rgb())) * share)], REFUSED)


# --- NIfTI ---


def nifti(folder: Path, *, dtype: type = np.int16, packed: bool = False) -> Path:
    """The marked volume; its header takes 352 bytes."""
    return write_nifti(folder / ("x.nii.gz" if packed else "x.nii"), marked(dtype=dtype))


def _nifti(name: str, at: int, kind: str, *values: Any, registry: dict[str, Builder] = REFUSED) -> None:
    """The marked volume with other values in its header."""
    content = struct.pack("<" + kind, *values)
    registry[f"NIfTI {name}"] = lambda folder: changed(nifti(folder), at, content)


_nifti("of 0 axes", 40, "h", 0)
_nifti("of 9 axes", 40, "h", 9)
_nifti("of -1 axes", 40, "h", -1)
_nifti("with a side of 0", 42, "h", 0)
_nifti("with a side of -48", 42, "h", -48)
_nifti("of 30,000 x 30,000", 42, "hhh", 30_000, 30_000, 1)
_nifti("of 32,767 cubed", 42, "hhh", 32_767, 32_767, 32_767)
_nifti("of an unknown type", 70, "h", 99)
_nifti("of 1-bit values", 70, "h", 1)
_nifti("of colours", 70, "hh", 128, 24)
_nifti("of complex numbers", 70, "hh", 32, 64)
_nifti("whose voxels begin nowhere", 108, "f", float("nan"))
_nifti("whose voxels begin before the header ends", 108, "f", 10.0)
_nifti("whose voxels begin behind the end", 108, "f", 1e7)
_nifti("scaled by infinity", 112, "ff", float("inf"), 0.0)
_nifti("with NaN in its place", 280, "f", float("nan"))
_nifti("with a singular place", 280, "ffff", 0.0, 0.0, 0.0, 0.0)
REFUSED["NIfTI with voxels of size 0 and no place"] = lambda folder: changed(
    changed(nifti(folder), 252, bytes(4)), 76, struct.pack("<ffff", 1, 0, 0, 0)
)
_nifti("of Analyze", 344, "4s", b"\0\0\0\0")
_nifti("whose voxels are in another file", 344, "4s", b"ni1\0")
_nifti("whose header is of another length", 0, "i", 999)
_nifti("with an unknown unit of length", 123, "B", 7, registry=WHOLE)
_nifti("with NaN for scaling", 112, "ff", float("nan"), float("nan"), registry=WHOLE)

for _kind in (np.uint8, np.uint16, np.int32, np.float32, np.float64, np.int64, np.uint64):

    @whole(f"NIfTI {np.dtype(_kind).name}")
    def _(folder: Path, kind: type = _kind) -> Path:
        volume = (marked() // 10).astype(kind)
        import nibabel as nib

        stored = np.moveaxis(volume, (0, 1, 2), (2, 1, 0))
        nib.save(nib.Nifti1Image(stored, np.diag([-1.0, -1.0, 4.0, 1.0]), dtype=kind), folder / "x.nii")
        return folder / "x.nii"


@whole("NIfTI that is not packed though its name says so")
def _(folder: Path) -> Path:
    return nifti(folder).rename(folder / "x.nii.gz")


@whole("NIfTI that is packed though its name does not say so")
def _(folder: Path) -> Path:
    return nifti(folder, packed=True).rename(folder / "x.nii")


@whole("NIfTI-2, big-endian")
def _(folder: Path) -> Path:
    import nibabel as nib

    header = nib.Nifti2Header(endianness=">")
    header.set_data_dtype(np.int16)
    stored = np.moveaxis(marked(), (0, 1, 2), (2, 1, 0))
    nib.save(nib.Nifti2Image(stored, np.diag([-1.0, -1.0, 4.0, 1.0]), header), folder / "x.nii")
    return folder / "x.nii"


@refused("NIfTI packed twice")
def _(folder: Path) -> Path:
    import gzip

    return written(folder / "x.nii.gz", gzip.compress(gzip.compress(nifti(folder).read_bytes())))


@refused("NIfTI of 200 sequences")
def _(folder: Path) -> Path:
    return write_nifti(folder / "x.nii", np.zeros((2, 8, 8, 200), np.uint8))


@refused("NIfTI that is a bomb behind its header")
def _(folder: Path) -> Path:
    import gzip

    head = changed(nifti(folder), 42, struct.pack("<hhh", 8000, 8000, 20)).read_bytes()[:352]
    return written(folder / "y.nii.gz", gzip.compress(head + bytes(20 * 2**20), 9))


@refused("NIfTI in colours of a PNG")
def _(folder: Path) -> Path:
    return written(folder / "x.nii", png(slice8()))


for _share in (0.01, 0.1, 0.5, 0.9, 0.999):

    @refused(f"NIfTI packed and cut at {_share}")
    def _(folder: Path, share: float = _share) -> Path:
        return cut(nifti(folder, packed=True), share)

    @refused(f"NIfTI cut at {_share}")
    def _(folder: Path, share: float = _share) -> Path:
        return cut(nifti(folder), share)


# --- NumPy ---


def npy(text: str, content: bytes = bytes(64), version: bytes = b"\x01\x00") -> bytes:
    """A file with that header."""
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(head)) + head + content


def _npy(name: str, value: Any, registry: dict[str, Builder] = REFUSED) -> None:
    def build(folder: Path) -> Path:
        if isinstance(value, bytes):
            return written(folder / "x.npy", value)
        np.save(folder / "x.npy", value, allow_pickle=True)
        return folder / "x.npy"

    registry[f"NumPy {name}"] = build


_npy("in Fortran's order", np.asfortranarray(marked()), WHOLE)
_npy("big-endian", marked().astype(">i2"), WHOLE)
_npy("of 16-bit floats", marked().astype(np.float16), WHOLE)
_npy("of 64-bit whole numbers", marked().astype(np.int64), WHOLE)
_npy("of true and false", marked() > 500, WHOLE)
_npy("of four axes", marked()[..., None], WHOLE)
_npy("of objects", np.array([[{}]], object))
_npy("of records", np.zeros((8, 8), [("a", "i2"), ("b", "f4")]))
_npy("of text", np.full((8, 8), "text"))
_npy("of dates", np.zeros((8, 8), "M8[s]"))
_npy("complex", np.zeros((8, 8), np.complex128))
_npy("of no axis", np.float32(3))
_npy("of one axis", np.zeros(100, np.float32))
_npy("of six axes", np.zeros((2,) * 6, np.float32))
_npy("with nothing in it", np.zeros((0, 8, 8), np.float32))
_npy("with infinity", np.full((8, 8), np.inf))
_npy("of 30,000 x 30,000 in a header", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (30000, 30000), }"))
_npy("of 2^62 slices in a header", npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**62}, 8, 8), }}"))
_npy("of a negative side", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-8, 8), }"))
_npy("whose side is a float", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8.0, 8), }"))
_npy("whose header is a program", npy("__import__('os').system('touch /tmp/never')"))
_npy("whose header lacks a key", npy("{'descr': '|u1'}"))
_npy("whose header is 4 GiB long", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(500))
_npy("whose header is deeply nested", npy("(" * 60 + ")" * 50))
_npy("of an unknown version", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8), }", version=b"\x09\x00"))


def npz(folder: Path, **arrays: Any) -> Path:
    """An archive of arrays."""
    np.savez_compressed(folder / "x.npz", **arrays)
    return folder / "x.npz"


@whole("NumPy archive with names")
def _(folder: Path) -> Path:
    return npz(folder, image=marked()[..., None], channels=np.array(["FLAIR"]))


@refused("NumPy archive without an image")
def _(folder: Path) -> Path:
    return npz(folder, picture=marked())


@refused("NumPy archive whose names are objects")
def _(folder: Path) -> Path:
    return npz(folder, image=marked()[..., None], channels=np.array([{}], object))


@refused("NumPy archive with too many names")
def _(folder: Path) -> Path:
    return npz(folder, image=marked()[..., None], channels=np.array(["FLAIR", "pre"]))


@refused("NumPy archive that points out of itself")
def _(folder: Path) -> Path:
    return zipped(folder / "x.npz", {"../image.npy": npy_bytes(marked())})


@refused("NumPy archive that is a bomb")
def _(folder: Path) -> Path:
    head = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8000, 8000), }", b"")
    return zipped(folder / "x.npz", {"image.npy": head + bytes(10 * 2**20)})


@refused("NumPy archive that is cut")
def _(folder: Path) -> Path:
    return cut(npz(folder, image=marked()), 0.7)


def npy_bytes(values: np.ndarray) -> bytes:
    """The file of an array."""
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


# --- MATLAB ---


def _mat(name: str, fill: Callable[[h5py.File, Path], None], registry: dict[str, Builder] = REFUSED) -> None:
    def build(folder: Path) -> Path:
        with h5py.File(folder / "x.mat", "w", userblock_size=512) as file:
            fill(file, folder)
        sign(folder / "x.mat")
        return folder / "x.mat"

    registry[f"MATLAB {name}"] = build


def _soft(file: h5py.File, folder: Path) -> None:
    file["secret"] = marked(1)[0]
    file.create_group("cjdata")["image"] = h5py.SoftLink("/secret")


def _external(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["image"] = marked(1)[0]
    file.create_group("cjdata")["image"] = h5py.ExternalLink("other.h5", "/image")


def _outside(file: h5py.File, folder: Path) -> None:
    written(folder / "raw.bin", marked(1)[0].tobytes())
    raw = [(str(folder / "raw.bin"), 0, 48 * 48 * 2)]
    file.create_group("cjdata").create_dataset("image", (48, 48), "i2", external=raw)


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((48, 48), "i2")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "image", (48, 48))
    file.create_group("cjdata").create_virtual_dataset("image", layout)


def _image(value: Any, **options: Any) -> Callable[[h5py.File, Path], None]:
    return lambda file, _: file.create_group("cjdata").create_dataset("image", data=value, **options) and None


def _huge(file: h5py.File, folder: Path) -> None:
    file.create_group("cjdata").create_dataset("image", (30_000, 30_000), "i2", chunks=(100, 100))


def _huge_chunk(file: h5py.File, folder: Path) -> None:
    file.create_group("cjdata").create_dataset(
        "image", (10, 10), "i2", chunks=(20_000, 20_000), maxshape=(None, None), compression="gzip"
    )


def _circle(file: h5py.File, folder: Path) -> None:
    group = file.create_group("cjdata")
    group["image"] = group


_mat("packed in chunks", _image(marked(1)[0].T, chunks=(8, 8), compression="gzip", shuffle=True), WHOLE)
_mat("with 16 bits without a sign", _image(marked(1)[0].T.astype(np.uint16)), WHOLE)
_mat("behind a soft link", _soft)
_mat("behind a link to another file", _external)
_mat("with its bytes in another file", _outside)
_mat("virtual", _virtual)
_mat("of 30,000 x 30,000", _huge)
_mat("with one huge chunk", _huge_chunk)
_mat("in a circle", _circle)
_mat("with an image of three axes", _image(np.zeros((4, 4, 4), np.int16)))
_mat("with an image of floats", _image(np.full((4, 4), np.nan)))
_mat("with an image of text", _image(b"text"))
_mat("with an image of records", _image(np.zeros((4, 4), [("a", "i2")])))
_mat("with an empty image", _image(np.zeros((0, 4), np.int16)))
_mat("without a struct", lambda file, _: file.create_group("other") and None)
_mat("with a struct that is an array", lambda file, _: file.create_dataset("cjdata", data=[1]) and None)


@refused("MATLAB v5")
def _(folder: Path) -> Path:
    return written(folder / "x.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM" + bytes(400))


for _share in (0.1, 0.4, 0.9):

    @refused(f"MATLAB cut at {_share}")
    def _(folder: Path, share: float = _share) -> Path:
        return cut(write_matlab(folder / "x.mat", marked(1)[0]), share)


# --- DICOM ---


def _dicom(name: str, registry: dict[str, Builder] = REFUSED, /, **attributes: Any) -> None:
    """One slice with other attributes; None leaves one out."""

    def build(folder: Path) -> Path:
        return save(place(mr_dataset(marked(1)[0].astype(np.uint16), **attributes), (0, 0, 0)), folder / "x.dcm")

    registry[f"DICOM {name}"] = build


_dicom("of 16 bits, 12 used", WHOLE, BitsStored=12, HighBit=11)
_dicom("scaled by infinity", RescaleSlope=float("inf"), RescaleIntercept=0)
_dicom("without a patient", WHOLE, PatientID=None, PatientName=None)
_dicom("without a series", SeriesInstanceUID=None)
_dicom("without an instance number", WHOLE, InstanceNumber=None)
_dicom("in an unknown character set", WHOLE, SpecificCharacterSet="ISO_IR 4711")
_dicom("with a long description", WHOLE, SeriesDescription="a" * 60)
_dicom("without pixels", PixelData=None)
_dicom("with fewer pixels than it says", PixelData=bytes(100))
_dicom("in colour", SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
_dicom("in YBR", SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0)
_dicom("with a palette", PhotometricInterpretation="PALETTE COLOR")
_dicom("with no rows", Rows=0)
_dicom("of 30,000 x 30,000", Rows=30_000, Columns=30_000)
_dicom("of 2^31 frames", NumberOfFrames=2**31 - 1)
_dicom("of -1 frames", NumberOfFrames=-1)
_dicom("of 64 bits", BitsAllocated=64, BitsStored=64, HighBit=63)
_dicom("of 1 bit", BitsAllocated=1, BitsStored=1, HighBit=0)
_dicom("scaled by 0", RescaleSlope=0, RescaleIntercept=0)
_dicom("without rows and columns", Rows=None, Columns=None)
_dicom("without a meaning of its numbers", PhotometricInterpretation=None)


def series(folder: Path, slices: int = 4) -> list[Path]:
    """The marked volume, in order."""
    return write_dicom(folder / "s", marked(slices))


def edited(path: Path, **attributes: Any) -> Path:
    """The file with other attributes."""
    dataset = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def _series(name: str, which: int, registry: dict[str, Builder] = REFUSED, /, **attributes: Any) -> None:
    def build(folder: Path) -> Path:
        edited(series(folder)[which], **attributes)
        return folder / "s"

    registry[f"DICOM series {name}"] = build


_series("with a doubled place", 1, ImagePositionPatient=[0, 0, 0])
_series("with a turned slice", 1, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
_series("with a slice aside", 1, ImagePositionPatient=[90, 0, 4])
_series("with directions of no length", 1, ImageOrientationPatient=[0, 0, 0, 0, 0, 0])
_series("with pixels of no size", 1, PixelSpacing=[0, 0])


@whole("DICOM series with one file twice")
def _(folder: Path) -> Path:
    written(folder / "s" / "copy.dcm", series(folder)[0].read_bytes())
    return folder / "s"


@whole("DICOM series with names of no meaning")
def _(folder: Path) -> Path:
    for path, name in zip(series(folder), ("zz", "b.x", "-c", "ä ü"), strict=True):
        path.rename(path.with_name(name))
    return folder / "s"


@whole("DICOM series beside text and a list of its files")
def _(folder: Path) -> Path:
    series(folder)
    written(folder / "s" / "readme.txt", b"none")
    written(folder / "s" / "DICOMDIR", b"none")
    return folder / "s"


def encoded(folder: Path, syntax: str) -> Path:
    """The slice in another transfer syntax."""
    dataset = place(mr_dataset(marked(1)[0].astype(np.uint16)), (0, 0, 0))
    dataset.file_meta.TransferSyntaxUID = syntax
    big = syntax == pydicom.uid.ExplicitVRBigEndian
    if big:
        dataset.PixelData = marked(1)[0].astype(">u2").tobytes()
    dataset.save_as(
        folder / "x.dcm",
        enforce_file_format=True,
        little_endian=not big,
        implicit_vr=syntax == pydicom.uid.ImplicitVRLittleEndian,
    )
    return folder / "x.dcm"


WHOLE["DICOM implicit"] = lambda folder: encoded(folder, pydicom.uid.ImplicitVRLittleEndian)
WHOLE["DICOM big-endian"] = lambda folder: encoded(folder, pydicom.uid.ExplicitVRBigEndian)
WHOLE["DICOM deflated"] = lambda folder: encoded(folder, pydicom.uid.DeflatedExplicitVRLittleEndian)


def compressed(folder: Path, syntax: str) -> Path:
    """The slice, packed."""
    path = encoded(folder, pydicom.uid.ExplicitVRLittleEndian)
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(path)
    return path


WHOLE["DICOM RLE"] = lambda folder: compressed(folder, pydicom.uid.RLELossless)
WHOLE["DICOM JPEG-LS"] = lambda folder: compressed(folder, pydicom.uid.JPEGLSLossless)
REFUSED["DICOM RLE, cut"] = lambda folder: cut(compressed(folder, pydicom.uid.RLELossless), 0.9)
REFUSED["DICOM JPEG-LS, cut"] = lambda folder: cut(compressed(folder, pydicom.uid.JPEGLSLossless), 0.95)


@whole("DICOM of many frames")
def _(folder: Path) -> Path:
    return write_enhanced(folder / "x.dcm", marked().astype(np.uint16), [2, 0, 3, 1])


@refused("DICOM of many frames that describes three of four")
def _(folder: Path) -> Path:
    path = write_enhanced(folder / "x.dcm", marked().astype(np.uint16), [2, 0, 3, 1])
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(list(dataset.PerFrameFunctionalGroupsSequence)[:3])
    return save(dataset, path)


@refused("DICOM of many frames in one place")
def _(folder: Path) -> Path:
    path = write_enhanced(folder / "x.dcm", marked().astype(np.uint16), [0, 1, 2, 3])
    dataset = pydicom.dcmread(path)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]
    return save(dataset, path)


@refused("DICOM of many frames without places")
def _(folder: Path) -> Path:
    return save(mr_dataset(marked().astype(np.uint16), kind=ENHANCED_MR), folder / "x.dcm")


@refused("DICOM with an icon only")
def _(folder: Path) -> Path:
    dataset = mr_dataset(slice8(), PixelData=None, Rows=None, Columns=None, BitsAllocated=None)
    dataset.IconImageSequence = Sequence([mr_dataset(slice8())])
    del dataset.IconImageSequence[0].file_meta
    return save(dataset, folder / "x.dcm")


def _other_kind(name: str, uid: str, modality: str) -> None:
    """A DICOM file that is no picture."""

    def build(folder: Path) -> Path:
        dataset = mr_dataset(slice8(), kind=uid, PixelData=None, Rows=None, Columns=None, Modality=modality)
        return save(dataset, folder / "x.dcm")

    REFUSED[f"DICOM {name}"] = build


_other_kind("structured report", "1.2.840.10008.5.1.4.1.1.88.11", "SR")
_other_kind("with a PDF", "1.2.840.10008.5.1.4.1.1.104.1", "DOC")
_other_kind("waveform", "1.2.840.10008.5.1.4.1.1.9.1.1", "ECG")


@refused("DICOM of sequences in sequences")
def _(folder: Path) -> Path:
    dataset = mr_dataset(slice8())
    inner = dataset
    for _ in range(150):
        deeper = Dataset()
        inner.ReferencedImageSequence = Sequence([deeper])
        inner = deeper
    path = save(dataset, folder / "x.dcm")
    return cut(path, 0.5)


@refused("DICOM that is a bomb when inflated")
def _(folder: Path) -> Path:
    path = encoded(folder, pydicom.uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    packing = zlib.compressobj(1, wbits=-15)
    parts = [packing.compress(bytes(2**24)) for _ in range(66)]
    return written(path, content[: 144 + length] + b"".join(parts) + packing.flush())


@refused("DICOM of text")
def _(folder: Path) -> Path:
    return written(folder / "x.dcm", b"This is text. " * 100)


@refused("DICOM of a mark and text")
def _(folder: Path) -> Path:
    return written(folder / "x.dcm", bytes(128) + b"DICM" + b"This is text. " * 100)


for _share in (0.01, 0.05, 0.1, 0.2, 0.5, 0.99):

    @refused(f"DICOM cut at {_share}")
    def _(folder: Path, share: float = _share) -> Path:
        return cut(series(folder, 1)[0], share)


# --- ZIP ---


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    """A ZIP of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _zip(name: str, member: str, registry: dict[str, Builder] = REFUSED, **attributes: Any) -> None:
    """A ZIP of one PNG, with that name and those attributes."""

    def build(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            info = zipfile.ZipInfo("x.png")
            info.filename = member
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, png(slice8()))
        return folder / "x.zip"

    registry[f"ZIP {name}"] = build


_zip("with ../", "../../evil.png")
_zip("with an absolute name", "/tmp/evil.png")
_zip("with a drive", "C:\\evil.png")
_zip("with backslashes and dots", "..\\..\\evil.png")
_zip("with dots in the middle", "a/../../evil.png")
_zip("with a link", "x.png", external_attr=(stat.S_IFLNK | 0o777) << 16)
_zip("with a pipe", "x.png", external_attr=(stat.S_IFIFO | 0o777) << 16)
_zip("with a device", "x.png", external_attr=(stat.S_IFBLK | 0o777) << 16)
_zip("with a name of 300 letters", "a" * 300 + ".png")
_zip("with a path of 5,000 letters", "/".join(["a" * 200] * 25) + ".png")
_zip("with a newline in a name", "a\nb.png", WHOLE)
_zip("with a name in other letters", "Пациент 1/скан.png", WHOLE)
_zip("with a name that begins with a dash", "--output.png", WHOLE)


@refused("ZIP that is encrypted")
def _(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {"x.png": png(slice8())})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    return written(path, bytes(content))


def _misnamed(folder: Path, mark: bytes, flags: int, name: int) -> Path:
    """A ZIP whose name is said to be UTF-8, and is not, where `mark` begins."""
    path = zipped(folder / "x.zip", {"x.png": png(slice8())})
    content = bytearray(path.read_bytes())
    start = content.index(mark)
    content[start + flags + 1] |= 0x08
    content[start + name] = 0xFF
    return written(path, bytes(content))


@refused("ZIP with a name in no letters, before its content")
def _(folder: Path) -> Path:
    return _misnamed(folder, b"PK\x03\x04", 6, 30)


@refused("ZIP with a name in no letters, in its directory")
def _(folder: Path) -> Path:
    return _misnamed(folder, b"PK\x01\x02", 8, 46)


@refused("ZIP packed in an unknown way")
def _(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {"x.png": png(slice8())})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(mark) + at] = 99
    return written(path, bytes(content))


@refused("ZIP with a wrong checksum")
def _(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {"x.png": png(slice8())})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 16] ^= 255
    content[14] ^= 255
    return written(path, bytes(content))


@refused("ZIP that says less than it unpacks to")
def _(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {"x.nii": bytes(30 * 2**20)})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + at
        content[place : place + 4] = struct.pack("<I", 1000)
    return written(path, bytes(content))


@refused("ZIP that is a bomb")
def _(folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.nii", "w") as file,
    ):
        for _ in range(280):
            file.write(bytes(2**20))
    return folder / "x.zip"


@refused("ZIP of one bomb under many names")
def _(folder: Path) -> Path:
    path = zipped(folder / "x.zip", {"x.nii": bytes(50 * 2**20)})
    content = path.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    entries = b"".join(entry[:-5] + f"{index:05}".encode() for index in range(400))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 400, 400, len(entries), start, 0)
    return written(path, content[:start] + entries + tail)


@refused("ZIP in a ZIP in a ZIP")
def _(folder: Path) -> Path:
    inner = zipped(folder / "a.zip", {"x.png": png(slice8())}).read_bytes()
    return zipped(folder / "x.zip", {"b.zip": zipped(folder / "b.zip", {"a.zip": inner}).read_bytes()})


@refused("ZIP with nothing in it")
def _(folder: Path) -> Path:
    return zipped(folder / "x.zip", {})


@refused("ZIP with two files of one name")
def _(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("x.png", png(slice8()))
        archive.writestr("./x.png", png(slice8()))
    return folder / "x.zip"


@refused("ZIP with a file that is a folder too")
def _(folder: Path) -> Path:
    return zipped(folder / "x.zip", {"a.png": png(slice8()), "a.png/b.png": png(slice8())})


@refused("ZIP that is cut")
def _(folder: Path) -> Path:
    return cut(zipped(folder / "x.zip", {"x.png": png(slice8())}), 0.6)


# --- paths ---


@refused("path of a pipe")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "x.tif")
    return folder / "x.tif"


@refused("path of a socket")
def _(folder: Path) -> Path:
    home = os.getcwd()
    os.chdir(folder)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as file:
            file.bind("x.png")
    finally:
        os.chdir(home)
    return folder / "x.png"


@refused("path of a device")
def _(folder: Path) -> Path:
    (folder / "x.nii").symlink_to("/dev/zero")
    return folder / "x.nii"


@refused("path of a link to nothing")
def _(folder: Path) -> Path:
    (folder / "x.tif").symlink_to(folder / "none.tif")
    return folder / "x.tif"


@refused("path of a link to itself")
def _(folder: Path) -> Path:
    (folder / "x.tif").symlink_to(folder / "x.tif")
    return folder / "x.tif"


@refused("path of an empty folder called x.tif")
def _(folder: Path) -> Path:
    (folder / "x.tif").mkdir()
    return folder / "x.tif"


@refused("path whose mask's name would be too long")
def _(folder: Path) -> Path:
    return written(folder / ("a" * 250 + ".png"), png(slice8()))


@refused("path that is too long")
def _(folder: Path) -> Path:
    return folder / ("a" * 300 + ".tif")


@refused("path with a file for a folder")
def _(folder: Path) -> Path:
    return written(folder / "x.png", png(slice8())) / "y.png"


@refused("path of standard input")
def _(folder: Path) -> Path:
    return Path("-")


def _named(name: str, file: str) -> None:
    WHOLE[f"path {name}"] = lambda folder: written(folder / file, png(slice8()))


_named("with a newline", "a\nb.png")
_named("with other letters", "снимок 图像 é.png")
_named("with no letters that any alphabet has", os.fsdecode(b"\xff\xfe.png"))
_named("with quotes and a dollar", 'it\'s "$HOME" `x`;.png')
_named("in capitals", "X.PNG")
_named("of a suffix alone and more", "x.tif.png")


@whole("path of a folder called x.tif")
def _(folder: Path) -> Path:
    (folder / "x.tif").mkdir()
    written(folder / "x.tif" / "y.png", png(slice8()))
    return folder / "x.tif"


@whole("path through a link")
def _(folder: Path) -> Path:
    written(folder / "x.png", png(slice8()))
    (folder / "y.png").symlink_to("x.png")
    return folder / "y.png"
