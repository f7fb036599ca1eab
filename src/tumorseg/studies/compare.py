"""Compare: several models on the same patients, trained here where they are missing."""

import csv
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, ModelError, RecipeError
from tumorseg.evaluation.evaluate import choose_scans
from tumorseg.files import atomic_write, write_json, write_text
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.runtime import Device
from tumorseg.progress import Progress, silent
from tumorseg.studies.arm import Arm, open_arm
from tumorseg.studies.comparison import Comparison, NotRun, as_json, csv_rows
from tumorseg.studies.cost import cost_of, milliseconds_per_slice, timed_scans
from tumorseg.studies.entries import Entry, label_of
from tumorseg.studies.evaluations import judged
from tumorseg.studies.output import RUNS, refuse_unusable
from tumorseg.studies.scenes import cast_patients, film
from tumorseg.studies.standings import standings
from tumorseg.studies.training_runs import Terms, lacks_weights, train_missing, with_one_split

logger = logging.getLogger(__name__)

OUTPUTS = ("comparison.json", "comparison.csv", "comparison.png", "report.html")
"""What a comparison leaves, beside its runs."""

UNAVAILABLE = "weights unavailable"


def compare_recipes(
    entries: Sequence[Entry],
    data: Path,
    output: Path,
    *,
    parts: Sequence[str] = ("test",),
    minutes: float | None = None,
    fold: int | None = None,
    folds: int | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
    show_bar: bool = False,
) -> Comparison:
    """Train what is missing of several recipes under one split, and compare them.

    Args:
        entries: the recipes; the first one's split is imposed on all.
        data: the data set.
        output: the study's folder; runs go to OUTPUT/runs/<label>. Whole runs in it are kept, others go on.
        parts: which parts are judged; the first one heads the page.
        minutes: training time for each; epochs are chosen by it. None keeps the recipes' epochs.
        fold, folds: fold `fold` of `folds` is the test part.
        device: auto, cpu or cuda, for training and segmenting.
        command: what the user typed, for the record.
        progress: watches scans and patients go by.
        show_bar: show the training's progress bar.

    Returns:
        What was written to comparison.json, comparison.csv, comparison.png and report.html.

    Raises:
        RecipeError: fewer than two recipes, or a number of minutes that is none.
        ModelError: none of the recipes can be trained here.
        OutputError: the output holds something else, or a run of another recipe.
    """
    if len(entries) < 2:
        raise RecipeError("one recipe cannot be compared", next_step="name several: --recipes A,B")
    check_minutes(minutes)
    refuse_unusable(output, OUTPUTS, study="a comparison")
    terms = Terms(data, output / RUNS, minutes, fold, folds, device, command, show_bar)
    store = prepare(data, progress=progress)
    not_run, arms = [], []
    for entry in with_one_split(entries):
        if lacks_weights(entry.recipe):
            logger.warning("%s is not run: %s", entry.label, UNAVAILABLE)
            not_run.append(NotRun(entry.label, entry.recipe.name, UNAVAILABLE))
            continue
        run = train_missing(entry, terms, progress=progress)
        arms.append(open_arm(entry.label, run, changed=entry.changed))
    if not arms:
        raise ModelError(
            "none of the recipes has its ImageNet weights here",
            next_step="bring the weights, or take recipes that end in -scratch",
        )
    return _compared(
        arms,
        parts,
        data,
        store,
        output,
        not_run=not_run,
        minutes=minutes,
        device=device,
        command=command,
        progress=progress,
    )


def compare_runs(
    runs: Sequence[Path],
    output: Path,
    *,
    data: Path | None = None,
    parts: Sequence[str] = ("test",),
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Comparison:
    """Compare runs that are there; see `compare_recipes`.

    Args:
        runs: folders that `tumorseg train` wrote, whose test patients are the same.
        data: the data set; None takes the one that all were trained on.

    Raises:
        ModelError: fewer than two runs, or one that is none or has not ended.
        DataError: the runs are of different data or have different test patients.
    """
    if len(runs) < 2:
        raise ModelError("one run cannot be compared", next_step="name several: tumorseg compare RUN RUN")
    arms = [open_arm(label, run) for label, run in zip(labels_of(runs), runs, strict=True)]
    refuse_unusable(output, OUTPUTS, study="a comparison")
    refuse_different(arms, same_data=data is None)
    if data is None:
        data = Path(arms[0].environment.get("data", ""))
        if not data.is_dir():
            raise DataError(f"the data of {arms[0].run} is not at {data}", next_step="give it with --data DIR")
    store = prepare(data, progress=progress)
    return _compared(arms, parts, data, store, output, device=device, command=command, progress=progress)


def refuse_different(arms: Sequence[Arm], *, same_data: bool) -> None:
    """Raise DataError unless all runs have the same test patients and, where asked, the same data."""
    first, first_split = arms[0], read_split(arms[0].run / "split.csv")
    for arm in arms[1:]:
        if same_data and arm.environment.get("store_digest") != first.environment.get("store_digest"):
            raise DataError(
                f"{first.run} and {arm.run} were trained on different data",
                next_step="compare runs of one data set, or give the data to judge all on with --data DIR",
            )
        split = read_split(arm.run / "split.csv")
        if split.unit != first_split.unit or split.keys("test") != first_split.keys("test"):
            raise DataError(
                f"{first.run} and {arm.run} have different test patients",
                next_step="compare runs that were trained on one split",
            )


def check_minutes(minutes: float | None) -> None:
    """Raise RecipeError where minutes are given and are no time."""
    if minutes is not None and not 0 < minutes < float("inf"):
        raise RecipeError(f"--minutes {minutes:g} is no time to train", next_step="give minutes above 0")


def check_parts(text: str) -> tuple[str, ...]:
    """The parts that `--parts test,val` names, in this order.

    Raises:
        DataError: an unknown one, or none.
    """
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [part for part in parts if part not in PARTS]:
        raise DataError(f"there is no part '{unknown[0]}'", next_step=f"choose from {', '.join(PARTS)}")
    return parts


def _compared(
    arms: Sequence[Arm],
    parts: Sequence[str],
    data: Path,
    store: Store,
    output: Path,
    *,
    not_run: Sequence[NotRun] = (),
    minutes: float | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Comparison:
    """Judge, time and picture all arms, and write what comes of it."""
    arms = [judged(arm, parts, data, store, progress=progress) for arm in arms]
    found = [standings(arms, part) for part in parts]
    known = next(part for part in PARTS if part == parts[0])
    scans = choose_scans(store, read_split(arms[0].run / "split.csv"), known).scans
    runtime: Device = "cpu" if device == "cpu" else "cuda" if device == "cuda" else "auto"
    segmenters = {arm.label: Predictor(read_model(arm.run), device=runtime) for arm in arms}
    timed = timed_scans(scans)
    logger.info("timing all models on the same slices")
    times = milliseconds_per_slice(segmenters, timed)
    comparison = Comparison(
        dataset=store.name,
        arms=tuple(arms),
        parts=tuple(found),
        costs={arm.label: cost_of(arm, times[arm.label]) for arm in arms},
        not_run=tuple(not_run),
        scenes=film(cast_patients(found[0]), scans, segmenters, found[0], progress=progress),
        minutes=minutes,
        timed_slices=sum(scan.pixels.shape[0] for scan in timed),
        timed_on={"cpu": "the processor", "cuda": "the GPU"}.get(runtime, "this machine"),
        command=shlex.join(command),
    )
    write(output, comparison)
    return comparison


def write(output: Path, comparison: Comparison) -> None:
    """Write the four files of a comparison, each whole or not at all."""
    from tumorseg.studies.compare_page import render
    from tumorseg.studies.sheet import write_sheet

    write_json(output / "comparison.json", as_json(comparison))
    rows = list(csv_rows(comparison))
    with (
        atomic_write(output / "comparison.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_sheet(output / "comparison.png", comparison)
    write_text(output / "report.html", render(comparison))


def labels_of(runs: Sequence[Path]) -> list[str]:
    """The folders' names; where two are alike, with their parents'.

    Raises:
        ModelError: even so, two are alike.
    """
    names = [label_of(run.resolve().name) for run in runs]
    if len(set(names)) == len(names):
        return names
    longer = [label_of(f"{run.resolve().parent.name}-{run.resolve().name}") for run in runs]
    if twice := next((name for name in longer if longer.count(name) > 1), None):
        raise ModelError(f"two runs are called {twice}", next_step="name each run once")
    return longer
