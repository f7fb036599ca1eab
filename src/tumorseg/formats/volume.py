"""What a file, or the files of one volume, hold: pixels in the canonical orientation, and where they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.scan import Geometry, Pixels

SAME_PLACE = 0.05
"""Share of a voxel by which the corners of two grids may differ and still be one grid."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume, or one lone slice, as a radiologist sees it (see `tumorseg.formats.orientation`).

    Attributes:
        pixels: (slices, height, width, channels); the stored dtype, or float32 where the file scales its values.
        geometry: where the voxels lie; None where the format does not say.
        channel_names: of the channel axis; None where nobody named them.
        sources: the files, in the order of the slices or of the channels.
        warnings: what whoever uses it must be told, one line each.
        description: what the file calls the sequence, a hint for people; "" where it says nothing.
    """

    pixels: Pixels
    geometry: Geometry | None = None
    channel_names: tuple[str, ...] | None = None
    sources: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    description: str = ""


def join_sequences(volumes: Mapping[str, Volume]) -> Volume:
    """Volumes of one sequence each, on one grid, as one volume of several channels.

    Args:
        volumes: by the name of the sequence, in the order of the channels; one channel each.

    Returns:
        A volume whose sources are those of all of them; of different dtypes the pixels become float32.

    Raises:
        FormatError: a volume has several channels.
        ShapeMismatch: two lie on different grids.
    """
    joined = stack_channels(tuple(volumes.values()))
    return replace(joined, channel_names=tuple(volumes))


def stack_channels(volumes: Sequence[Volume]) -> Volume:
    """The same, for sequences that nobody named."""
    for volume in volumes:
        if len(volumes) > 1 and volume.pixels.shape[-1] != 1:
            raise FormatError(
                f"{_name(volume)} has {volume.pixels.shape[-1]} channels, not 1", next_step="give one file per sequence"
            )
        refuse_other_grid(volumes[0], volume)
    dtypes = {volume.pixels.dtype for volume in volumes}
    pixels = [volume.pixels if len(dtypes) == 1 else volume.pixels.astype(np.float32) for volume in volumes]
    return Volume(
        np.concatenate(pixels, axis=-1) if len(pixels) > 1 else pixels[0],
        volumes[0].geometry,
        None,
        tuple(source for volume in volumes for source in volume.sources),
        tuple(dict.fromkeys(warning for volume in volumes for warning in volume.warnings)),
        ", ".join(dict.fromkeys(volume.description for volume in volumes if volume.description)),
    )


def refuse_other_grid(first: Volume, second: Volume) -> None:
    """Raise ShapeMismatch where two volumes do not lie voxel on voxel."""
    one, other = first.pixels.shape[:3], second.pixels.shape[:3]
    if one != other:
        raise ShapeMismatch(
            f"{_name(first)} has {_size(one)} voxels but {_name(second)} has {_size(other)}",
            next_step="resample one to the grid of the other",
        )
    if not same_place(first.geometry, second.geometry, one):
        raise ShapeMismatch(
            f"{_name(first)} and {_name(second)} lie in different places or orientations",
            next_step="resample one to the grid of the other",
        )


def same_place(one: Geometry | None, other: Geometry | None, shape: Sequence[int]) -> bool:
    """Whether two grids of one shape, (slices, height, width), lie voxel on voxel; true where a geometry is unknown."""
    if one is None or other is None:
        return True
    ends = np.array(np.meshgrid(*((0, length - 1) for length in shape), [1])).reshape(4, -1)
    apart = np.linalg.norm(((one.affine - other.affine) @ ends)[:3], axis=0).max()
    return bool(apart <= SAME_PLACE * min(one.spacing))


def _name(volume: Volume) -> str:
    return str(volume.sources[0]) if volume.sources else "one volume"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
