"""Masks that some tool has left in a folder, as answers to the references they belong to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from tumorseg.errors import DataError, FormatError, ShapeMismatch, few
from tumorseg.evaluation.mask_names import MaskListing, Matching, grouped_by_number, match_places
from tumorseg.evaluation.mask_places import on_common_grid
from tumorseg.evaluation.references import References, geometry_of, is_segmentation, read_labels, size_of
from tumorseg.formats.volume import same_place
from tumorseg.scan import Mask, Scan, Segmentation


@dataclass(frozen=True, eq=False)
class StoredMasks:
    """Predictions paired with references.

    Attributes:
        rule: in words, how they were paired.
        files: of each scan, by its index in the references; one for each slice, None where that is missing, or one
            file for all slices, or none at all.
        missing: of references without a prediction, names.
        extra: predictions without a reference.
        named: whether the masks tell the references' classes apart.
        doubled: a name that two masks share, where that kept them from being paired.
    """

    references: References
    rule: str
    files: tuple[tuple[Path | None, ...], ...]
    missing: tuple[str, ...]
    extra: tuple[Path, ...]
    named: bool = False
    doubled: str = ""

    def answers(self) -> Iterator[Segmentation]:
        """Each scan with its stored mask, empty where that is missing; read one after the other.

        Raises:
            FormatError: a file is damaged, or holds values that are no classes of the references.
            ShapeMismatch: a mask's size or place is not its reference's.
        """
        values: dict[int, Path] = {}
        for scan, files in zip(self.references.scans, self.files, strict=True):
            # A copy, so that what is read of it is not kept with the references.
            fresh = replace(scan)
            reference = fresh.reference
            assert reference is not None
            if len(files) == 1 and files[0] is not None:
                mask, reference = self._whole(fresh, reference, files[0], values)
                if reference is not fresh.reference:
                    fresh = _filled_up(scan, reference)
            else:
                mask = self._by_slice(fresh, reference, files, values)
            yield Segmentation(fresh, mask, mask.astype(np.float16))

    def _whole(self, scan: Scan, reference: Mask, path: Path, values: dict[int, Path]) -> tuple[Mask, Mask]:
        """One file for all slices, and the reference, filled up where both leave out slices."""
        stored, geometry = read_labels(path), geometry_of(path)
        labels = stored
        if is_segmentation(path):
            labels, reference = on_common_grid(
                stored, geometry, reference, scan.geometry, partial=is_segmentation(*scan.sources)
            )
        mask = self._checked(labels, path, reference, scan, values)
        if labels is stored and not same_place(geometry, scan.geometry, reference.shape):
            raise ShapeMismatch(
                f"{path} and the reference {_source(scan, 0)} lie in different places or have other spacings",
                next_step="resample the mask to the reference's grid",
            )
        return mask, reference

    def _by_slice(self, scan: Scan, reference: Mask, files: Sequence[Path | None], values: dict[int, Path]) -> Mask:
        mask = np.zeros_like(reference)
        for index, path in enumerate(files):
            if path is not None:
                labels = read_labels(path)
                mask[index] = self._checked(labels, path, reference[index : index + 1], scan, values, index)[0]
        return mask

    def _checked(
        self, labels: Mask, path: Path, reference: Mask, scan: Scan, values: dict[int, Path], index: int = 0
    ) -> Mask:
        if labels.shape != reference.shape:
            raise ShapeMismatch(
                f"{path} is {size_of(labels)} but its reference {_source(scan, index)} is {size_of(reference)}",
                next_step="give masks on the references' own grid",
            )
        held = [int(value) for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)) if value]
        if self.named:
            if held and held[-1] > len(self.references.classes):
                raise FormatError(
                    f"{path} holds {held[-1]}, but the references have the classes "
                    f"{', '.join(f'{n} {name}' for n, name in enumerate(self.references.classes, start=1))}",
                    next_step="number the classes alike",
                )
            return labels
        for value in held:
            values.setdefault(value, path)
        if len(values) > 1 and set(values) != {1, 255}:
            first, second = sorted(values)[:2]
            raise FormatError(
                f"predictions hold {first} ({values[first].name}) and {second} ({values[second].name}), where one "
                "value besides 0 is due",
                next_step="threshold them, or make all classes that count as tumour 1",
            )
        marked: Mask = (labels != 0).astype(np.uint8)
        return marked


def _filled_up(scan: Scan, reference: Mask) -> Scan:
    """A scan without an image whose reference has got slices that its file leaves out."""
    return replace(
        scan,
        read_reference=lambda: reference,
        read_pixels=lambda: np.zeros((*reference.shape, 1), np.uint8),
        slice_numbers=(),
    )


def pair_masks(references: References, listing: MaskListing) -> StoredMasks:
    """Find the prediction of each slice, or of each scan, by names.

    A prediction may hold one slice of a scan or all of it, whichever way the reference is stored.

    Raises:
        DataError: no name fits, two fit, or some are left over on both sides.
    """
    predicted = [listing.place(mask) for mask in listing.masks]
    slices = _by_slice(references, listing.masks, predicted)
    scans = _by_scan(references, listing.masks, predicted)
    stacks = _by_stack(references, listing.masks, predicted)
    best = max((slices, scans, stacks), key=lambda found: sum(any(files) for files in found.files))
    if not any(any(files) for files in best.files):
        if slices.doubled:
            raise DataError(
                f"there are two masks of the name {slices.doubled}", next_step="keep one of them, or name them apart"
            )
        place = references.places[0][0] if references.places[0] else PurePath(references.scans[0].id)
        raise DataError(
            f"no prediction fits a reference by its name: predictions are named as {listing.masks[0].name}, "
            f"references as {place.name}",
            next_step="name each prediction as its reference, with _mask or the like behind it or without",
        )
    if best.missing and best.extra:
        raise DataError(
            f"{_counted(len(best.missing), 'reference')} no prediction ({few(best.missing)}) and "
            f"{_counted(len(best.extra), 'prediction')} no reference ({few([path.name for path in best.extra])}): the "
            "names do not fit",
            next_step="rename the predictions, or take those out that have no reference",
        )
    return replace(best, named=_tells_classes(best))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{' has' if count == 1 else 's have'}"


def _tells_classes(stored: StoredMasks) -> bool:
    """Whether any prediction names another class than the first; 0 and one other value are tumour or not."""
    if len(stored.references.classes) < 2:
        return False
    held: set[int] = set()
    for path in {path for files in stored.files for path in files if path is not None}:
        held |= set(np.unique(read_labels(path)).tolist())
        if len(held - {0}) > 1 and held - {0} != {1, 255}:
            return True
    return False


def _by_slice(references: References, masks: Sequence[Path], predicted: Sequence[PurePath]) -> StoredMasks:
    """One prediction for each file of a reference."""
    flat = [place for places in references.places for place in places]
    matching = match_places(flat, predicted)
    files: list[tuple[Path | None, ...]] = []
    missing: list[str] = []
    first = 0
    for scan, places in zip(references.scans, references.places, strict=True):
        indices = [matching.pairs.get(first + offset) for offset in range(len(places))]
        files.append(tuple(None if index is None else masks[index] for index in indices))
        missing += [_name(scan, places, offset) for offset, index in enumerate(indices) if index is None]
        first += len(places)
    return _stored(references, matching, files, missing, masks, set(matching.pairs.values()))


def _by_scan(references: References, masks: Sequence[Path], predicted: Sequence[PurePath]) -> StoredMasks:
    """One prediction for all slices of a scan that is stored slice by slice."""
    matching = match_places([PurePath(scan.id.lower()) for scan in references.scans], predicted)
    files = [
        (masks[matching.pairs[index]],) if index in matching.pairs else () for index in range(len(references.scans))
    ]
    missing = [scan.id for scan, found in zip(references.scans, files, strict=True) if not found]
    return _stored(references, matching, files, missing, masks, set(matching.pairs.values()))


def _by_stack(references: References, masks: Sequence[Path], predicted: Sequence[PurePath]) -> StoredMasks:
    """Numbered predictions for the slices of a reference that is one file."""
    groups = grouped_by_number(predicted)
    stems = list(groups)
    volumes = [index for index, places in enumerate(references.places) if len(places) == 1]
    matching = match_places([references.places[index][0] for index in volumes], stems)
    files: list[tuple[Path | None, ...]] = [()] * len(references.scans)
    used: set[int] = set()
    for index, stem in matching.pairs.items():
        members = groups[stems[stem]]
        files[volumes[index]] = tuple(masks[at] for _, at in members)
        used |= {at for _, at in members}
        _refuse_other_count(references.scans[volumes[index]], files[volumes[index]])
    missing = [scan.id for scan, found in zip(references.scans, files, strict=True) if not found]
    return _stored(references, matching, files, missing, masks, used)


def _refuse_other_count(scan: Scan, files: Sequence[Path | None]) -> None:
    reference = replace(scan).reference
    if reference is not None and len(reference) != len(files) and len(files) > 1:
        raise ShapeMismatch(
            f"there are {len(files)} numbered predictions such as {files[0]}, but the reference {_source(scan, 0)} has "
            f"{len(reference)} slices",
            next_step="give one prediction for each slice, empty where nothing is marked",
        )


def _stored(
    references: References,
    matching: Matching,
    files: Sequence[tuple[Path | None, ...]],
    missing: Sequence[str],
    masks: Sequence[Path],
    used: set[int],
) -> StoredMasks:
    extra = tuple(mask for index, mask in enumerate(masks) if index not in used)
    return StoredMasks(references, matching.rule, tuple(files), tuple(missing), extra, doubled=matching.doubled)


def _name(scan: Scan, places: Sequence[PurePath], offset: int) -> str:
    return scan.sources[offset].name if 1 < len(places) == len(scan.sources) else scan.id


def _source(scan: Scan, index: int) -> str:
    return str(scan.sources[index] if len(scan.sources) > index else scan.sources[0] if scan.sources else scan.id)
