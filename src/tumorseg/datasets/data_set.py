"""A data set, whatever layout it lies in: what training, judging and the store need to know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tumorseg.progress import Progress
from tumorseg.scan import Scan

Kind = Literal["lgg", "figshare", "folder"]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Scans with reference masks that share channels and classes; pixels are read when first used.

    Attributes:
        name: for people: kaggle_3m, figshare, or the folder's name.
        kind: the layout.
        folder: where it lies.
        scans: sorted by id.
        channels: of every scan.
        classes: names of the mask values 1…K.
        files: every file it was read from.
        folds: the published fold of each patient; None where none are published.
        warnings: what whoever trains on it must be told, one line each.
    """

    name: str
    kind: Kind
    folder: Path
    scans: tuple[Scan, ...]
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    folds: Mapping[str, int] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Source:
    """A data set of which only the names of its files are known; opening it reads what is in them.

    Attributes:
        kind, folder, files: as of the data set.
        described_by: those of `files` whose content says how the others are read, such as dataset.yaml.
        read: opens it; raises DataError where it is not whole.
    """

    kind: Kind
    folder: Path
    files: tuple[Path, ...]
    read: Callable[[Progress], DataSet]
    described_by: tuple[Path, ...] = ()
