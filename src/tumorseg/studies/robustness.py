"""Robustness: how much Dice is left when the same scans come worse than those that were trained on."""

import csv
import logging
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, read_split
from tumorseg.datasets.store import prepare
from tumorseg.disturbances import Scale, scale_of
from tumorseg.errors import DataError, ModelError, few
from tumorseg.evaluation.evaluate import Chosen, choose_scans
from tumorseg.evaluation.judged_scans import with_references
from tumorseg.evaluation.readings import count_reading
from tumorseg.evaluation.tally import shown_channel
from tumorseg.evaluation.unseen import refuse_seen
from tumorseg.files import atomic_write, write_json, write_text
from tumorseg.inference.model import Model, read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.runtime import Device
from tumorseg.metrics.overlap import Confusion, confusion
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan
from tumorseg.studies.arm import Arm, open_arm
from tumorseg.studies.compare import labels_of
from tumorseg.studies.output import refuse_unusable
from tumorseg.studies.robustness_cases import Case, families_of
from tumorseg.studies.robustness_result import (
    UNDISTURBED,
    Robustness,
    Shot,
    as_json,
    case_rows,
    patient_rows,
    slice_shot,
)

logger = logging.getLogger(__name__)

OUTPUTS = ("robustness.json", "robustness.csv", "patients.csv", "report.html")
"""What a robustness study leaves."""


def disturb_runs(
    runs: Sequence[Path],
    output: Path,
    *,
    part: str = "val",
    data: Path | None = None,
    only: Collection[str] = (),
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Robustness:
    """Judge runs on one part of their split, undisturbed and disturbed in every way and strength.

    Every model sees the same disturbed pixels. Looking at the test part counts as one reading of it under each run.

    Args:
        runs: folders that `tumorseg train` wrote, of which the part holds the same patients.
        output: a folder that is new, empty or an earlier study of this kind.
        part: "val", "test" or "train".
        data: the data set; None takes the one that the first run was trained on.
        only: keys of the disturbances that are wanted; none means all.
        device: auto, cpu or cuda.
        command: what the user typed, for the record.
        progress: watches the scans go by.

    Returns:
        What was written to robustness.json, robustness.csv, patients.csv and report.html.

    Raises:
        ModelError: no run, or one that is none or has not ended.
        DataError: the part differs from run to run, is empty, or an ensemble has seen it; the data is missing.
        RecipeError: `only` names what is no disturbance.
        OutputError: the output holds something else, or cannot be written.
    """
    if not runs:
        raise ModelError("there is no run to judge", next_step="give a folder that tumorseg train wrote")
    runtime = next((each for each in get_args(Device) if each == device), None)
    if runtime is None:
        raise ModelError(f"there is no device '{device}'", next_step=f"choose one of {', '.join(get_args(Device))}")
    arms = [open_arm(label, Path(run)) for label, run in zip(labels_of(runs), runs, strict=True)]
    refuse_unusable(output, OUTPUTS, study="a robustness study")
    models = {arm.label: read_model(arm.run) for arm in arms}
    store = prepare(_data_of(arms[0], data), progress=progress)
    chosen = _same_scans(arms, models, store, part)
    families = families_of(_sequences(store, models), only)
    logger.info(
        "%d patients, %d models, %d cases each", chosen.patients, len(arms), sum(len(each.cases) for each in families)
    )
    gathered = _Gathered(chosen.scans, [case for family in families for case in family.cases])
    work = gathered.answers({arm.label: Predictor(models[arm.label], device=runtime) for arm in arms})
    total = len(arms) * (1 + len(gathered.cases)) * len(chosen.scans)
    for _ in progress.track(work, what="Segmenting disturbed scans", total=total):
        pass
    readings = {}
    if part == "test":
        # Counted before anything is written, so that a score cannot be seen uncounted.
        for arm in arms:
            readings[arm.label] = count_reading(
                arm.run, dataset=store.name, store_digest=store.digest, patients=chosen.patients
            )
    patients = tuple(sorted({scan.patient for scan in chosen.scans}))
    found = Robustness(
        dataset=store.name,
        store_digest=store.digest,
        part=chosen.population,
        arms=tuple(arms),
        families=families,
        patients=patients,
        counts=gathered.by_patient(patients),
        shown=gathered.shown,
        readings=readings,
        trained_on={arm.label: _trained_on(arm, models[arm.label], store, chosen) for arm in arms},
        missing_patients=chosen.missing,
        command=shlex.join(command),
    )
    found = replace(found, shots=gathered.shots_with_dice(found, arms[0].label))
    write(output, found)
    return found


def write(output: Path, found: Robustness) -> None:
    """Write the four files of a study, each whole or not at all."""
    from tumorseg.studies.robustness_page import render

    write_json(output / "robustness.json", as_json(found))
    _write_table(output / "robustness.csv", case_rows(found))
    _write_table(output / "patients.csv", patient_rows(found))
    write_text(output / "report.html", render(found))


@dataclass(eq=False)
class _Gathered:
    """Counts of every model on every scan in every case, and pictures of one slice; nothing else is kept."""

    scans: Sequence[Scan]
    cases: Sequence[Case]
    counts: dict[tuple[str, str, str], list[Confusion]] = field(default_factory=dict)
    shots: dict[str, Shot] = field(default_factory=dict)
    shown: tuple[str, str, int] = ("", "", 0)

    def answers(self, predictors: Mapping[str, Predictor]) -> Iterator[None]:
        """Segment everything; one item a scan, model and case."""
        scan_id, index = self._choose_picture()
        scales = {scan.id: scale_of(scan.pixels) for scan in self.scans}
        for label, predictor in predictors.items():
            first = label == next(iter(predictors))
            for key, scans in self._disturbed(scales):
                for segmentation, reference in with_references(predictor.segment_all(scans)):
                    scan = segmentation.scan
                    counted = confusion(segmentation.mask, reference)
                    self.counts.setdefault((label, key, scan.patient), []).append(counted)
                    if first and scan.id == scan_id:
                        image = shown_channel(scan)[index]
                        self.shots[key] = slice_shot(image, reference[index], segmentation.mask[index])
                    yield

    def by_patient(self, patients: Sequence[str]) -> dict[tuple[str, str], Confusion]:
        """The counts of each patient's scans together, (patients,), by model and case."""
        keys = dict.fromkeys((label, key) for label, key, _ in self.counts)
        return {
            (label, key): Confusion(
                *(
                    np.array(
                        [sum(int(getattr(one, name)) for one in self.counts[label, key, each]) for each in patients]
                    )
                    for name in ("tp", "fp", "fn", "tn")
                )
            )
            for label, key in keys
        }

    def shots_with_dice(self, found: Robustness, label: str) -> dict[str, Shot]:
        """The pictures, each with its patient's Dice by one model."""
        index = found.patients.index(found.shown[0])
        return {key: replace(shot, dice=float(found.dice(label, key)[index])) for key, shot in self.shots.items()}

    def _disturbed(self, scales: Mapping[str, Scale]) -> Iterator[tuple[str, Iterator[Scan]]]:
        # Copies, since a scan keeps its pixels once read: only those on their way are in memory.
        yield UNDISTURBED, (replace(scan) for scan in self.scans)
        for case in self.cases:
            yield case.key, _changed(self.scans, case, scales)

    def _choose_picture(self) -> tuple[str, int]:
        """The scan whose tumour is of middle size, and its slice that shows most of it.

        Raises:
            DataError: a scan has no reference mask.
        """
        sizes = []
        for scan in self.scans:
            if scan.reference is None:
                raise DataError(f"{scan.id} has no reference mask", next_step="judge only scans that have one")
            pixels = np.count_nonzero(scan.reference, axis=(1, 2))
            sizes.append((int(pixels.sum()), int(pixels.argmax())))
        order = sorted(range(len(sizes)), key=lambda each: sizes[each][0])
        chosen = order[len(order) // 2]
        scan, index = self.scans[chosen], sizes[chosen][1]
        self.shown = (scan.patient, scan.id, scan.slice_numbers[index] if scan.slice_numbers else index + 1)
        return scan.id, index


def _changed(scans: Iterable[Scan], case: Case, scales: Mapping[str, Scale]) -> Iterator[Scan]:
    for scan in scans:
        yield case.change(replace(scan), scales[scan.id])


def _same_scans(arms: Sequence[Arm], models: Mapping[str, Model], store: Store, part: str) -> Chosen:
    """The scans of the part, which must be of the same patients under every run's split."""
    known = next((each for each in PARTS if each == part), None)
    if known is None:
        raise DataError(f"there is no part '{part}'", next_step=f"choose one of {', '.join(PARTS)}")
    found = []
    for arm in arms:
        split = read_split(arm.run / "split.csv")
        refuse_seen(arm.run, arm.environment, split, models[arm.label].spec.training_patients, store, known)
        found.append(choose_scans(store, split, known))
    first = found[0]
    for arm, other in zip(arms[1:], found[1:], strict=True):
        if [scan.id for scan in other.scans] != [scan.id for scan in first.scans]:
            raise DataError(
                f"the part {part} of {arms[0].run} and that of {arm.run} are of different patients",
                next_step="judge runs together that were trained on one split",
            )
    if first.missing:
        logger.warning("%d patients of the part are not in this data set: %s", len(first.missing), few(first.missing))
    return first


def _sequences(store: Store, models: Mapping[str, Model]) -> tuple[str, ...]:
    """The data set's sequences that any of the models takes."""
    wanted = {name for model in models.values() for name in model.spec.channels}
    return tuple(name for name in store.channels if name in wanted)


def _data_of(arm: Arm, data: Path | None) -> Path:
    folder = Path(data) if data is not None else Path(arm.environment.get("data") or "")
    if data is None and (not arm.environment.get("data") or not folder.is_dir()):
        raise DataError(f"the data of {arm.run} is not at {folder}", next_step="give it with --data DIR")
    return folder


def _trained_on(arm: Arm, model: Model, store: Store, chosen: Chosen) -> tuple[str, ...]:
    """Scans that are pixel for pixel training scans of the model, as `evaluate` tells."""
    if chosen.population == "train" or read_split(arm.run / "split.csv").unit != "patient":
        return ()
    digests, trained = {entry.id: entry.digest for entry in store.stored}, set(model.spec.training_patients)
    leaked = tuple(scan.id for scan in chosen.scans if digests[scan.id] in trained)
    if leaked:
        logger.warning("%s: %d scans are pixel for pixel training scans: %s", arm.label, len(leaked), few(leaked))
    return leaked


def _write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(listed[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(listed)
