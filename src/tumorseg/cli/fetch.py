"""`tumorseg data fetch`: bring a published data set, whole or not at all."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg data fetch lgg data/lgg"

MOST_SECONDS = 3600.0
MOST_ATTEMPTS = 100


def fetch(
    name: Annotated[str, typer.Argument(metavar="lgg|figshare", help="Which published set.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; a new folder.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|FILE", help="A mirror, or what was downloaded by hand."),
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Give up a connection that is silent.")] = 30.0,
    attempts: Annotated[int, typer.Option(metavar="N", help="How many in a row may fail.")] = 8,
) -> None:
    """Download a published data set, verify and unpack it; a download that broke off is gone on with.

    DIR appears when the set is whole, and not before. Its licence is shown first.
    """
    from tumorseg.answer import Patience
    from tumorseg.cli.console import console_progress, emit
    from tumorseg.datasets.fetch import fetch_data
    from tumorseg.errors import DataError

    if not 0 < timeout <= MOST_SECONDS:
        raise DataError(f"--timeout {timeout} is out of range", next_step=f"give up to {MOST_SECONDS:.0f} seconds")
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise DataError(f"--attempts {attempts} is out of range", next_step=f"give a number from 1 to {MOST_ATTEMPTS}")
    patience = Patience(timeout=timeout, attempts=attempts)
    emit(str(fetch_data(name, folder, source=source, patience=patience, progress=console_progress())))
