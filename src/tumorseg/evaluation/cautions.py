"""What a reader should know before trusting the scores, one sentence each."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tumorseg.errors import few
from tumorseg.evaluation.facts import RunFacts
from tumorseg.evaluation.judgement import Judgement

FEW = 30
"""Patients below which the interval is called wide."""

_TOO_FEW = 10
"""Patients below which a percentile bootstrap holds the mean of all patients clearly less often than it says."""

_LONE_LOSS = 0.02
"""Mean Dice that a slice given alone may lose before it is said."""


def cautions(run: RunFacts, judgement: Judgement) -> list[str]:
    """Sentences that belong above the scores; none where there is nothing to beware of."""
    headline = judgement.metrics.get("dice_patient", {})
    protocol = judgement.metrics.get("protocol", {})
    count = headline.get("n", len(judgement.patients))
    said: list[str] = []
    if protocol.get("split_unit") == "slice-with-leakage":
        said.append(
            "The split is by slice, so slices of these patients were trained on: the scores say nothing about new "
            "patients. They exist to measure that."
        )
    if change := protocol.get("change"):
        said.append(
            f"The scans were changed before they were judged ({change}): this is no score on scans as they are."
        )
    if run.recipe is None:
        said.append(
            "These masks were judged as they lay in a folder: what made them, what it was trained on and what its "
            "makers had seen of these patients is not known."
        )
        said += _of_stored_masks(protocol, judgement)
    if run.part == "train":
        said.append("These patients were trained on: the scores say how well they were learnt, not how new ones fare.")
    if run.part == "val":
        said.append("These patients chose the checkpoint and the threshold: the scores flatter the model.")
    if count < FEW:
        low, high = headline.get("ci95") or (math.nan, math.nan)
        said.append(_of_few(count, high - low))
    if trained := protocol.get("trained_on"):
        said.append(f"Scans that are, pixel for pixel, among those trained on: {', '.join(trained)}.")
    if missing := protocol.get("missing_patients"):
        said.append(f"Patients of this part whom the data set lacks: {', '.join(missing)}.")
    if headline.get("left_out"):
        said.append(f"Patients left out because both masks are empty: {headline['left_out']}.")
    if run.part == "test" and run.readings is not None and run.readings > 1:
        said.append(
            f"The test patients have been looked at {run.readings} times under this run. "
            "Every choice made by such a look makes the scores more flattering."
        )
    lone = judgement.lone_metrics.get("dice_patient", {}).get("mean", math.nan)
    if headline.get("mean", math.nan) - lone >= _LONE_LOSS:
        said.append("A slice given alone is segmented worse than within its volume: give whole volumes where you can.")
    epochs = max((row.get("epoch", math.nan) for row in run.log), default=math.nan)
    recipe = run.recipe
    if recipe is not None and epochs < recipe.total_epochs - 1 and recipe.early_stopping is None:
        said.append(f"The log ends at epoch {epochs:g} of {recipe.total_epochs}: the training may not have finished.")
    return said


def _of_few(count: int, width: float) -> str:
    said = f"Only {count} patient{' was' if count == 1 else 's were'} judged."
    if not math.isfinite(width):
        return f"{said} That says nothing of how other patients would score."
    if width == 0:
        return f"{said} All scored the same, so that the interval has no width; it says nothing of how others would."
    said += (
        f" The 95 % interval of the mean is {width:.2f} wide. A difference to another model that is smaller says "
        "nothing unless both saw the same patients."
    )
    if count < _TOO_FEW:
        said += f" Of fewer than {_TOO_FEW} patients the interval is itself too narrow."
    return said


def _of_stored_masks(protocol: Mapping[str, Any], judgement: Judgement) -> Iterator[str]:
    if missing := protocol.get("missing_predictions"):
        yield (
            f"{len(missing)} reference{'' if len(missing) == 1 else 's'} without a prediction counted as empty masks: "
            f"{few(missing, 6)}."
        )
    if extra := protocol.get("extra_predictions"):
        yield f"Predictions without a reference, not judged: {few(extra, 6)}."
    yield from (f"{note[:1].upper()}{note[1:]}." for note in protocol.get("notes", ()))
    marked = [patient for patient in judgement.patients if patient.reference_voxels]
    if marked and all(patient.fp + patient.fn == 0 for patient in judgement.patients):
        yield "Every mask equals its reference voxel for voxel: check that the references were not given twice."
