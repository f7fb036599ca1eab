"""summary.csv for people, one row a scan; summary.json for programs, with every slice and every failure."""

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tumorseg.errors import few
from tumorseg.files import atomic_write, write_json
from tumorseg.inference.inputs import Failure, InputScan
from tumorseg.inference.measure import measure, slice_areas
from tumorseg.inference.model import ModelSpec
from tumorseg.scan import Mask

SUMMARY_CSV, SUMMARY_JSON = "summary.csv", "summary.json"
_MEASUREMENTS = (
    "tumour_voxels",
    "tumour_slices",
    "largest_slice_pixels",
    "components",
    "largest_component_voxels",
    "mean_probability",
)


@dataclass(frozen=True)
class Result:
    """One scan that has its masks.

    Attributes:
        id: of the scan.
        status: "segmented" now, or "kept" from an earlier run.
        sources: its image files.
        masks: the mask of each source, relative to the output folder.
        areas: tumour pixels of each slice.
        measurements: see `measure`.
        warnings: one line each.
    """

    id: str
    status: Literal["segmented", "kept"]
    sources: tuple[Path, ...]
    masks: tuple[Path, ...]
    areas: tuple[int, ...]
    measurements: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of all inputs.

    Attributes:
        results: scans that have their masks, in the order of the listing.
        failures: files that have none, and why.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]

    def warning_lines(self) -> list[str]:
        """Each warning once, with the scans that it is about; of many scans the first few."""
        about: dict[str, list[str]] = {}
        for result in self.results:
            for warning in result.warnings:
                about.setdefault(warning, []).append(_text(result.id))
        return [f"{few(scans)}: {warning}" for warning, scans in about.items()]


def result_of_masks(entry: InputScan, mask: Mask) -> Result:
    """The result of a scan whose masks are there already; of their probability nothing is known.

    Args:
        mask: (slices, height, width) uint8.
    """
    areas = tuple(map(int, slice_areas(mask)))
    return Result(entry.id, "kept", entry.sources, entry.targets, areas, measure(mask))


def write_summary(output: Path, outcome: Outcome, spec: ModelSpec) -> None:
    """Write summary.csv and summary.json into `output`, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    with (
        atomic_write(output / SUMMARY_CSV) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["scan", "status", "slices", *_MEASUREMENTS, "warnings"])
        for result in outcome.results:
            numbers = [_cell(result.measurements.get(name)) for name in _MEASUREMENTS]
            slices = len(result.areas)
            writer.writerow([_text(result.id), result.status, slices, *numbers, "; ".join(result.warnings)])
        for failure in outcome.failures:
            empty = [""] * (1 + len(_MEASUREMENTS))
            writer.writerow([_text(failure.path), "failed", *empty, _text(failure.reason)])
    write_json(
        output / SUMMARY_JSON,
        {
            "model": {"name": spec.name, "recipe": spec.recipe, "files": spec.files, "data_licence": spec.data_licence},
            "scans": [_entry(result) for result in outcome.results],
            "failures": [{"path": _text(each.path), "reason": _text(each.reason)} for each in outcome.failures],
        },
    )


def _entry(result: Result) -> dict[str, Any]:
    numbers = {name: None if math.isnan(value) else value for name, value in result.measurements.items()}
    return {
        "id": _text(result.id),
        "status": result.status,
        "sources": [_text(path) for path in result.sources],
        "masks": [_text(path) for path in result.masks],
        "slice_pixels": list(result.areas),
        "measurements": numbers,
        "warnings": list(result.warnings),
    }


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _text(name: Path | str) -> str:
    """A file's name as text, even where its bytes are none."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")
