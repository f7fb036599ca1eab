"""Who is ahead on one part, by how much, and whether that is more than chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tumorseg.errors import DataError
from tumorseg.metrics.paired import PairedDifference, holm, paired_difference
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
        p_holm: of that difference, corrected for the number of arms that are held against the best.
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
    corrected = holm([row.behind.p if row.behind else math.nan for row in rows])
    return Standings(
        part, patients, tuple(replace(row, p_holm=value) for row, value in zip(rows, corrected, strict=True))
    )


def _mean(judged: Judged) -> float:
    value = judged.metrics.get("dice_patient", {}).get("mean")
    return math.nan if value is None else float(value)


def _sortable(judged: Judged) -> float:
    mean = _mean(judged)
    return _UNSCORED if math.isnan(mean) else mean
