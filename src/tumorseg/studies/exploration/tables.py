"""The numbers behind the page, as CSV files that re-read as they were written."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from tumorseg.files import atomic_write
from tumorseg.studies.exploration.clinical import Clinical
from tumorseg.studies.exploration.gather import Exploration
from tumorseg.studies.exploration.rows import HEAD_PERCENTILES

Rows = list[Sequence[object]]
"""The first row holds the names of the columns."""


def write_tables(folder: Path, found: Exploration) -> tuple[str, ...]:
    """Write patients.csv, slices.csv and intensities.csv, and where there is one split.csv and clinical.csv.

    Returns:
        Names of the files.
    """
    tables = {"patients.csv": _patients(found), "slices.csv": _slices(found), "intensities.csv": _intensities(found)}
    if found.dealt.of:
        tables["split.csv"] = [("patient", "part"), *sorted(found.dealt.of.items())]
    if found.clinical and found.clinical.names:
        tables["clinical.csv"] = _clinical(found, found.clinical)
    for name, rows in tables.items():
        with atomic_write(folder / name) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return tuple(tables)


def _patients(found: Exploration) -> Rows:
    classes = found.classes if len(found.classes) > 1 else ()
    heads = ("patient", "institution", "part", "scans", "slices", "tumour_slices", "tumour_voxels", "tumour_ml")
    rows: Rows = [(*heads, *(f"{name}_slices" for name in classes), "flair_stands_in_for")]
    for row in found.patients:
        numbers = (row.scans, row.slices, row.tumour_slices, row.tumour_voxels, _text(row.tumour_ml))
        of_class = row.class_slices if classes else ()
        part = found.dealt.of.get(row.patient, "")
        rows.append((row.patient, row.institution, part, *numbers, *of_class, " ".join(row.stand_ins)))
    return rows


def _slices(found: Exploration) -> Rows:
    classes = found.classes if len(found.classes) > 1 else ()
    heads = ("scan", "slice", "patient", "institution", "position", "height", "width", "head_pixels", "tumour_pixels")
    rows: Rows = [(*heads, "tumour_mm2", "plane", *(f"{name}_pixels" for name in classes))]
    for row in found.slices:
        whose = (row.scan, row.number, row.patient, row.institution, _text(row.position))
        numbers = (row.height, row.width, row.head_pixels, row.tumour_pixels, _text(row.tumour_mm2), row.plane)
        rows.append((*whose, *numbers, *(row.class_pixels if classes else ())))
    return rows


def _intensities(found: Exploration) -> Rows:
    heads = ("scan", "sequence", "patient", "institution", "blank_slices", "p0.5", "p99", "p99.5")
    of_head = (f"head_p{percentile}" for percentile in HEAD_PERCENTILES)
    rows: Rows = [(*heads, *of_head, "tumour_median", "rest_of_head_median", "contrast", "tumour_brighter")]
    for row in found.intensities:
        whose = (row.scan, row.sequence, row.patient, row.institution, row.blank_slices)
        values = (row.low, row.p99, row.high, *row.head, row.tumour, row.rest, row.contrast, row.brighter)
        rows.append((*whose, *map(_text, values)))
    return rows


def _clinical(found: Exploration, table: Clinical) -> Rows:
    rows: Rows = [("patient", "institution", "tumour_voxels", *table.names)]
    for row in found.patients:
        entry = table.rows.get(row.patient, {})
        rows.append((row.patient, row.institution, row.tumour_voxels, *(entry.get(name, "") for name in table.names)))
    return rows


def _text(value: float | None) -> str:
    """A number to six digits; empty where it is unknown or undefined."""
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
