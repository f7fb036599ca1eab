"""Reference masks that users bring: read onto a scan's grid, kept, and compared with the mask."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tumorseg.errors import FormatError, ShapeMismatch, TumorsegError
from tumorseg.formats import FORMATS, Format
from tumorseg.inference.walking import format_of
from tumorseg.scan import Mask
from tumorseg.web.arranged import Upload, arrange
from tumorseg.web.problems import Refused, without_paths
from tumorseg.web.stored import REFERENCE, StoredScan, finite, write_raw

_NUMBER = re.compile(r"_(\d+)(?:_mask)?\.[^/]+$")
_ENDING = re.compile(r"[-_. ]?(mask|seg|label|labels|reference|truth)$")


def keep_references(
    uploads: Sequence[Upload], folder: Path, records: Sequence[dict[str, Any]], *, max_bytes: int
) -> list[dict[str, str]]:
    """Read the references that came with a job, and keep each beside its scan; says in the record that it is there.

    With one scan all files are its reference; with several, those whose names are the scan's, but for `_mask`.

    Returns:
        What could not be used, and why.
    """
    if not uploads:
        return []
    try:
        arranged = arrange(uploads, "", folder / "references", max_files=len(uploads) + 100_000, max_bytes=max_bytes)
    except (TumorsegError, Refused) as error:
        return [{"file": uploads[0].name, "reason": f"reference: {without_paths(str(error), {})}"}]
    failures = []
    groups: dict[str, list[Path]] = defaultdict(list)
    for path, name in sorted(arranged.names.items()):
        groups[_key(name) if len(records) > 1 else ""].append(path)
    owners: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in records:
        for key in each["keys"]:
            owners[key].append(each)
    for key, paths in groups.items():
        candidates = owners.get(key) or owners.get(key.rpartition("/")[2]) or []
        record = records[0] if len(records) == 1 else candidates[0] if len(candidates) == 1 else None
        shown = str(arranged.names[paths[0]])
        if record is None:
            failures.append(
                {"file": shown, "reason": "reference: not one scan alone has this name; name it <scan>_mask"}
            )
            continue
        try:
            keep_reference(paths, StoredScan.open(folder / record["id"]))
            record["has_reference"] = True
        except TumorsegError as error:
            failures.append({"file": shown, "reason": f"reference: {without_paths(str(error), arranged.known())}"})
    return failures


def take_reference(uploads: Sequence[Upload], scan: StoredScan, *, max_bytes: int) -> None:
    """Read a reference that came later, and keep it in the place of an earlier one.

    Raises:
        TumorsegError: it cannot be read, or is not of the scan's size.
    """
    place = scan.folder / f"reference-{uploads[0].path.stem}"
    try:
        arranged = arrange(uploads, "", place, max_files=100_000, max_bytes=max_bytes)
        try:
            keep_reference(sorted(arranged.names), scan)
        except TumorsegError as error:
            step = str(error)[len(error.what) :].lstrip("; ")
            known = arranged.known()
            raise type_of(error)(without_paths(error.what, known), next_step=step) from error
    finally:
        import shutil

        shutil.rmtree(place, ignore_errors=True)


def type_of(error: TumorsegError) -> type[TumorsegError]:
    """The kind of an error that is said again in other words."""
    return ShapeMismatch if isinstance(error, ShapeMismatch) else FormatError


def keep_reference(paths: Sequence[Path], scan: StoredScan) -> None:
    """Read one scan's reference from its files and keep it.

    Raises:
        FormatError: a file is no mask.
        ShapeMismatch: it is not of the scan's size.
    """
    if not paths:
        raise FormatError("there is no file in the reference", next_step="give a mask in any format that is read")
    ordered = sorted(paths, key=lambda path: (_number(path), path.name))
    parts = [_read(path, scan) for path in ordered]
    sizes = {part.shape[1:] for part in parts}
    mask = np.concatenate(parts) if len(sizes) == 1 else None
    if mask is None or mask.shape != scan.shape:
        shape = " x ".join(map(str, mask.shape if mask is not None else parts[0].shape))
        raise ShapeMismatch(
            f"the reference is {shape} and the scan {' x '.join(map(str, scan.shape))} (slices x rows x columns)",
            next_step="give a mask that was drawn on this scan",
        )
    write_raw(scan.folder / REFERENCE, _labels(mask, len(scan.classes)))


def scores(scan: StoredScan, *, threshold: float | None, edited: bool) -> dict[str, Any]:
    """How a mask agrees with the reference.

    Returns:
        dice, iou, precision, recall, hd95 and its unit, nsd at 2 of that unit, and Dice by class where there are
        several; null where a score is undefined.

    Raises:
        FormatError: there is no reference.
    """
    from tumorseg.metrics.overlap import confusion, dice
    from tumorseg.metrics.surface import surface_distances

    reference = scan.reference()
    if reference is None:
        raise FormatError("this scan has no reference", next_step="give one")
    mask = scan.mask(threshold=threshold, edited=edited)
    counts = confusion(mask, reference)
    distances = surface_distances(mask, reference, scan.spacing)
    found: dict[str, Any] = {
        "dice": float(counts.dice),
        "iou": float(counts.iou),
        "precision": float(counts.precision),
        "recall": float(counts.recall),
        "hd95": distances.hausdorff(),
        "hd95_unit": "px" if scan.spacing is None else "mm",
        "nsd": distances.surface_dice(),
        "tumour_voxels": int(np.count_nonzero(mask)),
        "reference_voxels": int(np.count_nonzero(reference)),
        "threshold": scan.record["threshold"] if threshold is None else threshold,
        "edited": edited,
        "classes": {},
    }
    if len(scan.classes) > 1:
        found["classes"] = {
            name: dice(mask == value, np.asarray(reference) == value)
            for value, name in enumerate(scan.classes, start=1)
        }
    result: dict[str, Any] = finite(found)
    return result


def _read(path: Path, scan: StoredScan) -> Mask:
    kind = format_of(path)
    if kind is None:
        raise FormatError(
            f"{path} is of no format that is read", next_step="give TIFF, PNG, NIfTI, MATLAB or DICOM-SEG"
        )
    if kind is FORMATS["dicom"]:
        from tumorseg.formats.dicom_seg import read_segmentation

        like = [Path(source) for source in scan.record["grid"]]
        return read_segmentation(path, like if scan.record["format_name"] == kind.name else None)
    _refuse_large(path, kind, scan)
    return kind.read_labels(path)


def _refuse_large(path: Path, kind: Format, scan: StoredScan) -> None:
    """A mask that is larger than its scan is not unpacked."""
    header = kind.header(path)
    if header.slices * header.height * header.width > math.prod(scan.shape):
        raise ShapeMismatch(
            f"{path} is {header.slices} x {header.height} x {header.width}, larger than the scan",
            next_step="give a mask that was drawn on this scan",
        )


def _labels(mask: Mask, classes: int) -> Mask:
    """Class numbers; of one class, or of values that are none of several, whatever is not 0 is 1."""
    if classes > 1 and mask.max(initial=0) <= classes:
        return mask
    labels: Mask = (mask != 0).astype(np.uint8)
    return labels


def _number(path: Path) -> int:
    found = _NUMBER.search(path.name)
    return int(found[1]) if found else -1


def scan_keys(names: Sequence[PurePosixPath]) -> list[str]:
    """What a reference of a scan may be named: as its files, with their folder or without it."""
    return sorted({key for name in names for key in (_key(name), _bare(name))})


def _key(name: PurePosixPath) -> str:
    return f"{name.parent.name.lower()}/{_bare(name)}"


def _bare(name: PurePosixPath) -> str:
    """A file's name without suffixes, without a slice's number, and without what says that it is a mask."""
    stem = name.name.lower().split(".")[0]
    stem = _ENDING.sub("", stem)
    return re.sub(r"_\d+$", "", stem)
