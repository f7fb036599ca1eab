"""What stored masks are held against: a data set, or a folder of masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from tumorseg.datasets.described import DESCRIPTION, TABLE
from tumorseg.datasets.folder import group_pairs, patient_warnings
from tumorseg.datasets.lgg import identify, read_clinical
from tumorseg.datasets.open_data import open_data
from tumorseg.datasets.own_files import read_values, survey_classes
from tumorseg.datasets.pairing import IMAGE_FOLDERS, Pair
from tumorseg.errors import DataError, FormatError, ShapeMismatch
from tumorseg.evaluation.mask_names import MaskListing, list_masks
from tumorseg.formats import find_format, split_name
from tumorseg.formats.matlab import holds_image
from tumorseg.progress import Progress, silent
from tumorseg.scan import Geometry, Mask, Scan

NO_IMAGE = "none"
"""Channel of scans whose images are not known."""


@dataclass(frozen=True, eq=False)
class References:
    """Scans with references.

    Attributes:
        name: for people.
        scans: sorted by id; those of a folder of masks have no image, and pixels of 0.
        classes: names of the mask values 1…K.
        places: of each scan, where its slices' files lie, as `MaskListing.place` says it; one where one file holds
            them all.
        clinical: rows of data.csv by patient.
        notes: what whoever reads the scores must be told, one line each.
    """

    name: str
    scans: tuple[Scan, ...]
    classes: tuple[str, ...]
    places: tuple[tuple[PurePath, ...], ...]
    clinical: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def with_images(self) -> bool:
        """Whether the scans' images are known."""
        return self.scans[0].channels != (NO_IMAGE,)


def read_references(folder: Path, *, progress: Progress = silent) -> References:
    """The references at `folder`: a data set that `open_data` knows, or a folder of masks.

    Raises:
        DataError: there is neither, or the masks do not fit together.
        FormatError: a file is damaged, or a mask holds grey values.
    """
    folder = Path(folder)
    if folder.is_file() and find_format(folder) is not None:
        raise DataError(f"{folder} is one mask", next_step="give the folder that holds the reference masks")
    if folder.exists() and (folder.is_file() or holds_images_too(folder)):
        return _of_data_set(folder, progress)
    return _of_masks(list_masks(folder), progress)


def holds_images_too(folder: Path) -> bool:
    """Whether a folder holds images beside masks, or says in a table which is which: then it is a data set."""
    if any((folder / name).is_file() for name in (DESCRIPTION, TABLE)) or any(folder.glob("*.zip")):
        return True
    listing = list_masks(folder)
    # Files of the figshare set hold image and mask; masks that are written here as MATLAB files do not.
    first_matlab = next((path for path in listing.masks if path.suffix.lower() == ".mat"), None)
    if first_matlab is not None and holds_image(first_matlab):
        return True
    places = {listing.place(mask) for mask in listing.masks}
    beside = [path.relative_to(folder).parent.parts for path in listing.left_out]
    named = any({part.lower() for part in parts} & IMAGE_FOLDERS for parts in beside)
    return named or any(listing.place(path) in places for path in listing.left_out)


def _of_data_set(folder: Path, progress: Progress) -> References:
    data = open_data(folder, progress=progress)
    return References(
        name=data.name,
        scans=data.scans,
        classes=data.classes,
        places=tuple(
            tuple(MaskListing(data.folder, ()).place(_below(source, data.folder)) for source in scan.sources)
            for scan in data.scans
        ),
        clinical=read_clinical(folder) if data.kind == "lgg" else {},
        notes=data.warnings,
    )


def _below(source: Path, folder: Path) -> Path:
    """The source as a path below the folder; a member of an archive is one by its own name."""
    return source if source.is_relative_to(folder) else folder / source.name


def _of_masks(listing: MaskListing, progress: Progress) -> References:
    read = progress.track(listing.masks, what="Reading references", total=len(listing.masks))
    values = {mask: read_values(mask) for mask in read}
    classes = survey_classes(values, ())
    groups = group_pairs(
        [Pair(mask, mask, Path(f"{listing.place(mask)}{split_name(mask)[1]}")) for mask in listing.masks]
    )
    scans, places = [], []
    for name, members in sorted(groups.items()):
        scans.append(_scan_of_masks(name, members, several=len(classes) > 1))
        places.append(tuple(listing.place(pair.mask) for pair in members))
    return References(
        name=listing.folder.resolve().name,
        scans=tuple(scans),
        classes=classes,
        places=tuple(places),
        notes=_patient_notes(groups) + _segmentation_notes(listing.masks),
    )


def _patient_notes(groups: Mapping[str, Sequence[Pair]]) -> tuple[str, ...]:
    """What must be said where nobody has said whose the masks are."""
    if not patient_warnings(groups):
        return ()
    how = "name the patients in a dataset.csv of images, masks and patients"
    if len(groups) > 1:
        return (
            f"patients cannot be told apart: each of the {len(groups)} masks counts as a patient of its own. Where "
            f"several are of one person, the intervals are too narrow: {how}",
        )
    return (
        "the names of all masks differ in their number alone: they count as the slices of one scan of one patient; "
        f"where they are not, {how}",
    )


def _segmentation_notes(masks: Sequence[Path]) -> tuple[str, ...]:
    if not any(is_segmentation(mask) for mask in masks):
        return ()
    return (
        "references in DICOM-SEG may leave out slices in which nothing is marked, so that scores that count such "
        "slices (specificity, accuracy, dice_slice_all, empty_slice_fpr) see only some of them",
    )


def _scan_of_masks(name: str, members: Sequence[Pair], *, several: bool) -> Scan:
    masks = tuple(pair.mask for pair in members)
    numbers = tuple(pair.number for pair in members if pair.number is not None)
    patient, institution = identify(PurePath(name).name.upper())
    known = bool(institution)
    read = partial(read_reference_masks, masks, several=several)
    geometry = geometry_of(masks[0]) if len(masks) == 1 else None
    return Scan(
        id=name,
        patient=patient if known else name,
        channels=(NO_IMAGE,),
        read_pixels=lambda: np.zeros((*read().shape, 1), np.uint8),
        read_reference=read,
        slice_numbers=numbers if len(numbers) == len(masks) > 1 else (),
        sources=masks,
        institution=institution,
        geometry=geometry,
    )


def read_reference_masks(masks: Sequence[Path], *, several: bool) -> Mask:
    """Masks of one scan, (slices, height, width) uint8, 0 background and 1…K.

    Raises:
        FormatError: a file is damaged.
        ShapeMismatch: the slices differ in size.
    """
    frames: list[Mask] = []
    for path in masks:
        labels = read_labels(path)
        if frames and labels.shape[1:] != frames[0].shape[1:]:
            raise ShapeMismatch(
                f"{path} is {size_of(labels)} but {masks[0].name}, of the same scan, is {size_of(frames[0])}",
                next_step="give the slices of one scan one size, or name scans apart",
            )
        frames.append(labels if several else (labels != 0).astype(np.uint8))
    return np.concatenate(frames)


def read_labels(path: Path) -> Mask:
    """A mask's values as stored, (slices, height, width) uint8.

    Raises:
        FormatError: it is of no format that is read, or damaged.
    """
    entry = find_format(path)
    if entry is None:
        raise FormatError(f"{path} is of no format that is read", next_step="give TIFF, PNG, NIfTI or the like")
    return entry.read_labels(path)


def geometry_of(path: Path) -> Geometry | None:
    """Where the voxels of a mask lie, as far as its format says so."""
    entry = find_format(path)
    if entry is None or entry.read_volume is None:
        return None
    if entry.name == "DICOM":
        from tumorseg.formats.dicom_seg import read_mask_geometry

        return read_mask_geometry(path)
    return entry.read_volume([path]).geometry


def is_segmentation(*paths: Path) -> bool:
    """Whether a mask is one DICOM-SEG, which leaves out slices in which nothing is marked."""
    entry = find_format(paths[0]) if len(paths) == 1 else None
    return entry is not None and entry.name == "DICOM"


def size_of(mask: Mask) -> str:
    """Width and height, and where there are several the slices, in words."""
    slices, height, width = mask.shape
    return f"{width} x {height}" + (f" x {slices} slices" if slices > 1 else "")
