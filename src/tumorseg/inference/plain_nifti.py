"""A mask as NIfTI for scans of other formats: axes (columns, rows, slices), placed by the scan's geometry."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError
from tumorseg.files import atomic_write
from tumorseg.scan import Geometry, Mask

_TURN = np.eye(4)[[2, 1, 0, 3]]


def write_plain_nifti(path: Path, mask: Mask, geometry: Geometry | None) -> None:
    """Write a mask, whole or not at all, 0 and 1…K; the same mask gives the same bytes.

    Args:
        path: ending in .nii or .nii.gz.
        mask: (slices, height, width) uint8.
        geometry: of the mask; None writes voxels of 1 in an unknown unit and claims no place in the patient.

    Raises:
        OutputError: the file cannot be written.
    """
    import nibabel as nib

    affine = _axial(mask.shape) if geometry is None else geometry.affine @ _TURN
    image: Any = nib.Nifti1Image(np.ascontiguousarray(mask.T), affine)  # type: ignore[no-untyped-call]
    code = 0 if geometry is None else 1
    image.header.set_sform(affine, code=code)
    image.header.set_qform(affine, code=code)
    image.header.set_xyzt_units("unknown" if geometry is None else "mm")
    content: bytes = image.to_bytes()
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)


def read_plain_nifti(path: Path) -> Mask:
    """Read what `write_plain_nifti` wrote, (slices, height, width) uint8.

    Raises:
        FormatError: damaged.
    """
    import nibabel as nib

    try:
        stored: NDArray[np.uint8] = np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise FormatError(f"{path} is damaged", next_step="write it again") from error
    if stored.ndim != 3 or stored.dtype != np.uint8:
        raise FormatError(f"{path} is no mask", next_step="write it again")
    return np.ascontiguousarray(stored.T)


def _axial(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Slices from foot to head, the patient's front up and right side on the left, as the LGG set has them."""
    _, height, width = shape
    return np.array([[-1.0, 0, 0, width - 1], [0, -1, 0, height - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
