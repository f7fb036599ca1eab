"""Who is ahead on one part, by how much, and whether that is more than chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.metrics.paired import PairedDifference, holm, paired_difference, wilcoxon
from tumorseg.studies.arm import Arm, Judged
from tumorseg.studies.published import Published, published_of

_UNSCORED = -1.0
"""Sorts an arm without any scored patient behind all others."""


@dataclass(frozen=True, eq=False)
class Standing:
    """One arm on one part.

    Attributes:
        arm, judged: whose, and what was found.
        behind: its Dice by patient minus that of the best arm, on identical patients; None for the best itself.
        p_holm: of that difference, corrected for all pairs of arms: which one is the best was seen on the same
            patients, so that every pair could have been the one that is tested.
        published: what its recipe's system reported for this part.
    """

    arm: Arm
    judged: Judged
    behind: PairedDifference | None
    p_holm: float
    published: tuple[Published, ...]

    @property
    def mean(self) -> float:
        """Dice by patient, mean; NaN where no patient has one."""
        return _mean(self.judged)


@dataclass(frozen=True, eq=False)
class Standings:
    """All arms on one part, the best mean Dice by patient first."""

    part: str
    patients: tuple[str, ...]
    rows: tuple[Standing, ...]

    @property
    def best(self) -> Standing:
        """The arm with the highest mean Dice by patient."""
        return self.rows[0]


def standings(arms: Sequence[Arm], part: str) -> Standings:
    """Rank the arms on one part and hold each against the best.

    Args:
        arms: each with an evaluation of that part.
        part: "train", "val" or "test".

    Raises:
        DataError: two arms were judged on different patients.
    """
    first = arms[0]
    patients = first.judged[part].patients
    for arm in arms[1:]:
        if arm.judged[part].patients != patients:
            raise DataError(
                f"{first.label} and {arm.label} were not judged on the same {part} patients",
                next_step="compare runs that were trained on one split",
            )
    ranked = sorted(arms, key=lambda arm: (-_sortable(arm.judged[part]), arm.label))
    best = ranked[0]
    rows = [
        Standing(
            arm,
            arm.judged[part],
            None if arm is best else paired_difference(arm.judged[part].dice, best.judged[part].dice),
            math.nan,
            published_of(arm.recipe.name, part),
        )
        for arm in ranked
    ]
    corrected = _corrected(ranked, part)
    return Standings(
        part, patients, tuple(replace(row, p_holm=value) for row, value in zip(rows, corrected, strict=True))
    )


def _corrected(ranked: Sequence[Arm], part: str) -> list[float]:
    """For each arm, best first, the p value against the best, Holm-corrected for all pairs; NaN for the best."""
    pairs = list(combinations(range(len(ranked)), 2))
    scores = [arm.judged[part].dice for arm in ranked]
    p_values = [wilcoxon(_differences(scores[one], scores[other])) for one, other in pairs]
    of_pair = dict(zip(pairs, holm(p_values), strict=True))
    return [math.nan, *(of_pair[0, index] for index in range(1, len(ranked)))]


def _differences(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the patients who have a score from both."""
    found = one - other
    return np.asarray(found[~np.isnan(found)], np.float64)


def _mean(judged: Judged) -> float:
    value = judged.metrics.get("dice_patient", {}).get("mean")
    return math.nan if value is None else float(value)


def _sortable(judged: Judged) -> float:
    mean = _mean(judged)
    return _UNSCORED if math.isnan(mean) else mean
