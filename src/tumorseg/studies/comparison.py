"""A comparison: all that was found about several models, as tables for people and programs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tumorseg import __version__
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.judgement import json_ready
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.studies.arm import Arm
from tumorseg.studies.cost import Cost
from tumorseg.studies.scenes import Scene
from tumorseg.studies.standings import Standing, Standings

PLAIN = ("dice_pooled", "iou_pooled", "precision", "recall", "specificity", "accuracy", "empty_slice_fpr")
"""Scores of metrics.json that are one number each."""

BORROWED = ("dice_batch16", "dice_smooth100_b1", "dice_smooth100_b32")
"""Scores that are shown only because other systems report them."""

_PARTS = {"test": "test", "val": "validation", "train": "training", "external": "foreign"}


@dataclass(frozen=True)
class NotRun:
    """A recipe that was asked for and could not be trained here."""

    label: str
    recipe: str
    reason: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models on the same patients.

    Attributes:
        dataset: its name.
        arms: the models, in the order given; their letters A, B, C … follow it.
        parts: what was found on each part that was asked for.
        costs: by label.
        not_run: recipes that were asked for in vain.
        scenes: the same slices through all models.
        minutes: the equal training time that was aimed at; None where recipes kept their epochs.
        timed_slices: how many slices the time per slice was measured on.
        timed_on: what computed them.
        command: that made it.
    """

    dataset: str
    arms: tuple[Arm, ...]
    parts: tuple[Standings, ...]
    costs: Mapping[str, Cost]
    not_run: tuple[NotRun, ...] = ()
    scenes: tuple[Scene, ...] = ()
    minutes: float | None = None
    timed_slices: int = 0
    timed_on: str = ""
    command: str = ""
    letters: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", {arm.label: letter_of(index) for index, arm in enumerate(self.arms)})


def letter_of(index: int) -> str:
    """A, B, … Z, AA, AB, …"""
    letter = chr(ord("A") + index % 26)
    return letter if index < 26 else letter_of(index // 26 - 1) + letter


def part_name(part: str) -> str:
    """A part as people say it."""
    return _PARTS.get(part, part)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json; null where a number is undefined."""
    found: dict[str, Any] = {
        "tumorseg": __version__,
        "dataset": comparison.dataset,
        "minutes": comparison.minutes,
        "models": [_model(comparison, arm) for arm in comparison.arms],
        "not_run": [
            {"label": missing.label, "recipe": missing.recipe, "reason": missing.reason}
            for missing in comparison.not_run
        ],
        "parts": {standings.part: _part(standings) for standings in comparison.parts},
        "inference": {"slices": comparison.timed_slices, "device": comparison.timed_on},
        "statistics": {
            "test": "Wilcoxon signed-rank, two-sided, against the model with the highest mean, Holm-corrected for all "
            "pairs of models",
            "interval": {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95},
        },
        "command": comparison.command,
    }
    ready: dict[str, Any] = json_ready(found)
    return ready


def csv_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The rows of comparison.csv, one for each model on each part; "" where a number is undefined."""
    for standings in comparison.parts:
        for row in standings.rows:
            metrics, cost = row.judged.metrics, comparison.costs[row.arm.label]
            patient, behind = metrics["dice_patient"], row.behind
            low, high = patient["ci95"]
            values = {
                "part": standings.part,
                "model": row.arm.label,
                "recipe": row.arm.recipe.name,
                "patients": patient["n"],
                "dice_patient_mean": patient["mean"],
                "dice_patient_low": low,
                "dice_patient_high": high,
                "dice_patient_median": patient["median"],
                "iou_patient_mean": metrics["iou_patient"]["mean"],
                **{name: metrics.get(name) for name in (*PLAIN, *BORROWED)},
                "dice_batch16_of_perfect_masks": metrics["perfect"]["dice_batch16"],
                **{f"{name}_of_all_empty": metrics["all_empty"][name] for name in ("accuracy", *BORROWED[1:])},
                "behind_best_mean": behind.mean if behind else None,
                "behind_best_low": behind.interval.low if behind else None,
                "behind_best_high": behind.interval.high if behind else None,
                "behind_best_p_holm": row.p_holm,
                **cost.as_json(),
            }
            yield {name: "" if value is None or value != value else value for name, value in values.items()}


def summary_rows(comparison: Comparison, standings: Standings) -> list[tuple[str, ...]]:
    """The table that people read on the terminal, its heading first."""
    rows: list[tuple[str, ...]] = [
        ("model", "Dice by patient (95 %)", "median", "to the best (95 %)", "p, Holm", "weights", "ms/slice")
    ]
    for row in standings.rows:
        patient, cost = row.judged.metrics["dice_patient"], comparison.costs[row.arm.label]
        rows.append(
            (
                row.arm.label,
                f"{cut(patient['mean'])} ({interval(*patient['ci95'])})",
                cut(patient["median"]),
                behind_text(row),
                p_text(row.p_holm) if row.behind else "",
                "" if cost.parameters is None else f"{cost.parameters / 1e6:.1f} M",
                "" if cost.milliseconds_per_slice is None else f"{cost.milliseconds_per_slice:.0f}",
            )
        )
    return rows


def interval(low: float | None, high: float | None) -> str:
    """An interval in decimals, its ends never nearer to each other than they are."""
    return f"{cut(low)} to {cut(high, lower_is_better=True)}"


def behind_text(row: Standing) -> str:
    """How far a model is behind the best, with the interval; "best" for that one itself."""
    if row.behind is None:
        return "best"
    low, high = row.behind.interval
    return f"{signed(row.behind.mean)} ({signed(low)} to {signed(high)})"


def signed(value: float) -> str:
    """A difference in decimals, with its sign."""
    if not math.isfinite(value):
        return "undefined"
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def p_text(value: float) -> str:
    """A p value as it is usually written."""
    if math.isnan(value):
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _model(comparison: Comparison, arm: Arm) -> dict[str, Any]:
    return {
        "label": arm.label,
        "letter": comparison.letters[arm.label],
        "run": str(arm.run),
        "recipe": arm.recipe.model_dump(mode="json"),
        "changed": arm.changed,
        "cost": comparison.costs[arm.label].as_json(),
    }


def _part(standings: Standings) -> dict[str, Any]:
    return {
        "patients": list(standings.patients),
        "best": standings.best.arm.label,
        "models": {row.arm.label: _standing(row) for row in standings.rows},
    }


def _standing(row: Standing) -> dict[str, Any]:
    behind = row.behind
    return {
        "metrics": row.judged.metrics,
        "dice_by_patient": row.judged.dice.tolist(),
        "behind_best": behind
        and {
            "mean": behind.mean,
            "ci95": list(behind.interval),
            "p": behind.p,
            "p_holm": row.p_holm,
            "n": behind.n,
            "equal": behind.equal,
            "left_out": behind.left_out,
        },
        "published": [
            {"metric": figure.metric, "value": figure.value, "unit": figure.unit, "note": figure.note}
            for figure in row.published
        ],
    }
