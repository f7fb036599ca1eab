"""predictions.png: image, reference and prediction side by side for several patients on one sheet."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import OutputError
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.facts import Example
from tumorseg.evaluation.overlay import flair
from tumorseg.files import atomic_write

Colour = tuple[int, int, int]
"""Blue, green, red."""

Canvas = NDArray[np.uint8]
"""(height, width, 3) uint8, blue, green, red."""

PANEL, GAP, _BLOCK_GAP, MARGIN = 224, 4, 28, 28
_TITLE, _ROW_GAP, _HEADER, _FOOTER = 44, 26, 58, 46
INK: Colour = (40, 34, 30)
FAINT: Colour = (120, 110, 104)
REFERENCE: Colour = (233, 180, 86)
PREDICTED: Colour = (0, 159, 230)
_BLOCKS = 2


def write_sheet(path: Path, examples: Sequence[Example], *, title: str) -> None:
    """Write the sheet as a PNG, whole or not at all.

    Args:
        path: of the PNG.
        examples: in reading order, two patients a row.
        title: one line above all.

    Raises:
        OutputError: it cannot be written.
    """
    sheet = draw_sheet(examples, title=title)
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
            raise OutputError(f"cannot write {path}", next_step="free some space or choose another --output")


def draw_sheet(examples: Sequence[Example], *, title: str) -> Canvas:
    """The sheet as (height, width, 3) uint8, blue, green, red."""
    blocks = max(1, min(_BLOCKS, len(examples)))
    rows = -(-len(examples) // blocks)
    block = 3 * PANEL + 2 * GAP
    width = 2 * MARGIN + blocks * block + (blocks - 1) * _BLOCK_GAP
    height = _HEADER + rows * (_TITLE + PANEL + _ROW_GAP) + _FOOTER
    sheet: Canvas = np.full((height, width, 3), 255, np.uint8)
    write(sheet, title, (MARGIN, 38), size=20, weight=700)
    for index, example in enumerate(examples):
        row, column = divmod(index, blocks)
        corner = (MARGIN + column * (block + _BLOCK_GAP), _HEADER + row * (_TITLE + PANEL + _ROW_GAP))
        _draw_patient(sheet, example, corner)
    _draw_footer(sheet)
    return sheet


def _draw_patient(sheet: Canvas, example: Example, corner: tuple[int, int]) -> None:
    left, top = corner
    end = write(sheet, example.patient, (left, top + 20), size=16, weight=600)
    end = write(sheet, f"Dice {cut(example.dice)}", (end + 14, top + 20), size=16)
    detail = f"{example.role + ', ' if example.role else ''}{example.place}"
    write(sheet, detail, (end + 14, top + 20), size=14, colour=FAINT)
    grey = flair(example.image)
    nothing = np.zeros_like(example.reference)
    panels = (
        ("FLAIR", nothing, INK, False),
        ("reference", example.reference, REFERENCE, False),
        ("prediction", example.predicted, PREDICTED, True),
    )
    for index, (word, mask, colour, dashed) in enumerate(panels):
        x = left + index * (PANEL + GAP)
        if mask is not nothing and not mask.any():
            word += ": nothing marked"
        write(sheet, word, (x, top + _TITLE - 6), size=13, colour=FAINT)
        sheet[top + _TITLE : top + _TITLE + PANEL, x : x + PANEL] = panel(grey, mask, colour, dashed=dashed)


def panel(grey: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour, *, dashed: bool) -> Canvas:
    """One slice with a mask tinted and outlined, fitted into a square."""
    scale = PANEL / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted = cv2.cvtColor(cv2.resize(grey, size, interpolation=smooth), cv2.COLOR_GRAY2BGR)
    area = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)[..., None] * 0.45
    tinted = np.asarray(fitted * (1 - area) + np.asarray(colour) * area).round().astype(np.uint8)
    solid = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    loops, _ = cv2.findContours(solid, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for loop in loops:
        points = loop[:, 0]
        for start in range(0, len(points), 9 if dashed else max(1, len(points))):
            piece = points[start : start + 6] if dashed else points
            cv2.polylines(tinted, [piece], not dashed, colour, 2, cv2.LINE_AA)
    framed: Canvas = np.zeros((PANEL, PANEL, 3), np.uint8)
    y, x = (PANEL - size[1]) // 2, (PANEL - size[0]) // 2
    framed[y : y + size[1], x : x + size[0]] = tinted
    return framed


def _draw_footer(sheet: Canvas) -> None:
    y, x = sheet.shape[0] - 22, MARGIN
    for word, colour in (("reference", REFERENCE), ("prediction", PREDICTED)):
        cv2.rectangle(sheet, (x, y - 11), (x + 20, y + 1), colour, -1)
        x = write(sheet, word, (x + 28, y), size=14) + 22
    write(sheet, "Research use only, not a medical device.", (x + 6, y), size=14, colour=FAINT)


def write(sheet: Canvas, text: str, at: tuple[int, int], *, size: int, weight: int = 400, colour: Colour = INK) -> int:
    """Write at the base line's left end; gives where the text ends."""
    if hasattr(cv2, "FontFace"):
        end, _ = cv2.putText(sheet, text, at, colour, cv2.FontFace("sans"), size, weight)
        return int(end[0])
    # OpenCV 4 has line fonts only.
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 30
    cv2.putText(sheet, text, at, font, scale, colour, 1, cv2.LINE_AA)
    return at[0] + int(cv2.getTextSize(text, font, scale, 1)[0][0])
