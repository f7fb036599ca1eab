"""Fetching, exploring and exporting data sets."""

from pathlib import Path
from typing import Literal

from tumorseg.api.dataset import Dataset, open_dataset, where
from tumorseg.progress import Progress, silent


def fetch(
    name: Literal["lgg", "figshare"],
    folder: str | Path,
    *,
    source: str | Path | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Bring a published data set here, whole and verified or not at all, as `tumorseg data fetch` does.

    Args:
        name: which one.
        folder: where to; a download that broke off goes on.
        source: a mirror's address, or what was downloaded by hand.
        progress: told of MiB, files and patients.

    Raises:
        DownloadError: it cannot be had; the message says how to do it by hand.
    """
    from tumorseg.datasets.fetch import fetch_data

    return open_dataset(fetch_data(name, Path(folder), source=source, progress=progress), progress=progress)


def explore(data: Dataset | str | Path, output: str | Path, *, progress: Progress = silent) -> Path:
    """Describe a data set in one offline page and tables, as `tumorseg data explore` does.

    Returns:
        The page, explore.html.

    Raises:
        DataError: the data set is not whole.
        OutputError: `output` holds something else, or cannot be written.
    """
    from tumorseg.studies.exploration.explore import explore_data

    return explore_data(where(data), Path(output), progress=progress)


def export(
    data: Dataset | str | Path, output: str | Path, to: Literal["npz", "png", "nifti"], *, progress: Progress = silent
) -> Path:
    """Write scans and masks as other tools read them, as `tumorseg data export` does.

    Returns:
        The folder.

    Raises:
        DataError: the data set is not whole.
        OutputError: `output` holds something, or cannot be written.
    """
    from tumorseg.datasets.export import export_data

    export_data(where(data), Path(output), to=to, progress=progress)
    return Path(output)
