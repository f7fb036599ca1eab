"""Which layout lies at a path: the LGG set, the figshare set, or a folder of one's own."""

import os
from pathlib import Path

from tumorseg.datasets.data_set import DataSet, Source
from tumorseg.datasets.figshare import find_figshare, holds_figshare
from tumorseg.datasets.folder import DESCRIPTION, TABLE, find_folder, holds_pairs
from tumorseg.datasets.lgg import find_lgg, holds_lgg
from tumorseg.errors import DataError
from tumorseg.progress import Progress, silent

_EXPECTED = (
    "give the folder kaggle_3m, the folder or ZIP of the figshare set, or image and mask pairs with a "
    f"{DESCRIPTION} or {TABLE} (see docs/data.md); or make data with: tumorseg data phantom DIR"
)


def open_data(path: Path, *, progress: Progress = silent) -> DataSet:
    """Recognise what lies at `path` and read who and what is in it; pixels are read when first used.

    Args:
        path: a folder with a data set in it, a ZIP of the figshare set, or one's own dataset.yaml or CSV of pairs.

    Raises:
        DataError: nothing is there, no layout fits, two do, or the data set is not whole.
    """
    return find_data(path).read(progress)


def find_data(path: Path) -> Source:
    """The same by the names of the files alone.

    Raises:
        DataError: nothing is there, no layout fits, or two do.
    """
    path = Path(path)
    if path.is_dir():
        return _find_in_folder(path)
    if not path.exists():
        raise DataError(f"data folder {path} does not exist", next_step=_EXPECTED)
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return find_figshare(path)
    if suffix in (".csv", ".yaml", ".yml"):
        return find_folder(path)
    raise DataError(f"{path} is not a folder, ZIP, CSV or YAML file", next_step=_EXPECTED)


def _find_in_folder(folder: Path) -> Source:
    if (folder / DESCRIPTION).is_file() or (folder / TABLE).is_file():
        return find_folder(folder)
    lgg, figshare, pairs = "", "", ""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in names if not name.startswith("."))
        here = Path(place).resolve()
        lgg = lgg or (place if holds_lgg(here, names) else "")
        figshare = figshare or (place if holds_figshare(names) else "")
        pairs = pairs or (place if holds_pairs(folders, names) else "")
    if lgg and figshare:
        raise DataError(
            f"{folder} holds two data sets: the LGG layout in {lgg}, the figshare layout in {figshare}",
            next_step="give the folder of one of them",
        )
    if lgg:
        return find_lgg(folder)
    if figshare:
        return find_figshare(folder)
    if pairs:
        return find_folder(folder)
    if any(folder.glob("*.zip")):
        return find_figshare(folder)
    raise DataError(f"no data set of a known layout under {folder}", next_step=_EXPECTED)
