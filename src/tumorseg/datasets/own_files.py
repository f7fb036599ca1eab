"""What the files of one's own data set hold: channels of the images, classes of the masks, and their reading."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorseg.errors import DataError, FormatError, ShapeMismatch
from tumorseg.formats import Format, find_format
from tumorseg.formats.volume import Volume, same_place, stack_channels
from tumorseg.scan import Geometry, Mask, Pixels

MOST_CLASSES = 32
"""More values than these in a mask are grey values, not classes, unless the classes are named."""

COMPARED = 16
"""Images whose channels are compared before it is decided that all are grey; the rest are compared when read."""

LONE = ("flair",)
THREE = ("pre", "flair", "post")
_KEPT = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.float32))


@dataclass(frozen=True)
class Survey:
    """What all files of a data set have in common.

    Attributes:
        channels: names.
        classes: names of the values 1…K.
        warnings: assumptions that were made.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def read_masks(self, masks: Sequence[Path], images: Sequence[Sequence[Path]]) -> Mask:
        """Masks of one scan, (slices, height, width) uint8, 0 background and 1…K.

        Raises:
            FormatError: a file is damaged.
            ShapeMismatch: a mask's size is not its image's.
        """
        read: list[Mask] = []
        for path, (image, *_) in zip(masks, images, strict=True):
            labels, expected = _format(path).read_labels(path), _format(image).header(image)
            if labels.shape != expected.shape[:3]:
                raise ShapeMismatch(
                    f"{path} is {labels.shape[2]} x {labels.shape[1]} but its image {image.name} is "
                    f"{expected.width} x {expected.height}",
                    next_step="draw the mask on the image's own grid",
                )
            if not same_place(read_geometry([image]), read_geometry([path]), labels.shape):
                raise ShapeMismatch(
                    f"{path} and its image {image.name} lie in different places or orientations",
                    next_step="draw the mask on the image's own grid",
                )
            read.append(labels if len(self.classes) > 1 else (labels != 0).astype(np.uint8))
        return np.concatenate(read)


def survey_images(images: Sequence[tuple[Path, ...]], named: tuple[str, ...], pool: Executor) -> Survey:
    """The channels of images, by their headers and a look at some of them.

    Args:
        images: the files of each; one, or one for each sequence.
        named: the channels' names; empty takes one channel, or three equal ones, for FLAIR and three different ones
            for pre-contrast, FLAIR and post-contrast.

    Raises:
        DataError: channels that do not fit the names, or that nobody named.
        FormatError: a file is damaged.
    """
    counts = {
        files[0]: count
        for files, count in zip(images, pool.map(lambda files: sum(map(_channels, files)), images), strict=True)
    }
    if named:
        for path, count in counts.items():
            if count != len(named) and not (len(named) == 1 and count == 3):
                raise DataError(
                    f"{path} has {count} channels, but {len(named)} are named: {', '.join(named)}",
                    next_step="name every channel of the images in dataset.yaml",
                )
        return Survey(named)
    for path, count in counts.items():
        if count not in (1, 3):
            raise DataError(f"{path} has {count} channels, not 1 or 3", next_step="name them in dataset.yaml")
    if 1 in counts.values():
        return Survey(LONE, warnings=("the only channel is taken for FLAIR; dataset.yaml may name another",))
    some = [images[index] for index in np.unique(np.linspace(0, len(images) - 1, COMPARED).astype(int))]
    if all(pool.map(lambda path: _is_grey(_read(path)), some)):
        return Survey(LONE, warnings=("three equal channels are taken for one, FLAIR; dataset.yaml may name another",))
    return Survey(THREE, warnings=("the three channels are taken for pre-contrast, FLAIR and post-contrast",))


def read_slices(images: Sequence[tuple[Path, ...]], survey: Survey) -> Pixels:
    """The slices of one scan, (slices, height, width, channels) of uint8, int16, uint16 or float32.

    Raises:
        FormatError: a file is damaged, or holds numbers without a value.
        ShapeMismatch: slices of one scan differ in size or type.
    """
    frames: list[Pixels] = []
    for files in images:
        path, frame = files[0], _kept_type(files[0], _read(files))
        if len(survey.channels) == 1 and frame.shape[-1] > 1:
            if not _is_grey(frame):
                raise FormatError(
                    f"{path} has {frame.shape[-1]} different channels, where one is expected",
                    next_step="save it in grey, or name the channels of all images in dataset.yaml",
                )
            frame = frame[..., :1]
        if frame.shape[-1] != len(survey.channels):
            raise FormatError(
                f"{path} has {frame.shape[-1]} channels, not {', '.join(survey.channels)}",
                next_step="store the same channels in every image",
            )
        if frames and (frame.shape[1:], frame.dtype) != (frames[0].shape[1:], frames[0].dtype):
            raise ShapeMismatch(
                f"{path} is {_in_words(frame)} but {images[0][0].name}, of the same scan, is {_in_words(frames[0])}",
                next_step="if they are no slices of one scan, name scans and patients in dataset.csv",
            )
        frames.append(frame)
    return np.concatenate(frames)


def read_geometry(files: Sequence[Path]) -> Geometry | None:
    """Where the voxels of an image or mask lie; None where its format does not say."""
    read = _format(files[0]).read_geometry
    return read(files[:1]) if read else None


def read_values(path: Path) -> tuple[int, ...]:
    """The values that a mask holds, rising, 0 left out."""
    labels = _format(path).read_labels(path)
    return tuple(int(value) for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)) if value)


def survey_classes(values: Mapping[Path, tuple[int, ...]], named: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes in masks, 1…K.

    Args:
        values: of each mask, without 0.
        named: names that someone gave; empty takes 0 and one other value for tumour, and 1…K for class-1, ….

    Raises:
        FormatError: grey values, or a value without a name.
    """
    if len(named) != 1:
        most = len(named) or MOST_CLASSES
        held = {value for found in values.values() for value in found}
        if not named and all(len(found) <= 1 for found in values.values()) and (len(held) <= 1 or held == {1, 255}):
            return ("tumour",)
        for path, found in values.items():
            if found and found[-1] > most:
                if named:
                    raise FormatError(
                        f"{path} holds {found[-1]}, but {most} classes are named", next_step="name all in dataset.yaml"
                    )
                raise _grey(path)
        if named:
            return named
        if absent := set(range(1, max(held) + 1)) - held:
            raise FormatError(
                f"no mask holds {min(absent)}, but {_first_with(values, max(held))} holds {max(held)}",
                next_step="name the classes in dataset.yaml, or number them without gaps",
            )
        return tuple(f"class-{value}" for value in range(1, max(held) + 1))
    for path, found in values.items():
        if len(found) > 1:
            raise _grey(path)
    return named


def _grey(path: Path) -> FormatError:
    return FormatError(
        f"{path} holds grey values, not 0 and 255", next_step="threshold the mask at 128, and save it as PNG or TIFF"
    )


def _first_with(values: Mapping[Path, tuple[int, ...]], value: int) -> Path:
    return next(path for path, found in values.items() if value in found)


def _kept_type(path: Path, frame: Pixels) -> Pixels:
    """A type that a store keeps; wider ones become float32."""
    if frame.dtype not in _KEPT:
        kind = frame.dtype.kind
        small = frame.dtype.itemsize == 1
        frame = frame.astype(np.uint8 if kind == "b" else np.int16 if kind == "i" and small else np.float32)
    if frame.dtype == np.float32 and not np.isfinite(frame).all():
        raise FormatError(f"{path} holds numbers without a value (NaN or infinite)", next_step="replace them")
    return frame


def _is_grey(frame: Pixels) -> bool:
    return all(np.array_equal(frame[..., 0], frame[..., other]) for other in range(1, frame.shape[-1]))


def _in_words(frame: Pixels) -> str:
    return f"{frame.shape[2]} x {frame.shape[1]} {frame.dtype}"


def _channels(path: Path) -> int:
    return _format(path).header(path).channels


def _read(files: tuple[Path, ...]) -> Pixels:
    """The pixels of one image, its sequences stacked as channels."""
    if len(files) == 1:
        return _format(files[0]).read(files[0])
    return stack_channels([_volume(path) for path in files]).pixels


def _volume(path: Path) -> Volume:
    kind = _format(path)
    return kind.read_volume([path]) if kind.read_volume else Volume(kind.read(path), sources=(path,))


def _format(path: Path) -> Format:
    found = find_format(path)
    if found is None:
        raise FormatError(
            f"{path} is of no format that is read",
            next_step="give TIFF, PNG, JPEG, MATLAB, NIfTI, DICOM or NumPy files",
        )
    return found
