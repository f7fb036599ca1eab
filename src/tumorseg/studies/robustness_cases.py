"""What is done to the scans of a robustness study: seven disturbances in five strengths, and sequences that lack."""

import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from tumorseg.disturbances import DISTURBANCES, Disturbance, Scale, disturb
from tumorseg.errors import RecipeError
from tumorseg.scan import Mask, Pixels, Scan

SEED = 20261121

MISSING = "missing"
"""Key of the family whose cases are no strengths of one thing."""

KEYS = (*(disturbance.key for disturbance in DISTURBANCES), MISSING)

Change = Callable[[Scan, Scale], Scan]


@dataclass(frozen=True, eq=False)
class Case:
    """One way in which all scans are changed.

    Attributes:
        family: key of its family.
        step: 1 for the mildest.
        strength: in the family's unit; NaN for a missing sequence.
        label: the strength in words.
        change: of a scan whose common scale is known.
    """

    family: str
    step: int
    strength: float
    label: str
    change: Change

    @property
    def key(self) -> str:
        """Unique within a study, such as noise-3."""
        return f"{self.family}-{self.step}"


@dataclass(frozen=True, eq=False)
class Family:
    """The cases of one disturbance, from the mildest on.

    Attributes:
        key, label, unit, meaning: see `Disturbance`.
        neutral: the strength at which nothing changes; NaN where cases are no strengths.
    """

    key: str
    label: str
    unit: str
    meaning: str
    neutral: float
    cases: tuple[Case, ...]

    @property
    def graded(self) -> bool:
        """Whether its cases are strengths of one thing."""
        return self.key != MISSING


def families_of(channels: Sequence[str], only: Collection[str] = ()) -> tuple[Family, ...]:
    """All families that scans with these sequences allow.

    Args:
        channels: the scans' sequences that any of the models takes.
        only: keys of the families that are wanted; none means all.

    Raises:
        RecipeError: an unknown key, or nothing is left to do.
    """
    if unknown := [key for key in only if key not in KEYS]:
        raise RecipeError(
            f"--only names '{unknown[0]}', which is no disturbance", next_step=f"choose from {', '.join(KEYS)}"
        )
    found = [_family(each) for each in DISTURBANCES if not only or each.key in only]
    if (not only or MISSING in only) and (lacking := _missing(channels)):
        found.append(lacking)
    if not found:
        raise RecipeError(
            f"scans with the one sequence {', '.join(channels)} cannot lack one", next_step="choose others with --only"
        )
    return tuple(found)


def _family(disturbance: Disturbance) -> Family:
    cases = [
        Case(disturbance.key, step, strength, f"{strength:g}", _disturbing(disturbance, strength))
        for step, strength in enumerate(disturbance.strengths, start=1)
    ]
    return Family(
        disturbance.key,
        disturbance.label,
        disturbance.unit,
        disturbance.meaning,
        disturbance.neutral,
        tuple(cases),
    )


def _disturbing(disturbance: Disturbance, strength: float) -> Change:
    def change(scan: Scan, scale: Scale) -> Scan:
        @cache
        def both() -> tuple[Pixels, Mask]:
            pixels, reference = scan.pixels, scan.reference
            assert reference is not None
            rng = np.random.default_rng((SEED, zlib.crc32(disturbance.key.encode()), zlib.crc32(scan.id.encode())))
            slices, height, width, channels = pixels.shape
            drawn = disturbance.draw(strength, (slices, height, width, channels), rng)
            return disturb(pixels, reference, drawn, scale)

        return replace(scan, read_pixels=lambda: both()[0], read_reference=lambda: both()[1])

    return change


def _missing(channels: Sequence[str]) -> Family | None:
    """What can be missing: any sequence but FLAIR, which then stands in; and sequences that are there but black."""
    if len(channels) < 2:
        return None
    ways: list[tuple[str, Change]] = []
    others = tuple(name for name in channels if name != "flair")
    if "flair" in channels:
        ways += [(f"no {name}", _without((name,))) for name in others]
        if len(others) > 1:
            ways += [(f"no {_joined(others)}", _without(others)), (f"{_joined(others)} black", _black(others))]
        ways.append(("FLAIR black", _black(("flair",))))
    else:
        ways += [(f"{name} black", _black((name,))) for name in others]
    return Family(
        MISSING,
        "Missing sequence",
        "",
        "A sequence that is not there is replaced by FLAIR, as in use and as in the LGG set. One that is there but "
        "black, as some exports fill it, is not: the model sees it black.",
        float("nan"),
        tuple(Case(MISSING, step, float("nan"), label, change) for step, (label, change) in enumerate(ways, start=1)),
    )


def _without(names: Sequence[str]) -> Change:
    def change(scan: Scan, scale: Scale) -> Scan:
        kept = [index for index, name in enumerate(scan.channels) if name not in names]
        return replace(
            scan,
            channels=tuple(scan.channels[index] for index in kept),
            read_pixels=lambda: scan.pixels[..., kept],
        )

    return change


def _black(names: Sequence[str]) -> Change:
    def change(scan: Scan, scale: Scale) -> Scan:
        def read() -> Pixels:
            pixels = np.array(scan.pixels)
            for index, name in enumerate(scan.channels):
                if name in names:
                    pixels[..., index] = pixels[..., index].min()
            return pixels

        return replace(scan, read_pixels=read)

    return change


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
