"""Charts of several models at once, told apart by letter, dash and colour; inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tumorseg.evaluation.charts import Axis, Frame, Point, label, svg

STYLES = 8
"""Kinds of line in the style sheet, classes m0, m1, …; with more models they begin again."""

_LINE_HEIGHT = 13


@dataclass(frozen=True)
class Curve:
    """One model's line; `letter` is written at its end, `style` is a number of the style sheet's kinds.

    Attributes:
        said: of each point, when the pointer rests on it; with it each point has a mark.
    """

    letter: str
    style: int
    points: Sequence[Point]
    said: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A value with its interval, one row of a forest chart."""

    letter: str
    name: str
    value: float
    low: float
    high: float
    text: str


def curves(frame: Frame, drawn: Sequence[Curve], *, alt: str) -> Markup:
    """One line a model, with its letter where the line ends.

    Args:
        frame: axes and size; leave some 20 pixels on the right for the letters.
        drawn: points that are not finite are skipped, models without any are left out.
        alt: what a person who cannot see it should know.
    """
    parts = [frame.drawn()]
    ends: list[tuple[float, float, Curve]] = []
    for curve in drawn:
        points = [(frame.px(x), frame.py(y)) for x, y in curve.points if math.isfinite(x) and math.isfinite(y)]
        if not points:
            continue
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line m{curve.style % STYLES}" d="{path}"/>')
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="end m{curve.style % STYLES}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        for (x, y), text in zip(curve.points, curve.said, strict=False):
            if math.isfinite(x) and math.isfinite(y):
                mark = f'class="sign m{curve.style % STYLES}" cx="{frame.px(x):.1f}" cy="{frame.py(y):.1f}" r="4"'
                parts.append(f"<circle {mark}><title>{escape(text)}</title></circle>")
        ends.append((*points[-1], curve))
    for x, y, curve in _apart(ends):
        kind = f"letter m{curve.style % STYLES}"
        parts.append(f'<text class="{kind}" x="{x + 5:.1f}" y="{y + 4:.1f}">{escape(curve.letter)}</text>')
    return svg(frame.width, frame.height, "".join(parts), alt)


def forest(axis: Axis, rows: Sequence[Bar], *, alt: str, width: int, zero: bool = False) -> Markup:
    """One row a model: a dot for the value, a line for its interval, the numbers behind.

    Args:
        axis: of the values.
        rows: in reading order; one whose value is not finite shows its text alone.
        alt: what a person who cannot see it should know.
        width: in pixels; narrow charts name the models by their letters alone.
        zero: draw where the value is 0.
    """
    wide = width >= 600
    names = [f"{row.letter}  {row.name}" if wide else row.letter for row in rows]
    left = 20 + round(6.6 * max((len(name) for name in names), default=1))
    right = 16 + round(6.6 * max((len(row.text) for row in rows), default=1))
    top, step = 10, 28
    floor = top + step * len(rows) + 4

    def px(value: float) -> float:
        share = min(max(axis.share(value), 0.0), 1.0)
        return left + share * (width - left - right)

    parts = []
    for value, text in axis.ticks():
        x = px(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
        parts.append(label(x, floor + 16, text, anchor="middle"))
    if zero:
        parts.append(f'<path class="mark" d="M{px(0):.1f} {top}V{floor}"/>')
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = top + step * (index + 0.5)
        parts.append(label(left - 10, y + 4, name, anchor="end", kind="name"))
        if math.isfinite(row.value):
            low, high = (end if math.isfinite(end) else row.value for end in (row.low, row.high))
            parts.append(f'<path class="whisker" d="M{px(low):.1f} {y:.1f}H{px(high):.1f}"/>')
            for end in (low, high):
                parts.append(f'<path class="whisker" d="M{px(end):.1f} {y - 5:.1f}v10"/>')
            parts.append(f'<circle class="dot" cx="{px(row.value):.1f}" cy="{y:.1f}" r="5.5"/>')
        parts.append(label(width - right + 10, y + 4, row.text, kind="name"))
    parts.append(label((left + width - right) / 2, floor + 36, axis.label, anchor="middle", kind="name"))
    return svg(width, floor + 44, "".join(parts), alt)


def around(values: Sequence[float], *, label: str, within: tuple[float, float]) -> Axis:
    """An axis that shows all values with a little room, and nothing outside `within`."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Axis(label, *within)
    low, high = min(finite), max(finite)
    room = max(0.08 * (high - low), 0.02)
    return Axis(label, max(within[0], low - room), min(within[1], high + room))


def _apart(ends: Sequence[tuple[float, float, Curve]]) -> list[tuple[float, float, Curve]]:
    """The ends of lines, moved down where the letter of another would be covered."""
    placed: list[tuple[float, float, Curve]] = []
    for x, y, curve in sorted(ends, key=lambda end: (end[1], end[0])):
        near = [other for other in placed if abs(other[0] - x) < _LINE_HEIGHT]
        lowest = max((other[1] for other in near), default=-math.inf)
        placed.append((x, max(y, lowest + _LINE_HEIGHT), curve))
    return placed
