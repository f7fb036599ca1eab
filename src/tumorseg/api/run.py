"""A training as an object: the folder that it left, and what can be done with it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tumorseg.api.dataset import Dataset, where
from tumorseg.api.table import Table
from tumorseg.datasets.split import Split, read_split
from tumorseg.errors import RecipeError
from tumorseg.inference.run_folder import read_environment
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import changed, load_recipe

if TYPE_CHECKING:
    from tumorseg.api.evaluation import Evaluation
    from tumorseg.api.model import Model


class Run(os.PathLike[str]):
    """What a training left; it serves wherever the path of a run folder does.

    Args:
        folder: that `tumorseg.train` or `tumorseg train` wrote.

    Raises:
        ModelError: it is not a run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.environment: dict[str, Any] = read_environment(self.folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def recipe(self) -> Recipe:
        """Every choice, as it was used."""
        return load_recipe(self.folder / "recipe.yaml")

    @property
    def split(self) -> Split:
        """Who trained, who chose, who is judged."""
        return read_split(self.folder / "split.csv")

    @property
    def log(self) -> Table:
        """One row an epoch, as log.csv has it."""
        from tumorseg.evaluation.evaluate import read_log

        return Table(read_log(self.folder / "log.csv"))

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / "model" / "model.json").is_file()

    def evaluate(self, part: str = "test", **how: Any) -> "Evaluation":
        """Judge it; see `tumorseg.evaluate`."""
        from tumorseg.api.evaluation import evaluate

        return evaluate(self, part, **how)

    def model(self, *, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Model":
        """What it ships, ready to segment; see `tumorseg.load_model`."""
        from tumorseg.api.model import load_model

        return load_model(self, device=device)

    def __repr__(self) -> str:
        rows = self.log
        state = "trained" if self.finished else "not finished"
        trained = f"recipe {self.recipe.name} on {self.environment['dataset']}"
        return f"<run {self.folder}: {trained}, {len(rows)} epochs, {state}>"


def train(
    recipe: "Recipe | str | Path",
    data: "Dataset | str | Path",
    output: str | Path,
    *,
    fold: int | None = None,
    folds: int | None = None,
    split: Split | None = None,
    everyone: "str | os.PathLike[str] | None" = None,
    keep_test: bool = False,
    resume: bool = False,
    init: "str | os.PathLike[str] | None" = None,
    device: str = "auto",
    devices: int | Literal["auto"] = 1,
    nodes: int = 1,
    command: Sequence[str] = (),
    progress: Progress = silent,
    show_bar: bool = False,
    **settings: Any,
) -> Run:
    """Train a network and write the run folder, as `tumorseg train` does.

    Args:
        recipe: a recipe, the name of one that ships, or a YAML file.
        data: the data set, or its path.
        output: the run folder; it must not exist, or, with `resume`, hold a checkpoint.
        fold, folds: fold `fold` (from 0) of `folds` is the test part.
        split: who trains, chooses and is tested; None deals the patients by the recipe's shares.
        everyone: a judged run or cross-validation; all patients train then, by its recipe, and `recipe` stays
            "default". See docs/training.md.
        keep_test: with `everyone`, the test patients of the judged run do not train, and judge these weights too.
        resume: go on from the last checkpoint, with the run's own recipe.
        init: a run, or a .safetensors file, whose weights training starts from.
        device: auto, cpu or cuda.
        devices, nodes: of several devices each takes its share of every step; see docs/cluster.md.
        command: what is recorded as the command that made the run.
        progress: watches the data being read.
        show_bar: show Lightning's progress bar.
        settings: keys of the recipe, such as `epochs=20`; a key within another has two underscores for its dot, such
            as `network__encoder="resnet34"`.

    Raises:
        TumorsegError: whatever the caller can mend; the last good checkpoint stands.
    """
    chosen = resolve(recipe, settings)
    from tumorseg.training.everyone import recipe_of
    from tumorseg.training.fit import train as fit_recipe

    judged = Path(everyone) if everyone is not None else None
    if judged is not None:
        own = bool(settings) or recipe != "default" or any(each is not None for each in (fold, folds, split))
        chosen = recipe_of(judged, own=own)

    fit_recipe(
        chosen,
        where(data),
        Path(output),
        fold=fold,
        folds=folds,
        split=split,
        everyone=judged,
        keep_test=keep_test,
        resume=resume,
        init=Path(init) if init is not None else None,
        device=device,
        devices=devices,
        nodes=nodes,
        command=command,
        progress=progress,
        show_bar=show_bar,
    )
    return Run(output)


def open_run(folder: str | Path) -> Run:
    """Open a run folder that was written before.

    Raises:
        ModelError: it is none.
    """
    return Run(folder)


def resolve(recipe: "Recipe | str | Path", settings: dict[str, Any]) -> Recipe:
    """A recipe with some of its keys changed.

    Raises:
        RecipeError: unknown recipe, key or value.
    """
    words = as_words(settings)
    return changed(recipe, words) if isinstance(recipe, Recipe) else load_recipe(recipe, words)


def as_words(settings: dict[str, Any]) -> list[str]:
    """Settings as `--set` takes them: {"network__encoder": "resnet34"} becomes ['network.encoder="resnet34"']."""
    try:
        return [f"{key.replace('__', '.')}={json.dumps(value, default=_plain)}" for key, value in settings.items()]
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"a setting cannot be written into a recipe: {error}", next_step="give plain values"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r} is no number, text, list or dictionary")
