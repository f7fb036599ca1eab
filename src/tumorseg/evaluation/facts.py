"""What a report tells beside the scores: the run that was judged, and pictures of its patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tumorseg.recipe import Recipe

Role = Literal["worst", "median", "best", ""]
"""Why an example is shown; "" where it is for the report to choose."""


@dataclass(frozen=True)
class RunFacts:
    """What was trained on what, as the report tells it.

    Attributes:
        name: of the run.
        recipe: as it was resolved; None where masks of unknown making were judged.
        environment: the content of the run's environment.json; keys that are missing are left out of the report.
        log: rows of the run's log.csv, one per epoch; a value that was not measured is absent or NaN.
        split_counts: patients in each part, such as {"train": 66, "val": 9, "test": 13}.
        model_parameters: weights of the network; None where unknown.
        command: the command that trained it.
        part: which part was judged: "test", "val" or "train"; "" where nobody knows.
        dataset: name of the data set that was judged.
        readings: how often the test part of this split was read, this time included; None where not counted.
    """

    name: str
    recipe: Recipe | None
    environment: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, float]] = ()
    split_counts: Mapping[str, int] = field(default_factory=dict)
    model_parameters: int | None = None
    command: str = ""
    part: str = "test"
    dataset: str = ""
    readings: int | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """One slice of one patient, as the pictures show it.

    Attributes:
        patient, institution, slice_number: which slice it is.
        image: (height, width, 3) uint8, pre-contrast, FLAIR, post-contrast; or (height, width) uint8, FLAIR alone.
        reference, predicted: (height, width) bool.
        dice: of the whole patient, 0 to 1; NaN where both masks are empty.
        role: why it is shown; the report chooses for itself.
        sequence: name of the channel that is shown in grey.
        lone: id of the scan, where it is of one slice and its number says nothing.
    """

    patient: str
    institution: str
    slice_number: int
    image: NDArray[np.uint8]
    reference: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    dice: float
    role: Role = ""
    sequence: str = "FLAIR"
    lone: str = ""

    @property
    def place(self) -> str:
        """Which slice of the patient it is, in words."""
        return f"scan {self.lone}" if self.lone else f"slice {self.slice_number}"


def sequence_name(channels: Sequence[str]) -> str:
    """What people call the channel that pictures show in grey: FLAIR, or where there is none the first."""
    shown = "flair" if "flair" in channels or not channels else channels[0]
    return {"flair": "FLAIR", "pre": "pre-contrast", "post": "post-contrast"}.get(shown, shown)
