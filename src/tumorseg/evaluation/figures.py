"""The report's charts: learning curves, and each patient's Dice by institution and by size."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from tumorseg.evaluation.charts import Axis, Dot, Frame, Series, lines, scatter, strips
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.judgement import Judgement, PatientScore
from tumorseg.recipe import Recipe

Log = Sequence[Mapping[str, float]]


def learning_curves(log: Log, recipe: Recipe | None) -> list[tuple[str, Markup]]:
    """Loss, validation Dice and learning rate over the epochs, with their titles; unmeasured ones are left out."""
    curves: list[tuple[str, Markup]] = []
    train, val = _column(log, "train_loss"), _column(log, "val_loss")
    if train or val:
        y = _axis(f"loss ({recipe.loss}), no unit" if recipe else "loss, no unit", [value for _, value in train + val])
        series = [Series("training", train, "a"), Series("validation", val, "b")]
        alt = f"Loss by epoch. {_span('Training', train)} {_span('Validation', val)}"
        curves.append(("Loss", lines(Frame(_epochs(log), y), series, alt=alt)))
    if dice := _column(log, "val_dice_patient"):
        y = Axis("Dice by patient, validation", 0.0, 1.0)
        epoch, best = max(dice, key=lambda point: point[1])
        alt = f"Validation Dice by epoch. {_span('Mean over patients', dice)} Highest {cut(best)} at epoch {epoch:g}."
        mark = (epoch, f"best {cut(best)}, epoch {epoch:g}")
        curves.append(("Dice by patient", lines(Frame(_epochs(log), y), [Series("", dice, "b")], alt=alt, mark=mark)))
    if rate := _column(log, "lr"):
        y = _axis("learning rate, per step", [value for _, value in rate])
        curves.append(
            ("Learning rate", lines(Frame(_epochs(log), y), [Series("", rate)], alt=f"{_span('Learning rate', rate)}"))
        )
    return curves


def by_institution(judgement: Judgement, *, width: int) -> Markup:
    """Each patient's Dice, one row per institution."""
    scored = [patient for patient in judgement.patients if math.isfinite(patient.dice)]
    lowest = {patient.patient for patient in sorted(scored, key=lambda patient: patient.dice)[:3]}
    unknown = "unknown" if any(patient.institution for patient in scored) else "all"
    rows: dict[str, list[Dot]] = {}
    for patient in scored:
        shown = patient.patient if patient.patient in lowest else ""
        rows.setdefault(patient.institution or unknown, []).append(Dot(patient.dice, 0.0, _title(patient), shown))
    headline = judgement.metrics.get("dice_patient", {})
    mean = _number(headline.get("mean"))
    low, high = headline.get("ci95") or (math.nan, math.nan)
    alt = "Dice of each patient by institution; the same numbers are in the table of patients. " + "; ".join(
        f"{name}: {len(dots)} patients, {cut(min(dot.x for dot in dots))} to {cut(max(dot.x for dot in dots))}"
        for name, dots in sorted(rows.items())
    )
    return strips(
        Axis("Dice of the patient, whole volume (0 to 1)", 0.0, 1.0),
        sorted(rows.items()),
        alt=alt,
        width=width,
        mean=mean,
        interval=(_number(low), _number(high)),
        note=f"mean {cut(mean)}, 95 % interval {cut(low)} to {cut(high, lower_is_better=True)}",
    )


def by_size(judgement: Judgement) -> Markup | None:
    """Dice against the size of the tumour; None where no patient has both."""
    patients = [p for p in judgement.patients if p.reference_voxels > 0 and math.isfinite(p.dice)]
    if not patients:
        return None
    x = _decades("tumour in the reference, voxels", [patient.reference_voxels for patient in patients])
    dots = [Dot(patient.reference_voxels, patient.dice, _title(patient)) for patient in patients]
    alt = "Dice against the size of the tumour, one dot per patient; the numbers are in the table of patients."
    return scatter(Frame(x, Axis("Dice of the patient", 0.0, 1.0)), dots, alt=alt)


def by_volume(judgement: Judgement) -> Markup | None:
    """Predicted against reference voxels; None where no patient has both."""
    patients = [p for p in judgement.patients if p.reference_voxels > 0 and p.predicted_voxels > 0]
    if not patients:
        return None
    both = [n for patient in patients for n in (patient.reference_voxels, patient.predicted_voxels)]
    x, y = _decades("reference, voxels", both), _decades("prediction, voxels", both)
    dots = [Dot(patient.reference_voxels, patient.predicted_voxels, _title(patient)) for patient in patients]
    alt = "Predicted against reference voxels, one dot per patient; on the diagonal the two are equal."
    return scatter(Frame(x, y), dots, alt=alt, diagonal=True)


def by_error(judgement: Judgement) -> Markup | None:
    """Precision against recall; None where no patient has both."""
    patients = [p for p in judgement.patients if math.isfinite(p.precision) and math.isfinite(p.recall)]
    if not patients:
        return None
    frame = Frame(
        Axis("recall: share of the tumour marked", 0.0, 1.0), Axis("precision: share of marked right", 0.0, 1.0)
    )
    dots = [Dot(patient.recall, patient.precision, _title(patient)) for patient in patients]
    alt = "Precision against recall, one dot per patient; the numbers are in the table of patients."
    return scatter(frame, dots, alt=alt, diagonal=True)


def _title(patient: PatientScore) -> str:
    return (
        f"{patient.patient}: Dice {cut(patient.dice)}, {patient.reference_voxels:,} voxels of tumour, "
        f"{patient.predicted_voxels:,} marked"
    )


def _column(log: Log, name: str) -> list[tuple[float, float]]:
    """(epoch, value) where the value was measured."""
    points = [(_number(row.get("epoch")), _number(row.get(name))) for row in log]
    return [(epoch, value) for epoch, value in points if math.isfinite(epoch) and math.isfinite(value)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _epochs(log: Log) -> Axis:
    epochs = [epoch for epoch in (_number(row.get("epoch")) for row in log) if math.isfinite(epoch)]
    return Axis("epoch", min(epochs), max(max(epochs), min(epochs) + 1))


def _axis(label: str, values: Sequence[float]) -> Axis:
    """From 0 (or below) to a little above the largest value."""
    top = max(values)
    return Axis(label, min(0.0, *values), top * 1.05 if top > 0 else 1.0)


def _decades(label: str, values: Sequence[int]) -> Axis:
    """Powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return Axis(label, 10.0**low, 10.0 ** max(high, low + 1), logarithmic=True)


def _span(name: str, points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return f"{name}: not measured."
    (first, start), (last, end) = points[0], points[-1]
    return f"{name}: {start:.3g} at epoch {first:g}, {end:.3g} at epoch {last:g}."
