"""Learning what training scans look like, so that a model can tell that another scan does not."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tumorseg.inference.trust import (
    FEW_SLICES,
    LEAST_AREA,
    Kind,
    Limit,
    Packed,
    Usual,
    distances,
    portraits,
    standardised,
    told_apart,
)
from tumorseg.likeness import Numbers, inversion, look_facts, noise_facts, order_facts, orders, turn_facts
from tumorseg.portrait import BRIGHT, Portrait
from tumorseg.preprocess import normalise, statistics
from tumorseg.progress import Progress, silent
from tumorseg.scan import Pixels, Scan
from tumorseg.training.alarm_limits import SLACK, Mode, choose_limits, found_share, leads

logger = logging.getLogger(__name__)

LEAST_PATIENTS = 10
"""Of fewer, nothing is learned."""

MOST_SCANS = 400
FOLDS = 5
ODD = 8.0
"""Robust standard deviations from the median beyond which a training scan has no say in the limits."""

MOST_ODD = 0.03
"""Share of the training scans that may be odd; where more are, none is."""

PENALTY = 0.003
RIDGE = 0.5
STEPS = 8
SLICES = 24
"""Of each scan, each by itself, the first and the last included: nobody says which one a lone slice is."""

USEFUL = 0.5
"""Share of disturbed training scans that must be found, else the way to find them is left out."""

SEED = 0


class _Seen:
    """One training scan: the facts of its portraits, first as parts of the scan and then each slice by itself."""

    def __init__(self, patient: str, whole: Sequence[Portrait], alone: Sequence[Portrait]) -> None:
        self.patient, self.whole = patient, len(whole)
        seen = [*whole, *alone]
        self.look = np.stack([look_facts(one) for one in seen])
        self.noise = np.array([noise_facts(one).mean() for one in seen])
        self.inversion = np.array([inversion(one) for one in seen])
        self.turn = np.stack([turn_facts(one) for one in seen])
        several = bool(orders(seen[0].head.shape[-1])) and told_apart(seen)
        self.order = np.stack([order_facts(one) for one in seen]) if several else None
        self.slices = len(seen)

    def looks(self, mode: Mode) -> Numbers:
        """Of each portrait of this kind, (portraits, numbers)."""
        return self.look[self.whole :] if mode == "lone" else self.look[: self.whole]

    def samples(self, values: Numbers, mode: Mode) -> Numbers:
        """What of it is held against limits: each slice by itself, or the mean over the slices of the scan."""
        if mode == "lone":
            return values[self.whole :]
        return values[: self.whole].mean(axis=0, keepdims=True) if self.whole >= FEW_SLICES else values[:0]


Fold = tuple[list[_Seen], list[_Seen]]


def learn_usual(scans: Sequence[Scan], channels: Sequence[str], *, progress: Progress = silent) -> Usual | None:
    """Learn it from the training scans; the limits are chosen by cross-validation over their patients.

    Args:
        scans: of the training part.
        channels: the model's, of which each scan has all.

    Returns:
        None where there are too few patients.
    """
    step = max(1, len(scans) // MOST_SCANS)
    watched = progress.track(scans[::step], what="Learning what the training scans look like")
    seen = [one for one in (_look_at(scan, channels) for scan in watched) if one is not None]
    patients = sorted({one.patient for one in seen})
    if len(patients) < LEAST_PATIENTS:
        logger.info("%d training patients are too few to learn what scans look like", len(patients))
        return None
    dealt = np.random.default_rng(SEED).permutation(len(patients))
    fold = {patients[place]: index % FOLDS for index, place in enumerate(dealt)}
    folds = [
        ([one for one in seen if fold[one.patient] != k], [one for one in seen if fold[one.patient] == k])
        for k in range(FOLDS)
    ]
    ways = {kind: dict(_scores(folds, facts)) for kind, facts in _WAYS}
    modes: list[Mode] = ["lone", "scan"] if any(one.whole >= FEW_SLICES for one in seen) else ["lone"]
    far = dict(_distances(folds, modes))
    values: dict[Mode, dict[Kind, Numbers]] = {}
    for mode in modes:
        values[mode] = {
            "look": _samples(seen, far, mode),
            "noise": _samples(seen, {one: one.noise for one in seen}, mode),
            "inversion": _samples(seen, {one: one.inversion for one in seen}, mode),
            **{kind: leads(_samples(seen, scores, mode), 0) for kind, scores in ways.items() if scores},
        }
    odd = _odd_ones(seen, ways)
    limits = {}
    for mode in modes:
        said = np.concatenate([np.full(len(one.samples(one.noise, mode)), one not in odd) for one in seen])
        scores = {kind: _samples(seen, each, mode)[said] for kind, each in ways.items() if each}
        limits[mode] = choose_limits({kind: each[said] for kind, each in values[mode].items()}, scores, SLACK[mode])
    hits: dict[str, float] = {}
    weights: dict[Kind, Packed] = {}
    for kind, facts in _WAYS:
        found = {
            mode: found_share(_samples(seen, ways[kind], mode), limits[mode][kind]) for mode in modes if ways[kind]
        }
        if max(found.values(), default=0.0) >= USEFUL:
            weights[kind] = Packed.of(
                _preference([_against(known) for one in seen if (known := facts(one)) is not None])
            )
            hits |= {f"{kind} {mode}": round(share, 4) for mode, share in found.items()}
        else:
            logger.info("the training scans do not tell %s", _IN_WORDS[kind])
            for mode in modes:
                values[mode].pop(kind, None)
    alarms: dict[str, float] = {}
    for mode in modes:
        above = {kind: each > limits[mode][kind] for kind, each in values[mode].items()}
        above_any = np.any(list(above.values()), axis=0)
        alarms |= {f"{kind} {mode}": round(float(each.mean()), 4) for kind, each in above.items()}
        alarms[f"any {mode}"] = round(float(above_any.mean()), 4)
    look, axes = _whitening(seen, modes[-1])
    look_alone, axes_alone = _whitening(seen, "lone")
    return Usual(
        order=weights.get("order"),
        turn=weights.get("turn"),
        look=Packed.of(look),
        axes=Packed.of(axes),
        look_alone=Packed.of(look_alone),
        axes_alone=Packed.of(axes_alone),
        limits={kind: Limit(lone=limits["lone"][kind], scan=limits[modes[-1]][kind]) for kind in values["lone"]},
        patients=len(patients),
        false_alarms=alarms,
        hits=hits,
    )


def whitening(values: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and spread, (2, numbers), and the axes that bring standardised numbers to unit variance.

    `RIDGE` is added to the eigenvalues of their covariance.

    Args:
        values: (samples, numbers).
    """
    look = np.stack([values.mean(axis=0), values.std(axis=0) + 1e-3])
    eigenvalues, vectors = np.linalg.eigh(np.cov(standardised(values, look).T))
    return look, np.asarray(vectors / np.sqrt(np.maximum(eigenvalues, 0) + RIDGE))


def _order_of(one: _Seen) -> Numbers | None:
    return one.order


def _turn_of(one: _Seen) -> Numbers | None:
    return one.turn


_WAYS: tuple[tuple[Kind, Callable[[_Seen], Numbers | None]], ...] = (("order", _order_of), ("turn", _turn_of))
_IN_WORDS = {"order": "the order of the channels", "turn": "which way up a slice is"}


def _look_at(scan: Scan, channels: Sequence[str]) -> _Seen | None:
    """The facts of a scan's portraits, as they are drawn in use, and of some slices alone; None where no head shows."""
    pixels = np.asarray(scan.pixels[..., [scan.channels.index(name) for name in channels]])
    whole = portraits(pixels) if len(pixels) >= FEW_SLICES else []
    some = pixels[np.unique(np.linspace(0, len(pixels) - 1, SLICES).round().astype(int))]
    alone = [one for frame in some[with_head(some)] for one in portraits(frame[None])]
    return _Seen(scan.patient, whole, alone) if whole or alone else None


def with_head(pixels: Pixels) -> NDArray[np.bool_]:
    """Which slices of a scan show enough of a head, (slices,): beyond the vertex there is noise, which is not learned.

    Args:
        pixels: (slices, height, width, channels) of one scan, from all over it.
    """
    grey = np.median(normalise(pixels, statistics(pixels, "volume-percentile")), axis=-1)
    usual = float(np.median(np.percentile(grey, 99, axis=(1, 2))))
    return np.asarray((grey > BRIGHT * usual).mean(axis=(1, 2)) >= LEAST_AREA)


def _samples(seen: Sequence[_Seen], values: Mapping[_Seen, Numbers], mode: Mode) -> Numbers:
    """What is held against limits, of all scans in their order; NaN of those that have no such values."""
    width = next(iter(values.values())).shape[1:]
    rows = []
    for one in seen:
        unknown = np.full((one.slices, *width), np.nan)
        rows.append(one.samples(values.get(one, unknown), mode))
    return np.concatenate(rows)


def _whitening(seen: Sequence[_Seen], mode: Mode) -> tuple[Numbers, Numbers]:
    values = np.concatenate([one.looks(mode) for one in seen])
    # A fold may have all of a set's few volumes, so that none is left to learn from.
    return whitening(values if len(values) > 1 else np.concatenate([one.look for one in seen]))


def _distances(folds: Sequence[Fold], modes: Sequence[Mode]) -> Iterator[tuple[_Seen, Numbers]]:
    for training, held_out in folds:
        ways = {mode: _whitening(training, mode) for mode in modes}
        for one in held_out:
            scan = ways.get("scan", ways["lone"])
            yield (
                one,
                np.concatenate([distances(one.looks("scan"), *scan), distances(one.looks("lone"), *ways["lone"])]),
            )


def _scores(folds: Sequence[Fold], facts: Callable[[_Seen], Numbers | None]) -> Iterator[tuple[_Seen, Numbers]]:
    """Of each scan that has such facts the score of every way, by weights that never saw its patient."""
    for training, held_out in folds:
        known = [_against(values) for one in training if (values := facts(one)) is not None]
        if not known:
            continue
        weights = _preference(known)
        for one in held_out:
            if (values := facts(one)) is not None:
                yield one, values @ weights


def _against(facts: Numbers) -> Numbers:
    """How the first way differs from each other, (samples, numbers)."""
    return (facts[:, :1] - facts[:, 1:]).reshape(-1, facts.shape[-1])


def _preference(against: Sequence[Numbers]) -> Numbers:
    """Weights by which the first way scores higher than the others: logistic regression without offset, ridged.

    Newton's method on the mean of log(1 + exp(-x w)), with `PENALTY` / 2 |w|² over standardised numbers.
    """
    values = np.concatenate(against)
    spread = values.std(axis=0) + 1e-3
    values = values / spread
    weights = np.zeros(values.shape[1])
    for _ in range(STEPS):
        doubt = 1 / (1 + np.exp(np.clip(values @ weights, -30, 30)))
        slope = values.T @ doubt / len(values) - PENALTY * weights
        bend = (values * (doubt * (1 - doubt))[:, None]).T @ values / len(values)
        weights = weights + np.linalg.solve(bend + PENALTY * np.eye(len(weights)), slope)
    return np.asarray(weights / spread)


def _odd_ones(seen: Sequence[_Seen], ways: Mapping[Kind, Mapping[_Seen, Numbers]]) -> set[_Seen]:
    """The few scans whose order or turn is so unlike all others' that a limit which spares them would find nothing.

    They still count as false alarms.
    """
    odd: set[_Seen] = set()
    for scores in ways.values():
        if not scores:
            continue
        leading = np.array([leads(each.mean(axis=0, keepdims=True), 0)[0] for each in scores.values()])
        middle = np.median(leading)
        spread = 1.4826 * np.median(np.abs(leading - middle)) + 1e-6
        odd |= {one for one, lead in zip(scores, leading, strict=True) if lead > max(middle + ODD * spread, 0)}
    if odd:
        logger.info("unlike all other training scans: %s", ", ".join(sorted(one.patient for one in odd)))
    return odd if len(odd) <= MOST_ODD * len(seen) else set()
