"""Where tumours lie: every head brought to one box, and the share of patients whose tumour covers a place of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.grid import Box
from tumorseg.preprocess import Array

GRID = 96
"""Rows and columns of the common box."""

_UNDER = 192


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where the tumours of one class lie.

    Attributes:
        name: of the class.
        share: (96, 96) float64: share of the patients whose tumour, in any slice, covers the place; the first row is
            the upper edge of the head's box, the first column its left edge.
        patients: with this class.
        head: (192, 192) uint8: the mean of these patients' heads, in the slice with the largest tumour.
        aspect: height of the mean head's box over its width.
    """

    name: str
    share: NDArray[np.float64]
    patients: int
    head: NDArray[np.uint8]
    aspect: float

    @property
    def densest(self) -> tuple[float, float, float]:
        """The place that most patients' tumours cover: across and down the box, 0 to 1, and their share."""
        row, column = np.unravel_index(int(self.share.argmax()), self.share.shape)
        return (float(column) + 0.5) / GRID, (float(row) + 0.5) / GRID, float(self.share.max())


@dataclass
class Whereabouts:
    """Gathers heat maps scan by scan; of each patient it keeps one bit a place.

    Attributes:
        classes: names of the mask values 1…K.
        planes: names of what maps are kept apart by besides; none keeps one map a class.
    """

    classes: Sequence[str]
    planes: Sequence[str] = ()
    _places: dict[tuple[int, str], NDArray[np.uint8]] = field(default_factory=dict)
    _heads: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    _boxes: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def add(
        self,
        patient: str,
        image: Array,
        masks: NDArray[np.uint8],
        box: Box,
        *,
        largest: int,
        white: float,
        plane: str = "",
    ) -> None:
        """Take in one scan.

        Args:
            patient: whose scan it is.
            image: (slices, height, width), the sequence that pictures show.
            masks: (slices, height, width), 0 background.
            box: of the head.
            largest: the slice with the largest tumour.
            white: the value that is drawn white.
            plane: of the scan, one of `planes`.
        """
        first = self.planes.index(plane) * len(self.classes) if self.planes else 0
        cut = np.s_[box.top : box.bottom, box.left : box.right]
        for value in range(1, len(self.classes) + 1):
            covered = (masks[(slice(None), *cut)] == value).any(axis=0)
            if not covered.any():
                continue
            index = first + value - 1
            packed = np.packbits(footprint(covered))
            key = (index, patient)
            self._places[key] = self._places[key] | packed if key in self._places else packed
            head = cv2.resize(image[largest][cut].astype(np.float32), (_UNDER, _UNDER))
            shown = np.clip(np.asarray(head, np.float64) / (white if white > 0 else 1.0), 0, 1)
            self._heads[index] = self._heads[index] + shown if index in self._heads else shown
            self._boxes.setdefault(index, []).append((box.height, box.width))

    def maps(self) -> tuple[HeatMap, ...]:
        """One for each class that occurs, in each plane."""
        found = []
        names = [f"{name}, {plane}" if plane else name for plane in self.planes or ("",) for name in self.classes]
        for index, name in enumerate(names):
            if index not in self._heads:
                continue
            packed = [places for (of, _), places in self._places.items() if of == index]
            total = np.zeros(GRID * GRID)
            for places in packed:
                total += np.unpackbits(places)
            heights, widths = np.array(self._boxes[index], float).mean(axis=0)
            found.append(
                HeatMap(
                    name=name,
                    share=total.reshape(GRID, GRID) / len(packed),
                    patients=len(packed),
                    head=(self._heads[index] / len(self._boxes[index]) * 255).round().astype(np.uint8),
                    aspect=float(heights / widths),
                )
            )
        return tuple(found)


def footprint(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask within the head's box on the common grid, (96, 96) bool; what is marked at all never vanishes."""
    area = cv2.resize(covered.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(area >= min(0.5, float(area.max()))) & (np.asarray(area) > 0)
