"""One scan from a path to its Segmentation and back to a file, for those who work in Python."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tumorseg.errors import DataError, FormatError
from tumorseg.files import atomic_write, write_json
from tumorseg.formats import FORMATS, find_format
from tumorseg.inference.contours import contours
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.loading import load
from tumorseg.inference.mask_files import write_pictures
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.sequence_choice import NO_CHOICE, parse_choice, refuse_useless
from tumorseg.inference.unpacking import Unpacked
from tumorseg.scan import Caution, Pixels, Scan, Segmentation

Channels = Mapping[str, int | str | Path]
"""By the name of the sequence: the index of a channel, a file, or what a file's name looks like."""

_KNOWN = ".nii, .nii.gz, .dcm, .tif, .png, .mat, .npy or .json"


def read_scan(
    path: str | Path | None, *, channels: Channels | None = None, wanted: tuple[str, ...]
) -> tuple[Scan, tuple[Caution, ...]]:
    """Read the one scan that a path names: a file, a DICOM series' folder, a folder of numbered slices, or a ZIP.

    Args:
        path: None where `channels` names files.
        channels: as `--channels` of the command line.
        wanted: the model's channels.

    Returns:
        The scan, its pixels in memory, and warnings.

    Raises:
        DataError: there is no scan, or more than one, or it cannot be read.
    """
    inputs = [] if path is None else [Path(path)]
    words = [f"{name}={value}" for name, value in (channels or {}).items()]
    choice = parse_choice(words, inputs=inputs) if words else NO_CHOICE
    refuse_useless(choice, wanted)
    listing = find_inputs(inputs, choice=choice)
    if len(listing.scans) != 1:
        names = ", ".join(scan.id for scan in listing.scans[:3])
        raise DataError(f"{path} holds {len(listing.scans)} scans ({names}, …)", next_step="name one of them")
    loaded = load(listing.scans[0], choice=choice, wanted=wanted, named=listing.unpacked.named)
    if loaded.scan is None:
        raise DataError(loaded.failures[0].reason)
    # What was unpacked from a ZIP stays for as long as the scan that came out of it.
    scan = replace(loaded.scan, read_pixels=partial(_pixels, loaded.scan.pixels, listing.unpacked))
    return scan, (*loaded.warnings, *(Caution("lost", failure.reason) for failure in loaded.failures))


def segment_path(path: str | Path | None, predictor: Predictor, channels: Channels | None = None) -> Segmentation:
    """Segment the one scan that a path names.

    Args:
        path: a file, a DICOM series' folder, a folder of numbered slices, or a ZIP; None where `channels` names files.
        predictor: of the model.
        channels: which channel or file is which sequence: {"flair": 1}, or {"flair": "f.nii.gz", "post": "t1c.nii.gz"}.

    Raises:
        DataError: there is no scan, or more than one, or it cannot be read.
    """

    scan, warnings = read_scan(path, channels=channels, wanted=predictor.spec.channels)
    answer = predictor.segment(scan)
    return replace(answer, warnings=(*warnings, *answer.warnings))


def save_segmentation(
    segmentation: Segmentation, path: str | Path, *, classes: tuple[str, ...] = ("tumour",), model: str = "tumorseg"
) -> Path:
    """Write a mask, whole or not at all, in the format that the file's name asks for.

    .nii and .nii.gz lie where the scan lies; .dcm is a DICOM-SEG that refers to the scan's DICOM files; .tif, .png,
    .mat and .npy hold the mask in the canonical orientation, .png of several slices becoming a folder; .json holds the
    outlines.

    Args:
        segmentation: whose mask is written.
        path: of the file; what is there is replaced.
        classes: names of 1…K.
        model: the name of what drew it, for DICOM-SEG.

    Raises:
        FormatError: no such format, or one that this scan's mask cannot have.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.name.lower().endswith(".json"):
        write_json(path, contours(segmentation, classes))
        return path
    kind = find_format(path)
    if kind is None or kind is FORMATS["jpeg"] or path.name.lower().endswith(".npz"):
        raise FormatError(f"a mask cannot be written as {path.name}", next_step=f"give a name ending in {_KNOWN}")
    mask, sources = segmentation.mask, segmentation.scan.sources
    source_kind = find_format(sources[0]) if sources else None
    if kind is FORMATS["nifti"]:
        if source_kind is kind and kind.write_mask_like is not None:
            kind.write_mask_like(path, mask, sources[:1])
        else:
            from tumorseg.formats.nifti_plain import write_nifti

            write_nifti(path, mask, segmentation.scan.geometry)
    elif kind is FORMATS["dicom"]:
        from tumorseg.formats.dicom_seg import write_segmentation

        if not sources or source_kind not in (None, kind):
            raise FormatError(f"{path}: a DICOM-SEG refers to DICOM files", next_step="save it as .nii.gz")
        # Of several sequences, the files of the first come first; each series has one channel.
        own = sources[: len(sources) // len(segmentation.scan.channels)]
        write_segmentation(path, mask, own, classes=classes, algorithm=model)
    elif kind is FORMATS["png"]:
        frames = ((frame != 0).astype("uint8") * 255 if len(classes) == 1 else frame for frame in mask)
        return write_pictures([path], frames, segmentation.scan.slice_numbers or range(1, len(mask) + 1))[0]
    elif kind is FORMATS["tiff"]:
        from tumorseg.formats.tiff import write_mask_tiff

        write_mask_tiff(path, mask, classes=len(classes))
    elif kind is FORMATS["matlab"]:
        from tumorseg.formats.matlab_mask import write_mask_matlab

        write_mask_matlab(path, mask, classes=len(classes))
    else:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.save(file, mask, allow_pickle=False)
    return path


def _pixels(pixels: Pixels, _: Unpacked) -> Pixels:
    return pixels
