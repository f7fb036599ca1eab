"""Whether a scan is like those that a model was trained on, and what seems wrong with it where it is not."""

import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tumorseg.errors import ModelError
from tumorseg.likeness import (
    Numbers,
    inversion,
    look_facts,
    noise_facts,
    order_facts,
    orders,
    reordered,
    turn_facts,
    turned,
)
from tumorseg.portrait import Portrait, portrait
from tumorseg.preprocess import normalise, statistics
from tumorseg.recipe import Part
from tumorseg.scan import Caution, Pixels

MOST_SLICES = 12
"""Of a scan that are looked at, from all over its middle."""

FEW_SLICES = 6
"""Of fewer, a scan is held to the limits of lone slices, which differ more from each other than scans do."""

LEAST_AREA = 0.06
"""Share of the frame that a head must cover to be told from anything else."""

ENDS = 0.1
"""Share of a scan's slices, at either end, that are not looked at: they hold the neck and the vertex."""

FAR = 8.0
"""Standard deviations; what is farther counts as this far."""

_TURNS = {1: "a quarter turn clockwise", 2: "upside down", 3: "a quarter turn anticlockwise"}

Kind = Literal["order", "turn", "look", "noise", "inversion"]


class Packed(Part):
    """Numbers of a model.json in one line: base64 of little-endian float32.

    Attributes:
        shape: of the array.
        base64: its values.
    """

    shape: tuple[int, ...] = Field(min_length=1, max_length=2)
    base64: str

    @model_validator(mode="after")
    def _is_whole(self) -> "Packed":
        if len(b64decode(self.base64, validate=True)) != 4 * math.prod(self.shape):
            raise ValueError("base64 does not hold as many numbers as shape says")
        return self

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Packed":
        """Pack an array."""
        return cls(shape=values.shape, base64=b64encode(values.astype("<f4").tobytes()).decode())

    @cached_property
    def array(self) -> Numbers:
        """The numbers, float64."""
        return np.frombuffer(b64decode(self.base64), "<f4").reshape(self.shape).astype(np.float64)


class Limit(Part):
    """Above what a statistic is an alarm.

    Attributes:
        lone: of a lone slice, or a few.
        scan: of a scan's mean.
    """

    lone: float
    scan: float


class Usual(Part):
    """What the training scans look like, as far as it is needed to tell that another does not.

    Attributes:
        order, turn: weights of `order_facts` and `turn_facts`; None where training scans cannot be told so.
        look: mean and spread of `look_facts`, (2, numbers).
        axes: (numbers, numbers) that bring standardised numbers to unit variance without correlation.
        look_alone, axes_alone: the same of lone slices, which differ more from each other; None in models of before
            2026-11-30, which hold them to those of scans.
        limits: of each statistic.
        patients: how many it was learned from.
        false_alarms, hits: shares of training scans in cross-validation by patient, as they are and disturbed, by
            kind and "scan" or "lone".
    """

    order: Packed | None = None
    turn: Packed | None = None
    look: Packed
    axes: Packed
    look_alone: Packed | None = None
    axes_alone: Packed | None = None
    limits: dict[Kind, Limit]
    patients: int
    false_alarms: dict[str, float] = Field(default_factory=dict)
    hits: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _belongs_together(self) -> "Usual":
        kinds = {"look", "noise", "inversion", *(kind for kind in ("order", "turn") if getattr(self, kind))}
        count = self.look.shape[-1]
        both = [(self.look, self.axes)]
        if self.look_alone is not None and self.axes_alone is not None:
            both.append((self.look_alone, self.axes_alone))
        fit = all(look.shape == (2, count) and axes.shape == (count, count) for look, axes in both)
        if kinds - set(self.limits) or not fit or (self.look_alone is None) != (self.axes_alone is None):
            raise ValueError("look, axes and limits do not belong together")
        return self

    def look_of(self, *, lone: bool) -> tuple[Numbers, Numbers]:
        """`look` and `axes` for a lone slice, or a few, or for a scan."""
        if lone and self.look_alone is not None and self.axes_alone is not None:
            return self.look_alone.array, self.axes_alone.array
        return self.look.array, self.axes.array


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is held against the limits, by kind, and the change that would make a scan most like the usual ones.

    Attributes:
        values: higher is worse.
        order: the order of the channels that fits best.
        quarters: the turn that fits best.
    """

    values: dict[Kind, float] = field(default_factory=dict)
    order: tuple[int, ...] = ()
    quarters: int = 0


def input_cautions(pixels: Pixels, usual: Usual, channels: Sequence[str]) -> tuple[Caution, ...]:
    """What seems wrong with a scan, in the light of the training scans.

    A change that explains all (another order of channels, a turn, inverted brightness) is named; what no such change
    makes usual is called unlike the training scans.

    Args:
        pixels: (slices, height, width, channels), the model's channels in its order.
        usual: of the model.
        channels: their names.

    Raises:
        ModelError: `usual` was learned from other facts than these, or from other channels.
    """
    seen = portraits(pixels)
    if not seen:
        advice = "check that it is the right file, and not a blank or cropped one"
        blank = len(pixels) >= FEW_SLICES or _flat(pixels)
        return (Caution("blank", "no head stands out from the background", advice),) if blank else ()
    lone = len(seen) < FEW_SLICES
    try:
        found = measured(seen, usual)
    except ValueError as error:
        # Vectors of other lengths cannot be multiplied.
        raise ModelError(
            "what model.json says of its training scans is not of this version of tumorseg, or of other channels",
            next_step="export the run again with --refit",
        ) from error
    wrong = exceeded(found, usual, lone=lone)
    if not wrong:
        return ()
    order = found.order if "order" in wrong else tuple(range(len(channels)))
    quarters = found.quarters if "turn" in wrong else 0
    mended = [reordered(turned(one, quarters), order) for one in seen]
    distance = _distance(mended, usual)
    limit = _limit(usual, "look", lone=lone)
    if distance > limit or "inversion" in wrong:
        again = portraits(_inverted(pixels))
        if "inversion" in wrong and again and not exceeded(measured(again, usual), usual, lone=lone):
            return (_INVERTED,)
        return (_NOISY,) if "noise" in wrong else (_UNLIKE,)
    cautions = []
    if "order" in wrong:
        cautions.append(_misordered(order, channels))
    if "turn" in wrong:
        cautions.append(_turned(quarters))
    if "noise" in wrong:
        cautions.append(_NOISY)
    return tuple(cautions)


def portraits(pixels: Pixels) -> list[Portrait]:
    """The portraits of some slices, of those where enough of a head shows.

    Args:
        pixels: (slices, height, width, channels).
    """
    chosen = pixels[list(looked_at(len(pixels)))]
    frames = normalise(chosen, statistics(chosen, "volume-percentile"))
    seen = [one for one in map(portrait, frames) if one is not None and one.area >= LEAST_AREA]
    # Where a bright background runs into one head, it seems to fill the frame; beside it all others would seem small.
    usual = float(np.median([one.area for one in seen])) if seen else 0.0
    seen = [one for one in seen if one.area <= 2 * usual]
    largest = max((one.area for one in seen), default=0.0)
    return [one for one in seen if one.area >= largest / 2]


def looked_at(slices: int, most: int = MOST_SLICES) -> tuple[int, ...]:
    """The slices of a scan that are looked at, rising."""
    if slices < FEW_SLICES:
        return tuple(range(slices))
    first, last = ENDS * (slices - 1), (1 - ENDS) * (slices - 1)
    return tuple(int(place) for place in np.unique(np.linspace(first, last, most).round()))


def measured(seen: Sequence[Portrait], usual: Usual) -> Statistics:
    """The statistics of one scan, each the mean over its slices."""
    values: dict[Kind, float] = {
        "look": _distance(seen, usual),
        "noise": float(np.mean([noise_facts(one).mean() for one in seen])),
        "inversion": float(np.mean([inversion(one) for one in seen])),
    }
    order: tuple[int, ...] = tuple(range(seen[0].head.shape[-1]))
    quarters = 0
    if usual.order is not None and told_apart(seen):
        scores = np.mean([order_facts(one) @ usual.order.array for one in seen], axis=0)
        values["order"] = lead(scores)
        order = orders(len(order))[int(scores.argmax())]
    if usual.turn is not None:
        scores = np.mean([turn_facts(one) @ usual.turn.array for one in seen], axis=0)
        values["turn"] = lead(scores)
        quarters = int(scores.argmax())
    return Statistics(values, order, quarters)


def exceeded(found: Statistics, usual: Usual, *, lone: bool) -> set[Kind]:
    """The statistics that are above their limits."""
    return {kind for kind, value in found.values.items() if value > _limit(usual, kind, lone=lone)}


def lead(scores: Numbers) -> float:
    """By how much the best of the other ways leads the first."""
    return float(scores[1:].max() - scores[0])


def told_apart(seen: Sequence[Portrait]) -> bool:
    """Whether the order of the channels can be told.

    Not where one replaces another, nor where one has a grey background: phase-sensitive T1 looks like no other.
    """
    channels = seen[0].head.shape[-1]
    return (
        channels > 1
        and not any(one.grey for one in seen)
        and all(
            any(not np.array_equal(one.head[..., a], one.head[..., b]) for one in seen)
            for a in range(channels)
            for b in range(a)
        )
    )


def _distance(seen: Sequence[Portrait], usual: Usual) -> float:
    facts = np.stack([look_facts(one) for one in seen])
    return float(distances(facts, *usual.look_of(lone=len(seen) < FEW_SLICES)).mean())


def distances(facts: Numbers, look: Numbers, axes: Numbers) -> Numbers:
    """Logarithm of the mean square by which slices differ from the usual look (Mahalanobis 1936), (slices,).

    Args:
        facts: (slices, numbers).
        look, axes: see `Usual`.
    """
    return np.asarray(np.log(np.square(standardised(facts, look) @ axes).mean(axis=1)))


def standardised(facts: Numbers, look: Numbers) -> Numbers:
    """In standard deviations from the mean, cut at `FAR`: one odd number alone does not make a slice unlike all."""
    return np.asarray(np.clip((facts - look[0]) / look[1], -FAR, FAR), np.float64)


def _limit(usual: Usual, kind: Kind, *, lone: bool) -> float:
    limit = usual.limits[kind]
    return limit.lone if lone else limit.scan


def _inverted(pixels: Pixels) -> Pixels:
    low, high = pixels.min(axis=(0, 1, 2)), pixels.max(axis=(0, 1, 2))
    return np.asarray(high - (pixels - low))


def _flat(pixels: Pixels) -> bool:
    return bool((pixels.min(axis=(0, 1, 2)) == pixels.max(axis=(0, 1, 2))).all())


_INVERTED = Caution(
    "inverted",
    "bright and dark seem to be exchanged",
    "the mask is not to be trusted; give the scan with a dark background",
)
_UNLIKE = Caution(
    "unlike",
    "this does not look like the scans that the model was trained on",
    "the mask is not to be trusted unless it is a whole head from the same direction, with these sequences",
)
_NOISY = Caution(
    "noise",
    "there is more noise than in the scans that the model was trained on",
    "look at the mask with care, or denoise the scan",
)


def _misordered(order: tuple[int, ...], channels: Sequence[str]) -> Caution:
    places = {place: name for name, place in zip(channels, order, strict=True)}
    looks = ", ".join(places[place] for place in range(len(channels)))
    named = " ".join(f"{name}={place}" for name, place in zip(channels, order, strict=True))
    return Caution(
        "order",
        f"what is given as {', '.join(channels)} looks like {looks}",
        f"check which sequence is which; if so, give --channels {named}",
    )


def _turned(quarters: int) -> Caution:
    # `quarters` counterclockwise put it right.
    return Caution(
        "turned",
        f"the slices seem to be turned: {_TURNS[quarters]}",
        "the mask is not to be trusted; turn them so that the face is as in the training scans",
    )
