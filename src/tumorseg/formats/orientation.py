"""How the axes of a stored volume become slices, rows and columns as a radiologist sees them, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THICK = 1.5
"""A volume whose voxels are so many times longer along one axis than along the others was acquired along it."""

_RIGHT, _FRONT, _TOP = 0, 1, 2
_VIEWS = {
    _TOP: ((_TOP, 1), (_FRONT, -1), (_RIGHT, -1)),
    _FRONT: ((_FRONT, -1), (_TOP, -1), (_RIGHT, -1)),
    _RIGHT: ((_RIGHT, -1), (_TOP, -1), (_FRONT, -1)),
}
"""By the world axis that is nearest to the slices' own: world axis and direction of slices, rows and columns.

Axial slices run from foot to head, with the patient's front up and right side on the left, as in the LGG set. Of the
two directions in which coronal and sagittal slices may run, each is the one that DICOM calls the normal of that view.
"""


@dataclass(frozen=True)
class Orientation:
    """Which stored axis is which canonical one.

    Attributes:
        axes: the stored axis that becomes slices, rows and columns.
        flipped: whether each runs the other way round, in the order of `axes`.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def canonical(self, stored: NDArray[Any]) -> NDArray[Any]:
        """A stored volume as (slices, height, width, …); axes after the third keep their place. A view."""
        turned = np.transpose(stored, (*self.axes, *range(3, stored.ndim)))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def stored(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """A volume of (slices, height, width, …) on the stored axes; the inverse of `canonical`. A view."""
        turned = canonical[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        return np.transpose(turned, (*np.argsort(self.axes).tolist(), *range(3, canonical.ndim)))

    def shape(self, stored: tuple[int, ...]) -> tuple[int, int, int]:
        """(slices, height, width) of a volume whose first three stored axes are so long."""
        slices, height, width = (stored[axis] for axis in self.axes)
        return slices, height, width

    def affine(self, stored: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The affine of the canonical volume, (4, 4).

        Args:
            stored: of the stored volume, (4, 4).
            shape: the lengths of its first three axes.
        """
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for canonical, (axis, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            turn[axis, canonical] = -1 if flip else 1
            if flip:
                turn[axis, 3] = shape[axis] - 1
        return stored @ turn


def orientation_of(affine: NDArray[np.float64], *, slice_axis: int | None = None) -> Orientation:
    """How a stored volume is turned to be seen as a radiologist sees it; no voxel is interpolated.

    Args:
        affine: takes stored indices to RAS+ millimetres, (4, 4), invertible.
        slice_axis: the stored axis along which it was acquired; None takes the one along which its voxels are `THICK`
            times longer than along the others, else the one nearest to the line from foot to head.
    """
    import nibabel as nib

    nearest: Any = nib.orientations.io_orientation  # untyped
    worlds = [int(world) for world in nearest(affine)[:, 0]]
    if slice_axis is None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        longest = int(np.argmax(spacing))
        thick = spacing[longest] > THICK * np.delete(spacing, longest).max()
        slice_axis = longest if thick else worlds.index(_TOP)
    axes, flipped = [], []
    for world, direction in _VIEWS[worlds[slice_axis]]:
        axis = worlds.index(world)
        axes.append(axis)
        flipped.append(bool(affine[world, axis] * direction < 0))
    return Orientation((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))
