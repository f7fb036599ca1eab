"""Counts of slices that evaluations left behind, found and put together again."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg.errors import DataError, few
from tumorseg.metrics.overlap import Confusion
from tumorseg.studies.entries import label_of
from tumorseg.studies.output import RUNS

_POPULATIONS = {"test": ("test", "external"), "val": ("val",), "train": ("train",)}


@dataclass(frozen=True, eq=False)
class SliceTable:
    """The content of slices.csv of one evaluation, or of several that judged different patients.

    Attributes:
        patients, numbers: of each slice, in the table's order.
        counts: (slices,).
    """

    patients: tuple[str, ...]
    numbers: tuple[int, ...]
    counts: Confusion

    @property
    def scans(self) -> tuple[str, ...]:
        """A name for the scan of each slice: numbers rise within a scan, so that one that does not begins the next."""
        names, scan, before = [], 0, ("", 0)
        for patient, number in zip(self.patients, self.numbers, strict=True):
            if patient != before[0]:
                scan = 0
            elif number <= before[1]:
                scan += 1
            before = patient, number
            names.append(f"{patient}/{scan}")
        return tuple(names)

    @classmethod
    def joined(cls, parts: "Sequence[SliceTable]") -> "SliceTable":
        """Several tables one after the other."""
        return cls(
            tuple(name for part in parts for name in part.patients),
            tuple(number for part in parts for number in part.numbers),
            Confusion.joined([part.counts for part in parts]),
        )


def evaluations_in(folder: Path, part: str) -> tuple[list[list[Path]], int]:
    """The evaluation folders, seed by seed, and how many each seed is to have."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}", next_step="give an evaluation, a run or a cross-validation")
    if (folder / "slices.csv").is_file():
        return [[folder]], 1
    if (folder / "study.json").is_file() and (folder / RUNS).is_dir():
        return _of_study(folder)
    return [[_of_run(folder, part)]], 1


def _of_run(run: Path, part: str) -> Path:
    if part not in _POPULATIONS:
        raise DataError(f"there is no part '{part}'", next_step=f"choose one of {', '.join(_POPULATIONS)}")
    known = sorted(path.parent for path in (run / "evaluation").glob("[!.]*/metrics.json"))
    if not known:
        a_run = (run / "environment.json").is_file()
        raise DataError(
            f"{run} holds no evaluation",
            next_step=f"run tumorseg evaluate {run} first"
            if a_run
            else "give an evaluation, a run that was evaluated or a cross-validation",
        )
    for place in known:
        protocol = read_metrics(place).get("protocol", {})
        if protocol.get("part") in _POPULATIONS[part] and not protocol.get("change"):
            return place
    raise DataError(
        f"{run} was not evaluated on the part {part}, but as {few([place.name for place in known])}",
        next_step=f"run tumorseg evaluate {run} --part {part}, or name another part",
    )


def _of_study(study: Path) -> tuple[list[list[Path]], int]:
    try:
        plan = json.loads((study / "study.json").read_text(encoding="utf-8"))
        names, seeds = list(plan["folds"]), list(plan["seeds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{study / 'study.json'} is damaged", next_step="give a cross-validation that is whole"
        ) from error
    found = []
    for seed in seeds:
        runs = [study / RUNS / f"{label_of(name)}-seed-{seed}" for name in names]
        if places := [_of_run(run, "test") for run in runs if any(run.glob("evaluation/[!.]*/metrics.json"))]:
            found.append(places)
    if not found:
        raise DataError(f"no fold of {study} was judged yet", next_step="wait for the first, or go on with --resume")
    whole = [places for places in found if len(places) == len(names)]
    return (whole or found[:1]), len(names)


def read_metrics(folder: Path) -> Mapping[str, Any]:
    """The content of metrics.json.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_whole(folder) from error
    if not isinstance(found, Mapping):
        raise _not_whole(folder)
    return found


def _not_whole(folder: Path) -> DataError:
    return DataError(f"{folder} is not a whole evaluation", next_step="evaluate again")


def read_table(folder: Path) -> SliceTable:
    """Read slices.csv of an evaluation.

    Raises:
        DataError: it is missing, empty or damaged.
    """
    try:
        with open(folder / "slices.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        counts = Confusion(*(np.array([int(row[name]) for row in rows], np.int64) for name in ("tp", "fp", "fn", "tn")))
        table = SliceTable(
            tuple(row["patient"] for row in rows), tuple(int(row["slice_number"]) for row in rows), counts
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_whole(folder) from error
    if not rows or any((each < 0).any() for each in (counts.tp, counts.fp, counts.fn, counts.tn)):
        raise _not_whole(folder)
    return table


def refuse_twice(places: Sequence[Path]) -> None:
    """Raise DataError where two evaluations of one study judged the same patient."""
    owners = Counter(name for place in places for name in set(read_table(place).patients))
    if doubled := sorted(name for name, count in owners.items() if count > 1):
        raise DataError(
            f"more than one fold judged {few(doubled)}", next_step="give the folds of one study, each patient once"
        )
