"""Several networks of one recipe, trained one after the other with seeds of their own, that answer together."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split
from tumorseg.files import atomic_folder, digest_file, write_json
from tumorseg.inference.model import ONNX_NAME, Model, ModelSpec, read_model, write_spec
from tumorseg.inference.run_folder import read_environment
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Recipe
from tumorseg.training.package import fitted

logger = logging.getLogger(__name__)


def train_members(recipe: Recipe, output: Path, train_one: Callable[[Recipe, Path, bool], object]) -> None:
    """Train what is missing of an ensemble, each member as a run of its own in `output`/members.

    Args:
        recipe: with `ensemble` above 1.
        output: the run folder.
        train_one: trains (a member's recipe, its run folder, whether it goes on from a checkpoint).
    """
    for index in range(recipe.ensemble):
        member = output / "members" / str(index)
        if (member / "model" / "model.json").is_file():
            continue
        begun = (member / "checkpoints" / "last.ckpt").is_file()
        if member.exists() and not begun:
            shutil.rmtree(member)  # it ended before its first checkpoint: nothing of it can be gone on from
        logger.info("member %d of %d", index + 1, recipe.ensemble)
        train_one(recipe.model_copy(update={"ensemble": 1, "seed": recipe.seed + index}), member, begun)


def package_ensemble(
    output: Path,
    recipe: Recipe,
    store: Store,
    split: Split,
    *,
    like: ModelSpec | None = None,
    progress: Progress = silent,
) -> Path:
    """Write `model/` of a run from the models of its members, with what validation, or `like`, chooses for their mean.

    Returns:
        The model folder.
    """
    members = [read_model(output / "members" / str(index)) for index in range(recipe.ensemble)]
    names = [f"member-{index}.onnx" for index in range(recipe.ensemble)]
    with atomic_folder(output / "model") as folder:
        for name, member in zip(names, members, strict=True):
            shutil.copyfile(member.folder / ONNX_NAME, folder / name)
        spec = members[0].spec.model_copy(
            update={
                "name": output.resolve().name,
                "members": tuple(names),
                "files": {name: digest_file(folder / name) for name in names},
            }
        )
        spec = fitted(Model(spec, folder), recipe, store, split, like=like, progress=progress)
        write_spec(folder, spec)
    _sum_up(output, recipe)
    logger.info("temperature %.2f, threshold %.2f; model in %s", spec.temperature, spec.threshold, output / "model")
    return output / "model"


def _sum_up(output: Path, recipe: Recipe) -> None:
    """Let the run remember what its members took, and show the first one's curves."""
    environments = [read_environment(output / "members" / str(index)) for index in range(recipe.ensemble)]
    total = {key: sum(each.get(key, 0) for each in environments) for key in ("training_seconds", "parameters")}
    write_json(output / "environment.json", {**read_environment(output), **total})
    shutil.copyfile(output / "members" / "0" / "log.csv", output / "log.csv")
