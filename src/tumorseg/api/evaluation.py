"""An evaluation as an object: scores by key, tables of patients and slices, the report."""

import csv
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from tumorseg.api.dataset import Dataset, where
from tumorseg.api.table import Table
from tumorseg.errors import DataError
from tumorseg.progress import Progress, silent

if TYPE_CHECKING:
    from tumorseg.api.run import Run


class Evaluation:
    """How good segmentations are, patient by patient; `evaluation["dice_patient"]["mean"]` is the headline.

    Args:
        folder: with metrics.json, patients.csv and slices.csv in it.

    Raises:
        DataError: it holds no whole evaluation.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.scores: Mapping[str, Any] = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder} is not a whole evaluation", next_step="evaluate again") from error

    def __getitem__(self, key: str) -> Any:
        """A score of metrics.json."""
        if key not in self.scores:
            raise DataError(f"there is no score {key!r}", next_step=f"there are {', '.join(self.scores)}")
        return self.scores[key]

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    @cached_property
    def patients(self) -> Table:
        """The scores of each patient."""
        return self._read("patients.csv")

    @cached_property
    def slices(self) -> Table:
        """The counts of each slice."""
        return self._read("slices.csv")

    def headline(self) -> Table:
        """The few lines that people read first, as `tumorseg evaluate` prints them."""
        from tumorseg.evaluation.headline import headline

        rows = headline(self.folder / "metrics.json")
        return Table({"score": name, "value": value} for name, value in rows)

    def __repr__(self) -> str:
        return f"<evaluation {self.folder}>\n{self.headline()!r}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self.folder))}</p>{self.headline()._repr_html_()}"

    def _read(self, name: str) -> Table:
        try:
            with open(self.folder / name, newline="", encoding="utf-8") as file:
                return Table({key: _value(text) for key, text in row.items()} for row in csv.DictReader(file))
        except OSError as error:
            raise DataError(f"{self.folder} is not a whole evaluation", next_step="evaluate again") from error


def evaluate(
    run: "Run | str | os.PathLike[str]",
    part: str = "test",
    data: "Dataset | str | Path | None" = None,
    output: str | Path | None = None,
    *,
    augmented: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Judge a run by patient on a part of its split, as `tumorseg evaluate` does.

    How often the test patients were looked at is counted, since every look is a chance to choose by them.

    Args:
        run: what was trained.
        part: "test", "val" or "train".
        data: the data set; None takes the one of the training.
        output: None takes RUN/evaluation/<data set>-<part>.
        augmented: judge on scans changed by the recipe's augmentation.
        progress: watches the scans go by.

    Raises:
        TumorsegError: the run, the data set or the part is missing or not whole.
    """
    from tumorseg.evaluation.evaluate import evaluate_run

    change = None
    if augmented:
        from tumorseg.api.run import Run
        from tumorseg.training.augmented import augmenter

        change = augmenter(Run(Path(run)).recipe)
    folder = evaluate_run(
        Path(run),
        part,
        where(data) if data is not None else None,
        Path(output) if output is not None else None,
        change=change,
        change_name="augmented" if augmented else "",
        progress=progress,
    )
    return Evaluation(folder)


def evaluate_masks(
    predictions: str | Path, reference: Dataset | str | Path, output: str | Path, *, progress: Progress = silent
) -> Evaluation:
    """Judge masks that any tool has drawn, as `tumorseg evaluate --predictions` does; needs neither model nor torch.

    Args:
        predictions: a folder of masks in any format that is read, named as the references are.
        reference: a data set with masks, or a folder of masks.
        output: a folder that is new, empty or an earlier evaluation.
        progress: watches the scans go by.

    Raises:
        TumorsegError: a folder is missing, names, sizes or values do not fit.
    """
    from tumorseg.evaluation.evaluate_masks import evaluate_masks as judge_masks

    return Evaluation(judge_masks(Path(predictions), where(reference), Path(output), progress=progress))


def _value(text: str) -> Any:
    """What a cell of a table holds."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
