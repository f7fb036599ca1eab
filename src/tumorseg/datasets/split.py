"""Splits by patient: who trains, who chooses, who is judged."""

import csv
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tumorseg.errors import DataError
from tumorseg.files import atomic_write
from tumorseg.recipe import SplitShares

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Candidate:
    """What a split needs to know of one patient: where the scans are from, and how much tumour they hold."""

    patient: str
    institution: str
    tumour_voxels: int


@dataclass(frozen=True)
class Split:
    """The part of each patient. A patient is one key, so none can be in two parts."""

    parts: Mapping[str, Part]

    def patients(self, part: Part) -> tuple[str, ...]:
        """The patients of one part, sorted."""
        return tuple(sorted(patient for patient, where in self.parts.items() if where == part))


def split_patients(
    candidates: Sequence[Candidate], shares: SplitShares, *, fold: int | None = None, folds: int | None = None
) -> Split:
    """Deal patients into train, val and test, alike in institution and tumour burden.

    Args:
        candidates: one for each patient.
        shares: sizes of test and validation, and the seed.
        fold, folds: fold `fold` (from 0) of `folds` is the test part, instead of one of `shares.test`; validation
            is drawn from the rest.

    Raises:
        DataError: fewer patients than parts or folds, or a fold that is not there.
    """
    candidates = sorted(candidates, key=lambda candidate: candidate.patient)
    if (fold is None) != (folds is None):
        raise DataError("--fold and --folds belong together", next_step="give both, such as --fold 0 --folds 5")
    if fold is not None and folds is not None and not (folds >= 2 and 0 <= fold < folds):
        raise DataError(f"there is no fold {fold} of {folds}", next_step="folds count from 0 to --folds minus 1")
    parts = max(len(PARTS), (folds or 0) + 1)
    if len(candidates) < parts:
        raise DataError(
            f"{len(candidates)} patients cannot be split into {parts} parts",
            next_step="add patients or use fewer folds",
        )
    if folds is not None and fold is not None:
        test = _deal(candidates, pieces=folds, seed=shares.seed)[fold]
        validation_share = shares.validation / (1 - 1 / folds)
    else:
        test = _deal(candidates, pieces=_pieces(shares.test, len(candidates)), seed=shares.seed)[0]
        validation_share = shares.validation / (1 - shares.test)
    rest = [candidate for candidate in candidates if candidate.patient not in test]
    validation = _deal(rest, pieces=_pieces(validation_share, len(rest)), seed=shares.seed + 1)[0]
    return Split(
        {
            candidate.patient: "test"
            if candidate.patient in test
            else "val"
            if candidate.patient in validation
            else "train"
            for candidate in candidates
        }
    )


def _pieces(share: float, patients: int) -> int:
    """How many equal pieces make one of them about `share`; at least two, and none without a patient."""
    return max(2, min(round(1 / share), patients))


def _deal(candidates: Sequence[Candidate], *, pieces: int, seed: int) -> list[set[str]]:
    """Equal pieces of patients, stratified as finely as their numbers allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    patients = np.array([candidate.patient for candidate in candidates])
    dealer = StratifiedGroupKFold(n_splits=pieces, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A stratum smaller than the number of pieces cannot be in each of them; that is fine.
        warnings.simplefilter("ignore", UserWarning)
        for strata in _strata(candidates):
            if max(np.bincount(strata)) >= pieces:
                break
        dealt = [set(patients[held].tolist()) for _, held in dealer.split(patients, strata, groups=patients)]
    return [piece for piece in dealt if piece] + [piece for piece in dealt if not piece]


def _strata(candidates: Sequence[Candidate]) -> list[np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Labels from fine to coarse: institution and burden (thirds within each institution), institution, none."""
    by_institution: dict[str, list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        by_institution[candidate.institution].append(index)
    fine = np.zeros(len(candidates), np.intp)
    coarse = np.zeros(len(candidates), np.intp)
    for label, institution in enumerate(sorted(by_institution)):
        members = sorted(by_institution[institution], key=lambda index: candidates[index].tumour_voxels)
        for rank, index in enumerate(members):
            fine[index] = 3 * label + 3 * rank // len(members)
            coarse[index] = label
    return [fine, coarse, np.zeros(len(candidates), np.intp)]


def write_split(path: Path, split: Split) -> None:
    """Write `patient,part` rows as CSV, whole or not at all."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "part"))
        writer.writerows(sorted(split.parts.items()))


def read_split(path: Path) -> Split:
    """Read what `write_split` wrote.

    Raises:
        DataError: the file is missing, lacks a column, names an unknown part, or names a patient twice.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"split {path}: {error.strerror}", next_step="give a folder that train wrote") from error
    parts: dict[str, Part] = {}
    for line, row in enumerate(rows, start=2):
        patient, part = row.get("patient"), row.get("part")
        known = next((known for known in PARTS if known == part), None)
        if not patient or known is None:
            raise DataError(f"split {path}, line {line}: needs patient and part", next_step="parts: train, val, test")
        if patient in parts:
            raise DataError(f"split {path}, line {line}: {patient} occurs twice", next_step="keep one of the lines")
        parts[patient] = known
    return Split(parts)
