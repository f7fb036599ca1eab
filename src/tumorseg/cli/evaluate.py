"""`tumorseg evaluate`: judge a run by patient."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg evaluate runs/first --part test"


class PartName(StrEnum):
    """A part of a run's split."""

    TEST = "test"
    VAL = "val"
    TRAIN = "train"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that tumorseg train wrote.", show_default=False)],
    part: Annotated[PartName, typer.Option(help="Which patients of the run's split to judge.")] = PartName.TEST,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set; by default the one of the training.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to write; by default RUN/evaluation/<data set>-<part>.", show_default=False
        ),
    ] = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Judge on scans changed by the recipe's augmentation.")
    ] = False,
) -> None:
    """Judge a run by patient: scores, a table of patients and slices, and a report.

    Writes metrics.json, patients.csv, slices.csv, report.html and predictions.png. How often the test patients
    were looked at is counted, since every look is a chance to choose by them.
    """
    from tumorseg.cli.console import aligned, console_progress, emit
    from tumorseg.evaluation.evaluate import evaluate_run
    from tumorseg.evaluation.headline import headline
    from tumorseg.inference.run_folder import read_environment

    change = None
    if augmented:
        from tumorseg.cli.console import require_training
        from tumorseg.recipe_file import load_recipe

        require_training()
        from tumorseg.training.augmented import augmenter

        read_environment(run)
        change = augmenter(load_recipe(run / "recipe.yaml"))
    folder = evaluate_run(
        run,
        part.value,
        data,
        output,
        change=change,
        change_name="augmented" if augmented else "",
        progress=console_progress(),
    )
    emit(aligned(headline(folder / "metrics.json")))
    emit(f"report: {folder / 'report.html'}")
