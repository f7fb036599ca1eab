"""`tumorseg crossval`: every patient judged once, by a model that never saw that patient."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg crossval --recipe default --data lgg --folds 5 --output study"


class ByName(StrEnum):
    """What is held out."""

    FOLD = "fold"
    INSTITUTION = "institution"


def crossval(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data set.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.", show_default=False)],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="See: tumorseg recipes.")] = "default",
    folds: Annotated[int | None, typer.Option(metavar="N", help="How many folds.", show_default="5")] = None,
    by: Annotated[ByName, typer.Option(help="Hold out folds, or whole institutions.")] = ByName.FOLD,
    seeds: Annotated[
        str, typer.Option(metavar="A,B…", help="Train every fold with each seed.", show_default="the recipe's")
    ] = "",
    only: Annotated[
        str, typer.Option(metavar="K", help="Train and judge fold K alone, for job arrays.", show_default=False)
    ] = "",
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Compare with another study by patient.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value…", help="Change keys of the recipe.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the study in --output stopped.")] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
) -> None:
    """Train every fold, judge each patient by the model that never saw him, and gather.

    Writes crossval.json, patients.csv, report.html and model/, the ensemble of the folds.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit, require_training, shows_bars
    from tumorseg.errors import RecipeError
    from tumorseg.recipe_file import load_recipe
    from tumorseg.studies.crossval import FOLDS, cross_validate
    from tumorseg.studies.crossval_tables import summary_rows

    resolved = load_recipe(recipe, settings or ())
    if by is ByName.INSTITUTION and folds is not None:
        raise RecipeError("--folds is for --by fold: institutions are as many as there are", next_step="leave it out")
    require_training()
    found = cross_validate(
        resolved,
        data,
        output,
        by="institution" if by is ByName.INSTITUTION else "fold",
        folds=FOLDS if folds is None else folds,
        seeds=_seeds(seeds),
        only=only,
        resume=resume,
        against=against or (),
        device=device,
        command=("tumorseg", *sys.argv[1:]),
        progress=console_progress(),
        show_bar=shows_bars(),
    )
    if found is None:
        emit(f"fold {only} is done; when all are: the same command with --resume and without --only")
        return
    emit(aligned(summary_rows(found)))
    emit(f"report: {output / 'report.html'}")


def _seeds(text: str) -> tuple[int, ...]:
    """The whole numbers of `--seeds 0,1,2`."""
    from tumorseg.errors import RecipeError

    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if wrong := next((word for word in words if not word.isdecimal()), None):
        raise RecipeError(f"--seeds {text}: '{wrong}' is no whole number", next_step="write e.g. --seeds 0,1,2")
    if "" in words:
        raise RecipeError(f"--seeds {text}: a seed is missing", next_step="write e.g. --seeds 0,1,2")
    return tuple(int(word) for word in words)
