"""Cross-validation: every patient judged once, by a model that never saw that patient."""

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, ModelError, OutputError, RecipeError, TrainingError
from tumorseg.files import write_json
from tumorseg.inference.model import read_model
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Recipe
from tumorseg.studies.arm import open_arm
from tumorseg.studies.ensemble import ensemble_of
from tumorseg.studies.entries import Entry, label_of
from tumorseg.studies.evaluations import evaluation_of
from tumorseg.studies.held_out import By, HeldOut, hold_out, never_tested
from tumorseg.studies.out_of_fold import CrossValidation, FoldScores, joined, read_tested
from tumorseg.studies.output import RUNS, refuse_unusable
from tumorseg.studies.rivals import read_rival
from tumorseg.studies.training_runs import Terms, lacks_weights, train_missing

logger = logging.getLogger(__name__)

PLAN = "study.json"

OUTPUTS = (
    PLAN,
    "crossval.json",
    "patients.csv",
    "report.html",
    "model",
    "recipe.yaml",
    "split.csv",
    "environment.json",
    "evaluation",
)
"""What a cross-validation leaves, beside its runs."""

FOLDS = 5


@dataclass(frozen=True)
class Plan:
    """What a cross-validation is; two plans that differ are two studies.

    Attributes:
        recipe: every choice but the seed, which `seeds` replaces.
        by: what is held out.
        held: the folds.
        seeds: of the trainings; each seed trains every fold.
        store_digest: of the data set.
    """

    recipe: Recipe
    by: By
    held: tuple[HeldOut, ...]
    seeds: tuple[int, ...]
    store_digest: str

    def as_json(self) -> dict[str, Any]:
        """The content of study.json."""
        return {
            "recipe": self.recipe.model_dump(mode="json", exclude={"seed"}),
            "by": self.by,
            "folds": {fold.name: list(fold.split.patients("test")) for fold in self.held},
            "seeds": list(self.seeds),
            "store_digest": self.store_digest,
        }


def cross_validate(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    by: By = "fold",
    folds: int = FOLDS,
    seeds: Sequence[int] = (),
    only: str = "",
    resume: bool = False,
    against: Sequence[Path] = (),
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
    show_bar: bool = False,
) -> CrossValidation | None:
    """Train and judge every fold, and write what they say together.

    Args:
        recipe: of every training; a fold's validation part is drawn from whoever is not tested.
        data: the data set.
        output: the study's folder; runs go to OUTPUT/runs/<fold>-seed-<seed>.
        by: hold out folds of patients, or whole institutions.
        folds: how many; not used by institution.
        seeds: each trains every fold; none takes the recipe's.
        only: the name or number of one fold, which is trained and judged alone, for jobs that run side by side; goes
            on where it was stopped, and gathers nothing.
        resume: go on with the study in `output`: whole runs are kept, half-trained ones go on, seeds may be added.
        against: other cross-validations of the same patients, each held against this one patient by patient.
        device: auto, cpu or cuda, for training.
        command: what the user typed, for the record.
        progress: watches scans go by.
        show_bar: show the training's progress bar.

    Returns:
        What was written to crossval.json, patients.csv, report.html and model/; None with `only`.

    Raises:
        RecipeError: wrong seeds, or a fold of that name is not there.
        DataError: too few patients; a patient who would be, or was, judged by a model that saw him.
        ModelError: the recipe's ImageNet weights cannot be had here.
        OutputError: the output holds something else or another study, or a study and `resume` is not given.
        TrainingError: a training was interrupted or cannot go on.
    """
    refuse_unusable(output, OUTPUTS, study="a cross-validation")
    store = prepare(data, progress=progress)
    chosen = tuple(seeds) or (recipe.seed,)
    if len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise RecipeError("--seeds names a seed twice or below 0", next_step="write e.g. --seeds 0,1,2")
    if any(later - earlier < recipe.ensemble for earlier, later in pairwise(sorted(chosen))):
        raise RecipeError(
            f"an ensemble of {recipe.ensemble} takes as many seeds in a row, and --seeds would share some",
            next_step=f"keep seeds {recipe.ensemble} apart",
        )
    plan = Plan(recipe, by, hold_out(store, recipe.split, by=by, folds=folds), chosen, store.digest)
    wanted = _only(plan, only) if only else plan.held
    rivals = [read_rival(folder, output, store.digest) for folder in against]
    if lacks_weights(recipe):
        raise ModelError(
            f"the ImageNet weights of {recipe.network.encoder} are not to be had here",
            next_step="bring the weights, or take --set network.weights=none",
        )
    _enrol(output, plan, resume=resume or bool(only))
    terms = Terms(data, output / RUNS, device=device, command=command, show_bar=show_bar)
    tested = _tested(plan, wanted, terms, store, progress)
    if only:
        return None
    found = replace(
        joined(tested, store, never=never_tested(plan.held)),
        by=by,
        rivals=tuple(rivals),
        command=shlex.join(command),
    )
    ensemble_of([one.run for one in tested if one.seed == plan.seeds[0]], output, store)
    write(output, found)
    return found


def write(output: Path, found: CrossValidation) -> None:
    """Write crossval.json, patients.csv and report.html, each whole or not at all."""
    from tumorseg.files import write_text
    from tumorseg.studies.crossval_page import render
    from tumorseg.studies.crossval_tables import as_json, write_patients

    write_json(output / "crossval.json", as_json(found))
    write_patients(output / "patients.csv", found)
    write_text(output / "report.html", render(found))


def _tested(
    plan: Plan, held: Sequence[HeldOut], terms: Terms, store: Store, progress: Progress
) -> tuple[FoldScores, ...]:
    """Train and judge folds under every seed, seed after seed."""
    tested = []
    for seed in plan.seeds:
        for number, fold in enumerate(held, start=1):
            label = f"{label_of(fold.name)}-seed-{seed}"
            logger.info("%s: %d of %d%s", label, number, len(held), f", seed {seed}" if len(plan.seeds) > 1 else "")
            entry = Entry(label, plan.recipe.model_copy(update={"seed": seed}), changed=False)
            try:
                run = train_missing(entry, replace(terms, split=fold.split), progress=progress)
            except TrainingError as error:
                if error.exit_code == TrainingError.exit_code:
                    raise
                raise type(error)(error.what, next_step="run the same command with --resume to go on") from error
            _refuse_known(run, fold, store)
            arm = open_arm(label, run)
            folder = evaluation_of(arm, "test", terms.data, store, progress=progress)
            tested.append(read_tested(arm, fold, seed, folder))
    return tuple(tested)


def _refuse_known(run: Path, fold: HeldOut, store: Store) -> None:
    """Raise DataError where a model was trained on a scan that its fold tests, whatever the split file says."""
    trained = set(read_model(run).spec.training_patients)
    tested = set(fold.split.patients("test"))
    if known := sorted(
        {entry.patient for entry in store.stored if entry.patient in tested and entry.digest in trained}
    ):
        raise DataError(
            f"{run} was trained on {known[0]}, whom {fold.name} tests",
            next_step="remove the copy from the data set, and train that fold again",
        )


def _only(plan: Plan, name: str) -> tuple[HeldOut, ...]:
    """The fold of that name or number."""
    names = [fold.name for fold in plan.held]
    for fold in plan.held:
        if name in (fold.name, fold.name.removeprefix("fold-")):
            return (fold,)
    shown = [name.removeprefix("fold-") for name in names]
    raise RecipeError(f"--only {name}: there is no such fold", next_step=f"choose one of {', '.join(shown)}")


def _enrol(output: Path, plan: Plan, *, resume: bool) -> None:
    """Write study.json, or check that the one that is there is of this plan.

    Raises:
        OutputError: it is of another plan, or there is one and `resume` is not given.
    """
    path, wanted = output / PLAN, plan.as_json()
    if not path.exists():
        if (output / RUNS).exists() and any((output / RUNS).iterdir()):
            raise OutputError(f"{output} holds runs of another study", next_step="choose another --output")
        write_json(path, wanted)
        return
    if not resume:
        raise OutputError(
            f"{output} holds a cross-validation", next_step="go on with --resume, or choose another --output"
        )
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key in wanted if key != "seeds" and known[key] != wanted[key]]
        forgotten = sorted(set(known["seeds"]) - set(plan.seeds))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is damaged", next_step="choose another --output") from error
    if different:
        said = {"store_digest": "data", "folds": "folds", "by": "--by", "recipe": "recipe"}
        raise OutputError(
            f"{output} is a cross-validation that differs in {', '.join(said[key] for key in different)}",
            next_step="resume with the same recipe, --data, --by and --folds, or choose another --output",
        )
    if forgotten:
        raise OutputError(
            f"{output} has trained seed {forgotten[0]} too", next_step="name all its seeds: seeds can only be added"
        )
    if list(plan.seeds) != known["seeds"]:
        write_json(path, wanted)
