"""The few lines of metrics.json that people read first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorseg.evaluation.definitions import cut


def headline(path: Path) -> list[tuple[str, str]]:
    """Name and value of the scores that matter most; decimals are cut, never rounded up.

    Args:
        path: a metrics.json.
    """
    metrics: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    patient = metrics["dice_patient"]
    low, high = patient["ci95"]
    rows = [
        ("patients", _counted(patient)),
        (
            "dice_patient",
            f"mean {cut(patient['mean'])} ({_interval(low, high)}), median {cut(patient['median'])}",
        ),
        ("dice_pooled", cut(metrics["dice_pooled"])),
    ]
    if alone := metrics.get("single_slice"):
        mean = alone["dice_patient"]["mean"]
        rows.append(("slices alone", f"dice_patient mean {cut(mean)}, dice_pooled {cut(alone['dice_pooled'])}"))
    for name, score in metrics.get("dice_patient_by_class", {}).items():
        own = metrics.get("per_class", {}).get(name)
        as_class = f", as this class {cut(own['dice_patient']['mean'])}" if own else ""
        rows.append((name, f"any tumour, dice_patient mean {cut(score['mean'])} of {score['n']}{as_class}"))
    rows += [(name, cut(metrics[name])) for name in ("precision", "recall")]
    if metrics["empty_slice_fpr"] is not None:
        rows.append(("empty_slice_fpr", cut(metrics["empty_slice_fpr"], lower_is_better=True)))
    if readings := metrics.get("protocol", {}).get("test_readings"):
        rows.append(("test part read", f"{readings} time{'s' * (readings != 1)}"))
    return rows


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "too few patients for an interval"
    return f"95 % {cut(low)} to {cut(high, lower_is_better=True)}"


def _counted(patient: Mapping[str, Any]) -> str:
    left_out = f", {patient['left_out']} left out (both masks empty)" if patient.get("left_out") else ""
    return f"{patient['n']}{left_out}"
