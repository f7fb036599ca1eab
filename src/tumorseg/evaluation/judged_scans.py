"""Segmenting a data set for judgement: whole volumes, then every slice by itself, with a picture of each patient."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.evaluation.facts import Example, sequence_name
from tumorseg.evaluation.judgement import Judgement, judge
from tumorseg.progress import Progress, silent
from tumorseg.scan import Mask, Pixels, Scan, Segmentation


class Segmenter(Protocol):
    """What answers scans, such as `tumorseg.inference.predictor.Predictor`."""

    def segment_all(self, scans: Iterable[Scan]) -> Iterator[Segmentation]:
        """Segment many scans, each as a whole."""
        ...


def judge_scans(
    segmenter: Segmenter,
    scans: Sequence[Scan],
    protocol: Mapping[str, Any] | None = None,
    *,
    classes: Sequence[str] = ("tumour",),
    segmented: bool = False,
    lone: bool = True,
    progress: Progress = silent,
) -> tuple[Judgement, tuple[Example, ...]]:
    """Segment scans as volumes and slice by slice, and score both against their references.

    Args:
        segmenter: answers the scans.
        scans: with references.
        protocol: goes into metrics["protocol"].
        classes, segmented: see `judge`.
        lone: segment the slices one by one, too; of scans of one slice each that would be the same again.
        progress: watches the scans go by.

    Returns:
        The judgement, and one example a patient, sorted by patient: the slice with the largest reference.

    Raises:
        DataError: a scan has no reference mask.
    """
    pictures: dict[str, Example] = {}
    volumes = progress.track(segmenter.segment_all(scans), what="Segmenting volumes", total=len(scans))
    total = sum(len(scan.slice_numbers) or scan.pixels.shape[0] for scan in scans)
    alone: Iterator[tuple[Segmentation, Mask]] | None = None
    if lone and total > len(scans):
        answers = segmenter.segment_all(slice_scan for scan in scans for slice_scan in lone_slices(scan))
        alone = with_references(progress.track(answers, what="Segmenting slices one by one", total=total))
    judgement = judge(with_references(volumes, pictures), protocol, lone=alone, classes=classes, segmented=segmented)
    return judgement, scored(pictures, judgement)


def scored(pictures: Mapping[str, Example], judgement: Judgement) -> tuple[Example, ...]:
    """The pictures with each patient's Dice, sorted by patient."""
    dice = {score.patient: score.dice for score in judgement.patients}
    return tuple(replace(pictures[patient], dice=dice[patient]) for patient in sorted(pictures))


def lone_slices(scan: Scan) -> Iterator[Scan]:
    """Each slice of a scan as a scan of its own, which knows nothing of the others.

    The slice keeps the scan's patient and its number; its id is the scan's with the number behind.
    """
    for index, number in enumerate(scan.slice_numbers or range(1, scan.pixels.shape[0] + 1)):
        yield Scan(
            id=f"{scan.id}_{number}",
            patient=scan.patient,
            channels=scan.channels,
            read_pixels=partial(_slice_of_pixels, scan, index),
            read_reference=partial(_slice_of_reference, scan, index),
            slice_numbers=(number,),
            sources=scan.sources[index : index + 1],
            institution=scan.institution,
            spacing=scan.spacing,
        )


def with_references(
    segmentations: Iterable[Segmentation], pictures: dict[str, Example] | None = None
) -> Iterator[tuple[Segmentation, Mask]]:
    """Pair segmentations with their references, and keep the best picture of each patient in `pictures`.

    Raises:
        DataError: a scan has no reference mask.
    """
    for segmentation in segmentations:
        reference = _reference_of(segmentation.scan)
        if pictures is not None:
            picture = _picture(segmentation, reference)
            known = pictures.get(picture.patient)
            if known is None or picture.reference.sum() > known.reference.sum():
                pictures[picture.patient] = picture
        yield segmentation, reference


def _reference_of(scan: Scan) -> Mask:
    reference = scan.reference
    if reference is None:
        raise DataError(f"{scan.id} has no reference mask", next_step="judge only scans that have one")
    return reference


def _picture(segmentation: Segmentation, reference: Mask) -> Example:
    """The slice with the largest reference, or without any, with the largest prediction; its Dice is still unknown."""
    scan = segmentation.scan
    sizes = np.count_nonzero(reference, axis=(1, 2))
    index = int(np.argmax(sizes if sizes.any() else np.count_nonzero(segmentation.mask, axis=(1, 2))))
    return Example(
        patient=scan.patient,
        institution=scan.institution,
        slice_number=scan.slice_numbers[index] if scan.slice_numbers else index + 1,
        image=_displayed(scan, index),
        reference=reference[index] != 0,
        predicted=segmentation.mask[index] != 0,
        dice=float("nan"),
        sequence=sequence_name(scan.channels),
        lone=scan.id if len(reference) == 1 and scan.id != scan.patient else "",
    )


def _displayed(scan: Scan, index: int) -> NDArray[np.uint8]:
    """One slice as (height, width, 3) uint8 where it has three channels, else FLAIR or its first, (height, width)."""
    image = np.array(scan.pixels[index])
    if image.shape[-1] != 3:
        image = image[..., scan.channels.index("flair") if "flair" in scan.channels else 0]
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) * (255.0 / max(high - low, 1e-12)), np.uint8)


def _slice_of_pixels(scan: Scan, index: int) -> Pixels:
    return scan.pixels[index : index + 1]


def _slice_of_reference(scan: Scan, index: int) -> Mask:
    return _reference_of(scan)[index : index + 1]
