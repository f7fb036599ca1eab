"""Many runs as one question: comparisons, cross-validation, the leakage audit; and scripts for clusters."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tumorseg.api.dataset import Dataset, where
from tumorseg.api.run import as_words, resolve
from tumorseg.errors import DataError, RecipeError
from tumorseg.progress import Progress, silent

if TYPE_CHECKING:
    from tumorseg.recipe import Recipe


class Study:
    """What a study left in its folder.

    Args:
        folder: of the study.
        name: of its results, such as comparison.json.
        found: what the study's own function returned.
    """

    def __init__(self, folder: Path, name: str, found: object) -> None:
        self.folder = folder
        self.found = found
        self._name = name

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """The content of its JSON file."""
        try:
            results: Mapping[str, Any] = json.loads((self.folder / self._name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder} holds no whole {self._name}", next_step="run the study again") from error
        return results

    def __repr__(self) -> str:
        return f"<study {self.folder}: {self._name}, report.html>"


def compare(
    output: str | Path,
    *,
    runs: "Sequence[str | os.PathLike[str]]" = (),
    recipes: Sequence[str] = (),
    data: Dataset | str | Path | None = None,
    parts: Sequence[Literal["test", "val", "train"]] = ("test",),
    minutes: float | None = None,
    fold: int | None = None,
    folds: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> Study:
    """Set models side by side on identical patients, as `tumorseg compare` does.

    Args:
        output: the study's folder.
        runs: that were trained on one split; or
        recipes: to train, such as ["default", "unet-plain:loss=bce"]; the same call goes on where it was stopped.
        data: the data set; needed for recipes.
        parts: which are judged; the first one heads the page.
        minutes: training time of each recipe; None keeps its epochs.
        fold, folds: fold `fold` of `folds` is the test part.
        device: where to train and segment.
        progress: watches scans go by.
        settings: keys of all recipes; see `tumorseg.train`.

    Raises:
        TumorsegError: runs of different splits, fewer than two recipes, or an output that holds something else.
    """
    from tumorseg.studies.compare import check_parts, compare_recipes, compare_runs
    from tumorseg.studies.entries import read_entries

    if bool(runs) == bool(recipes):
        raise RecipeError("a comparison is of runs or of recipes", next_step="give runs=[…] or recipes=[…] with data")
    chosen = check_parts(",".join(parts))
    if runs:
        if settings or minutes is not None or fold is not None or folds is not None:
            raise RecipeError("runs are trained already", next_step="leave out settings, minutes and folds")
        found = compare_runs(
            [Path(run) for run in runs],
            Path(output),
            data=where(data) if data is not None else None,
            parts=chosen,
            device=device,
            progress=progress,
        )
    else:
        if data is None:
            raise RecipeError("recipes need the data to train on", next_step="give data")
        found = compare_recipes(
            read_entries(",".join(recipes), as_words(settings)),
            where(data),
            Path(output),
            parts=chosen,
            minutes=minutes,
            fold=fold,
            folds=folds,
            device=device,
            progress=progress,
        )
    return Study(Path(output), "comparison.json", found)


def crossval(
    recipe: "Recipe | str | Path",
    data: Dataset | str | Path,
    output: str | Path,
    *,
    by: Literal["fold", "institution"] = "fold",
    folds: int = 5,
    seeds: Sequence[int] = (),
    resume: bool = False,
    against: Sequence[str | Path] = (),
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> Study:
    """Judge every patient once, by a model that never saw that patient, as `tumorseg crossval` does.

    Args:
        recipe: of every training.
        data: the data set.
        output: the study's folder.
        by: hold out folds of patients, or whole institutions.
        folds: how many.
        seeds: each trains every fold; none takes the recipe's.
        resume: go on with the study in `output`.
        against: other cross-validations of the same patients, to compare with.
        device: where to train.
        progress: watches scans go by.
        settings: keys of the recipe; see `tumorseg.train`.
    """
    from tumorseg.studies.crossval import cross_validate

    found = cross_validate(
        resolve(recipe, settings),
        where(data),
        Path(output),
        by=by,
        folds=folds,
        seeds=seeds,
        resume=resume,
        against=[Path(other) for other in against],
        device=device,
        progress=progress,
    )
    return Study(Path(output), "crossval.json", found)


def audit_leakage(
    recipe: "Recipe | str | Path",
    data: Dataset | str | Path,
    output: str | Path,
    *,
    minutes: float | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> Study:
    """Train one recipe split by patient and by slice, and say how much of the score was leakage.

    Args:
        recipe: of both trainings.
        data: the data set.
        output: the study's folder.
        minutes: training time of each; None keeps the recipe's epochs.
        device: where to train.
        progress: watches scans go by.
        settings: keys of the recipe; see `tumorseg.train`.
    """
    from tumorseg.studies.audit import audit_leakage as audit

    found = audit(
        resolve(recipe, settings), where(data), Path(output), minutes=minutes, device=device, progress=progress
    )
    return Study(Path(output), "audit.json", found)


def slurm_script(
    recipe: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    fold: int | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (),
    init: "str | os.PathLike[str] | None" = None,
    settings: Mapping[str, Any] | None = None,
    **job: Any,
) -> str:
    """The text of a batch script that trains on a Slurm cluster, as `tumorseg slurm` writes it.

    Args:
        recipe, data, output, init: as of `tumorseg.train`, on the cluster.
        fold, folds, seeds: see docs/cluster.md.
        settings: keys of the recipe, such as {"epochs": 20, "network.encoder": "resnet34"}.
        job: what it asks of the cluster: nodes, gpus, time, cpus, memory, partition, account, setup, logs.

    Raises:
        RecipeError: an unknown recipe, key or value.
        TrainingError: something that Slurm would not take.
    """
    from tumorseg.errors import TrainingError
    from tumorseg.studies.slurm import Job, batch_script

    try:
        wanted = Job(**job)
    except TypeError as error:
        raise TrainingError(f"a job has no such setting: {error}", next_step="see tumorseg slurm --help") from error
    return batch_script(
        recipe,
        Path(data),
        Path(output),
        wanted,
        settings=as_words(dict(settings or {})),
        fold=fold,
        folds=folds,
        seeds=seeds,
        init=Path(init) if init is not None else None,
        command=("tumorseg.slurm_script",),
    )
