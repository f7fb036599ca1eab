"""The report's section on uncertainty: does the model doubt most where it is most wrong?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tumorseg.evaluation.charts import Axis, Dot, Frame, Series, lines, scatter
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.doubt import KINDS, MEASURED
from tumorseg.evaluation.judgement import Judgement

_ROOM = 1.1


@dataclass(frozen=True)
class DoubtRow:
    """One row of the table, as text."""

    name: str
    items: str
    doubt: str
    error: str
    spearman: str
    aurc: str
    bounds: str
    gain: str


@dataclass(frozen=True)
class DoubtSection:
    """What the page shows.

    Attributes:
        sentences: the reading.
        rows: of the table.
        charts: titles and pictures.
    """

    sentences: tuple[str, ...]
    rows: tuple[DoubtRow, ...]
    charts: tuple[tuple[str, Markup], ...]


def doubt_section(judgement: Judgement) -> DoubtSection | None:
    """The section; None where there are no probabilities."""
    found = judgement.metrics.get("uncertainty")
    if not found:
        return None
    charts = [("Error that is left when the most doubted are set aside", _curve(found["patients"]))]
    charts.append(("Doubt and Dice of each patient", _scatter(judgement)))
    return DoubtSection(
        sentences=(*_reading(found["patients"]), *_reading_of_slices(found)),
        rows=tuple(_row(kind.label, found[kind.key]) for kind in (*KINDS, *MEASURED) if kind.key in found),
        charts=tuple((title, chart) for title, chart in charts if chart is not None),
    )


def _row(name: str, found: Mapping[str, Any]) -> DoubtRow:
    in_share = "Dice" in found["error"]
    digits = 3 if in_share else 1
    aurc, oracle, random = (
        "undefined" if not math.isfinite(found[key]) else f"{found[key]:.{digits}f}"
        for key in ("aurc", "aurc_oracle", "aurc_random")
    )
    return DoubtRow(
        name=name,
        items=f"{found['n']:,}",
        doubt=found["doubt"],
        error=found["error"],
        spearman=_with_interval(found["spearman"], found["spearman_ci95"]),
        aurc=aurc,
        bounds=f"{oracle} / {random}",
        gain=_with_interval(found["gain"], found["gain_ci95"]),
    )


def _reading(found: Mapping[str, Any]) -> list[str]:
    if not math.isfinite(found["spearman"]):
        return [
            f"{found['n']} patient{'' if found['n'] == 1 else 's'} cannot show whether doubt ranks the errors: that "
            "takes at least three of different doubt and error."
        ]
    low, high = found["spearman_ci95"]
    said = (
        f"Over {found['n']} patients, doubt and error rank alike with Spearman's rho {found['spearman']:.2f} "
        f"(95 % {low:.2f} to {high:.2f})"
    )
    if not math.isfinite(low) or low <= 0 <= high:
        return [f"{said}: on so few patients it cannot be told from no relation at all. Do not sort by it."]
    if high < 0:
        return [f"{said}: the model is surest where it is most wrong. Do not sort by it."]
    half = _halved(found["curve"])
    return [f"{said}: what is doubted most is worth a second look.{half}"]


def _halved(curve: Sequence[Mapping[str, float]]) -> str:
    kept = min(curve, key=lambda point: abs(point["coverage"] - 0.5))
    return (
        f" Of the {100 * kept['coverage']:.0f} % doubted least the mean Dice is {cut(1 - kept['risk'])}, of all "
        f"{cut(1 - curve[-1]['risk'])}; the best ranking would reach {cut(1 - kept['oracle'])}."
    )


def _reading_of_slices(found: Mapping[str, Any]) -> list[str]:
    marked, whole = found["marked_slices"], found["slices"]
    if not (math.isfinite(marked["spearman"]) and math.isfinite(whole["spearman"])):
        return []
    return [
        f"Over the {marked['n']:,} slices with anything marked rho is {marked['spearman']:.2f}. The "
        f"{whole['spearman']:.2f} over all slices says mostly that slices without tumour are told from those with."
    ]


def _curve(found: Mapping[str, Any]) -> Markup | None:
    curve = found["curve"]
    if len(curve) < 2:
        return None
    points = [(one["coverage"], one["risk"]) for one in curve]
    oracle = [(one["coverage"], one["oracle"]) for one in curve]
    top = max(max(y for _, y in (*points, *oracle)) * _ROOM, 0.05)
    frame = Frame(Axis("share of patients kept", 0.0, 1.0), Axis("mean of 1 - Dice", 0.0, top))
    alt = "Mean error of the patients that are kept when the most doubted go first. " + "; ".join(
        f"{100 * x:.0f} %: {y:.3f}" for x, y in points
    )
    drawn = lines(frame, [Series("by doubt", points, "b"), Series("best order", oracle, "a")], alt=alt)
    y = frame.py(found["aurc_random"])
    level = f'<path class="mark" d="M{frame.left} {y:.1f}H{frame.width - frame.right}"/>'
    return Markup(str(drawn).replace("</svg>", f"{level}</svg>"))


def _scatter(judgement: Judgement) -> Markup | None:
    known = [p for p in judgement.patients if math.isfinite(p.dice) and math.isfinite(p.entropy)]
    if not known:
        return None
    high = min(max(p.entropy for p in known) * _ROOM, 1.0) or 1.0
    frame = Frame(Axis("relative entropy", 0.0, high), Axis("Dice of the patient", 0.0, 1.0))
    dots = [Dot(p.entropy, p.dice, f"{p.patient}: relative entropy {p.entropy:.3f}, Dice {cut(p.dice)}") for p in known]
    return scatter(frame, dots, alt="Dice against the model's doubt, one dot per patient.")


def _with_interval(value: float, ends: Sequence[float]) -> str:
    if not math.isfinite(value):
        return "undefined"
    low, high = ends
    said = f" ({low:.2f} to {high:.2f})" if math.isfinite(low) else ""
    return f"{value:.2f}{said}".replace("-", "\N{MINUS SIGN}")
