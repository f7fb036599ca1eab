"""`tumorseg robustness`: how runs bear scans that are worse than those they were trained on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg robustness runs/first --part val --output robust"


class PartOfSplit(StrEnum):
    """A part of the runs' split that was not trained on."""

    VAL = "val"
    TEST = "test"


def robustness(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs that were trained on one split.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.", show_default=False)],
    part: Annotated[PartOfSplit, typer.Option(help="Which patients to judge.")] = PartOfSplit.VAL,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set; by default the one of the training.", show_default=False),
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            metavar="A,B…",
            help="Of noise, blur, bias, ghosts, contrast, downsampling, rotation, missing.",
            show_default="all",
        ),
    ] = "",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to segment.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished study.")] = False,
) -> None:
    """Judge runs on the same scans, undisturbed and made worse in eight ways, most in five strengths.

    Writes robustness.json, robustness.csv, patients.csv and report.html. With --part test this counts as one look at
    the test patients of each run. A study that was stopped goes on with --resume: each case is kept once it is whole.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit
    from tumorseg.studies.robustness import disturb_runs
    from tumorseg.studies.robustness_result import summary_rows

    found = disturb_runs(
        runs,
        output,
        part=part.value,
        data=data,
        only=tuple(word for word in (each.strip() for each in only.split(",")) if word),
        device=device,
        resume=resume,
        command=("tumorseg", *sys.argv[1:]),
        progress=console_progress(),
    )
    emit(aligned(summary_rows(found)))
    emit(f"report: {output / 'report.html'}")
