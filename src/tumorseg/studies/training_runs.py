"""The runs of a study: trained where they are missing, resumed where they stopped, kept where they are whole."""

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorseg.datasets.split import Split, read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import ModelError, OutputError, TrainingError
from tumorseg.evaluation.evaluate import read_log
from tumorseg.files import write_json
from tumorseg.inference.run_folder import read_environment
from tumorseg.progress import Progress, duration, silent
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe
from tumorseg.studies.budget import EpochCost, costs_of, fitted, probe_of, same_but_epochs, seconds_of
from tumorseg.studies.entries import Entry

logger = logging.getLogger(__name__)

WARM_UP = 60.0
"""Seconds that a probe must take at least to be believed: shorter ones are mostly first steps, which are slow."""

_BUDGETS = "budgets.json"


@dataclass(frozen=True)
class Terms:
    """What all runs of a study have in common.

    Attributes:
        data: the data set.
        folder: where the run folders lie, one for each label.
        minutes: training time that each recipe's epochs are fitted to; None keeps the recipes' epochs.
        fold, folds: fold `fold` of `folds` is the test part; None takes the recipe's shares.
        split: who trains, chooses and is tested, instead of a fold or the recipe's shares.
        device: auto, cpu or cuda.
        command: what the user typed, for the record.
        show_bar: show the training's progress bar, for a terminal.
    """

    data: Path
    folder: Path
    minutes: float | None = None
    fold: int | None = None
    folds: int | None = None
    device: str = "auto"
    command: Sequence[str] = ()
    show_bar: bool = False
    split: Split | None = None


def train_missing(entry: Entry, terms: Terms, *, progress: Progress = silent) -> Path:
    """Give the whole run of an entry, trained here where it is not there yet.

    Returns:
        The run folder.

    Raises:
        OutputError: a run of that label is there and is of another recipe, split or budget.
        TumorsegError: whatever the user can mend about the training.
    """
    from tumorseg.training.fit import train

    run = terms.folder / entry.label
    state = _state(run)
    recipe = entry.recipe
    if state != "missing":
        _refuse_other(run, entry, terms, progress)
        recipe = load_recipe(run / "recipe.yaml")
    if state == "whole":
        logger.info("%s: kept, it is whole", entry.label)
        return run
    if state == "empty":
        # Stopped before its first checkpoint: nothing was learned, and nothing can be resumed.
        shutil.rmtree(run)
    elif state == "missing":
        recipe = _fitted(entry, terms, progress)
    logger.info("%s: %s, %d epochs", entry.label, "resumed" if state == "started" else "trained", recipe.total_epochs)
    try:
        return train(
            recipe,
            terms.data,
            run,
            fold=terms.fold,
            folds=terms.folds,
            split=terms.split,
            resume=state == "started",
            device=terms.device,
            command=terms.command,
            progress=progress,
            show_bar=terms.show_bar,
        )
    except TrainingError as error:
        if error.exit_code == TrainingError.exit_code:
            raise
        raise _stopped(error) from error


def with_one_split(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries with the first one's shares, seed and unit of the split, so that their test patients are the same."""
    split = entries[0].recipe.split
    return tuple(replace(entry, recipe=entry.recipe.model_copy(update={"split": split})) for entry in entries)


def lacks_weights(recipe: Recipe) -> bool:
    """Whether a recipe's ImageNet weights can be had neither from this machine nor from the network."""
    from tumorseg.networks import build_network
    from tumorseg.networks.whereabouts import weights_at_hand

    network = recipe.network
    if network.weights != "imagenet" or weights_at_hand(network.encoder, network.weights):
        return False
    try:
        build_network(network, channels=3, classes=recipe.logits)
    except ModelError:
        return True
    return False


def _state(run: Path) -> str:
    """ "missing", "empty" (begun, nothing learned), "started" (has a checkpoint) or "whole"."""
    if not run.exists():
        return "missing"
    if not ((run / "recipe.yaml").is_file() and (run / "environment.json").is_file()):
        raise OutputError(f"{run} exists and is not a run", next_step="choose another --output, or delete it")
    if (run / "model" / "model.json").is_file():
        return "whole"
    # An ensemble has members instead of a checkpoint of its own.
    learned = (run / "checkpoints" / "last.ckpt").is_file() or (run / "members").is_dir()
    return "started" if learned else "empty"


def _refuse_other(run: Path, entry: Entry, terms: Terms, progress: Progress) -> None:
    """Raise OutputError unless the run that is there is the one that would be trained."""
    from tumorseg.datasets.dealing import make_split

    next_step = "choose another --output, or delete that run"
    environment, trained = read_environment(run), load_recipe(run / "recipe.yaml")
    store = prepare(terms.data, progress=progress)
    if environment.get("store_digest") != store.digest:
        raise OutputError(f"{run} was trained on other data than {terms.data}", next_step=next_step)
    wanted = _as_resolved(entry.recipe, trained)
    minutes = _budgets(terms.folder).get(entry.label, {}).get("minutes")
    if minutes != terms.minutes or not (trained == wanted or (minutes and same_but_epochs(trained, wanted))):
        raise OutputError(f"{run} was trained with another recipe or other --minutes", next_step=next_step)
    split = terms.split or make_split(store, entry.recipe.split, fold=terms.fold, folds=terms.folds)
    if dict(read_split(run / "split.csv").parts) != dict(split.parts):
        raise OutputError(f"{run} was trained on another split", next_step=next_step)


def _as_resolved(recipe: Recipe, trained: Recipe) -> Recipe:
    """The recipe with what a training fills in where it is left open."""
    update: dict[str, object] = {}
    if recipe.batch_size == "auto":
        update["batch_size"] = trained.batch_size
    if not recipe.channels:
        update["channels"] = trained.channels
    return recipe.model_copy(update=update)


def _fitted(entry: Entry, terms: Terms, progress: Progress) -> Recipe:
    """The recipe with the epochs that the minutes allow, measured by a short training that is thrown away."""
    budgets = _budgets(terms.folder)
    budgets.pop(entry.label, None)
    recipe = entry.recipe
    if terms.minutes is not None:
        logger.info("%s: measuring an epoch", entry.label)
        costs = _probe(entry, terms, 1, progress)
        if seconds_of(probe_of(recipe, 1), costs) < WARM_UP:
            costs = _probe(entry, terms, 3, progress)
        recipe = fitted(recipe, costs, 60 * terms.minutes)
        seconds = seconds_of(recipe, costs)
        logger.info("%s: %d epochs take about %s", entry.label, recipe.total_epochs, duration(seconds))
        budgets[entry.label] = {"minutes": terms.minutes, "epochs": recipe.total_epochs, "expected_seconds": seconds}
    write_json(terms.folder / _BUDGETS, budgets)
    return recipe


def _budgets(folder: Path) -> dict[str, dict[str, Any]]:
    """By label: the minutes that a run's epochs were fitted to, and what came of it."""
    path = folder / _BUDGETS
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is damaged", next_step="choose another --output") from error
    return found


def _probe(entry: Entry, terms: Terms, epochs: int, progress: Progress) -> tuple[EpochCost, ...]:
    from tumorseg.training.fit import train

    probe = probe_of(entry.recipe, epochs)
    terms.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=terms.folder, prefix=f".{entry.label}.probe.") as place:
        run = train(
            probe,
            terms.data,
            Path(place) / "run",
            fold=terms.fold,
            folds=terms.folds,
            split=terms.split,
            device=terms.device,
            progress=progress,
        )
        batch_size = load_recipe(run / "recipe.yaml").batch_size
        assert batch_size != "auto"
        return costs_of(read_log(run / "log.csv"), len(probe.schedule), batch_size=batch_size)


def _stopped(error: TrainingError) -> TrainingError:
    """What an interrupted training says, with the study's own way to go on."""
    return type(error)(error.what, next_step="run the same command again to go on")
