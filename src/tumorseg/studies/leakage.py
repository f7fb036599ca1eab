"""What a split by slice gives away: the difference between two arms, and what copying from neighbours scores."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split
from tumorseg.errors import DataError
from tumorseg.evaluation import practices
from tumorseg.metrics import aggregate
from tumorseg.metrics.overlap import Confusion, confusion_by_slice
from tumorseg.metrics.unpaired import Difference, Ratio, unpaired_difference

SCORES: Mapping[str, str] = {
    "dice_patient": "Dice by patient, mean",
    "dice_pooled": "Dice, all voxels together",
    "dice_slice_positive": "Dice by slice, slices with tumour",
    "dice_slice_all": "Dice by slice, all slices",
    "dice_smooth100_b1": "Dice + 100, one slice a batch",
    "dice_smooth100_b32": "Dice + 100, 32 slices a batch",
}
"""The definitions that are held against each other, as metrics.json calls them, with their names for people."""


@dataclass(frozen=True)
class Leak:
    """One score under both splits.

    Attributes:
        key: in metrics.json.
        by_patient, by_slice: the score on each arm's own test part; NaN where it is 0/0.
        difference: by slice minus by patient, with its interval; None where the score does not divide by patient.
        all_empty: what a prediction without tumour scores on the test slices of the split by slice; NaN where it
            means nothing.
        copied: what copying the mask of the nearest training slice scores there.
    """

    key: str
    by_patient: float
    by_slice: float
    difference: Difference | None
    all_empty: float
    copied: float

    @property
    def gap(self) -> float:
        """By slice minus by patient."""
        return self.by_slice - self.by_patient


@dataclass(frozen=True, eq=False)
class SliceCounts:
    """The confusion counts of judged slices, and whose they are."""

    patients: tuple[str, ...]
    counts: Confusion


def read_slices(folder: Path) -> SliceCounts:
    """Read slices.csv of an evaluation.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with open(folder / "slices.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = [np.array([int(row[name]) for row in rows], np.int64) for name in ("tp", "fp", "fn", "tn")]
        patients = tuple(row["patient"] for row in rows)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is not a whole evaluation", next_step="delete that folder") from error
    return SliceCounts(patients, Confusion(*columns))


def copied_from_neighbours(store: Store, split: Split) -> SliceCounts:
    """Counts of a prediction without learning: each test slice gets the mask of the same patient's nearest other.

    Nearest is the slice of the training part with the smallest distance in the data set's order, of two the earlier
    one; a test slice whose patient has no training slice of its size gets an empty mask.

    Args:
        store: the data set.
        split: of slices, or of patients, where nothing can be copied.
    """
    owner = store.scan_index
    patients = np.array([entry.patient for entry in store.stored])[owner]
    training = set(store.rows(split, "train").tolist())
    found: list[Confusion] = []
    names: list[str] = []
    for row in store.rows(split, "test").tolist():
        own = np.flatnonzero(patients == patients[row])
        reference = _mask(store, row)
        near = sorted(
            (other for other in own.tolist() if other in training), key=lambda other: (abs(other - row), other)
        )
        fitting = next((mask for other in near if (mask := _mask(store, other)).shape == reference.shape), None)
        found.append(confusion_by_slice(np.zeros_like(reference) if fitting is None else fitting, reference))
        names.append(str(patients[row]))
    return SliceCounts(tuple(names), Confusion.joined(found))


def scores_of(slices: SliceCounts) -> dict[str, float]:
    """The scores of `SCORES` that follow from slices alone; batches of 32 need an order and are left out."""
    return {name: score.value for name, score in ratios_of(slices).items()}


def ratios_of(slices: SliceCounts) -> dict[str, Ratio]:
    """The scores of `SCORES` that are sums over patients, ready to be resampled by patient."""
    return practices.ratios_of(slices.patients, slices.counts)


def leaks(
    by_patient: tuple[Mapping[str, Any], SliceCounts],
    by_slice: tuple[Mapping[str, Any], SliceCounts],
    copied: SliceCounts,
    *,
    seed: int,
) -> tuple[Leak, ...]:
    """Every score of `SCORES` under both splits.

    Args:
        by_patient, by_slice: metrics.json and slices of each arm's own test part.
        copied: what `copied_from_neighbours` gives for the split by slice.
        seed: of the order in which slices are put into batches of 32.
    """
    honest, leaking, borrowed = ratios_of(by_patient[1]), ratios_of(by_slice[1]), scores_of(copied)
    shuffled = copied.counts.take(aggregate.shuffled_order(copied.counts.tp.size, seed))
    borrowed["dice_smooth100_b32"] = aggregate.smoothed(shuffled, batch=32)
    return tuple(
        Leak(
            key,
            by_patient=_value(by_patient[0], key),
            by_slice=_value(by_slice[0], key),
            difference=unpaired_difference(leaking[key], honest[key]) if key in honest else None,
            all_empty=_number(by_slice[0].get("all_empty", {}).get(key)),
            copied=borrowed[key],
        )
        for key in SCORES
    )


def _mask(store: Store, row: int) -> Any:
    """The reference of one row of the table, (1, height, width)."""
    entry = store.stored[int(store.scan_index[row])]
    return np.asarray(store.masks(entry)[row - entry.first : row - entry.first + 1])


def _value(metrics: Mapping[str, Any], key: str) -> float:
    found = metrics.get(key)
    return _number(found.get("mean") if isinstance(found, Mapping) else found)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
