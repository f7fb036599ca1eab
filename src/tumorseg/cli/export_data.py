"""`tumorseg data export`: a data set as arrays, pictures or volumes for other programs."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg data export kaggle_3m --to nifti --output lgg-nifti"


def export_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set: a folder, ZIP, CSV or YAML file.")],
    to: Annotated[str, typer.Option(metavar="npz|png|nifti", help="npz and nifti: a file a scan; png: one a slice.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The new folder.")],
) -> None:
    """Write the scans and masks of a data set for other programs; tumorseg reads the folder back as it is."""
    from tumorseg.cli.console import console_progress, emit
    from tumorseg.datasets.export import export_data as write

    emit(str(write(folder, output, to=to, progress=console_progress())))
