"""Learning what training scans look like, so that a model can tell that another scan does not."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tumorseg.inference.trust import FEW_SLICES, Kind, Limit, Packed, Usual, looked_at, portraits, told_apart
from tumorseg.likeness import Numbers, inversion, look_facts, noise_facts, order_facts, orders, turn_facts
from tumorseg.portrait import Portrait
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

logger = logging.getLogger(__name__)

LEAST_PATIENTS = 10
"""Of fewer, nothing is learned."""

MOST_SCANS = 400
FOLDS = 5
ALLOWED = 0.005
"""Share of the training scans that each statistic may raise a false alarm on, in cross-validation."""

PENALTY = 0.01
RIDGE = 0.1
STEPS = 8
SLICES = 10
"""Of each scan."""

SLACK = 0.5
"""What a limit lies above the highest that is allowed, in robust standard deviations, where nothing else bounds it."""

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

    def samples(self, values: Numbers, *, lone: bool) -> Numbers:
        """What of it is held against limits: each slice by itself, or the mean over the slices of the scan."""
        if lone:
            return values[self.whole :]
        return values[: self.whole].mean(axis=0, keepdims=True) if self.whole >= FEW_SLICES else values[:0]


Fold = tuple[list[_Seen], list[_Seen]]
Apply = Callable[[_Seen], Numbers]


def learn_usual(scans: Sequence[Scan], channels: Sequence[str], *, progress: Progress = silent) -> Usual | None:
    """Learn it from the training scans; the limits are chosen by cross-validation over their patients.

    Args:
        scans: of the training part.
        channels: the model's, of which each scan has all.

    Returns:
        None where there are too few patients.
    """
    watched = progress.track(
        scans[:: max(1, len(scans) // MOST_SCANS)], what="Learning what the training scans look like"
    )
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
    values: dict[Kind, dict[str, Numbers]] = {
        "look": _each_mode(_distances(folds)),
        "noise": _each_mode((one, one.noise) for one in seen),
        "inversion": _each_mode((one, one.inversion) for one in seen),
    }
    hits: dict[str, float] = {}
    limits = {kind: _limit(found, slack=SLACK) for kind, found in values.items()}
    weights: dict[str, Packed] = {}
    for kind, facts in _WAYS:
        scores = _each_mode(_scores(folds, facts))
        values[kind] = {mode: _leads(found, 0) for mode, found in scores.items()}
        limits[kind] = _limit(values[kind], slack=0.0, least=0.0)
        found = {mode: _found(scores[mode], getattr(limits[kind], mode)) for mode in scores}
        if found and max(found.values()) >= USEFUL:
            weights[kind] = Packed.of(_preference([_against(facts(one)) for one in seen if facts(one) is not None]))
            hits |= {f"{kind} {mode}": round(share, 4) for mode, share in found.items()}
        else:
            del values[kind], limits[kind]
            logger.info("the training scans do not tell %s", _IN_WORDS[kind])
    alarms = {
        f"{kind} {mode}": round(float(np.mean(each > getattr(limits[kind], mode))), 4)
        for kind, found in values.items()
        for mode, each in found.items()
    }
    look, axes = whitening(np.concatenate([one.look for one in seen]))
    return Usual(
        order=weights.get("order"),
        turn=weights.get("turn"),
        look=Packed.of(look),
        axes=Packed.of(axes),
        limits=limits,
        patients=len(patients),
        false_alarms=alarms,
        hits=hits,
    )


def whitening(values: Numbers) -> tuple[Numbers, Numbers]:
    """Mean, and the axes that bring what differs from it to unit variance without correlation.

    Each number is standardised first; `RIDGE` is added to the eigenvalues of the correlation matrix.

    Args:
        values: (samples, numbers).
    """
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-6
    eigenvalues, vectors = np.linalg.eigh(np.atleast_2d(np.corrcoef(((values - mean) / spread).T)))
    return mean, (vectors / np.sqrt(np.maximum(eigenvalues, 0) + RIDGE)) / spread[:, None]


def _order_of(one: _Seen) -> Numbers | None:
    return one.order


def _turn_of(one: _Seen) -> Numbers | None:
    return one.turn


_WAYS: tuple[tuple[Kind, Callable[[_Seen], Numbers | None]], ...] = (("order", _order_of), ("turn", _turn_of))
_IN_WORDS = {"order": "the order of the channels", "turn": "which way up a slice is"}


def _look_at(scan: Scan, channels: Sequence[str]) -> _Seen | None:
    """The facts of some of a scan's slices, and of the same ones alone; None where no head shows."""
    index = [scan.channels.index(name) for name in channels]
    places = looked_at(len(scan.pixels), SLICES)
    pixels = np.asarray(scan.pixels[list(places)][..., index])
    whole = portraits(pixels) if len(pixels) >= FEW_SLICES else []
    alone = [one for frame in pixels for one in portraits(frame[None])]
    return _Seen(scan.patient, whole, alone) if whole or alone else None


def _each_mode(found: Iterable[tuple[_Seen, Numbers]]) -> dict[str, Numbers]:
    """What is held against the limits of lone slices, and of scans where there are such."""
    pairs = list(found)
    modes = {}
    for mode in ("lone", "scan"):
        samples = [one.samples(values, lone=mode == "lone") for one, values in pairs]
        if any(len(sample) for sample in samples):
            modes[mode] = np.concatenate(samples)
    return modes


def _distances(folds: Sequence[Fold]) -> Iterator[tuple[_Seen, Numbers]]:
    for training, held_out in folds:
        mean, axes = whitening(np.concatenate([one.look for one in training]))
        for one in held_out:
            yield one, np.log(np.square((one.look - mean) @ axes).mean(axis=1))


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


def _leads(scores: Numbers, way: int) -> Numbers:
    """By how much the best other way leads `way`, for each sample: what `lead` gives were the scan given so."""
    return np.asarray(np.delete(scores, way, axis=1).max(axis=1) - scores[:, way])


def _found(scores: Numbers, limit: float) -> float:
    """Share of scans that raise an alarm when given any of the other ways."""
    return float(np.mean([_leads(scores, way) > limit for way in range(1, scores.shape[1])]))


def _limit(values: dict[str, Numbers], *, slack: float, least: float = -np.inf) -> Limit:
    """Above all but `ALLOWED` of the values, and at least one; where there are no scans, that of lone slices."""
    found = {}
    for mode, each in values.items():
        ordered = np.sort(each)
        left_out = min(max(1, round(ALLOWED * len(ordered))), len(ordered) - 1)
        spread = 1.4826 * float(np.median(np.abs(ordered - np.median(ordered))))
        found[mode] = max(float(ordered[-1 - left_out]) + slack * spread, least)
    lone = found.get("lone", found.get("scan", least))
    return Limit(lone=round(lone, 4), scan=round(found.get("scan", lone), 4))
