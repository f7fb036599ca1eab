"""Which patients a report shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tumorseg.evaluation.facts import Example

WEAK = 0.8
"""Dice below which a patient counts as one that the model fails on."""


@dataclass(frozen=True)
class Selection:
    """Examples in three groups, none in two: worst from the worst on, median and best in falling order."""

    worst: tuple[Example, ...]
    median: tuple[Example, ...]
    best: tuple[Example, ...]


def select(examples: Sequence[Example], *, worst: int, median: int, best: int) -> Selection:
    """Choose by the patient's Dice; with few patients the worst go first, then the best.

    Args:
        examples: one per patient; those whose Dice is NaN are left out.
        worst, median, best: at most how many of each.
    """
    ranked = sorted((e for e in examples if math.isfinite(e.dice)), key=lambda example: (example.dice, example.patient))
    low = ranked[:worst]
    rest = ranked[worst:]
    high = rest[max(0, len(rest) - best) :] if best else []
    between = rest[: len(rest) - len(high)]
    middle = (len(ranked) - 1) / 2 - len(low)
    nearest = sorted(range(len(between)), key=lambda index: (abs(index - middle), index))[:median]
    return Selection(
        tuple(replace(example, role="worst") for example in low),
        tuple(replace(between[index], role="median") for index in sorted(nearest, reverse=True)),
        tuple(replace(example, role="best") for example in reversed(high)),
    )


def failures(examples: Sequence[Example], *, least: int = 3, most: int = 6) -> int:
    """How many of the worst patients to show: all weak ones, within bounds."""
    weak = sum(example.dice < WEAK for example in examples if math.isfinite(example.dice))
    return max(min(least, len(examples)), min(weak, most))
