"""Who is held out when: the splits of a cross-validation, and the proof that no patient is on both sides of one."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split, with_test
from tumorseg.errors import DataError, RecipeError, few
from tumorseg.recipe import SplitShares

logger = logging.getLogger(__name__)

By = Literal["fold", "institution"]


@dataclass(frozen=True)
class HeldOut:
    """One fold: its name, and who trains, chooses and is tested in it."""

    name: str
    split: Split


def hold_out(store: Store, shares: SplitShares, *, by: By, folds: int) -> tuple[HeldOut, ...]:
    """The splits of a cross-validation; over all of them every patient is tested at most once.

    By fold, the patients are dealt as `make_split` deals them, and each is tested once. By institution, each with two
    patients or more is tested once as a whole; a patient who is alone at an institution always trains.

    Args:
        store: the data set.
        shares: the share of validation, drawn from whoever is not tested, and the seed.
        by: what is held out.
        folds: how many; not used by institution.

    Raises:
        RecipeError: the recipe deals slices.
        DataError: too few patients or institutions; or copies of one slice lie on both sides of a split.
    """
    if shares.unit != "patient":
        raise RecipeError(
            "split.unit is slice-with-leakage, and cross-validation deals patients",
            next_step="set split.unit=patient, or see tumorseg audit-leakage",
        )
    held = _by_institution(store, shares) if by == "institution" else _by_fold(store, shares, folds)
    _refuse_doubled(held)
    _refuse_copies(held, copies_between_patients(store))
    return held


def copies_between_patients(store: Store) -> Mapping[tuple[str, str], int]:
    """How many slices two patients have in common, pixel for pixel, by pair of patients; blank slices aside."""
    owners: dict[bytes, set[str]] = defaultdict(set)
    for entry in store.stored:
        for frame in store.pixels(entry):
            if frame.min() == frame.max():
                continue
            digest = hashlib.blake2b(f"{frame.shape} {frame.dtype} ".encode(), digest_size=16)
            digest.update(frame.tobytes())
            owners[digest.digest()].add(entry.patient)
    pairs: Counter[tuple[str, str]] = Counter()
    for names in owners.values():
        ordered = sorted(names)
        pairs.update((one, other) for index, one in enumerate(ordered) for other in ordered[index + 1 :])
    return pairs


def never_tested(held: Sequence[HeldOut]) -> tuple[str, ...]:
    """Patients whom no fold tests, sorted."""
    tested = {patient for fold in held for patient in fold.split.patients("test")}
    return tuple(sorted(set(held[0].split.parts) - tested))


def _by_fold(store: Store, shares: SplitShares, folds: int) -> tuple[HeldOut, ...]:
    return tuple(HeldOut(f"fold-{fold}", make_split(store, shares, fold=fold, folds=folds)) for fold in range(folds))


def _by_institution(store: Store, shares: SplitShares) -> tuple[HeldOut, ...]:
    candidates = store.candidates
    sizes = Counter(candidate.institution for candidate in candidates)
    if unknown := sizes.get("", 0):
        raise DataError(
            f"{store.name} does not say the institution of {unknown} patients", next_step="take --by fold instead"
        )
    lone = {candidate.patient: candidate.institution for candidate in candidates if sizes[candidate.institution] == 1}
    tested = sorted(name for name, size in sizes.items() if size > 1)
    if len(tested) < 2:
        raise DataError(
            f"{store.name} has {len(tested)} institution{'s' * (len(tested) != 1)} with two patients or more",
            next_step="take --by fold instead",
        )
    for patient, institution in lone.items():
        logger.info("%s is the only patient of %s: always trained on, never tested", patient, institution)
    dealt = [candidate for candidate in candidates if candidate.patient not in lone]
    held = []
    for name in tested:
        out = {candidate.patient for candidate in dealt if candidate.institution == name}
        if len(dealt) - len(out) < 2:
            raise DataError(
                f"without {name}, {len(dealt) - len(out)} patient is left to train and validate on",
                next_step="take --by fold instead",
            )
        share = shares.validation / (1 - len(out) / len(candidates))
        split = with_test(dealt, out, validation_share=min(share, 0.5), seed=shares.seed)
        held.append(HeldOut(name, Split({**split.parts, **dict.fromkeys(lone, "train")})))
    return tuple(held)


def _refuse_doubled(held: Sequence[HeldOut]) -> None:
    """Raise DataError where a patient would be tested by two folds; the splits are drawn so that none is."""
    times = Counter(patient for fold in held for patient in fold.split.patients("test"))
    if doubled := sorted(patient for patient, count in times.items() if count > 1):
        raise DataError(
            f"more than one fold would test {few(doubled)}",
            next_step="give each patient one institution, or take --by fold",
        )


def _refuse_copies(held: Sequence[HeldOut], copies: Mapping[tuple[str, str], int]) -> None:
    """Raise DataError where a tested patient has a slice that a patient on the other side of the split has too."""
    for fold in held:
        for (one, other), slices in sorted(copies.items()):
            sides = {fold.split.parts[one] == "test", fold.split.parts[other] == "test"}
            if len(sides) == 2:
                raise DataError(
                    f"{one} and {other} have {slices} slice{'s' * (slices != 1)} in common, pixel for pixel, and "
                    f"{fold.name} would train on one and test the other",
                    next_step="give both the same patient, or remove one of them from the data set",
                )
