"""What a cross-validation found: the scores of every patient, each by models that never saw that patient."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.prepared import Store
from tumorseg.errors import DataError, few
from tumorseg.inference.model import read_model
from tumorseg.metrics.overlap import Confusion
from tumorseg.metrics.variance import VarianceSplit, variance_split
from tumorseg.recipe import Recipe
from tumorseg.studies.arm import Arm, Judged, read_judged
from tumorseg.studies.held_out import By, HeldOut
from tumorseg.studies.leakage import SliceCounts, read_slices
from tumorseg.studies.rivals import Rival

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FoldScores:
    """One fold under one seed.

    Attributes:
        arm: the run.
        fold: its name and split.
        seed: of the training.
        judged: what its evaluation found.
        rows: of its patients.csv, by column, one for each patient.
        slices: the counts of its test slices.
        threshold: that its validation patients chose.
    """

    arm: Arm
    fold: HeldOut
    seed: int
    judged: Judged
    rows: tuple[Mapping[str, str], ...]
    slices: SliceCounts
    threshold: float

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.arm.run

    @property
    def best_epoch(self) -> Mapping[str, float]:
        """The row of the log with the highest Dice on the validation patients; empty where none was recorded."""
        validated = [row for row in self.arm.log if "val_dice_patient" in row]
        return max(validated, key=lambda row: row["val_dice_patient"], default={})

    @property
    def readings(self) -> int:
        """How often this run's test part was read."""
        return int(self.judged.metrics.get("protocol", {}).get("test_readings") or 0)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Every fold under every seed, together.

    Attributes:
        dataset: its name.
        recipe: of all trainings, but for the seed.
        by: what was held out.
        tested: seed after seed, each with all folds in order.
        patients: who was tested, sorted.
        institutions, folds: of each patient.
        dice: (patients, seeds), NaN where both masks are empty.
        lone: the same with every slice segmented by itself.
        reference_voxels: (patients,).
        never: patients whom no fold tested.
        rivals: other cross-validations of the same patients.
        command: that made it.
    """

    dataset: str
    tested: tuple[FoldScores, ...]
    patients: tuple[str, ...]
    institutions: tuple[str, ...]
    folds: tuple[str, ...]
    dice: Floats
    lone: Floats
    reference_voxels: NDArray[np.int64]
    recipe: Recipe
    never: tuple[str, ...] = ()
    by: By = "fold"
    rivals: tuple[Rival, ...] = ()
    command: str = ""

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order in which they were trained."""
        return tuple(dict.fromkeys(one.seed for one in self.tested))

    @property
    def fold_names(self) -> tuple[str, ...]:
        """In the order in which they were trained."""
        return tuple(dict.fromkeys(one.fold.name for one in self.tested))

    @property
    def score(self) -> Floats:
        """(patients,): a patient's Dice, the mean over seeds; NaN where any of them is."""
        return np.asarray(self.dice.mean(axis=1), np.float64)

    @property
    def score_lone(self) -> Floats:
        """(patients,): the same with every slice segmented by itself."""
        return np.asarray(self.lone.mean(axis=1), np.float64)

    @cached_property
    def variance(self) -> VarianceSplit:
        """How much of the scatter is patients and how much is seed, folds taken as blocks."""
        return variance_split(self.dice, np.array(self.folds))

    def slices_of(self, seed: int) -> SliceCounts:
        """The counts of every slice under one seed, over all folds."""
        parts = [one.slices for one in self.tested if one.seed == seed]
        names = tuple(name for part in parts for name in part.patients)
        return SliceCounts(names, Confusion.joined([part.counts for part in parts]))


def read_tested(arm: Arm, fold: HeldOut, seed: int, folder: Path) -> FoldScores:
    """Read what the evaluation of one fold's test part found.

    Raises:
        DataError: it is not whole, is not of that fold's patients, or says that the model had seen one of them.
    """
    judged = read_judged(folder)
    protocol = judged.metrics.get("protocol", {})
    if seen := protocol.get("trained_on"):
        raise DataError(
            f"{arm.run} was trained on scans that it was judged on: {few(seen)}",
            next_step="remove the copies from the data set, and train that fold again",
        )
    if set(judged.patients) != set(fold.split.patients("test")):
        raise DataError(f"{folder} is not of the patients of {fold.name}", next_step="delete that folder")
    with open(folder / "patients.csv", newline="", encoding="utf-8") as file:
        rows = tuple(csv.DictReader(file))
    threshold = read_model(arm.run).spec.threshold
    return FoldScores(arm, fold, seed, judged, rows, read_slices(folder), threshold)


def joined(tested: Sequence[FoldScores], store: Store, *, never: Sequence[str] = ()) -> CrossValidation:
    """Put the folds together, and hold that every patient was scored exactly once under each seed.

    Args:
        tested: every fold under every seed.
        store: the data set.
        never: patients whom no fold was to test.

    Raises:
        DataError: a patient was scored by no fold or by several, or by a model that had seen the patient.
    """
    seeds = tuple(dict.fromkeys(one.seed for one in tested))
    expected = {entry.patient for entry in store.stored} - set(never)
    for seed in seeds:
        _refuse_uneven([one for one in tested if one.seed == seed], expected)
    patients = tuple(sorted(expected))
    place = {patient: index for index, patient in enumerate(patients)}
    dice, lone = (np.full((len(patients), len(seeds)), math.nan) for _ in range(2))
    institution = dict.fromkeys(patients, "")
    fold_of = dict.fromkeys(patients, "")
    voxels = np.zeros(len(patients), np.int64)
    for one in tested:
        column = seeds.index(one.seed)
        for row in one.rows:
            name = row["patient"]
            dice[place[name], column] = _number(row["dice"])
            lone[place[name], column] = _number(row.get("dice_lone", ""))
            institution[name], fold_of[name] = row.get("institution", ""), one.fold.name
            voxels[place[name]] = int(row["reference_voxels"])
    return CrossValidation(
        dataset=store.name,
        tested=tuple(tested),
        patients=patients,
        institutions=tuple(institution.values()),
        folds=tuple(fold_of.values()),
        dice=dice,
        lone=lone,
        reference_voxels=voxels,
        recipe=tested[0].arm.recipe,
        never=tuple(never),
    )


def _refuse_uneven(tested: Sequence[FoldScores], expected: set[str]) -> None:
    times = Counter(row["patient"] for one in tested for row in one.rows)
    if doubled := sorted(patient for patient, count in times.items() if count > 1):
        raise DataError(
            f"more than one fold scored {few(doubled)}", next_step="start the study anew in another --output"
        )
    if missing := sorted(expected - set(times)):
        raise DataError(f"no fold scored {few(missing)}", next_step="start the study anew in another --output")
    for one in tested:
        seen = {*one.fold.split.patients("train"), *one.fold.split.patients("val")}
        if known := sorted(seen & set(one.judged.patients)):
            raise DataError(
                f"{one.run} had seen {few(known)} before it scored them",
                next_step="start the study anew in another --output",
            )


def _number(text: str) -> float:
    return float(text) if text else math.nan
