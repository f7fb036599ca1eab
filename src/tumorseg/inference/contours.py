"""The outlines of a mask as numbers, for programs that draw or measure them themselves."""

from typing import Any

import numpy as np

from tumorseg.outlines import outlines
from tumorseg.scan import Segmentation

_PIXEL = (
    "[x, y] in pixels, x to the right and y down, 0 the centre of the first pixel; outlines run along pixel edges and "
    "are closed, areas clockwise, holes the other way"
)
_WORLD = "[x, y, z] in mm, towards the patient's right, front and top (RAS+, as NIfTI)"


def contours(segmentation: Segmentation, classes: tuple[str, ...] = ("tumour",)) -> dict[str, Any]:
    """The outlines of each slice and class, ready for JSON.

    Args:
        segmentation: whose mask is outlined; slices without tumour are left out.
        classes: names of the classes 1…K.

    Returns:
        coordinates: what the numbers mean; shape: slices, rows and columns; slices: a list of slice (from 0), where
        known its number and source, and contours, each with its class, pixels and, where the geometry is known, world.
    """
    scan = segmentation.scan
    each = len(scan.sources) == len(segmentation.mask) and (bool(scan.slice_numbers) or len(scan.channels) == 1)
    found = []
    for index, frame in enumerate(segmentation.mask):
        loops = [
            _contour(name, loop, index, segmentation)
            for value, name in enumerate(classes, start=1)
            for loop in (outlines(frame == value) if frame.any() else ())
        ]
        if loops:
            number = {"number": scan.slice_numbers[index]} if scan.slice_numbers else {}
            source = {"source": scan.sources[index].name} if each else {}
            found.append({"slice": index, **number, **source, "contours": loops})
    coordinates = {"pixels": _PIXEL} | ({"world": _WORLD} if scan.geometry else {})
    return {"scan": scan.id, "coordinates": coordinates, "shape": list(segmentation.mask.shape), "slices": found}


def _contour(name: str, loop: list[tuple[int, int]], index: int, segmentation: Segmentation) -> dict[str, Any]:
    # Corners are counted from the frame's corner, pixels by their centres.
    corners = np.array(loop, np.float64) - 0.5
    contour: dict[str, Any] = {"class": name, "pixels": corners.tolist()}
    if segmentation.scan.geometry is not None:
        places = np.column_stack([np.full(len(corners), index), corners[:, 1], corners[:, 0], np.ones(len(corners))])
        contour["world"] = (places @ segmentation.scan.geometry.affine.T)[:, :3].round(4).tolist()
    return contour
