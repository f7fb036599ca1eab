"""A chart of every patient's score, in rising order, coloured and shaped by fold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tumorseg.evaluation.charts import Frame, label, svg
from tumorseg.studies.charts import STYLES

_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",  # disc
    "M-3.6 -3.6h7.2v7.2h-7.2z",  # square
    "M0 -5l4.6 8.4h-9.2z",  # triangle
    "M0 -5l5 5l-5 5l-5 -5z",  # lozenge
    "M0 5l4.6 -8.4h-9.2z",  # triangle on its tip
)


@dataclass(frozen=True)
class Ranked:
    """One patient: the score, the fold's number, and what is said when the pointer rests on it.

    Attributes:
        low, high: the lowest and the highest score over several seeds.
    """

    score: float
    fold: int
    title: str
    low: float = math.nan
    high: float = math.nan


def ranked(frame: Frame, dots: Sequence[Ranked], *, alt: str, mean: float, interval: tuple[float, float]) -> Markup:
    """One sign a patient from the lowest score on the left to the highest.

    Args:
        frame: x counts patients from 1, y is the score.
        dots: in any order; scores that are not finite are left out.
        alt: what a person who cannot see it should know.
        mean, interval: drawn behind.
    """
    left, right = frame.left, frame.width - frame.right
    parts = []
    if math.isfinite(mean):
        low, high = (value if math.isfinite(value) else mean for value in interval)
        top, floor = frame.py(high), frame.py(low)
        parts.append(f'<rect class="band" x="{left}" y="{top:.1f}" width="{right - left}" height="{floor - top:.1f}"/>')
        parts.append(f'<path class="mark" d="M{left} {frame.py(mean):.1f}H{right}"/>')
    parts.append(frame.drawn())
    shown = sorted((dot for dot in dots if math.isfinite(dot.score)), key=lambda dot: dot.score)
    for place, dot in enumerate(shown, start=1):
        x, y = frame.px(place), frame.py(dot.score)
        if dot.low < dot.high:
            parts.append(f'<path class="reach" d="M{x:.1f} {frame.py(dot.low):.1f}V{frame.py(dot.high):.1f}"/>')
        parts.append(
            f'<path class="sign m{dot.fold % STYLES}" transform="translate({x:.1f} {y:.1f})" '
            f'd="{_SHAPES[dot.fold % len(_SHAPES)]}"><title>{escape(dot.title)}</title></path>'
        )
    if math.isfinite(mean):
        parts.append(label(right - 6, frame.py(low) + 15, "mean of all, 95 % interval", anchor="end", kind="note"))
    return svg(frame.width, frame.height, "".join(parts), alt)


def key(fold: int) -> Markup:
    """The sign of a fold, for a legend."""
    return Markup(
        f'<svg class="fold-key" viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true">'
        f'<path class="sign m{fold % STYLES}" d="{_SHAPES[fold % len(_SHAPES)]}"/></svg>'
    )
