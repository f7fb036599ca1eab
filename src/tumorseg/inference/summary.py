"""summary.csv for people, one row a scan; summary.json for programs, with every slice and every failure."""

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tumorseg.files import atomic_write
from tumorseg.inference.measure import (
    ENTROPY_FORMULA,
    EXPECTED_FORMULA,
    FLIP_FORMULA,
    SliceMeasures,
    measure,
    measure_slices,
)
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.position import side
from tumorseg.inference.walking import Failure
from tumorseg.scan import Caution, Mask

SUMMARY_CSV, SUMMARY_JSON = "summary.csv", "summary.json"
WARNED_SCANS = 3
_MEASUREMENTS = (
    "tumour_voxels",
    "tumour_slices",
    "largest_slice_pixels",
    "components",
    "largest_component_voxels",
    "mean_probability",
    "max_probability",
    "mean_entropy",
    "expected_dice",
    "flip_disagreement",
    "tumour_ml",
    "largest_slice_mm2",
    "largest_diameter_mm",
    "largest_diameter_pixels",
    "centroid_slice",
    "centroid_row",
    "centroid_column",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "left_of_middle_mm",
)
_FORMULAS = {
    "mean_probability": "mean probability of tumour inside the mask",
    "mean_entropy": ENTROPY_FORMULA,
    "expected_dice": EXPECTED_FORMULA,
    "flip_disagreement": FLIP_FORMULA,
    "largest_diameter": "the greatest caliper width of any one area within a slice, from pixel edge to pixel edge",
    "centroid": "of all marked voxels; slice, row and column count from 0; x, y, z in mm to the right, front and top",
    "left_of_middle_mm": "from the middle of the head to the patient's left; within 5 mm the side is 'middle'",
}
_BUFFERED = 2**20


@dataclass(frozen=True)
class Result:
    """One scan that has its masks.

    Attributes:
        id: of the scan.
        status: "segmented" now, or "kept" from an earlier run.
        sources: its image files.
        masks: relative to the output folder.
        slices: the numbers of each slice.
        measurements: see `measure`.
        warnings: what to know of it.
    """

    id: str
    status: Literal["segmented", "kept"]
    sources: tuple[Path, ...]
    masks: tuple[Path, ...]
    slices: SliceMeasures
    measurements: Mapping[str, float]
    warnings: tuple[Caution, ...] = ()


@dataclass
class Outcome:
    """What became of all inputs, in numbers; the scans themselves are in the summary.

    Attributes:
        scans: that have their masks.
        with_tumour: of these.
        masks: files, and folders of pictures.
        failures: files that have none, and why.
        warned: for each warning the first scans that it is about, and how many there are.
    """

    scans: int = 0
    with_tumour: int = 0
    masks: int = 0
    failures: list[Failure] = field(default_factory=list)
    warned: dict[str, tuple[list[str], int]] = field(default_factory=dict)

    def count(self, result: Result) -> None:
        """Add one scan."""
        self.scans += 1
        self.with_tumour += any(result.slices.pixels)
        self.masks += len(result.masks)
        for warning in result.warnings:
            names, times = self.warned.get(warning, ([], 0))
            if len(names) < WARNED_SCANS:
                names.append(_text(result.id))
            self.warned[warning] = names, times + 1

    def warning_lines(self) -> list[str]:
        """Each warning once, with the scans that it is about; of many scans the first few."""
        return [
            f"{', '.join(names)}{f' and {times - len(names)} more' if times > len(names) else ''}: {warning}"
            for warning, (names, times) in self.warned.items()
        ]


class SummaryRows:
    """Rows of both files, on the disk until all are there: a million scans need no more memory than one."""

    def __init__(self, table: Any, entries: Any) -> None:
        self._table, self._entries = table, entries
        self._rows = csv.writer(table, lineterminator="\n")
        self._first = True

    def add(self, result: Result) -> None:
        """Append one scan."""
        numbers = [_cell(result.measurements.get(name)) for name in _MEASUREMENTS]
        words = [side(result.measurements), " | ".join(result.warnings)]
        self._rows.writerow([_text(result.id), result.status, len(result.slices.pixels), *numbers, *words])
        text = json.dumps(_entry(result), ensure_ascii=False, allow_nan=False)
        self._entries.write(("\n    " if self._first else ",\n    ") + text)
        self._first = False

    def write(self, output: Path, outcome: Outcome, spec: ModelSpec) -> None:
        """Write summary.csv and summary.json into `output`, each whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        with (
            atomic_write(output / SUMMARY_CSV) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["scan", "status", "slices", *_MEASUREMENTS, "side", "warnings"])
            _copy(self._table, file)
            for failure in outcome.failures:
                empty = [""] * (2 + len(_MEASUREMENTS))
                rows.writerow([_text(failure.path), "failed", *empty, _text(failure.reason)])
        model = {"name": spec.name, "recipe": spec.recipe, "files": spec.files, "data_licence": spec.data_licence}
        failures = [{"path": _text(each.path), "reason": _text(each.reason)} for each in outcome.failures]
        with atomic_write(output / SUMMARY_JSON) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(f'{{\n  "model": {_json(model)},\n  "formulas": {_json(_FORMULAS)},\n  "scans": [')
            _copy(self._entries, file)
            file.write(f'\n  ],\n  "failures": {_json(failures)}\n}}\n')


@contextmanager
def summary_rows() -> Iterator[SummaryRows]:
    """Rows that lie in a temporary file until `write`, and vanish with the block."""
    with (
        tempfile.SpooledTemporaryFile(_BUFFERED, "w+", newline="", encoding="utf-8") as table,
        tempfile.SpooledTemporaryFile(_BUFFERED, "w+", encoding="utf-8") as entries,
    ):
        yield SummaryRows(table, entries)


def result_of_masks(scan: str, sources: tuple[Path, ...], masks: tuple[Path, ...], mask: Mask) -> Result:
    """The result of a scan whose masks are there already; of its probability and place nothing is known.

    Args:
        mask: (slices, height, width) uint8.
    """
    return Result(scan, "kept", sources, masks, measure_slices(mask), measure(mask))


def _entry(result: Result) -> dict[str, Any]:
    numbers = {name: None if math.isnan(value) else value for name, value in result.measurements.items()}
    slices = result.slices
    known = {"slice_mm2": [round(area, 4) for area in slices.areas]} if slices.areas else {}
    unit = "mm" if slices.areas else "pixels"
    known[f"slice_diameters_{unit}"] = [round(width, 4) for width in slices.diameters]
    return {
        "id": _text(result.id),
        "status": result.status,
        "sources": [_text(path) for path in result.sources],
        "masks": [_text(path) for path in result.masks],
        "slice_pixels": list(slices.pixels),
        **known,
        "measurements": numbers,
        "side": side(result.measurements) or None,
        "warnings": [warning.as_json() for warning in result.warnings],
    }


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")


def _copy(source: Any, target: Any) -> None:
    source.seek(0)
    while part := source.read(_BUFFERED):
        target.write(part)
    source.seek(0, os.SEEK_END)


def _text(name: Path | str) -> str:
    """A file's name as text, even where its bytes are none."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")
