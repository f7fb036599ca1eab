"""comparison.png: the same slices through all models on one sheet, with each model's score above its column."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import OutputError
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.overlay import detail_box
from tumorseg.evaluation.sheet import FAINT, INK, PANEL, PREDICTED, REFERENCE, Canvas, panel, write
from tumorseg.files import atomic_write
from tumorseg.studies.comparison import Comparison, part_name
from tumorseg.studies.panels import grey
from tumorseg.studies.scenes import Scene
from tumorseg.studies.standings import Standings

_GAP, _MARGIN, _TITLE, _NAMES, _ROW, _FOOTER = 4, 28, 58, 52, 32, 46


def write_sheet(path: Path, comparison: Comparison) -> None:
    """Write the sheet as a PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), draw_sheet(comparison), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
            raise OutputError(f"cannot write {path}", next_step="free some space or choose another --output")


def draw_sheet(comparison: Comparison) -> Canvas:
    """The sheet as (height, width, 3) uint8, blue, green, red: one row a slice, one column a model."""
    found = comparison.parts[0]
    columns = 2 + len(comparison.arms)
    width = 2 * _MARGIN + columns * PANEL + (columns - 1) * _GAP
    height = _TITLE + _NAMES + len(comparison.scenes) * (_ROW + PANEL) + _FOOTER
    sheet: Canvas = np.full((height, width, 3), 255, np.uint8)
    count = len(found.patients)
    title = (
        f"{len(comparison.arms)} models on the same {count} {part_name(found.part)} patients of {comparison.dataset}"
    )
    write(sheet, title, (_MARGIN, 38), size=20, weight=700)
    _draw_names(sheet, comparison, found)
    for index, scene in enumerate(comparison.scenes):
        _draw_scene(sheet, scene, comparison, top=_TITLE + _NAMES + index * (_ROW + PANEL))
    _draw_footer(sheet)
    return sheet


def _draw_names(sheet: Canvas, comparison: Comparison, found: Standings) -> None:
    means = {row.arm.label: row.mean for row in found.rows}
    write(sheet, "image", (_left(0), _TITLE + 18), size=15, weight=600)
    write(sheet, "reference", (_left(1), _TITLE + 18), size=15, weight=600)
    for index, arm in enumerate(comparison.arms, start=2):
        name = f"{comparison.letters[arm.label]}  {_short(arm.label)}"
        write(sheet, name, (_left(index), _TITLE + 18), size=15, weight=600)
        write(sheet, f"mean Dice {cut(means[arm.label])}", (_left(index), _TITLE + 40), size=14)


def _draw_scene(sheet: Canvas, scene: Scene, comparison: Comparison, *, top: int) -> None:
    end = write(sheet, scene.patient, (_left(0), top + 20), size=15, weight=600)
    write(sheet, f"slice {scene.slice_number}, {scene.why}", (end + 12, top + 20), size=14, colour=FAINT)
    image = grey(scene)
    x, y, wide, high = detail_box(np.any([scene.reference, *scene.predicted.values()], axis=0))
    part = slice(y, y + high), slice(x, x + wide)
    nothing = np.zeros_like(scene.reference)
    _place(sheet, panel(image, nothing, INK, dashed=False), 0, top)
    _place(sheet, panel(image[part], scene.reference[part], REFERENCE, dashed=False), 1, top)
    for index, arm in enumerate(comparison.arms, start=2):
        mask = scene.predicted[arm.label]
        said = f"Dice {cut(scene.dice[arm.label])}" + ("" if mask.any() else ", nothing marked")
        write(sheet, said, (_left(index), top + 20), size=14, colour=FAINT)
        _place(sheet, panel(image[part], mask[part], PREDICTED, dashed=True), index, top)


def _place(sheet: Canvas, picture: NDArray[np.uint8], column: int, top: int) -> None:
    left = _left(column)
    sheet[top + _ROW : top + _ROW + PANEL, left : left + PANEL] = picture


def _draw_footer(sheet: Canvas) -> None:
    text = "The Dice above a picture is of the whole patient. Research use only, not a medical device."
    write(sheet, text, (_MARGIN, sheet.shape[0] - 18), size=14, colour=FAINT)


def _left(column: int) -> int:
    return _MARGIN + column * (PANEL + _GAP)


def _short(label: str, most: int = 24) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
