"""Numbers about portraits by which scans are told to be like, or unlike, others. Pure functions, NumPy in and out.

Three vectors: of the order of the channels, of the way up, and of the whole look. The first two are compared with what
they would be were the channels in another order, or the slice turned; the third with what is usual.
"""

from dataclasses import replace
from itertools import combinations, permutations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.portrait import Portrait

Numbers = NDArray[np.float64]

MOST_CHANNELS = 4
"""Of more, nobody tries all orders."""

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_CORE = np.ones((9, 9), np.uint8)
_FEW = 40


def orders(channels: int) -> tuple[tuple[int, ...], ...]:
    """All orders of so many channels, the one as they are first; none beyond `MOST_CHANNELS`."""
    return tuple(permutations(range(channels))) if channels <= MOST_CHANNELS else ()


def turned(one: Portrait, quarters: int) -> Portrait:
    """The portrait of the slice turned counterclockwise by quarters of a circle."""
    return replace(
        one,
        head=np.rot90(one.head, quarters),
        inside=np.rot90(one.inside, quarters),
        aspect=-one.aspect if quarters % 2 else one.aspect,
    )


def reordered(one: Portrait, order: tuple[int, ...]) -> Portrait:
    """The portrait of the slice with its channels in another order."""
    index = list(order)
    return replace(one, head=one.head[..., index], fringe=one.fringe[index], noise=one.noise[index])


def order_facts(one: Portrait) -> Numbers:
    """(orders, numbers): for each of `orders` what tells whether the channels are in the order that is usual.

    Brightness in the core and the rim of the head, detail, pairs of channels, and a small picture of each that is the
    same in mirror images.
    """
    head = np.ascontiguousarray(one.head, np.float32)
    core, rim = _core_and_rim(one)
    alone = _alone(head, core, rim)
    pairs = _pairs(head, core, rim)
    pictures = 0.5 * _picture(head, 12)
    rows = []
    for order in orders(head.shape[-1]):
        index = list(order)
        together = [pairs[a, b] for place, a in enumerate(index) for b in index[place + 1 :]]
        rows.append(np.concatenate([alone[index].ravel(), *together, pictures[index].ravel()]))
    return np.stack(rows)


def turn_facts(one: Portrait) -> Numbers:
    """(4, numbers): for each quarter turn what tells whether the slice stands as is usual; mirror images are alike."""
    rows = []
    for quarters in range(4):
        grey, region = _grey_and_region(turned(one, quarters), 16)
        sides = [_alike(values, values[mirror]) for values in (grey, region) for mirror in (_ACROSS, _DOWN)]
        rows.append(np.concatenate([_folded(grey), _folded(region), 3 * np.array(sides)]))
    return np.stack(rows)


def look_facts(one: Portrait) -> Numbers:
    """(numbers,): what a slice looks like: its outline, its parts, its brightness and its edges."""
    head = np.ascontiguousarray(one.head, np.float32)
    core, rim = _core_and_rim(one)
    grey, region = _grey_and_region(one, 8)
    detail = _detail(head)[core].std(axis=0)
    quantiles = np.quantile(head[core], (0.1, 0.5, 0.9), axis=0)
    outline = [np.log(one.area), one.aspect, one.solid, *(_alike(each, each[_ACROSS]) for each in (grey, region))]
    return np.concatenate(
        [
            outline,
            _folded(grey),
            _folded(region),
            quantiles.ravel(),
            np.median(head[rim], axis=0),
            np.log(detail + 0.01),
            # One channel may have a grey background, as a few of the LGG set have.
            [np.log(float(np.median(one.fringe)) + 0.05)],
            noise_facts(one),
        ]
    ).astype(np.float64)


def noise_facts(one: Portrait) -> Numbers:
    """(channels,): logarithm of the noise, as a share of what separates bright from dark in the core of the head."""
    core, _ = _core_and_rim(one)
    low, high = np.quantile(one.head[core], (0.1, 0.9), axis=0)
    return np.asarray(np.log((one.noise + 1e-3) / (high - low + 0.05)), np.float64)


def inversion(one: Portrait) -> float:
    """How much brighter the edge of the frame is than the head, mean of the channels; far below 0 where it is dark."""
    return float((one.fringe - one.head[one.inside].mean(axis=0)).mean())


_ACROSS = (slice(None), slice(None, None, -1))
_DOWN = (slice(None, None, -1), slice(None))


def _core_and_rim(one: Portrait) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The inner part of the head, and what is around it; of a small head all of it is both."""
    core = cv2.erode(one.inside.astype(np.uint8), _CORE) > 0
    if np.count_nonzero(core) < _FEW:
        core = one.inside
    rim = one.inside & ~core
    return np.asarray(core), rim if np.count_nonzero(rim) >= _FEW else one.inside


def _detail(head: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth = np.stack([cv2.blur(np.ascontiguousarray(head[..., each]), (7, 7)) for each in range(head.shape[-1])], -1)
    return np.asarray(head - smooth, np.float32)


def _alone(head: NDArray[np.float32], core: NDArray[np.bool_], rim: NDArray[np.bool_]) -> Numbers:
    """(channels, numbers) of each channel by itself."""
    brightness = np.quantile(head[core], _QUANTILES, axis=0)
    around = np.quantile(head[rim], (0.25, 0.5, 0.9), axis=0)
    detail = _detail(head)[core]
    spread = detail.std(axis=0) + 1e-3
    skew = np.clip(((detail - detail.mean(axis=0)) ** 3).mean(axis=0) / spread**3, -5, 5)
    tails = np.quantile(detail, (0.01, 0.05, 0.95, 0.99), axis=0)
    ratio = around[1] / (brightness[2] + 0.05)
    widths = brightness[4] - brightness[2], brightness[2] - brightness[0]
    return np.concatenate([brightness, around, [spread, skew], tails, [ratio, *widths]]).T.astype(np.float64)


def _pairs(
    head: NDArray[np.float32], core: NDArray[np.bool_], rim: NDArray[np.bool_]
) -> dict[tuple[int, int], Numbers]:
    """Numbers of each ordered pair of channels."""
    inner, outer, detail = head[core], head[rim], _detail(head)[core]
    fine, coarse = _correlations(detail), _correlations(inner)
    apart = _differences(inner, (0.02, 0.1, 0.5, 0.9, 0.98))
    finely = _differences(detail, (0.01, 0.99))
    around = _differences(outer, (0.25, 0.5, 0.75))
    return {
        pair: np.concatenate([apart[pair], [fine[pair], coarse[pair]], finely[pair], around[pair]]).astype(np.float64)
        for pair in permutations(range(head.shape[-1]), 2)
    }


def _differences(values: NDArray[np.float32], quantiles: tuple[float, ...]) -> dict[tuple[int, int], Numbers]:
    """Quantiles of each channel minus each other, the one way round computed and the other way its mirror image.

    Args:
        values: (pixels, channels).
        quantiles: rising, and the same backwards when each is taken from 1.
    """
    pairs = list(combinations(range(values.shape[-1]), 2))
    found: dict[tuple[int, int], Numbers] = {}
    if not pairs:
        return found
    apart = np.quantile(np.stack([values[:, a] - values[:, b] for a, b in pairs]), quantiles, axis=1)
    for (a, b), each in zip(pairs, apart.T, strict=True):
        found[a, b], found[b, a] = each, -each[::-1]
    return found


def _correlations(values: NDArray[np.float32]) -> Numbers:
    centred = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)
    return np.asarray(centred.T @ centred / len(centred), np.float64)


def _picture(head: NDArray[np.float32], side: int) -> Numbers:
    """(channels, numbers): a small picture of each channel, the mean of it and its mirror image."""
    return np.stack([_folded(_small(head[..., each], side)) for each in range(head.shape[-1])])


def _grey_and_region(one: Portrait, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _small(one.head.mean(axis=-1), side), _small(one.inside.astype(np.float32), side)


def _small(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    small = cv2.resize(np.ascontiguousarray(plane, np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _folded(values: NDArray[np.float32]) -> Numbers:
    """One half of the mean of a square and its mirror image."""
    return np.asarray((values + values[_ACROSS])[:, : values.shape[1] // 2].ravel() / 2, np.float64)


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's correlation; 0 where one is flat."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0
