"""What a robustness study found: Dice by patient in every case, how much of it is lost, and where it is worst."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg import __version__
from tumorseg.evaluation.judgement import json_ready
from tumorseg.evaluation.means import over_patients
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.metrics.overlap import Confusion
from tumorseg.metrics.paired import PairedDifference, paired_difference
from tumorseg.scan import Mask, Pixels
from tumorseg.studies import robustness_cases
from tumorseg.studies.arm import Arm
from tumorseg.studies.comparison import letter_of
from tumorseg.studies.robustness_cases import Case, Family

UNDISTURBED = "undisturbed"
"""Key of the scans as they are, beside the cases'."""

BORNE = 0.05
"""Loss of mean Dice up to which a model is said to bear a strength."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One slice of one case, for looking at.

    Attributes:
        image: (height, width), as stored, of the channel that pictures show.
        reference, predicted: (height, width) bool; predicted by the first model.
        dice: of the whole patient.
    """

    image: Pixels
    reference: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    dice: float


@dataclass(frozen=True, eq=False)
class Robustness:
    """Several models on the same disturbed scans.

    Attributes:
        dataset, store_digest: what was judged.
        part: "test", "val" or "external".
        arms: the models, in the order given; their letters A, B, C … follow it.
        families: what was done.
        patients: who was judged, sorted.
        counts: of each patient, (patients,), by the model's label and the case's key or `UNDISTURBED`.
        shown: patient, scan's id and slice number of the pictures.
        shots: by the case's key or `UNDISTURBED`.
        readings: how often each run's test part was read, by label; empty for other parts.
        trained_on: by label, scans that are pixel for pixel training scans of that model.
        missing_patients: of the part, of whom the data set has no scan.
        command: that made it.
    """

    dataset: str
    store_digest: str
    part: str
    arms: tuple[Arm, ...]
    families: tuple[Family, ...]
    patients: tuple[str, ...]
    counts: Mapping[tuple[str, str], Confusion]
    shown: tuple[str, str, int] = ("", "", 0)
    shots: Mapping[str, Shot] = field(default_factory=dict)
    readings: Mapping[str, int] = field(default_factory=dict)
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing_patients: tuple[str, ...] = ()
    command: str = ""

    @property
    def letters(self) -> dict[str, str]:
        """By label."""
        return {arm.label: letter_of(index) for index, arm in enumerate(self.arms)}

    def dice(self, label: str, key: str = UNDISTURBED) -> NDArray[np.float64]:
        """Dice of each patient, (patients,); NaN where both masks are empty."""
        return self.counts[label, key].dice

    def mean(self, label: str, key: str = UNDISTURBED) -> float:
        """Mean Dice by patient; NaN where no patient has one."""
        return _mean(self.dice(label, key))

    def lost(self, label: str, key: str) -> float:
        """Mean over patients of Dice undisturbed minus Dice in a case; NaN where no patient has both."""
        return _mean(self.dice(label) - self.dice(label, key))

    def change(self, label: str, key: str) -> PairedDifference:
        """Dice in a case minus Dice undisturbed, patient by patient, with its interval."""
        return paired_difference(self.dice(label, key), self.dice(label))

    def worst_of(self, label: str, family: Family) -> Case:
        """The case of a family with the lowest mean; the mildest of equals."""
        return min(family.cases, key=lambda case: _sortable(self.mean(label, case.key)))

    def worst(self, label: str) -> tuple[Family, Case]:
        """The case with the lowest mean of all strengths; of missing sequences where there are no strengths.

        A model is blind without its leading sequence, so that this would otherwise be the answer for every model.
        """
        graded = [family for family in self.families if family.graded] or self.families
        found = [(family, self.worst_of(label, family)) for family in graded]
        return min(found, key=lambda pair: _sortable(self.mean(label, pair[1].key)))

    def borne(self, label: str, family: Family) -> Case | None:
        """The strongest case up to which no case loses more than `BORNE`; None where the mildest does."""
        held = None
        for case in family.cases:
            if not self.lost(label, case.key) <= BORNE:
                return held
            held = case
        return held

    def hardest_hit(self, label: str, key: str) -> tuple[str, float, float] | None:
        """The patient who loses most in a case, with Dice before and after; None where nobody has both."""
        before, after = self.dice(label), self.dice(label, key)
        lost = before - after
        if not np.isfinite(lost).any():
            return None
        index = int(np.nanargmax(lost))
        return self.patients[index], float(before[index]), float(after[index])

    def mean_change(self, label: str) -> float:
        """Mean of the changes over all strengths of all graded families, each family weighing the same."""
        changes = [
            -np.mean([self.lost(label, case.key) for case in family.cases]) for family in self.families if family.graded
        ]
        return float(np.mean(changes)) if changes else math.nan


def as_json(found: Robustness) -> dict[str, Any]:
    """The content of robustness.json; null where a number is undefined."""
    ready: dict[str, Any] = json_ready(
        {
            "tumorseg": __version__,
            "dataset": found.dataset,
            "store_digest": found.store_digest,
            "part": found.part,
            "patients": list(found.patients),
            "missing_patients": list(found.missing_patients),
            "disturbances": [
                {
                    "key": family.key,
                    "label": family.label,
                    "unit": family.unit,
                    "meaning": family.meaning,
                    "neutral": family.neutral,
                    "cases": [
                        {"step": case.step, "strength": case.strength, "label": case.label} for case in family.cases
                    ],
                }
                for family in found.families
            ],
            "models": [_model(found, arm) for arm in found.arms],
            "seed": robustness_cases.SEED,
            "borne_loss": BORNE,
            "interval": {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95},
            "command": found.command,
        }
    )
    return ready


def case_rows(found: Robustness) -> Iterator[dict[str, Any]]:
    """The rows of robustness.csv: each model undisturbed, then in every case; "" where a number is undefined."""
    for arm in found.arms:
        yield _blank_undefined(
            {"model": arm.label, "disturbance": UNDISTURBED, "step": 0, "strength": "", "case": ""}
            | _scores(found, arm.label, UNDISTURBED)
        )
        for family in found.families:
            for case in family.cases:
                yield _blank_undefined(
                    {
                        "model": arm.label,
                        "disturbance": family.key,
                        "step": case.step,
                        "strength": case.strength,
                        "case": case.label,
                    }
                    | _scores(found, arm.label, case.key)
                )


def patient_rows(found: Robustness) -> Iterator[dict[str, Any]]:
    """The rows of patients.csv: each patient in every case, with the counts that the Dice follows from."""
    for (label, key), counts in found.counts.items():
        dice = counts.dice
        for index, patient in enumerate(found.patients):
            yield _blank_undefined(
                {
                    "model": label,
                    "case": key,
                    "patient": patient,
                    "tp": int(counts.tp[index]),
                    "fp": int(counts.fp[index]),
                    "fn": int(counts.fn[index]),
                    "dice": float(dice[index]),
                }
            )


def summary_rows(found: Robustness) -> list[tuple[str, str]]:
    """One line a model, for the terminal."""
    rows = []
    for arm in found.arms:
        family, case = found.worst(arm.label)
        worst, whole = found.mean(arm.label, case.key), found.mean(arm.label)
        rows.append((arm.label, f"undisturbed {whole:.3f}, worst {worst:.3f} ({family.label.lower()}, {case.label})"))
    return rows


def slice_shot(image: Pixels, reference: Mask, predicted: Mask) -> Shot:
    """A shot of one slice, (height, width) each, whose patient's Dice is not known yet."""
    return Shot(np.array(image), reference != 0, predicted != 0, math.nan)


def _model(found: Robustness, arm: Arm) -> dict[str, Any]:
    label = arm.label
    return {
        "label": label,
        "run": arm.run.resolve().name,
        "recipe": arm.recipe.name,
        "readings": found.readings.get(label),
        "trained_on": list(found.trained_on.get(label, ())),
        UNDISTURBED: _scores(found, label, UNDISTURBED),
        "mean_change": found.mean_change(label),
        "worst": found.worst(label)[1].key,
        "cases": {case.key: _scores(found, label, case.key) for family in found.families for case in family.cases},
        "borne": {
            family.key: borne.key if (borne := found.borne(label, family)) else None
            for family in found.families
            if family.graded
        },
    }


def _scores(found: Robustness, label: str, key: str) -> dict[str, Any]:
    counts = found.counts[label, key]
    whole, pooled, change = over_patients(counts.dice), counts.pooled(), found.change(label, key)
    return {
        "patients": whole["n"],
        "dice_patient_mean": whole["mean"],
        "dice_patient_low": whole["ci95"][0],
        "dice_patient_high": whole["ci95"][1],
        "dice_patient_median": whole["median"],
        "change_mean": change.mean,
        "change_low": change.interval.low,
        "change_high": change.interval.high,
        "dice_pooled": float(pooled.dice),
        "precision": float(pooled.precision),
        "recall": float(pooled.recall),
        "patients_with_nothing_marked": int(np.count_nonzero(counts.predicted == 0)),
    }


def _blank_undefined(row: dict[str, Any]) -> dict[str, Any]:
    return {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _sortable(mean: float) -> float:
    return math.inf if math.isnan(mean) else mean
