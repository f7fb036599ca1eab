"""`tumorseg compare`: several models on the same patients."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg compare --recipes default,unet-plain:loss=bce --data lgg --output study --minutes 60"


def compare(
    output: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.", show_default=False)],
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Runs that were trained on one split.", show_default=False),
    ] = None,
    recipes: Annotated[
        str,
        typer.Option(metavar="A,B…", help="Recipes to train; A:key=value;key=value changes A.", show_default=False),
    ] = "",
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="The data set.", show_default=False)] = None,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="Train each for about M minutes.", show_default="the recipes' epochs"),
    ] = None,
    parts: Annotated[str, typer.Option(metavar="PARTS", help="Of test, val, train; the first one leads.")] = "test",
    fold: Annotated[int | None, typer.Option(metavar="K", help="Test on fold K, from 0.", show_default=False)] = None,
    folds: Annotated[int | None, typer.Option(metavar="N", help="Of N folds.", show_default=False)] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value…", help="Change keys of all recipes.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train and segment.")] = "auto",
) -> None:
    """Set models side by side on identical patients, and train first what is missing.

    Writes comparison.json, comparison.csv, comparison.png and report.html. The same command goes on where it was
    stopped. Recipes are trained under the split of the first one.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit, require_training, shows_bars
    from tumorseg.errors import RecipeError
    from tumorseg.studies.compare import check_parts, compare_recipes, compare_runs
    from tumorseg.studies.comparison import part_name, summary_rows
    from tumorseg.studies.entries import read_entries

    command = ("tumorseg", *sys.argv[1:])
    chosen = check_parts(parts)
    if bool(runs) == bool(recipes):
        raise RecipeError(
            "name either runs or --recipes" if runs else "there is nothing to compare",
            next_step="give two runs, or --recipes A,B with --data DIR",
        )
    if runs:
        if settings or minutes is not None or fold is not None or folds is not None:
            raise RecipeError(
                "--set, --minutes and --fold are for training, and runs are trained already",
                next_step="leave them out, or give --recipes instead of runs",
            )
        found = compare_runs(
            runs, output, data=data, parts=chosen, device=device, command=command, progress=console_progress()
        )
    else:
        if data is None:
            raise RecipeError("--recipes needs the data to train on", next_step="give it with --data DIR")
        entries = read_entries(recipes, settings or ())
        require_training()
        found = compare_recipes(
            entries,
            data,
            output,
            parts=chosen,
            minutes=minutes,
            fold=fold,
            folds=folds,
            device=device,
            command=command,
            progress=console_progress(),
            show_bar=shows_bars(),
        )
    for standings in found.parts:
        emit(f"{part_name(standings.part)}, {len(standings.patients)} patients")
        emit(aligned(summary_rows(found, standings)))
    for missing in found.not_run:
        emit(f"{missing.label}: not run: {missing.reason}")
    emit(f"report: {output / 'report.html'}")
