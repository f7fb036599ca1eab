"""Above what the checks of an input raise an alarm: limits that find the most for few false alarms."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tumorseg.inference.trust import Kind
from tumorseg.likeness import Numbers

Mode = Literal["lone", "scan"]

ALLOWED = 0.02
"""Share of the training scans that may raise any false alarm, in cross-validation."""

SHARES: dict[Kind, float] = {"look": 0.005, "inversion": 0.003, "noise": 0.003}
"""That these may raise by themselves; order and turn take what is left, where it finds most."""

GAIN = 0.002
"""Share of disturbed scans that another false alarm must be worth."""

MOST_DOUBLINGS = 6
"""Of the number of false alarms that are granted together."""

SLACK: dict[Mode, dict[Kind, float]] = {
    "lone": {"look": 0.0, "inversion": 0.5, "noise": 3.0},
    "scan": {"look": 0.75, "inversion": 1.0, "noise": 1.5},
}
"""What a limit lies above the highest that is allowed, in robust standard deviations.

Of lone slices the least usual look much as pictures of other things do; a whole scan that is inverted is far from all
others. Little noise does no harm.
"""


def choose_limits(
    values: Mapping[Kind, Numbers], scores: Mapping[Kind, Numbers], slack: Mapping[Kind, float]
) -> dict[Kind, float]:
    """Limits at which all statistics together raise at most `ALLOWED` false alarms, and find as much as they can.

    One odd scan must not keep a statistic from finding others: false alarms are granted one by one, each to the
    statistic that finds most more by it.

    Args:
        values: of each statistic, (samples,), NaN where a sample has none.
        scores: of order and turn, the score of every way, (samples, ways).
        slack: of the other statistics; see `SLACK`.
    """
    count = len(next(iter(values.values())))
    granted = {kind: round(SHARES.get(kind, 0.0) * count) for kind in values}
    limits = {kind: _limit(each, granted[kind], slack.get(kind)) for kind, each in values.items()}
    step = max(1, round(count / 1000))
    while True:
        gains: list[tuple[float, Kind, float, int]] = []
        for kind, each in scores.items():
            # Several at once: behind a few odd ones, which are worth nothing, may lie many that are.
            for more in (step * 2**power for power in range(MOST_DOUBLINGS)):
                lower = _limit(values[kind], granted[kind] + more, slack.get(kind))
                if alarmed_share(values, {**limits, kind: lower}) <= ALLOWED:
                    gain = found_share(each, lower) - found_share(each, limits[kind])
                    gains.append((gain * step / more, kind, lower, more))
        if not gains or max(gains)[0] < GAIN:
            return limits
        _, best, limits[best], more = max(gains)
        granted[best] += more


def leads(scores: Numbers, way: int) -> Numbers:
    """By how much the best other way leads `way`, for each sample: what `lead` gives were the scan given so.

    Args:
        scores: (samples, ways).
        way: index of it.
    """
    return np.asarray(np.delete(scores, way, axis=1).max(axis=1) - scores[:, way])


def found_share(scores: Numbers, limit: float) -> float:
    """Share of those that raise an alarm when given any of the other ways.

    Args:
        scores: (samples, ways), the usual way first; NaN where a sample has none.
        limit: of the lead.
    """
    known = scores[~np.isnan(scores[:, 0])]
    return float(np.mean([leads(known, way) > limit for way in range(1, scores.shape[1])]))


def alarmed_share(values: Mapping[Kind, Numbers], limits: Mapping[Kind, float]) -> float:
    """Share of scans that raise any false alarm."""
    return float(np.any([each > limits[kind] for kind, each in values.items()], axis=0).mean())


def _limit(values: Numbers, granted: int, slack: float | None) -> float:
    """Above all values but so many; a lead has no slack, and below 0 the way that is given scores best."""
    ordered = np.sort(values[~np.isnan(values)])
    highest = float(ordered[-1 - min(granted, len(ordered) - 1)])
    if slack is None:
        return round(max(highest, 0.0), 4)
    spread = 1.4826 * float(np.median(np.abs(ordered - np.median(ordered))))
    return round(highest + slack * spread, 4)
