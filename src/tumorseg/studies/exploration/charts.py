"""Charts of a data set as inline SVG: histograms, percentile bands, heat maps over the mean head."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from tumorseg.evaluation.charts import Axis, Frame, label, svg
from tumorseg.studies.exploration.rows import Spread
from tumorseg.studies.exploration.whereabouts import HeatMap

_STEPS = 6
"""Most ticks of an axis of counts."""


@dataclass(frozen=True)
class Band:
    """One row of percentile bands: what it is of, how values spread, and what is said when the pointer rests on it."""

    name: str
    spread: Spread
    title: str


def histogram(
    edges: Sequence[float], values: Sequence[float], *, x: Axis, y: str, alt: str, mark: tuple[float, str] | None = None
) -> Markup:
    """Bars that count values between edges.

    Args:
        edges: rising, one more than there are bars; the last bar holds its upper edge.
        values: what is counted.
        x: the axis of the values; `y` is the label of the counts.
        alt: what a person who cannot see it should know.
        mark: a value with a word, drawn as a vertical line.
    """
    counts, _ = np.histogram(np.asarray(values, float), np.asarray(edges, float))
    frame = Frame(x, Axis(y, 0.0, counting_top(int(counts.max(initial=1)))))
    floor = frame.py(0)
    parts = [frame.drawn()]
    for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True):
        left, right = frame.px(low), frame.px(high)
        height = floor - frame.py(count)
        if count:
            parts.append(
                f'<rect class="bar" x="{left + 0.5:.1f}" y="{floor - height:.1f}" '
                f'width="{max(right - left - 1, 0.5):.1f}" height="{height:.1f}">'
                f"<title>{escape(_range(low, high, x))}: {count:,}</title></rect>"
            )
    if mark and math.isfinite(mark[0]):
        at = frame.px(mark[0])
        anchor, shift = ("end", -4) if at > frame.width * 0.6 else ("start", 4)
        parts.append(f'<path class="mark" d="M{at:.1f} {frame.top - 8}V{floor:.1f}"/>')
        parts.append(label(at + shift, frame.top - 8, mark[1], anchor=anchor, kind="note"))
    return svg(frame.width, frame.height, "".join(parts), alt)


def bands(axis: Axis, rows: Sequence[Band], *, alt: str, width: int, zero: bool = False) -> Markup:
    """One row a group: a thin bar from the 5th to the 95th percentile, a thick one of the middle half, the median.

    Args:
        axis: of the values; what lies beyond it is drawn at its end.
        rows: in reading order.
        alt: what a person who cannot see it should know.
        width: in pixels.
        zero: draw where the value is 0.
    """
    left = 22 + round(6.7 * max((len(row.name) for row in rows), default=1))
    right, top, step = 22, 8, 30
    floor = top + step * len(rows) + 4

    def px(value: float) -> float:
        return left + min(max(axis.share(value), 0.0), 1.0) * (width - left - right)

    parts = []
    ticks = axis.ticks()
    room = 8 + 7 * max(len(text) for _, text in ticks)
    every = max(1, -(-len(ticks) * room // (width - left - right)))
    for index, (value, text) in enumerate(ticks):
        x = px(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
        if index % every == 0:
            parts.append(label(x, floor + 16, text, anchor="middle"))
    if zero:
        parts.append(f'<path class="mark" d="M{px(0):.1f} {top}V{floor}"/>')
    for index, row in enumerate(rows):
        y = top + step * (index + 0.5)
        found = row.spread
        parts.append(label(left - 10, y + 4, row.name, anchor="end", kind="name"))
        if not found.count:
            continue
        p5, p25, p50, p75, p95 = (px(value) for value in (found.p5, found.p25, found.p50, found.p75, found.p95))
        parts.append(f"<g><title>{escape(row.title)}</title>")
        parts.append(f'<rect class="tails" x="{p5:.1f}" y="{y - 3}" width="{max(p95 - p5, 1):.1f}" height="6"/>')
        parts.append(f'<rect class="half" x="{p25:.1f}" y="{y - 8}" width="{max(p75 - p25, 1):.1f}" height="16"/>')
        parts.append(f'<path class="centre" d="M{p50:.1f} {y - 10}v20"/></g>')
    # On a phone the label may be longer than the axis.
    middle = (left + width - right) / 2 if width >= 600 else width / 2
    parts.append(label(middle, floor + 36, axis.label, anchor="middle", kind="name"))
    return svg(width, floor + 44, "".join(parts), alt)


def heat_map(found: HeatMap, *, key: str, alt: str) -> Markup:
    """Colour where tumours lie, over the mean head in grey; the scale is below it.

    Args:
        found: what is drawn.
        key: unique in the page; ids are made of it.
        alt: what a person who cannot see it should know.
    """
    most = found.densest[2]
    wide = 260
    high = round(wide * min(max(found.aspect, 0.5), 2.0))
    left, top = 44, 8
    width, height = left + wide + 14, top + high + 104
    picture = f'x="{left}" y="{top}" width="{wide}" height="{high}" preserveAspectRatio="none"'
    parts = [f'<image {picture} href="{_png(found.head)}"/>', f'<image {picture} href="{_png(_tinted(found, most))}"/>']
    floor = top + high
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + share * wide, top + share * high
        text = f"{100 * share:.0f}"
        parts.append(f'<path class="axis" d="M{x:.1f} {floor}v4M{left} {y:.1f}h-4"/>')
        parts.append(label(x, floor + 17, text, anchor="middle"))
        parts.append(label(left - 8, y + 4, text, anchor="end"))
    parts.append(
        label(left + wide / 2, floor + 34, "across the head's box, % from the left", anchor="middle", kind="name")
    )
    parts.append(
        f'<text class="name" text-anchor="middle" transform="translate(12 {top + high / 2:.1f}) rotate(-90)">'
        "down the head's box, % from the top</text>"
    )
    scale = floor + 50
    stops = "".join(
        f'<stop offset="{share:.2f}" stop-color="{_hex(_colour(np.array([share]))[0])}" '
        f'stop-opacity="{float(_opacity(np.array([share]))[0]):.2f}"/>'
        for share in np.linspace(0, 1, 9)
    )
    parts.append(f'<defs><linearGradient id="scale-{key}">{stops}</linearGradient></defs>')
    parts.append(f'<rect class="under" x="{left}" y="{scale}" width="{wide}" height="12"/>')
    parts.append(f'<rect x="{left}" y="{scale}" width="{wide}" height="12" fill="url(#scale-{key})"/>')
    for share in (0.0, 0.5, 1.0):
        parts.append(label(left + share * wide, scale + 27, f"{100 * share * most:.0f}", anchor="middle"))
    parts.append(
        label(left + wide / 2, scale + 44, "patients whose tumour covers the place, %", anchor="middle", kind="name")
    )
    return svg(width, height, "".join(parts), alt)


def decades(label: str, values: Sequence[float]) -> Axis:
    """Powers of ten around the positive ones among some values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return Axis(label, 10.0**low, 10.0 ** max(high, low + 1), logarithmic=True)


def log_edges(axis: Axis, a_decade: int = 5) -> list[float]:
    """Edges of bars over a logarithmic axis, so many a decade."""
    low, high = round(math.log10(axis.low)), round(math.log10(axis.high))
    return [10.0 ** (low + step / a_decade) for step in range((high - low) * a_decade + 1)]


def whole_edges(values: Sequence[int], most: int = 30) -> list[float]:
    """Edges of bars that hold the same number of whole numbers each, halfway between them."""
    low, high = min(values), max(values)
    if high - low < _STEPS - 1:
        # Fewer numbers than an axis has ticks would be marked at fractions.
        low = max(0, low - (_STEPS - 1 - high + low) // 2)
        high = low + _STEPS - 1
    step = max(1, -(-(high - low + 1) // most))
    bars = -(-(high - low + 1) // step)
    return [low - 0.5 + step * index for index in range(bars + 1)]


def counting_top(highest: int) -> float:
    """The end of an axis of counts, such that its ticks are whole numbers."""
    return float(max(highest * 1.05, _STEPS - 1))


def _range(low: float, high: float, axis: Axis) -> str:
    if axis.logarithmic:
        return f"{low:,.3g} to {high:,.3g}"
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def _colour(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """From violet over orange to yellow, (…, 3) red, green, blue; brighter is more, to the colour-blind as well."""
    stops = np.linspace(0, 1, 4)
    table = np.array([[86, 20, 125], [187, 55, 84], [249, 142, 9], [252, 255, 164]], float)
    return np.stack([np.interp(share, stops, table[:, index]) for index in range(3)], axis=-1).round().astype(np.uint8)


def _opacity(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(share > 0, np.clip(0.25 + 0.75 * share, 0, 0.85), 0.0)


def _tinted(found: HeatMap, most: float) -> NDArray[np.uint8]:
    share = np.clip(found.share / (most or 1.0), 0, 1)
    alpha = (_opacity(share) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.concatenate([_colour(share)[..., ::-1], alpha[..., None]], axis=-1))


def _hex(colour: NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour.tolist())


def _png(image: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
