"""Published practices re-judged on one's own masks: what other definitions, and a split by slice, make of them."""

import csv
import json
import logging
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg import __version__
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError
from tumorseg.evaluation import practices as definitions
from tumorseg.evaluation.judgement import json_ready
from tumorseg.evaluation.practices import JudgedSlices, Practice
from tumorseg.evaluation.practices_page import practice_row
from tumorseg.files import atomic_write, write_json, write_text
from tumorseg.metrics.aggregate import file_order
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.metrics.neighbours import FOLDS, copied_from_neighbours
from tumorseg.metrics.overlap import Confusion
from tumorseg.progress import Progress, silent
from tumorseg.studies.output import refuse_unusable
from tumorseg.studies.stored_slices import SliceTable, evaluations_in, read_metrics, read_table, refuse_twice

logger = logging.getLogger(__name__)

OUTPUTS = ("practices.json", "practices.csv", "report.html")
"""What re-judging leaves."""


@dataclass(frozen=True, eq=False)
class Rejudged:
    """The same masks under every definition.

    Attributes:
        source: what was re-judged, as it was given.
        protocol: of its evaluation, or of its first fold's.
        folds: evaluations that were put together for each training seed; 1 for a single evaluation.
        expected_folds: that the study is to have.
        seeds: trainings whose scores were averaged.
        patients, slices: how many.
        practices: see there.
        audit: scores of audit.json, a training under either split; empty where none was given.
        command: that made it.
    """

    source: str
    protocol: Mapping[str, Any]
    folds: int
    expected_folds: int
    seeds: int
    patients: int
    slices: int
    practices: tuple[Practice, ...]
    audit: Mapping[str, Mapping[str, Any]]
    command: str = ""


def rejudge(
    folder: Path,
    output: Path,
    *,
    part: str = "test",
    data: Path | None = None,
    audit: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Rejudged:
    """Score stored evaluations under every definition; no model runs, so that no part is read anew.

    Args:
        folder: an evaluation, a run that was evaluated, or a cross-validation, finished or not.
        output: a folder that is new, empty or an earlier study of this kind.
        part: of a run, which evaluation: "test", "val" or "train".
        data: the data set that was judged, from whose references copying is scored; None takes the run's own, and
            leaves copying out where that is not there.
        audit: a folder that `tumorseg audit-leakage` wrote; None leaves the split by slice to copying.
        command: what was typed, for the record.
        progress: watches the data set being prepared.

    Returns:
        What was written to practices.json, practices.csv and report.html.

    Raises:
        DataError: there is no whole evaluation of that part, one patient was judged twice, or the audit is none.
        OutputError: the output holds something else, or cannot be written.
    """
    folder = Path(folder)
    refuse_unusable(output, OUTPUTS, study="a study of practices")
    leaks = _read_audit(Path(audit)) if audit is not None else {}
    seeds, expected = evaluations_in(folder, part)
    first = seeds[0][0]
    protocol = read_metrics(first).get("protocol", {})
    tables = [SliceTable.joined([read_table(place) for place in places]) for places in seeds]
    for places in seeds:
        refuse_twice(places)
    if len(seeds[0]) < expected:
        logger.warning("%d of %d folds are there: these are not all patients", len(seeds[0]), expected)
    copied = _copied(tables[0], _data_of(first, data), progress)
    judged = [_in_file_order(table, copied if index == 0 else None) for index, table in enumerate(tables)]
    found = Rejudged(
        source=str(folder),
        protocol=protocol,
        folds=len(seeds[0]),
        expected_folds=expected,
        seeds=len(seeds),
        patients=len(set(tables[0].patients)),
        slices=len(tables[0].patients),
        practices=definitions.practices(judged),
        audit=leaks,
        command=shlex.join(command),
    )
    write(output, found)
    return found


def write(output: Path, found: Rejudged) -> None:
    """Write practices.json, practices.csv and report.html, each whole or not at all."""
    from tumorseg.studies.practices_page import render

    write_json(output / "practices.json", as_json(found))
    rows = [_row(one) for one in found.practices]
    with (
        atomic_write(output / "practices.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_text(output / "report.html", render(found))


def as_json(found: Rejudged) -> dict[str, Any]:
    """The content of practices.json; null where a number is undefined or not known."""
    content = {
        "tumorseg": __version__,
        "source": found.source,
        "dataset": found.protocol.get("dataset"),
        "part": found.protocol.get("part"),
        "patients": found.patients,
        "slices": found.slices,
        "folds": found.folds,
        "expected_folds": found.expected_folds,
        "seeds": found.seeds,
        "practices": definitions.as_json(found.practices),
        "audit": dict(found.audit),
        "statistics": {
            "interval": {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95},
            "copied": {"folds": FOLDS, "seed": SEED},
        },
        "command": found.command,
    }
    ready: dict[str, Any] = json_ready(content)
    return ready


def summary_rows(found: Rejudged) -> list[tuple[str, ...]]:
    """The table that people read on the terminal, its heading first."""
    headline = found.practices[0].value
    rows = [practice_row(one, headline) for one in found.practices]
    head = ("Dice, counted …", "these masks", "95 %", "nothing marked", "copied", "perfect")
    return [head, *((row.label, row.value, row.interval, row.all_empty, row.copied, row.perfect) for row in rows)]


def _in_file_order(table: SliceTable, copied: Confusion | None) -> JudgedSlices:
    order = file_order(table.scans, table.numbers)
    return JudgedSlices(
        tuple(table.patients[index] for index in order),
        table.counts.take(order),
        None if copied is None else copied.take(order),
    )


def _data_of(evaluation: Path, data: Path | None) -> Path | None:
    """The data set that was judged; of a run, the one of its training, where it is still there."""
    if data is not None:
        return Path(data)
    try:
        environment = json.loads((evaluation.parent.parent / "environment.json").read_text(encoding="utf-8"))
        known = Path(environment["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if known.is_dir() else None


def _copied(table: SliceTable, data: Path | None, progress: Progress) -> Confusion | None:
    """Counts of copied masks in the table's order; None where the references are not at hand."""
    if data is None:
        logger.warning("the references are not at hand, so copying is left out: give the data set with --data")
        return None
    store = prepare(data, progress=progress)
    wanted: dict[str, int] = Counter(table.patients)
    found: dict[str, list[Confusion]] = defaultdict(list)
    for entry in sorted(store.stored, key=lambda entry: entry.id):
        if entry.patient in wanted:
            # In the order of the numbers, as the table has them.
            order = np.argsort(np.asarray(entry.slice_numbers), kind="stable")
            found[entry.patient].append(copied_from_neighbours(store.masks(entry)[order], entry.id))
    joined = Confusion.joined([part for patient in dict.fromkeys(table.patients) for part in found[patient]])
    if not np.array_equal(joined.reference, table.counts.reference):
        logger.warning("%s does not hold the references that were judged, so copying is left out", data)
        return None
    if all(len(part.tp) == 1 for parts in found.values() for part in parts):
        return None
    return joined


def _read_audit(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        found = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        scores = {
            key: {name: one[name] for name in ("by_slice", "by_patient", "leakage", "ci95")}
            for key, one in found["scores"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a leakage audit", next_step="give a folder that tumorseg audit-leakage wrote"
        ) from error
    return scores


def _row(one: Practice) -> dict[str, Any]:
    low, high = one.interval or (float("nan"), float("nan"))
    row = {
        "key": one.key,
        "value": one.value,
        "low": low,
        "high": high,
        "all_empty": one.all_empty,
        "copied": one.copied,
        "perfect": one.perfect,
    }
    return {name: "" if value != value else value for name, value in row.items()}
