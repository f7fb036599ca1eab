"""Judge the model of a run folder on one part of its split, and leave scores, tables and a report."""

import csv
import logging
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorseg import __version__
from tumorseg.datasets.lgg import read_clinical
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, Part, Split, read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, OutputError, few
from tumorseg.evaluation.facts import RunFacts
from tumorseg.evaluation.judged_scans import judge_scans
from tumorseg.evaluation.judgement import write_judgement
from tumorseg.evaluation.readings import count_reading
from tumorseg.evaluation.strata import traits_of, with_strata
from tumorseg.evaluation.unseen import refuse_seen
from tumorseg.files import atomic_folder, unwritable
from tumorseg.inference.run_folder import read_environment
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

logger = logging.getLogger(__name__)

OUTPUTS = frozenset({"metrics.json", "patients.csv", "slices.csv", "report.html", "predictions.png"})
"""What an evaluation leaves; a folder that holds nothing else is one and may be replaced."""

EXTERNAL = "external"
"""Stands for the part when the data set shares no patient with the split: all of it is judged."""


@dataclass(frozen=True)
class Chosen:
    """The scans that are judged.

    Attributes:
        population: "train", "val", "test" or "external".
        missing: patients of that part of whom the data set has no scan.
    """

    scans: tuple[Scan, ...]
    population: str
    missing: tuple[str, ...] = ()

    @property
    def patients(self) -> int:
        """How many patients they are of."""
        return len({scan.patient for scan in self.scans})


def evaluate_run(
    run: Path,
    part: str = "test",
    data: Path | None = None,
    output: Path | None = None,
    *,
    change: Callable[[Scan], Scan] | None = None,
    change_name: str = "",
    progress: Progress = silent,
) -> Path:
    """Segment one part of a run's split, as volumes and slice by slice, and judge it by patient.

    Args:
        run: a folder that `tumorseg train` wrote.
        part: "test", "val" or "train".
        data: the data set; None takes the one that the run was trained on. Of a data set without any patient of
            the split, every patient is judged, as test patients.
        output: a folder that is new, empty or an earlier evaluation; None takes RUN/evaluation/<data set>-<part>.
        change: what is done to each scan and its reference before it is judged, such as augmentation.
        change_name: of that, for the protocol and the folder's name.
        progress: watches the scans go by.

    Returns:
        The folder that now holds metrics.json, patients.csv, slices.csv, report.html and predictions.png.

    Raises:
        DataError: the data set or the part is missing, empty or not whole.
        ModelError: `run` is not a run folder with a whole model.
        OutputError: the output holds something else, or cannot be written.
    """
    from tumorseg.evaluation.report import write_report
    from tumorseg.inference.model import read_model
    from tumorseg.inference.predictor import Predictor

    run = Path(run)
    environment = read_environment(run)
    split = read_split(run / "split.csv")
    known_part = _known(part)
    if output is not None:
        refuse_unusable(Path(output))
    model = read_model(run)
    folder_of_data = _data_folder(run, environment, data)
    store = prepare(folder_of_data, progress=progress)
    refuse_seen(run, environment, split, model.spec.training_patients, store, known_part)
    chosen = choose_scans(store, split, known_part)
    dataset = store.name
    folder_name = "-".join(filter(None, (dataset, chosen.population, change_name)))
    target = Path(output) if output is not None else run / "evaluation" / folder_name
    refuse_unusable(target)
    protocol = _protocol(run, model.spec.model_dump(mode="json"), store, chosen, dataset, split.unit)
    if change is not None:
        protocol["change"] = change_name
        chosen = replace(chosen, scans=tuple(change(scan) for scan in chosen.scans))
    if missing := protocol["missing_patients"]:
        logger.warning("%d patients of the part are not in this data set: %s", len(missing), few(missing))
    if leaked := protocol["trained_on"]:
        logger.warning("%d scans are pixel for pixel training scans: %s", len(leaked), few(leaked))
    segmented = len(model.spec.classes) > 1
    if segmented and model.spec.classes != store.classes:
        raise DataError(
            f"the model tells {', '.join(model.spec.classes)} apart, the references hold {', '.join(store.classes)}",
            next_step="judge it on data of its own classes",
        )
    judgement, examples = judge_scans(
        Predictor(model), chosen.scans, protocol, classes=store.classes, segmented=segmented, progress=progress
    )
    readings = None
    if known_part == "test":
        # Counted before anything is written, so that a score cannot be seen uncounted.
        readings = count_reading(run, dataset=dataset, store_digest=store.digest, patients=chosen.patients)
        counted = {**judgement.metrics["protocol"], "test_readings": readings}
        judgement = replace(judgement, metrics={**judgement.metrics, "protocol": counted})
    judgement = with_strata(judgement, traits_of(chosen.scans, _clinical(store.kind, folder_of_data)))
    facts = _facts(run, environment, split, known_part, dataset, readings)
    with replaced(target) as folder:
        write_judgement(folder, judgement)
        write_report(folder, run=facts, judgement=judgement, examples=examples)
    return target


def choose_scans(store: Store, split: Split, part: Part) -> Chosen:
    """The scans of one part; of a data set without any patient of the split, all of them as test scans.

    Raises:
        DataError: none is left, or a part other than test is asked of foreign patients.
    """
    if not any(len(store.rows(split, each)) for each in PARTS):
        if part != "test":
            raise DataError(
                f"no patient of this data set is in the split, so it has no part {part}",
                next_step="judge it with --part test, or give the data set of the training with --data",
            )
        return Chosen(tuple(store.scans), EXTERNAL)
    found = store.scans_of(split, part)
    if not found:
        raise DataError(f"the data set holds nothing of the part {part}", next_step="give another with --data")
    present = {scan.patient for scan in found}
    wanted = split.patients(part) if split.unit == "patient" else ()
    return Chosen(tuple(found), part, tuple(patient for patient in wanted if patient not in present))


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of log.csv; what an epoch did not measure is absent. Without a log, none."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if name and value} for row in rows]


def _clinical(kind: str, folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Rows of data.csv by patient, where the data set has such a table."""
    return read_clinical(folder) if kind == "lgg" and folder.is_dir() else {}


def _known(part: str) -> Part:
    for known in PARTS:
        if known == part:
            return known
    raise DataError(f"there is no part '{part}'", next_step=f"choose one of {', '.join(PARTS)}")


def _data_folder(run: Path, environment: Mapping[str, Any], data: Path | None) -> Path:
    if data is not None:
        return Path(data)
    remembered = environment.get("data")
    if not remembered or not Path(remembered).is_dir():
        raise DataError(
            f"the data set that {run} was trained on is not at {remembered}", next_step="give it with --data DIR"
        )
    return Path(remembered)


def _protocol(
    run: Path, spec: Mapping[str, Any], store: Store, chosen: Chosen, dataset: str, unit: str
) -> dict[str, Any]:
    """How the scores came about, for whoever compares them with others."""
    digests = {entry.id: entry.digest for entry in store.stored}
    trained = set(spec.get("training_patients") or ())
    # Under a split by slice every scan is partly trained on; that is said once, and not scan by scan.
    unseen = chosen.population != "train" and unit == "patient"
    shown = (
        "name",
        "recipe",
        "normalization",
        "threshold",
        "temperature",
        "test_time_flips",
        "blend",
        "postprocessing",
        "files",
    )
    return {
        "run": run.resolve().name,
        "part": chosen.population,
        "dataset": dataset,
        "store_digest": store.digest,
        "patients": chosen.patients,
        "scans": len(chosen.scans),
        "missing_patients": list(chosen.missing),
        "trained_on": [scan.id for scan in chosen.scans if unseen and digests[scan.id] in trained],
        "model": {key: spec[key] for key in shown if key in spec},
        "classes": list(store.classes),
        "split_unit": unit,
        "single_slice": "every slice segmented by itself",
        "tumorseg": __version__,
    }


def _facts(
    run: Path, environment: Mapping[str, Any], split: Split, part: Part, dataset: str, readings: int | None
) -> RunFacts:
    from tumorseg.recipe_file import load_recipe

    command = environment.get("command") or ""
    parameters = environment.get("parameters")
    return RunFacts(
        name=run.resolve().name,
        recipe=load_recipe(run / "recipe.yaml"),
        environment=environment,
        log=read_log(run / "log.csv"),
        split_counts={name: Counter(split.parts.values())[name] for name in PARTS},
        model_parameters=int(parameters) if parameters else None,
        command=command if isinstance(command, str) else shlex.join(command),
        part=part,
        dataset=dataset,
        readings=readings,
    )


def refuse_unusable(folder: Path) -> None:
    """Raise OutputError unless `folder` can be written and is new, empty or an earlier evaluation."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise OutputError(f"{existing} is not a folder", next_step="choose another --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{existing} cannot be written", next_step="choose another --output")
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if names and not ("metrics.json" in names and names <= OUTPUTS):
        raise OutputError(
            f"{folder} exists and is not an earlier evaluation", next_step="choose another --output, or delete it"
        )


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Fill a new folder beside an earlier evaluation and put it in its place at the end."""
    fresh = folder.with_name(f".{folder.name}.fresh")
    stale = folder.with_name(f".{folder.name}.stale")
    shutil.rmtree(fresh, ignore_errors=True)
    with atomic_folder(fresh) as filled:
        yield filled
    refuse_unusable(folder)
    try:
        shutil.rmtree(stale, ignore_errors=True)
        if folder.exists():
            folder.rename(stale)
        fresh.rename(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    shutil.rmtree(stale, ignore_errors=True)
