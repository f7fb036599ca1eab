"""One scan's answer as files, in the format that was asked for, and back from there."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import FormatError, OutputError, TumorsegError
from tumorseg.files import atomic_write, unwritable
from tumorseg.formats import FORMATS, Format
from tumorseg.formats.png import read_labels_png
from tumorseg.formats.tiff import write_mask_tiff
from tumorseg.inference.places import OutputFormat
from tumorseg.scan import Mask, Scan

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """Whose voxels a mask lies on.

    Attributes:
        format: of the source files.
        sources: the files of one sequence, in the order of the mask files.
        numbers: of the slices, by which the pictures of a volume are called; empty counts from 1.
    """

    format: Format
    sources: tuple[Path, ...]
    numbers: tuple[int, ...] = ()


def write_mask_files(
    mask: Mask,
    targets: Sequence[Path],
    scan: Scan,
    grid: Grid,
    wanted: OutputFormat,
    classes: Sequence[str],
    model: str,
) -> tuple[Path, ...]:
    """Write a scan's mask, each file whole or not at all.

    Args:
        mask: (slices, height, width) uint8, 0 background and 1…K.
        targets: one file for each source, or one for all.
        scan: that was segmented.
        grid: its files.
        wanted: "same", "nifti", "dicom-seg" or "png"; of a volume as PNG comes a folder, one picture a slice.
        classes: names of 1…K.
        model: the name of what drew it.

    Returns:
        What was written, in the order of the targets.

    Raises:
        OutputError: a file cannot be written.
        DataError: this scan's mask cannot be of this format.
    """
    count = len(classes)
    if wanted == "png" or (wanted == "same" and grid.format in (FORMATS["png"], FORMATS["jpeg"])):
        frames = ((frame != 0).astype(np.uint8) * 255 if count == 1 else frame for frame in mask)
        return write_pictures(targets, frames, grid.numbers or range(1, len(mask) + 1))
    if wanted == "nifti" and grid.format is not FORMATS["nifti"]:
        from tumorseg.formats.nifti_plain import write_nifti

        write_nifti(targets[0], mask, scan.geometry)
    elif grid.format is FORMATS["dicom"]:
        from tumorseg.formats.dicom_seg import write_segmentation

        write_segmentation(targets[0], mask, grid.sources, classes=classes, algorithm=model)
    elif len(targets) == len(grid.sources):
        for target, part, source in zip(targets, np.split(mask, len(targets)), grid.sources, strict=True):
            _write_like(target, part, source, grid.format, count)
    else:
        _write_like(targets[0], mask, grid.sources[0], grid.format, count)
    return tuple(targets)


def read_mask_files(targets: Sequence[Path], grid: Grid, wanted: OutputFormat) -> Mask | None:
    """The masks of a scan as one, (slices, height, width), 0 and not 0, where all are there and whole; else None."""
    try:
        if wanted == "png" and len(targets) == 1 and (folder := picture_folder(targets[0])).is_dir():
            return _read_folder(folder)
        if wanted == "nifti" and grid.format is not FORMATS["nifti"]:
            from tumorseg.formats.nifti import read_labels_nifti

            return read_labels_nifti(targets[0]) if targets[0].is_file() else None
        if not all(target.is_file() for target in targets):
            return None
        if wanted != "png" and grid.format is FORMATS["dicom"]:
            from tumorseg.formats.dicom_seg import read_segmentation

            return read_segmentation(targets[0], grid.sources)
        sources = grid.sources[: len(targets)]
        masks = [
            _read_like(target, source, grid.format, wanted) for target, source in zip(targets, sources, strict=True)
        ]
    except (TumorsegError, OSError):
        return None
    if any(mask is None for mask in masks) or len({mask.shape[1:] for mask in masks if mask is not None}) > 1:
        return None
    return np.concatenate([mask for mask in masks if mask is not None])


def write_pictures(targets: Sequence[Path], frames: Iterable[Picture], numbers: Sequence[int]) -> tuple[Path, ...]:
    """Write (height, width) or RGB (height, width, 3) pictures as PNG: each to its target, or all into one folder.

    Args:
        targets: as many as there are frames, or one, whose name without its suffix becomes the folder.
        frames: drawn one after the other.
        numbers: of the frames, which the pictures in the folder are called.

    Raises:
        OutputError: they cannot be written.
    """
    if len(targets) == len(numbers):
        for target, frame in zip(targets, frames, strict=True):
            with atomic_write(target) as temporary:
                temporary.write_bytes(_png(target, frame))
        return tuple(targets)
    folder = picture_folder(targets[0])

    def fill(place: Path) -> None:
        for number, frame in zip(numbers, frames, strict=True):
            (place / f"{number}.png").write_bytes(_png(folder, frame))

    _replace_folder(folder, fill)
    return (folder,)


def picture_folder(target: Path) -> Path:
    """The folder that takes the pictures of a volume: x_mask for x_mask.png."""
    return target.with_name(target.name.removesuffix(".png"))


def _write_like(target: Path, mask: Mask, source: Path, kind: Format, classes: int) -> None:
    if kind is FORMATS["tiff"]:
        write_mask_tiff(target, mask, classes=classes)
    elif kind is FORMATS["matlab"]:
        from tumorseg.formats.matlab_mask import write_mask_matlab

        write_mask_matlab(target, mask, classes=classes)
    else:
        assert kind.write_mask_like is not None  # all other formats write masks like their source
        kind.write_mask_like(target, mask, [source])


def _read_like(target: Path, source: Path, kind: Format, wanted: OutputFormat) -> Mask | None:
    """A mask in the source's own format or as PNG; None where it is not of the source's size."""
    as_png = wanted == "png" or kind is FORMATS["jpeg"]
    mask = read_labels_png(target) if as_png else kind.read_labels(target)
    return mask if wanted == "png" or mask.shape == kind.header(source).shape[:3] else None


def _read_folder(folder: Path) -> Mask:
    pictures = sorted(folder.glob("*.png"), key=lambda path: int(path.stem) if path.stem.isdecimal() else -1)
    if not pictures:
        raise FormatError(f"{folder} is empty", next_step="write it again")
    frames = [read_labels_png(path) for path in pictures]
    if len({frame.shape for frame in frames}) > 1:
        raise FormatError(f"{folder} holds pictures of several sizes", next_step="write it again")
    return np.concatenate(frames)


def _png(path: Path, frame: Picture) -> bytes:
    stored = frame if frame.ndim == 2 else frame[..., ::-1]
    whole, content = cv2.imencode(".png", np.ascontiguousarray(stored))
    if not whole:
        raise OutputError(f"cannot write {path}: it could not be encoded")
    return content.tobytes()


def _replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside `folder` and let it take that name, in the place of what has it."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
        fresh, old = temporary / "new", temporary / "old"
        fresh.mkdir()
        fill(fresh)
        for path in fresh.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        if folder.is_dir():
            os.replace(folder, old)
        os.replace(fresh, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
