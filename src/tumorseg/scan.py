"""The two nouns that pass between rooms: a Scan, and the Segmentation that answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""(slices, height, width, channels), the stored dtype."""

Mask = NDArray[np.uint8]
"""(slices, height, width), uint8: 0 background, 1…K the classes."""

Probabilities = NDArray[np.floating[Any]]
"""(slices, height, width), 0 to 1; of several classes (slices, height, width, K)."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a scan lie in the patient.

    Attributes:
        affine: (4, 4) float64; takes (slice, row, column, 1) of the scan's array to millimetres in the world of NIfTI,
            RAS+: the axes point to the patient's right, front and top.
        frame_of_reference: the DICOM UID of the space that these millimetres are of; "" where there is none.
    """

    affine: NDArray[np.float64]
    frame_of_reference: str = ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns."""
        slices, rows, columns = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return slices, rows, columns

    @property
    def voxel_volume(self) -> float:
        """Of one voxel, mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume, or one lone slice; its pixels are read when they are first asked for.

    Attributes:
        id: unique within the data set; for LGG the patient's folder name.
        patient: whose scan it is; one patient may own many.
        channels: names of the channel axis, such as ("pre", "flair", "post").
        read_pixels: reads (slices, height, width, channels) in the stored dtype.
        read_reference: reads the reference mask, (slices, height, width) uint8; None where there is none.
        slice_numbers: the number of each slice as its file names it.
        sources: the image file of each slice, or one file for all of them.
        institution: where it was acquired; "" where unknown.
        spacing: millimetres between slices, rows and columns; None where unknown; filled from the geometry.
        geometry: where its voxels lie in the patient; None where unknown.
    """

    id: str
    patient: str
    channels: tuple[str, ...]
    read_pixels: Callable[[], Pixels]
    read_reference: Callable[[], Mask] | None = None
    slice_numbers: tuple[int, ...] = ()
    sources: tuple[Path, ...] = ()
    institution: str = ""
    spacing: tuple[float, float, float] | None = None
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        if self.spacing is None and self.geometry is not None:
            object.__setattr__(self, "spacing", self.geometry.spacing)

    @cached_property
    def pixels(self) -> Pixels:
        """(slices, height, width, channels), the stored dtype; kept once read."""
        return self.read_pixels()

    @cached_property
    def reference(self) -> Mask | None:
        """(slices, height, width) uint8, 0 background and 1…K the classes; None where there is none."""
        return self.read_reference() if self.read_reference else None


class Caution(str):
    """What to know before a mask is used: one line for the person who reads it, with a code for programs.

    As a string it is the text and, behind a semicolon, the advice.

    Args:
        code: what kind, such as "turned"; see docs/trust.md.
        text: what seems wrong.
        advice: what to do about it; "" where there is nothing to do.
    """

    code: str
    text: str
    advice: str

    def __new__(cls, code: str, text: str, advice: str = "") -> "Caution":
        made = super().__new__(cls, f"{text}; {advice}" if advice else text)
        made.code, made.text, made.advice = code, text, advice
        return made

    def __getnewargs__(self) -> tuple[str, str, str]:  # type: ignore[override]
        return self.code, self.text, self.advice

    def reworded(self, change: Callable[[str], str]) -> "Caution":
        """The same with text and advice changed."""
        return Caution(self.code, change(self.text), change(self.advice))

    def as_json(self) -> dict[str, str]:
        """For programs: code, text and advice."""
        return {"code": self.code, "text": self.text, "advice": self.advice}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer to one scan, on the scan's own grid.

    Attributes:
        scan: what it answers.
        mask: (slices, height, width) uint8, 0 background, 1…K the classes.
        probability: (slices, height, width) float16, 0 to 1, of the tumour; of several classes, each by itself,
            (slices, height, width, K).
        measurements: named numbers about the mask, such as tumour_voxels.
        warnings: for the person who reads the mask.
    """

    scan: Scan
    mask: Mask
    probability: NDArray[np.float16]
    measurements: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
