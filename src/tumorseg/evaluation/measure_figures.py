"""The report's charts of volumes, calibration, kinds of error, and groups of patients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from tumorseg.evaluation.charts import Axis, Dot, Frame, Series, label, lines, scatter, svg
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.judgement import Judgement, PatientScore

KINDS = {
    "missed": "lesions not touched",
    "elsewhere": "marked, touching no tumour",
    "boundary": "within 2 pixels of the outline",
    "too_little": "tumour not marked, further in",
    "too_much": "marked too much, further out",
}
"""Kinds of error in words, in the order in which they are drawn."""


def agreement(judgement: Judgement) -> Markup | None:
    """Bland and Altman's chart: the difference of the volumes against their mean; None without limits."""
    volume = judgement.metrics.get("volume", {})
    low, high = volume.get("limits") or (math.nan, math.nan)
    if not math.isfinite(low):
        return None
    pairs = [(patient, *_volumes(patient, volume["unit"])) for patient in judgement.patients]
    means = [(found + true) / 2 for _, found, true in pairs]
    gaps = [found - true for _, found, true in pairs]
    room = 0.08 * (max(*gaps, high) - min(*gaps, low) or 1)
    y = Axis(f"prediction - reference, {volume['unit']}", min(*gaps, low) - room, max(*gaps, high) + room)
    x = Axis(f"mean of the two, {volume['unit']}", 0.0, max(means) * 1.05 or 1.0)
    frame = Frame(x, y)
    dots = [
        Dot(mean, gap, f"{patient.patient}: {gap:+,.6g} {volume['unit']}")
        for (patient, _, _), mean, gap in zip(pairs, means, gaps, strict=True)
    ]
    drawn = scatter(
        frame,
        dots,
        alt=f"Difference of the volumes against their mean, one dot per patient; bias {volume['bias']:,.4g}, limits "
        f"of agreement {low:,.4g} to {high:,.4g} {volume['unit']}.",
    )
    marks = "".join(
        _level(frame, value, word) for value, word in ((low, "-1.96 sd"), (volume["bias"], "bias"), (high, "+1.96 sd"))
    )
    return Markup(str(drawn).replace("</svg>", f"{marks}</svg>"))


def reliability_diagram(metrics: Mapping[str, Any]) -> Markup | None:
    """Share of tumour against probability, bin by bin; None without probabilities."""
    bins = [one for one in metrics.get("calibration", {}).get("bins", ()) if one["voxels"]]
    if not bins:
        return None
    points = [(one["predicted"], one["observed"]) for one in bins]
    frame = Frame(Axis("mean probability of the bin", 0.0, 1.0), Axis("share of tumour", 0.0, 1.0))
    alt = "Share of tumour by probability; on the diagonal the two agree. " + "; ".join(
        f"{x:.2f}: {y:.2f} of {one['voxels']:,} voxels" for (x, y), one in zip(points, bins, strict=True)
    )
    drawn = lines(frame, [Series("", points, "b")], alt=alt)
    diagonal = f'<path class="mark" d="M{frame.px(0):.1f} {frame.py(0):.1f}L{frame.px(1):.1f} {frame.py(1):.1f}"/>'
    return Markup(str(drawn).replace("</svg>", f"{diagonal}</svg>"))


def own_doubt(judgement: Judgement) -> Markup | None:
    """Each patient's Dice against the Dice that the model expected of its own mask; None without probabilities."""
    known = [p for p in judgement.patients if math.isfinite(p.dice) and math.isfinite(p.dice_expected)]
    if not known:
        return None
    frame = Frame(Axis("Dice that the model expects", 0.0, 1.0), Axis("Dice of the patient", 0.0, 1.0))
    dots = [
        Dot(p.dice_expected, p.dice, f"{p.patient}: expected {cut(p.dice_expected)}, scored {cut(p.dice)}")
        for p in known
    ]
    alt = "Dice against the Dice that the model expects of its own mask, one dot per patient."
    return scatter(frame, dots, alt=alt, diagonal=True)


def error_bars(patients: Sequence[PatientScore], *, width: int) -> Markup | None:
    """Wrong voxels of patients by kind, as shares of their reference and prediction together; None without any."""
    rows = [(patient, _kinds(patient)) for patient in patients]
    rows = [(patient, kinds) for patient, kinds in rows if sum(kinds.values())]
    if not rows:
        return None
    longest = max(len(patient.patient) for patient, _ in rows)
    left, right, step, top = 16 + round(7.4 * longest), 12, 24, 8
    shares = {
        patient.patient: {
            kind: count / (patient.reference_voxels + patient.predicted_voxels) for kind, count in kinds.items()
        }
        for patient, kinds in rows
    }
    longest_bar = max(sum(kinds.values()) for kinds in shares.values())
    axis = Axis("wrong voxels, share of |P| + |R|", 0.0, min(math.ceil(10 * longest_bar) / 10, 1.0))
    floor = top + step * len(rows)
    parts = []
    for value, text in axis.ticks():
        x = left + axis.share(value) * (width - left - right)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
        parts.append(label(x, floor + 16, text, anchor="middle"))
    for index, (patient, kinds) in enumerate(rows):
        y, x = top + step * index + 4, float(left)
        parts.append(label(left - 8, y + 12, patient.patient, anchor="end"))
        for number, (kind, count) in enumerate(kinds.items()):
            length = axis.share(shares[patient.patient][kind]) * (width - left - right)
            title = escape(f"{patient.patient}: {KINDS[kind]}, {count:,} voxels")
            parts.append(
                f'<rect class="part e{number}" x="{x:.1f}" y="{y}" width="{length:.1f}" height="{step - 8}">'
                f"<title>{title}</title></rect>"
            )
            x += length
    parts.append(label((left + width - right) / 2, floor + 36, axis.label, anchor="middle", kind="name"))
    alt = "Wrong voxels by kind. " + "; ".join(
        f"{patient.patient}: " + ", ".join(f"{KINDS[kind]} {count:,}" for kind, count in kinds.items() if count)
        for patient, kinds in rows
    )
    return svg(width, floor + 44, "".join(parts), alt)


def forest(strata: Sequence[Mapping[str, Any]], mean: float, *, width: int) -> Markup | None:
    """Mean Dice with its interval in each level of each factor, beside the mean of all; None without factors."""
    if not strata:
        return None
    levels = [row for factor in strata for row in factor["levels"]]
    wide = width >= 600
    longest = max(len(row["level"]) for row in levels)
    left = min(26 + round(6.4 * longest), round(width * 0.45))
    right = 176 if wide else 52
    lowest = min(row["ci95"][0] for row in levels)
    highest = max(row["ci95"][1] for row in levels)
    axis = Axis("Dice by patient, mean and 95 % interval", max(0.0, lowest - 0.03), min(1.0, highest + 0.03))

    def px(value: float) -> float:
        return left + axis.share(value) * (width - left - right)

    parts, y = [], 6.0
    for factor in strata:
        y += 30
        corrected = _p(factor["p_holm"])
        test = f"p {_p(factor['p'])}, corrected {corrected}" if wide else f"corrected p {corrected}"
        parts.append(label(4, y, f"{factor['factor']}: {test}", kind="name strong"))
        for row in factor["levels"]:
            y += 21
            low, high = row["ci95"]
            name = row["level"] if len(row["level"]) * 6.4 < left - 14 else row["level"][: int((left - 20) / 6.4)] + "…"
            parts.append(label(left - 10, y + 4, name, anchor="end"))
            parts.append(f'<path class="whisker" d="M{px(low):.1f} {y:.1f}H{px(high):.1f}"/>')
            title = escape(f"{factor['factor']}, {row['level']}: {cut(row['mean'])}, {row['n']} patients")
            parts.append(
                f'<circle class="dot" cx="{px(row["mean"]):.1f}" cy="{y:.1f}" r="4.5"><title>{title}</title></circle>'
            )
            text = f"{cut(row['mean'])} ({cut(low)} to {cut(high, lower_is_better=True)}), {row['n']}"
            parts.append(label(width - right + 8, y + 4, text if wide else f"{cut(row['mean'], 2)}, {row['n']}"))
    floor = y + 12
    scale = "".join(
        f'<line class="grid" x1="{px(value):.1f}" x2="{px(value):.1f}" y1="12" y2="{floor:.1f}"/>'
        + label(px(value), floor + 16, text, anchor="middle")
        for value, text in axis.ticks()
    )
    if math.isfinite(mean):
        scale += f'<path class="mark" d="M{px(mean):.1f} 12V{floor:.1f}"/>'
    name = label((left + width - right) / 2, floor + 36, axis.label, anchor="middle", kind="name")
    alt = "Mean Dice by group. " + "; ".join(
        f"{factor['factor']} {row['level']}: {cut(row['mean'])} of {row['n']}"
        for factor in strata
        for row in factor["levels"]
    )
    return svg(width, round(floor + 44), scale + "".join(parts) + name, alt)


def _kinds(patient: PatientScore) -> dict[str, int]:
    return {kind: int(getattr(patient, f"error_{kind}")) for kind in KINDS}


def _volumes(patient: PatientScore, unit: str) -> tuple[float, float]:
    if unit == "ml":
        return patient.volume_predicted_ml, patient.volume_reference_ml
    return float(patient.predicted_voxels), float(patient.reference_voxels)


def _level(frame: Frame, value: float, word: str) -> str:
    y = frame.py(value)
    end = frame.width - frame.right
    return (
        f'<path class="mark" d="M{frame.left} {y:.1f}H{end}"/>{label(end - 2, y - 4, word, anchor="end", kind="note")}'
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
