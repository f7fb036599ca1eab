"""Robustness: how much Dice is left when the same scans come worse than those that were trained on."""

import csv
import logging
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from tumorseg import __version__
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, ModelError, few
from tumorseg.evaluation.evaluate import Chosen, choose_scans
from tumorseg.evaluation.readings import count_reading
from tumorseg.evaluation.unseen import refuse_seen
from tumorseg.files import atomic_write, write_json, write_text
from tumorseg.inference.model import Model, read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.runtime import Device
from tumorseg.progress import Progress, silent
from tumorseg.studies.arm import Arm, open_arm
from tumorseg.studies.compare import labels_of
from tumorseg.studies.output import refuse_unusable
from tumorseg.studies.robustness_cases import families_of
from tumorseg.studies.robustness_result import Robustness, as_json, case_rows, patient_rows
from tumorseg.studies.robustness_work import Gathered
from tumorseg.studies.unfinished import FOLDER, begin, note_readings, readings_of

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
    resume: bool = False,
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
        resume: go on with the unfinished study in `output`: cases that are whole are kept.
        command: what the user typed, for the record.
        progress: watches the scans go by.

    Returns:
        What was written to robustness.json, robustness.csv, patients.csv and report.html.

    Raises:
        ModelError: no run, or one that is none or has not ended.
        DataError: the part differs from run to run, is empty, or an ensemble has seen it; the data is missing.
        RecipeError: `only` names what is no disturbance.
        OutputError: the output holds something else, an unfinished study and `resume` is not given, or another one;
            or it cannot be written.
    """
    if not runs:
        raise ModelError("there is no run to judge", next_step="give a folder that tumorseg train wrote")
    runtime = next((each for each in get_args(Device) if each == device), None)
    if runtime is None:
        raise ModelError(f"there is no device '{device}'", next_step=f"choose one of {', '.join(get_args(Device))}")
    arms = [open_arm(label, Path(run)) for label, run in zip(labels_of(runs), runs, strict=True)]
    refuse_unusable(output, (*OUTPUTS, FOLDER), study="a robustness study")
    models = {arm.label: read_model(arm.run) for arm in arms}
    store = prepare(_data_of(arms[0], data), progress=progress)
    chosen = _same_scans(arms, models, store, part)
    families = families_of(_sequences(store, models), only)
    logger.info(
        "patients: %d, models: %d, cases for each: %d",
        chosen.patients,
        len(arms),
        1 + sum(len(each.cases) for each in families),
    )
    plan = _plan(models, store, chosen)
    work, begun = begin(output, plan, plan["scans"], resume=resume)
    gathered = Gathered(chosen.scans, [case for family in families for case in family.cases], work)
    readings = readings_of(output)
    if part == "test" and not readings:
        # Counted before anything is written, so that a score cannot be seen uncounted; and once for all starts.
        for arm in arms:
            readings[arm.label] = count_reading(
                arm.run, dataset=store.name, store_digest=store.digest, patients=chosen.patients
            )
        note_readings(output, readings)
    labels = [arm.label for arm in arms]
    total = gathered.recall(labels)
    if begun:
        logger.info("%d of %d cases are there", len(gathered.counts), len(labels) * len(gathered.keys))
    answers = gathered.answers({label: Predictor(models[label], device=runtime) for label in labels})
    for _ in progress.track(answers, what="Segmenting disturbed scans", total=total):
        pass
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
    work.finish()
    return found


def _plan(models: Mapping[str, Model], store: Store, chosen: Chosen) -> dict[str, Any]:
    """What makes counts of an earlier start the same as those of this one."""
    return {
        "tumorseg": __version__,
        "models": {label: model.spec.model_dump(mode="json") for label, model in models.items()},
        "data": store.digest,
        "part": chosen.population,
        "scans": [scan.id for scan in chosen.scans],
    }


def write(output: Path, found: Robustness) -> None:
    """Write the four files of a study, each whole or not at all."""
    from tumorseg.studies.robustness_page import render

    write_json(output / "robustness.json", as_json(found))
    _write_table(output / "robustness.csv", case_rows(found))
    _write_table(output / "patients.csv", patient_rows(found))
    write_text(output / "report.html", render(found))


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
