"""What the first bytes of a NIfTI file say: shape, type, scaling, and where the volume lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError

MOST_BEFORE_VOXELS = 64 * 2**20
"""Bytes of header and extensions; what claims more is no scan."""

_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_SIZES = {348: "NIfTI-1", 540: "NIfTI-2"}
_PAIRS = (b"ni1\0", b"ni2\0")
_WHOLE = (b"n+1\0", b"n+2\0")
_REFUSED = {
    1: "1-bit values",
    32: "complex numbers",
    128: "colours (RGB24)",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "colours (RGBA32)",
}
_HALF = 0.5
_MOST_AXES = 7
_NO_EXTENSIONS = bytes(4)


@dataclass(frozen=True, eq=False)
class GridHeader:
    """The header of one file.

    Attributes:
        shape: lengths of the three spatial axes as stored.
        channels: length of the fourth axis.
        stored: type of the voxels in the file, with its byte order.
        result: type of the voxels as they are read.
        slope, inter: what a stored value is multiplied by, and what is added.
        offset: bytes before the first voxel.
        affine: (4, 4) float64, stored indices to RAS+ millimetres.
        is_measured: whether the header says in any way that these are millimetres.
        written_shape: the shape of a mask of this volume.
        warnings: what is uncertain about it.
        description: the header's own words.
    """

    shape: tuple[int, int, int]
    channels: int
    stored: np.dtype[Any]
    result: np.dtype[Any]
    slope: float
    inter: float
    offset: int
    affine: NDArray[np.float64]
    is_measured: bool
    written_shape: tuple[int, ...]
    warnings: tuple[str, ...]
    description: str
    header: Any
    """nibabel's own, from which the mask's is made."""

    def scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values as what they mean, of the type `result`."""
        if (self.slope, self.inter) == (1.0, 0.0):
            return values.astype(self.result, copy=False)
        return (values.astype(np.float64) * self.slope + self.inter).astype(self.result)

    def mask_bytes(self, mask: NDArray[np.uint8]) -> bytes:
        """A file that holds a mask, with this header as far as it says where the volume lies.

        Args:
            mask: on the stored axes.

        Free text and extensions stay behind: they may name the patient.
        """
        header = self.header.copy()
        header.set_data_dtype(np.uint8)
        header.set_data_shape(mask.shape)
        header["scl_slope"], header["scl_inter"] = 1, 0
        header["cal_max"], header["cal_min"] = 0, 0
        header["descrip"], header["aux_file"], header["intent_name"] = b"tumorseg mask", b"", b""
        header["intent_code"] = 0
        begin = int(header["sizeof_hdr"]) + len(_NO_EXTENSIONS)
        header["vox_offset"] = begin
        return bytes(header.binaryblock) + _NO_EXTENSIONS + mask.tobytes(order="F")


def parse_header(path: Path, content: bytes) -> GridHeader:
    """Understand the first 540 bytes of a file.

    Raises:
        FormatError: not NIfTI, or of a kind that is not read.
    """
    header = _header(path, content)
    if not 1 <= int(header["dim"][0]) <= _MOST_AXES:
        raise FormatError(f"{path} is damaged: it has {int(header['dim'][0])} axes", next_step="export it again")
    code = int(header["datatype"])
    if code in _REFUSED:
        raise FormatError(f"{path} holds {_REFUSED[code]}, not grey values", next_step="store one number per voxel")
    try:
        stored = header.get_data_dtype()
        lengths = [int(length) for length in header.get_data_shape()]
    except Exception as error:  # nibabel raises its own on what it does not know
        raise FormatError(f"{path} is damaged: its header makes no sense", next_step="export it again") from error
    if stored.kind not in "iuf" or not 1 <= stored.itemsize <= 8:
        raise FormatError(f"{path} holds values of an unknown kind ({code})", next_step="export it again")
    shape, channels, written = _axes(path, lengths)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # as the standard has it: then the values are not scaled
        slope, inter = 1.0, 0.0
    if not np.isfinite([slope, inter]).all():
        raise FormatError(f"{path} scales its values by {slope} and {inter}", next_step="export it again")
    kept = stored.newbyteorder("=")
    wide = kept.kind == "f" or (slope, inter) != (1.0, 0.0) or kept.itemsize > 4
    offset = int(header["vox_offset"]) if np.isfinite(header["vox_offset"]) else -1
    least = int(header["sizeof_hdr"])
    if not least <= offset <= MOST_BEFORE_VOXELS:
        raise FormatError(f"{path} is damaged: its voxels would begin at byte {offset}", next_step="export it again")
    affine, warnings = _affine(path, header, shape)
    named = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return GridHeader(
        shape,
        channels,
        stored,
        np.dtype(np.float32) if wide else kept,
        slope,
        inter,
        offset,
        affine,
        named or _unit(header) != "unknown",
        written,
        warnings,
        bytes(header["descrip"].tobytes()).split(b"\0")[0].decode("latin-1").strip(),
        header,
    )


def _header(path: Path, content: bytes) -> Any:
    import nibabel as nib

    sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")} & set(_SIZES)
    if len(content) < 348 or not sizes:
        raise FormatError(f"{path} is not NIfTI, or is damaged or truncated", next_step="copy or export it again")
    size = sizes.pop()
    if len(content) < size:
        raise FormatError(f"{path} is truncated", next_step="copy or export it again")
    kind: Any
    kind, magic = (nib.Nifti1Header, content[344:348]) if size == 348 else (nib.Nifti2Header, content[4:8])
    if magic in _PAIRS:
        raise FormatError(f"{path} keeps its voxels in another file (.img)", next_step="convert the pair to .nii.gz")
    if magic not in _WHOLE:
        raise FormatError(f"{path} is Analyze, not NIfTI, or is damaged", next_step="convert it to .nii.gz")
    order = "<" if int.from_bytes(content[:4], "little") == size else ">"
    return kind(content[:size], endianness=order, check=False)


def _axes(path: Path, lengths: list[int]) -> tuple[tuple[int, int, int], int, tuple[int, ...]]:
    """Spatial shape, number of channels, and the shape of a mask."""
    if len(lengths) < 2 or min(lengths) < 1:
        raise FormatError(f"{path} has the shape {tuple(lengths)}, which is no volume", next_step="export it again")
    spatial = tuple((*lengths, 1)[:3])
    written = tuple(lengths[:3])
    rest = lengths[3:]
    if any(length > 1 for length in rest[1:]):
        raise FormatError(
            f"{path} has {len(lengths)} axes, {' x '.join(map(str, lengths))}, not 3 or 4",
            next_step="keep x, y, z, and sequences along the fourth axis",
        )
    return (spatial[0], spatial[1], spatial[2]), rest[0] if rest else 1, written


def _affine(path: Path, header: Any, shape: tuple[int, int, int]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Where the volume lies: the sform, else the qform, else what the voxel sizes say; and what is uncertain in it."""
    warnings: tuple[str, ...] = ()
    named = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    sform = np.asarray(header.get_sform(), np.float64) if named[0] else None
    qform = _qform(header) if named[1] else None
    if sform is not None:
        affine = sform
        if qform is not None and _apart(sform, qform, shape):
            warnings = (f"{path.name}: qform and sform differ; the sform is taken",)
    elif named[1]:
        if qform is None:
            raise FormatError(f"{path} has a qform that is no rotation", next_step="export it again")
        affine = qform
    else:
        affine = np.asarray(header.get_base_affine(), np.float64)
        warnings = (f"{path.name}: its header says nothing of its orientation, which is taken for the usual one",)
    affine = affine.copy()
    affine[:3] *= _MILLIMETRES[_unit(header)]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.min() > 0 or not _spans(affine, lengths):
        raise FormatError(
            f"{path} has a singular affine: its axes span no volume", next_step="export it with voxel sizes above 0"
        )
    return affine, warnings


def _unit(header: Any) -> str:
    """The unit of lengths; "unknown" too where the header holds a code that stands for none."""
    try:
        unit = str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"
    return unit if unit in _MILLIMETRES else "unknown"


def _spans(affine: NDArray[np.float64], lengths: NDArray[np.float64]) -> bool:
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3)


def _qform(header: Any) -> NDArray[np.float64] | None:
    """The second transform, with which the first is compared; None where the header holds none that can be."""
    try:
        return np.asarray(header.get_qform(), np.float64)
    except Exception:  # nibabel raises several kinds on a quaternion that is none
        return None


def _apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]) -> bool:
    """Whether a corner of the volume would lie more than half a voxel elsewhere."""
    ends = np.array(np.meshgrid(*((0, length - 1) for length in shape), [1])).reshape(4, -1)
    shift = np.linalg.norm(((one - other) @ ends)[:3], axis=0).max()
    return bool(shift > _HALF * np.linalg.norm(one[:3, :3], axis=0).min())
