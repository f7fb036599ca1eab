"""Training on every patient, once a run or a cross-validation of the same settings has been judged.

Nobody is left to choose a checkpoint or a threshold, or to judge: the last weights are taken, and what the judged one
chose. Its scores are an estimate of what these weights do, and a cautious one, for they have seen more patients.
"""

from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split
from tumorseg.errors import RecipeError, TrainingError
from tumorseg.inference.model import read_model
from tumorseg.inference.run_folder import read_environment
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
