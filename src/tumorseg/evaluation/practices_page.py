"""The table and the chart of the same masks under other definitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tumorseg.evaluation.charts import Axis, label, svg
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.practices import Practice

_WIDE, _NARROW = 1040, 350

_SIGNS = {
    "own": ("these masks", '<circle class="dot" r="5"/>'),
    "nothing": ("nothing marked", '<circle class="hollow" r="4.5"/>'),
    "copied": ("copied from the nearest slice: a split by slice", '<path class="copied" d="M0 -5.5l5 9h-10z"/>'),
    "perfect": ("the reference itself", '<path class="perfect" d="M0 -7v14"/>'),
}


@dataclass(frozen=True)
class PracticeRow:
    """One definition as text; "–" where a number is not known."""

    key: str
    label: str
    value: str
    interval: str
    beyond: str
    all_empty: str
    copied: str
    perfect: str


@dataclass(frozen=True)
class PracticeSection:
    """What a page shows of `practices`.

    Attributes:
        reading: a sentence.
        rows: of the table.
        keys: signs of the chart with their words.
        wide, narrow: the chart, for a screen and for a phone.
        with_copied: whether copying is known.
    """

    reading: str
    rows: tuple[PracticeRow, ...]
    keys: tuple[tuple[Markup, str], ...]
    wide: Markup
    narrow: Markup
    with_copied: bool


def practice_section(found: Sequence[Practice]) -> PracticeSection:
    """The section about the same masks under other definitions."""
    with_copied = any(math.isfinite(one.copied) for one in found)
    signs = [(name, words) for name, (words, _) in _SIGNS.items() if with_copied or name != "copied"]
    return PracticeSection(
        reading=reading(found),
        rows=tuple(practice_row(one, found[0].value) for one in found),
        keys=tuple((_key(name), words) for name, words in signs),
        wide=_chart(found, _WIDE),
        narrow=_chart(found, _NARROW),
        with_copied=with_copied,
    )


def practice_row(one: Practice, headline: float) -> PracticeRow:
    """One definition as text.

    Args:
        one: the definition.
        headline: the Dice by patient of the same masks.
    """
    gap = one.value - headline
    known = one.interval is not None and math.isfinite(one.interval.low)
    return PracticeRow(
        key=one.key,
        label=one.label,
        value=cut(one.value),
        interval=f"{cut(one.interval.low)} to {cut(one.interval.high, lower_is_better=True)}"
        if known and one.interval is not None
        else "–",
        beyond="–" if one.key == "dice_patient" or not math.isfinite(gap) else f"{gap:+.3f}".replace("-", "−"),
        all_empty=_or_dash(one.all_empty),
        copied=_or_dash(one.copied),
        perfect=_or_dash(one.perfect),
    )


def reading(found: Sequence[Practice]) -> str:
    """How far apart the definitions are on the same masks, in a sentence."""
    known = [one for one in found if math.isfinite(one.value)]
    if len(known) < 2:
        return "Nothing can be said: the definitions are undefined on these masks."
    low, high = min(known, key=lambda one: one.value), max(known, key=lambda one: one.value)
    floor = max(known, key=lambda one: one.all_empty if math.isfinite(one.all_empty) else -1.0)
    said = (
        f"The same masks score {cut(low.value)} ({low.label}) or {cut(high.value)} ({high.label}), as one likes to "
        "define it."
    )
    if math.isfinite(floor.all_empty) and floor.all_empty > 0:
        said += f" Marking nothing at all scores {cut(floor.all_empty)} under “{floor.label}”."
    pooled = next((one for one in known if one.key == "dice_pooled"), None)
    if pooled is not None and math.isfinite(pooled.copied):
        said += (
            " Under a split by slice, copying the mask of the patient's nearest slice scores "
            f"{cut(pooled.copied)} of all voxels together: no network is needed for that."
        )
    return said


def _or_dash(value: float) -> str:
    return cut(value) if math.isfinite(value) else "–"


def _key(name: str) -> Markup:
    return Markup(
        f'<svg class="key-sign" viewBox="-8 -8 16 16" width="16" height="16" aria-hidden="true">{_SIGNS[name][1]}</svg>'
    )


def _chart(found: Sequence[Practice], width: int) -> Markup:
    wide = width >= 600
    left, right, top, step = (270, 24, 8, 34) if wide else (14, 14, 8, 50)
    axis = Axis("score", 0.0, 1.0)

    def px(value: float) -> float:
        return left + axis.share(value) * (width - left - right)

    floor = top + step * len(found)
    parts = [
        f'<line class="grid" x1="{px(value):.1f}" x2="{px(value):.1f}" y1="{top}" y2="{floor}"/>'
        + label(px(value), floor + 16, text, anchor="middle")
        for value, text in axis.ticks()
    ]
    headline = found[0].value
    if math.isfinite(headline):
        parts.append(f'<path class="mark" d="M{px(headline):.1f} {top}V{floor}"/>')
    for index, one in enumerate(found):
        y = top + step * index + (step / 2 if wide else step * 0.66)
        if wide:
            parts.append(label(left - 14, y + 4, one.label, anchor="end"))
        else:
            parts.append(label(left, y - 12, one.label))
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if one.interval is not None and math.isfinite(one.interval.low):
            parts.append(f'<path class="whisker" d="M{px(one.interval.low):.1f} {y:.1f}H{px(one.interval.high):.1f}"/>')
        values = {"perfect": one.perfect, "nothing": one.all_empty, "copied": one.copied, "own": one.value}
        for name, value in values.items():
            if math.isfinite(value):
                words, drawn = _SIGNS[name]
                title = escape(f"{one.label}: {words} {cut(value)}")
                parts.append(f'<g transform="translate({px(value):.1f} {y:.1f})">{drawn}<title>{title}</title></g>')
    parts.append(label((left + width - right) / 2, floor + 36, axis.label, anchor="middle", kind="name"))
    alt = "Scores of the same masks by definition; the numbers are in the table. " + "; ".join(
        f"{one.label}: {cut(one.value)}" for one in found
    )
    return svg(width, floor + 44, "".join(parts), alt)
