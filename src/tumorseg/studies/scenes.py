"""The same slices through all models: chosen by size and by disagreement, never by the score of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumorseg.evaluation.judged_scans import Segmenter
from tumorseg.progress import Progress, silent
from tumorseg.scan import Mask, Pixels, Scan
from tumorseg.studies.standings import Standings

_BY_SIZE = ("small tumour", "tumour of middle size", "large tumour")
_DISPUTED = "models disagree"


@dataclass(frozen=True)
class Casting:
    """A patient who is shown, and why."""

    patient: str
    why: str


@dataclass(frozen=True, eq=False)
class Scene:
    """One slice with the reference and every model's answer.

    Attributes:
        patient, slice_number, why: which slice it is, and why it is shown.
        image: (height, width, channels) as stored.
        channels: names of its last axis.
        reference: (height, width) bool.
        predicted: by label, (height, width) bool.
        dice: by label, of the whole patient; NaN where both masks are empty.
    """

    patient: str
    slice_number: int
    why: str
    image: Pixels
    channels: tuple[str, ...]
    reference: NDArray[np.bool_]
    predicted: Mapping[str, NDArray[np.bool_]]
    dice: Mapping[str, float]


def cast_patients(found: Standings, *, most: int = 6) -> tuple[Casting, ...]:
    """Half of the patients by the size of their tumour, small, middle and large; half by how far the Dice differ.

    Returns:
        At most `most` patients, none twice.
    """
    voxels = found.best.judged.reference_voxels
    by_size = [int(index) for index in np.argsort(voxels, kind="stable") if voxels[index] > 0]
    middle = len(by_size) // 2
    chosen: dict[int, str] = {}
    # 10 and 90 %: the very smallest and largest are odd in other ways too.
    for index, why in zip((len(by_size) // 10, middle, len(by_size) - 1 - len(by_size) // 10), _BY_SIZE, strict=True):
        if by_size and len(chosen) < (most + 1) // 2:
            chosen.setdefault(by_size[index], why)
    dice = np.nan_to_num(np.stack([row.judged.dice for row in found.rows]), nan=1.0)
    spread = dice.max(axis=0) - dice.min(axis=0)
    for index in np.argsort(-spread, kind="stable").tolist():
        if len(chosen) < min(most, len(found.patients)):
            chosen.setdefault(index, _DISPUTED)
    return tuple(Casting(found.patients[index], why) for index, why in chosen.items())


def film(
    castings: Sequence[Casting],
    scans: Sequence[Scan],
    segmenters: Mapping[str, Segmenter],
    found: Standings,
    *,
    progress: Progress = silent,
) -> tuple[Scene, ...]:
    """Segment the chosen patients with every model and keep one slice of each.

    Args:
        castings: who is shown.
        scans: of the part, with references.
        segmenters: by label.
        found: where the patients' Dice come from.
        progress: watches the patients go by.
    """
    dice = {row.arm.label: dict(zip(row.judged.patients, row.judged.dice.tolist(), strict=True)) for row in found.rows}
    scenes = []
    for casting in progress.track(castings, what="Segmenting the same slices with all models"):
        own = [scan for scan in scans if scan.patient == casting.patient and scan.reference is not None]
        shots = [_shot(scan, segmenters, casting) for scan in own]
        if shots:
            _, best = max(shots, key=lambda shot: shot[0])
            scenes.append(replace(best, dice={label: dice[label][casting.patient] for label in segmenters}))
    return tuple(scenes)


def _shot(scan: Scan, segmenters: Mapping[str, Segmenter], casting: Casting) -> tuple[int, Scene]:
    """The slice of a scan that shows best why it was chosen, and how well it does, for choosing among scans."""
    reference = scan.reference
    assert reference is not None
    masks = {label: next(iter(segmenter.segment_all([scan]))).mask for label, segmenter in segmenters.items()}
    worth = _disagreement(masks) if casting.why == _DISPUTED else _sizes(reference)
    if not worth.any():
        worth = _sizes(reference)
    index = int(np.argmax(worth))
    return int(worth[index]), Scene(
        patient=scan.patient,
        slice_number=scan.slice_numbers[index] if scan.slice_numbers else index + 1,
        why=casting.why,
        image=np.array(scan.pixels[index]),
        channels=scan.channels,
        reference=reference[index] != 0,
        predicted={label: mask[index] != 0 for label, mask in masks.items()},
        dice={},
    )


def _sizes(reference: Mask) -> NDArray[np.intp]:
    return np.asarray(np.count_nonzero(reference, axis=(1, 2)), np.intp)


def _disagreement(masks: Mapping[str, Mask]) -> NDArray[np.intp]:
    """Pixels of each slice on which not all models agree, (slices,)."""
    marked = np.sum([mask != 0 for mask in masks.values()], axis=0)
    return np.asarray(np.count_nonzero((marked > 0) & (marked < len(masks)), axis=(1, 2)), np.intp)
