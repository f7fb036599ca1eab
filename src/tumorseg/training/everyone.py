"""Training on more patients, once a run or a cross-validation of the same settings has been judged.

Nobody is left to choose a checkpoint or a threshold: the last weights are taken, and what the judged one chose. Of
everyone nobody is left to judge either: the scores of the judged one are an estimate of what these weights do, and a
cautious one, for they have seen more patients. Where the test patients are kept back, they judge.
"""

import shutil
from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split, read_split
from tumorseg.errors import RecipeError, TrainingError
from tumorseg.inference.model import read_model
from tumorseg.inference.run_folder import READINGS, read_environment
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe

LIKE = "everyone_like"
"""The key of environment.json that names the judged one."""


def recipe_of(judged: Path, *, own: bool = False) -> Recipe:
    """The recipe of a run or a cross-validation.

    Args:
        judged: the run or the cross-validation.
        own: whether somebody asks for a recipe, settings or folds besides.

    Raises:
        RecipeError: somebody does.
        TrainingError: it is neither.
        ModelError: it has no whole model, so that it chose nothing yet.
    """
    if own:
        raise RecipeError(
            f"--everyone trains as {judged} was trained, and takes no recipe, settings or folds of its own",
            next_step="leave out --recipe, --set, --fold and --folds",
        )
    path = judged / "recipe.yaml"
    if not path.is_file():
        raise TrainingError(
            f"{judged} is neither a run nor a cross-validation: it has no recipe.yaml",
            next_step="give a folder that tumorseg train or tumorseg crossval wrote",
        )
    read_model(judged)
    return load_recipe(path)


def all_train(store: Store) -> Split:
    """The split in which every patient trains."""
    return Split({entry.patient: "train" for entry in store.stored})


def all_but_tested(store: Store, judged: Path) -> Split:
    """The split in which every patient trains but those that `judged` is tested on.

    Raises:
        TrainingError: `judged` has no test patients of its own, or they are not in the data.
    """
    path = judged / "split.csv"
    if not path.is_file():
        raise TrainingError(
            f"{judged} has no test patients of its own to keep back: it is a cross-validation",
            next_step="leave out --keep-test, or give a run",
        )
    split = read_split(path)
    if split.unit != "patient":
        raise TrainingError(
            f"{judged} was split by slice, so that no patient is kept back in it",
            next_step="leave out --keep-test, or give a run that is split by patient",
        )
    tested, here = split.patients("test"), {entry.patient for entry in store.stored}
    if missing := [patient for patient in tested if patient not in here]:
        raise TrainingError(
            f"{judged} is tested on {missing[0]}, who is not in the data",
            next_step="give the data that it was trained on",
        )
    return Split({patient: "test" if patient in tested else "train" for patient in sorted(here)})


def carry_readings(judged: Path, run: Path) -> None:
    """Hand on to a run how often its test patients were looked at under the judged one: they are the same patients."""
    if (judged / READINGS).is_file():
        (run / READINGS).parent.mkdir()
        shutil.copyfile(judged / READINGS, run / READINGS)


def described_everyone(judged: Path | None) -> dict[str, Any]:
    """What environment.json remembers of it."""
    return {} if judged is None else {LIKE: str(Path(judged).resolve())}


def everyone_like(run: Path) -> Path | None:
    """The judged one that a run follows; None where it was split as usual.

    Raises:
        TrainingError: it is gone.
    """
    named = read_environment(run).get(LIKE)
    if named is None:
        return None
    if not Path(named).is_dir():
        raise TrainingError(
            f"{run} takes its threshold from {named}, which is gone",
            next_step="bring it back, or train without --resume",
        )
    return Path(named)
