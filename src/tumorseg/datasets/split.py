"""Splits: who trains, who chooses, who is judged; by patient, but for the audit of leakage."""

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

Unit = Literal["patient", "slice-with-leakage"]
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Candidate:
    """What a split needs to know of one patient.

    Attributes:
        institution: where the scans are from; "" where unknown.
        tumour_voxels: of all classes.
        main_class: the class with the most slices, 1…K; 0 where the data set has one class, or there is no tumour.
    """

    patient: str
    institution: str
    tumour_voxels: int
    main_class: int = 0


@dataclass(frozen=True)
class Split:
    """The part of each patient. A patient is one key, so none can be in two parts.

    Attributes:
        parts: by patient; of the unit slice-with-leakage, by slice as `slice_key` names it.
        unit: what a key is.
    """

    parts: Mapping[str, Part]
    unit: Unit = "patient"

    def __repr__(self) -> str:
        things = "patients" if self.unit == "patient" else "slices, with leakage"
        return f"<split of {len(self.parts)} {things}: {', '.join(f'{len(self.keys(part))} {part}' for part in PARTS)}>"

    def keys(self, part: Part) -> tuple[str, ...]:
        """The patients or slices of one part, sorted."""
        return tuple(sorted(key for key, where in self.parts.items() if where == part))

    def patients(self, part: Part) -> tuple[str, ...]:
        """The patients of one part, sorted.

        Raises:
            ValueError: the split is of slices, whose patients `Store.patients_of` tells.
        """
        if self.unit != "patient":
            raise ValueError("a split of slices has no patients of its own")
        return self.keys(part)


def slice_key(scan: str, number: int) -> str:
    """What a split of slices calls one of them."""
    return f"{scan}#{number}"


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
    return with_test(candidates, test, validation_share=validation_share, seed=shares.seed)


def with_test(candidates: Sequence[Candidate], test: set[str], *, validation_share: float, seed: int) -> Split:
    """The split whose test patients are given.

    Args:
        validation_share: of the other patients, who are dealt as `split_patients` deals them.
        seed: of the whole split.
    """
    candidates = sorted(candidates, key=lambda candidate: candidate.patient)
    rest = [candidate for candidate in candidates if candidate.patient not in test]
    validation = _deal(rest, pieces=_pieces(validation_share, len(rest)), seed=seed + 1)[0]
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
    """Labels from fine to coarse: origin and burden (thirds within each origin), origin, none.

    An origin is an institution, and where there are several classes a patient's main class as well.
    """
    by_origin: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        by_origin[candidate.institution, candidate.main_class].append(index)
    fine = np.zeros(len(candidates), np.intp)
    coarse = np.zeros(len(candidates), np.intp)
    for label, origin in enumerate(sorted(by_origin)):
        members = sorted(by_origin[origin], key=lambda index: candidates[index].tumour_voxels)
        for rank, index in enumerate(members):
            fine[index] = 3 * label + 3 * rank // len(members)
            coarse[index] = label
    return [fine, coarse, np.zeros(len(candidates), np.intp)]


_COLUMNS: Mapping[str, Unit] = {"patient": "patient", "slice": "slice-with-leakage"}


def write_split(path: Path, split: Split) -> None:
    """Write `patient,part` rows as CSV, or `slice,part` rows of a split of slices, whole or not at all."""
    column = next(column for column, unit in _COLUMNS.items() if unit == split.unit)
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((column, "part"))
        writer.writerows(sorted(split.parts.items()))


def read_split(path: Path) -> Split:
    """Read what `write_split` wrote.

    Raises:
        DataError: the file is missing, lacks a column, names an unknown part, or names a patient or slice twice.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            column = next((name for name in _COLUMNS if name in (reader.fieldnames or ())), "patient")
            rows = list(reader)
    except OSError as error:
        raise DataError(f"split {path}: {error.strerror}", next_step="give a folder that train wrote") from error
    parts: dict[str, Part] = {}
    for line, row in enumerate(rows, start=2):
        key, part = row.get(column), row.get("part")
        known = next((known for known in PARTS if known == part), None)
        if not key or known is None:
            raise DataError(f"split {path}, line {line}: needs {column} and part", next_step="parts: train, val, test")
        if key in parts:
            raise DataError(f"split {path}, line {line}: {key} occurs twice", next_step="keep one of the lines")
        parts[key] = known
    return Split(parts, _COLUMNS[column])
