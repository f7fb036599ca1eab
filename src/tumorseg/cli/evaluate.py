"""`tumorseg evaluate`: judge a run, or stored masks of any tool, by patient."""

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
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A folder that tumorseg train wrote.", show_default=False),
    ] = None,
    part: Annotated[
        PartName | None,
        typer.Option(help="Which patients of the run's split to judge.", show_default="test"),
    ] = None,
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
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge the masks in this folder, whoever made them.", show_default=False),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --predictions: a data set, or a folder of masks.", show_default=False),
    ] = None,
) -> None:
    """Judge a run, or masks of any tool, by patient: scores, a table of patients and slices, and a report.

    Writes metrics.json, patients.csv, slices.csv, report.html and predictions.png. How often the test patients
    of a run were looked at is counted, since every look is a chance to choose by them.

    Masks: tumorseg evaluate --predictions DIR --reference DIR --output DIR. Each mask is named as its reference, with
    _mask or the like behind it or without.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit
    from tumorseg.errors import DataError
    from tumorseg.evaluation.headline import headline

    if predictions is not None or reference is not None:
        if predictions is None or reference is None or output is None:
            wanted = {"--predictions": predictions, "--reference": reference, "--output": output}
            absent = " and ".join(name for name, value in wanted.items() if value is None)
            raise DataError(
                f"judging stored masks needs {absent} too", next_step="give --predictions, --reference and --output"
            )
        if run is not None or part is not None or data is not None or augmented:
            raise DataError(
                "stored masks have no run, part or data set of a training",
                next_step="leave out RUN, --part, --data and --augmented, or leave out --predictions and --reference",
            )
        from tumorseg.evaluation.evaluate_masks import evaluate_masks

        command = ("tumorseg", *sys.argv[1:])
        folder = evaluate_masks(predictions, reference, output, command=command, progress=console_progress())
    elif run is None:
        raise DataError(
            "there is nothing to judge",
            next_step="give a run folder, or masks with --predictions, --reference and --output",
        )
    else:
        folder = _judge_run(run, part or PartName.TEST, data, output, augmented)
    emit(aligned(headline(folder / "metrics.json")))
    emit(f"report: {folder / 'report.html'}")


def _judge_run(run: Path, part: PartName, data: Path | None, output: Path | None, augmented: bool) -> Path:
    from tumorseg.cli.console import console_progress
    from tumorseg.evaluation.evaluate import evaluate_run
    from tumorseg.inference.run_folder import read_environment

    change = None
    if augmented:
        from tumorseg.cli.console import require_training
        from tumorseg.recipe_file import load_recipe

        require_training()
        from tumorseg.training.augmented import augmenter

        read_environment(run)
        change = augmenter(load_recipe(run / "recipe.yaml"))
    return evaluate_run(
        run,
        part.value,
        data,
        output,
        change=change,
        change_name="augmented" if augmented else "",
        progress=console_progress(),
    )
