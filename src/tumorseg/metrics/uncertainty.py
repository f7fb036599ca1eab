"""Whether a model doubts most where it is most wrong: rank correlation and risk-coverage of doubt and error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import SEED, Interval
from tumorseg.metrics.overlap import Scores

RESAMPLES = 2_000
LEAST = 3
"""Items from which a rank correlation is told."""

_CHUNK = 1_000_000
_NOTHING = Interval(float("nan"), float("nan"))


@dataclass(frozen=True)
class Selective:
    """How well doubt ranks errors; NaN where there are too few items, or all are alike.

    Attributes:
        spearman: rank correlation of doubt and error, ties at their mean rank; 1 where the worst is doubted most.
        aurc: area under the risk-coverage curve: of the k items doubted least the mean error, averaged over
            k = 1…n (Geifman and El-Yaniv 2017), items of equal doubt in every order alike.
        aurc_oracle: the same of doubt that ranks as the error does; no ranking is lower.
        aurc_random: the mean error, which doubt without any knowledge gets on average.
        gain: (random - aurc) / (random - oracle): 1 for the best ranking, 0 for none, below 0 for a misleading one.
        n: items with a doubt and an error.
    """

    spearman: float
    aurc: float
    aurc_oracle: float
    aurc_random: float
    gain: float
    n: int


def entropy_by_slice(probability: NDArray[Any]) -> Scores:
    """Binary entropy of each slice, Σ -p log2(p) - (1-p) log2(1-p) over its pixels, (slices,), bits.

    Args:
        probability: of tumour, (slices, height, width), 0 to 1.
    """
    bits = np.empty(len(probability), np.float64)
    for index, values in enumerate(probability):
        p = np.asarray(values, np.float32)
        p = p[(p > 0) & (p < 1)]
        entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
        bits[index] = entropy.sum(dtype=np.float64)
    return bits


def selective(doubt: ArrayLike, error: ArrayLike) -> Selective:
    """Hold doubt against error.

    Args:
        doubt: (items,), larger where the model is less sure; NaN leaves the item out.
        error: (items,), larger where it is more wrong; NaN leaves the item out.

    Raises:
        ShapeMismatch: the two have different lengths.
    """
    one, other = _both(doubt, error)
    weights = np.ones((1, one.size))
    return _point(one, other, weights)


def selective_intervals(
    doubt: ArrayLike,
    error: ArrayLike,
    owners: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of spearman, aurc and gain, patients drawn with all their items.

    Args:
        doubt, error: as for `selective`.
        owners: (items,), whose item it is.
        level: share of the resampled values between the two ends.
        resamples: how often as many patients as there are are drawn, with replacement.
        seed: of the draw.

    Returns:
        By name; NaN at both ends where fewer than three patients have an item.
    """
    kept = _known(doubt, error)
    one, other = _both(doubt, error)
    names, owner = np.unique(np.asarray(owners)[kept], return_inverse=True)
    if names.size < LEAST:
        return dict.fromkeys(("spearman", "aurc", "gain"), _NOTHING)
    random = np.random.default_rng(seed)
    drawn: dict[str, list[Scores]] = {"spearman": [], "aurc": [], "gain": []}
    step = max(1, _CHUNK // one.size)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        times = random.multinomial(names.size, np.full(names.size, 1 / names.size), size=count)
        weights = times[:, owner].astype(np.float64)
        aurc, oracle, mean = _aurc(one, other, weights), _aurc(other, other, weights), _mean(other, weights)
        drawn["spearman"].append(_spearman(one, other, weights))
        drawn["aurc"].append(aurc)
        drawn["gain"].append(_gain(aurc, oracle, mean))
    return {name: _ends(np.concatenate(values), level) for name, values in drawn.items()}


def risk_coverage(doubt: ArrayLike, error: ArrayLike) -> tuple[Scores, Scores]:
    """The curve whose mean is `Selective.aurc`: coverage k/n and mean error of the k items doubted least.

    Returns:
        (items,) and (items,).
    """
    one, other = _both(doubt, error)
    order, group = _groups(one)
    sizes = np.bincount(group).astype(np.float64)
    alike = (np.bincount(group, weights=other[order]) / sizes)[group] if one.size else other
    counts = np.arange(1, one.size + 1)
    return counts / max(one.size, 1), np.cumsum(alike) / counts


def _both(doubt: ArrayLike, error: ArrayLike) -> tuple[Scores, Scores]:
    kept = _known(doubt, error)
    return np.asarray(doubt, np.float64)[kept], np.asarray(error, np.float64)[kept]


def _known(doubt: ArrayLike, error: ArrayLike) -> NDArray[np.bool_]:
    one, other = np.asarray(doubt, np.float64), np.asarray(error, np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ShapeMismatch(
            f"doubts of shape {one.shape} and errors of shape {other.shape} do not belong together",
            next_step="give one of each for every item",
        )
    return ~(np.isnan(one) | np.isnan(other))


def _point(doubt: Scores, error: Scores, weights: Scores) -> Selective:
    if doubt.size == 0:
        nothing = float("nan")
        return Selective(nothing, nothing, nothing, nothing, nothing, 0)
    aurc, oracle, mean = _aurc(doubt, error, weights), _aurc(error, error, weights), _mean(error, weights)
    rank = float(_spearman(doubt, error, weights)[0]) if doubt.size >= LEAST else float("nan")
    gain = float(_gain(aurc, oracle, mean)[0])
    return Selective(rank, float(aurc[0]), float(oracle[0]), float(mean[0]), gain, doubt.size)


def _groups(values: Scores) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rising order of values, and in that order the group of equal values that each is in, from 0."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    group = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])]) if values.size else np.zeros(0)
    return order, group.astype(np.intp)


def _group_sums(weights: Scores, group: NDArray[np.intp]) -> Scores:
    """Sums of weights, (draws, items) in rising order, over groups of equal values, (draws, groups)."""
    return np.asarray(np.add.reduceat(weights, np.flatnonzero(np.diff(group, prepend=-1)), axis=1), np.float64)


def _ranks(values: Scores, weights: Scores) -> Scores:
    """Mean ranks of items that are there `weights` times, (draws, items), in the items' own order."""
    order, group = _groups(values)
    sizes = _group_sums(weights[:, order], group)
    ranks = np.empty_like(weights)
    ranks[:, order] = (np.cumsum(sizes, axis=1) - sizes / 2 + 0.5)[:, group]
    return ranks


def _spearman(doubt: Scores, error: Scores, weights: Scores) -> Scores:
    one, other = _ranks(doubt, weights), _ranks(error, weights)
    # Whatever is there no time at all still has a rank here, and weighs nothing.
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    one, other = one - middle, other - middle
    together = (weights * one * other).sum(axis=1)
    scale = np.sqrt((weights * one**2).sum(axis=1) * (weights * other**2).sum(axis=1))
    return np.asarray(np.divide(together, scale, out=np.full(scale.shape, np.nan), where=scale > 0), np.float64)


def _aurc(doubt: Scores, error: Scores, weights: Scores) -> Scores:
    """Exact for whole weights: with c items and an error sum of s before a group of g items of mean error r,
    Σ_k (s + (k - c)·r) / k over k = c+1…c+g is g·r + (s - c·r)·(H(c+g) - H(c)), H the harmonic numbers."""
    order, group = _groups(doubt)
    times = weights[:, order]
    sizes = _group_sums(times, group)
    sums = _group_sums(times * error[order], group)
    after = np.cumsum(sizes, axis=1)
    before, summed = after - sizes, np.cumsum(sums, axis=1) - sums
    mean = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(after.max(initial=0)) + 1))])
    steps = harmonic[after.astype(np.intp)] - harmonic[before.astype(np.intp)]
    return np.asarray((sizes * mean + (summed - before * mean) * steps).sum(axis=1) / weights.sum(axis=1), np.float64)


def _mean(error: Scores, weights: Scores) -> Scores:
    return np.asarray(weights @ error / weights.sum(axis=1), np.float64)


def _gain(aurc: Scores, oracle: Scores, mean: Scores) -> Scores:
    room = mean - oracle
    # Where all errors are alike, what is left of the difference is the last bits of the sums.
    return np.asarray(
        np.divide(mean - aurc, room, out=np.full(room.shape, np.nan), where=room > 1e-12 * np.maximum(mean, 1e-300)),
        np.float64,
    )


def _ends(values: Scores, level: float) -> Interval:
    known = values[~np.isnan(values)]
    if not known.size:
        return _NOTHING
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
