"""An arm: one run of a study, with what its evaluations found."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError, ModelError
from tumorseg.evaluation.evaluate import read_log
from tumorseg.inference.run_folder import read_environment
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe


@dataclass(frozen=True, eq=False)
class Judged:
    """One run's evaluation on one part.

    Attributes:
        metrics: the content of metrics.json; a score that is 0/0 is None.
        patients: who was judged, sorted.
        dice: (patients,), float, NaN where both masks are empty.
        reference_voxels: (patients,), int, tumour in the reference.
    """

    metrics: Mapping[str, Any]
    patients: tuple[str, ...]
    dice: NDArray[np.float64]
    reference_voxels: NDArray[np.int64]

    @property
    def population(self) -> str:
        """The part that was judged: "train", "val", "test" or "external"."""
        return str(self.metrics.get("protocol", {}).get("part", ""))


@dataclass(frozen=True, eq=False)
class Arm:
    """One run of a study.

    Attributes:
        label: what tables call it.
        run: its folder.
        recipe: as it was resolved.
        environment: the content of its environment.json.
        log: rows of its log.csv.
        changed: whether the recipe differs from the one whose name it bears.
        judged: its evaluations by part.
    """

    label: str
    run: Path
    recipe: Recipe
    environment: Mapping[str, Any]
    log: Sequence[Mapping[str, float]] = ()
    changed: bool = False
    judged: Mapping[str, Judged] = field(default_factory=dict)


def open_arm(label: str, run: Path, *, changed: bool = False) -> Arm:
    """Read a run folder whose training has ended.

    Raises:
        ModelError: it is not a run folder, or its training has not ended.
    """
    environment = read_environment(run)
    if not (run / "model" / "model.json").is_file():
        raise ModelError(f"the training of {run} has not ended", next_step="go on with tumorseg train --resume")
    # An ensemble has no log of its own: its first member's stands for all of them.
    log = read_log(run / "log.csv") or read_log(run / "members" / "0" / "log.csv")
    return Arm(label, run, load_recipe(run / "recipe.yaml"), environment, log, changed)


def read_judged(folder: Path) -> Judged:
    """Read metrics.json and patients.csv of an evaluation.

    Raises:
        DataError: one of them is missing or damaged.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        with open(folder / "patients.csv", newline="", encoding="utf-8") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["patient"])
        dice = [float(row["dice"]) if row["dice"] else math.nan for row in rows]
        voxels = [int(row["reference_voxels"]) for row in rows]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is not a whole evaluation", next_step="delete that folder") from error
    return Judged(metrics, tuple(row["patient"] for row in rows), np.array(dice), np.array(voxels, np.int64))
