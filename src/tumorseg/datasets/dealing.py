"""How a prepared data set is dealt into parts: by patient, by published folds, or by slice to measure leakage."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, Candidate, Part, Split, split_patients, with_test
from tumorseg.errors import DataError
from tumorseg.recipe import SplitShares

_log = logging.getLogger(__name__)


def make_split(store: Store, shares: SplitShares, *, fold: int | None = None, folds: int | None = None) -> Split:
    """Deal a data set into train, val and test.

    Args:
        store: whose patients or slices are dealt.
        shares: sizes, seed and unit.
        fold, folds: see `split_patients`; where the data set publishes as many folds, they are those.

    Raises:
        DataError: see `split_patients`; or folds of slices are asked for.
    """
    if shares.unit == "slice-with-leakage":
        if fold is not None or folds is not None:
            raise DataError(
                "--fold deals patients, but split.unit is slice-with-leakage",
                next_step="leave out --fold and --folds, or set split.unit=patient",
            )
        return split_slices_with_leakage(store.slice_keys, shares)
    if fold is not None and folds is not None and store.folds and len(set(store.folds.values())) == folds:
        return _published(store.candidates, store.folds, shares, fold, folds)
    return split_patients(store.candidates, shares, fold=fold, folds=folds)


def split_slices_with_leakage(keys: Sequence[str], shares: SplitShares) -> Split:
    """Deal single slices at random, so that slices of one patient come into several parts.

    Scores on such a split are too high, since neighbouring slices are nearly alike. It exists to measure by how much.

    Args:
        keys: of the slices, see `slice_key`.
        shares: of test and validation, and the seed.

    Raises:
        DataError: fewer slices than parts.
    """
    if len(keys) < len(PARTS):
        raise DataError(f"{len(keys)} slices cannot be split into {len(PARTS)} parts", next_step="add slices")
    # Every part holds a slice, whatever the shares come to.
    test = min(max(1, round(shares.test * len(keys))), len(keys) - 2)
    validation = min(max(1, round(shares.validation * len(keys))), len(keys) - test - 1)
    order = np.random.default_rng(shares.seed).permutation(len(keys))
    ordered = sorted(keys)
    parts: dict[str, Part] = {}
    for place, index in enumerate(order.tolist()):
        parts[ordered[index]] = "test" if place < test else "val" if place < test + validation else "train"
    return Split(parts, "slice-with-leakage")


def _published(
    candidates: Sequence[Candidate], folds: Mapping[str, int], shares: SplitShares, fold: int, count: int
) -> Split:
    numbers = sorted(set(folds.values()))
    if not 0 <= fold < count:
        raise DataError(f"there is no fold {fold} of {count}", next_step="folds count from 0 to --folds minus 1")
    test = {patient for patient, number in folds.items() if number == numbers[fold]}
    if len(candidates) - len(test) < 2:
        raise DataError(
            f"fold {fold} leaves {len(candidates) - len(test)} patients for training and validation",
            next_step="use the whole data set",
        )
    _log.info("fold %d is the published fold %d", fold, numbers[fold])
    return with_test(candidates, test, validation_share=shares.validation / (1 - 1 / count), seed=shares.seed)
