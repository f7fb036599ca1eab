"""How bright a scan is: percentiles of each sequence, and the tumour against the rest of the head.

The head is what is brighter than 12 % of the way from the scan's darkest value to its 99th percentile, within the box
of the head. Air, bone and fluid that is dark are not in it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorseg.grid import Box
from tumorseg.preprocess import Array, Float32
from tumorseg.studies.exploration.rows import Brightness

_THRESHOLD = 0.12
_EIGHT_BITS = np.arange(256, dtype=np.float32)

Counts = NDArray[np.int64]
"""(256,) int64: how often each level occurs."""


def head_of(pixels: Array, box: Box, histograms: Counts, levels: Float32 | None) -> NDArray[np.bool_]:
    """Where the head is, (slices, height, width) bool.

    Args:
        pixels: (slices, height, width, channels).
        box: of the head.
        histograms, levels: of the scan, see `brightness`.
    """
    channel = min(1, pixels.shape[-1] - 1)  # the one that the box was found in
    own = _EIGHT_BITS if levels is None else levels[channel]
    counts = histograms[:, channel].sum(axis=0)
    darkest, brightest = at_share(counts, own, 0.0), at_share(counts, own, 0.99)
    inside = np.zeros(pixels.shape[:3], bool)
    part = np.s_[:, box.top : box.bottom, box.left : box.right]
    inside[part] = pixels[(*part, channel)] > darkest + _THRESHOLD * (brightest - darkest)
    return inside


def brightness(
    pixels: Array, masks: NDArray[np.uint8], head: NDArray[np.bool_], histograms: Counts, levels: Float32 | None
) -> list[Brightness]:
    """Measure each sequence of a scan.

    Args:
        pixels: (slices, height, width, channels).
        masks: (slices, height, width), 0 background.
        head: see `head_of`.
        histograms: (slices, channels, 256), see `slice_histograms`.
        levels: what they were counted with, (channels, 256); None for uint8.
    """
    tumour = masks != 0
    affected = tumour.any(axis=(1, 2))
    rest = head & ~tumour
    found = []
    for channel in range(pixels.shape[-1]):
        own = _EIGHT_BITS if levels is None else levels[channel]
        of_rest = _counts(pixels[affected][..., channel][rest[affected]], own)
        of_tumour = _counts(pixels[..., channel][tumour], own)
        of_healthy = _counts(pixels[~affected][..., channel][rest[~affected]], own)
        in_head = _counts(pixels[..., channel][tumour & head], own) + of_rest + of_healthy
        whole = histograms[:, channel].sum(axis=0)
        low, p99, high = (at_share(whole, own, share) for share in (0.005, 0.99, 0.995))
        inside, outside = at_share(of_tumour, own, 0.5), at_share(of_rest, own, 0.5)
        found.append(
            Brightness(
                blank_slices=_blank(pixels[..., channel]),
                low=low,
                p99=p99,
                high=high,
                head=(
                    at_share(in_head, own, 0.05),
                    at_share(in_head, own, 0.25),
                    at_share(in_head, own, 0.5),
                    at_share(in_head, own, 0.75),
                    at_share(in_head, own, 0.95),
                ),
                tumour=inside,
                rest=outside,
                contrast=(inside - outside) / (high - low) if high > low else float("nan"),
                brighter=brighter(of_tumour, of_rest),
            )
        )
    return found


def at_share(counts: Counts, levels: Float32, share: float) -> float:
    """The smallest level at or below which a share of all values lies (NumPy's inverted_cdf); NaN of nothing."""
    running = np.cumsum(counts)
    if not running[-1]:
        return float("nan")
    # Of share 0 the darkest value that occurs, not the darkest level.
    return float(levels[int((running < max(share * running[-1], 1)).sum())])


def brighter(ones: Counts, others: Counts) -> float:
    """How likely a value of the first kind is above one of the second, ties counted half; NaN where one is empty."""
    total = int(ones.sum()) * int(others.sum())
    if not total:
        return float("nan")
    below = np.cumsum(others) - others
    return float((ones * (below + others / 2)).sum() / total)


def stand_ins(pixels: Array, channels: Sequence[str]) -> tuple[str, ...]:
    """Sequences whose pixels are FLAIR's in every slice that shows FLAIR; none where the channels name no FLAIR."""
    if "flair" not in channels:
        return ()
    flair = pixels[..., channels.index("flair")]
    shown = [index for index, frame in enumerate(flair) if frame.any()]
    return tuple(
        name
        for channel, name in enumerate(channels)
        if name != "flair"
        and shown
        and all(np.array_equal(pixels[index, ..., channel], flair[index]) for index in shown)
    )


def _blank(frames: Array) -> int:
    """Slices of one value throughout; frames of (slices, height, width)."""
    return sum(bool(frame.min() == frame.max()) for frame in frames)


def _counts(values: Array, levels: Float32) -> Counts:
    """How often each level occurs: bin k holds what lies at or below level k and above the one before."""
    if values.dtype == np.uint8:
        return np.bincount(values, minlength=256)
    if np.issubdtype(values.dtype, np.integer):
        first, last = (int(value) for value in (values.min(initial=0), values.max(initial=0)))
        # One search for each value there is, instead of one for each pixel.
        bins = np.minimum(np.searchsorted(levels, np.arange(first, last + 1)), 255)
        seen = np.bincount(values.astype(np.int64) - first, minlength=last - first + 1)
        return np.bincount(bins, weights=seen, minlength=256).astype(np.int64)
    return np.bincount(np.minimum(np.searchsorted(levels, values), 255), minlength=256)
