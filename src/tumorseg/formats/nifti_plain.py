"""NIfTI files of our own making, for pixels that came from other formats."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.files import atomic_write
from tumorseg.scan import Geometry, Pixels

_TO_STORED = np.eye(4)[[2, 1, 0, 3]]
"""Slices, rows and columns become columns, rows and slices."""


def write_nifti(
    path: Path, pixels: Pixels, geometry: Geometry | None, *, spacing: tuple[float, float, float] | None = None
) -> None:
    """Write a volume, whole or not at all; `read_volume` reads the same pixels in the same order.

    Args:
        path: ending in .nii or .nii.gz.
        pixels: (slices, height, width, channels) or (slices, height, width), in the canonical orientation.
        geometry: where they lie; None claims no place in the patient.
        spacing: millimetres between slices, rows and columns where there is no geometry; None writes 1, of no unit.

    Raises:
        OutputError: the file cannot be written.
    """
    import nibabel as nib

    stored = np.transpose(pixels, (2, 1, 0, *range(3, pixels.ndim)))
    if stored.ndim == 4 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if geometry is None:
        # Without an affine the standard takes rows to run upwards; so the picture stands upright in every viewer.
        stored = stored[:, ::-1]
    affine: NDArray[np.float64] | None = None if geometry is None else geometry.affine @ _TO_STORED
    kind: Any = nib.Nifti1Image  # untyped
    image = kind(np.asfortranarray(stored), affine)
    header = image.header
    if affine is None:
        header.set_zooms((*(spacing or (1.0, 1.0, 1.0))[::-1], *(1.0 for _ in stored.shape[3:])))
        header.set_qform(None, code=0)
        header.set_sform(None, code=0)
    else:
        header.set_qform(affine, code=1)
        header.set_sform(affine, code=1)
    header.set_xyzt_units("unknown" if geometry is None and spacing is None else "mm")
    content = bytes(image.to_bytes())
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)
