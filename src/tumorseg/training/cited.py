"""The evaluations that a model card cites: their scores, and the failures that they show."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorseg.errors import ModelError
from tumorseg.inference.model import ModelSpec
from tumorseg.training.everyone import everyone_like

WEAK = 0.7
"""Below this Dice a patient's outline needs more than a touch."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that a card cites.

    Attributes:
        metrics: the content of its metrics.json.
        dice: of each patient.
    """

    metrics: Mapping[str, Any]
    dice: tuple[float, ...]

    @property
    def protocol(self) -> Mapping[str, Any]:
        """How it was made."""
        found: Mapping[str, Any] = self.metrics["protocol"]
        return found

    def is_of(self, spec: ModelSpec) -> bool:
        """Whether it judged a model of this name, threshold and so on, and, where it says so, of these files."""
        known = self.protocol.get("model", {})
        model = spec.model_dump(mode="json")
        return bool(known) and _holds(model, known)


def _holds(whole: Any, part: Any) -> bool:
    """Whether all that `part` says stands in `whole`; an evaluation of an older version says less."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(_holds(whole.get(key), value) for key, value in part.items())
    return bool(whole == part)


def read_evaluation(folder: Path) -> Evaluation:
    """Read metrics.json and patients.csv of an evaluation, or crossval.json and patients.csv of a cross-validation.

    Raises:
        ModelError: they are not there, or damaged.
    """
    try:
        if (study := folder / "crossval.json").is_file():
            metrics = _of_study(json.loads(study.read_text(encoding="utf-8")), folder)
        else:
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        with open(folder / "patients.csv", newline="", encoding="utf-8") as file:
            dice = tuple(float(row["dice"]) for row in csv.DictReader(file) if row["dice"])
        _ = metrics["dice_patient"]["mean"], metrics["dice_pooled"], metrics["protocol"]["part"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} is no evaluation: its metrics.json or patients.csv is missing or damaged",
            next_step="give a folder that tumorseg evaluate or tumorseg crossval wrote",
        ) from error
    return Evaluation(metrics, dice)


def _of_study(study: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What crossval.json says, as metrics.json says it."""
    held_out = f"{len(study['folds'])} folds" if study["by"] == "fold" else "one institution held out at a time"
    protocol = {
        "part": f"cross-validation, {held_out}",
        "dataset": study["dataset"],
        "run": folder.resolve().name,
        "note": (
            f"In the cross-validation of {study['dataset']} each patient was judged by a network that had not seen "
            "that patient; these weights were trained afterwards, with the same settings, on all of them."
        ),
    }
    return {**study, "single_slice": {"dice_patient": study["dice_patient_single_slice"]}, "protocol": protocol}


def evaluations_of(run: Path) -> tuple[Evaluation, ...]:
    """A run's evaluations on patients that it was not trained on, as they are, augmented ones left out.

    Of a run that followed another, or a cross-validation, those of the other besides: not the better ones alone.
    """
    found = [read_evaluation(path.parent) for path in sorted((run / "evaluation").glob("[!.]*/metrics.json"))]
    unseen = ("test", "val", "external")
    own = tuple(each for each in found if each.protocol["part"] in unseen and not each.protocol.get("change"))
    judged = everyone_like(run)
    if judged is None:
        return own
    return own + ((read_evaluation(judged),) if (judged / "crossval.json").is_file() else evaluations_of(judged))


def row_of(evaluation: Evaluation, judged_as: ModelSpec) -> dict[str, Any]:
    """An evaluation as the card shows it, numbers as text; "" where one is missing."""
    metrics, protocol = evaluation.metrics, evaluation.protocol
    dice = metrics["dice_patient"]
    low, high = dice.get("ci95") or (None, None)
    own = evaluation.is_of(judged_as)
    readings = protocol.get("test_readings")
    note = protocol.get("note") or (
        f"Those on {protocol.get('dataset')} are of the run {protocol.get('run')}, not of these weights."
    )
    if own:
        note = ""
    if readings:
        note += f" The run had looked at its test patients {readings} time{'s' * (readings != 1)} by then."
    if leaked := protocol.get("trained_on"):
        note += f" {len(leaked)} of the scans were trained on."
    return {
        "label": _label(evaluation, judged_as),
        "part": protocol["part"],
        "dataset": protocol.get("dataset", ""),
        "run": protocol.get("run", ""),
        "own": own,
        "patients": dice.get("n", metrics.get("patients")),
        "dice": _down(dice["mean"]),
        "low": _down(low),
        "high": _up(high),
        "median": _down(dice.get("median")),
        "pooled": _down(metrics["dice_pooled"]),
        "lone": _down(metrics.get("single_slice", {}).get("dice_patient", {}).get("mean")),
        "precision": _down(metrics.get("precision")),
        "recall": _down(metrics.get("recall")),
        "note": note.strip(),
    }


def _label(evaluation: Evaluation, judged_as: ModelSpec) -> str:
    """The data and the part, and the run where it is another one."""
    protocol = evaluation.protocol
    run = "" if evaluation.is_of(judged_as) else f", run {protocol.get('run', '')}"
    return f"{protocol.get('dataset', '')}, {protocol['part']}{run}"


def seen_failures(evaluations: Sequence[Evaluation], judged_as: ModelSpec) -> Iterable[str]:
    """What the evaluations show of the model that they know as `judged_as`, or of those that it followed."""
    for each in evaluations:
        metrics, where = each.metrics, _label(each, judged_as)
        if scored := [value for value in each.dice if math.isfinite(value)]:
            weak = sum(value < WEAK for value in scored)
            lowest = _down(min(scored))
            yield f"{where}: Dice below {WEAK:g} in {weak} of {len(scored)} patients; the lowest is {lowest}."
        precision, recall = metrics.get("precision"), metrics.get("recall")
        if precision is not None and recall is not None:
            which = "marks too little" if recall < precision else "marks too much"
            yield f"{where}: it rather {which}: precision {_down(precision)}, recall {_down(recall)}."
        if (empty := metrics.get("empty_slice_fpr")) is not None:
            yield f"{where}: something is marked in {100 * empty:.1f} % of the slices without tumour."


def _down(value: float | None) -> str:
    """Three decimals, cut rather than rounded, so that no digit flatters."""
    return "" if value is None or not math.isfinite(value) else f"{math.floor(value * 1000 + 1e-6) / 1000:.3f}"


def _up(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{math.ceil(value * 1000 - 1e-6) / 1000:.3f}"
