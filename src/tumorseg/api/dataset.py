"""A data set as an object: what it holds, whether it is whole, how it is dealt, what is trained on it."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tumorseg.api.table import Table
from tumorseg.datasets.split import Split
from tumorseg.errors import DataError, few
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

if TYPE_CHECKING:
    from tumorseg.api.picture import Picture
    from tumorseg.api.run import Run
    from tumorseg.datasets.check import CheckReport
    from tumorseg.datasets.check_set import SetReport
    from tumorseg.datasets.prepared import Store
    from tumorseg.recipe import Recipe, SplitShares


class Dataset:
    """Scans with reference masks; pixels are read when they are first used.

    Iterating gives the scans; `dataset["PATIENT"]` is a scan by its patient or id.

    Args:
        path: where it lies.
        store: its prepared form.
    """

    def __init__(self, path: Path, store: "Store") -> None:
        self.path = path
        self.store = store

    @property
    def name(self) -> str:
        """What people call it."""
        return self.store.name

    @property
    def channels(self) -> tuple[str, ...]:
        """The sequences of every scan."""
        return self.store.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the mask values 1…K."""
        return self.store.classes

    @cached_property
    def scans(self) -> tuple[Scan, ...]:
        """Sorted by id."""
        return tuple(self.store.scans)

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Whose scans they are, sorted."""
        return tuple(sorted({scan.patient for scan in self.scans}))

    def __len__(self) -> int:
        return len(self.scans)

    def __iter__(self) -> Iterator[Scan]:
        return iter(self.scans)

    def __getitem__(self, name: str) -> Scan:
        """The scan of this id, or the first one of this patient."""
        for scan in self.scans:
            if name in (scan.id, scan.patient):
                return scan
        raise DataError(f"{self.name} has no patient or scan {name!r}", next_step=f"it has {few(self.patients)}")

    def __repr__(self) -> str:
        slices = len(self.store.scan_index)
        share = np.count_nonzero(self.store.tumour_pixels)
        return (
            f"<data set {self.name}: {len(self.patients)} patients, {len(self)} scans, {slices:,} slices "
            f"({share:,} with tumour); {', '.join(self.channels)}; classes: {', '.join(self.classes)}>"
        )

    def table(self) -> Table:
        """One row a patient: institution, scans, slices, slices with tumour, tumour pixels of each class."""
        rows: dict[str, dict[str, Any]] = {}
        for entry in self.store.stored:
            here = slice(entry.first, entry.first + entry.shape[0])
            row = rows.setdefault(
                entry.patient,
                {
                    "patient": entry.patient,
                    "institution": entry.institution,
                    "scans": 0,
                    "slices": 0,
                    "tumour_slices": 0,
                }
                | {f"{name}_pixels": 0 for name in self.classes},
            )
            row["scans"] += 1
            row["slices"] += entry.shape[0]
            row["tumour_slices"] += int(np.count_nonzero(self.store.tumour_pixels[here]))
            for name, count in zip(self.classes, self.store.class_pixels[here].sum(axis=0).tolist(), strict=True):
                row[f"{name}_pixels"] += count
        return Table(rows[patient] for patient in sorted(rows))

    def check(self, *, progress: Progress = silent) -> "CheckReport | SetReport":
        """Read every file and say what would spoil training, as `tumorseg data check` does."""
        from tumorseg.datasets.check_set import check_data

        return check_data(self.path, progress=progress)

    def split(
        self,
        *,
        test: float | None = None,
        validation: float | None = None,
        seed: int | None = None,
        fold: int | None = None,
        folds: int | None = None,
    ) -> Split:
        """Deal the patients into train, val and test; nobody is in two parts.

        Args:
            test, validation, seed: shares and seed of the dealing; None takes what training takes by itself.
            fold, folds: fold `fold` (from 0) of `folds` is the test part.

        Raises:
            DataError: there are fewer patients than parts, or no such fold.
        """
        from tumorseg.datasets.dealing import make_split

        given = {"test": test, "validation": validation, "seed": seed}
        shares = _shares({key: value for key, value in given.items() if value is not None})
        return make_split(self.store, shares, fold=fold, folds=folds)

    def show(self, patient: str | None = None, slice: int | None = None) -> "Picture":
        """A picture of one slice with the reference outlined; see `tumorseg.show`."""
        from tumorseg.api.picture import draw

        return draw(self[patient if patient is not None else self.patients[0]], slice)

    def train(self, recipe: "str | Path | Recipe" = "default", output: str | Path = "run", **settings: Any) -> "Run":
        """Train on it; see `tumorseg.train`."""
        from tumorseg.api.run import train

        return train(recipe, self, output, **settings)

    def explore(self, output: str | Path, *, progress: Progress = silent) -> Path:
        """Write the exploratory page and its tables; see `tumorseg.explore`."""
        from tumorseg.api.data import explore

        return explore(self, output, progress=progress)

    def export(self, output: str | Path, to: Literal["npz", "png", "nifti"], *, progress: Progress = silent) -> Path:
        """Write its scans for other tools; see `tumorseg.export`."""
        from tumorseg.api.data import export

        return export(self, output, to, progress=progress)


def open_dataset(path: str | Path, *, progress: Progress = silent) -> Dataset:
    """Open a data set of any layout that is known; it is read once, and found again later.

    Args:
        path: the folder kaggle_3m, the figshare set, or image and mask pairs of one's own; see docs/data.md.
        progress: watches the scans go by.

    Raises:
        DataError: nothing is there, no layout fits, or the data set is not whole.
    """
    from tumorseg.datasets.store import prepare

    return Dataset(Path(path), prepare(Path(path), progress=progress))


def split(dataset: "Dataset | str | Path", **how: Any) -> Split:
    """Deal the patients of a data set into train, val and test; see `Dataset.split`."""
    return opened(dataset).split(**how)


def opened(dataset: "Dataset | str | Path") -> Dataset:
    """The data set itself, where a path was given as well."""
    return dataset if isinstance(dataset, Dataset) else open_dataset(dataset)


def where(dataset: "Dataset | str | Path") -> Path:
    """Where a data set lies."""
    return dataset.path if isinstance(dataset, Dataset) else Path(dataset)


def make_phantom(
    folder: str | Path, *, patients: int = 24, slices: int = 20, seed: int = 0, progress: Progress = silent
) -> Dataset:
    """Make a synthetic data set in the layout of the LGG set: heads with lesions, nobody's scans.

    Args:
        folder: takes the folder kaggle_3m.
        patients, slices: how many, and slices of each.
        seed: the same seed gives the same files.

    Raises:
        OutputError: `folder` has such a data set already, or cannot be written.
    """
    from tumorseg.datasets.phantom import write_phantom

    return open_dataset(write_phantom(Path(folder), patients=patients, slices=slices, seed=seed, progress=progress))


def _shares(given: dict[str, Any]) -> "SplitShares":
    from pydantic import ValidationError

    from tumorseg.recipe import SplitShares

    try:
        return SplitShares(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"split: {first['loc'][0]}: {first['msg'].lower()}", next_step="change that value") from error
