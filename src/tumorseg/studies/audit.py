"""The leakage audit: one recipe under the split by patient and by slice, and how much of the score was leakage."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorseg import __version__
from tumorseg.datasets.split import read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import ModelError
from tumorseg.evaluation.judgement import json_ready
from tumorseg.files import write_json, write_text
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Recipe
from tumorseg.studies.arm import Arm, open_arm, read_judged
from tumorseg.studies.compare import check_minutes
from tumorseg.studies.cost import Cost, cost_of
from tumorseg.studies.entries import Entry
from tumorseg.studies.evaluations import evaluation_of
from tumorseg.studies.leakage import Leak, copied_from_neighbours, leaks, read_slices
from tumorseg.studies.output import RUNS, refuse_unusable
from tumorseg.studies.published import Published, published_of
from tumorseg.studies.training_runs import Terms, lacks_weights, train_missing

logger = logging.getLogger(__name__)

OUTPUTS = ("audit.json", "report.html")
"""What an audit leaves, beside its runs."""

BY_PATIENT, BY_SLICE = "by-patient", "by-slice-with-leakage"


@dataclass(frozen=True, eq=False)
class Audit:
    """What the audit found.

    Attributes:
        dataset: its name.
        recipe: under the split by patient.
        by_patient, by_slice: the two arms, each judged on its own test part.
        leaks: every score under both splits.
        costs: of the two arms, in that order.
        shared_patients: test patients of the split by slice of whom slices were trained on.
        published: what the recipe's system reported.
        minutes: training time that the epochs of both were fitted to.
        command: that made it.
    """

    dataset: str
    recipe: Recipe
    by_patient: Arm
    by_slice: Arm
    leaks: tuple[Leak, ...]
    costs: tuple[Cost, Cost]
    shared_patients: int
    published: tuple[Published, ...]
    minutes: float | None
    command: str


def audit_leakage(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    minutes: float | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
    show_bar: bool = False,
) -> Audit:
    """Train one recipe under both splits, judge each on its own test part, and write audit.json and report.html.

    Args:
        recipe: its shares and seed serve both splits; both trainings have the same number of epochs.
        data: the data set.
        output: the study's folder; the two runs go to OUTPUT/runs. Whole runs in it are kept, others go on.
        minutes: training time that the epochs are chosen by; None keeps the recipe's.
        device: auto, cpu or cuda.
        command: what the user typed, for the record.
        progress: watches scans go by.
        show_bar: show the training's progress bar.

    Raises:
        RecipeError: a number of minutes that is none.
        ModelError: the recipe's ImageNet weights cannot be had here.
        OutputError: the output holds something else, or a run of another recipe.
    """
    check_minutes(minutes)
    refuse_unusable(output, OUTPUTS, study="a leakage audit")
    store = prepare(data, progress=progress)
    if lacks_weights(recipe):
        raise ModelError(
            f"the ImageNet weights of {recipe.network.encoder} are not to be had here",
            next_step="bring the weights, or take a recipe that ends in -scratch",
        )
    terms = Terms(data, output / RUNS, minutes, device=device, command=command, show_bar=show_bar)
    honest = open_arm(BY_PATIENT, train_missing(_entry(BY_PATIENT, recipe, "patient"), terms, progress=progress))
    # The second arm takes the first one's epochs instead of measuring its own: nothing but the split may differ.
    leaking_entry = _entry(BY_SLICE, honest.recipe, "slice-with-leakage")
    leaking = open_arm(BY_SLICE, train_missing(leaking_entry, replace(terms, minutes=None), progress=progress))
    folders = [evaluation_of(arm, "test", data, store, progress=progress) for arm in (honest, leaking)]
    honest, leaking = (
        replace(arm, judged={"test": read_judged(folder)})
        for arm, folder in zip((honest, leaking), folders, strict=True)
    )
    split = read_split(leaking.run / "split.csv")
    trained_on = set(store.patients_of(store.rows(split, "train")))
    audit = Audit(
        dataset=store.name,
        recipe=honest.recipe,
        by_patient=honest,
        by_slice=leaking,
        leaks=leaks(
            (honest.judged["test"].metrics, read_slices(folders[0])),
            (leaking.judged["test"].metrics, read_slices(folders[1])),
            copied_from_neighbours(store, split),
            seed=SEED,
        ),
        costs=(cost_of(honest), cost_of(leaking)),
        shared_patients=len(trained_on & set(leaking.judged["test"].patients)),
        published=published_of(recipe.name, "test"),
        minutes=minutes,
        command=shlex.join(command),
    )
    write(output, audit)
    return audit


def write(output: Path, audit: Audit) -> None:
    """Write audit.json and report.html, each whole or not at all."""
    from tumorseg.studies.audit_page import render

    write_json(output / "audit.json", as_json(audit))
    write_text(output / "report.html", render(audit))


def as_json(audit: Audit) -> dict[str, Any]:
    """The content of audit.json; null where a number is undefined."""
    found = {
        "tumorseg": __version__,
        "dataset": audit.dataset,
        "recipe": audit.recipe.model_dump(mode="json"),
        "minutes": audit.minutes,
        "scores": {leak.key: _leak(leak) for leak in audit.leaks},
        "arms": {
            arm.label: {"run": str(arm.run), "metrics": arm.judged["test"].metrics, "cost": cost.as_json()}
            for arm, cost in zip((audit.by_patient, audit.by_slice), audit.costs, strict=True)
        },
        "shared_patients": audit.shared_patients,
        "published": [
            {"metric": figure.metric, "value": figure.value, "unit": figure.unit, "note": figure.note}
            for figure in audit.published
        ],
        "interval": {"resamples": RESAMPLES, "seed": SEED, "unit": "patient of each arm", "level": 0.95},
        "command": audit.command,
    }
    ready: dict[str, Any] = json_ready(found)
    return ready


def _leak(leak: Leak) -> dict[str, Any]:
    return {
        "by_patient": leak.by_patient,
        "by_slice": leak.by_slice,
        "leakage": leak.gap,
        "ci95": None if leak.difference is None else list(leak.difference.interval),
        "all_empty_by_slice": leak.all_empty,
        "copied_from_nearest_slice": leak.copied,
    }


def _entry(label: str, recipe: Recipe, unit: str) -> Entry:
    split = recipe.split.model_copy(update={"unit": unit})
    return Entry(label, recipe.model_copy(update={"split": split}), changed=False)
