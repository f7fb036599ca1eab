"""Which of a scan's channels is which sequence, and what stands in for one that is missing."""

from collections.abc import Sequence

import numpy as np

from tumorseg.errors import DataError
from tumorseg.scan import Pixels

UNNAMED = ("pre", "flair", "post")
"""What three channels without names are, in the order of the LGG set."""

_IN_WORDS = {"pre": "pre-contrast", "post": "post-contrast"}


def name_channels(pixels: Pixels, *, where: str) -> tuple[Pixels, tuple[str, ...], tuple[str, ...]]:
    """Name the channels of a file that does not name them itself.

    Args:
        pixels: (slices, height, width, channels).
        where: the file, for the error.

    Returns:
        The pixels of the channels that say something, their names, and warnings: three unnamed channels are pre,
        FLAIR and post; one, or three equal ones, is FLAIR, with a warning.

    Raises:
        DataError: another number of channels.
    """
    count = pixels.shape[-1]
    if count == 1:
        return pixels, ("flair",), ("the only channel is taken for FLAIR",)
    if count != len(UNNAMED):
        raise DataError(
            f"{where} has {count} unnamed channels, not 1 or 3",
            next_step="keep pre-contrast, FLAIR and post-contrast in this order, or FLAIR alone",
        )
    if all(_all_equal(frame) for frame in pixels):
        return pixels[..., :1], ("flair",), ("its three channels are equal and taken for FLAIR",)
    return pixels, UNNAMED, ()


def choose_channels(named: Sequence[str], wanted: Sequence[str], *, where: str) -> tuple[list[int], tuple[str, ...]]:
    """Which of a scan's channels the network's channels are, and warnings about those that are replaced.

    Args:
        named: the scan's channels.
        wanted: the network's channels; where a scan lacks one, FLAIR takes its place, as in the LGG set.
        where: the scan, for the error.

    Raises:
        DataError: there is no FLAIR to take the place of what is missing.
    """
    order = list(named)
    missing = [name for name in wanted if name not in order]
    if missing and "flair" not in order:
        raise DataError(
            f"{where} has the sequences {', '.join(order)}, but the model needs {', '.join(wanted)}",
            next_step="name its sequences with --channels, FLAIR among them",
        )
    chosen = [order.index(name if name in order else "flair") for name in wanted]
    if not missing:
        return chosen, ()
    words = " and ".join(_IN_WORDS.get(name, name) for name in missing)
    return chosen, (f"{words} missing, replaced by FLAIR",)


def _all_equal(frame: Pixels) -> bool:
    return all(np.array_equal(frame[..., 0], frame[..., index]) for index in range(1, frame.shape[-1]))
