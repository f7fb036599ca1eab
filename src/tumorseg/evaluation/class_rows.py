"""The report's table of classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumorseg.evaluation.definitions import cut


@dataclass(frozen=True)
class ClassRow:
    """One class; the `own_…` values are NaN, and `named` false, where the model does not tell classes apart."""

    name: str
    patients: int
    any_mean: float
    any_interval: str
    named: bool
    own_mean: float = math.nan
    own_interval: str = ""
    own_pooled: float = math.nan
    absent: float = math.nan


def class_rows(metrics: Mapping[str, Any]) -> list[ClassRow]:
    """One row for each class of the references; none where they have one class."""
    named = metrics.get("per_class", {})
    rows = []
    for name, together in metrics.get("dice_patient_by_class", {}).items():
        if own := named.get(name):
            rows.append(
                ClassRow(
                    name,
                    together["n"],
                    together["mean"],
                    _interval(together),
                    True,
                    own["dice_patient"]["mean"],
                    _interval(own["dice_patient"]),
                    own["dice_pooled"],
                    own["absent_class_fpr"],
                )
            )
        else:
            rows.append(ClassRow(name, together["n"], together["mean"], _interval(together), False))
    return rows


def _interval(score: Mapping[str, Any]) -> str:
    low, high = score["ci95"]
    return f"{cut(low)} to {cut(high, lower_is_better=True)}"
