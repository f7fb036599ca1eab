"""A slice with reference and prediction outlined on it, as inline SVG over one embedded picture.

Blue, solid and hatched is the reference and what was missed; orange, dashed and dotted is the prediction and what
it marks too much. Colours are of the set that the colour-blind tell apart (Okabe & Ito 2008); line and pattern
tell the same without any colour.
"""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from tumorseg.evaluation.facts import Example
from tumorseg.outlines import svg_path

_MOST_PIXELS = 768
"""Longest side of an embedded picture; a larger slice is scaled down for the page, its outlines are not."""

_LEAST_DETAIL = 0.3
"""Shortest side of the detail, in shares of the frame."""


@dataclass(frozen=True)
class Overlay:
    """Two panels of one slice: the whole slice, and the part around the tumour with the outlines."""

    whole: Markup
    detail: Markup


def flair(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """FLAIR, stretched so that its 99.5th percentile is white.

    Args:
        image: (height, width, 3), FLAIR being the second channel, or (height, width), FLAIR alone; uint8.

    Returns:
        (height, width) uint8.
    """
    grey = image if image.ndim == 2 else image[..., 1]
    low, high = float(grey.min()), float(np.percentile(grey, 99.5))
    if high <= low:
        high = max(float(grey.max()), low + 1)
    stretched: NDArray[np.float64] = (grey.astype(np.float64) - low) * (255 / (high - low))
    return np.clip(stretched.round(), 0, 255).astype(np.uint8)


def overlay(example: Example, *, key: str) -> Overlay:
    """Draw one slice.

    Args:
        example: the slice with both masks.
        key: unique in the page; ids are made of it.
    """
    height, width = example.reference.shape
    x, y, wide, high = detail_box(example.reference | example.predicted)
    picture = f"picture-{key}"
    shared = int((example.reference & example.predicted).sum())
    missed, extra = example.reference & ~example.predicted, example.predicted & ~example.reference
    frame = (
        f'<rect class="lens-casing" x="{x}" y="{y}" width="{wide}" height="{high}"/>'
        f'<rect class="lens" x="{x}" y="{y}" width="{wide}" height="{high}"/>'
    )
    whole = (
        f'<image id="{picture}" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{_data_uri(flair(example.image))}"/>{frame}'
    )
    pitch = wide / 56
    detail = (
        f"<defs>{_patterns(key, pitch)}</defs>"
        f'<use href="#{picture}"/>'
        f'<g class="areas"><path d="{svg_path(missed)}" fill="url(#missed-{key})" fill-rule="evenodd"/>'
        f'<path d="{svg_path(extra)}" fill="url(#extra-{key})" fill-rule="evenodd"/></g>'
        f'<g class="outlines">{outline(example.reference, "reference")}{outline(example.predicted, "predicted")}</g>'
    )
    said = (
        f"{example.place.capitalize()} of {example.patient}: the reference marks {int(example.reference.sum()):,} "
        f"pixels, the prediction {int(example.predicted.sum()):,}; {shared:,} in common, {int(missed.sum()):,} missed, "
        f"{int(extra.sum()):,} too much."
    )
    return Overlay(
        panel((0, 0, width, height), whole, f"{example.sequence}, {example.place} of {example.patient}, whole."),
        panel((x, y, wide, high), detail, said),
    )


def detail_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """A box of the frame's proportions around all that is marked, with a margin: x, y, width, height in pixels."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if rows.size == 0:
        return 0, 0, width, height
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    share = min(1.0, max(_LEAST_DETAIL, 1.4 * (bottom - top) / height, 1.4 * (right - left) / width))
    high, wide = round(share * height), round(share * width)
    x = min(max(0, (left + right - wide) // 2), width - wide)
    y = min(max(0, (top + bottom - high) // 2), height - high)
    return x, y, wide, high


def legend(key: str) -> Markup:
    """The four signs with their words; `key` is unique in the page."""
    items = (
        ('<path class="casing" d="M2 9h36"/><path class="reference" d="M2 9h36"/>', "reference"),
        ('<path class="casing" d="M2 9h36"/><path class="predicted" d="M2 9h36"/>', "prediction"),
        (f'<rect width="40" height="18" fill="url(#missed-{key})"/>', "missed: reference only"),
        (f'<rect width="40" height="18" fill="url(#extra-{key})"/>', "too much: prediction only"),
    )
    entries = "".join(
        f'<li><svg class="sign" viewBox="0 0 40 18" width="40" height="18" aria-hidden="true">'
        f'<rect class="dark" width="40" height="18"/>{sign}</svg> {escape(word)}</li>'
        for sign, word in items
    )
    patterns = f'<svg class="patterns" width="0" height="0" aria-hidden="true"><defs>{_patterns(key, 5)}</defs></svg>'
    return Markup(f'<ul class="legend">{entries}</ul>{patterns}')


def _patterns(key: str, pitch: float) -> str:
    """Hatching for what was missed, dots for what is too much, `pitch` units apart."""
    unit = 'patternUnits="userSpaceOnUse"'
    half, thin = pitch / 2, pitch * 0.28
    return (
        f'<pattern id="missed-{key}" {unit} width="{pitch:.2f}" height="{pitch:.2f}" patternTransform="rotate(45)">'
        f'<rect class="hatch-casing" width="{2 * thin:.2f}" height="{pitch:.2f}"/>'
        f'<rect class="hatch" width="{thin:.2f}" height="{pitch:.2f}"/></pattern>'
        f'<pattern id="extra-{key}" {unit} width="{pitch:.2f}" height="{pitch:.2f}">'
        f'<circle class="dots-casing" cx="{half:.2f}" cy="{half:.2f}" r="{pitch * 0.42:.2f}"/>'
        f'<circle class="dots" cx="{half:.2f}" cy="{half:.2f}" r="{pitch * 0.27:.2f}"/></pattern>'
    )


def outline(mask: NDArray[np.bool_], kind: str) -> str:
    """A mask's outline as SVG, (height, width) bool; `kind` is "reference" or "predicted"; "" where it is empty."""
    path = svg_path(mask)
    return f'<path class="casing" d="{path}"/><path class="{kind}" d="{path}"/>' if path else ""


def panel(box: tuple[int, int, int, int], content: str, alt: str) -> Markup:
    """An SVG picture of the part (left, top, width, height) in pixels, with what a screen reader says of it."""
    view = " ".join(str(number) for number in box)
    return Markup(f'<svg class="slice" viewBox="{view}" role="img" aria-label="{escape(alt)}">{content}</svg>')


def _data_uri(grey: NDArray[np.uint8]) -> str:
    """A PNG of (height, width) uint8 within the page itself."""
    scale = _MOST_PIXELS / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    _, encoded = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
