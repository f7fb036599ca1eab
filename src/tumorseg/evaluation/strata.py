"""Whether scores differ between groups of patients: institution, tumour size, missing sequences, clinical columns.

Exploratory: groups are many and patients few. Every factor is tested once, all tests are corrected together (Holm),
and what stays is a question to ask of more patients, not a finding.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tumorseg.evaluation.judgement import Judgement, PatientScore
from tumorseg.evaluation.means import over_patients
from tumorseg.metrics.paired import holm
from tumorseg.scan import Scan

LEAST = 5
"""Patients of a level; smaller levels are counted and not compared."""

_MANY = 8
"""A column of numbers with more values than these is cut into thirds."""

_FLAIR = "flair"

Traits = Mapping[str, Mapping[str, str]]
"""By patient, the level of each factor; "" where unknown."""


def traits_of(scans: Iterable[Scan], clinical: Mapping[str, Mapping[str, str]]) -> Traits:
    """What is known of patients beside their masks: which sequences are missing, and their clinical columns.

    A sequence is missing where it equals FLAIR in every voxel, as the published LGG set fills in what was not taken.

    Args:
        scans: with pixels; none where the images are not known.
        clinical: rows of data.csv by patient.
    """
    traits: dict[str, dict[str, str]] = defaultdict(dict)
    for scan in scans:
        if _FLAIR in scan.channels and len(scan.channels) > 1:
            missing = [name for name in scan.channels if name != _FLAIR and _copied(replace(scan), name)]
            traits[scan.patient]["missing sequences"] = " and ".join(missing) or "none"
    for patient, row in clinical.items():
        for column, value in row.items():
            traits[patient].setdefault(column, value.strip())
    return traits


def with_strata(judgement: Judgement, traits: Traits) -> Judgement:
    """The judgement with metrics["strata"], `strata_of` of its patients."""
    return replace(judgement, metrics={**judgement.metrics, "strata": strata_of(judgement.patients, traits)})


def strata_of(patients: Sequence[PatientScore], traits: Traits) -> list[dict[str, Any]]:
    """Dice by patient in every level of every factor that has at least two levels of five patients.

    Returns:
        For each factor `factor`, `levels` (each with `level`, mean, median, ci95 and n), `left_out` patients of small
        or unknown levels, `p` of the Kruskal-Wallis test that the levels are alike, and `p_holm`, corrected for all
        factors.
    """
    scored = [patient for patient in patients if math.isfinite(patient.dice)]
    factors = [_factor(name, scored, levels) for name, levels in _factors(scored, traits).items()]
    kept = [factor for factor in factors if factor is not None]
    for factor, corrected in zip(kept, holm([factor["p"] for factor in kept]), strict=True):
        factor["p_holm"] = corrected
    return kept


def _factors(patients: Sequence[PatientScore], traits: Traits) -> dict[str, list[str]]:
    """The level of each patient in each factor."""
    factors = {
        "institution": [patient.institution for patient in patients],
        "tumour size": _thirds([float(patient.reference_voxels) for patient in patients], "voxels"),
    }
    rows = [traits.get(patient.patient, {}) for patient in patients]
    for name in dict.fromkeys(column for row in rows for column in row):
        levels = [row.get(name, "") for row in rows]
        numbers = [_number(level) for level in levels]
        many = len(set(levels) - {""}) > _MANY
        factors[name] = _thirds(numbers, "") if many and any(map(math.isfinite, numbers)) else levels
    return factors


def _factor(name: str, patients: Sequence[PatientScore], levels: Sequence[str]) -> dict[str, Any] | None:
    groups: dict[str, list[float]] = defaultdict(list)
    for patient, level in zip(patients, levels, strict=True):
        if level:
            groups[level].append(patient.dice)
    large = {level: values for level, values in groups.items() if len(values) >= LEAST}
    if len(large) < 2:
        return None
    rows = []
    for level in sorted(large, key=lambda level: (levels_order(level), level)):
        row = over_patients(np.array(large[level], np.float64))
        row.pop("left_out")
        rows.append({"level": level, **row})
    return {
        "factor": name,
        "levels": rows,
        "left_out": len(patients) - sum(map(len, large.values())),
        "p": _kruskal(list(large.values())),
    }


def levels_order(level: str) -> int:
    """Thirds stand in their order, everything else by name."""
    return next((place for place, word in enumerate(("lower", "middle", "upper")) if level.startswith(word)), 3)


def _kruskal(groups: Sequence[Sequence[float]]) -> float:
    """p of the Kruskal-Wallis test; 1 where all values are equal."""
    if len({value for group in groups for value in group}) == 1:
        return 1.0
    from scipy import stats

    return float(stats.kruskal(*groups).pvalue)


def _thirds(values: Sequence[float], unit: str) -> list[str]:
    """The third that each value lies in, with the bounds in words; "" where there is no value."""
    known = np.array([value for value in values if math.isfinite(value)])
    if known.size < 3:
        return [""] * len(values)
    first, second = (float(bound) for bound in np.quantile(known, (1 / 3, 2 / 3)))
    unit = f" {unit}" if unit else ""
    names = (
        f"lower third, up to {first:,.0f}{unit}",
        f"middle third, up to {second:,.0f}{unit}",
        f"upper third, above {second:,.0f}{unit}",
    )
    return [
        names[0 if value <= first else 1 if value <= second else 2] if math.isfinite(value) else "" for value in values
    ]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _copied(scan: Scan, name: str) -> bool:
    pixels = scan.pixels
    return np.array_equal(pixels[..., scan.channels.index(name)], pixels[..., scan.channels.index(_FLAIR)])
