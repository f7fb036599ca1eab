"""`tumorseg practices`: the same masks under the definitions that others use."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg practices runs/first --output practices"


class PartOfRun(StrEnum):
    """A part of a run's split."""

    TEST = "test"
    VAL = "val"
    TRAIN = "train"


def practices(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="An evaluation, a run that was evaluated, or a cross-validation.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.", show_default=False)],
    part: Annotated[PartOfRun, typer.Option(help="Of a run, which evaluation.")] = PartOfRun.TEST,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The data set judged; by default the one of the training.", show_default=False
        ),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A leakage audit, to stand beside it.", show_default=False),
    ] = None,
) -> None:
    """Say what smoothing by 100, empty = 1, batches and a split by slice make of masks that were judged already.

    Nothing is segmented anew, so no part is read again. Writes practices.json, practices.csv and report.html.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit
    from tumorseg.evaluation.practices_page import reading
    from tumorseg.studies.practices import rejudge, summary_rows

    found = rejudge(
        folder,
        output,
        part=part.value,
        data=data,
        audit=audit,
        command=("tumorseg", *sys.argv[1:]),
        progress=console_progress(),
    )
    emit(aligned(summary_rows(found)))
    emit(reading(found.practices))
    emit(f"report: {output / 'report.html'}")
