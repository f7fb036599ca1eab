"""What is wrong with a patient's mask, in a word and a sentence, from its counts alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tumorseg.evaluation.judgement import PatientScore, SliceScore

ErrorKind = Literal["missed", "too much", "elsewhere", "boundary", "none"]

_ONE_SIDED = 0.75
"""Share of the wrong voxels from which missed (or extra) ones name the error."""


@dataclass(frozen=True)
class Diagnosis:
    """The main error of one patient.

    Attributes:
        kind: missed, too much, elsewhere (marked in other slices than the tumour's, or nowhere on it), boundary
            (found, but outlined differently), or none.
        sentence: the numbers behind the word.
    """

    kind: ErrorKind
    sentence: str


def diagnose(patient: PatientScore, slices: Sequence[SliceScore]) -> Diagnosis:
    """Name a patient's main error.

    Args:
        patient: counts over all its voxels.
        slices: counts of the same patient's slices.
    """
    missed, extra = patient.fn, patient.fp
    tumour_slices = [piece for piece in slices if piece.reference_pixels > 0]
    unseen = sum(piece.tp == 0 for piece in tumour_slices)
    stray = sum(piece.reference_pixels == 0 and piece.predicted_pixels > 0 for piece in slices)
    if missed + extra == 0:
        return Diagnosis("none", "No voxel is wrong.")
    if patient.predicted_voxels == 0:
        return Diagnosis("missed", f"Nothing is marked; the tumour has {_count(missed, 'voxel')}.")
    if patient.reference_voxels == 0:
        return Diagnosis("too much", f"{_count(extra, 'voxel')} marked where the reference holds no tumour.")
    if patient.tp == 0:
        return Diagnosis("elsewhere", f"None of the {_count(extra, 'marked voxel')} lies on the tumour.")
    missed_share, extra_share = missed / patient.reference_voxels, extra / patient.predicted_voxels
    if missed >= _ONE_SIDED * (missed + extra):
        where = f", with {_of(unseen, len(tumour_slices))} missed altogether" if unseen else ""
        return Diagnosis("missed", f"{_percent(missed_share)} of the tumour is not marked{where}.")
    if extra >= _ONE_SIDED * (missed + extra):
        where = f", and {_count(stray, 'slice')} without tumour marked" if stray else ""
        return Diagnosis("too much", f"{_percent(extra_share)} of what is marked is no tumour{where}.")
    off_target = sum(piece.fp + piece.fn for piece in slices if piece.tp == 0)
    shares = (
        f"{_percent(missed_share)} of the tumour is not marked, {_percent(extra_share)} of what is marked is no tumour"
    )
    if off_target >= 0.5 * (missed + extra):
        return Diagnosis("elsewhere", f"{shares}, mostly in slices where the two do not meet at all.")
    return Diagnosis("boundary", f"Found, but outlined differently: {shares}.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _of(number: int, total: int) -> str:
    return f"{number} of {_count(total, 'tumour slice')}"


def _percent(share: float) -> str:
    """Whole per cent behind a space that does not break; a wrong share never becomes 0."""
    return f"{max(1, round(100 * share))}\N{NO-BREAK SPACE}%" if share else "none"
