"""Other cross-validations of the same patients, to be held against one, patient by patient."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.metrics.paired import PairedDifference, holm, paired_difference


@dataclass(frozen=True, eq=False)
class Rival:
    """Another study.

    Attributes:
        name: of its folder.
        recipe: its name.
        dice: by patient, the mean over its seeds; NaN where both masks are empty.
    """

    name: str
    recipe: str
    dice: dict[str, float]


@dataclass(frozen=True)
class Held:
    """One study held against another.

    Attributes:
        rival: the other's name.
        difference: this study's Dice minus the other's.
        p_holm: corrected for the number of rivals.
        deviation: standard deviation of the differences between patients; NaN with fewer than two.
    """

    rival: str
    difference: PairedDifference
    p_holm: float
    deviation: float


def read_rival(folder: Path, own: Path, store_digest: str) -> Rival:
    """Read a finished cross-validation.

    Args:
        folder: of the other study.
        own: of this one, which is no rival of itself.
        store_digest: of the data set, which must be the same.

    Raises:
        DataError: it is none, is not finished, is this one, or is of other data.
    """
    if folder.resolve() == own.resolve():
        raise DataError(f"{folder} cannot be held against itself", next_step="name another study with --against")
    try:
        found = json.loads((folder / "crossval.json").read_text(encoding="utf-8"))
        digest, recipe = found["store_digest"], found["recipe"]["name"]
        with open(folder / "patients.csv", newline="", encoding="utf-8") as file:
            rows = [(row["patient"], float(row["dice"]) if row["dice"] else math.nan) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} is not a finished cross-validation", next_step="give a folder that tumorseg crossval wrote"
        ) from error
    if digest != store_digest:
        raise DataError(f"{folder} is of other data", next_step="hold studies of one data set against each other")
    scores: dict[str, list[float]] = {}
    for patient, dice in rows:
        scores.setdefault(patient, []).append(dice)
    return Rival(folder.resolve().name, recipe, {patient: float(np.mean(all_)) for patient, all_ in scores.items()})


def held_against(patients: tuple[str, ...], dice: NDArray[np.float64], rivals: tuple[Rival, ...]) -> tuple[Held, ...]:
    """Hold scores against each rival's on identical patients; Wilcoxon's p is Holm-corrected for their number.

    Args:
        patients: of `dice`.
        dice: (patients,).
        rivals: a patient whom one lacks is left out there and counted.
    """
    others = [np.array([rival.dice.get(patient, math.nan) for patient in patients]) for rival in rivals]
    differences = [paired_difference(dice, other) for other in others]
    corrected = holm([difference.p for difference in differences])
    return tuple(
        Held(rival.name, difference, p, deviation_of(dice - other))
        for rival, difference, p, other in zip(rivals, differences, corrected, others, strict=True)
    )


def deviation_of(values: NDArray[np.float64]) -> float:
    """Sample standard deviation of what is not NaN; NaN with fewer than two values."""
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if known.size > 1 else math.nan
