"""What an exploration finds, as rows: one a slice, one a patient, one a scan and sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SliceRow:
    """One slice.

    Attributes:
        scan, patient, institution: whose it is.
        number: as its file names it.
        position: of its middle along the slice axis, 0 (before the first) to 1; NaN where the scan is one slice.
        height, width: in pixels.
        head_pixels: pixels of the head, see `tumorseg.studies.exploration.intensity`.
        tumour_pixels: of any class.
        class_pixels: of each class.
        tumour_mm2: area of the tumour; None where the spacing is unknown.
        plane: told from the picture where the set does not record it, see `tumorseg.studies.exploration.planes`;
            "" where it was not asked for.
    """

    scan: str
    patient: str
    institution: str
    number: int
    position: float
    height: int
    width: int
    head_pixels: int
    tumour_pixels: int
    class_pixels: tuple[int, ...]
    tumour_mm2: float | None
    plane: str = ""


@dataclass(frozen=True)
class PatientRow:
    """One patient, over all scans.

    Attributes:
        patient, institution: "" where the institution is unknown.
        scans, slices, tumour_slices: how many.
        tumour_voxels: of any class.
        class_slices: slices that show each class.
        main_class: the class with the most slices, 1…K; 0 where there is no tumour.
        tumour_ml: volume of the tumour; None where the spacing of a scan is unknown.
        stand_ins: sequences that FLAIR stands in for, in any scan.
    """

    patient: str
    institution: str
    scans: int
    slices: int
    tumour_slices: int
    tumour_voxels: int
    class_slices: tuple[int, ...]
    main_class: int
    tumour_ml: float | None
    stand_ins: tuple[str, ...]


@dataclass(frozen=True)
class Brightness:
    """One sequence of one scan; values as stored.

    Attributes:
        blank_slices: slices of one value throughout.
        low, p99, high: 0.5th, 99th and 99.5th percentile of the whole scan, background included.
        head: 5th, 25th, 50th, 75th and 95th percentile of the head.
        tumour, rest: median of the tumour, and of the rest of the head in the slices with tumour; NaN without tumour.
        contrast: (tumour - rest) / (high - low); NaN without tumour.
        brighter: how likely a pixel of the tumour, drawn at random, is brighter than one of the rest, ties counted
            half (Mann & Whitney 1947, U / mn); NaN without tumour.
    """

    blank_slices: int
    low: float
    p99: float
    high: float
    head: tuple[float, float, float, float, float]
    tumour: float
    rest: float
    contrast: float
    brighter: float


@dataclass(frozen=True, kw_only=True)
class IntensityRow(Brightness):
    """The brightness of one sequence of one scan, and whose it is.

    Attributes:
        scan, patient, institution, sequence: whose it is.
    """

    scan: str
    patient: str
    institution: str
    sequence: str


HEAD_PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Spread:
    """How values are distributed: their number and five percentiles, NaN where there are none."""

    count: int
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


def spread(values: Sequence[float]) -> Spread:
    """The distribution of the finite ones among some values."""
    found: NDArray[np.float64] = np.array([value for value in values if np.isfinite(value)], np.float64)
    if not found.size:
        nan = float("nan")
        return Spread(0, nan, nan, nan, nan, nan)
    return Spread(found.size, *(float(value) for value in np.percentile(found, HEAD_PERCENTILES)))
