"""Charts as inline SVG: no script, no font, no file beside the page. Colours come from the page's CSS classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, its range, and whether it counts in powers of ten."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the two ends, 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / ((high - low) or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their texts."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [(10.0**power, f"{10**power:,}" if power >= 0 else f"1e{power}") for power in powers]
        step = _round_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(index * step, f"{index * step:,.{digits}f}") for index in range(first, last + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True)
class Series:
    """One line of a chart. `kind` is a CSS class; "b" is dashed and has markers."""

    name: str
    points: Sequence[Point]
    kind: str = "a"


@dataclass(frozen=True)
class Dot:
    """One patient in a scatter chart, with what is said when the pointer rests on it."""

    x: float
    y: float
    title: str
    label: str = ""


@dataclass(frozen=True)
class Frame:
    """The plotting area of a chart within its SVG, in pixels."""

    x: Axis
    y: Axis
    width: int = 340
    height: int = 250
    right: int = 14
    top: int = 30
    bottom: int = 44

    @property
    def left(self) -> int:
        """Room for the longest tick of the vertical axis and its label."""
        return 34 + 7 * max(len(text) for _, text in self.y.ticks())

    def px(self, value: float) -> float:
        """Pixels from the left."""
        return self.left + self.x.share(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Pixels from the top."""
        return self.height - self.bottom - self.y.share(value) * (self.height - self.top - self.bottom)

    def drawn(self) -> str:
        """Grid, ticks and labels."""
        right, floor = self.width - self.right, self.height - self.bottom
        parts: list[str] = []
        for value, text in self.y.ticks():
            y = self.py(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(label(self.left - 6, y + 4, text, anchor="end"))
        for value, text in self.x.ticks():
            x = self.px(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{floor}"/>')
            parts.append(label(x, floor + 16, text, anchor="middle"))
        parts.append(f'<line class="axis" x1="{self.left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
        parts.append(f'<line class="axis" x1="{self.left}" x2="{self.left}" y1="{self.top}" y2="{floor}"/>')
        parts.append(label((self.left + right) / 2, self.height - 8, self.x.label, anchor="middle", kind="name"))
        middle = (self.top + floor) / 2
        parts.append(
            f'<text class="name" text-anchor="middle" transform="translate(13 {middle:.1f}) rotate(-90)">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)


def lines(frame: Frame, series: Sequence[Series], *, alt: str, mark: tuple[float, str] | None = None) -> Markup:
    """A line chart with its legend above.

    Args:
        frame: axes and size.
        series: what is drawn; points that are not finite are skipped.
        alt: what a person who cannot see it should know.
        mark: an x with a word, drawn as a vertical line.
    """
    parts = [frame.drawn()]
    if mark:
        x, floor = frame.px(mark[0]), frame.height - frame.bottom
        anchor, shift = ("end", -4) if x > frame.width * 0.6 else ("start", 4)
        parts.append(f'<path class="mark" d="M{x:.1f} {frame.top}V{floor}"/>')
        parts.append(label(x + shift, floor - 6, mark[1], anchor=anchor, kind="note"))
    legend = frame.left
    for one in series:
        points = [(frame.px(x), frame.py(y)) for x, y in one.points if math.isfinite(x) and math.isfinite(y)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
        parts.append(f'<path class="line {one.kind}" d="{path}"/>')
        if (one.kind == "b" and len(points) <= 40) or len(points) == 1:
            parts += [_marker(x, y, one.kind) for x, y in points]
        if len(series) > 1:
            parts.append(f'<path class="line {one.kind}" d="M{legend} 14h26"/>')
            if one.kind == "b":
                parts.append(_marker(legend + 13, 14, "b"))
            parts.append(label(legend + 32, 18, one.name))
            legend += 48 + 7 * len(one.name)
    return svg(frame.width, frame.height, "".join(parts), alt)


def scatter(
    frame: Frame, dots: Sequence[Dot], *, alt: str, diagonal: bool = False, level: tuple[float, str] | None = None
) -> Markup:
    """One dot per patient; `diagonal` draws where both axes agree, `level` a horizontal line with a word."""
    parts = [frame.drawn()]
    if diagonal:
        low, high = max(frame.x.low, frame.y.low), min(frame.x.high, frame.y.high)
        parts.append(f'<path class="mark" d="M{frame.px(low):.1f} {frame.py(low):.1f}')
        parts.append(f'L{frame.px(high):.1f} {frame.py(high):.1f}"/>')
    if level:
        y = frame.py(level[0])
        parts.append(f'<path class="mark" d="M{frame.left} {y:.1f}H{frame.width - frame.right}"/>')
        parts.append(label(frame.width - frame.right - 2, y - 5, level[1], anchor="end", kind="note"))
    parts += [_dot(frame.px(dot.x), frame.py(dot.y), dot.title) for dot in dots]
    return svg(frame.width, frame.height, "".join(parts), alt)


def strips(
    axis: Axis,
    rows: Sequence[tuple[str, Sequence[Dot]]],
    *,
    alt: str,
    width: int,
    mean: float,
    interval: tuple[float, float],
    note: str,
) -> Markup:
    """One row of dots per group over a common axis, with the mean of all and its interval behind them.

    Args:
        axis: of the dots' x.
        rows: name of the group and its dots; a dot's y is not used, its label is written where there is room.
        alt: what a person who cannot see it should know.
        width: of the chart in pixels.
        mean, interval: over all groups; `note` is written above them.
    """
    left, right, top, radius = 62, 16, 40, 5.5

    def px(value: float) -> float:
        return left + axis.share(value) * (width - left - right)

    parts, y = [], float(top)
    for name, dots in rows:
        placed = _swarm([px(dot.x) for dot in dots], 2 * radius + 1)
        highest = max((abs(shift) for shift in placed), default=0.0)
        named = any(dot.label for dot in dots)
        y += highest + (24 if named else 16)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(label(left - 10, y + 4, f"{name} ({len(dots)})", anchor="end"))
        taken = -math.inf
        for dot, shift in sorted(zip(dots, placed, strict=True), key=lambda pair: pair[0].x):
            x = px(dot.x)
            parts.append(_dot(x, y + shift, dot.title, radius))
            start = max(left - radius, x - 3.4 * len(dot.label))
            end = start + 7.2 * len(dot.label)
            if dot.label and start > taken:
                under = (up for other, up in zip(dots, placed, strict=True) if start - 6 < px(other.x) < end + 6)
                parts.append(label(start, y + min(under) - 9, dot.label, kind="note"))
                taken = end
        y += highest + 12
    floor = y + 4
    scale = "".join(
        f'<line class="grid" x1="{px(value):.1f}" x2="{px(value):.1f}" y1="{top}" y2="{floor:.1f}"/>'
        + label(px(value), floor + 16, text, anchor="middle")
        for value, text in axis.ticks()
    )
    behind = ""
    if math.isfinite(mean):
        low, high = (value if math.isfinite(value) else mean for value in interval)
        behind = (
            f'<rect class="band" x="{px(low):.1f}" y="{top}" width="{px(high) - px(low):.1f}" '
            f'height="{floor - top:.1f}"/>'
            f'<line class="mark" x1="{px(mean):.1f}" x2="{px(mean):.1f}" y1="{top}" y2="{floor:.1f}"/>'
            + label(min(px(mean) + 2.9 * len(note), width - 4), top - 8, note, anchor="end", kind="note")
        )
    name = label((left + width - right) / 2, floor + 36, axis.label, anchor="middle", kind="name")
    return svg(width, round(floor + 44), behind + scale + "".join(parts) + name, alt)


def svg(width: float, height: float, content: str, alt: str) -> Markup:
    """An SVG that says what it shows to those who cannot see it."""
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-label="{escape(alt)}">{content}</svg>'
    )


def label(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick") -> str:
    """A text element."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, title: str, radius: float = 5.0) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(title)}</title></circle>'


def _marker(x: float, y: float, kind: str) -> str:
    return f'<path class="marker {kind}" d="M{x - 3.5:.1f} {y:.1f}l3.5 -3.5 3.5 3.5 -3.5 3.5z"/>'


def _round_step(raw: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `raw`."""
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _swarm(positions: Sequence[float], distance: float) -> list[float]:
    """How far to move dots up or down so that none covers another, in the order given."""
    shifts = [0.0] * len(positions)
    placed: list[Point] = []
    for index in sorted(range(len(positions)), key=lambda index: positions[index]):
        x = positions[index]
        near = [other for other in placed if abs(other[0] - x) < distance]
        step = 0
        while any(math.dist((x, _alternate(step, distance)), other) < distance for other in near):
            step += 1
        shifts[index] = _alternate(step, distance)
        placed.append((x, shifts[index]))
    return shifts


def _alternate(step: int, distance: float) -> float:
    """0, up, down, further up, further down, in quarter distances."""
    return (step + 1) // 2 * distance / 4 * (-1 if step % 2 else 1)
