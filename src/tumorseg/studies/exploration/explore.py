"""Exploring a data set: read once, told on one page, with the numbers beside it."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from tumorseg.datasets.store import prepare
from tumorseg.files import atomic_folder, refuse_existing, write_text
from tumorseg.progress import Progress, silent
from tumorseg.studies.exploration.gather import gather
from tumorseg.studies.exploration.page import render
from tumorseg.studies.exploration.tables import write_tables

PAGE = "explore.html"

_log = logging.getLogger(__name__)


def explore_data(folder: Path, output: Path, *, command: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Write explore.html and CSVs about a data set, all of them or none.

    Args:
        folder: what `open_data` takes: the LGG set, the figshare set, or one's own pairs of images and masks.
        output: a folder that is new or empty.
        command: what the user typed, for the page.
        progress: watches the scans go by.

    Returns:
        The page; beside it lie patients.csv, slices.csv, intensities.csv, and where there is a split or a clinical
        table split.csv and clinical.csv.

    Raises:
        DataError: the data set is not whole, or of no layout that is known.
        OutputError: the output exists, or cannot be written.
    """
    folder, output = Path(folder), Path(output)
    refuse_existing(output)
    store = prepare(folder, progress=progress)
    found = gather(store, folder, progress=progress)
    for note in found.clinical.notes if found.clinical else ():
        _log.info("%s", note)
    if found.dealt.reason:
        _log.warning("no split.csv: %s", found.dealt.reason)
    with atomic_folder(output) as temporary:
        files = write_tables(temporary, found)
        write_text(temporary / PAGE, render(found, files=files, command=shlex.join(command)))
    return output / PAGE
