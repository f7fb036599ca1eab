"""`tumorseg data explore`: look at a data set before training on it."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg data explore kaggle_3m --output exploration"


def explore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set: a folder, ZIP, CSV or YAML file.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the page.", show_default=False)],
) -> None:
    """Write one offline page about a data set, explore.html, and the numbers behind it as CSV."""
    import sys

    from tumorseg.cli.console import console_progress, emit
    from tumorseg.studies.exploration.explore import explore_data

    page = explore_data(folder, output, command=("tumorseg", *sys.argv[1:]), progress=console_progress())
    emit(str(page))
