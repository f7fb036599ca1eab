"""What a split by slice gives away without any learning: the mask of the nearest slice that was trained on."""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.bootstrap import SEED
from tumorseg.metrics.overlap import Confusion, confusion_by_slice

FOLDS = 5


def nearest_in_other_folds(slices: int, scan: str, *, seed: int = SEED) -> NDArray[np.intp]:
    """For each slice of a scan the nearest slice that is dealt to another of five folds, of two the earlier.

    Slices are dealt at random, so that for each slice about four fifths of its scan count as trained on: the split
    by slice, as a cross-validation in which every slice is tested once.

    Args:
        slices: of the scan.
        scan: its id, by which the folds differ from scan to scan.
        seed: of the dealing.

    Returns:
        (slices,), indices; -1 where the scan has no other slice.
    """
    folds = np.random.default_rng((seed, zlib.crc32(scan.encode()))).permutation(slices) % FOLDS
    place = np.arange(slices)
    distance = np.abs(place[:, None] - place[None]).astype(np.float64)
    distance[folds[:, None] == folds[None]] = np.inf
    nearest = distance.argmin(axis=1) if slices else place
    return np.where(np.isfinite(distance[place, nearest]), nearest, -1).astype(np.intp)


def copied_from_neighbours(reference: NDArray[Any], scan: str, *, seed: int = SEED) -> Confusion:
    """Counts of a prediction that copies, for each slice, the reference of `nearest_in_other_folds`, (slices,).

    Args:
        reference: (slices, height, width), bool or class index.
        scan, seed: see `nearest_in_other_folds`.
    """
    source = nearest_in_other_folds(len(reference), scan, seed=seed)
    copied = reference[source] != 0
    copied[source < 0] = False
    return confusion_by_slice(copied, reference)
